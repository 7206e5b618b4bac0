"""The common interface of distributions of eigenvalues: density, distribution function and quantiles."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from jaxtyping import Float

from hntk._utils.arrays import brief, finite_array, point_array


class EigenvalueDistribution(ABC):
    """A distribution of eigenvalues, in the limit or at finite size."""

    def density(self, x: object) -> Float[np.ndarray, ...]:
        """Return the density of the bulk, which is 0 outside its support.

        Parameters
        ----------
        x : array of any shape
            Eigenvalues.

        Returns
        -------
        array of the shape of x
            The density.
        """
        points = point_array(x, "x")
        return self._density_at(points.reshape(-1)).reshape(points.shape)

    def cdf(self, x: object) -> Float[np.ndarray, ...]:
        """Return the share of the eigenvalues that are at most x.

        Parameters
        ----------
        x : array of any shape
            Eigenvalues.

        Returns
        -------
        array of the shape of x
            The distribution function.
        """
        points = point_array(x, "x")
        return self._cdf_at(points.reshape(-1)).reshape(points.shape)

    def quantiles(self, shares: object) -> Float[np.ndarray, ...]:
        """Return the smallest x with cdf(x) ≥ share.

        Parameters
        ----------
        shares : array of any shape
            Shares in (0, 1).

        Returns
        -------
        array of the shape of shares
            The quantiles.

        Raises
        ------
        ValueError
            If a share is not strictly between 0 and 1.
        """
        levels = finite_array(shares, "shares")
        if np.any(levels <= 0) or np.any(levels >= 1):
            raise ValueError(f"shares must lie strictly between 0 and 1, got {brief(shares)}.")
        return self._quantiles_at(levels.reshape(-1)).reshape(levels.shape)

    @abstractmethod
    def _density_at(self, x: Float[np.ndarray, " j"]) -> Float[np.ndarray, " j"]:
        """Return the density at points in one dimension."""

    @abstractmethod
    def _cdf_at(self, x: Float[np.ndarray, " j"]) -> Float[np.ndarray, " j"]:
        """Return the distribution function at points in one dimension."""

    @abstractmethod
    def _quantiles_at(self, levels: Float[np.ndarray, " j"]) -> Float[np.ndarray, " j"]:
        """Return the quantiles of levels in one dimension, all in (0, 1)."""
