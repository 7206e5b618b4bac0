"""Targets of a regression as users give them, and how well predictions fit them."""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Float

from hntk._utils.arrays import real_array
from hntk._utils.labels import REPEATS


def as_targets(y: object, n: int, name: str = "y") -> Float[np.ndarray, "n K"]:
    """Return the targets of a regression as columns in float64.

    Parameters
    ----------
    y : array of shape (n,) or (n, K)
        Floating-point numbers, one row per sample.
    n : int
        Number of samples.
    name : str
        Name of the argument, for messages.

    Returns
    -------
    ndarray of shape (n, K)
        The targets.

    Raises
    ------
    ValueError
        If they have another shape, are no finite numbers, or none of them varies.

    Warns
    -----
    UserWarning
        If they look like classes in a floating-point type: few whole numbers that are not negative.
    """
    given = np.asarray(real_array(y, name), np.float64)
    if given.ndim not in (1, 2) or given.shape[0] != n or given.size == 0:
        raise ValueError(
            f"{name} must have shape ({n},) or ({n}, K), one row per row of x; got shape {given.shape}. Give whole "
            "numbers or text for labels, floating-point numbers for targets."
        )
    missing = int(np.sum(~np.isfinite(given)))
    if missing:
        raise ValueError(
            f"{name} holds NaN or infinite values in {missing} of {given.size} places: drop those samples."
        )
    if np.all(given == given[0]):
        raise ValueError(
            f"{name} has the same targets for all samples: give targets that vary. Check how the data was subset."
        )
    if given.ndim == 1 and given.min() >= 0 and np.all(given == np.rint(given)):
        distinct = np.unique(given).size
        if distinct * REPEATS <= n:
            warnings.warn(
                f"{name} holds {distinct} different whole numbers in a floating-point type, and is taken for the "
                f"target of a regression: for classes give {name}.astype(int).",
                stacklevel=4,
            )
    return given.reshape(n, -1)


def standardising(targets: Float[np.ndarray, "n K"]) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """Return the mean and the standard deviation of every target; 1 for one that does not vary.

    Raises
    ------
    ValueError
        If a target overflows.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        mean, spread = targets.mean(axis=0), targets.std(axis=0)
    if not np.all(np.isfinite(mean)) or not np.all(np.isfinite(spread)):
        raise ValueError("the variance of a target overflows: rescale the targets.")
    # targets that are equal may have a mean that rounding made another number
    constant = np.all(targets == targets[0], axis=0) | (spread == 0)
    return np.where(constant, targets[0], mean), np.where(constant, 1.0, spread)


def r2_score(predictions: np.ndarray, targets: object) -> float:
    """Return the coefficient of determination R², averaged over the targets.

    Parameters
    ----------
    predictions : array of shape (n,) or (n, K)
        Predictions.
    targets : array of shape (n,) or (n, K)
        True values.

    Returns
    -------
    float
        1 for exact predictions, 0 for none better than the mean. A target that does not vary counts 1 if it is
        predicted exactly, and 0 otherwise.

    Raises
    ------
    ValueError
        If targets are no finite numbers, or of another shape than the predictions.
    """
    errors, true = _errors(predictions, targets)
    squares = np.sum(errors**2, axis=0)
    spread = np.sum((true - true.mean(axis=0)) ** 2, axis=0)
    missed = np.divide(squares, spread, out=np.where(squares > 0, 1.0, 0.0), where=spread > 0)
    return float(1 - np.mean(missed))


def mean_squared_error(predictions: np.ndarray, targets: object) -> float:
    """Return the mean of the squared errors over samples and targets, in the targets' own units.

    Parameters
    ----------
    predictions : array of shape (n,) or (n, K)
        Predictions.
    targets : array of shape (n,) or (n, K)
        True values.

    Returns
    -------
    float
        The mean.

    Raises
    ------
    ValueError
        If targets are no finite numbers, or of another shape than the predictions.
    """
    return float(np.mean(_errors(predictions, targets)[0] ** 2))


def _errors(predictions: np.ndarray, targets: object) -> tuple[np.ndarray, np.ndarray]:
    """Return the errors and the true values, both with a column for each target."""
    predicted, true = np.asarray(predictions), np.asarray(real_array(targets, "targets"), np.float64)
    # one target may be a column
    if predicted.ndim == 1 and true.shape == (*predicted.shape, 1):
        true = true[:, 0]
    if true.shape != predicted.shape or not true.size or not np.all(np.isfinite(true)):
        raise ValueError(
            f"targets must be finite numbers of shape {predicted.shape}, one row per sample; got shape {true.shape}."
        )
    columns = true.reshape(len(true), -1)
    errors = columns - predicted.reshape(len(true), -1)
    with np.errstate(over="ignore"):
        if not np.isfinite(np.sum(errors**2) + np.sum(columns**2)):
            raise ValueError("targets or predictions are so large that their squares overflow: rescale the targets.")
    return errors, columns
