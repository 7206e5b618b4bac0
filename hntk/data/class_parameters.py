"""Checks of the means, covariances and proportions of a mixture of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from hntk._utils.arrays import brief, finite_array


def as_means(means: object, covariances: Any) -> Float[np.ndarray, "K p"]:
    """Return the class means.

    Raises
    ------
    ValueError
        If they are no finite (K, p) array, or there is not one covariance per class.
    """
    mu = finite_array(means, "means")
    if mu.ndim != 2 or 0 in mu.shape:
        raise ValueError(f"means must be a finite (K, p) array, one row per class; got shape {mu.shape}.")
    if not hasattr(covariances, "__len__") or isinstance(covariances, str | bytes | dict):
        raise ValueError(f"covariances must be a list of one per class, got {brief(covariances)}.")
    if len(covariances) != len(mu):
        raise ValueError(f"{len(mu)} means but {len(covariances)} covariances: give one covariance per class.")
    return mu


def as_proportions(proportions: object, classes: int) -> Float[np.ndarray, " K"]:
    """Return numbers proportional to the sizes of the classes, by default equal ones.

    Raises
    ------
    ValueError
        If they are not positive, or not one per class.
    """
    shares = np.ones(classes) if proportions is None else finite_array(proportions, "proportions")
    if shares.shape != (classes,) or np.any(shares <= 0):
        raise ValueError(f"proportions must be {classes} positive finite numbers, got {proportions!r}.")
    return shares


def as_covariance(covariance: object, p: int, a: int) -> np.ndarray:
    """Return the covariance of class a: a number, a (p,) diagonal or a (p, p) matrix.

    Raises
    ------
    ValueError
        If its shape is another, or a number is not finite.
    """
    c = finite_array(covariance, f"covariance {a}")
    if c.shape not in ((), (p,), (p, p)):
        raise ValueError(
            f"covariance {a} must be a number, a (p,) diagonal or a (p, p) matrix with p = {p}, all finite; "
            f"got shape {c.shape}."
        )
    return c


def check_semidefinite(covariance: np.ndarray, eigenvalues: np.ndarray, a: int) -> None:
    """Refuse a covariance of class a that is not symmetric or has a negative eigenvalue, up to rounding.

    Raises
    ------
    ValueError
        If it is so.
    """
    negative = np.any(eigenvalues < -1e-10 * np.max(np.abs(eigenvalues)))
    if negative or (covariance.ndim == 2 and not np.allclose(covariance, covariance.T)):
        raise ValueError(f"covariance {a} is not symmetric positive semidefinite: take the nearest one that is.")
