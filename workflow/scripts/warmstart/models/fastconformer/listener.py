"""An encoder without any head: what its states tell of speech."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from warmstart.models.base import Listener
from warmstart.models.fastconformer import build, decoder
from warmstart.models.fastconformer.donor import NemoDonor
from warmstart.models.tier import Tier
from warmstart.run.logs import route_nemo_logs


class EncoderListener(Listener):
    """Hears as a decoder of the tier does: the same features, the same mask, the same steps.

    Args:
        model: of NeMo; what is behind its encoder is not asked.
        tier: must be among its contexts.
    """

    def __init__(self, model: Any, tier: Tier):
        no_search: Any = object()  # a listener has no tokens
        self._decoder = decoder.Decoder(model, tier, search=no_search)
        self.sample_rate = self._decoder.sample_rate

    def mean_states(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Sums over the frames that count, in float64, because a minute has 750 of them."""
        order = sorted(range(len(waveforms)), key=lambda index: -len(waveforms[index]))
        width = int(self._decoder.model.encoder.d_model)
        sums = np.zeros((len(waveforms), width))
        frames = np.zeros((len(waveforms), 1))
        with torch.inference_mode():
            for encoded, counts in self._decoder.frames([waveforms[index] for index in order]):
                counting = torch.arange(encoded.shape[1], device=encoded.device) < counts[:, None]
                kept = encoded.double().where(counting[:, :, None], 0.0)
                heard = order[: len(encoded)]
                sums[heard] += kept.sum(dim=1).cpu().numpy()
                frames[heard] += counts[:, None].cpu().numpy()
        with np.errstate(invalid="ignore"):
            return (sums / frames).astype(np.float32)


class DonorListener(EncoderListener):
    """The encoder of a donor, before anything is learnt.

    Args:
        donor: its settings and weights.
        tier: whose context is the mask, as it is in a model that is trained from the donor.
        device: of torch.
        random_seed: random weights in place of the donor's.
    """

    def __init__(self, donor: NemoDonor, tier: Tier, device: str, random_seed: int | None):
        from nemo.collections.asr.modules import (
            AudioToMelSpectrogramPreprocessor,
            ConformerEncoder,
        )
        from nemo.core.classes.common import typecheck

        route_nemo_logs()
        typecheck.set_typecheck_enabled(False)
        settings = donor.config["encoder"] | {
            "att_context_style": "chunked_limited",
            "att_context_size": [tier.context],
            "att_context_probs": None,
        }
        build.require_size(donor.path, settings)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_seed or 0)
            encoder = ConformerEncoder.from_config_dict(settings)
        features = build.without_augmentation(donor.config["preprocessor"])
        preprocessor = AudioToMelSpectrogramPreprocessor.from_config_dict(
            features | {"dither": 0.0, "pad_to": 0}
        )
        model = _Headless(encoder, preprocessor, features.get("sample_rate", build.SAMPLE_RATE))
        if random_seed is None:
            build.load_encoder(model, donor.path)
        model.eval().to(device)
        super().__init__(model, tier)


class _Headless(torch.nn.Module):
    """What a decoder needs of a model of NeMo but for its heads."""

    def __init__(self, encoder: torch.nn.Module, preprocessor: torch.nn.Module, sample_rate: int):
        super().__init__()
        self.encoder, self.preprocessor = encoder, preprocessor
        self.cfg = SimpleNamespace(preprocessor=SimpleNamespace(sample_rate=sample_rate))

    def _apply_prompt_to_encoded(self, encoded: torch.Tensor) -> torch.Tensor:
        """A prompt belongs to what is behind the encoder."""
        return encoded
