"""What an original network of any architecture asks of a compressed one, which is centred, with unit weights alone.

Behind an intercept any network has the coefficients of a centred one (:mod:`hntk.theory.centred_layers`). A compressed
network of the same depth is given that network's shares of variance; one of another depth, or one that is to have the
NTK's coefficients, is given shares of :mod:`hntk.matching.share_allocation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from hntk._utils.float64 import float64
from hntk.kernels import exact_kernels
from hntk.matching.joint_target import ZERO, JointTarget
from hntk.matching.kernel_mismatch import CORRELATIONS, correlation_map
from hntk.matching.share_allocation import EXACT, shares_reaching
from hntk.matching.targets import MatchError
from hntk.matching.variance_shares import NAMES, final_by_name, layer_shares
from hntk.theory.architecture import Architecture
from hntk.theory.coefficients import Coefficients

# depths that are tried for an advice
DEEPEST_ADVICE = 8


@dataclass(frozen=True, eq=False)
class OriginalNetwork:
    """An original network, what it is asked for, and the depth of the network that is to have it.

    Attributes
    ----------
    architecture : Architecture
        The original.
    coefficients : Coefficients
        What a regression with an intercept sees of it, as :func:`hntk.centred_coefficients` gives it.
    asked : tuple of str
        Names of the coefficients that are to be matched.
    depth : int
        Number of layers of the compressed network.
    """

    architecture: Architecture
    coefficients: Coefficients
    asked: tuple[str, ...]
    depth: int

    @property
    def is_like_compressed(self) -> bool:
        """Whether the original is centred, bias-free and of unit weights, and as deep as the compressed network."""
        return self.architecture.is_plain and self.depth == self.architecture.depth

    @cached_property
    def final(self) -> dict[str, float]:
        """Coefficients of the last layer, in units of τ_L² and powers of τ_0, by their names."""
        known = self.coefficients
        units = np.array([float(known.tau[0]) ** power for power in (2, 4, 4)]) / float(known.tau[-1]) ** 2
        values = np.concatenate([known.alpha[-1, :3] * units, known.beta[-1] * units])
        return dict(zip(NAMES, values.tolist(), strict=True))

    @cached_property
    def target(self) -> JointTarget:
        """What the compressed network must reach.

        Raises
        ------
        MatchError
            If no centred network of this depth has the coefficients asked for.
        """
        if self.layer_shares is not None:
            return JointTarget(self.layer_shares, self.asked, self.correlation_map)
        shares = shares_reaching(self.final, self.asked, self.depth)
        if shares is None:
            raise MatchError(self._impossible())
        return JointTarget(shares, self.asked, self.correlation_map, allocated=True)

    @cached_property
    def layer_shares(self) -> Float[np.ndarray, "L 3"] | None:
        """Shares of the original's own layers; None where a network of such layers does not have what is asked for."""
        if self.depth != self.architecture.depth:
            return None
        shares = layer_shares(self.coefficients.moments)
        if self.is_like_compressed:
            return shares
        reached = final_by_name(shares)
        has_all = all(abs(reached[name] - self.final[name]) <= EXACT * self.final[name] + ZERO for name in self.asked)
        return shares if has_all else None

    @cached_property
    def ntk_factor(self) -> float:
        """Factor between β and α of the original relative to the compressed network's, where β_1 = (L + 1) α_1.

        With equal conjugate kernels, the original's NTK is so many times the compressed network's.
        """
        if self.is_like_compressed:
            return 1.0
        reached, linear = self.target.final, self.final["alpha1"] > ZERO
        alpha, beta = ("alpha1", "beta1") if linear else ("alpha3", "beta3")
        if self.final[alpha] <= ZERO:
            return 1.0
        return self.final[beta] / reached[beta] * reached[alpha] / self.final[alpha]

    @property
    def ck_factor(self) -> float:
        """Factor of the compressed network's conjugate kernel: 1, or the inverse of the NTK's for β alone."""
        return 1.0 if "alpha1" in self.asked else 1 / self.ntk_factor

    @property
    def scales(self) -> Float[np.ndarray, " depth+1"]:
        """Scales τ̂_0 … τ̂_L to give the compressed network's layers; the last one if it had the target's shares."""
        tau = np.array(self.coefficients.tau)
        if self.depth != self.architecture.depth:
            tau = np.append(np.full(self.depth, tau[0]), tau[-1])
        tau[-1] /= np.sqrt(self.ck_factor)
        return tau

    def correlation_map(self) -> Float[np.ndarray, " rho"]:
        """Return the original's conjugate kernel between samples of norm τ_0, of mean 0 and variance 1."""
        if self.architecture.is_plain:
            return correlation_map(self.architecture.layers, self.coefficients.tau[:-1].tolist())
        # samples in a plane, at the angles of the correlations 0, 1 and the nodes
        rho, tau0 = np.concatenate([[0.0, 1.0], CORRELATIONS]), float(self.coefficients.tau[0])
        samples = tau0 * np.stack([rho, np.sqrt(1 - rho**2)], axis=1)
        with float64():
            kernel = np.asarray(exact_kernels(samples[1:2], self.architecture, x2=samples, tau0=tau0).ck)[0]
        return (kernel[2:] - kernel[0]) / (kernel[1] - kernel[0])

    def _impossible(self) -> str:
        """Return the message on coefficients that no centred network has: what would do."""

        def possible(asked: Sequence[str], depth: int) -> bool:
            return shares_reaching(self.final, asked, depth) is not None

        remedies = []
        if any(name.endswith("2") for name in self.asked):
            fewer = [name for name in self.asked if not name.endswith("2")]
            remedies += ["alpha2=False (which assumes that norms concentrate)"] if possible(fewer, self.depth) else []
        if {"alpha1", "beta1"} <= set(self.asked):
            for kernel in ("alpha", "beta"):
                alone = [name for name in self.asked if name.startswith(kernel)]
                remedies += [f"kernel={kernel!r}"] if possible(alone, self.depth) else []
        depths = [d for d in range(1, DEEPEST_ADVICE + 1) if d != self.depth and possible(self.asked, d)]
        if depths:
            remedies.append(f"depth={min(depths, key=lambda d: abs(d - self.depth))}")
        values = ", ".join(f"{name} = {self.final[name]:.4g}" for name in self.asked)
        advice = f"Try {' or '.join(remedies)}." if remedies else "Change the architecture."
        return (
            f"no centred network of {self.depth} layers without biases has coefficients in the original's proportions: "
            f"{values} in units of its own scale. {advice}"
        )
