"""An encoder file against PyTorch with the same weights, chunk by chunk."""

from pathlib import Path
from typing import Any

from warmstart.models import quantised_weights
from warmstart.models.fastconformer.chunks import ChunkShape, set_tier
from warmstart.models.fastconformer.onnx_encoder import OnnxEncoder
from warmstart.models.tier import Tier


def largest_difference(encoder: Any, tier: Tier, path: str | Path, chunks: int = 4) -> float:
    """Largest difference between a graph and PyTorch with its dequantised weights over some chunks
    of noise.

    Changes the weights of `encoder`, NeMo's, to the dequantised ones.
    """
    import torch

    from warmstart.models.fastconformer.streaming_encoder import EncoderSteps

    quantised_weights.load(encoder, path, any_activations=True)
    set_tier(encoder, tier)
    shape = ChunkShape.of(encoder)
    generator = torch.Generator().manual_seed(1)
    frames = shape.first + (chunks - 1) * shape.later
    # Log-mel features of speech lie between -16 and 4.
    features = torch.randn(2, encoder._feat_in, frames, generator=generator) * 4 - 6
    lengths = torch.tensor([frames, frames - shape.later // 2])
    steps = [EncoderSteps(encoder), OnnxEncoder(path, tier)]
    caches = [step.start(2) for step in steps]
    largest = 0.0
    with torch.inference_mode():
        for chunk, chunk_lengths, dropped in shape.cut(features, lengths):
            outputs = []
            for index, step in enumerate(steps):
                encoded, encoded_lengths, caches[index] = step.step(
                    chunk, chunk_lengths, dropped, caches[index]
                )
                valid = (
                    torch.arange(encoded.shape[1])[None, :, None] < encoded_lengths[:, None, None]
                )
                outputs.append(encoded * valid)
            largest = max(largest, float((outputs[0] - outputs[1]).abs().max()))
    return largest
