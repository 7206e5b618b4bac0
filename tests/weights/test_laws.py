"""Laws of random weights against their moments and recorded draws; matrices of weights as pytrees."""

from __future__ import annotations

import copy
import hashlib
import pickle
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk.weights.bit_planes import Code
from hntk.weights.bit_products import BitMatrix, bit_product
from hntk.weights.encodings import pack

# sha256 of 7 x 5 values drawn with key 3, as they are with float64 switched on
DRAWN = {
    "gaussian": "7b8b308d3ed03898",
    "ternary": "80347e3e8429952d",
    "bernoulli": "a150afa89a846b9c",
    "int8_gaussian": "a821dc90f58b2a25",
    "sparse_gaussian": "7e83446493f86fe3",
    "pruned_gaussian": "d6c129fe65764cec",
    "student_t": "12f664d4c25c6940",
    "orthogonal": "4e3842454f5ea725",
}


@pytest.mark.parametrize(
    "name",
    ["gaussian", "ternary", "student_t", "bernoulli", "int8_gaussian", "sparse_gaussian", "pruned_gaussian"],
)
def test_weight_laws_have_their_moments(name: str) -> None:
    law = hntk.weight_law(name, sparsity=0.7, degrees=12.0)
    drawn = law.draw(jax.random.key(0), (1000, 500))
    w = np.asarray(drawn.dense(jnp.float64)).ravel()
    assert abs(w.mean()) < 5 / np.sqrt(w.size)
    assert abs((w**2).mean() - 1) < 5 * np.sqrt(law.fourth_moment / w.size)
    assert abs((w**4).mean() - law.fourth_moment) < 5 * np.sqrt((w**8).mean() / w.size)
    # a step of int8 has .0126 of the probability
    assert abs((w == 0).mean() - law.zeros) < (0.02 if name == "int8_gaussian" else 5 / np.sqrt(w.size))
    if name == "ternary":
        assert drawn.values.dtype == jnp.int8
        assert set(np.unique(drawn.values)) == {-1, 0, 1}


@pytest.fixture
def _optimised() -> Iterator[None]:
    """Compile as users do; tests may be told to compile faster, which moves the last bits of Gaussian numbers."""
    quick = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()
    yield
    jax.config.update("jax_disable_most_optimizations", quick)
    jax.clear_caches()


@pytest.mark.often("float32-gaussian", "float32-ternary", "float32-student_t", "float32-orthogonal", "float64-ternary")
@pytest.mark.usefixtures("double", "_optimised")
@pytest.mark.parametrize("law", DRAWN)
def test_weights_are_those_recorded(law: str) -> None:
    values = np.asarray(hntk.weight_law(law).draw(jax.random.key(3), (7, 5)).values)
    assert values.dtype == (np.int8 if law in ("ternary", "bernoulli", "int8_gaussian", "orthogonal") else np.float32)
    # logarithms and roots may differ by their last bit from one processor to another
    if law == "student_t":
        np.testing.assert_allclose(values[0], [-2.865819, -2.3269923, -0.5407747, -2.2162285, 0.29545158], rtol=1e-6)
    else:
        assert hashlib.sha256(values.tobytes()).hexdigest()[:16] == DRAWN[law]


def test_matrices_are_pytrees_that_copy_pickle_and_compare_by_identity() -> None:
    matrix = hntk.weight_law("ternary").draw(jax.random.key(0), (3, 50))
    expected = np.asarray(matrix.values, np.float32) * np.float32(matrix.scale)
    np.testing.assert_array_equal(jax.jit(lambda w: w.dense())(matrix), expected)
    floats = hntk.WeightMatrix(jnp.ones((2, 3)), 3.0)
    assert jax.grad(lambda w: w.dense().sum())(floats).values.tolist() == [[3.0] * 3] * 2
    for other in (copy.deepcopy(matrix), pickle.loads(pickle.dumps(matrix))):
        assert other != matrix
        assert (other.scale, other.kind) == (matrix.scale, matrix.kind)
        np.testing.assert_array_equal(other.values, matrix.values)
    assert len({matrix, matrix}) == 1


def test_matrices_print_their_kind_and_not_their_values() -> None:
    matrix = hntk.weight_law("ternary", sparsity=0.75).draw(jax.random.key(0), (300, 500))
    assert repr(matrix) == "WeightMatrix(ternary, shape (300, 500), scale 2)"
    assert repr(pack(matrix, "bits2")) == "PackedMatrix(bits2, ternary, shape (300, 500), 37,500 bytes)"


@pytest.mark.parametrize("rows", [1, 9])
@pytest.mark.parametrize("levels", [(5,), (-2, 0, 1), (0, 3, 6, 9, 12, 15, 18, 21)])
def test_products_on_bit_planes_are_those_of_whole_numbers(levels: tuple[int, ...], rows: int) -> None:
    rng = np.random.default_rng(rows)
    matrix = hntk.weight_law("ternary").draw(jax.random.key(0), (7, 70))
    values = rng.choice(levels, (rows, 70))
    bits = BitMatrix.of(matrix, Code.of_levels(levels), np.arange(7))
    expected = values @ np.asarray(matrix.values, np.int64).T + np.arange(7)
    for planes in (bits, bits.traced()):
        np.testing.assert_array_equal(bit_product(planes, jnp.asarray(values, jnp.float32)), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"law": "cauchy"}, "known are"),
        ({"law": "ternary", "sparsity": 1.0}, "share of zeros"),
        ({"law": "student_t", "degrees": 4.0}, "4 degrees"),
        ({"law": "ternary", "width": 3}, "not width"),
        ({"law": hntk.WeightLaw("ternary"), "sparsity": 0.3}, "beside a law"),
    ],
)
def test_laws_that_do_not_exist_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hntk.weight_law(**arguments)


def test_shapes_and_sizes_are_checked_before_drawing() -> None:
    law = hntk.weight_law("gaussian")
    for shape in (5, (5,), (5, 0), (5, 2.5)):
        with pytest.raises(ValueError, match="shape"):
            law.draw(jax.random.key(0), shape)  # type: ignore[arg-type]
    with pytest.raises(MemoryError, match="narrower"):
        law.draw(jax.random.key(0), (10**9, 10**9))


@pytest.mark.often("8.5")
@pytest.mark.parametrize("degrees", [8.5, 70.0])
def test_students_t_with_any_number_of_degrees_has_variance_one(degrees: float) -> None:
    drawn = hntk.weight_law("student_t", degrees=degrees).draw(jax.random.key(0), (500, 400)).dense(jnp.float64)
    assert float(jnp.mean(drawn**2)) == pytest.approx(1.0, abs=0.02)
