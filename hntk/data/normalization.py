"""Normalisation of raw samples before a network takes them."""

from __future__ import annotations

import warnings

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32

from hntk._utils.arguments import as_positive
from hntk._utils.arrays import real_array
from hntk._utils.pytree import array_dataclass, is_traced
from hntk._utils.rows import as_rows, as_samples
from hntk.data.scaling import Scaling, as_scaling, scale_samples

# A warning tells of root mean square norms this many times larger or smaller than in training.
FAR = 4.0
LARGEST = float(np.finfo(np.float32).max)
REMEDY = (
    "fit it on a hntk.Dataset or with normalization=, which files keep, or normalise the samples as those were that it "
    "was fitted on"
)


@array_dataclass(static=("unit_norm",))
class Normalization:
    """Map from raw samples to those of a network: (raw − centre)/scale, then perhaps whitening and unit norms.

    Attributes
    ----------
    centre : ndarray of shape (p,)
        What is subtracted.
    scale : float
        What is then divided by.
    whitening : ndarray of shape (p, p) or None
        What rows are then multiplied by; None for nothing.
    unit_norm : bool
        Whether every row is divided by its norm at last.

    Raises
    ------
    ValueError
        If something is not finite, the scale is not positive, or shapes do not fit.
    """

    centre: Float32[np.ndarray, " p"]
    scale: float
    whitening: Float32[np.ndarray, "p p"] | None = None
    unit_norm: bool = False

    def __post_init__(self) -> None:
        centre = np.asarray(self.centre)
        if centre.ndim != 1 or not centre.size or not np.all(np.isfinite(centre)):
            raise ValueError(f"centre must be a finite (p,) array, got shape {centre.shape}.")
        as_positive(self.scale, "scale")
        if self.whitening is None:
            return
        matrix = np.asarray(self.whitening)
        if matrix.shape != (centre.size, centre.size) or not np.all(np.isfinite(matrix)):
            raise ValueError(
                f"whitening must be a finite {(centre.size, centre.size)} array, got shape {matrix.shape}."
            )

    @staticmethod
    def of(x: object, normalize: bool | Scaling = True) -> Normalization:
        """Fit the normalisation of raw training samples.

        Parameters
        ----------
        x : (n, p) array
            Raw training samples.
        normalize : bool or {"scale", "unit_norm", "whiten"}
            ``"scale"`` and True subtract the mean sample and divide by the root mean square norm of what is left;
            ``"unit_norm"`` then divides each sample by its own norm, and ``"whiten"`` decorrelates the coordinates.
            False leaves samples as they are.

        Returns
        -------
        Normalization
            The normalisation, as :func:`hntk.load_dataset` applies it.

        Raises
        ------
        ValueError
            If x is no finite (n, p) array, all its rows are the same, or ``normalize`` is unknown.

        Examples
        --------
        >>> import hntk, numpy as np
        >>> raw = np.array([[0.0, 2.0], [2.0, 2.0], [4.0, 2.0]])
        >>> np.round(hntk.Normalization.of(raw)(raw), 2).tolist()
        [[-1.22, 0.0], [0.0, 0.0], [1.22, 0.0]]
        """
        kind, rows = as_scaling(normalize), as_rows(x)
        scaled = scale_samples(rows, rows[:1], kind)
        whitening = None if scaled.whitening is None else scaled.whitening.astype(np.float32)
        return Normalization(scaled.centre.astype(np.float32), scaled.scale, whitening, kind == "unit_norm")

    def __str__(self) -> str:
        whitened = "" if self.whitening is None else ", whitened"
        return f"(raw - centre) / {self.scale:.6g}{whitened}{', brought to unit norm' if self.unit_norm else ''}"

    @property
    def is_affine(self) -> bool:
        """Whether there is neither whitening nor division by norms."""
        return self.whitening is None and not self.unit_norm

    def __call__(self, raw: object) -> Float32[np.ndarray | Array, "n p"]:
        """Return samples as the network takes them.

        Parameters
        ----------
        raw : array of shape (n, p)
            Raw samples.

        Returns
        -------
        ndarray of shape (n, p)
            Normalised samples, in float32.

        Raises
        ------
        ValueError
            If raw is not a finite (n, p) array of this dimension, or a row to be brought to unit norm is 0.
        """
        traced = is_traced(raw, self)
        rows = as_samples(raw, "raw samples") if traced else as_rows(raw, "raw samples")
        if rows.shape[1] != self.centre.size:
            raise ValueError(
                f"raw samples have {rows.shape[1]} coordinates, but {self.centre.size} are normalised: flatten images "
                "to rows, and use data of the same kind."
            )
        out = ((rows - self.centre) / self.scale).astype(np.float32)
        if self.whitening is not None:
            out = out @ self.whitening
        if self.unit_norm:
            norms = (jnp if traced else np).linalg.norm(out, axis=1, keepdims=True)
            if not traced and not np.all(norms > 0):
                raise ValueError("a sample equals the centre and has no direction to keep: drop it.")
            out = out / norms
        return out


def check_normalization(normalization: object, size: int) -> None:
    """Refuse what is no normalisation of samples with ``size`` coordinates; None is no normalisation at all.

    Raises
    ------
    TypeError
        If it is no :class:`hntk.Normalization`.
    ValueError
        If it is of another size, or beyond float32.
    """
    if normalization is None:
        return
    if not isinstance(normalization, Normalization):
        raise TypeError(f"normalization must be a hntk.Normalization, not {type(normalization).__name__}.")
    centre = np.asarray(normalization.centre)
    if centre.shape != (size,):
        raise ValueError(
            f"normalization has a centre of shape {centre.shape} and the network takes {size} coordinates: give the "
            "one of the network's own data."
        )
    if not np.abs(centre).max() <= LARGEST or not 0 < normalization.scale <= LARGEST:
        raise ValueError("normalization must have a centre and a positive scale that are finite in float32.")


def prepare_samples(x: object, normalization: Normalization | None, tau0: float | None, *, raw: bool) -> object:
    """Return samples as a network takes them, and warn where they are of another scale than in training.

    Parameters
    ----------
    x : array of shape (n, p)
        Samples.
    normalization : Normalization or None
        What raw ones go through, where it is known.
    tau0 : float or None
        Root mean square norm in training, where it is known.
    raw : bool
        Whether the samples are raw.

    Returns
    -------
    array of shape (n, p)
        Normalised samples.

    Raises
    ------
    ValueError
        If samples are raw and their normalisation is not known.
    """
    if raw:
        if normalization is None:
            raise ValueError(f"this classifier does not know how raw samples are normalised: {REMEDY}.")
        return normalization(x)
    if tau0 is not None and not is_traced(x):
        _warn_if_far(x, tau0, normalization)
    return x


def _warn_if_far(x: object, tau0: float, normalization: Normalization | None) -> None:
    try:
        array = np.asarray(real_array(x))
    except ValueError:
        return  # The caller refuses it with a message of its own.
    if array.ndim != 2 or not array.size:
        return
    size = float(np.sqrt(np.einsum("ij,ij->", array, array, dtype=np.float64) / len(array)))
    if np.isfinite(size) and not tau0 / FAR <= size <= tau0 * FAR:
        remedy = "for raw samples say raw=True" if normalization is not None else REMEDY
        warnings.warn(
            f"samples have the root mean square norm {size:.3g}, and those that the classifier was fitted on "
            f"{tau0:.3g}: {remedy}.",
            stacklevel=4,
        )
