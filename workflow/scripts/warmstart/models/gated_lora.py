"""Low-rank updates of several experts beside the linear layers of one model, weighted anew for each
utterance of a batch.

    y_b = W x_b + sum over experts l of  w_bl (alpha_l / rank_l) B_l A_l x_b

The products B A are weighted, exactly, and not A and B apart. One forward serves a batch of several
languages: with one weight of 1 an utterance is heard as the merged expert would hear it.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from warmstart.run.errors import UserError

if TYPE_CHECKING:
    import torch

_A, _B = "expert_down", "expert_up"  # buffers of a layer, out of its state_dict
_PREFIX = "experts."


class Update(NamedTuple):
    """What an expert adds to one layer: scale * up @ down.

    Attributes:
        down: (rank, in), A.
        up: (out, rank), B.
        scale: alpha / rank.
    """

    down: "torch.Tensor"
    up: "torch.Tensor"
    scale: float


class Gates:
    """The experts of a model, and how much each counts at the moment. Without weights the model
    computes as if there were none.

    Attributes:
        experts: names, in the order of the weights.
        ranks: of each, in every layer.
        layers: names of the linear layers, inside the module that they were put into.
    """

    def __init__(self, module: "torch.nn.Module", experts: Sequence[str], ranks: Sequence[int]):
        self.experts, self.ranks = tuple(experts), tuple(ranks)
        self.layers: list[str] = []
        self._module = module
        self._weights: torch.Tensor | None = None

    @contextlib.contextmanager
    def weighted(self, weights: "torch.Tensor") -> Iterator[None]:
        """The model computes with its experts inside.

        Args:
            weights: (B, L) of the utterances of the batches that follow, in the order of
                `experts`.
        """
        import torch

        ranks = torch.tensor(self.ranks, device=weights.device)
        before = self._weights
        self._weights = weights.repeat_interleave(ranks, dim=1)
        try:
            yield
        finally:
            self._weights = before

    @contextlib.contextmanager
    def of_rows(self, rows: "torch.Tensor") -> Iterator[None]:
        """The model hears some utterances of the batch inside.

        Args:
            rows: (N,) which ones.
        """
        before = self._weights
        if before is not None:
            self._weights = before[rows.to(before.device)]
        try:
            yield
        finally:
            self._weights = before

    def one_hot(self, names: Sequence[str]) -> "torch.Tensor":
        """(B, L) weights that give each utterance one expert.

        Raises:
            UserError: there is no expert of that name.
        """
        import torch

        if strange := sorted(set(names) - set(self.experts)):
            raise UserError(
                f"an utterance is of {', '.join(strange)}, and there are experts of "
                f"{', '.join(self.experts)}; give one of each language"
            )
        places = [self.experts.index(name) for name in names]
        return torch.nn.functional.one_hot(torch.tensor(places), len(self.experts)).float()

    def tensors(self) -> "dict[str, torch.Tensor]":
        """All updates, scales multiplied in, for a model's file."""
        found = {}
        for layer in self.layers:
            linear = self._module.get_submodule(layer)
            found[f"{_PREFIX}{layer}.down"] = getattr(linear, _A)
            found[f"{_PREFIX}{layer}.up"] = getattr(linear, _B)
        return found

    def about(self) -> dict[str, Any]:
        """What a model's file says beside them, JSON values."""
        return {"experts": list(self.experts), "ranks": list(self.ranks)}

    def _put(self, layer: str, down: "torch.Tensor", up: "torch.Tensor") -> None:
        linear: Any = self._module.get_submodule(layer)
        weight = linear.weight
        linear.register_buffer(_A, down.to(weight.device, weight.dtype), persistent=False)
        linear.register_buffer(_B, up.to(weight.device, weight.dtype), persistent=False)
        linear.register_forward_hook(self._add)
        self.layers.append(layer)

    def _add(self, linear: Any, inputs: Any, output: "torch.Tensor") -> "torch.Tensor | None":
        if self._weights is None:
            return None
        states = inputs[0]
        weights = self._weights.to(states.device, states.dtype)
        if len(weights) != len(states):
            raise RuntimeError(f"{len(states)} utterances, and weights of {len(weights)}")
        # (B, 1, ..., sum of ranks), for whatever stands between batch and width.
        shaped = weights.view(len(weights), *[1] * (states.dim() - 2), -1)
        inner = torch_linear(states, getattr(linear, _A)) * shaped
        return output + torch_linear(inner, getattr(linear, _B))


def torch_linear(states: "torch.Tensor", weight: "torch.Tensor") -> "torch.Tensor":
    """states @ weight.T"""
    import torch

    return torch.nn.functional.linear(states, weight)


def install(module: "torch.nn.Module", experts: Mapping[str, Mapping[str, Update]]) -> Gates:
    """Put experts beside the layers of a module.

    Args:
        module: whose linear layers the updates name.
        experts: name -> layer -> update; all have the same layers, and one rank in all of them.

    Raises:
        UserError: they have not, or a layer is not there or has another width.
    """
    import torch

    names = list(experts)
    first = experts[names[0]]
    for name in names[1:]:
        if set(experts[name]) != set(first):
            other = sorted(set(experts[name]) ^ set(first))
            raise UserError(
                f"the experts {names[0]} and {name} have updates of other layers ({other[0]}, "
                f"{len(other)} in all); train them with one adaptation.layers"
            )
    ranks = [len(next(iter(updates.values())).down) for updates in experts.values()]
    gates = Gates(module, names, ranks)
    for layer in sorted(first):
        updates = [experts[name][layer] for name in names]
        require_width(module, layer, updates[0].down.shape[1], updates[0].up.shape[0])
        gates._put(
            layer,
            torch.cat([one.scale * one.down for one in updates]),
            torch.cat([one.up for one in updates], dim=1),
        )
    return gates


def from_saved(
    module: "torch.nn.Module", tensors: "Mapping[str, torch.Tensor]", about: Mapping[str, Any]
) -> Gates:
    """The experts that `Gates.tensors` and `Gates.about` wrote.

    Raises:
        UserError: a layer is not there, has another width, or lacks a factor.
    """
    gates = Gates(module, about["experts"], about["ranks"])
    for name in sorted(tensors):
        layer, _, part = name.removeprefix(_PREFIX).rpartition(".")
        if part != "down":
            continue
        down, up = tensors[name], tensors.get(f"{_PREFIX}{layer}.up")
        if up is None or len(down) != up.shape[1] or len(down) != sum(gates.ranks):
            raise UserError(
                f"the experts of layer {layer} do not fit each other; the model's file is damaged: "
                "remove it, and run the workflow again"
            )
        require_width(module, layer, down.shape[1], up.shape[0])
        gates._put(layer, down, up)
    return gates


def is_expert(name: str) -> bool:
    """Whether a tensor of a model's file is of `Gates.tensors`."""
    return name.startswith(_PREFIX)


def require_width(module: "torch.nn.Module", layer: str, width_in: int, width_out: int) -> None:
    """Refuse an update that does not fit its layer.

    Raises:
        UserError: with the layer and both shapes.
    """
    import torch

    linear = dict(module.named_modules()).get(layer)
    found = (
        f"{linear.out_features} x {linear.in_features}"
        if isinstance(linear, torch.nn.Linear)
        else "no linear layer"
    )
    if found != f"{width_out} x {width_in}":
        raise UserError(
            f"an expert has an update of {width_out} x {width_in} for layer {layer}, which is "
            f"{found} in this model: it was trained from another donor; name experts of the same "
            "init and family"
        )
