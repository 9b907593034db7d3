"""Low-rank updates of several runs, of one language each, fused into one model.

By peft's `add_weighted_adapter`. With A_l, B_l, s_l = alpha / rank and weight w_l of expert l:

- `cat` is the sum of w_l s_l B_l A_l, exactly: A are put below each other, B beside each other.
- `svd` is the update of rank `rank` that is nearest to it (Eckart and Young).
- `linear` is (sum sqrt(w s) B) (sum sqrt(w s) A), which is not the sum of the products: it has the
  products of one expert's B and another's A too. Cheap, and rough.
- `ties` and `dare` do so as well, after leaving values of A and of B out: by size and sign (Yadav
  et al., arXiv 2306.01708), or at random with the rest scaled up (Yu et al., arXiv 2311.03099).
- `lid` fuses nothing yet: each utterance weights the products by what the model itself says of its
  language (`models.gated_lora`). Ours.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from warmstart.adaptation import peft_folder
from warmstart.adaptation.base import Adaptation
from warmstart.adaptation.kinds import APART, EQUAL_RANKS, PRUNED
from warmstart.models import gated_lora
from warmstart.models.base import Recogniser
from warmstart.run.errors import UserError

DENSITY = 0.5  # of ties and dare, ours; the papers' range from 0.1 to 0.9

_FUSED = "fused"  # under which peft keeps the fusion
_COMBINATIONS = {"dare": "dare_linear"}  # what peft calls otherwise


class Experts(Adaptation):
    """Options are those of the kind (`kinds.KINDS`)."""

    def __init__(
        self,
        of: list[str],
        fuse: str,
        weights: Mapping[str, float] | None,
        rank: int | None,
        density: float | None,
        tune_steps: int,
    ):
        self._fuse, self._weights, self._rank = fuse, weights, rank
        self._density, self._tunes = density, tune_steps > 0
        self._folders: Mapping[str, Path] = {}
        self._tuner: Any = None

    def take_experts(self, folders: Mapping[str, Path]) -> None:
        """Where the updates lie."""
        self._folders = folders

    def insert(self, recogniser: Recogniser, seed: int) -> None:
        """The model computes with the fusion; it learns where it is tuned, and nothing else does.

        Raises:
            UserError: an expert is damaged, of another donor, or not of one kind with the others.
        """
        saved = {lang: peft_folder.read(folder) for lang, folder in self._folders.items()}
        require_alike(saved, self._fuse)
        module = recogniser.pretrained()
        for parameter in recogniser.lightning.parameters():
            parameter.requires_grad_(False)
        if self._fuse == APART:
            experts = {lang: updates_of(one) for lang, one in saved.items()}
            recogniser.gates = gated_lora.install(module, experts)
            return
        self._require_rank(saved)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # what dare leaves out
            self._tuner = self._fused(module, saved)
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(self._tunes and f".{_FUSED}." in name)

    def finish(self, recogniser: Recogniser) -> None:
        """Add the fusion to the weights; experts that are apart stay so."""
        if self._tuner is not None:
            self._tuner.merge_and_unload()
            self._tuner = None

    def _fused(self, module: torch.nn.Module, saved: Mapping[str, peft_folder.Saved]) -> Any:
        """peft's hold on a module that has the fusion alone in it."""
        # peft's names of adapters are names of modules too, and `it` may be one of those.
        names = {lang: f"expert_{lang}" for lang in saved}
        tuner: Any = None
        for lang, one in saved.items():
            if tuner is None:
                tuner = peft_folder.put_into(module, one, names[lang])
            else:
                _put_beside(tuner, module, one, names[lang])
        even = 1.0 if self._fuse == "ties" else 1 / len(saved)
        weights = [self._weights[lang] if self._weights else even for lang in saved]
        pruned = self._density or DENSITY
        tuner.add_weighted_adapter(
            list(names.values()),
            weights,
            _FUSED,
            combination_type=_COMBINATIONS.get(self._fuse, self._fuse),
            svd_rank=self._rank,
            svd_full_matrices=False,
            density=pruned if self._fuse in PRUNED else None,
        )
        tuner.set_adapter(_FUSED)
        for name in names.values():
            tuner.delete_adapter(name)
        return tuner

    def _require_rank(self, saved: Mapping[str, peft_folder.Saved]) -> None:
        """A fusion is not wider than a layer.

        Raises:
            UserError: with the layer and its width.
        """
        if self._fuse != "svd":
            return
        rank = self._rank or max(one.rank for one in saved.values())
        updates = updates_of(next(iter(saved.values())))
        width, layer = min(
            (min(one.down.shape[1], one.up.shape[0]), name) for name, one in updates.items()
        )
        if rank > width:
            raise UserError(
                f"adaptation experts.rank is {rank}, above the width {width} of {layer}; take "
                f"{width} at most"
            )


def _put_beside(tuner: Any, module: torch.nn.Module, saved: peft_folder.Saved, name: str) -> None:
    """One more update where `peft_folder.put_into` has put the first."""
    from peft import LoraConfig

    config = LoraConfig.from_peft_type(**saved.config)
    config.inference_mode = True
    tuner.peft_config[name] = config
    tuner.inject_adapter(module, name)
    with torch.no_grad():
        for layer in saved.layers:
            own: Any = module.get_submodule(layer)
            for part in ("lora_A", "lora_B"):
                getattr(own, part)[name].weight.copy_(saved.tensors[f"{layer}.{part}.weight"])


def updates_of(saved: peft_folder.Saved) -> dict[str, gated_lora.Update]:
    """Layer -> what an expert adds to it."""
    scale = saved.config["lora_alpha"] / saved.rank
    return {
        layer: gated_lora.Update(
            saved.tensors[f"{layer}.lora_A.weight"], saved.tensors[f"{layer}.lora_B.weight"], scale
        )
        for layer in saved.layers
    }


def require_alike(saved: Mapping[str, peft_folder.Saved], fuse: str) -> None:
    """Refuse experts that cannot be fused.

    Raises:
        UserError: two that differ in their layers; in their ranks, where the fusion needs one.
    """
    (first, one), *others = saved.items()
    for lang, other in others:
        if one.layers != other.layers:
            strange = sorted(set(one.layers) ^ set(other.layers))
            raise UserError(
                f"the experts of {first} and {lang} have updates of other layers ({strange[0]}, "
                f"{len(strange)} in all); train them with one adaptation.layers"
            )
        if fuse in EQUAL_RANKS and one.rank != other.rank:
            raise UserError(
                f"adaptation experts.fuse is {fuse}, which needs one rank, and the experts of "
                f"{first} and {lang} have {one.rank} and {other.rank}; take fuse: cat or svd"
            )
