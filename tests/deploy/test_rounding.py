"""Float networks in whole numbers: what rounding changes, and what is refused."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given, settings

import hntk
from hntk.deploy.c_transforms import number_bytes
from hntk.deploy.rounding import default_level_bits, round_levels
from hntk.networks.integer_network import EXACT
from tests.support.architectures import INPUTS, architectures, classifier, raw_samples, whole_classifier
from tests.support.random_blocks import random_blocks


def direct(made: hntk.IntegerClassifier, raw: np.ndarray) -> np.ndarray:
    """Compute scores in int64."""
    network = made.network
    v = np.asarray(network.inputs(raw)).astype(np.int64)
    for number, (w, steps) in enumerate(zip(network.weights, network.steps, strict=True)):
        sums = v @ np.asarray(w.values, np.int64).T
        if number == 0 and network.bias is not None:
            sums = sums + network.bias
        v = np.asarray(steps.levels)[np.searchsorted(steps.thresholds, sums, side="right")]
    return v @ made.readout.T.astype(np.int64) + made.offset


@pytest.mark.slow
def test_the_float_network_predicts_the_same_up_to_its_rounding() -> None:
    made = classifier(levels=4, widths=(600, 500))
    x = np.asarray(hntk.reference_mixture(n=600, p=INPUTS, key=jax.random.key(5)).x)
    fine = hntk.to_integers(made, x=x, level_bits=12, input_bits=14)
    assert isinstance(fine, hntk.IntegerClassifier)
    coarse = hntk.to_integers(made, x=x, level_bits=3, input_bits=3)
    errors = [np.abs(whole.scores(x) * whole.unit - made.scores(x)).mean() for whole in (fine, coarse)]  # type: ignore[union-attr]
    assert np.mean(fine.predict(x) == made.predict(x)) > 0.98
    assert errors[0] < 0.1 * errors[1]
    assert max(fine.network.rounding) < 0.001 < max(coarse.network.rounding)  # type: ignore[union-attr]


@pytest.mark.slow
@settings(max_examples=8, deadline=None, derandomize=True)
@given(architectures())
def test_on_a_grid_the_float_network_is_the_same_one(shape: dict) -> None:
    bits = shape.pop("bits")
    del shape["pixels"], shape["readout_bits"]
    net = hntk.on_grid(classifier(**shape).network, bits)
    # Multiples of 1/128 are not changed by the rounding of the input.
    x = np.random.default_rng(0).integers(-127, 128, (50, INPUTS)) / 128
    x[0, 0] = 127 / 128
    whole = hntk.to_integers(net, x=x, level_bits=bits)
    assert isinstance(whole, hntk.IntegerNetwork)
    assert set(whole.rounding) == {0.0}
    levels = np.concatenate(list(whole.feature_batches(x)))
    np.testing.assert_array_equal(levels, np.rint(np.asarray(net.features(x)) / whole.unit))
    np.testing.assert_allclose(levels * whole.unit, net.features(x), rtol=1e-6)


@pytest.mark.slow
def test_a_readout_sees_what_rounding_does_to_levels() -> None:
    data = hntk.reference_mixture(n=900, p=INPUTS, key=jax.random.key(3))
    net = classifier(levels=4, widths=(600, 500)).network
    grid = hntk.on_grid(net, 3)
    late = hntk.to_integers(hntk.fit_ridge(net, data.x, data.labels, 0.1), x=data.x, level_bits=3, input_bits=14)
    early = hntk.to_integers(hntk.fit_ridge(grid, data.x, data.labels, 0.1), x=data.x, level_bits=3, input_bits=14)
    fitted = hntk.fit_ridge(grid, data.x, data.labels, 0.1)
    assert np.mean(early.predict(data.x) == fitted.predict(data.x)) > 0.995  # type: ignore[union-attr]
    assert np.mean(early.predict(data.x) == fitted.predict(data.x)) > np.mean(
        late.predict(data.x) == hntk.fit_ridge(net, data.x, data.labels, 0.1).predict(data.x)  # type: ignore[union-attr]
    )
    relu = hntk.draw_network(["relu"], [20], INPUTS, tau0=1.0, law="ternary", key=jax.random.key(0))
    with pytest.raises(hntk.NotIntegerError, match="hntk.compress"):
        hntk.on_grid(relu)
    with pytest.raises(ValueError, match="level_bits"):
        hntk.on_grid(net, 1)


@pytest.mark.slow
def test_int8_weights_leave_levels_fewer_bits() -> None:
    made = classifier(levels=8, widths=(300, 200), law="int8_gaussian")
    x = np.asarray(hntk.reference_mixture(n=100, p=INPUTS, key=jax.random.key(5)).x)
    whole = hntk.to_integers(made, x=x)
    assert isinstance(whole, hntk.IntegerClassifier)
    np.testing.assert_array_equal(whole.scores(x), direct(whole, x))
    assert max(whole.network.largest_sums) <= EXACT
    # Sums of 300 weights of up to 127 leave no room for levels of 12 bits.
    assert whole.network.steps[0].most < 2**11
    assert np.mean(whole.predict(x) == made.predict(x)) > 0.9


@pytest.mark.slow
def test_levels_on_a_grid_stay_as_they_are() -> None:
    assert round_levels(np.array([-0.75, 0.0, 0.5]), 127) == (0.25, (-3, 0, 2), 0.0)
    unit, whole, error = round_levels(np.array([-1.0, np.pi / 10]), 127)
    assert 0 < error < 1 / 127
    assert abs(unit * whole[0] + 1.0) <= error
    assert round_levels(np.zeros(3), 127)[1] == (0, 0, 0)
    grid = hntk.staircase([-0.5, 0.3], [-1.0, 0.0, 1.5])
    net = hntk.draw_network([grid], [20], 10, tau0=1.0, law="ternary", key=jax.random.key(0))
    net = hntk.Network(net.weights, net.activations, (0.0,), None, None)
    made = hntk.to_integers(net, x=np.eye(10))
    assert isinstance(made, hntk.IntegerNetwork)
    assert made.steps[0].levels == (-2, 0, 3)
    assert made.rounding == (0.0,)
    features = np.concatenate(list(made.feature_batches(np.eye(10))))
    # The unit is 1/127, and no sum is close to a threshold.
    np.testing.assert_allclose(features * made.unit, net.features(np.eye(10)), rtol=1e-6)


@pytest.mark.slow
def test_what_cannot_be_whole_is_said() -> None:
    made = classifier(levels=4)
    x = np.zeros((2, INPUTS))
    with pytest.raises(ValueError, match="x="):
        hntk.to_integers(made)
    with pytest.raises(ValueError, match="normalization="):
        hntk.to_integers(made, pixels=True)
    with pytest.raises(ValueError, match="level_bits"):
        hntk.to_integers(made, x=x, level_bits=20)
    relu = hntk.draw_network(["relu"], [20], INPUTS, tau0=1.0, law="ternary", key=jax.random.key(0))
    with pytest.raises(hntk.NotIntegerError, match="hntk.compress"):
        hntk.to_integers(relu, x=x)
    dense = hntk.draw_network(["sign"], [20], INPUTS, tau0=1.0, key=jax.random.key(0))
    with pytest.raises(hntk.NotIntegerError, match="float32 weights"):
        hntk.to_integers(dense, x=x)
    wide = hntk.draw_network(["sign"], [20], 2000, tau0=1.0, law="bernoulli", key=jax.random.key(0))
    with pytest.raises(hntk.NotIntegerError, match="input_bits"):
        hntk.to_integers(wide, x=np.ones((1, 2000)), input_bits=16)
    whole = whole_classifier(pixels=True)
    for wrong in (raw_samples(whole) + 0.5, raw_samples(whole) - 300.0):
        with pytest.raises(ValueError, match="raw images"):
            whole.scores(wrong)
    with pytest.raises(ValueError, match="coordinates"):
        whole.scores(np.zeros((2, INPUTS + 1)))


@pytest.mark.parametrize("name", ["level_bits", "readout_bits", "input_bits"])
@pytest.mark.parametrize("bits", [0, 1, 17, -8, 10**30, 8.0, float("nan"), "8", True, False, [8], b"8", np.float32(8)])
def test_bits_out_of_range_are_refused(name: str, bits: object) -> None:
    made = classifier(widths=(5,))
    with pytest.raises(ValueError, match=rf"{name} must be .*from 2 to 16"):
        hntk.to_integers(made, x=np.ones((2, INPUTS)), **{name: bits})  # type: ignore[arg-type]
    if name == "level_bits":
        with pytest.raises(ValueError, match="from 2 to 16"):
            hntk.on_grid(made.network, bits)  # type: ignore[arg-type]


def test_bits_of_any_whole_type_are_taken() -> None:
    made, x = classifier(widths=(5,)), np.ones((2, INPUTS))
    for bits in (np.int8(4), np.uint64(4), np.array(4)):
        assert hntk.to_integers(made, x=x, level_bits=bits) is not None  # type: ignore[arg-type]
        assert hntk.on_grid(made.network, bits).widths == (5,)  # type: ignore[arg-type]


ZEROS = np.zeros(INPUTS, np.float32)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"x": np.full((2, INPUTS), np.nan)}, "NaN"),
        ({"x": np.full((2, INPUTS), np.inf)}, "NaN or inf"),
        ({"x": np.full((2, INPUTS), 1e300)}, "rescale it"),
        ({"x": np.full((2, INPUTS), 1e-300)}, "no factor"),
        ({"x": np.ones((2, INPUTS + 1))}, "columns"),
        ({"x": np.ones(INPUTS)}, "shape"),
        ({"x": np.ones((0, INPUTS))}, "shape"),
        ({"x": "samples"}, "x must"),
        ({"pixels": True, "normalization": (np.zeros(3, np.float32), 1.0)}, "coordinates"),
        ({"pixels": True, "normalization": (np.full(INPUTS, np.nan), 1.0)}, "finite"),
        ({"pixels": True, "normalization": (np.full(INPUTS, 1e20), 1.0)}, "0 to 255"),
        ({"pixels": True, "normalization": (ZEROS, 0.0)}, "scale"),
        ({"pixels": True, "normalization": (ZEROS, -1.0)}, "scale"),
        ({"pixels": True, "normalization": (ZEROS, float("nan"))}, "scale"),
        ({"x": np.ones((2, INPUTS)), "normalization": (np.zeros(3), 1.0)}, "coordinates"),
    ],
    ids=lambda v: v if isinstance(v, str) else "-".join(v),
)
def test_samples_and_normalizations_that_do_not_fit_are_refused(arguments: dict, why: str) -> None:
    def asked() -> object:
        made = {name: hntk.Normalization(*v) if name == "normalization" else v for name, v in arguments.items()}
        return hntk.to_integers(classifier(widths=(5,)), **made)

    with pytest.raises(ValueError, match=why):
        asked()


def test_what_is_not_of_the_right_type_is_refused() -> None:
    made, x = classifier(widths=(5,)), np.ones((2, INPUTS))
    for wrong in (None, 5, "net", whole_classifier(), whole_classifier().network):
        with pytest.raises(TypeError, match=r"hntk\.compress|use it as it is"):
            hntk.to_integers(wrong, x=x)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"hntk\.compress|use it as it is"):
            hntk.on_grid(wrong)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="Normalization"):
        hntk.to_integers(made, x=x, normalization=(0.0, 1.0))  # type: ignore[arg-type]
    for pixels in ("no", 1, None, x):
        with pytest.raises(TypeError, match="True or False"):
            hntk.to_integers(made, x=x, pixels=pixels)  # type: ignore[arg-type]
    for changes in (
        {"weights": np.full((5, 2), np.nan)},
        {"weights": np.full((5, 2), 1e300)},
        {"offset": np.array([0.0, np.inf])},
        {"weights": np.ones((4, 2))},
        {"offset": np.zeros(3)},
        {"classes": np.array([]), "weights": np.ones((5, 0)), "offset": np.zeros(0)},
    ):
        with pytest.raises(ValueError, match="fit it again|fit the readout"):
            hntk.to_integers(dataclasses.replace(made, **changes), x=x)  # type: ignore[arg-type]


def test_a_staircase_of_one_level_is_rounded() -> None:
    net = classifier(widths=(5,)).network
    for sigma in (hntk.Staircase((0.5,), (1.5,) * 2), hntk.Staircase((0.0, 1.0), (2.0,) * 3)):
        flat = dataclasses.replace(net, activations=(sigma,), centres=(0.0,))
        made = hntk.to_integers(hntk.on_grid(flat), x=np.ones((2, INPUTS)))
        assert isinstance(made, hntk.IntegerNetwork)
        assert made.steps[0].levels[0] * made.unit * 5**0.5 == sigma.levels[0]


def test_levels_are_rounded_alike_in_pieces_and_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = np.random.default_rng(0).normal(size=40)
    whole = round_levels(levels, 2047)
    monkeypatch.setattr("hntk.deploy.rounding.MOST_ERRORS", 100)
    assert round_levels(levels, 2047) == whole
    # Trying all units at once would take 260 GB.
    assert max(round_levels(np.linspace(-1, 1, 10**6), 3)[1]) == 3


@pytest.mark.parametrize(("width", "sparsity", "bits"), [(64, 0.5, 12), (512, 0.5, 10), (2048, 0.5, 8), (2048, 0.0, 8)])
def test_levels_before_orthogonal_blocks_leave_room_for_numbers_of_two_bytes(
    width: int, sparsity: float, bits: int
) -> None:
    groups = round(1 / (1 - sparsity))
    rng = np.random.default_rng(0)
    weights = [random_blocks(rng, (width, 40), groups, "none"), random_blocks(rng, (8, width), groups, "none")]
    assert default_level_bits(weights) == bits
    most = 2 ** (bits - 1) - 1
    assert number_bytes(weights[1], most) == (4 if sparsity == 0.0 else 2)
    # the first layer reads the input, whose bits are others
    assert default_level_bits(weights[:1]) == 12


def test_levels_on_a_fine_grid_keep_their_bits_before_orthogonal_blocks() -> None:
    rng = np.random.default_rng(0)
    weights = (random_blocks(rng, (2048, 40), 2, "none"), random_blocks(rng, (8, 2048), 2, "none"))
    levels = (-1.0, 0.3, 1.0)
    stairs = hntk.staircase([-0.5, 0.5], levels)
    net = hntk.Network(weights, (stairs, stairs), (0.0, 0.0), None, None)
    x = np.eye(40)
    made, fine = hntk.to_integers(net, x=x), hntk.to_integers(hntk.on_grid(net, 12), x=x)
    assert made.steps[0].most <= 127 < fine.steps[0].most
    assert max(fine.rounding) == 0.0
    grid = hntk.to_integers(hntk.on_grid(net), x=x)
    assert max(grid.rounding) == 0.0
    assert grid.steps[0].most <= 127
