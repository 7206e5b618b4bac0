"""Predictions in one call: each function makes a :class:`LimitingKernel` and asks it one thing.

For several predictions about one kernel, make the :class:`LimitingKernel` yourself: it keeps what they share.
"""

from __future__ import annotations

from hntk.asymptotics.density import LimitingDensity
from hntk.asymptotics.finite_density import FiniteSizeDensity
from hntk.asymptotics.kernel_parameters import KernelName, Net
from hntk.asymptotics.learning import Criterion, Learned
from hntk.asymptotics.limiting_kernel import LimitingKernel
from hntk.asymptotics.limiting_spikes import Spike
from hntk.asymptotics.mixture_law import MixtureLaw


def limiting_density(
    law: MixtureLaw, n: int, net: Net, *, kernel: KernelName = "ck", kappa_sq: float | None = None,
    centre: bool | None = None,
) -> LimitingDensity:  # fmt: skip
    """Return the limiting density of the eigenvalues of a network's equivalent kernel on n samples.

    Parameters
    ----------
    law, n, net, kernel, kappa_sq, centre : MixtureLaw, int, the network, and options
        As for :meth:`LimitingKernel.of`.

    Returns
    -------
    LimitingDensity
        The density, with its edges and atoms, and without the spikes.

    Raises
    ------
    ValueError
        If n or the network does not fit.
    ArithmeticError
        If the total mass is not 1 within 1e-6.

    Examples
    --------
    The Marchenko-Pastur law, between (1 ± √(n/p))²:

    >>> import numpy as np
    >>> from hntk.asymptotics import KernelCoefficients
    >>> linear = KernelCoefficients(1.0, 0.0, 0.0, shift=0.0)
    >>> limiting_density(MixtureLaw.of(np.zeros((1, 400)), [1.0]), 100, linear).edges
    array([[0.25, 2.25]])
    """
    return LimitingKernel.of(law, n, net, kernel=kernel, kappa_sq=kappa_sq, centre=centre).density()


def finite_size_density(
    law: MixtureLaw, n: int, net: Net, *, kernel: KernelName = "ck", kappa_sq: float | None = None,
    centre: bool | None = None,
) -> FiniteSizeDensity:  # fmt: skip
    """Return the distribution of the eigenvalues of a network's exact kernel on n samples in p dimensions.

    Parameters
    ----------
    law, n, net, kernel, kappa_sq, centre : MixtureLaw, int, the network, and options
        As for :meth:`LimitingKernel.of`; the network is given by its activations.

    Returns
    -------
    FiniteSizeDensity
        The distribution, with the spikes.

    Raises
    ------
    ValueError
        If n or the network does not fit, or the network is given by coefficients.
    ArithmeticError
        If the total mass is not near 1.

    Examples
    --------
    The kernel has its least eigenvalues nearer to 0 than in the limit:

    >>> import numpy as np
    >>> law = MixtureLaw.of(3 * np.eye(2, 400), [1.0, 1.0])
    >>> kernel = LimitingKernel.of(law, 200, ["relu"] * 3)
    >>> [round(float(d.quantiles(0.01)), 4) for d in (kernel.finite_size_density(), kernel.density())]
    [0.025, 0.0256]
    """
    return LimitingKernel.of(law, n, net, kernel=kernel, kappa_sq=kappa_sq, centre=centre).finite_size_density()


def spikes(
    law: MixtureLaw, n: int, net: Net, *, kernel: KernelName = "ck", kappa_sq: float | None = None,
    centre: bool | None = None, finite_size: bool = False,
) -> tuple[Spike, ...]:  # fmt: skip
    """Return the spikes of a network's kernel on n samples, largest first.

    Parameters
    ----------
    law, n, net, kernel, kappa_sq, centre : MixtureLaw, int, the network, and options
        As for :meth:`LimitingKernel.of`.
    finite_size : bool
        As for :meth:`LimitingKernel.spikes`.

    Returns
    -------
    tuple of Spike
        The spikes, and after them the directions below their phase transition.

    Raises
    ------
    ValueError
        If n or the network does not fit, or ``finite_size`` is asked of coefficients.

    Examples
    --------
    >>> import numpy as np
    >>> law = MixtureLaw.of(3 * np.eye(2, 400), [1.0, 1.0])
    >>> print(spikes(law, 800, ["relu"])[0])
    spike at 3.275 (strength 3.803): alignment 0.816 with the classes (0.408, 0.408)
    >>> print(spikes(law, 800, ["relu"], finite_size=True)[0])
    spike at 3.323 (strength 3.810): alignment 0.816 with the classes (0.408, 0.408)
    """
    return LimitingKernel.of(law, n, net, kernel=kernel, kappa_sq=kappa_sq, centre=centre).spikes(
        finite_size=finite_size
    )


def ridge_regression(
    law: MixtureLaw, n: int, net: Net, ridge: float, *, kernel: KernelName = "ntk", kappa_sq: float | None = None,
    centre: bool | None = None, finite_size: bool = False, targets: object | None = None, offset: object | None = None,
    linear: object | None = None, noise: object | None = None,
) -> Learned:  # fmt: skip
    """Return what kernel ridge regression on n samples reaches, with dual weights β = (K̃ + λI)⁻¹ y.

    Parameters
    ----------
    law, n, net : MixtureLaw, int, and the network
        As for :meth:`LimitingKernel.of`.
    ridge : float
        As for :meth:`LimitingKernel.ridge_regression`.
    kernel, kappa_sq, centre : optional
        As for :meth:`LimitingKernel.of`.
    finite_size, targets, offset, linear, noise : optional
        As for :meth:`LimitingKernel.ridge_regression`.

    Returns
    -------
    Learned
        The laws of training and test scores, and the errors they make.

    Raises
    ------
    ValueError
        If the network or the targets do not fit, or the ridge does not make the kernel positive definite.

    Examples
    --------
    >>> import numpy as np
    >>> law = MixtureLaw.of(3 * np.eye(2, 400), [1.0, 1.0])
    >>> [round(ridge_regression(law, n, ["relu"], 0.1).test.classification_error, 3) for n in (200, 800, 3200)]
    [0.048, 0.035, 0.024]
    """
    made = LimitingKernel.of(law, n, net, kernel=kernel, kappa_sq=kappa_sq, centre=centre)
    return made.ridge_regression(
        ridge, finite_size=finite_size, targets=targets, offset=offset, linear=linear, noise=noise
    )


def gradient_flow(
    law: MixtureLaw, n: int, net: Net, time: float, *, kernel: KernelName = "ntk", kappa_sq: float | None = None,
    centre: bool | None = None, finite_size: bool = False, targets: object | None = None, offset: object | None = None,
    linear: object | None = None, noise: object | None = None,
) -> Learned:  # fmt: skip
    """Return what gradient flow on ½‖y − f‖² from f = 0 reaches; with the NTK, the training of a wide network.

    Parameters
    ----------
    law, n, net : MixtureLaw, int, and the network
        As for :meth:`LimitingKernel.of`.
    time : float
        As for :meth:`LimitingKernel.gradient_flow`.
    kernel, kappa_sq, centre : optional
        As for :meth:`LimitingKernel.of`.
    finite_size, targets, offset, linear, noise : optional
        As for :meth:`LimitingKernel.gradient_flow`.

    Returns
    -------
    Learned
        The laws of training and test scores, and the errors they make.

    Raises
    ------
    ValueError
        If the network or the targets do not fit, or the time is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> law = MixtureLaw.of(3 * np.eye(2, 400), [1.0, 1.0])
    >>> [round(gradient_flow(law, 800, ["relu"], s).test.squared_error, 3) for s in (0.1, 1.0, 10.0)]
    [0.236, 0.109, 0.12]
    """
    made = LimitingKernel.of(law, n, net, kernel=kernel, kappa_sq=kappa_sq, centre=centre)
    return made.gradient_flow(time, finite_size=finite_size, targets=targets, offset=offset, linear=linear, noise=noise)


def optimal_ridge(
    law: MixtureLaw, n: int, net: Net, *, criterion: Criterion = "squared", kernel: KernelName = "ntk",
    kappa_sq: float | None = None, centre: bool | None = None, finite_size: bool = False, targets: object | None = None,
    offset: object | None = None, linear: object | None = None, noise: object | None = None, rounds: int = 4,
) -> Learned:  # fmt: skip
    """Return ridge regression on n samples with the ridge λ ≥ 0 of least test error.

    Parameters
    ----------
    law, n, net : MixtureLaw, int, and the network
        As for :meth:`LimitingKernel.of`.
    criterion : {"squared", "classification"}
        Which test error is minimised.
    kernel, kappa_sq, centre : optional
        As for :meth:`LimitingKernel.of`.
    finite_size, targets, offset, linear, noise, rounds : optional
        As for :meth:`LimitingKernel.optimal_ridge`.

    Returns
    -------
    Learned
        The result of ridge regression at the best ridge.

    Raises
    ------
    ValueError
        If the network or the targets do not fit, or the criterion is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> law = MixtureLaw.of(3 * np.eye(2, 400), [1.0, 1.0])
    >>> [round(optimal_ridge(law, n, ["relu"]).ridge, 2) for n in (200, 800)]
    [0.0, 0.35]
    """
    made = LimitingKernel.of(law, n, net, kernel=kernel, kappa_sq=kappa_sq, centre=centre)
    return made.optimal_ridge(
        criterion=criterion,
        finite_size=finite_size,
        targets=targets,
        offset=offset,
        linear=linear,
        noise=noise,
        rounds=rounds,
    )
