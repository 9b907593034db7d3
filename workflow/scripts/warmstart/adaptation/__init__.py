"""How the weights of an arm may change: which adaptations there are, what a block means, and what
the old keys mean.

Standard library and jsonschema only, because a dry run asks it. An adaptation of this package is
one module here and one entry of `kinds.KINDS`. One of somebody else's is named `module:OBJECT`
wherever a kind is named, where OBJECT is a `Kind` in a module on PYTHONPATH
(docs/extend/adaptation.md).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from warmstart import models
from warmstart.adaptation.kind import Kind
from warmstart.adaptation.kinds import KINDS
from warmstart.run.errors import UserError

if TYPE_CHECKING:
    from warmstart.adaptation.base import Adaptation
    from warmstart.models.base import Donor


def kind_of(name: str) -> Kind:
    """What is declared of an adaptation.

    Args:
        name: a key of `KINDS`, or `module:OBJECT`.

    Raises:
        UserError: no such adaptation, or no `Kind` under that name.
    """
    return models.declared(name, KINDS, "adaptation", "one of your own")


def of_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The adaptation that a block `training` asks for, with all its options.

    Args:
        settings: with `adaptation` {kind, ...options}; or as it was before there were arms:
            `adaptation` full or adapter, `adapter_dim`, `freeze` {options of that kind}.

    Returns:
        {kind, ...options}.

    Raises:
        UserError: an unknown kind or option, one that is lacking, or keys that exclude each other.
    """
    asked, freeze = settings.get("adaptation") or "full", settings.get("freeze")
    given: dict[str, Any] = dict(asked) if isinstance(asked, Mapping) else {"kind": asked}
    if "kind" not in given:
        raise UserError(f"training.adaptation {given} has no kind; give one of {', '.join(KINDS)}")
    kind = given.pop("kind")
    if freeze and kind_of(kind).keeps_encoder:
        raise UserError(
            f"training.adaptation is {kind}, which freezes the whole encoder for good; remove "
            "training.freeze"
        )
    if freeze and kind != "full" and not _is_freezing(kind, given, freeze):
        raise UserError(
            f"training.adaptation is {kind}, and training.freeze is another adaptation; remove one"
        )
    if freeze:
        kind, given = "freeze", dict(freeze)
    if (width := settings.get("adapter_dim")) is not None:
        if kind != "adapter":
            raise UserError(
                f"training.adapter_dim is {width}, and training.adaptation is {kind}; write "
                f"adaptation: {{kind: adapter, dim: {width}}}, or remove it"
            )
        given.setdefault("dim", width)
    return kind_of(kind).filled(kind, given)


def _is_freezing(kind: str, options: Mapping[str, Any], freeze: Mapping[str, Any]) -> bool:
    """Whether an adaptation is what another spelling of it says."""
    declared = KINDS["freeze"]
    return kind == "freeze" and (declared.filled(kind, options) == declared.filled(kind, freeze))


def without_defaults(block: Mapping[str, Any]) -> dict[str, Any]:
    """A block {kind, ...options} without the options that equal their defaults."""
    options = kind_of(block["kind"]).options
    return {
        key: value
        for key, value in block.items()
        if key == "kind" or "default" not in options[key] or options[key]["default"] != value
    }


def possible(family: str) -> list[str]:
    """Names of the adaptations that models of a family can have.

    Raises:
        UserError: no such family.
    """
    offers = models.kind_of(family).offers
    return [name for name, kind in KINDS.items() if kind.needs <= offers]


def check(kind: str, family: str) -> None:
    """Refuse an adaptation that a family cannot have.

    Args:
        kind: name of the adaptation.
        family: name of the family.

    Raises:
        UserError: with both and what the family can.
    """
    missing = kind_of(kind).needs - models.kind_of(family).offers
    if missing:
        raise UserError(
            f"family {family} cannot have the adaptation {kind}, which needs "
            f"{', '.join(sorted(missing))}; allowed: {', '.join(possible(family))}"
        )


def check_donor(block: Mapping[str, Any], donor: "Donor") -> None:
    """Refuse an adaptation that does not fit the layers of a donor, as far as its file tells.

    Args:
        block: {kind, ...options}, as `of_settings` gives it.
        donor: as its family reads it.

    Raises:
        UserError: with the option and what the donor has.
    """
    kind = kind_of(block["kind"])
    if kind.fits is None or (linears := donor.linears()) is None:
        return
    options = {key: value["default"] for key, value in kind.options.items() if "default" in value}
    if (fault := kind.fits({**options, **block}, linears)) is not None:
        raise UserError(fault)


def open_adaptation(block: Mapping[str, Any]) -> "Adaptation":
    """The adaptation of a block {kind, ...options}, as `of_settings` gives it.

    Raises:
        UserError: see `kind_of` and `Kind.filled`.
    """
    options = dict(block)
    name = options.pop("kind")
    kind = kind_of(name)
    filled = kind.filled(name, options)
    del filled["kind"]
    return models.named_object(kind.target, f"target of adaptation {name!r}:")(**filled)
