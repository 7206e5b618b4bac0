r"""The data objective: the staircase network whose kernel predicts best, on the user's data, what the original's can.

Theory matches the part of a kernel that remains at large n and p. On real data more of it counts, and a readout of
finite width learns no more than the kernel's leading functions. With $K$ the original's exact kernel on a sample
(centred) and $C = \sum_{k\le m} \lambda_kv_kv_k^\top$ its leading part, a function $f \sim N(0, C)$ is seen on one half
a of the sample and predicted on the other, b, by regression with the compressed kernel $\hat K$ and ridge λ. The error,

$$\frac{\mathrm{tr}\,(C_{bb} - 2P^\top C_{ab} + P^\top C_{aa}P)}{\mathrm{tr}\,C_{bb}},\qquad
P = (\hat K_{aa} + \lambda I)^{-1}\hat K_{ab},$$

is the distance between the two kernels that is minimised over λ, thresholds and levels. No labels are used. It depends
on every order of the kernels, on the spread of the norms, and on the identity shift, which acts as noise.

A network of finite widths has a drawn kernel, which strays from the exact one. Where widths are given, the error that
this adds on average is part of the distance (:mod:`hntk.matching.width_noise`). So the objective weighs two losses: an
exact kernel that differs from the original's, and features that scatter about it. Wide networks follow the first,
narrow ones prefer activations that pass more of their input on linearly. Without widths the second loss is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from itertools import count

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from scipy.optimize import OptimizeResult, minimize

from hntk._utils.float64 import float64
from hntk._utils.pytree import array_dataclass
from hntk.activations import Activation
from hntk.activations.mehler import pair_series
from hntk.activations.step_function import StepFunction, padded_alike
from hntk.kernels import exact_kernels
from hntk.matching.cell_pattern import CellPattern, StepNetwork
from hntk.matching.progress import ProgressCallback, no_progress
from hntk.matching.width_noise import DrawnWidths, LayerKernels, centred, missed_more

# Hermite orders above 32 count on the diagonal only; at correlation .9 that drops .9³² ≈ .03 of them
ORDER = 32
# fewer samples estimate too little of a kernel's leading functions
FEWEST_SAMPLES = 40
# thresholds stay this far apart, in standard deviations
LEAST_GAP = 1e-3
# logarithms of the ridges that are compared, relative to the kernel's mean eigenvalue
LOG_RIDGES = np.log(np.logspace(-3, 1, 17))
# the error of a point where it cannot be computed
UNUSABLE = 1e3
# What the distance is computed from; see Sample.inputs.
Inputs = tuple[Array, Array, Array, Array | None]


@array_dataclass()
class Sample:
    """Samples to compare kernels on.

    Attributes
    ----------
    gram : array, shape (n, n)
        XXᵀ/τ_0². The first half of the rows is part a.
    original : array, shape (n, n)
        The original's exact conjugate kernel on them.
    noise : array, shape (L, 2), or None
        The factors of every layer's noise, see :class:`hntk.matching.width_noise.DrawnWidths`; None of infinitely wide
        networks.
    """

    gram: Float[np.ndarray, "n n"]
    original: Float[np.ndarray, "n n"]
    noise: Float[np.ndarray, "L 2"] | None = None

    @classmethod
    def of(
        cls,
        x: Float[np.ndarray, "n p"],
        layers: Sequence[Activation],
        tau0: float,
        size: int,
        drawn: DrawnWidths | None = None,
    ) -> Sample:
        """Return a random part of the data, always the same part of the same data.

        Parameters
        ----------
        x : array, shape (n, p)
            The data.
        layers : sequence of Activation
            The original network.
        tau0 : float
            Data scale.
        size : int
            Number of samples, as far as there are so many.
        drawn : DrawnWidths, optional
            The widths and the law of the network that is to be drawn; None for infinite widths.

        Raises
        ------
        ValueError
            If there are too few samples.
        """
        if len(x) < FEWEST_SAMPLES:
            raise ValueError(
                f"objective='data' compares kernels on a sample: {len(x)} rows are too few, give at least "
                f"{FEWEST_SAMPLES}."
            )
        size = min(size, len(x)) // 2 * 2
        rows = np.sort(np.random.default_rng(0).choice(len(x), size, replace=False))
        part = np.random.default_rng(1).permutation(x[rows].astype(np.float64))
        with float64():
            kernel = np.asarray(exact_kernels(part, layers, tau0=tau0).ck)
        return cls(part @ part.T / tau0**2, kernel, None if drawn is None else drawn.noise(x.shape[1]))

    @cached_property
    def leading(self) -> Float[np.ndarray, "n n"]:
        """C: the leading n/2 functions of the centred original, scaled to mean variance 1."""
        half = len(self.gram) // 2
        mean = self.original.mean(axis=0)
        values, vectors = np.linalg.eigh(self.original - mean[None] - mean[:, None] + mean.mean())
        root = vectors[:, -half:] * np.sqrt(np.clip(values[-half:], 0.0, None))
        # a regression with an intercept on part a removes that part's mean
        root = root - root[:half].mean(axis=0)
        return root @ root.T * (len(root) / np.sum(root**2))

    @property
    def inputs(self) -> Inputs:
        """Part a's rows of the Gram matrix, its whole diagonal, C, and the factors of the noise, as JAX arrays."""
        half = len(self.gram) // 2
        noise = None if self.noise is None else jnp.asarray(self.noise)
        return jnp.asarray(self.gram[:half]), jnp.asarray(np.diag(self.gram)), jnp.asarray(self.leading), noise


def distance(sample: Sample, functions: Sequence[StepFunction]) -> tuple[float, float]:
    """Return the distance of a network's kernel from the original's, and the log of the best relative ridge."""
    with float64():
        layers = _layers(padded_alike(functions), *sample.inputs[:2])
        kernel = np.asarray(centred(layers[-1].kernel))
    half = len(kernel)
    values, vectors = np.linalg.eigh(kernel[:, :half])
    ab = vectors.T @ kernel[:, half:]
    # with P = D ab for a diagonal D, tr(Pᵀ C_aa P) = dᵀ (C_aa ∘ ab abᵀ) d
    linear = np.sum(ab * (vectors.T @ sample.leading[:half, half:]), axis=1)
    turned = vectors.T @ sample.leading[:half, :half] @ vectors
    quadratic = turned * (ab @ ab.T)
    bb = np.trace(sample.leading[half:, half:])
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
    """Return a local minimum of :func:`distance` over thresholds and levels, and the functions that reach it.

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
    start = np.concatenate([[distance(sample, functions)[1]], network.unknowns])
    with float64():
        inputs = sample.inputs
        done = count(1)

        def report(intermediate_result: OptimizeResult) -> None:
            reached = float(intermediate_result.fun)
            progress(f"following the data: step {next(done)} of at most {most}, distance {reached:.5f}")

        best = minimize(
            lambda z: _cost(network, z, inputs),
            start,
            jac=True,
            method="L-BFGS-B",
            callback=report,
            options={"maxiter": most, "maxcor": 20},
        )
    return float(best.fun), network._replace(unknowns=best.x[1:]).functions()


def _cost(network: StepNetwork, z: np.ndarray, inputs: Inputs) -> tuple[float, np.ndarray]:
    """Return the distance and its derivatives by (log of the ridge, unknowns)."""
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
    log_ridge: Array, functions: list[StepFunction], block: Array, norms: Array, leading: Array, noise: Array | None
) -> Array:
    """Return the error that the module's docstring defines."""
    layers = _layers(functions, block, norms)
    kernel = centred(layers[-1].kernel)
    half = len(kernel)
    aa, ab = kernel[:, :half], kernel[:, half:]
    regularised = aa + jnp.exp(log_ridge) * jnp.trace(aa) / half * jnp.eye(half)
    seen = leading[:half, :half]
    factor = jax.scipy.linalg.cho_factor(regularised)
    p = jax.scipy.linalg.cho_solve(factor, ab)
    bb = jnp.trace(leading[half:, half:])
    error = bb - 2 * jnp.sum(p * leading[:half, half:]) + jnp.sum(p * (seen @ p))
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
