r"""The data objective: the staircase network whose kernel predicts best, on the user's data.

Theory matches the part of a kernel that remains at large n and p. On real data more of it counts. Here functions of
covariance C are seen on one half a of a sample and predicted on the other, b, by regression with the compressed kernel
$\hat K$ (centred) and ridge λ. The error,

$$\frac{\mathrm{tr}\,(C_{bb} - 2P^\top C_{ab} + P^\top C_{aa}P)}{\mathrm{tr}\,C_{bb}},\qquad
P = (\hat K_{aa} + \lambda I)^{-1}\hat K_{ab},$$

is minimised over λ, thresholds and levels. It depends on every order of the kernel, on the spread of the norms, and on
the identity shift, which acts as noise.

With labels, the functions are the indicators of the classes, and $C = YY^\top$. Without labels they are what the
original's kernel can learn: the leading part $C = \sum_{k\le m} \lambda_kv_kv_k^\top$ of its centred exact kernel.
Labels are the better guide, because they tell which of these functions matter.

A network of finite widths has a drawn kernel, which strays from the exact one. Where widths are given, the error that
this adds on average is part of the objective (:mod:`hntk.matching.width_noise`). So it weighs two losses: an exact
kernel that predicts less, and features that scatter about it. Wide networks follow the first, narrow ones prefer
activations that pass more of their input on linearly. Without widths the second loss is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jax import Array
from jaxtyping import Float, Int

from hntk._utils.float64 import float64
from hntk._utils.pytree import array_dataclass
from hntk.activations.mehler import pair_series
from hntk.activations.step_function import StepFunction, padded_alike
from hntk.kernels import exact_kernels
from hntk.matching.cell_pattern import CellPattern, StepNetwork
from hntk.matching.progress import ProgressCallback, no_progress
from hntk.matching.width_noise import DrawnWidths, LayerKernels, centred, missed_more
from hntk.spectra.comparison import centred_kernel
from hntk.theory.architecture import ArchitectureLike

# Hermite orders above 32 count on the diagonal only; at correlation .9 that drops .9³² ≈ .03 of them
ORDER = 32
# fewer samples estimate too little of a kernel's leading functions
FEWEST_SAMPLES = 40
# thresholds stay this far apart, in standard deviations
LEAST_GAP = 1e-3
# logarithms of the ridges that are compared, relative to the kernel's mean eigenvalue
LOG_RIDGES = np.log(np.logspace(-3, 1, 17))
# The search ends when so many steps have lowered the error by less than this share of it. From one sample to another it
# differs far more.
PATIENCE, LEAST_GAIN = 10, 1e-4
# the error of a point where it cannot be computed
UNUSABLE = 1e3
# What the error is computed from; see Sample.inputs.
Inputs = tuple[Array, Array, Array, Array | None]


@array_dataclass()
class Sample:
    """Samples to compare kernels on.

    Attributes
    ----------
    gram : array, shape (n, n)
        XXᵀ/τ_0². The first half of the rows is part a.
    functions : array, shape (n, k)
        The functions that are predicted: C is functions @ functions.T. They have mean 0 on part a and, all together,
        mean variance 1.
    noise : array, shape (L, 2), or None
        The factors of every layer's noise, see :class:`hntk.matching.width_noise.DrawnWidths`; None of infinitely wide
        networks.
    """

    gram: Float[np.ndarray, "n n"]
    functions: Float[np.ndarray, "n k"]
    noise: Float[np.ndarray, "L 2"] | None = None

    @classmethod
    def of(
        cls,
        x: Float[np.ndarray, "n p"],
        network: ArchitectureLike,
        tau0: float,
        size: int,
        drawn: DrawnWidths | None = None,
        classes: Int[np.ndarray, " n"] | None = None,
    ) -> Sample:
        """Return a random part of the data, always the same part of the same data.

        Parameters
        ----------
        x : array, shape (n, p)
            The data.
        network : Architecture or sequence of Activation
            The original network.
        tau0 : float
            Data scale.
        size : int
            Number of samples, as far as there are so many.
        drawn : DrawnWidths, optional
            The widths and the law of the network that is to be drawn; None for infinite widths.
        classes : array of int, shape (n,), optional
            The class of every sample; None to predict the leading functions of the original's kernel.

        Raises
        ------
        ValueError
            If there are too few samples, or all of a half are of one class.
        """
        if len(x) < FEWEST_SAMPLES:
            raise ValueError(
                f"objective='data' compares kernels on a sample: {len(x)} rows are too few, give at least "
                f"{FEWEST_SAMPLES}."
            )
        size = min(size, len(x)) // 2 * 2
        rows = np.sort(np.random.default_rng(0).choice(len(x), size, replace=False))
        rows = np.random.default_rng(1).permutation(rows)
        part = x[rows].astype(np.float64)
        functions = _leading(part, network, tau0) if classes is None else _indicators(classes[rows])
        # a regression with an intercept on part a removes that part's mean
        functions = functions - functions[: size // 2].mean(axis=0)
        functions *= np.sqrt(size / np.sum(functions**2))
        return cls(part @ part.T / tau0**2, functions, None if drawn is None else drawn.noise(x.shape[1]))

    @cached_property
    def covariance(self) -> Float[np.ndarray, "n n"]:
        """C."""
        return self.functions @ self.functions.T

    @property
    def inputs(self) -> Inputs:
        """Part a's rows of the Gram matrix, its whole diagonal, C, and the factors of the noise, as JAX arrays."""
        half = len(self.gram) // 2
        noise = None if self.noise is None else jax.device_put(self.noise)
        # jnp.asarray would compile a copy for every shape
        gram, diagonal, covariance = map(jax.device_put, (self.gram[:half], np.diag(self.gram), self.covariance))
        return gram, diagonal, covariance, noise


def _leading(x: Float[np.ndarray, "n p"], network: ArchitectureLike, tau0: float) -> Float[np.ndarray, "n k"]:
    """Return the leading n/2 functions of the centred exact kernel, of its eigenvalues as variances."""
    with float64():
        kernel = np.asarray(exact_kernels(x, network, tau0=tau0).ck)
    half = len(x) // 2
    values, vectors = np.linalg.eigh(centred_kernel(kernel))
    return vectors[:, -half:] * np.sqrt(np.clip(values[-half:], 0.0, None))


def _indicators(classes: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n k"]:
    """Return the indicators of the classes that occur.

    Raises
    ------
    ValueError
        If a half has one class only.
    """
    half = len(classes) // 2
    if min(len(np.unique(part)) for part in (classes[:half], classes[half:])) < 2:
        raise ValueError(
            f"a random part of {half} samples holds one class only, where objective='data' predicts the classes: give "
            "more samples of the others, raise samples=, or leave the labels out."
        )
    return (classes[:, None] == np.unique(classes)).astype(np.float64)


def held_out_error(sample: Sample, functions: Sequence[StepFunction]) -> tuple[float, float]:
    """Return the error of regression with a network's kernel, and the log of the relative ridge where it is least."""
    with float64():
        layers = _layers(padded_alike(functions), *sample.inputs[:2])
        kernel = np.asarray(centred(layers[-1].kernel))
    half = len(kernel)
    values, vectors = np.linalg.eigh(kernel[:, :half])
    ab = vectors.T @ kernel[:, half:]
    # with P = D ab for a diagonal D, tr(Pᵀ C_aa P) = dᵀ (C_aa ∘ ab abᵀ) d
    linear = np.sum(ab * (vectors.T @ sample.covariance[:half, half:]), axis=1)
    turned = vectors.T @ sample.covariance[:half, :half] @ vectors
    quadratic = turned * (ab @ ab.T)
    bb = np.trace(sample.covariance[half:, half:])
    errors = []
    for log_ridge in LOG_RIDGES:
        d = 1 / (np.clip(values, 0.0, None) + np.exp(log_ridge) * values.sum() / half)
        error = bb - 2 * d @ linear + d @ quadratic @ d
        if sample.noise is not None:
            p, q = vectors @ (d[:, None] * ab), vectors @ (d[:, None] * turned * d) @ vectors.T
            with float64():
                error += float(_missed_more(layers, sample.noise, p, q))
        errors.append((float(error / bb), float(log_ridge)))
    return min(errors)


def refine(
    sample: Sample, functions: Sequence[StepFunction], most: int, progress: ProgressCallback = no_progress
) -> tuple[float, list[StepFunction]]:
    """Return a local minimum of :func:`held_out_error` over thresholds and levels, and the functions that reach it.

    Parameters
    ----------
    sample : Sample
        Where the kernels are compared.
    functions : sequence of StepFunction
        Where to begin.
    most : int
        Most steps.
    progress : callable
        Called with a line on each step.
    """
    network = StepNetwork.of(functions)
    start = np.concatenate([[held_out_error(sample, functions)[1]], network.unknowns])
    with float64():
        inputs = sample.inputs
        errors, usable = [], start

        def report(intermediate_result: scipy.optimize.OptimizeResult) -> None:
            nonlocal usable
            errors.append(float(intermediate_result.fun))
            usable = np.array(intermediate_result.x)
            progress(f"following the data: step {len(errors)} of at most {most}, held-out error {errors[-1]:.5f}")
            if len(errors) > PATIENCE and errors[-1] > (1 - LEAST_GAIN) * errors[-1 - PATIENCE]:
                raise StopIteration

        best = scipy.optimize.minimize(
            lambda z: _cost(network, z, inputs),
            start,
            jac=True,
            method="L-BFGS-B",
            callback=report,
            options={"maxiter": most, "maxcor": 20},
        )
        # a line search may end where the error cannot be computed: the last step before it can
        z = best.x if best.fun < UNUSABLE else usable
        reached = float(_cost(network, z, inputs)[0])
    return reached, network._replace(unknowns=z[1:]).functions()


def _cost(network: StepNetwork, z: np.ndarray, inputs: Inputs) -> tuple[float, np.ndarray]:
    """Return the error and its derivatives by (log of the ridge, unknowns)."""
    if not _are_thresholds_apart(network, z[1:]):
        return UNUSABLE, np.zeros_like(z)
    value, (by_ridge, by_functions) = _error(z[0], _padded_functions(network, z[1:]), *inputs)
    slopes = [_by_unknowns(p, by) for p, by in zip(network.patterns, by_functions, strict=True)]
    slope = np.concatenate([[by_ridge], *slopes])
    if not (np.isfinite(value) and np.all(np.isfinite(slope))):
        return UNUSABLE, np.zeros_like(z)
    return float(value), slope


def _are_thresholds_apart(network: StepNetwork, z: np.ndarray) -> bool:
    layers = zip(network.patterns, network.parts(z), strict=True)
    return all(np.all(np.diff(part[: pattern.thresholds]) > LEAST_GAP) for pattern, part in layers)


def _padded_functions(network: StepNetwork, z: np.ndarray) -> list[StepFunction]:
    """Return the layers' functions with one number of thresholds, so that all networks of a depth share a program."""
    return padded_alike([p.function(part) for p, part in zip(network.patterns, network.parts(z), strict=True)])


def _by_unknowns(pattern: CellPattern, gradient: StepFunction) -> np.ndarray:
    """Turn derivatives by the arrays of a padded function into those by the unknowns of its pattern."""
    levels = np.asarray(gradient.levels)
    # the levels that pad repeat the last one
    labels = np.pad(pattern.labels, (0, levels.size - len(pattern.labels)), mode="edge")
    by_level = np.bincount(labels, levels, minlength=pattern.level_count)
    return np.concatenate([np.asarray(gradient.thresholds)[: pattern.thresholds], by_level])


@jax.jit
def _layers(functions: list[StepFunction], block: Array, norms: Array) -> list[LayerKernels]:
    """Return the compressed network's exact kernels, layer by layer."""
    layers, kernel, diagonal = [], block, norms
    for function in functions:
        layers.append(_layer(function, kernel, diagonal))
        kernel, diagonal = layers[-1].kernel, layers[-1].diagonal
    return layers


@jax.jit
@partial(jax.value_and_grad, argnums=(0, 1))
def _error(
    log_ridge: Array, functions: list[StepFunction], block: Array, norms: Array, covariance: Array, noise: Array | None
) -> Array:
    """Return the error that the module's docstring defines."""
    layers = _layers(functions, block, norms)
    kernel = centred(layers[-1].kernel)
    half = len(kernel)
    aa, ab = kernel[:, :half], kernel[:, half:]
    regularised = aa + jnp.exp(log_ridge) * jnp.trace(aa) / half * jnp.eye(half)
    seen = covariance[:half, :half]
    factor = jax.scipy.linalg.cho_factor(regularised)
    p = jax.scipy.linalg.cho_solve(factor, ab)
    bb = jnp.trace(covariance[half:, half:])
    error = bb - 2 * jnp.sum(p * covariance[:half, half:]) + jnp.sum(p * (seen @ p))
    if noise is not None:
        q = jax.scipy.linalg.cho_solve(factor, jax.scipy.linalg.cho_solve(factor, seen).T)
        error += missed_more(layers, noise, p, q)
    return error / bb


def _layer(function: StepFunction, kernel: Array, diagonal: Array) -> LayerKernels:
    """Return K_l from K_{l−1} (rows a, and the diagonal of all), in units of the output's variance at scale 1."""
    half = kernel.shape[0]
    one = function.hermite(jnp.ones(()), 1)
    side = function.hermite(diagonal, ORDER)
    mean = side.coefficients[0] - one.coefficients[0]
    rho = kernel / jnp.sqrt(diagonal[:half, None] * diagonal[None, :])
    rho = jnp.fill_diagonal(rho, 0.0, inplace=False)
    terms = side.coefficients[1:]
    outside = pair_series(terms[:, :half], terms, rho) * rho + mean[:half, None] * mean[None, :]
    inside = side.variance + mean**2
    kernel = jnp.fill_diagonal(outside, inside[:half], inplace=False)
    first = terms[0]
    linear = jnp.fill_diagonal(first[:half, None] * first * rho, first[:half] ** 2, inplace=False)
    unit = one.variance
    return LayerKernels(kernel / unit, inside / unit, linear / unit, first**2 / unit, one.coefficients[1] ** 2 / unit)


# compiled for matrices of NumPy, whose ridges are tried one after the other
_missed_more = jax.jit(missed_more)
