"""A network's kernel on n samples of a law: its spectrum, its spikes, and what is learned with it."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from jaxtyping import Float

from hntk._utils.arguments import as_count, as_instance
from hntk._utils.copies import Copyable
from hntk._utils.pytree import array_dataclass
from hntk.asymptotics.density import LimitingDensity, density_in_the_limit
from hntk.asymptotics.finite_density import FiniteSizeDensity, density_at_finite_size
from hntk.asymptotics.kernel_parameters import KernelCoefficients, KernelName, Net, kernel_coefficients
from hntk.asymptotics.learning import (
    ClassTargets,
    Criterion,
    Learned,
    learned_at_best_ridge,
    learned_by_flow,
    learned_by_ridge,
)
from hntk.asymptotics.limiting_spikes import Spike, find_spikes
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.sample_norms import dense_points, gauss_points
from hntk.asymptotics.spiked_kernel import SpikedKernel
from hntk.asymptotics.support import support_intervals

# Above this many samples, float64 does not tell n from n − 1.
MOST_SAMPLES = 10**15


@array_dataclass(static=("n", "coefficients"))
class LimitingKernel(Copyable):
    """A network's conjugate kernel or NTK on n samples of a Gaussian mixture; :meth:`of` makes one.

    Methods describe the equivalent kernel (Gu et al., 2022, Theorems 1 and 2) in the limit of large n and p. Where they
    take ``finite_size``, it selects the exact kernel of n samples in p dimensions instead, which needs the activations.
    docs/theory.md derives all formulas. Computations run in NumPy, on the host.

    Attributes
    ----------
    law : MixtureLaw
        The law of the samples.
    n : int
        The number of samples.
    coefficients : KernelCoefficients
        The parameters of the kernel.

    Examples
    --------
    >>> import numpy as np
    >>> law = MixtureLaw.of(3 * np.eye(2, 400), [1.0, 1.0])
    >>> kernel = LimitingKernel.of(law, 800, ["relu"])
    >>> kernel.support().round(3)
    array([[0.134, 1.548]])
    >>> print(kernel.spikes()[0])
    spike at 3.275 (strength 3.803): alignment 0.816 with the classes (0.408, 0.408)
    >>> [round(kernel.ridge_regression(ridge).test.classification_error, 3) for ridge in (0.01, 0.1, 1.0)]
    [0.044, 0.036, 0.024]
    """

    law: MixtureLaw
    n: int
    coefficients: KernelCoefficients

    def __repr__(self) -> str:
        return f"LimitingKernel(n={self.n}, {self.law!r}, {self.coefficients!r})"

    @staticmethod
    def of(
        law: MixtureLaw, n: int, net: Net, *, kernel: KernelName = "ck", kappa_sq: float | None = None
    ) -> LimitingKernel:
        """Return a network's kernel on n samples of a law.

        Parameters
        ----------
        law : MixtureLaw
            The law of the samples.
        n : int
            The number of samples.
        net : sequence of str or Activation, Coefficients, or KernelCoefficients
            One activation per layer; or the coefficients of a network, which do not determine its exact kernel.
        kernel : {"ck", "ntk"}
            The conjugate kernel or the neural tangent kernel.
        kappa_sq : float, optional
            The NTK's diagonal κ_L². It must be declared if an activation jumps.

        Returns
        -------
        LimitingKernel
            The kernel.

        Raises
        ------
        ValueError
            If n is not a positive whole number, ``law`` is no law, or the network does not fit.
        """
        n = as_count(n, "n", 1, MOST_SAMPLES)
        as_instance(law, "law", MixtureLaw, "a MixtureLaw, such as of MixtureLaw.of or estimate_law")
        return LimitingKernel(law, n, kernel_coefficients(net, law.tau0, kernel=kernel, kappa_sq=kappa_sq))

    def support(self) -> Float[np.ndarray, "i 2"]:
        """Return the intervals that hold the bulk of the eigenvalues, without atoms.

        Returns
        -------
        array, shape (i, 2)
            The ends of the intervals, ascending.
        """
        ends = [interval.ends for interval in support_intervals(self._equivalent.bulk)]
        return np.array(ends).reshape(-1, 2) + self.coefficients.shift

    def density(self) -> LimitingDensity:
        """Return the limiting density of the equivalent kernel's eigenvalues.

        Returns
        -------
        LimitingDensity
            The density, with its edges and atoms, and without the spikes.

        Raises
        ------
        ArithmeticError
            If the total mass is not 1 within 1e-6.
        """
        return density_in_the_limit(self._equivalent)

    def finite_size_density(self) -> FiniteSizeDensity:
        """Return the distribution of the exact kernel's eigenvalues for n samples in p dimensions.

        Returns
        -------
        FiniteSizeDensity
            The distribution, with the spikes.

        Raises
        ------
        ValueError
            If the kernel was made from coefficients.
        ArithmeticError
            If the total mass is not near 1.
        """
        return density_at_finite_size(SpikedKernel(self.law, self.n, self.coefficients, dense_points))

    def spikes(self) -> tuple[Spike, ...]:
        """Return the equivalent kernel's isolated eigenvalues, with the alignment of their eigenvectors.

        Returns
        -------
        tuple of Spike
            The spikes, largest first, and after them the directions below their phase transition.
        """
        return find_spikes(self._equivalent)

    def ridge_regression(
        self, ridge: float, *, finite_size: bool = False, targets: object | None = None, offset: object | None = None
    ) -> Learned:
        """Return what kernel ridge regression reaches, with dual weights β = (K̃ + λI)⁻¹ y.

        Parameters
        ----------
        ridge : float
            The ridge λ, above −γ, minus the kernel's own multiple of the identity.
        finite_size : bool
            Whether the prediction is for the exact kernel at this n and p, or for the equivalent kernel in the limit.
        targets : array, shape (K, m) or (K,), optional
            Targets of every class. By default one-hot targets minus the classes' shares.
        offset : array, shape (m,), optional
            An offset added to the scores before the largest one decides. By default the classes' shares, and 0 with
            targets of one's own.

        Returns
        -------
        Learned
            The laws of training and test scores, and the errors they make.

        Raises
        ------
        ValueError
            If the targets do not fit, the ridge does not make the kernel positive definite, or ``finite_size`` is asked
            of a kernel made from coefficients.
        """
        return learned_by_ridge(self._spiked(finite_size), ridge, ClassTargets.of(self.law, targets, offset))

    def gradient_flow(
        self, time: float, *, finite_size: bool = False, targets: object | None = None, offset: object | None = None
    ) -> Learned:
        """Return what gradient flow on ½‖y − f‖² from f = 0 reaches: training scores f = (I − exp(−sK̃)) y.

        With the NTK, this is the training of a wide network.

        Parameters
        ----------
        time : float
            The time s > 0, in units of one over the kernel's eigenvalues.
        finite_size, targets, offset : optional
            As for :meth:`ridge_regression`.

        Returns
        -------
        Learned
            The laws of training and test scores, and the errors they make.

        Raises
        ------
        ValueError
            If the targets do not fit, the time is not positive, or ``finite_size`` is asked of a kernel made from
            coefficients.
        """
        return learned_by_flow(self._spiked(finite_size), time, ClassTargets.of(self.law, targets, offset))

    def optimal_ridge(
        self,
        *,
        criterion: Criterion = "squared",
        finite_size: bool = False,
        targets: object | None = None,
        offset: object | None = None,
        rounds: int = 4,
    ) -> Learned:
        """Return ridge regression with the ridge λ ≥ 0 of least test error.

        Parameters
        ----------
        criterion : {"squared", "classification"}
            Which test error is minimised.
        finite_size, targets, offset : optional
            As for :meth:`ridge_regression`.
        rounds : int
            How often the grid of ridges is refined around the best one, each time five times finer.

        Returns
        -------
        Learned
            The result of ridge regression at the best ridge.

        Raises
        ------
        ValueError
            If the targets do not fit, the criterion is unknown, or ``finite_size`` is asked of a kernel made from
            coefficients.
        """
        made = ClassTargets.of(self.law, targets, offset)
        return learned_at_best_ridge(self._spiked(finite_size), made, criterion, rounds)

    @cached_property
    def _equivalent(self) -> SpikedKernel:
        """The equivalent kernel in the limit."""
        return SpikedKernel(self.law, self.n, self.coefficients)

    @cached_property
    def _exact(self) -> SpikedKernel:
        """The exact kernel at its size."""
        return SpikedKernel(self.law, self.n, self.coefficients, gauss_points)

    def _spiked(self, finite_size: bool) -> SpikedKernel:
        """Return the exact kernel at its size, or the equivalent kernel in the limit."""
        return self._exact if finite_size else self._equivalent
