"""All ways of running layers give the same sums; :mod:`tests.deploy.test_agreement` runs whole networks in each."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk.activations import Staircase
from hntk.activations.lookup import COMPARED, lookup
from hntk.networks import forward, layers
from hntk.networks.forward import Forward, affordable_planes
from hntk.networks.integer_inputs import Pixels, Rounded
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_steps import Steps
from hntk.networks.layers import Layer, Pass, Step
from hntk.weights.bit_planes import Code
from hntk.weights.bit_products import BitMatrix, bit_product
from hntk.weights.laws import weight_law
from tests.support.architectures import whole_classifier

WAYS = ("dense", "planes", "sparse")


@pytest.mark.often("levels0-5", "levels1-1", "levels2-70", "levels3-4", "levels4-5", "levels4-70")
@pytest.mark.parametrize("rows", [1, 4, 5, 70])
@pytest.mark.parametrize(
    "levels", [(3,), (-2, 5), (-7, -1, 0, 300), tuple(range(-9, 10, 2)), tuple(range(-32767, 32767, 949))]
)
def test_products_on_planes_are_exact(rows: int, levels: tuple[int, ...]) -> None:
    rng = np.random.default_rng(rows)
    matrix = weight_law("ternary", sparsity=0.3).draw(jax.random.key(0), (50, 131))
    bias = rng.integers(-1000, 1000, 50).astype(np.int32)
    h = rng.choice(levels, (rows, 131))
    code = Code.of_levels(levels)
    planes = BitMatrix.of(matrix, code, bias)
    # Compiled, as in a pass, where XLA may turn a division into a product.
    found = jax.jit(lambda h: bit_product(planes, h + 0))(jnp.asarray(h, jnp.float32))
    np.testing.assert_array_equal(bit_product(planes.traced(), jnp.asarray(h, jnp.float32)), found)
    np.testing.assert_array_equal(found, h @ np.asarray(matrix.values, np.int64).T + bias)


@pytest.mark.parametrize(
    ("levels", "planes"),
    [((3, 3), 0), ((-1, 1), 1), ((-10, 9, 34, 81), 3), ((-3, -1, 1, 3), 2), (range(0, 32000, 949), 6)],
)
def test_codes_take_the_fewest_planes(levels: tuple[int, ...], planes: int) -> None:
    code = Code.of_levels(levels)
    assert len(code.jumps) == planes
    words = code.words(levels)
    bits = [words > t if code.thermometer else words >> t & 1 for t in range(planes)]
    values = code.base + sum((jump * b for jump, b in zip(code.jumps, bits, strict=True)), np.zeros(len(levels), int))
    np.testing.assert_array_equal(values, levels)


@pytest.mark.often("True-3", "False-40")
@pytest.mark.slow
@pytest.mark.parametrize("depth", [3, 5, 40])
@pytest.mark.parametrize("pixels", [False, True])
def test_passes_through_many_equal_layers_are_exact(depth: int, pixels: bool) -> None:
    """Equal layers run as one scan, between other layers and with weights of several kinds."""
    rng = np.random.default_rng(depth)
    widths = [33, *[64] * depth, 40, *[40] * 4, 7]
    weights = [
        weight_law("bernoulli" if depth < i < depth + 4 else "ternary").draw(jax.random.key(i), (d, p))
        for i, (p, d) in enumerate(zip(widths[:-1], widths[1:], strict=True))
    ]
    levels = [(-3, -1, 0, 2), (-7, 1, 5, 6)]
    steps = [Steps(tuple(np.sort(rng.integers(-12, 12, 3)).tolist()), levels[int(rng.integers(2))]) for _ in weights]
    inputs = Pixels(2) if pixels else Rounded(np.zeros(33, np.float32), 9.0, 20)
    bias = rng.integers(-3000, 3000, 64).astype(np.int32) if pixels else None
    network = IntegerNetwork(inputs, tuple(weights), tuple(steps), bias, 1.0, (0.0,) * len(steps))
    raw = rng.integers(0, 256, (30, 33)).astype(np.uint8) if pixels else rng.normal(size=(30, 33)).astype(np.float32)
    values = np.asarray(inputs(raw), np.int64)
    for i, (w, s) in enumerate(zip(weights, steps, strict=True)):
        sums = values @ np.asarray(w.values, np.int64).T + (bias if pixels and i == 0 else 0)
        values = np.asarray(s.levels)[np.searchsorted(s.thresholds, sums, side="right")]
    assert len(np.unique(values, axis=0)) > 1
    with pytest.MonkeyPatch.context() as patch:
        for way in WAYS:
            patch.setattr(Forward, "way", lambda self, rows, way=way: way)
            np.testing.assert_array_equal(np.concatenate(list(network.feature_batches(raw))), values)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["staircase", "tanh"])
def test_scans_of_float_layers_compute_what_single_layers_do(activation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    steps = [hntk.staircase(np.sort(rng.normal(size=3)), np.sort(rng.normal(size=4))) for _ in range(6)]
    sigma = steps if activation == "staircase" else ["tanh"] * 6
    net = hntk.draw_network(sigma, [50] * 6, 45, tau0=1.0, law="ternary", key=jax.random.key(0))
    assert len(set(net.centres)) > 1
    x = rng.normal(size=(20, 45)) / 45**0.5
    scanned = np.asarray(net.features(x))
    monkeypatch.setattr(layers, "SCANNED", 100)
    alone = np.asarray(hntk.Network(net.weights, net.activations, net.centres, None, None).features(x))
    assert np.std(alone) > 0.01
    np.testing.assert_allclose(scanned, alone, atol=1e-6)


@pytest.mark.parametrize("way", WAYS[:2])
def test_what_is_compiled_does_not_grow_with_equal_layers_or_levels(way: str) -> None:
    def lines(depth: int, levels: int) -> int:
        rng = np.random.default_rng(depth)
        weights = [weight_law("ternary").draw(jax.random.key(i), (16, 16)) for i in range(depth)]
        draw = lambda count, most: rng.integers(-most, most, count).tolist()  # noqa: E731
        steps = [Steps(tuple(sorted(draw(levels - 1, 30))), tuple(draw(levels, 9))) for _ in weights]
        made = [
            Layer.of(Step(w, 1.0, s, None, s.code), Code.of_range(-9, 9) if way == "planes" else None)
            for w, s in zip(weights, steps, strict=True)
        ]
        return len(str(jax.make_jaxpr(Pass.of(made))(jnp.zeros((2, 16), jnp.float32))).splitlines())

    few = lines(5, 4)
    assert lines(60, 4) <= few
    # Every doubling of the levels adds one comparison of some 20 lines.
    # the programs of JAX 0.5 are longer
    most = 600 if jax.__version_info__ >= (0, 6) else 700
    assert lines(1, 100_000) < lines(1, 1000) + 200 < most


def test_many_levels_are_found_as_few_are() -> None:
    rng = np.random.default_rng(0)
    for count in (0, 1, 2, COMPARED, COMPARED + 1, 127, 128, 1000):
        thresholds = np.sort(rng.normal(size=count).astype(np.float32))
        # Thresholds of a Staircase all differ; those of Steps may be equal.
        if count > 3 and count != COMPARED + 1:
            thresholds[2] = thresholds[1]
        levels = rng.normal(size=count + 1).astype(np.float32)
        t = np.concatenate([rng.normal(size=300), thresholds[:50], thresholds[-50:], [np.inf, -np.inf]])
        t = t.astype(np.float32)
        wanted = levels[np.searchsorted(thresholds, t, side="right")]
        np.testing.assert_array_equal(lookup(thresholds, levels, jnp.asarray(t)), wanted)
        assert lookup(thresholds, levels, jnp.array([jnp.nan]))[0] == levels[0]
        if count in (2, COMPARED + 1):
            made = Staircase(tuple(thresholds.tolist()), tuple(levels.tolist()))
            np.testing.assert_array_equal(made(t), wanted)
            assert made(np.float64(0.1)).dtype == jnp.float64
    many = Staircase(tuple(np.arange(10**6) / 10**6), tuple(np.arange(10**6 + 1.0)))
    np.testing.assert_array_equal(many(jnp.array([-1.0, 0.0, 0.5, 2.0, np.nan])), [0, 1, 500_001, 10**6, 0])


def test_whole_thresholds_beyond_float32_are_reached_where_they_are() -> None:
    big = 2**24
    steps = Steps((-big - 1, big + 1, 2**40), (1, 2, 3, 4))
    for dtype in (jnp.float32, jnp.int32):
        sums = jnp.array([-big - 2, -big, 0, big, big + 2], dtype)
        assert steps(sums).tolist() == [1, 2, 2, 2, 3]


def test_bits_of_a_range_are_exact() -> None:
    h = np.random.default_rng(0).integers(0, 256, (6, 131)) * 4
    matrix = weight_law("bernoulli").draw(jax.random.key(0), (50, 131))
    code = Code.of_range(0, 255 * 4, 4)
    assert len(code.jumps) == 8
    found = bit_product(BitMatrix.of(matrix, code), jnp.asarray(h, jnp.float32))
    np.testing.assert_array_equal(found, h @ np.asarray(matrix.values, np.int64).T)


@pytest.mark.slow
def test_the_way_depends_on_rows_planes_and_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    def way(rows: int, **shape: object) -> str:
        return whole_classifier(widths=(100, 100), **shape).network._forward.way(rows)

    monkeypatch.setattr(forward, "affordable_planes", lambda: 6.0)
    # The first layer has 8 planes on 45 inputs, the second 3 on 100.
    assert way(1, levels=4) == way(1000, levels=4) == "planes"
    assert way(1000, levels=4, sparsity=0.99) == "sparse"
    assert way(1, levels=4, sparsity=0.99) == "planes"
    assert way(1000, law="int8_gaussian") == way(1, law="int8_gaussian") == "dense"
    monkeypatch.setattr(forward, "affordable_planes", lambda: 2.0)
    assert way(1000, levels=4) == "dense"
    assert way(1, levels=4) == "planes"
    monkeypatch.setattr(forward.jax, "default_backend", lambda: "gpu")
    assert way(1, levels=4) == way(1000, levels=4) == "dense"


def test_what_planes_cost_is_measured() -> None:
    assert 0.05 < affordable_planes() < 500
