"""Integrals of the standard Gaussian over the cells between thresholds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy


class Cells(NamedTuple):
    """Gaussian integrals over N cells between N − 1 thresholds u, each of shape (..., N).

    Attributes
    ----------
    probability : array
        P(ξ in cell).
    first : array
        E[ξ; cell] = φ(u_k) − φ(u_{k+1}).
    second : array
        E[ξ² − 1; cell] = u_k φ(u_k) − u_{k+1} φ(u_{k+1}).
    """

    probability: np.ndarray
    first: np.ndarray
    second: np.ndarray


def density(u: np.ndarray) -> np.ndarray:
    """Return φ(u), the density of N(0, 1)."""
    return np.exp(-0.5 * u**2) / np.sqrt(2 * np.pi)


def gaussian_cells(u: np.ndarray) -> Cells:
    """Return the cell integrals of N(0, 1); a tail's probability keeps its relative precision.

    Parameters
    ----------
    u : array, shape (..., N - 1)
        Finite thresholds, ascending along the last axis. They may carry an infinitesimal imaginary part, as complex
        steps do.
    """
    at_threshold = density(u)
    below = _with_ends(_distribution(u, at_threshold), 0.0, 1.0)
    above = _with_ends(_distribution(-u, at_threshold), 1.0, 0.0)
    lower_edge = _with_ends(np.real(u), -np.inf, np.inf)[..., :-1]
    probability = np.where(lower_edge > 0, -np.diff(above), np.diff(below))
    return Cells(
        probability, -np.diff(_with_ends(at_threshold, 0.0, 0.0)), -np.diff(_with_ends(u * at_threshold, 0.0, 0.0))
    )


def _distribution(u: np.ndarray, density_at_u: np.ndarray) -> np.ndarray:
    """Return Φ(u), to first order in an imaginary part."""
    values = scipy.special.ndtr(np.real(u))
    return values + 1j * np.real(density_at_u) * np.imag(u) if np.iscomplexobj(u) else values


def _with_ends(values: np.ndarray, first: float, last: float) -> np.ndarray:
    ends = np.empty((*values.shape[:-1], values.shape[-1] + 2), values.dtype)
    ends[..., 0], ends[..., 1:-1], ends[..., -1] = first, values, last
    return ends
