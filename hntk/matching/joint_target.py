"""What a compressed network must reach as a whole, in shares of variance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from hntk._utils.pytree import array_dataclass
from hntk.matching.variance_shares import final_by_name

# shares and final coefficients up to this are 0
ZERO = 1e-13


@array_dataclass(static=("asked", "correlation_map", "hold", "allocated"))
class JointTarget:
    """What a compressed network must reach.

    Attributes
    ----------
    shares : array, shape (L, 3)
        (p, q, r) of the original's layers, or of others with which a network has its final coefficients.
    asked : tuple of str
        Names among ``variance_shares.NAMES`` of the final coefficients that are to be matched.
    correlation_map : callable, optional
        Gives the original's F_L(ρ); where a lossless match leaves freedom, it is made most like that.
    hold : bool
        Whether τ̂_L is held at τ_L where it could be less.
    allocated : bool
        Whether the shares are not those of layers that the original has, but were chosen to reach its coefficients.
    """

    shares: Float[np.ndarray, "L 3"]
    asked: tuple[str, ...]
    correlation_map: Callable[[], Float[np.ndarray, " rho"]] | None = None
    hold: bool = True
    allocated: bool = False

    @property
    def final(self) -> dict[str, float]:
        """The original's A_i and B_i by the names of the coefficients."""
        return final_by_name(self.shares)

    @property
    def nonzero(self) -> tuple[str, ...]:
        """Asked coefficients that the network has; the first is the reference of all ratios."""
        final = self.final
        # B_1 = (L + 1) A_1 always: one of them is enough
        repeated = "beta1" if "alpha1" in self.asked else None
        return tuple(name for name in self.asked if final[name] > ZERO and name != repeated)

    @property
    def reference(self) -> float:
        """A of the reference coefficient."""
        return self.final[self.nonzero[0]]


@array_dataclass()
class ZeroMoments:
    """Layers whose E_1, E_2 or S_2 must vanish because a final coefficient does.

    Attributes
    ----------
    e1, e2, s2 : array of bool, shape (L,)
        True where the moment must vanish.
    """

    e1: Bool[np.ndarray, " L"]
    e2: Bool[np.ndarray, " L"]
    s2: Bool[np.ndarray, " L"]

    @classmethod
    def of(cls, target: JointTarget) -> ZeroMoments:
        """Return the layers of a target.

        Even layers stay even. Without A_3 every layer stays odd. Without A_2, so do the layers up to the first one with
        r = 0.
        """
        p, _, r = target.shares.T
        depth, final = len(p), target.final
        e1, e2, s2 = p <= ZERO, np.zeros(depth, bool), np.zeros(depth, bool)
        if not np.any(e1):
            if final["alpha3"] <= ZERO:
                e2 |= True
            elif any(name.endswith("2") for name in target.asked) and final["alpha2"] <= ZERO:
                first = int(np.argmax(np.abs(r) <= np.sqrt(ZERO)))
                e2[: first + 1] = True
                s2[first] = True
        return cls(e1, e2, s2)
