"""Whether two modules hold the same weights."""

import hashlib

import torch


def tensors_digest(module: torch.nn.Module) -> str:
    """SHA-256 over names, shapes and values of a module's tensors."""
    state = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        state.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        # Flat, because a single number cannot be seen as bytes: a batch norm counts its batches in
        # one.
        state.update(
            value.detach().cpu().flatten().view(torch.uint8).numpy().tobytes()
            if value.numel()
            else b""
        )
    return state.hexdigest()
