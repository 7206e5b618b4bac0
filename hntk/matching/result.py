"""The result of a match: the activations found, what they reach, and how far from the best they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from hntk._utils.arguments import as_choice, as_nonnegative
from hntk._utils.copies import Copyable
from hntk._utils.pytree import array_dataclass
from hntk.activations import Activation, Staircase, Surrogate
from hntk.matching.bounds import Certificate, layer_bounds, ratio_bound
from hntk.matching.joint_target import ZERO
from hntk.matching.original_target import OriginalNetwork
from hntk.matching.targets import TOLERANCE
from hntk.matching.units import to_units
from hntk.matching.width_noise import DrawnWidths
from hntk.networks.provenance import MatchRecord
from hntk.theory.architecture import Architecture
from hntk.theory.coefficients import Coefficients

Objective = Literal["theory", "data"]
COEFFICIENT_NAMES = tuple(f"{kernel}{k}" for kernel in ("alpha", "beta") for k in (1, 2, 3))
# a repr names so many layers
SHOWN_LAYERS = 6
ASSUMPTION_OF_NORMS = (
    "α_2 (β_2) is not matched: it weighs products of deviations of norms, t and ‖x_i‖² − τ_0², so the match assumes "
    "that class traces agree and norms concentrate on this data"
)


@dataclass(frozen=True)
class DataFit:
    """The held-out errors that the data objective reached.

    Both are the share of the variance that a regression with the compressed kernel does not predict, of the labels or
    of the leading functions of the original's kernel. Where widths are given it is that with drawn kernels, on average.

    Attributes
    ----------
    samples : int
        Number of samples the kernels were compared on.
    theory : float
        Error of the theory's match.
    data : float
        Error of this match.
    drawn : DrawnWidths or None
        The widths and the law of the weights whose noise the errors include; None for infinite widths.
    labels : bool
        Whether labels are predicted.
    """

    samples: int
    theory: float
    data: float
    drawn: DrawnWidths | None = None
    labels: bool = False


@array_dataclass(static=("architecture", "activations", "tau0", "method", "asked", "fit", "surrogates"))
class Match(Copyable):
    """A compressed network's activations, and how well they do.

    The compressed network is centred, with unit weights and without biases. An original of another architecture is
    matched as a regression with an intercept sees it.

    Attributes
    ----------
    architecture : Architecture
        The original network.
    activations : tuple of Staircase
        The compressed network's staircases, one per layer.
    tau0 : float
        Data scale, the root mean square norm of a sample.
    method : str
        ``"joint"`` or ``"layerwise"``.
    asked : tuple of str
        Names of the coefficients that were matched: alpha1, …, beta3.
    original_coefficients, coefficients : Coefficients
        The theory's coefficients of the original, as :func:`hntk.centred_coefficients` gives them, and of the
        compressed network.
    fit : DataFit or None
        The errors that the data objective reached, for which the matched coefficients were only the start; None for
        the theory's objective.
    surrogates : tuple of Surrogate or None, or None
        What the backward pass of training has in the place of the staircases' derivatives. β and κ² of
        ``coefficients`` are then those of this training; without surrogates κ² is infinite.
    """

    architecture: Architecture
    activations: tuple[Staircase, ...]
    tau0: float
    method: str
    asked: tuple[str, ...]
    original_coefficients: Coefficients
    coefficients: Coefficients
    fit: DataFit | None = None
    surrogates: tuple[Surrogate | None, ...] | None = None

    def __repr__(self) -> str:
        names = [layer.name for layer in self.original[:SHOWN_LAYERS]]
        names += ["…"] * (len(self.original) > SHOWN_LAYERS)
        settings = self.architecture.settings
        return (
            f"Match({len(self.original)} layers: {', '.join(names)}; {settings and settings + '; '}"
            f"{self._levels_in_words} levels; {self.method}, objective {self.objective}; "
            f"tau0 = {self.tau0:.4g}; δ/τ_L² = {self.relative_shift:.4g})"
        )

    @property
    def _levels_in_words(self) -> str:
        counts = "-".join(map(str, self.level_counts[:SHOWN_LAYERS]))
        return counts + "-…" * (len(self.level_counts) > SHOWN_LAYERS)

    @property
    def original(self) -> tuple[Activation, ...]:
        """The original's activations, first layer first."""
        return self.architecture.layers

    @property
    def objective(self) -> Objective:
        """What was minimised: ``"theory"`` or ``"data"``."""
        return "theory" if self.fit is None else "data"

    @property
    def residuals(self) -> dict[str, float]:
        """Relative miss of every coefficient asked for; where the original's is 0, the share that should not be."""
        misses = {}
        for name in self.asked:
            wanted, reached = self.final_shares(name)
            misses[name] = float(abs(reached / wanted - 1) if wanted > ZERO else abs(reached))
        return misses

    def final_shares(self, name: str) -> tuple[float, float]:
        """Return a coefficient of the original and of the compressed network, in units of τ_L² and powers of τ_0.

        The compressed network's is multiplied by :attr:`ck_factor` or :attr:`ntk_factor`, so that both are equal where
        the coefficient is matched.

        Parameters
        ----------
        name : str
            The coefficient: ``"alpha1"`` to ``"alpha3"``, or ``"beta1"`` to ``"beta3"``.

        Returns
        -------
        tuple of float
            The original's coefficient and the compressed network's, c τ_0²/τ_L² of the first of a kernel and
            c τ_0⁴/τ_L² of the others, τ_L being the original's.

        Raises
        ------
        ValueError
            If there is no such coefficient.
        """
        as_choice(name, "name", COEFFICIENT_NAMES)
        before, after = self.original_coefficients, self.coefficients
        column = int(name[-1]) - 1
        unit = self.tau0 ** (2 if column == 0 else 4) / before.tau[-1] ** 2
        table, factor = ("alpha", self.ck_factor) if name.startswith("alpha") else ("beta", self.ntk_factor)
        own, reached = (float(getattr(network, table)[-1, column] * unit) for network in (before, after))
        return own, reached * factor

    @cached_property
    def _network(self) -> OriginalNetwork:
        return OriginalNetwork(self.architecture, self.original_coefficients, self.asked, len(self.activations))

    @property
    def ck_factor(self) -> float:
        """What the compressed network's conjugate kernel is to be multiplied by to be the original's up to δI.

        It is 1 where α is matched, and for β of plain networks of one depth.
        """
        return self._network.ck_factor

    @property
    def ntk_factor(self) -> float:
        """What the compressed network's NTK is to be multiplied by to be the original's, as a learning rate does.

        A centred network has β_1 = (L + 1) α_1; one with other weights, biases or depth has another ratio. So where α
        is matched, β is matched up to this factor. Where β alone is matched, the factor is 1.
        """
        return self._network.ntk_factor if "alpha1" in self.asked else 1.0

    @property
    def converged(self) -> bool:
        """Whether every coefficient asked for is reached to 1e-9."""
        return bool(max(self.residuals.values()) <= TOLERANCE)

    @property
    def identity_shift(self) -> float:
        """The ridge δ = τ̂_L² − τ_L² that compression adds to the conjugate kernel, τ̂_L² times :attr:`ck_factor`."""
        return float(self.coefficients.tau[-1] ** 2 * self.ck_factor - self.original_coefficients.tau[-1] ** 2)

    @property
    def relative_shift(self) -> float:
        """The identity shift in units of the original's, δ/τ_L²."""
        return self.identity_shift / float(self.original_coefficients.tau[-1] ** 2)

    @property
    def ntk_shift(self) -> float:
        """The ridge κ̂_L² − κ_L² that compression adds to the NTK, κ̂_L² times :attr:`ntk_factor`.

        Where it is negative, training the compressed network needs so much more ridge than the original. It is finite
        where the match has surrogates, and the original no jumps.
        """
        return float(self.coefficients.kappa_sq[-1] * self.ntk_factor - self.original_coefficients.kappa_sq[-1])

    @property
    def record(self) -> MatchRecord:
        """The part of the match that files keep."""
        drawn = None if self.fit is None else self.fit.drawn
        return MatchRecord(
            tuple(a.name for a in self.original),
            self.tau0,
            self.method,
            self.objective,
            self.residuals,
            self.identity_shift,
            self.relative_shift,
            () if drawn is None else drawn.widths,
            "" if drawn is None else drawn.law_in_words,
            self.fit is not None and self.fit.labels,
            self.architecture.settings,
            None if len(self.activations) == len(self.original) else len(self.activations),
        )

    @property
    def level_counts(self) -> tuple[int, ...]:
        """Number of different values of each activation."""
        return tuple(a.level_count for a in self.activations)

    def ridge_for(self, ridge: float) -> float:
        r"""Return the compressed network's ridge λ − δ that makes its kernel regression the original's with ridge λ.

        Both are ridges of the conjugate kernel itself: $(K + \lambda I)^{-1}$ and $(\hat K + (\lambda - \delta)
        I)^{-1}$, with $\hat K = K + \delta I$. For an original that is not plain, both regressions have an intercept.

        Parameters
        ----------
        ridge : float
            The original's ridge λ ≥ 0.

        Returns
        -------
        float
            The ridge λ − δ.

        Raises
        ------
        ValueError
            If the match follows the data or is of the NTK of an original that is not plain, so that the conjugate
            kernels differ by more than δI; or if λ < δ, because the compressed kernel already contains a larger ridge.

        Examples
        --------
        >>> import hntk
        >>> result = hntk.match(["relu"], tau0=1.0, levels=4)
        >>> round(result.ridge_for(0.1) + result.identity_shift, 12)
        0.1
        """
        if self.fit is not None:
            raise ValueError(
                "a match made with objective='data' has another kernel than the original, not one shifted by δ: choose "
                "its ridge on validation data, as fit_ridge does, or use objective='theory'."
            )
        if self.ck_factor != 1:
            raise ValueError(
                f"only the NTK of {self.architecture!r} was matched, so that the conjugate kernels differ by more than "
                "a ridge: match with kernel='alpha' or 'both'."
            )
        ridge = as_nonnegative(ridge, "ridge")
        # a lossless match has δ = 0 up to rounding, of either sign
        rounding = 1e-12 * float(self.original_coefficients.tau[-1] ** 2)
        shift = 0.0 if abs(self.identity_shift) < rounding else self.identity_shift
        if shift > ridge:
            raise ValueError(
                f"the compressed kernel has the identity shift δ = {shift:.4g} built in, more than the ridge "
                f"{ridge:.4g}: no ridge makes it the original's. Use a ridge of at least δ, or more levels: with "
                "enough of them δ = 0."
            )
        return float(ridge - shift)

    @cached_property
    def certificate(self) -> Certificate:
        """How far this match is from the best possible one; computed when first asked for, in seconds.

        For a match that follows the data, it says how far its τ̂_L² is from the least of a match of the coefficients.
        """
        return Certificate(
            1 + self.relative_shift,
            ratio_bound(self._network.target, self.level_counts),
            layer_bounds(to_units(self.activations, np.asarray(self.coefficients.tau))),
        )

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What must hold of the data beyond the theory's own regime."""
        return () if any(name.endswith("2") for name in self.asked) else (ASSUMPTION_OF_NORMS,)

    def report(self) -> str:
        """Return a few lines that describe the match."""
        largest = max(self.residuals.values())
        head = f"{self.method} match of {', '.join(self.asked)} with {'-'.join(map(str, self.level_counts))} levels"
        head += f" at tau0 = {self.tau0:.4g}"
        if self.architecture.settings:
            names = ", ".join(dict.fromkeys(layer.name for layer in self.original))
            head += (
                f"\noriginal of {len(self.original)} layers: {names}; {self.architecture.settings}; behind an intercept"
            )
        if self.fit is not None:
            drawn = "" if self.fit.drawn is None else f" at {self.fit.drawn}"
            predicted = "their labels" if self.fit.labels else "the leading functions of the original's kernel"
            return (
                f"{head}\nfollows {self.fit.samples} samples{drawn}: misses {self.fit.data:.4f} of {predicted} in "
                f"regression, theory's match {self.fit.theory:.4f}; coefficients were its start only (largest residual "
                f"{largest:.2g})"
            )
        lossless = " (lossless)" if abs(self.relative_shift) < TOLERANCE else ""
        shift = f"identity shift δ = {self.identity_shift:.4g}, {self.relative_shift:.2%} of τ_L²{lossless}"
        lines = [head, f"largest relative residual {largest:.1e}; {shift}"]
        if {"alpha1", "beta1"} <= set(self.asked) and self.ntk_factor != 1:
            lines.append(f"the compressed network's NTK times {self.ntk_factor:.4g} is the original's")
        if self.surrogates is not None:
            lines.append(
                f"trained with surrogates: κ̂_L² = {self.coefficients.kappa_sq[-1]:.4g}, the original's κ_L² = "
                f"{self.original_coefficients.kappa_sq[-1]:.4g}"
            )
        return "\n".join([*lines, *(f"assumes: {text}" for text in self.assumptions)])
