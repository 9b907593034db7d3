"""How the weights of an exported encoder are stored."""

import json
from dataclasses import dataclass
from typing import Any

from warmstart.run.errors import UserError

SCHEMES = ("k_quant", "rtn", "default", "fp32")


@dataclass(frozen=True)
class Scheme:
    """How weights are stored.

    Args:
        scheme: `k_quant` (asymmetric blocks, scales searched for least squared error), `rtn`
            (symmetric, round to nearest), `default` (ONNX Runtime's asymmetric round to nearest),
            `fp32` (not quantised: the baseline of the others).
        bits: 4 or 8.
        block_size: weights of a row that share a scale.
        accuracy_level: 0 = fp32 activations; 4 = int8 activations, faster, and not what the
            dequantised weights compute.
    """

    scheme: str = "k_quant"
    bits: int = 4
    block_size: int = 32
    accuracy_level: int = 0

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Scheme":
        """Read the settings of a precision.

        Raises:
            UserError: unknown key or value.
        """
        try:
            made = cls(**value)
        except TypeError as error:
            allowed = ", ".join(cls.__annotations__)
            raise UserError(
                f"quantisation settings {json.dumps(value)}: {error}; allowed: {allowed}"
            ) from None
        allowed = {
            "scheme": SCHEMES,
            "bits": (4, 8),
            "block_size": (16, 32, 64, 128, 256),
            "accuracy_level": (0, 4),
        }
        for key, values in allowed.items():
            if getattr(made, key) not in values:
                raise UserError(
                    f"quantisation {key} is {getattr(made, key)!r}; allowed: "
                    f"{', '.join(map(str, values))}"
                )
        return made
