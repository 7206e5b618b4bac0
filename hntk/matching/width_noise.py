r"""Noise of the kernels of drawn networks: how far finite widths carry a regression from that with the exact kernel.

A layer's drawn kernel is a mean over its d rows, and features are nearly Gaussian with covariance K. So errors δ of its
entries have the covariance

$$E[\delta_{ij}\delta_{kl}] = \frac1d\,(K_{ik}K_{jl} + K_{il}K_{jk}) - \frac sd\,(L_{ik}L_{jl} + L_{il}L_{jk}).$$

L is the part of the kernel that is linear in the kernel before. A full block of orthogonal rows
(:mod:`hntk.weights.orthogonal`) has the same sum of $w_rw_r^\top$ whatever the draw, so products of the linear parts
have no noise, and s = 1. Of m rows of a block, r rows are a sample without replacement, of noise $(m - r)/(m - 1)$; s =
0 of independent rows. At correlation 0 and unit variance, what remains is $(1 - s\,p^2)/d$, with p the linear share of
the variance.

Regression on one part a of a sample predicts the other, b, by $P = RK_{ab}$ with $R = (K_{aa} + \kappa)^{-1}$. To first
order δ changes this by $R(\delta_{ab} - \delta_{aa}P)$. A function of covariance C is then missed by this more, with
$Q = RC_{aa}R$:

$$\frac1d\,\mathrm{tr}(QK_{aa})\;\mathrm{tr}\big(K_{bb} - 2P^\top K_{ab} + P^\top K_{aa}P\big),$$

less s times the same of L (compare :mod:`hntk.asymptotics.finite_width`). The errors of a layer reach the last one
times the linear shares p of the layers between. Their mean effect is that of a larger ridge, and the ridge is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk.weights.laws import WeightLaw
from hntk.weights.quadratic_noise import quadratic_noise


@dataclass(frozen=True)
class DrawnWidths:
    """Widths of a network that is to be drawn, and the law of its weights.

    Attributes
    ----------
    widths : tuple of int
        The width of every layer.
    law : WeightLaw
        The law of the weights.
    """

    widths: tuple[int, ...]
    law: WeightLaw

    def __str__(self) -> str:
        return f"widths {'-'.join(map(str, self.widths))} with {self.law_in_words} weights"

    @property
    def law_in_words(self) -> str:
        """The name of the law, with its share of zeros where it has any."""
        return self.law.name + (f" (sparsity {self.law.sparsity:.4g})" if self.law.zeros else "")

    def noise(self, inputs: int) -> Float[np.ndarray, "L 2"]:
        """Return the factors 1/d and s/d of every layer.

        Parameters
        ----------
        inputs : int
            Dimension of a sample.
        """
        sizes = list(zip(self.widths, (inputs, *self.widths[:-1]), strict=True))
        spared = [1 - quadratic_noise(self.law, outputs, before) for outputs, before in sizes]
        return np.array([[1 / outputs, share / outputs] for (outputs, _), share in zip(sizes, spared, strict=True)])


class LayerKernels(NamedTuple):
    """A layer's exact kernel, in units of its output's variance at scale 1, and its part that is linear.

    Attributes
    ----------
    kernel, linear : array, shape (n/2, n)
        K and L on rows a.
    diagonal, linear_diagonal : array, shape (n,)
        Their whole diagonals.
    share : array, shape ()
        p, the share of the linear part in the variance at scale 1.
    """

    kernel: Float[Array, "a n"]
    diagonal: Float[Array, " n"]
    linear: Float[Array, "a n"]
    linear_diagonal: Float[Array, " n"]
    share: Float[Array, ""]


def centred(kernel: Float[Array, "a n"]) -> Float[Array, "a n"]:
    """Centre rows a of a kernel as a regression on part a with an intercept does."""
    kernel = kernel - kernel.mean(axis=0)[None]
    return kernel - kernel[:, : len(kernel)].mean(axis=1)[:, None]


def missed_more(
    layers: Sequence[LayerKernels], noise: Float[Array, "L 2"], p: Float[Array, "a b"], q: Float[Array, "a a"]
) -> Float[Array, ""]:
    """Return the squared error that the noise of drawn kernels adds, summed over part b.

    Parameters
    ----------
    layers : sequence of LayerKernels
        Every layer's kernels.
    noise : array, shape (L, 2)
        The factors 1/d and s/d of every layer.
    p, q : array
        P, shape (a, b), and Q, shape (a, a).
    """
    moved = p @ p.T
    total, gain = jnp.zeros(()), jnp.ones(())
    for layer, (all_rows, spared) in zip(reversed(layers), noise[::-1], strict=True):
        total += gain**2 * all_rows * _one_kernel(layer.kernel, layer.diagonal, p, q, moved)
        total -= gain**2 * spared * _one_kernel(layer.linear, layer.linear_diagonal, p, q, moved)
        gain = gain * layer.share
    return total


def _one_kernel(kernel: Array, diagonal: Array, p: Array, q: Array, moved: Array) -> Array:
    """Return tr(Q K_aa) tr(K_bb − 2Pᵀ K_ab + Pᵀ K_aa P) of a kernel that is not centred yet."""
    half = len(kernel)
    mean = kernel.mean(axis=0)
    diagonal = diagonal - 2 * mean + mean[:half].mean()
    kernel = centred(kernel)
    aa, ab = kernel[:, :half], kernel[:, half:]
    return jnp.sum(q * aa) * (diagonal[half:].sum() - 2 * jnp.sum(p * ab) + jnp.sum(moved * aa))
