"""Random classifiers of few levels whose widths are no multiples of the word size."""

from __future__ import annotations

from functools import lru_cache

import jax
import numpy as np
from hypothesis import strategies as st

import hntk
from hntk.networks.integer_inputs import Pixels
from hntk.networks.read_layers import ReadLayers

INPUTS = 45
LABELS = np.array(["left", "right"])
WIDTHS = [1, 7, 8, 31, 33, 64, 65, 100, 129]
NORMALIZATION = hntk.Normalization(np.linspace(100, 150, INPUTS).astype(np.float32), 300.0)


@lru_cache
def _samples() -> tuple[np.ndarray, np.ndarray]:
    data = hntk.reference_mixture(n=120, p=INPUTS, key=jax.random.key(0))
    return np.asarray(data.x), LABELS[np.asarray(data.labels)]


@lru_cache
def _activations(levels: int, depth: int) -> tuple[hntk.Staircase, ...]:
    return hntk.match(["relu"] * depth, 1.0, levels, alpha2=False).activations


def classifier(
    *,
    levels: int = 4,
    widths: tuple[int, ...] = (50, 40),
    sparsity: float = 0.5,
    law: str = "ternary",
    layers: ReadLayers = "last",
    seed: int = 1,
) -> hntk.Classifier:
    """Return a float classifier of ternary or ±1 weights."""
    x, labels = _samples()
    drawn = hntk.weight_law(law, sparsity=sparsity)
    net = hntk.draw_network(
        _activations(levels, len(widths)), widths, INPUTS, tau0=1.0, law=drawn, key=jax.random.key(seed)
    )
    return hntk.fit_ridge(net, x, labels, ridge=0.1, layers=layers)


def whole_classifier(
    *, pixels: bool = False, bits: int = 8, readout_bits: int = 16, **shape: object
) -> hntk.IntegerClassifier:
    """Return such a classifier in whole numbers."""
    made = classifier(**shape)  # type: ignore[arg-type]
    x, _ = _samples()
    if pixels:
        found = hntk.to_integers(
            made, pixels=True, normalization=NORMALIZATION, level_bits=bits, readout_bits=readout_bits
        )
    else:
        found = hntk.to_integers(made, x=x, level_bits=bits, readout_bits=readout_bits, input_bits=bits)
    assert isinstance(found, hntk.IntegerClassifier)
    return found


def raw_samples(made: hntk.IntegerClassifier) -> np.ndarray:
    """Return samples for the classifier: uint8, or float32 with some values out of range."""
    x, _ = _samples()
    if isinstance(made.network.inputs, Pixels):
        return np.clip(np.rint(300 * x + NORMALIZATION.centre), 0, 255).astype(np.uint8)
    return (1.3 * x).astype(np.float32)


@st.composite
def architectures(draw: st.DrawFn) -> dict:
    """Return arguments of :func:`whole_classifier`."""
    depth = draw(st.integers(1, 3))
    return {
        "levels": draw(st.sampled_from([2, 3, 4, 8])),
        "widths": tuple(draw(st.lists(st.sampled_from(WIDTHS), min_size=depth, max_size=depth))),
        "sparsity": draw(st.sampled_from([0.0, 0.5, 0.9, 0.99])),
        "law": draw(st.sampled_from(["ternary", "ternary", "bernoulli"])),
        "pixels": draw(st.booleans()),
        "bits": draw(st.sampled_from([4, 8, 12])),
        "readout_bits": draw(st.sampled_from([5, 8, 12, 16])),
        "seed": draw(st.integers(0, 100)),
    }
