"""The adaptation that the settings ask for."""

from typing import Any

import lightning.pytorch as pl

from warmstart.adaptation.adapter import adapts
from warmstart.adaptation.freeze import Freeze
from warmstart.adaptation.still import StillStatistics
from warmstart.run.errors import UserError
from warmstart.study import recipe


def callbacks(settings: dict[str, Any]) -> list[pl.Callback]:
    """The callbacks that the settings ask for."""
    made: list[pl.Callback] = []
    if settings.get("freeze"):
        made.append(Freeze(**settings["freeze"]))
    if adapts(settings):
        made.append(StillStatistics())
    return made


def check(settings: dict[str, Any], encoder: dict[str, Any]) -> None:
    """Refuse controls that this encoder or these settings cannot have.

    Args:
        settings: block `training`.
        encoder: encoder block of the donor's configuration.

    Raises:
        UserError: with the key, its value and what is allowed.
    """
    recipe.check_controls(settings)
    layers = (settings.get("freeze") or {}).get("encoder_layers", 0)
    if layers > encoder["n_layers"]:
        raise UserError(
            f"training.freeze.encoder_layers is {layers}; the encoder has {encoder['n_layers']} "
            "layers"
        )
