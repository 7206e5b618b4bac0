"""The int8 baseline: whole numbers near the float network's, and the same in C as in Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.shipping import microcontrollers, toolchain
from experiments.shipping.int8_network import Int8Network, as_multiplier, quantised
from experiments.shipping.int8_program import LAYOUTS, int8_program
from experiments.shipping.microcontrollers import DEVICES
from hntk.networks.integer_inputs import Pixels, PooledPixels

SIDE = 12
INPUTS = {"pixels": Pixels(), "pooled": PooledPixels((SIDE, SIDE), (8, 8))}
needs_gcc = pytest.mark.skipif(not toolchain.has("gcc"), reason="needs gcc")


def layers_of(widths: tuple[int, ...], seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [
        (rng.standard_normal((d, p)) * np.sqrt(2 / p), 20 * rng.standard_normal(d))
        for p, d in zip(widths, widths[1:], strict=False)
    ]


def raw_images(n: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, SIDE**2)).astype(np.uint8)


def network(inputs: str, hidden: tuple[int, ...] = (16, 12)) -> Int8Network:
    how, raw = INPUTS[inputs], raw_images(200)
    values = np.asarray(how(raw))
    return quantised(layers_of((values.shape[1], *hidden, 10)), values, np.arange(10), how)


def float_scores(layers: list, values: np.ndarray) -> np.ndarray:
    for weights, bias in layers[:-1]:
        values = np.maximum(values @ weights.T + bias, 0)
    return values @ layers[-1][0].T + layers[-1][1]


def test_scores_follow_the_float_network_and_better_with_finer_weights() -> None:
    made, raw = network("pixels"), raw_images(300, 2)
    scores = float_scores(layers_of((SIDE**2, 16, 12, 10)), raw.astype(float))
    whole = made.scores(raw)
    slope = float(np.vdot(scores, whole) / np.vdot(scores, scores))
    error = np.linalg.norm(whole / slope - scores) / np.linalg.norm(scores)
    assert error < 0.03
    # a coarser grid of the same weights, of 5 bits, is further away
    coarse = [
        (np.rint(w / np.abs(w).max() * 15) * np.abs(w).max() / 15, b) for w, b in layers_of((SIDE**2, 16, 12, 10))
    ]
    assert np.linalg.norm(float_scores(coarse, raw.astype(float)) - scores) / np.linalg.norm(scores) > 2 * error


def test_sums_are_brought_to_8_bits_as_the_quotient_of_scales_says() -> None:
    sums = np.arange(-1000, 200_000, 37)
    for factor in (0.7, 1 / 3, 0.0011, 2.0**-20):
        multiplier, shift = as_multiplier(factor)
        assert 2**30 <= multiplier < 2**31
        np.testing.assert_allclose(multiplier / 2**shift, factor, rtol=2**-30)
        scaled = (sums * multiplier + (1 << (shift - 1))) >> shift
        assert np.abs(scaled - sums * factor).max() <= 0.5 + 1e-3
    for factor in (1.5, 2.0**-31):
        with pytest.raises(ValueError, match=r"would be multiplied by .* smaller scale"):
            as_multiplier(factor)


@needs_gcc
@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_c_predicts_what_python_predicts(tmp_path: Path, inputs: str, layout: str) -> None:
    made, raw = network(inputs), np.concatenate([raw_images(200, 3), np.zeros((1, SIDE**2), np.uint8)])
    raw[1] = 255
    built = toolchain.compile_program(int8_program(made, layout=layout), tmp_path)
    np.testing.assert_array_equal(toolchain.run_program(built, raw), np.argmax(made.scores(raw), axis=1))


@pytest.mark.slow
@pytest.mark.skipif(
    not toolchain.has(microcontrollers.CROSS, microcontrollers.EMULATOR), reason="needs gcc-arm-none-eabi and qemu"
)
@pytest.mark.parametrize(
    ("device", "layouts"), [("cortex-m4", ("loop", "columns", "blocks")), ("cortex-m0plus", ("loop", "columns"))]
)
def test_a_microcontroller_predicts_the_same_in_fewer_instructions_by_blocks(
    tmp_path: Path, device: str, layouts: tuple[str, ...]
) -> None:
    made, raw = network("pooled", (64, 32)), raw_images(20, 4)
    taken = []
    for layout in layouts:
        program = int8_program(made, layout=layout)
        firmware = microcontrollers.link_firmware(program, tmp_path, "uint8_t", DEVICES[device])
        emulated = microcontrollers.emulate(firmware, raw)
        np.testing.assert_array_equal(made.classes[emulated.indices], made.predict(raw))
        assert firmware.ram == program.scratch_bytes + SIDE**2
        taken.append(emulated.instructions)
    assert taken == sorted(taken, reverse=True)
    # a plain loop takes 5 instructions a product and more; SMLAD about 1.5, and pooling and the rest come on top
    products = 64 * 64 + 64 * 32 + 32 * 12
    assert taken[0] > 5 * products
    if device == "cortex-m4":
        assert taken[-1] < 3 * products


def test_what_a_program_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="layout must be one of loop, columns, blocks"):
        int8_program(network("pixels"), layout="rows")
    coarse = PooledPixels((29, 29), (16, 16))
    values = np.zeros((2, 256), np.uint8)
    values[1] = 255
    with pytest.raises(ValueError, match="cells of area 841 are no products of 32 bits: pool to fewer"):
        int8_program(quantised(layers_of((256, 4, 10)), values, np.arange(10), coarse))
    with pytest.raises(ValueError, match="multiples of 4"):
        int8_program(network("pixels", (15,)))
