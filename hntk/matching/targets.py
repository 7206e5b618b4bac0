r"""One layer's matching problem, in units of τ, where it is free of scale.

A staircase whose input has the scale $\hat\tau$ must reach the original's $(e_1, e_2, s_2)$, that is $(E_1, E_2, S_2)
= (e_1\hat\tau, e_2\hat\tau^2, s_2\hat\tau^2)$ for thresholds $u$ in units of $\hat\tau$. Replacing $u \to -u$ flips
$E_1$, and $g \to -g$ flips $E_1$ and $E_2$. So $E_1, E_2 \ge 0$ without loss of generality, and a common factor
$\sqrt{E_1^2 + E_2^2/2}$ is taken out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import hypot, sqrt

from hntk.activations import Moments
from hntk.activations.step_function import StepFunction

# largest relative miss of a moment or coefficient that counts as matched
TOLERANCE = 1e-9
# a share of the standard deviation below this is rounding
NEGLIGIBLE = 1e-12


class MatchError(ValueError):
    """Raised where a target cannot be reached; the message says which one can, and what to try."""


@dataclass(frozen=True)
class Target:
    """Moments to reach in units of the compressed layer's input scale; ``s2`` is None if not asked for."""

    e1: float
    e2: float
    s2: float | None

    @property
    def size(self) -> float:
        """√(E_1² + E_2²/2): the standard deviation that the first two Hermite orders carry."""
        return hypot(self.e1, self.e2 / sqrt(2))

    def canonical(self) -> Target:
        """Return the same problem with size 1 and E_1, E_2 ≥ 0."""
        e1, e2 = (0.0 if abs(e) < NEGLIGIBLE * self.size else abs(e) / self.size for e in (self.e1, self.e2))
        return Target(e1, e2, None if self.s2 is None else self.s2 / self.size**2)

    def flipped(self) -> Target:
        """Return the target with −s2, which is as good: only the square of s2 reaches the kernel."""
        return self if self.s2 is None else replace(self, s2=-self.s2)

    @classmethod
    def of(cls, moments: Moments, scale: float, *, with_s2: bool) -> Target:
        """Return the target that an original layer sets for a compressed one.

        Parameters
        ----------
        moments : Moments
            The original layer's, at its own scale.
        scale : float
            Scale of the compressed layer's input.
        with_s2 : bool
            Whether s2 is asked for.

        Raises
        ------
        MatchError
            If the layer has no variance at the first and second Hermite order.
        """
        target = cls(moments.e1 * scale, moments.e2 * scale**2, moments.s2 * scale**2 if with_s2 else None)
        if not target.size > NEGLIGIBLE * sqrt(moments.variance):
            raise MatchError(
                f"at the scale tau = {moments.tau:.3g} this activation has E[σ'] = E[σ''] = 0: its equivalent kernel "
                "is a multiple of the identity, which no data reaches. Rescale the data, or change the activation."
            )
        return target

    def restore(self, solution: StepFunction) -> StepFunction:
        """Turn a solution of the canonical problem into one of this: undo the size and the signs."""
        u, g = solution.thresholds, solution.levels * self.size
        if self.e1 * self.e2 < 0 or (self.e2 == 0 and self.e1 < 0):
            u, g = -u[::-1], g[::-1]
        return StepFunction(u, -g if self.e2 < 0 else g)
