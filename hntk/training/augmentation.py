"""Random variations of training samples: deformed images, noise, coordinates left out."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.arguments import as_count, as_nonnegative, as_positive
from hntk._utils.devices import exact_product
from hntk.training.warping import affine_basis, affine_bound, affine_coefficients, smooth_basis, warp

# Elastic displacements beyond so many standard deviations, one of 370, are cut.
ELASTIC_BOUND = 3.0
# What needs to know which coordinates are neighbours.
OF_IMAGES = ("shift", "rotation", "scale", "shear", "elastic", "flip", "cutout")


@dataclass(frozen=True)
class Augmentation:
    r"""Random variations of training samples, drawn anew for each sample every time it is seen.

    An object is called as ``augment(key, samples)``, inside `jax.jit` too. Samples and results are whole numbers in
    float32. Images are deformed with linear interpolation, by one displacement field per image: the affine map and the
    elastic deformation are added before pixels are taken. Noise and dropout also vary samples that are no images. The
    defaults leave everything as it is.

    Attributes
    ----------
    shift : float
        Images are moved by up to so many pixels along each axis.
    rotation : float
        Images are rotated by up to so many degrees either way, at most 45.
    scale : float
        Height and width grow or shrink by up to this share, each by its own factor; at most .5.
    shear : float
        Rows are moved by up to so many pixels per row from the middle one; at most 1.
    elastic : float
        Root mean square displacement of an elastic deformation (Simard, Steinkraus and Platt, 2003), along each axis,
        in pixels. It is :math:`\alpha / (2 \sigma \sqrt{3 \pi})` for uniform noise on [-1, 1] that is smoothed by a
        normalised Gaussian and multiplied by α: α = 34 and σ = 4 give 1.38.
    elastic_sigma : float
        Standard deviation of that Gaussian, in pixels: larger is smoother.
    flip : float
        Probability that left and right are exchanged.
    cutout : int
        Side in pixels of a square that is set to 0, its centre anywhere in the image (DeVries and Taylor, 2017).
    cutout_probability : float
        Probability that an image gets this square.
    noise : float
        Standard deviation of normal noise that every coordinate gets, in units of the samples.
    dropout : float
        Share of coordinates that are set to 0, below 1.

    Raises
    ------
    ValueError
        If a number lies outside its range.

    Examples
    --------
    >>> import hntk, jax, jax.numpy as jnp
    >>> augment = hntk.Augmentation(shift=2, rotation=10)
    >>> images = jnp.zeros((5, 28, 28)).at[:, 10:18, 12:16].set(255)
    >>> augment(jax.random.key(0), images).shape
    (5, 28, 28)
    >>> str(augment)
    'shift 2, rotation 10'
    """

    shift: float = 0.0
    rotation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    elastic: float = 0.0
    elastic_sigma: float = 4.0
    flip: float = 0.0
    cutout: int = 0
    cutout_probability: float = 0.5
    noise: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        largest = {"rotation": 45, "scale": 0.5, "shear": 1, "flip": 1, "cutout_probability": 1}
        for field in fields(self):
            given = getattr(self, field.name)
            value = as_nonnegative(given, field.name) if field.name != "cutout" else as_count(given, "cutout", least=0)
            if value > largest.get(field.name, math.inf):
                raise ValueError(f"{field.name} must be at most {largest[field.name]}, got {value:g}.")
            object.__setattr__(self, field.name, value)
        as_positive(self.elastic_sigma, "elastic_sigma", "pixels")
        if self.dropout >= 1:
            raise ValueError(f"dropout must be below 1, got {self.dropout:g}: nothing would be left.")

    @classmethod
    def digits(cls, strength: float = 0.75) -> Augmentation:
        """Return settings for handwritten digits and letters of about 28 by 28 pixels.

        Parameters
        ----------
        strength : float
            What the displacements are multiplied by: more for large networks and long trainings.

        Returns
        -------
        Augmentation
            Shifts of 1.5 pixels, rotations of 12 degrees, scales and shears of .12 and elastic deformations of 1 pixel
            that are smooth over 5, times ``strength``.

        Raises
        ------
        ValueError
            If the strength is no number from 0 to 3.
        """
        strength = as_nonnegative(strength, "strength")
        if strength > 3:
            raise ValueError(f"strength must be at most 3, got {strength:g}.")
        shift, rotation, scale, shear, elastic = (strength * number for number in (1.5, 12, 0.12, 0.12, 1.0))
        return cls(shift=shift, rotation=rotation, scale=scale, shear=shear, elastic=elastic, elastic_sigma=5)

    @classmethod
    def clothing(cls) -> Augmentation:
        """Return settings for centred objects without left and right, such as Fashion-MNIST's.

        Returns
        -------
        Augmentation
            Shifts of 1.5 pixels, scales of .05, and flips of half of the images.
        """
        return cls(shift=1.5, scale=0.05, flip=0.5)

    def __str__(self) -> str:
        """Return the settings that have an effect, as a short text."""
        idle = {
            name
            for name, of in (("elastic_sigma", "elastic"), ("cutout_probability", "cutout"))
            if not getattr(self, of)
        }
        shown = [(field.name, getattr(self, field.name)) for field in fields(self) if field.name not in idle]
        return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in shown if value) or "none"

    @property
    def deforms(self) -> bool:
        """Whether pixels are moved, other than by a flip."""
        return any(getattr(self, name) for name in ("shift", "rotation", "scale", "shear", "elastic"))

    @property
    def of_images(self) -> bool:
        """Whether samples must be images."""
        return any(getattr(self, name) for name in OF_IMAGES)

    def __call__(
        self, key: Array, samples: Float[Array, "n h w"] | Float[Array, "n p"], limits: tuple[float, float] = (0, 255)
    ) -> Float[Array, "n h w"] | Float[Array, "n p"]:
        """Return varied samples, whole numbers within limits.

        Parameters
        ----------
        key : jax.Array
            One random key. Each setting draws its own numbers from it, whatever the other settings are.
        samples : (n, h, w) or (n, p) array
            Whole numbers; images are (n, h, w).
        limits : pair of float
            Least and largest value of a coordinate.

        Returns
        -------
        array of float32 of the same shape
            The varied samples.

        Raises
        ------
        ValueError
            If the samples are neither images nor rows, or rows and a setting is for images.
        """
        wanted = (3,) if self.of_images else (2, 3)
        if samples.ndim not in wanted:
            kinds = "images" if self.of_images else "images or rows of samples"
            raise ValueError(
                f"the augmentation ({self}) takes {kinds}, got an array of shape {samples.shape}: give (n, height, "
                "width), or only noise and dropout for samples that are no images."
            )
        varied = samples.astype(jnp.float32)
        keys = [jax.random.fold_in(key, number) for number in range(5)]
        if self.flip:
            varied = self._flipped(keys[1], varied)
        if self.deforms:
            varied = self._deformed(keys[0], varied)
        if self.noise:
            varied += np.float32(self.noise) * jax.random.normal(keys[2], varied.shape, jnp.float32)
        if self.cutout:
            varied = self._cut(keys[3], varied)
        if self.dropout:
            varied = jnp.where(_chosen(keys[4], self.dropout, varied.shape), 0, varied)
        return jnp.clip(jnp.round(varied), *limits)

    def _deformed(self, key: Array, images: Float[Array, "n h w"]) -> Float[Array, "n h w"]:
        n, height, width = images.shape
        angle = math.radians(self.rotation)
        reach = affine_bound(height, width, angle, self.shear, self.scale, self.shift) + ELASTIC_BOUND * self.elastic
        displacements = self.displacements(key, n, height, width)
        return warp(images, *displacements, bound=math.ceil(reach))

    def displacements(self, key: Array, n: int, height: int, width: int) -> Float[Array, "2 n height width"]:
        """Return the random displacements, in pixels, that n images get: vertical ones, then horizontal ones.

        Parameters
        ----------
        key : jax.Array
            One random key.
        n : int
            Number of images.
        height, width : int
            Size of an image.

        Returns
        -------
        (2, n, height, width) array of float32
            Displacements of the two passes of ``hntk.training.warping.warp``.
        """
        affine, elastic = jax.random.split(key)
        draws = jax.random.uniform(affine, (6, n), jnp.float32, minval=-1, maxval=1)
        angle, shear = math.radians(self.rotation) * draws[0], self.shear * draws[1]
        coefficients = affine_coefficients(angle, shear, 1 / (1 + self.scale * draws[2:4]), self.shift * draws[4:])
        coefficients, basis = jnp.concatenate(coefficients), affine_basis(height, width)
        if self.elastic:
            smooth = smooth_basis(height, width, self.elastic_sigma)
            weights = np.float32(self.elastic) * jax.random.normal(elastic, (2 * n, len(smooth)), jnp.float32)
            coefficients = jnp.concatenate([coefficients, weights], axis=1)
            basis = np.concatenate([basis, smooth])
        return exact_product(coefficients, basis).reshape(2, n, height, width)

    def _flipped(self, key: Array, images: Float[Array, "n h w"]) -> Float[Array, "n h w"]:
        # A product with the reversed unit matrix is exact, and several times faster on CPUs than reading backwards.
        backwards = np.eye(images.shape[2], dtype=np.float32)[::-1]
        mirrored = exact_product(images, backwards)
        return jnp.where(_chosen(key, self.flip, (len(images), 1, 1)), mirrored, images)

    def _cut(self, key: Array, images: Float[Array, "n h w"]) -> Float[Array, "n h w"]:
        place, whether = jax.random.split(key)
        inside = _chosen(whether, self.cutout_probability, (len(images), 1, 1))
        for axis, draws in zip((1, 2), jax.random.split(place), strict=True):
            size = images.shape[axis]
            first = jax.random.randint(draws, (len(images), 1, 1), 0, size) - self.cutout // 2
            passed = jnp.expand_dims(jnp.arange(size), (0, 3 - axis)) - first
            inside &= (passed >= 0) & (passed < self.cutout)
        return jnp.where(inside, 0, images)


def _chosen(key: Array, probability: float, shape: tuple[int, ...]) -> Array:
    return jax.random.uniform(key, shape, jnp.float32) < probability
