"""Scores of new samples by a regression with a kernel, exact or equivalent, some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from hntk._utils.arrays import check_result
from hntk._utils.rows import as_rows
from hntk.data.normalization import prepare_samples


class KernelScores:
    """A fitted regression with a kernel; its subclasses say how a block of samples is scored."""

    normalization: Any
    offset: Any

    @property
    def _scale(self) -> float:
        """Root mean square norm of a training sample."""
        raise NotImplementedError

    @property
    def _dimension(self) -> int:
        """Number of coordinates of a sample."""
        raise NotImplementedError

    def _parts(self, samples: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the scores of blocks of samples, in their order, without the offset."""
        raise NotImplementedError

    def scores(self, x: object, *, raw: bool = False) -> Float[np.ndarray, "m K"]:
        """Return one score per class, of which the largest wins, or the predictions of each target.

        Parameters
        ----------
        x : array of shape (m, p)
            Samples, normalised as the training samples were.
        raw : bool
            Whether they are raw instead, to go through ``normalization`` first.

        Returns
        -------
        ndarray of shape (m, K)
            Scores, in the order of the classes or of the targets.

        Raises
        ------
        ValueError
            If x does not have the training samples' dimension, is not finite, or is raw and the normalisation is not
            known.
        """
        scores = np.concatenate(list(self._parts(self._samples(x, raw=raw))))
        check_result(scores, "a score")
        return scores + self.offset

    def _samples(self, x: object, *, raw: bool) -> np.ndarray:
        """Return samples as the training samples are, or refuse them."""
        samples = as_rows(prepare_samples(x, self.normalization, self._scale, raw=raw))
        if samples.shape[1] != self._dimension:
            raise ValueError(
                f"x has {samples.shape[1]} columns but the training samples had {self._dimension}: treat both alike."
            )
        return samples
