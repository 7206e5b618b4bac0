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
    """A network's conjugate kernel or NTK on n samples of a Gaussian mixture; :meth:`LimitingKernel.of` makes one.

    Methods describe the equivalent kernel (Gu et al., 2022, Theorems 1 and 2) in the limit of large n and p. Where they
    take ``finite_size``, it selects the exact kernel of n samples in p dimensions instead, which needs the activations.
    docs/theory.md derives all formulas. Computations run in NumPy, on the host.

    The kernels of networks that are not plain, such as un-centred ones, have a large part 1hᵀ + h1ᵀ, and so an
    eigenvalue of order n with an eigenvector near to 1. By default methods describe what is left of them behind an
    intercept: spectra are those of P K P, P = I − 11ᵀ/n, on the complement of the vector 1, and regression and gradient
    flow have an intercept that is neither penalised nor slow. With ``centre=False`` they describe K itself, its large
    eigenvalue included, and learning without an intercept.

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

    A network as people have them, behind an intercept:

    >>> import hntk
    >>> he = hntk.Architecture(["relu"] * 3, weight_std=2**0.5, bias_std=0.3, centred=False)
    >>> centred = LimitingKernel.of(law, 800, he)
    >>> [round(spike.value, 2) for spike in centred.spikes() if spike.above]
    [2.85]
    >>> [round(spike.value, 2) for spike in LimitingKernel.of(law, 800, he, centre=False).spikes() if spike.above]
    [592.41, 2.85]
    """

    law: MixtureLaw
    n: int
    coefficients: KernelCoefficients

    def __repr__(self) -> str:
        return f"LimitingKernel(n={self.n}, {self.law!r}, {self.coefficients!r})"

    @staticmethod
    def of(
        law: MixtureLaw,
        n: int,
        net: Net,
        *,
        kernel: KernelName = "ck",
        kappa_sq: float | None = None,
        centre: bool | None = None,
    ) -> LimitingKernel:
        """Return a network's kernel on n samples of a law.

        Parameters
        ----------
        law : MixtureLaw
            The law of the samples.
        n : int
            The number of samples.
        net : sequence of str or Activation, Architecture, Coefficients, or KernelCoefficients
            One activation per layer, or the description of any network; or the coefficients of a plain network, which
            do not determine its exact kernel.
        kernel : {"ck", "ntk"}
            The conjugate kernel or the neural tangent kernel.
        kappa_sq : float, optional
            The NTK's diagonal κ_L². It must be declared if an activation jumps.
        centre : bool, optional
            Whether to describe P K P and learning with an intercept. By default so for a network that is not plain, and
            not for a plain one.

        Returns
        -------
        LimitingKernel
            The kernel.

        Raises
        ------
        ValueError
            If n is not a positive whole number, ``law`` is no law, or the network does not fit; or if a kernel of one
            sample is centred, of which nothing is left.
        """
        n = as_count(n, "n", 1, MOST_SAMPLES)
        as_instance(law, "law", MixtureLaw, "a MixtureLaw, such as of MixtureLaw.of or estimate_law")
        coefficients = kernel_coefficients(net, law.tau0, kernel=kernel, kappa_sq=kappa_sq, centre=centre)
        if coefficients.centred and n == 1:
            raise ValueError(
                "of one sample nothing is left behind an intercept: give n of at least 2, or centre=False."
            )
        return LimitingKernel(law, n, coefficients)

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
            The distribution, with the spikes; that of a centred kernel leaves out the eigenvalue 0 of the vector 1.

        Raises
        ------
        ValueError
            If the kernel was made from coefficients.
        ArithmeticError
            If the total mass is not near 1.
        """
        kernel = SpikedKernel(self.law, self.n, self.coefficients, dense_points)
        # many points: slopes by pairs of classes would take too long
        return density_at_finite_size(kernel.with_slope_products())

    def spikes(self, *, finite_size: bool = False) -> tuple[Spike, ...]:
        """Return a kernel's isolated eigenvalues, with the alignment of their eigenvectors.

        Parameters
        ----------
        finite_size : bool
            Whether they are those of the exact kernel at this n and p, or of the equivalent kernel in the limit. At
            finite size only spikes above the bulk are given, whose edge is where the bulk ends for norms on the points
            of a Gauss quadrature. Two spikes nearer to each other than about p^(−1/2) of their size are found further
            apart in samples: their mean is predicted well, and their distance is not.

        Returns
        -------
        tuple of Spike
            The spikes, largest first, and after them the directions below their phase transition.

        Raises
        ------
        ValueError
            If ``finite_size`` is asked of a kernel made from coefficients.
        """
        return find_spikes(self._spiked(finite_size))

    def ridge_regression(
        self,
        ridge: float,
        *,
        finite_size: bool = False,
        targets: object | None = None,
        offset: object | None = None,
        linear: object | None = None,
        noise: object | None = None,
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
        linear : array, shape (p,) or (p, m), optional
            Weights w of a part ⟨w, x⟩ that is added to the targets of a sample x; weights of norm √p give it a variance
            about 1. Targets are then 0 unless they are given. It needs a law of :meth:`MixtureLaw.of`, and the limit.
        noise : float or array, shape (m,), optional
            Variance of independent noise that is added to the targets of all samples. Errors are counted from targets
            with noise.

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
        return learned_by_ridge(
            self._spiked(finite_size), ridge, ClassTargets.of(self.law, targets, offset, linear, noise)
        )

    def gradient_flow(
        self,
        time: float,
        *,
        finite_size: bool = False,
        targets: object | None = None,
        offset: object | None = None,
        linear: object | None = None,
        noise: object | None = None,
    ) -> Learned:
        """Return what gradient flow on ½‖y − f‖² from f = 0 reaches: training scores f = (I − exp(−sK̃)) y.

        With the NTK, this is the training of a wide network.

        Parameters
        ----------
        time : float
            The time s > 0, in units of one over the kernel's eigenvalues.
        finite_size, targets, offset, linear, noise : optional
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
        return learned_by_flow(
            self._spiked(finite_size), time, ClassTargets.of(self.law, targets, offset, linear, noise)
        )

    def optimal_ridge(
        self,
        *,
        criterion: Criterion = "squared",
        finite_size: bool = False,
        targets: object | None = None,
        offset: object | None = None,
        linear: object | None = None,
        noise: object | None = None,
        rounds: int = 4,
    ) -> Learned:
        """Return ridge regression with the ridge λ ≥ 0 of least test error.

        Parameters
        ----------
        criterion : {"squared", "classification"}
            Which test error is minimised.
        finite_size, targets, offset, linear, noise : optional
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
        made = ClassTargets.of(self.law, targets, offset, linear, noise)
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
