"""Kernels, coefficients, operators and spectra as pytrees, compared by identity, and with short texts."""

from __future__ import annotations

import pickle

import jax
import numpy as np
import pytest

import hntk

DATA = hntk.reference_mixture(n=120, p=20, key=jax.random.key(0))
KERNEL = hntk.equivalent_kernels(DATA.x, DATA.labels, ["relu"]).ck
OBJECTS = [
    hntk.exact_kernels(DATA.x, ["relu"]),
    hntk.coefficients(["relu", "erf"], 1.0),
    KERNEL,
    hntk.spectrum(KERNEL, 2),
    hntk.leading_eigenpairs(KERNEL, 2),
    hntk.spectral_density(KERNEL, probes=2, degree=5),
]
NTK = hntk.EmpiricalNTK(hntk.dense(["relu"], [16], DATA.x, key=jax.random.key(1)), DATA.x)
NAMES = [type(made).__name__ for made in OBJECTS]


@pytest.mark.parametrize("made", OBJECTS, ids=NAMES)
def test_they_pass_through_compiled_functions_and_pickles(made: object) -> None:
    expected = [2 * np.asarray(leaf) for leaf in jax.tree.leaves(made)]
    doubled = jax.jit(lambda tree: jax.tree.map(lambda leaf: 2 * leaf, tree))(made)
    assert type(doubled) is type(made)
    for tree in (doubled, pickle.loads(pickle.dumps(doubled))):
        for mine, theirs in zip(jax.tree.leaves(tree), expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("made", [*OBJECTS[1:], NTK], ids=[*NAMES[1:], "EmpiricalNTK"])
def test_they_compare_and_hash_by_identity(made: object) -> None:
    other = jax.tree.unflatten(*jax.tree.flatten(made)[::-1])
    assert made == made
    assert made != other
    assert len({made, other}) == 2


@pytest.mark.parametrize("made", [*OBJECTS, NTK], ids=[*NAMES, "EmpiricalNTK"])
def test_their_texts_are_short(made: object) -> None:
    assert len(repr(made)) < 250
    assert repr(made).startswith(type(made).__name__)
