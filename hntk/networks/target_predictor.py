"""Predicted targets, R² and squared errors of everything that gives one score a target."""

from __future__ import annotations

import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.targets import mean_squared_error, r2_score
from hntk.files.limits import CLASSES
from hntk.files.reader import FieldReader


class TargetPredictor:
    """A regressor whose scores are its predictions."""

    def scores(self, x: object, *, raw: bool = False) -> np.ndarray | Array:
        """Return one score a target, (n, K)."""
        raise NotImplementedError

    def predict(self, x: object, *, raw: bool = False) -> Float[np.ndarray | Array, " n *K"]:
        """Predict the targets of samples.

        Parameters
        ----------
        x : (n, p) array
            Samples as :meth:`scores` takes them.
        raw : bool
            Whether the samples are raw, and go through ``normalization`` first.

        Returns
        -------
        (n, K) array, or (n,) for one target
            Predictions, in the targets' own units.
        """
        return one_or_several(self.scores(x, raw=raw))

    def r2(self, x: object, targets: object, *, raw: bool = False) -> float:
        """Return the coefficient of determination R², averaged over the targets.

        Parameters
        ----------
        x : (n, p) array
            Samples as :meth:`scores` takes them.
        targets : (n,) or (n, K) array
            True values.
        raw : bool
            Whether the samples are raw, and go through ``normalization`` first.

        Returns
        -------
        float
            1 for exact predictions, 0 for none better than the mean. A target that does not vary counts 1 if it is
            predicted exactly, and 0 otherwise.

        Raises
        ------
        ValueError
            If x does not fit, or the targets are no finite numbers or of another shape than the predictions.
        """
        return r2_score(np.asarray(self.predict(x, raw=raw)), targets)

    def mean_squared_error(self, x: object, targets: object, *, raw: bool = False) -> float:
        """Return the mean of the squared errors over samples and targets, in the targets' own units.

        Parameters
        ----------
        x : (n, p) array
            Samples as :meth:`scores` takes them.
        targets : (n,) or (n, K) array
            True values.
        raw : bool
            Whether the samples are raw, and go through ``normalization`` first.

        Returns
        -------
        float
            The mean.

        Raises
        ------
        ValueError
            If x does not fit, or the targets are no finite numbers or of another shape than the predictions.
        """
        return mean_squared_error(np.asarray(self.predict(x, raw=raw)), targets)


def one_or_several(scores: Float[np.ndarray | Array, "n K"]) -> Float[np.ndarray | Array, " n *K"]:
    """Return scores of one target as (n,), and those of several as they are."""
    return scores[:, 0] if scores.shape[1] == 1 else scores


def targets_text(count: int) -> str:
    """Return a number of targets in words."""
    return f"{count:,} target{'' if count == 1 else 's'}"


def read_targets(fields: FieldReader) -> int:
    """Return the number of targets of a file.

    Raises
    ------
    KeyError, TypeError, ValueError
        If there is none, or there are more than a file may have classes.
    """
    targets = fields.count("targets")
    if targets > CLASSES:
        raise ValueError(f"there are {targets:,} targets, and a file has {CLASSES:,} at most")
    return targets
