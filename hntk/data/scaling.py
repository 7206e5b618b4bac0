r"""Bring training and test samples to the scale of the theory: $x \leftarrow (x - \bar x)/s$.

Real data is centred by the mean of the training rows and divided by one number for the whole set, so that
$\tau_0^2 = \frac1n \sum_i \|x_i\|^2 = 1$ on the training rows. Arithmetic is in float64, a block of rows at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32, Float64, Real

from hntk._utils.arrays import brief
from hntk._utils.rows import row_blocks

Scaling = Literal["scale", "unit_norm", "whiten"]

# Share of the mean eigenvalue that whitening adds to each: directions that never vary are not blown up.
SHRINKAGE = 0.1


@dataclass(frozen=True, eq=False)
class ScaledSamples:
    """Training and test samples after normalisation, and what was applied, as in :class:`hntk.Dataset`."""

    x_train: Float32[np.ndarray, "n p"]
    x_test: Float32[np.ndarray, "m p"]
    centre: Float64[np.ndarray, " p"]
    scale: float
    whitening: Float64[np.ndarray, "p p"] | None = None


def scale_samples(
    x_train: Real[np.ndarray, "n p"], x_test: Real[np.ndarray, "m p"], kind: Scaling | None
) -> ScaledSamples:
    """Normalise both parts by statistics of the training part; None gives the raw values as float32.

    Raises
    ------
    ValueError
        If all training rows are the same, or a row that equals their mean is to have unit norm.
    """
    centre, scale = _centre_and_scale(x_train) if kind else (np.zeros(x_train.shape[1]), 1.0)
    x_train, x_test = (_normalise(x, centre, scale) for x in (x_train, x_test))
    if kind == "unit_norm":
        return ScaledSamples(_unit_norms(x_train, "training"), _unit_norms(x_test, "test"), centre, scale)
    if kind == "whiten":
        whitening = _whitening(x_train)
        return ScaledSamples(_multiply(x_train, whitening), _multiply(x_test, whitening), centre, scale, whitening)
    return ScaledSamples(x_train, x_test, centre, scale)


def as_scaling(normalize: bool | Scaling) -> Scaling | None:
    """Return which normalisation is asked for: True is ``"scale"``, and False is None.

    Raises
    ------
    ValueError
        If it is none of them.
    """
    if isinstance(normalize, bool):
        return "scale" if normalize else None
    if not isinstance(normalize, str) or normalize not in get_args(Scaling):
        raise ValueError(f"normalize must be True, False or one of {get_args(Scaling)}, got {brief(normalize)}.")
    return normalize


def mean_squared_norm(x: Real[np.ndarray, "n p"], centre: Float64[np.ndarray, " p"]) -> float:
    """Return the mean of ‖x_i − centre‖² over the rows."""
    return sum(float(np.sum(np.square(x[rows] - centre))) for rows in row_blocks(x)) / len(x)


def _centre_and_scale(x: Real[np.ndarray, "n p"]) -> tuple[Float64[np.ndarray, " p"], float]:
    # Sums are taken relative to the first row: exact zeros where all rows are the same, and no cancellation.
    first = x[0].astype(np.float64)
    centre = first + sum(np.sum(x[rows] - first, axis=0) for rows in row_blocks(x)) / len(x)
    square = mean_squared_norm(x, centre)
    if square == 0.0:
        raise ValueError(
            f"all {len(x)} training rows are the same, so that nothing can be scaled: check how the data was made or "
            "subset, or pass normalize=False."
        )
    return centre, float(np.sqrt(square))


def _normalise(
    x: Real[np.ndarray, "n p"], centre: Float64[np.ndarray, " p"], scale: float
) -> Float32[np.ndarray, "n p"]:
    out = np.empty(x.shape, dtype=np.float32)
    for rows in row_blocks(x):
        out[rows] = (x[rows] - centre) / scale
    return out


def _whitening(x: Float32[np.ndarray, "n p"]) -> Float64[np.ndarray, "p p"]:
    """Return (Ĉ + ρ tr(Ĉ)/p I)^(−1/2) of centred rows, times the number that makes their mean squared norm 1."""
    covariance = sum(x[rows].T.astype(np.float64) @ x[rows] for rows in row_blocks(x)) / len(x)
    values, vectors = np.linalg.eigh(covariance)
    spread = np.clip(values, 0.0, None) + SHRINKAGE * values.mean()
    size = np.sqrt(np.sum(np.clip(values, 0.0, None) / spread))
    return (vectors / (np.sqrt(spread) * size)) @ vectors.T


def _multiply(x: Float32[np.ndarray, "n p"], matrix: Float64[np.ndarray, "p p"]) -> Float32[np.ndarray, "n p"]:
    for rows in row_blocks(x):
        x[rows] = x[rows] @ matrix
    return x


def _unit_norms(x: Float32[np.ndarray, "n p"], part: str) -> Float32[np.ndarray, "n p"]:
    norms = np.linalg.norm(x, axis=1)
    zero = int(np.sum(norms == 0))
    if zero:
        raise ValueError(
            f"{zero} {part} rows equal the training mean and cannot be scaled to unit norm: drop them, or use "
            "normalize='scale'."
        )
    x /= norms[:, None]
    return x
