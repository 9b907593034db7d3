"""CTC on self-supervised encoders of raw audio: wav2vec 2.0, XLS-R, HuBERT and their kin, as
transformers has them."""
