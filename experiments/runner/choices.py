"""The values that a setting may take where they form a closed set; they are checked before anything runs.

The library's own sets are repeated here, because a wrong setting is refused before the library is imported. A test
compares both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field, field
from typing import Any

# the key of the set in a field's metadata
_METADATA = "choices"
KERNELS = ("ck", "ntk")
COEFFICIENTS = ("alpha", "beta", "both")
METHODS = ("joint", "layerwise")
OBJECTIVES = ("theory", "data")
QUANTITIES = ("population", "estimated")
IDENTITIES = ("default", "paper")
SCALINGS = ("scale", "unit_norm", "whiten")
PRECISIONS = ("float32", "float64")
READOUTS = ("ridge", "softmax")
LAWS = ("gaussian", "ternary", "student_t", "bernoulli", "int8_gaussian", "sparse_gaussian", "pruned_gaussian")
ACTIVATIONS = (
    "abs", "cos", "erf", "gaussian", "gelu", "leaky_relu", "linear", "polynomial", "quadratic", "relu", "sigmoid",
    "sign", "silu", "sin", "softplus", "staircase", "step", "tanh",
)  # fmt: skip


def one_of(choices: Sequence[str], default: Any) -> Any:
    """Declare a setting whose text, or the texts of whose list, must be among the choices; other values pass."""
    metadata = {_METADATA: tuple(choices)}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def choices_of(declared: Field[Any]) -> tuple[str, ...] | None:
    """Return the choices of a setting, or None if it is not restricted."""
    return declared.metadata.get(_METADATA)
