"""Pixels averaged over cells, against fractions."""

from __future__ import annotations

from fractions import Fraction as F

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hntk.networks.integer_inputs import PooledPixels


def overlap(size: int, cells: int, cell: int, pixel: int) -> F:
    """Return the part of a pixel that lies in a cell."""
    return max(F(0), min(F(cell + 1) * size / cells, F(pixel + 1)) - max(F(cell) * size / cells, F(pixel)))


def mean(image: np.ndarray, pooled: tuple[int, int], i: int, j: int) -> F:
    """Return the mean of cell (i, j)."""
    (height, width), (h, w) = image.shape, pooled
    columns = [overlap(width, w, j, c) for c in range(width)]
    rows = [sum(part * int(pixel) for part, pixel in zip(columns, row, strict=True) if part) for row in image]
    total = sum(overlap(height, h, i, r) * row for r, row in enumerate(rows))
    return total * h * w / (height * width)


@pytest.mark.parametrize(
    ("shape", "pooled"),
    [((7, 7), (4, 4)), ((5, 8), (3, 2)), ((6, 9), (6, 9)), ((4, 9), (1, 1)), ((9, 4), (9, 3)), ((28, 28), (16, 14))],
)
def test_cells_are_means_rounded_half_up(shape: tuple[int, int], pooled: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, *shape)).astype(np.uint8)
    images[2] = rng.choice([0, 255], shape)
    inputs = PooledPixels(shape, pooled)
    found = np.asarray(inputs(images.reshape(3, -1)))
    assert found.dtype == np.float32
    h, w = pooled
    places = [(i, j) for i in range(h) for j in range(w)]
    places = [places[k] for k in rng.choice(len(places), min(20, len(places)), replace=False)]
    for image, values in zip(images, found.reshape(3, h, w), strict=True):
        wanted = [(2 * mean(image, pooled, i, j) + 1) // 2 for i, j in places]
        assert [values[place] for place in places] == wanted


def test_halves_are_rounded_up_and_nothing_else_is() -> None:
    """A cell of two pixels takes every mean from 0 to 255, whole or half."""
    left, right = np.meshgrid(np.arange(256), np.arange(256))
    raw = np.stack([left.ravel(), right.ravel()], axis=1).astype(np.uint8)
    inputs = PooledPixels((1, 2), (1, 1))
    found = np.asarray(inputs(raw))[:, 0]
    np.testing.assert_array_equal(found, (left + right + 1).ravel() // 2)
    compiled = jax.jit(inputs)(jnp.asarray(raw))
    np.testing.assert_array_equal(compiled[:, 0], found)


def test_equal_pixels_keep_their_value_in_the_largest_cells() -> None:
    """255 · A is just below 2²⁴, so that sums of float32 are at the limit of what is exact."""
    inputs = PooledPixels((257, 255), (2, 254))
    assert inputs.area == 257 * 255
    assert inputs.defect is None
    raw = np.repeat(np.array([[0], [1], [254], [255]], np.uint8), inputs.raw_size, axis=1)
    np.testing.assert_array_equal(inputs(raw), np.repeat([[0], [1], [254], [255]], 2 * 254, axis=1))


@pytest.mark.parametrize(
    ("shape", "pooled", "why"),
    [
        ((4, 4), (5, 4), "no \\(5, 4\\) cells"),
        ((4, 4), (0, 4), "positive whole numbers"),
        ((4, 4.0), (2, 2), "positive whole numbers"),
        ((4,), (2, 2), "positive whole numbers"),
        ((257, 257), (256, 256), "2\\*\\*24"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shape: tuple, pooled: tuple, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        PooledPixels(shape, pooled)(np.zeros((1, 16), np.uint8))


def test_samples_that_are_no_images_are_refused() -> None:
    inputs = PooledPixels((4, 4), (2, 2))
    with pytest.raises(ValueError, match="15 coordinates but the network takes 16"):
        inputs(np.zeros((1, 15), np.uint8))
    with pytest.raises(ValueError, match="raw images"):
        inputs(np.full((1, 16), 0.5))
