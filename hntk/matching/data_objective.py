r"""The data objective: the staircase network whose kernel predicts best, on the user's data, what the original's can.

Theory matches the part of a kernel that remains at large n and p. On real data more of it counts, and a readout of
finite width learns no more than the kernel's leading functions. With $K$ the original's exact kernel on a sample
(centred) and $C = \sum_{k\le m} \lambda_kv_kv_k^\top$ its leading part, a function $f \sim N(0, C)$ is seen on one half
a of the sample and predicted on the other, b, by regression with the compressed kernel $\hat K$ and ridge λ. The error,

$$\frac{\mathrm{tr}\,(C_{bb} - 2P^\top C_{ab} + P^\top C_{aa}P)}{\mathrm{tr}\,C_{bb}},\qquad
P = (\hat K_{aa} + \lambda I)^{-1}\hat K_{ab},$$

is the distance between the two kernels that is minimised over λ, thresholds and levels. No labels are used. It depends
on every order of the kernels, on the spread of the norms, and on the identity shift, which acts as noise.
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


@array_dataclass()
class Sample:
    """Samples to compare kernels on.

    Attributes
    ----------
    gram : array, shape (n, n)
        XXᵀ/τ_0². The first half of the rows is part a.
    original : array, shape (n, n)
        The original's exact conjugate kernel on them.
    """

    gram: Float[np.ndarray, "n n"]
    original: Float[np.ndarray, "n n"]

    @classmethod
    def of(cls, x: Float[np.ndarray, "n p"], layers: Sequence[Activation], tau0: float, size: int) -> Sample:
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
        return cls(part @ part.T / tau0**2, kernel)

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
    def inputs(self) -> tuple[Array, Array, Array]:
        """Part a's rows of the Gram matrix, its whole diagonal, and C, as JAX arrays."""
        half = len(self.gram) // 2
        return jnp.asarray(self.gram[:half]), jnp.asarray(np.diag(self.gram)), jnp.asarray(self.leading)


def distance(sample: Sample, functions: Sequence[StepFunction]) -> tuple[float, float]:
    """Return the distance of a network's kernel from the original's, and the log of the best relative ridge."""
    with float64():
        kernel = np.asarray(_kernel(padded_alike(functions), *sample.inputs[:2]))
    half = len(kernel)
    values, vectors = np.linalg.eigh(kernel[:, :half])
    ab = vectors.T @ kernel[:, half:]
    # with P = D ab for a diagonal D, tr(Pᵀ C_aa P) = dᵀ (C_aa ∘ ab abᵀ) d
    linear = np.sum(ab * (vectors.T @ sample.leading[:half, half:]), axis=1)
    quadratic = (vectors.T @ sample.leading[:half, :half] @ vectors) * (ab @ ab.T)
    bb = np.trace(sample.leading[half:, half:])
    errors = []
    for log_ridge in LOG_RIDGES:
        d = 1 / (np.clip(values, 0.0, None) + np.exp(log_ridge) * values.sum() / half)
        errors.append((float((bb - 2 * d @ linear + d @ quadratic @ d) / bb), float(log_ridge)))
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


def _cost(network: StepNetwork, z: np.ndarray, inputs: tuple[Array, Array, Array]) -> tuple[float, np.ndarray]:
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
def _kernel(functions: list[StepFunction], block: Array, norms: Array) -> Array:
    """Return rows a of the compressed kernel, centred as a regression on part a with an intercept does."""
    kernel, diagonal = block, norms
    for function in functions:
        kernel, diagonal = _layer(function, kernel, diagonal)
    kernel = kernel - kernel.mean(axis=0)[None]
    return kernel - kernel[:, : len(kernel)].mean(axis=1)[:, None]


@jax.jit
@partial(jax.value_and_grad, argnums=(0, 1))
def _error(log_ridge: Array, functions: list[StepFunction], block: Array, norms: Array, leading: Array) -> Array:
    """Return the error that the module's docstring defines."""
    kernel = _kernel(functions, block, norms)
    half = len(kernel)
    aa, ab = kernel[:, :half], kernel[:, half:]
    ridge = jnp.exp(log_ridge) * jnp.trace(aa) / half
    p = jax.scipy.linalg.solve(aa + ridge * jnp.eye(half), ab, assume_a="pos")
    bb = jnp.trace(leading[half:, half:])
    return (bb - 2 * jnp.sum(p * leading[:half, half:]) + jnp.sum(p * (leading[:half, :half] @ p))) / bb


def _layer(function: StepFunction, kernel: Array, diagonal: Array) -> tuple[Array, Array]:
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
    return kernel / one.variance, inside / one.variance
