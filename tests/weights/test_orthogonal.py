"""Orthogonal ternary matrices against the product of the factors that define them."""

from __future__ import annotations

import copy
import pickle
from collections import Counter
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import hadamard

import hntk
from hntk.weights.orthogonal import GeneratedOrder, OrthogonalMatrix
from tests.support.orthogonal import explicit_values, place_by_hand, random_blocks

ORDERS = ("none", "random", "generated")
# One full block, several, a partial last one, groups of unequal and of no rows, fewer columns, a single weight.
SHAPES = [(16, 16), (48, 16), (40, 16), (21, 16), (3, 16), (1, 1), (3, 1), (1, 9), (37, 11), (5, 70)]
KEY = jax.random.key(0)


def law(sparsity: float = 0.5, order: str = "random") -> hntk.WeightLaw:
    return hntk.weight_law("orthogonal", sparsity=sparsity, order=order)


@pytest.mark.often("4")
@pytest.mark.parametrize("groups", [1, 2, 4, 8])
def test_values_and_products_are_those_of_the_factors(groups: int) -> None:
    rng = np.random.default_rng(groups)
    # One compilation a shape: orders take turns, so that all meet all groups.
    for number, shape in enumerate(SHAPES):
        matrix = random_blocks(number, shape, groups, ORDERS[(number + groups) % 3])
        matrix.check()
        expected = explicit_values(matrix)
        assert matrix.shape == expected.shape
        np.testing.assert_array_equal(matrix.values, expected)
        assert matrix.values.dtype == jnp.int8
        whole = rng.integers(-1000, 1001, (3, shape[1]))
        for dtype in (np.int32, np.float32):
            sums = matrix.product(jnp.asarray(whole, dtype))
            assert sums.dtype == dtype
            np.testing.assert_array_equal(sums, whole @ expected.T)
        np.testing.assert_array_equal(matrix.product_on_host(whole), whole @ expected.T)


@pytest.mark.parametrize("groups", [1, 2, 4, 8, 256])
def test_products_on_the_host_and_counts_are_those_of_the_factors(groups: int) -> None:
    rng = np.random.default_rng(groups)
    for number, (shape, order) in enumerate((shape, order) for shape in SHAPES for order in ORDERS):
        matrix = random_blocks(number, shape, groups, order)
        expected = explicit_values(matrix)
        h = rng.normal(size=(2, shape[1])).astype(np.float32)
        np.testing.assert_allclose(matrix.product_on_host(h), h @ expected.T.astype(np.float32), atol=1e-4)
        counts = np.count_nonzero(expected, axis=1)
        np.testing.assert_array_equal(matrix.nonzero_counts, counts)
        assert (matrix.nonzero, matrix.largest_row_sum) == (counts.sum(), counts.max())
        assert (type(matrix.nonzero), type(matrix.largest_row_sum)) == (int, float)
        assert matrix.order == order


def test_full_blocks_are_orthogonal_and_exactly_sparse() -> None:
    for groups in (1, 2, 8):
        values = np.asarray(random_blocks(groups, (64, 32), groups, "random").values, int)
        for block in (values[:32], values[32:]):
            np.testing.assert_array_equal(block @ block.T, 32 // groups * np.eye(32))
            np.testing.assert_array_equal(block.T @ block, 32 // groups * np.eye(32))
        assert np.mean(values == 0) == 1 - 1 / groups
        # Two blocks are not the same.
        assert np.any(values[:32] != values[32:])


def test_columns_that_stay_are_orthogonal_and_the_left_out_ones_spoil_rows_alone() -> None:
    values = np.asarray(random_blocks(1, (32, 20), 2, "random").values, int)
    np.testing.assert_array_equal(values.T @ values, 16 * np.eye(20))
    assert np.any(values @ values.T != np.diag(np.diag(values @ values.T)))


def test_the_scale_makes_the_variance_of_full_blocks_one() -> None:
    for sparsity, groups in ((0.0, 1), (0.5, 2), (0.75, 4), (1 - 2**-8, 256)):
        drawn = law(sparsity).draw(KEY, (256, 256))
        assert drawn.scale == groups**0.5
        assert float(jnp.mean(drawn.dense() ** 2)) == pytest.approx(1.0)
        assert drawn.unscaled.scale == 1.0
        assert drawn.kind == "ternary"


def test_products_work_under_jit_vmap_and_grad() -> None:
    matrix = random_blocks(0, (21, 16), 2, "random")
    expected = explicit_values(matrix)
    h = jnp.asarray(np.random.default_rng(0).normal(size=(4, 16)), jnp.float32)
    known = np.asarray(h) @ expected.T
    np.testing.assert_allclose(jax.jit(lambda w, v: w.product(v))(matrix, h), known, atol=1e-5)
    np.testing.assert_allclose(jax.vmap(lambda v: matrix.product(v[None])[0])(h), known, atol=1e-5)
    gradient = jax.grad(lambda v: jnp.sum(matrix.product(v) ** 2))(h)
    np.testing.assert_allclose(gradient, 2 * known @ expected, rtol=1e-4, atol=1e-3)
    # Several matrices of one layout as one batch.
    others = [replace(random_blocks(seed, (21, 16), 2, "random"), scale=matrix.scale) for seed in (1, 2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *others)
    each = jax.vmap(lambda w: w.product(h))(stacked)
    np.testing.assert_allclose(each, [np.asarray(h) @ explicit_values(w).T for w in others], atol=1e-5)


def count_additions(length: int, kept: int) -> list[int]:
    """Count the additions, step by step, of the first ``kept`` of a recursive transform's sums."""
    counts: Counter[int] = Counter()

    def transform(x: list[int], wanted: int, step: int) -> list[int]:
        if len(x) == 1:
            return x
        half = len(x) // 2
        sums, differences = [], []
        for a, b in zip(x[:half], x[half:], strict=True):
            sums.append(a + b)
            counts[step] += 1
            if wanted > half:
                differences.append(a - b)
                counts[step] += 1
        upper = transform(sums, min(wanted, half), step + 1)
        return upper + (transform(differences, wanted - half, step + 1) if differences else [])

    power = 1
    while power < kept:
        power *= 2
    x = list(range(length))
    found = transform(x, power, 0)
    assert found[:kept] == (hadamard(length) @ x)[:kept].tolist()
    return [counts[step] for step in range(length.bit_length() - 1)]


def test_additions_are_those_of_a_transform_that_is_counted() -> None:
    for shape, groups in (((16, 16), 1), ((16, 16), 4), ((40, 16), 2), ((3, 64), 2), ((1, 64), 4), ((97, 33), 8)):
        matrix = random_blocks(0, shape, groups)
        full, size = matrix.blocks - 1, matrix.size
        last = shape[0] - full * size
        rows = [len(range(a, last, groups)) for a in range(groups)]
        whole = np.array(count_additions(size // groups, size // groups))
        partial = np.array(count_additions(size // groups, max(rows)))
        expected = full * groups * whole + sum(r > 0 for r in rows) * partial
        assert matrix.additions == tuple(expected.tolist()), (shape, groups)


def test_drawn_matrices_have_what_the_law_says() -> None:
    for order, (outputs, inputs) in zip(ORDERS, ((70, 40), (64, 64), (100, 33)), strict=True):
        drawn = law(0.75, order).draw(KEY, (outputs, inputs))
        assert isinstance(drawn, OrthogonalMatrix)
        drawn.check()
        assert (drawn.order, drawn.groups, drawn.size) == (order, 4, 64)
        assert (drawn.generator is not None) == (order == "generated")
        np.testing.assert_array_equal(drawn.values, explicit_values(drawn))
    again, other = law().draw(KEY, (50, 50)), law().draw(jax.random.key(1), (50, 50))
    same, different = law().draw(KEY, (50, 50)), np.mean(np.asarray(again.values) != np.asarray(other.values))
    np.testing.assert_array_equal(again.values, same.values)
    assert different > 0.4
    assert law().behind_a_layer.draw(KEY, (4, 4)).order == "none"  # type: ignore[union-attr]


def test_drawn_parts_are_uniform() -> None:
    drawn = law(0.75).draw(KEY, (4096, 1024))
    assert isinstance(drawn, OrthogonalMatrix)
    assert abs(float(jnp.mean(drawn.signs.astype(jnp.float32)))) < 5 / np.sqrt(drawn.signs.size)
    share = np.bincount(np.asarray(drawn.swaps).ravel(), minlength=4) / drawn.swaps.size
    assert np.abs(share - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / drawn.swaps.size)
    steps = np.diff(np.asarray(drawn.places, np.int64)) % 1024
    # Neighbours are put anywhere: no step is frequent.
    assert np.bincount(steps).max() < 12


@pytest.mark.parametrize("size", [1, 2, 4, 64, 1024])
def test_generated_orders_are_permutations_by_the_formula(size: int) -> None:
    rng = np.random.default_rng(size)
    for _ in range(20):
        a, b = (2 * rng.integers(0, max(1, size // 2), 2) + 1).tolist(), rng.integers(0, size, 2).tolist()
        generator = GeneratedOrder((a[0], a[1]), (b[0], b[1]))
        places = generator.places(size, size)
        assert sorted(places.tolist()) == list(range(size))
        some = [0, size // 3, size - 1]
        assert places[some].tolist() == [place_by_hand(generator, t, size) for t in some]
        assert generator.fits(size)
        assert generator.numbers == (a[0], b[0], a[1], b[1])


def test_parts_that_make_no_matrix_are_refused() -> None:
    good = random_blocks(0, (20, 12), 2, "random")
    generated = random_blocks(0, (20, 12), 2, "generated")
    assert good.defect is None
    assert generated.defect is None
    places, generator = np.asarray(good.places), generated.generator
    assert generator is not None
    # With an even factor places can still differ, if there are few inputs.
    few = random_blocks(0, (20, 3), 16, "generated")
    assert few.generator is not None
    even = GeneratedOrder((2, few.generator.factors[1]), few.generator.offsets)
    wrong = [
        (replace(good, shape=(20, 0)), "shape"),
        (replace(good, shape=None), "shape"),
        (replace(good, shape=[20, 12]), "shape"),
        (replace(good, shape=(20, 12.0)), "shape"),
        (replace(good, groups=3), "power of two"),
        (replace(good, groups=0), "power of two"),
        (replace(good, groups=512), "up to 256"),
        (replace(good, groups=2.0), "power of two"),
        (replace(good, shape=(90, 12)), "signs of shape"),
        (replace(good, shape=(20, 40)), "signs of shape"),
        (replace(good, groups=4), "swaps of"),
        (replace(good, signs=np.asarray(good.signs) * 2), "not \\+1 or -1"),
        (replace(good, signs=np.asarray(good.signs, np.float32)), "not \\+1 or -1"),
        (replace(good, signs=np.full((2, 12), -128, np.int8)), "not \\+1 or -1"),
        (replace(good, swaps=np.full((2, 8), 2, np.uint8)), "below 2"),
        (replace(good, swaps=np.full((2, 8), -1, np.int8)), "below 2"),
        (replace(good, swaps=np.zeros((2, 8))), "whole numbers"),
        (replace(good, places=places[:-1]), "place of its own"),
        (replace(good, places=np.zeros(12, np.int32)), "place of its own"),
        (replace(good, places=places.astype(np.float32)), "place of its own"),
        (replace(good, places=places + 16), "beyond"),
        (replace(good, places=places - 16), "beyond"),
        (replace(generated, places=places), "generator does not give"),
        (replace(generated, places=None), "no places"),
        (replace(few, generator=even, places=even.places(3, 16)), "odd"),
        (replace(few, generator=replace(even, factors=(1, 33)), places=even.places(3, 16)), "below 16"),
        (replace(few, generator=replace(even, factors=(1.0, 1)), places=even.places(3, 16)), "odd"),
    ]
    for matrix, why in wrong:
        with pytest.raises(ValueError, match=f"orthogonal weights .*{why}.*weight_law\\('orthogonal'\\)"):
            matrix.check()


def test_matrices_are_pytrees_that_copy_and_pickle() -> None:
    matrix = random_blocks(0, (20, 12), 2, "generated")
    for other in (copy.deepcopy(matrix), pickle.loads(pickle.dumps(matrix)), jax.tree.map(lambda v: v, matrix)):
        np.testing.assert_array_equal(explicit_values(other), explicit_values(matrix))
        assert (other.scale, other.groups, other.generator) == (matrix.scale, 2, matrix.generator)
    assert len(jax.tree.leaves(matrix)) == 3


def test_matrices_print_their_blocks() -> None:
    text = "OrthogonalMatrix(shape (20, 12), 2 block(s) of 16 x 16, 2 groups, scale 1.41421)"
    assert repr(random_blocks(0, (20, 12), 2)) == text


@pytest.mark.parametrize(
    ("sparsity", "neighbours"),
    [(0.4, "0.0 and 0.5"), (0.6, "0.5 and 0.75"), (0.8, "0.75 and 0.875"), (0.999, "0.9921875 and 0.99609375")],
)
def test_sparsities_between_are_refused_with_their_neighbours(sparsity: float, neighbours: str) -> None:
    with pytest.raises(ValueError, match=f"its neighbours are {neighbours}.*'ternary'"):
        law(sparsity)
    for neighbour in neighbours.split(" and "):
        law(float(neighbour))


def test_laws_of_orthogonal_weights_say_what_they_are() -> None:
    assert (law(0.75).groups, law(0.75).zeros, law(0.75).fourth_moment, law().orthogonal) == (4, 0.75, 4.0, True)
    assert hntk.weight_law("ternary").groups == 1
    assert not hntk.weight_law("ternary").orthogonal
    # Sparsities as they come out of a computation.
    assert law(1 - 1 / 2**6 + 1e-17).groups == 64
    for order in (None, "sorted", 2):
        with pytest.raises(ValueError, match="order must be 'none' or 'random' or 'generated'"):
            hntk.weight_law("orthogonal", order=order)  # type: ignore[arg-type]
    for sparsity in (1.0, -0.5, float("nan")):
        with pytest.raises(ValueError, match="share of zeros"):
            law(sparsity)


def test_memory_is_checked_by_what_blocks_take(monkeypatch: pytest.MonkeyPatch) -> None:
    # As explicit values these would take 10^12 bytes.
    law().check_room([(10**6, 10**6)])
    with pytest.raises(MemoryError, match="narrower"):
        law().draw(KEY, (10**9, 10**6))
    with pytest.raises(MemoryError, match="narrower"):
        hntk.weight_law("orthogonal_gaussian").draw(KEY, (10**6, 10**6))
    # Measured: 37 bytes a weight of a square block, where other laws take 17.
    monkeypatch.setattr("hntk._utils.memory.available_memory", lambda: 37 * 10**10)
    hntk.weight_law("gaussian").check_room([(10**5, 10**5)])
    with pytest.raises(MemoryError, match="narrower"):
        hntk.weight_law("orthogonal_gaussian").check_room([(10**5, 10**5)])


def test_dense_orthogonal_weights_have_orthogonal_rows_in_blocks() -> None:
    for shape in ((40, 40), (100, 40), (7, 40), (41, 40), (5, 1)):
        values = np.asarray(hntk.weight_law("orthogonal_gaussian").draw(KEY, shape).dense(jnp.float64))
        assert values.shape == shape
        for start in range(0, shape[0], shape[1]):
            rows = values[start : start + shape[1]]
            np.testing.assert_allclose(rows @ rows.T, shape[1] * np.eye(len(rows)), atol=1e-4 * shape[1])


def test_dense_orthogonal_weights_are_uniform_on_the_orthogonal_group() -> None:
    # Blocks of 3 x 3: moments of entries and of their products, and the sign of determinants.
    blocks = 400
    values = np.asarray(hntk.weight_law("orthogonal_gaussian").draw(KEY, (3 * blocks, 3)).dense(jnp.float64))
    q = values.reshape(blocks, 3, 3) / np.sqrt(3)
    samples = {
        "E q": (q, 0),
        "E q²": (q**2, 1 / 3),
        # 3/(p(p + 2)), 1/(p(p + 2)) in a row, and (p + 1)/(p(p − 1)(p + 2)) elsewhere.
        "E q⁴": (q**4, 1 / 5),
        "of a row": (q[:, 0, 0] ** 2 * q[:, 0, 1] ** 2, 1 / 15),
        "elsewhere": (q[:, 0, 0] ** 2 * q[:, 1, 1] ** 2, 2 / 15),
        "det": (np.linalg.det(q), 0),
        # Without the signs of R's diagonal the first column would have one sign.
        "sign": (q[:, 0, 0] > 0, 0.5),
    }
    for name, (sample, expected) in samples.items():
        spread = np.std(sample, axis=0) / np.sqrt(blocks)
        assert np.max(np.abs(np.mean(sample, axis=0) - expected) / spread) < 4.5, name
