"""A published checkpoint of raw audio in miniature, with random weights, as training takes it."""

from pathlib import Path


def packed(folder: Path, seed: int = 3, **more: object) -> Path:
    """Make `folder`/donor.safetensors, a wav2vec 2.0 with two layers, and give its path.

    Args:
        more: settings of transformers' configuration.
    """
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    from warmstart.models import open_family

    sizes: dict = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "conv_dim": [16] * 7,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
    }
    torch.manual_seed(seed)
    Wav2Vec2Model(Wav2Vec2Config(**sizes | more)).save_pretrained(folder / "snapshot")
    path = folder / "donor.safetensors"
    open_family("wav2vec2_ctc").pack_donor(folder / "snapshot", path)
    return path
