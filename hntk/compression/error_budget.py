r"""Predicted distance between the kernels of a compressed network and of its original, part by part.

Every part is relative to $\|K\|$, the operator norm of the original's exact conjugate kernel on the data. For an
original that is not plain, all kernels are those behind an intercept, $PKP$ with $P = I - 11^\top/n$.

* Identity shift: $|\delta|/\|K\|$, where the kernels' equivalents differ by δ I.
* Finite n and p: $\|\hat K - \delta I - K\|/\|K\|$ for the two exact kernels. At finite size they differ in orders
  above the second.
* Finite width: layer l is an empirical covariance of $d_l$ neurons with effective rank $r_l =
  \mathrm{tr}\,\hat K_l/\|\hat K_l\|$. With independent weights its error is about $(2\sqrt{r_l/d_l} +
  r_l/d_l)\|\hat K_l\|$, the edge of the Marchenko-Pastur law (Koltchinskii and Lounici, 2017, for general spectra).
  Orthogonal blocks have no noise in the part $L_l = e_1^2\hat K_{l-1}$, which is linear in the layer before
  (:mod:`hntk.asymptotics.kernel_noise`). With s and t the shares that L has of the norm and of the trace, the error is
  $(2\sqrt{(1-st)r/d} + (1-t)r/d)\|\hat K\|$. Later layers multiply it by their $e_1^2$. The errors of different layers
  are independent and add in squares, like the radii of free semicircles.
* Sparsity: a weight law with $E[W^4] \ne 3$ moves the kernel by $\frac14e_2^2(E[W^4] - 3)\sum_k h_{ik}^2h_{jk}^2/d^2$.
  In the first layer, where h is the data, no width reduces this. It vanishes at ε = 2/3, where independent ternary
  weights have the fourth moment of the Gaussian. In orthogonal blocks of m rows in g groups, a row takes one of g
  inputs at each place, $E[W_k^2W_l^2] - 1 = -(g-1)/(m-1)$ for two inputs, which moves the kernel by
  $-\frac14e_2^2\frac{g-1}{m-1}\|h_i\|^2\|h_j\|^2/d^2$ besides. Both together leave about
  $-\frac2m\cdot\frac14e_2^2\tau^4$ for delocalised inputs, a multiple of the matrix of ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hntk._utils.float64 import float64
from hntk._utils.rows import as_samples
from hntk.kernels import exact_kernels
from hntk.matching import Match
from hntk.spectra.comparison import centred_kernel, operator_norm
from hntk.weights.laws import WeightLaw
from hntk.weights.quadratic_noise import quadratic_noise, rows_of_block

# samples on which exact kernels are computed
MOST_ROWS = 1000


@dataclass(frozen=True)
class LossAccount:
    """Predicted error ‖K̂ − K‖/‖K‖ of a drawn network's conjugate kernel, part by part.

    It is an upper estimate: on Gaussian mixtures none of 20 drawn networks exceeded it, and it was at most 2.2 times
    their mean error with independent weights, and 2.3 times with orthogonal ones.

    Attributes
    ----------
    shift : float
        Part of the identity shift δ, which the equivalents of the two kernels differ by.
    finite_size : float
        Part of finite n and p.
    finite_width : float
        Part of finite widths.
    sparsity : float
        Part of the weights' fourth moment; 0 at ε = 2/3.
    """

    shift: float
    finite_size: float
    finite_width: float
    sparsity: float

    @property
    def total(self) -> float:
        """Sum of the parts, an upper estimate by the triangle inequality."""
        return self.shift + self.finite_size + self.finite_width + self.sparsity


@dataclass(frozen=True)
class Terms:
    """The terms of the error that depend on a match and on the data, but not on widths and sparsity.

    Attributes
    ----------
    shift, finite_size : float
        As in :class:`LossAccount`.
    inputs : int
        Dimension p of a sample.
    ranks : (L,) array
        Effective ranks r_l.
    linear_norms, linear_traces : (L,) array
        Shares s and t that the linear part has of a layer's kernel.
    gains : (L,) array
        ‖K̂_l‖ Π_{k>l} e_{1,k}²/‖K‖: the error of the output if layer l has the relative error 1.
    fourth, norms : (L,) array
        The error of the output if E[W_k⁴] exceeds 3 by 1 in layer l, and if E[W_k²W_l²] exceeds 1 by 1 for all pairs;
        for layers after the first, the former is multiplied by the width of the layer before.
    """

    shift: float
    finite_size: float
    inputs: int
    ranks: np.ndarray
    linear_norms: np.ndarray
    linear_traces: np.ndarray
    gains: np.ndarray
    fourth: np.ndarray
    norms: np.ndarray

    @classmethod
    def of(cls, match: Match, x: object) -> Terms:
        """Compute the terms on (n, p) samples, of which at most 1000 are used."""
        samples = np.asarray(as_samples(x))
        rows = np.random.default_rng(0).permutation(len(samples))[:MOST_ROWS]
        part = samples[rows].astype(np.float64)
        depth, tau = len(match.activations), match.coefficients.tau
        plain = match.architecture.is_plain
        seen = _as_is if plain else centred_kernel
        with float64():
            original = seen(np.asarray(exact_kernels(part, match.architecture, tau0=match.tau0).ck))
            networks = [match.activations[:k] for k in range(1, depth + 1)]
            kernels = [seen(np.asarray(exact_kernels(part, net, tau0=match.tau0).ck)) for net in networks]
        size = operator_norm(original)
        delta = match.identity_shift
        # everything but the multiple of I is counted as finite n and p, even a coefficient that was not matched
        residue = operator_norm(kernels[-1] - delta * seen(np.eye(len(part))) - original)
        norms = np.array([operator_norm(k) for k in kernels])
        e1_sq = np.array([m.e1**2 for m in match.coefficients.moments])
        e2_sq = np.array([m.e2**2 for m in match.coefficients.moments])
        # factors e_1² of all later layers
        passed = np.append(np.cumprod(e1_sq[::-1])[::-1][1:], 1.0)
        squares = part**2
        sizes = np.sum(squares, axis=1)
        sizes = sizes if plain else sizes - sizes.mean()
        overlap = np.append(operator_norm(seen(squares @ squares.T)), len(part) * tau[1:-1] ** 4)
        # the matrix of ‖h_i‖²‖h_j‖² has rank 1
        products = np.append(np.sum(sizes**2), len(part) * tau[1:-1] ** 4)
        gram, traces = seen(part @ part.T), np.array([np.trace(k) for k in kernels])
        linear_norms = e1_sq * np.append(operator_norm(gram), norms[:-1]) / norms
        linear_traces = e1_sq * np.append(np.trace(gram), traces[:-1]) / traces
        return cls(
            shift=abs(delta) / size,
            finite_size=residue / size,
            inputs=part.shape[1],
            ranks=traces / norms,
            linear_norms=np.minimum(linear_norms, 1.0),
            linear_traces=np.minimum(linear_traces, 1.0),
            gains=norms * passed / size,
            fourth=e2_sq / 4 * overlap * passed / size,
            norms=e2_sq / 4 * products * passed / size,
        )

    def account(self, widths: np.ndarray, law: WeightLaw) -> LossAccount:
        """Return the predicted error at the given (L,) widths with weights of a law."""
        fan_in = np.append(self.inputs, widths[:-1])
        quiet = 1 - np.array([quadratic_noise(law, *shape) for shape in zip(widths, fan_in, strict=True)])
        ratio = self.ranks / widths
        pairs, singles = 1 - quiet * self.linear_norms * self.linear_traces, 1 - quiet * self.linear_traces
        excess, common = np.array([_fourth_cumulants(law, inputs) for inputs in fan_in]).T
        moved = excess * self.fourth / np.append(1.0, widths[:-1]) + common * self.norms
        return LossAccount(
            self.shift,
            self.finite_size,
            float(np.linalg.norm(self.gains * (2 * np.sqrt(pairs * ratio) + singles * ratio))),
            float(np.sum(np.abs(moved))),
        )


def _as_is(matrix: np.ndarray) -> np.ndarray:
    return matrix


def _fourth_cumulants(law: WeightLaw, inputs: float) -> tuple[float, float]:
    """Return E[W_k⁴] − 3 and E[W_k²W_l²] − 1 of two weights of a row."""
    m = rows_of_block(law, inputs)
    common = -(law.groups - 1) / (m - 1) if 1 < m < np.inf else 0.0
    return law.fourth_moment - 3.0, common
