"""Speed and noise of training cuts, drawn anew each epoch from (seed, epoch, cut) and from nothing
else.

Lhotse's and NeMo's own augmentation draws from a generator that runs along with the data, so that
an interruption or another number of GPUs gives a cut another noise. Here the draw is a hash: two
inits hear the same, and so does a resumed run.
"""

import hashlib
from typing import Any

from lhotse import CutSet
from lhotse.cut import Cut, MixedCut

from warmstart.data import cut_lines as manifests
from warmstart.data import noise


def uniform(*key: Any) -> float:
    """A number in [0, 1) that belongs to `key`."""
    drawn = hashlib.blake2b(" ".join(map(str, key)).encode(), digest_size=8).digest()
    # 53 bits: all that a float between 0 and 1 has room for. More would round to 1 now and then.
    return (int.from_bytes(drawn, "big") >> 11) / 2**53


class Augmentation:
    """What the study does to its training cuts.

    Args:
        seed: of the run.
        sample_rate: of the audio that the model hears, Hz.
        speeds: each cut is heard at one of these speeds an epoch, all equally likely; empty = as
            recorded. Speed changes tempo and pitch.
        noise_settings: `manifest` of recordings (`noise.write_manifest`) to mix in, `snr_db`
            [lowest, highest], drawn evenly between, and `probability` of a cut to get noise at all;
            None = no noise.
    """

    def __init__(
        self,
        seed: int,
        sample_rate: int,
        speeds: list[float] | None = None,
        noise_settings: dict[str, Any] | None = None,
    ):
        self.epoch = 0
        self._seed, self._speeds, self._settings = seed, list(speeds or []), noise_settings
        self._noises: list[dict[str, Any]] = []
        if noise_settings:
            recordings: Any = CutSet.from_dicts(manifests.read(noise_settings["manifest"]))
            self._noises = [cut.to_dict() for cut in recordings.resample(sample_rate)]

    def speed_of(self, cut_id: str) -> float:
        """At which speed a cut is heard in this epoch."""
        if not self._speeds:
            return 1.0
        return self._speeds[
            int(uniform("speed", self._seed, self.epoch, cut_id) * len(self._speeds))
        ]

    def prepare(self, sampler: Any) -> None:
        """Change speeds before batches are made, so that a slowed cut takes the room in its batch
        that it needs."""
        if self._speeds:
            sampler.cuts = tuple(cuts.map(self._change_speed) for cuts in sampler.cuts)

    def _change_speed(self, cut: Cut) -> Cut:
        speed = self.speed_of(cut.id)
        return cut if speed == 1.0 else cut.perturb_speed(speed, affix_id=False)

    def snr_of(self, cut_id: str) -> float | None:
        """Speech over noise of a cut in this epoch, dB; None where it stays clean."""
        if (
            not self._noises
            or self._settings is None
            or uniform("noise", self._seed, self.epoch, cut_id) >= self._settings["probability"]
        ):
            return None
        low, high = self._settings["snr_db"]
        return low + (high - low) * uniform("snr", self._seed, self.epoch, cut_id)

    def with_noise(self, batch: Any) -> Any:
        """A batch with noise under the cuts whose turn it is; ids, lengths and supervisions
        stay."""
        if not self._noises:
            return batch
        return CutSet.from_cuts(self._noisy(cut) for cut in batch)

    def _noisy(self, cut: Cut) -> Cut:
        snr_db = self.snr_of(cut.id)
        if snr_db is None:
            return cut
        return MixedCut.from_dict(
            noise.noisy(cut.to_dict(), self._noises, snr_db, f"{self._seed} {self.epoch}")
        )
