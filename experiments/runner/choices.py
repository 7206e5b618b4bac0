"""Values that a setting may take where they are a closed set: checked before anything runs, and told to who errs.

The library's own sets are repeated here, since importing the library takes longer than a refusal may; a test holds
both against each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field, field
from typing import Any

CHOICES = "choices"
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
MIXTURES = ("identity", "scaled", "structured", "unequal")
NETS = ("relu", "erf", "staircase")
CASES = tuple(f"{mixture}/{net}" for mixture in MIXTURES for net in NETS)


def one_of(choices: Sequence[str], default: Any) -> Any:
    """Declare a setting whose text, or the text in whose lists, is one of these; numbers and null are not text."""
    metadata = {CHOICES: tuple(choices)}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def choices_of(declared: Field[Any]) -> tuple[str, ...] | None:
    """What a setting may be, if that is a closed set."""
    return declared.metadata.get(CHOICES)
