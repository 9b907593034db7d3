"""All weights learn."""

from warmstart.adaptation.base import Adaptation


class Full(Adaptation):
    """Nothing is added, nothing is held."""
