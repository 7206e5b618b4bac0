r"""Random smooth deformations of images, resampled in two passes without a gather.

A deformed image is :math:`y_{ij} = x(i + v_{ij}, j + u_{ij})`. It is computed along columns, then along rows (Catmull
and Smith, 1980), and each pass is a sum over the few shifts that displacements reach,

.. math:: y_{ij} = \sum_{s=-D}^{D} \max(0, 1 - |u_{ij} - s|)\, x_{i,j+s},

which is linear interpolation. On CPUs it vectorises, and costs less than gathering four neighbours as long as
displacements stay below some 12 pixels. XLA compiles the second pass to a loop several times faster where rounding
follows it directly, as in :class:`hntk.Augmentation`.
"""

from __future__ import annotations

import math
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

# Products of eigenvalues below this share of the largest one are left out of a random field.
NEGLIGIBLE = 1e-3


def warp(
    images: Float[Array, "n h w"], vertical: Float[Array, "n h w"], horizontal: Float[Array, "n h w"], bound: int
) -> Float[Array, "n h w"]:
    """Return images whose pixels are taken from displaced places; outside an image there are zeros.

    Parameters
    ----------
    images : (n, h, w) array
        What is deformed.
    vertical : (n, h, w) array
        Displacement in pixels of the first pass: row i of it is interpolated at row i + vertical.
    horizontal : (n, h, w) array
        Displacement in pixels of the second pass, from what the first one gives.
    bound : int
        Largest magnitude of a displacement; larger ones are cut to it.

    Returns
    -------
    (n, h, w) array
        The deformed images.
    """
    return _interpolated(_interpolated(images, vertical, bound, axis=1), horizontal, bound, axis=2)


def _interpolated(images: Array, displacement: Array, bound: int, axis: int) -> Array:
    size = images.shape[axis]
    reach = min(bound, size)
    displacement = jnp.clip(displacement, -reach, reach)
    padded = jnp.pad(images, [(reach, reach) if a == axis else (0, 0) for a in range(images.ndim)])
    # Without a barrier XLA may compute what is read here anew for each of the shifts.
    padded, displacement = jax.lax.optimization_barrier((padded, displacement))
    total = jnp.zeros_like(images)
    for start in range(2 * reach + 1):
        weight = jnp.maximum(0, 1 - jnp.abs(displacement - (start - reach)))
        total += weight * jax.lax.slice_in_dim(padded, start, start + size, axis=axis)
    return total


def affine_coefficients(
    angle: Float[Array, " n"], shear: Float[Array, " n"], zoom: Float[Array, "2 n"], shift: Float[Array, "2 n"]
) -> tuple[Float[Array, "n 3"], Float[Array, "n 3"]]:
    r"""Return the displacements of the two passes of an affine map, as coefficients of 1, y and x from the centre.

    An output pixel (x, y) comes from

    .. math:: R(\theta) \, [[1, k], [0, 1]] \, \mathrm{diag}(f_x, f_y) \, (x, y)^T + (t_x, t_y)^T.

    The first pass displaces by :math:`v(x', y) = \tan\theta \, (x' - t_x) + (f_y / \cos\theta - 1) y + t_y`, where x'
    is the column in the original; the second by :math:`u(x, y) = (f_x \cos\theta - 1) x + f_y (k \cos\theta -
    \sin\theta) y + t_x`.

    Parameters
    ----------
    angle : (n,) array
        Angle θ in radians, below a right angle.
    shear : (n,) array
        Pixels k along x per pixel along y.
    zoom : (2, n) array
        Numbers (f_y, f_x), one over the factors by which images grow.
    shift : (2, n) array
        Numbers (t_y, t_x) in pixels.

    Returns
    -------
    pair of (n, 3) arrays
        Coefficients of 1, y and x of the vertical and of the horizontal displacement, y and x in pixels from the
        image's centre.
    """
    cosine, sine, tangent = jnp.cos(angle), jnp.sin(angle), jnp.tan(angle)
    vertical = jnp.stack([shift[0] - tangent * shift[1], zoom[0] / cosine - 1, tangent], axis=1)
    horizontal = jnp.stack([shift[1], zoom[0] * (shear * cosine - sine), zoom[1] * cosine - 1], axis=1)
    return vertical, horizontal


def affine_bound(height: int, width: int, angle: float, shear: float, scale: float, shift: float) -> float:
    """Return the largest displacement of either pass, for magnitudes of at most these; see `affine_coefficients`.

    ``scale`` is the largest share by which images grow or shrink.
    """
    y, x = (height - 1) / 2, (width - 1) / 2
    large, small, cosine = 1 / (1 - scale), 1 / (1 + scale), math.cos(angle)
    vertical = math.tan(angle) * (x + shift) + max(large / cosine - 1, 1 - small) * y + shift
    slope = large * (shear + math.sin(angle))
    horizontal = max(large - 1, 1 - small * cosine) * x + slope * y + shift
    return max(vertical, horizontal)


@lru_cache(maxsize=16)
def affine_basis(height: int, width: int) -> Float[np.ndarray, "3 hw"]:
    """Return 1, y and x of every pixel, in pixels from the centre."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([np.ones_like(y), y - (height - 1) / 2, x - (width - 1) / 2]).reshape(3, -1).astype(np.float32)


@lru_cache(maxsize=16)
def smooth_basis(height: int, width: int, sigma: float) -> Float[np.ndarray, "m hw"]:
    r"""Return fields whose sum with independent standard normal coefficients is a smooth random field of variance 1.

    White noise smoothed by a Gaussian of standard deviation σ has the covariance :math:`\exp(-(\Delta y^2 + \Delta x^2)
    / 4\sigma^2)`. Its eigenfunctions are products of those along each axis. Those above a thousandth of the largest
    eigenvalue are kept and scaled, so that the variance is 1 in every pixel.

    Parameters
    ----------
    height, width : int
        Size of the image.
    sigma : float
        Standard deviation of the smoothing Gaussian, in pixels.

    Returns
    -------
    (m, height * width) array of float32
        The fields.
    """
    rows, columns = _eigenfunctions(height, sigma), _eigenfunctions(width, sigma)
    fields = np.einsum("ay,bx->abyx", rows, columns).reshape(-1, height * width)
    power = np.sum(fields**2, axis=1)
    fields = fields[power > NEGLIGIBLE * power.max()]
    return (fields / np.sqrt(np.sum(fields**2, axis=0))).astype(np.float32)


def _eigenfunctions(size: int, sigma: float) -> Float[np.ndarray, "size size"]:
    place = np.arange(size)
    values, vectors = np.linalg.eigh(np.exp(-(((place[:, None] - place) / (2 * sigma)) ** 2)))
    return (vectors * np.sqrt(np.maximum(values, 0))).T
