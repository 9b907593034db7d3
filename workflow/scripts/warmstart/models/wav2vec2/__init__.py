"""CTC on self-supervised encoders of raw audio (wav2vec 2.0, XLS-R, HuBERT and their kin) and on
the encoder of Whisper, as transformers has them."""
