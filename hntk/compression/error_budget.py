r"""The loss of a compressed network, part by part: how far its kernel is from the original's, and why.

Everything is relative to $\|K\|$, the operator norm of the original's exact conjugate kernel on the data:

* identity shift: $|\delta|/\|K\|$;
* finite n and p: $\|\hat K - \delta I - K\|/\|K\|$ of the two exact kernels, which at finite size differ in orders
  above the second;
* finite width: layer l averages over $d_l$ neurons, an empirical covariance of effective rank $r_l =
  \mathrm{tr}\,\hat K_l/\|\hat K_l\|$, which is off by about $(2\sqrt{r_l/d_l} + r_l/d_l)\|\hat K_l\|$ (the edge of the
  Marchenko-Pastur law; Koltchinskii and Lounici, 2017, for general spectra); later layers pass this on by their
  $e_1^2$, and the independent errors of the layers add in squares, as the radii of free semicircles do;
* sparsity: a weight law with $E[W^4] \ne 3$ moves the kernel by $\frac14e_2^2(E[W^4] - 3)\sum_k h_{ik}^2h_{jk}^2/d^2$,
  in the first layer (where h is the data) by an amount that no width removes. It vanishes at ε = 2/3, where ternary
  weights have the Gaussian's fourth moment.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hntk._utils.float64 import float64
from hntk._utils.rows import as_samples
from hntk.kernels import exact_kernels
from hntk.matching import Match
from hntk.spectra.comparison import operator_norm
from hntk.weights.laws import WeightLaw

MOST_ROWS = 1000


@dataclass(frozen=True)
class LossAccount:
    """Predicted distance of a drawn network's kernel from the original's, in units of the latter's operator norm.

    An upper estimate: on mixtures no draw of 20 lay above it, and it was at most 2.2 times their mean.

    Attributes
    ----------
    shift, finite_size, finite_width, sparsity : the parts of the module's docstring.
    """

    shift: float
    finite_size: float
    finite_width: float
    sparsity: float

    @property
    def total(self) -> float:
        """Their sum, which bounds the whole as the operator norm obeys the triangle inequality."""
        return self.shift + self.finite_size + self.finite_width + self.sparsity


@dataclass(frozen=True)
class Terms:
    """What a match's account needs of the data, whatever widths and sparsity.

    Attributes
    ----------
    shift, finite_size : as in :class:`LossAccount`.
    ranks : (L,) effective ranks r_l.
    gains : (L,) ‖K̂_l‖ Π_{k>l} e_{1,k}²/‖K‖, what an error of relative size 1 at layer l makes of the output.
    fourth : (L,) what an excess fourth moment of 1 makes of the output, for layers after the first times the width.
    """

    shift: float
    finite_size: float
    ranks: np.ndarray
    gains: np.ndarray
    fourth: np.ndarray

    @classmethod
    def of(cls, match: Match, x: object) -> Terms:
        """From a match and (n, p) samples, of which at most 1000 are used."""
        samples = np.asarray(as_samples(x))
        rows = np.random.default_rng(0).permutation(len(samples))[:MOST_ROWS]
        part = samples[rows].astype(np.float64)
        depth, tau = len(match.activations), match.coefficients.tau
        with float64():
            original = np.asarray(exact_kernels(part, match.original, tau0=match.tau0).ck)
            kernels = [
                np.asarray(exact_kernels(part, match.activations[:k], tau0=match.tau0).ck) for k in range(1, depth + 1)
            ]
        size = operator_norm(original)
        delta = match.identity_shift
        # what is not matched by a multiple of I belongs to finite n and p, whatever was asked for
        residue = operator_norm(kernels[-1] - delta * np.eye(len(part)) - original)
        norms = np.array([operator_norm(k) for k in kernels])
        e1_sq = np.array([m.e1**2 for m in match.coefficients.moments])
        e2_sq = np.array([m.e2**2 for m in match.coefficients.moments])
        # products over later layers
        passed = np.append(np.cumprod(e1_sq[::-1])[::-1][1:], 1.0)
        squares = part**2
        overlap = np.append(operator_norm(squares @ squares.T), len(part) * tau[1:-1] ** 4)
        return cls(
            shift=abs(delta) / size,
            finite_size=residue / size,
            ranks=np.array([np.trace(k) for k in kernels]) / norms,
            gains=norms * passed / size,
            fourth=e2_sq / 4 * overlap * passed / size,
        )

    def account(self, widths: np.ndarray, sparsity: float) -> LossAccount:
        """The account of given widths (L,) and ε."""
        ratio = self.ranks / widths
        excess = abs(WeightLaw("ternary", sparsity=sparsity).fourth_moment - 3.0)
        fan_in = np.append(1.0, widths[:-1])
        return LossAccount(
            self.shift,
            self.finite_size,
            float(np.linalg.norm(self.gains * (2 * np.sqrt(ratio) + ratio))),
            float(excess * np.sum(self.fourth / fan_in)),
        )
