r"""The data objective: of all staircase networks the one whose kernel predicts on the user's data as the original can.

Theory matches what is left of a kernel at large n and p. On real data more of it counts, and a readout of finite width
learns no more than the kernel's leading functions. With $K$ the original's exact kernel on a sample (centred) and
$C = \sum_{k\le m} \lambda_kv_kv_k^\top$ its leading part, a function $f \sim N(0, C)$ is seen on one half a of the
sample and predicted on the other, b, by regression with the compressed kernel $\hat K$ and ridge λ. The error,

$$\frac{\mathrm{tr}\,(C_{bb} - 2P^\top C_{ab} + P^\top C_{aa}P)}{\mathrm{tr}\,C_{bb}},\qquad
P = (\hat K_{aa} + \lambda I)^{-1}\hat K_{ab},$$

is the distance between the two kernels that is minimised, over λ, thresholds and levels. No labels are used. It sees
every order of the kernels, the spread of the norms, and the identity shift, which acts as noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import count

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from scipy.optimize import OptimizeResult, minimize

from hntk._utils.float64 import float64
from hntk.activations import Activation
from hntk.activations.jumps import Jumps, of_one_size
from hntk.activations.mehler import pair_series
from hntk.kernels import exact_kernels
from hntk.matching.joint import Tell, quiet
from hntk.matching.step_functions import Partition, UnitStaircase

# what lies beyond goes to the diagonal: a pair of samples correlated by .9 keeps .03 of that
ORDER = 32
# fewer say too little of a kernel's leading functions
FEWEST = 40
LEAST_GAP = 1e-3
RIDGES = np.log(np.logspace(-3, 1, 17))
UNUSABLE = 1e3


@dataclass(frozen=True)
class Sample:
    """Samples to compare kernels on.

    Attributes
    ----------
    gram : (n, n) XXᵀ/τ_0², the first half of the rows being part a.
    original : (n, n) the original's exact conjugate kernel on them.
    """

    gram: Float[np.ndarray, "n n"]
    original: Float[np.ndarray, "n n"]

    @classmethod
    def of(cls, x: Float[np.ndarray, "n p"], layers: Sequence[Activation], tau0: float, size: int) -> Sample:
        """A random part of the data, the same for the same data.

        Raises
        ------
        ValueError
            If there are too few samples.
        """
        if len(x) < FEWEST:
            raise ValueError(
                f"objective='data' compares kernels on a sample: {len(x)} rows are too few, give at least {FEWEST}."
            )
        size = min(size, len(x)) // 2 * 2
        rows = np.sort(np.random.default_rng(0).choice(len(x), size, replace=False))
        part = np.random.default_rng(1).permutation(x[rows].astype(np.float64))
        with float64():
            kernel = np.asarray(exact_kernels(part, layers, tau0=tau0).ck)
        return cls(part @ part.T / tau0**2, kernel)

    @cached_property
    def leading(self) -> Float[np.ndarray, "n n"]:
        """C: the leading half-a-sample's worth of the centred original, at mean variance 1."""
        half = len(self.gram) // 2
        values, vectors = np.linalg.eigh(_centred(self.original))
        root = vectors[:, -half:] * np.sqrt(np.clip(values[-half:], 0.0, None))
        # as seen by a regression with an intercept on part a
        root = root - root[:half].mean(axis=0)
        return root @ root.T * (len(root) / np.sum(root**2))


def _centred(kernel: np.ndarray) -> np.ndarray:
    mean = kernel.mean(axis=0)
    return kernel - mean[None] - mean[:, None] + mean.mean()


def distance(sample: Sample, functions: Sequence[UnitStaircase]) -> tuple[float, float]:
    """How far a network's kernel is from the original's on the sample, and log of the relative ridge that is best."""
    forms, z = _unknowns(functions)
    with float64():
        kernel = np.asarray(_kernel(_steps(forms, z), *_known(sample)[:2]))
    half = len(kernel)
    values, vectors = np.linalg.eigh(kernel[:, :half])
    ab = vectors.T @ kernel[:, half:]
    # with P = D ab for a diagonal D, tr(Pᵀ C_aa P) = dᵀ (C_aa ∘ ab abᵀ) d
    linear = np.sum(ab * (vectors.T @ sample.leading[:half, half:]), axis=1)
    quadratic = (vectors.T @ sample.leading[:half, :half] @ vectors) * (ab @ ab.T)
    bb = np.trace(sample.leading[half:, half:])
    found = []
    for log_ridge in RIDGES:
        d = 1 / (np.clip(values, 0.0, None) + np.exp(log_ridge) * values.sum() / half)
        found.append((float((bb - 2 * d @ linear + d @ quadratic @ d) / bb), float(log_ridge)))
    return min(found)


def refine(
    sample: Sample, functions: Sequence[UnitStaircase], most: int, tell: Tell = quiet
) -> tuple[float, list[UnitStaircase]]:
    """A local minimum of :func:`distance` over thresholds and levels from these functions, in at most so many steps."""
    forms, unknowns = _unknowns(functions)
    start = np.concatenate([[distance(sample, functions)[1]], unknowns])
    with float64():
        known = _known(sample)

        def cost(z: np.ndarray) -> tuple[float, np.ndarray]:
            if not _ordered(forms, z[1:]):
                return UNUSABLE, np.zeros_like(z)
            value, (by_ridge, by_steps) = _error(z[0], _steps(forms, z[1:]), *known)
            slope = np.concatenate([[by_ridge], *(_by_unknowns(f, g) for f, g in zip(forms, by_steps, strict=True))])
            if not (np.isfinite(value) and np.all(np.isfinite(slope))):
                return UNUSABLE, np.zeros_like(z)
            return float(value), slope

        done = count(1)

        def step(intermediate_result: OptimizeResult) -> None:
            reached = float(intermediate_result.fun)
            tell(f"following the data: step {next(done)} of at most {most}, distance {reached:.5f}")

        options = {"maxiter": most, "maxcor": 20}
        found = minimize(cost, start, jac=True, method="L-BFGS-B", callback=step, options=options)
    refined = [form.function(z) for form, z in zip(forms, _parts(forms, found.x[1:]), strict=True)]
    return float(found.fun), [function.normalised() for function in refined]


def _known(sample: Sample) -> tuple[Array, Array, Array]:
    """Part a's rows of the Gram matrix, its diagonal, and C."""
    half = len(sample.gram) // 2
    return jnp.asarray(sample.gram[:half]), jnp.asarray(np.diag(sample.gram)), jnp.asarray(sample.leading)


def _unknowns(functions: Sequence[UnitStaircase]) -> tuple[list[Partition], np.ndarray]:
    pairs = [Partition.of(function) for function in functions]
    return [form for form, _ in pairs], np.concatenate([z for _, z in pairs])


def _parts(forms: Sequence[Partition], z: np.ndarray) -> list[np.ndarray]:
    return np.split(z, np.cumsum([form.size for form in forms])[:-1])


def _ordered(forms: Sequence[Partition], z: np.ndarray) -> bool:
    """Whether all thresholds are still apart."""
    return all(
        np.all(np.diff(part[: form.thresholds]) > LEAST_GAP) for form, part in zip(forms, _parts(forms, z), strict=True)
    )


def _steps(forms: Sequence[Partition], z: np.ndarray) -> list[Jumps]:
    """The layers as arrays of one size, so that all networks of a depth share a compilation."""
    functions = [form.function(part) for form, part in zip(forms, _parts(forms, z), strict=True)]
    return of_one_size(
        [Jumps(jnp.asarray(f.levels[0]), jnp.asarray(f.thresholds), jnp.asarray(np.diff(f.levels))) for f in functions]
    )


def _by_unknowns(form: Partition, gradient: Jumps) -> np.ndarray:
    """From derivatives by first value, thresholds and jumps to those by thresholds and levels."""
    count = form.thresholds
    jumps = np.asarray(gradient.jumps)[:count]
    cells = np.concatenate([[0.0], jumps]) - np.concatenate([jumps, [0.0]])
    cells[0] += float(gradient.first)
    by_level = np.bincount(np.array(form.labels), cells, minlength=form.level_count)
    return np.concatenate([np.asarray(gradient.thresholds)[:count], by_level])


@jax.jit
def _kernel(steps: list[Jumps], block: Array, norms: Array) -> Array:
    """Rows a of the compressed kernel, as a regression on part a with an intercept sees them."""
    kernel, diagonal = block, norms
    for step in steps:
        kernel, diagonal = _layer(step, kernel, diagonal)
    kernel = kernel - kernel.mean(axis=0)[None]
    return kernel - kernel[:, : len(kernel)].mean(axis=1)[:, None]


@jax.jit
@partial(jax.value_and_grad, argnums=(0, 1))
def _error(log_ridge: Array, steps: list[Jumps], block: Array, norms: Array, leading: Array) -> Array:
    """The distance of the module's docstring."""
    kernel = _kernel(steps, block, norms)
    half = len(kernel)
    aa, ab = kernel[:, :half], kernel[:, half:]
    ridge = jnp.exp(log_ridge) * jnp.trace(aa) / half
    p = jax.scipy.linalg.solve(aa + ridge * jnp.eye(half), ab, assume_a="pos")
    bb = jnp.trace(leading[half:, half:])
    return (bb - 2 * jnp.sum(p * leading[:half, half:]) + jnp.sum(p * (leading[:half, :half] @ p))) / bb


def _layer(step: Jumps, kernel: Array, diagonal: Array) -> tuple[Array, Array]:
    """K_l from K_{l−1} (rows a, and the diagonal of all), in units of the output's variance at scale 1."""
    half = kernel.shape[0]
    one = step.hermite(jnp.ones(()), 1)
    side = step.hermite(diagonal, ORDER)
    mean = side.coefficients[0] - one.coefficients[0]
    rho = kernel / jnp.sqrt(diagonal[:half, None] * diagonal[None, :])
    rho = jnp.fill_diagonal(rho, 0.0, inplace=False)
    terms = side.coefficients[1:]
    outside = pair_series(terms[:, :half], terms, rho) * rho + mean[:half, None] * mean[None, :]
    inside = side.variance + mean**2
    kernel = jnp.fill_diagonal(outside, inside[:half], inplace=False)
    return kernel / one.variance, inside / one.variance
