"""Kernels, coefficients, operators and spectra as pytrees, compared by identity, and with short texts."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np
import pytest

import hntk
from tests.support.samples import two_classes

X, LABELS = two_classes(120, 20)


@cache
def kernel() -> hntk.StructuredKernel:
    return hntk.equivalent_kernels(X, LABELS, ["relu"]).ck


TREES: dict[str, Callable[[], Any]] = {
    "Kernels": lambda: hntk.exact_kernels(X, ["relu"]),
    "Coefficients": lambda: hntk.coefficients(["relu", "erf"], 1.0),
    "StructuredKernel": kernel,
    "Spectrum": lambda: hntk.spectrum(kernel(), 2),
    "Eigenpairs": lambda: hntk.leading_eigenpairs(kernel(), 2),
    "SpectralDensity": lambda: hntk.spectral_density(kernel(), probes=2, degree=5),
}
ALL = TREES | {"EmpiricalNTK": lambda: hntk.EmpiricalNTK(hntk.dense(["relu"], [16], X, key=jax.random.key(1)), X)}


@pytest.mark.parametrize("name", TREES)
def test_they_pass_through_compiled_functions_and_pickles(name: str) -> None:
    made = TREES[name]()
    expected = [2 * np.asarray(leaf) for leaf in jax.tree.leaves(made)]
    doubled = jax.jit(lambda tree: jax.tree.map(lambda leaf: 2 * leaf, tree))(made)
    assert type(doubled) is type(made)
    for tree in (doubled, pickle.loads(pickle.dumps(doubled))):
        for mine, theirs in zip(jax.tree.leaves(tree), expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("name", [name for name in ALL if name != "Kernels"])
def test_they_compare_and_hash_by_identity(name: str) -> None:
    made = ALL[name]()
    other = jax.tree.unflatten(*jax.tree.flatten(made)[::-1])
    assert made == made
    assert made != other
    assert len({made, other}) == 2


@pytest.mark.parametrize("name", ALL)
def test_their_texts_are_short(name: str) -> None:
    text = repr(ALL[name]())
    assert len(text) < 250
    assert text.startswith(name)
