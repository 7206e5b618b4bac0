"""Random variations of samples: identities, SciPy's resampling, the law of elastic fields, independent draws."""

from __future__ import annotations

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

import hntk
from hntk import Augmentation
from hntk.training.warping import affine_basis, affine_bound, affine_coefficients, smooth_basis, warp

KEY = jax.random.key(0)
EVERYTHING = Augmentation(1, 5, 0.05, 0.05, elastic=0.3, flip=0.5, cutout=5, noise=5, dropout=0.1)


def images(n: int = 6, height: int = 20, width: int = 17) -> np.ndarray:
    """Return smooth blobs of 0 to 255 that reach zero at the border."""
    noise = np.random.default_rng(3).uniform(size=(n, height, width))
    noise[:, :4] = noise[:, -4:] = noise[:, :, :4] = noise[:, :, -4:] = 0
    smooth = ndimage.gaussian_filter(noise, (0, 1.5, 1.5), truncate=2)
    return np.rint(255 * smooth / smooth.max()).astype(np.float32)


def affine(x: np.ndarray, *, angle: float = 0, shear: float = 0, zoom=(1.0, 1.0), shift=(0.0, 0.0)) -> np.ndarray:
    """Return images of one affine map, by the two passes."""
    n, height, width = x.shape
    angles, shears = (jnp.full(n, number, jnp.float32) for number in (angle, shear))
    zooms, shifts = (jnp.tile(jnp.array([pair], jnp.float32).T, n) for pair in (zoom, shift))
    coefficients = affine_coefficients(angles, shears, zooms, shifts)
    vertical, horizontal = ((c @ affine_basis(height, width)).reshape(x.shape) for c in coefficients)
    scale = max(abs(1 / z - 1) for z in zoom)
    bound = math.ceil(affine_bound(height, width, abs(angle), abs(shear), scale, max(map(abs, shift))))
    assert max(jnp.abs(vertical).max(), jnp.abs(horizontal).max()) <= bound
    return np.asarray(warp(jnp.asarray(x), vertical, horizontal, bound))


def by_scipy(x: np.ndarray, matrix: np.ndarray, shift=(0.0, 0.0)) -> np.ndarray:
    """Return images of an affine map of (y, x) about the centre, by bilinear interpolation in one pass."""
    centre = (np.array(x.shape[1:]) - 1) / 2
    offset = centre + shift - matrix @ centre
    return np.stack([ndimage.affine_transform(s, matrix, offset, order=1, mode="grid-constant") for s in x])


def test_no_settings_change_nothing() -> None:
    x = jnp.asarray(images())
    assert np.array_equal(jax.jit(Augmentation())(KEY, x), x)
    fields = jnp.zeros(x.shape, jnp.float32)
    assert np.array_equal(warp(x, fields, fields, 3), x)
    assert not np.array_equal(Augmentation(shift=1)(KEY, x), x)


@pytest.mark.parametrize(("down", "right"), [(1, 0), (0, -2), (3, 2), (-40, 0)])
def test_whole_shifts_move_pixels(down: int, right: int) -> None:
    x = np.random.default_rng(1).integers(0, 256, (3, 9, 12)).astype(np.float32)
    moved = warp(jnp.asarray(x), jnp.full(x.shape, -down, jnp.float32), jnp.full(x.shape, -right, jnp.float32), 40)
    expected = np.stack([ndimage.shift(image, (down, right), order=0) for image in x])
    assert np.array_equal(moved, expected)


@pytest.mark.parametrize("zoom", [(1.0, 1.0), (1.1, 0.9)])
def test_shifts_and_scales_are_scipys_bilinear_interpolation(zoom: tuple[float, float]) -> None:
    x = np.random.default_rng(1).integers(0, 256, (3, 9, 12)).astype(np.float32)
    found = affine(x, zoom=zoom, shift=(0.3, -1.6))
    assert np.allclose(found, by_scipy(x, np.diag(zoom), (0.3, -1.6)), atol=2e-3)


@pytest.mark.parametrize("degrees", [-40, -12, 5, 15])
def test_rotations_are_scipys(degrees: float) -> None:
    x = images()
    found = affine(x, angle=math.radians(degrees))
    expected = ndimage.rotate(x, degrees, axes=(2, 1), reshape=False, order=1)
    wrong = ndimage.rotate(x, -degrees, axes=(2, 1), reshape=False, order=1)
    # The same interpolation of columns, in two passes instead of one: what differs is of second order.
    assert np.abs(found - expected).max() < 10
    assert np.abs(found - expected).mean() < 0.04 * np.abs(wrong - expected).mean()


def test_all_affine_maps_together_are_scipys() -> None:
    x, angle, shear, zoom = images(), 0.25, -0.2, (1.1, 0.92)
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    of_xy = rotation @ [[1, shear], [0, 1]] @ np.diag(zoom[::-1])
    expected = by_scipy(x, of_xy[::-1, ::-1], (0.7, -1.2))
    found = affine(x, angle=angle, shear=shear, zoom=zoom, shift=(0.7, -1.2))
    assert np.abs(found - expected).max() < 12
    assert np.abs(found - expected).mean() < 0.05 * np.abs(x - expected).mean()


def test_elastic_fields_have_the_covariance_of_smoothed_noise() -> None:
    alpha, sigma, size = 34, 3.0, 16
    unit = alpha / (2 * sigma * math.sqrt(3 * math.pi))
    fields = np.asarray(Augmentation(elastic=unit, elastic_sigma=sigma).displacements(KEY, 3000, size, size))
    noise = np.random.default_rng(0).uniform(-1, 1, (2000, 48, 48))
    smoothed = alpha * ndimage.gaussian_filter(noise, (0, sigma, sigma))[:, 16:32, 16:32]
    # Of 6000 fields a variance is off by 1.8 %, of 2000 by 3.2 %, as a standard deviation.
    for row, column in [(8, 8), (8, 11), (5, 8), (12, 12), (0, 0), (15, 15)]:
        ours, theirs = (
            np.mean(x[:, 8, 8] * x[:, row, column]) / unit**2 for x in (fields.reshape(-1, size, size), smoothed)
        )
        law = math.exp(-((row - 8) ** 2 + (column - 8) ** 2) / (4 * sigma**2))
        assert ours == pytest.approx(law, abs=0.08)
        assert theirs == pytest.approx(law, abs=0.13)
    vertical, horizontal = fields
    assert abs(np.mean(vertical[:, 8, 8] * horizontal[:, 8, 8])) < 5 * unit**2 / math.sqrt(3000)


@pytest.mark.parametrize("sigma", [1.0, 4.0, 50.0])
def test_elastic_fields_have_variance_1_everywhere(sigma: float) -> None:
    basis = smooth_basis(28, 20, sigma)
    assert np.allclose(np.sum(basis**2, axis=0), 1)
    # The smoother a field, the fewer numbers determine it.
    assert len(basis) < 560 / sigma


def test_draws_depend_on_the_key_alone_and_differ_by_sample() -> None:
    x = jnp.tile(jnp.asarray(images(1)), (7, 1, 1))
    draw = jax.jit(EVERYTHING)
    first = np.asarray(draw(KEY, x))
    assert np.array_equal(first, draw(KEY, x))
    assert len(np.unique(first.reshape(7, -1), axis=0)) == 7
    assert not np.array_equal(first, draw(jax.random.key(1), x))
    assert first.dtype == np.float32
    assert np.array_equal(first, np.rint(np.clip(first, 0, 255)))
    keys = jax.random.split(KEY, 2)
    together = jax.vmap(EVERYTHING, in_axes=(0, None))(keys, x)
    # Rounding may fall to the other side where a product of matrices sums in another order.
    assert np.abs(together - jnp.stack([draw(key, x) for key in keys])).max() <= 1


@pytest.mark.parametrize("setting", ["shift", "flip", "cutout", "noise", "dropout"])
def test_settings_do_not_change_the_draws_of_others(setting: str) -> None:
    x = jnp.asarray(images(40))
    alone = replace(Augmentation(), **{setting: 1 if setting in ("shift", "cutout", "flip") else 0.5})
    other = replace(alone, **{"flip" if setting != "flip" else "shift": 1e-9})
    assert np.abs(np.asarray(alone(KEY, x)) - other(KEY, x)).max() <= 1


def test_flips_dropout_and_cutouts_have_their_shares() -> None:
    x = np.random.default_rng(0).integers(1, 256, (2000, 8, 9)).astype(np.float32)
    flipped = np.asarray(Augmentation(flip=0.3)(KEY, jnp.asarray(x)))
    mirrored = np.all(flipped == x[:, :, ::-1], axis=(1, 2))
    assert np.all(mirrored | np.all(flipped == x, axis=(1, 2)))
    assert mirrored.mean() == pytest.approx(0.3, abs=0.04)
    dropped = np.asarray(Augmentation(dropout=0.2)(KEY, jnp.asarray(x)))
    assert np.all((dropped == x) | (dropped == 0))
    assert np.mean(dropped == 0) == pytest.approx(0.2, abs=0.005)
    cut = np.asarray(Augmentation(cutout=4, cutout_probability=0.6)(KEY, jnp.asarray(x))) == 0
    assert np.mean(cut.any(axis=(1, 2))) == pytest.approx(0.6, abs=0.05)
    assert cut.sum(axis=(1, 2)).max() == 16
    assert np.all(np.sum(np.diff(cut.any(axis=1).astype(int), axis=1, prepend=0) == 1, axis=1) <= 1)


def test_noise_has_its_deviation_and_stays_within_limits() -> None:
    rows = jnp.zeros((4000, 30), jnp.float32)
    noisy = np.asarray(Augmentation(noise=6)(KEY, rows, (-127, 127)))
    # Rounding adds 1/12 to the variance.
    assert noisy.std() == pytest.approx(math.sqrt(36 + 1 / 12), rel=0.01)
    assert np.asarray(Augmentation(noise=600)(KEY, rows, (-127, 127))).min() == -127
    assert np.asarray(Augmentation(noise=6)(KEY, rows)).min() == 0


@pytest.mark.often("augment1", "augment2")
@pytest.mark.parametrize(
    "augment", [Augmentation.digits(), Augmentation.digits(1.5), replace(Augmentation.clothing(), flip=0)]
)
def test_presets_keep_most_of_an_image(augment: Augmentation) -> None:
    x = images(200, 28, 28)
    varied = np.asarray(augment(KEY, jnp.asarray(x)))
    assert np.all(np.any(varied != x, axis=(1, 2)))
    assert varied.sum() == pytest.approx(x.sum(), rel=0.15)
    alike = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(varied, x, strict=True)]
    assert 0.4 < np.mean(alike) < 0.98


def test_texts_name_the_settings_with_an_effect() -> None:
    assert str(Augmentation()) == "none"
    assert str(Augmentation(shift=1.5, elastic=1, flip=0.5)) == "shift 1.5, elastic 1, elastic sigma 4, flip 0.5"
    assert str(Augmentation.digits(0)) == "none"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shift": -1}, "shift must be a non-negative finite number"),
        ({"rotation": 60}, "rotation must be at most 45"),
        ({"scale": 0.9}, "scale must be at most 0.5"),
        ({"shear": math.nan}, "shear must be"),
        ({"elastic_sigma": 0}, "elastic_sigma must be a positive"),
        ({"flip": 1.5}, "flip must be at most 1"),
        ({"cutout": 2.5}, "cutout must be a whole number of at least 0"),
        ({"dropout": 1}, "dropout must be below 1"),
        ({"noise": "much"}, "noise must be"),
    ],
)
def test_numbers_outside_their_range_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**settings)


def test_settings_for_images_refuse_rows() -> None:
    rows = jnp.zeros((5, 784), jnp.float32)
    with pytest.raises(ValueError, match=r"takes images, got an array of shape \(5, 784\)"):
        hntk.Augmentation(shift=1)(KEY, rows)
    with pytest.raises(ValueError, match="images or rows"):
        hntk.Augmentation(noise=1)(KEY, rows[0])
    with pytest.raises(ValueError, match="strength must be at most 3"):
        hntk.Augmentation.digits(4)
