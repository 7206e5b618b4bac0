r"""Kernels of the infinitely wide network, in memory or on disk.

The recursion is :mod:`hntk.kernels.recursion`; here is where its tiles go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.arguments import as_callback, as_count, as_diagonal, as_scale
from hntk._utils.arrays import check_result
from hntk._utils.float64 import warn_if_float32
from hntk._utils.rows import as_samples, rms_norm
from hntk.activations import Activation
from hntk.kernels.kernel_memory import check_memory
from hntk.kernels.recursion import Recursion, SampleSet
from hntk.kernels.tiling import TILE, Target, fill
from hntk.theory.coefficients import as_activations, coefficients

# what JAX takes over without copying
ALIGNMENT = 64


class Kernels(NamedTuple):
    """Conjugate kernel and neural tangent kernel, (n, n) each (or (n, m) between two data sets)."""

    ck: Float[Array, "n m"]
    ntk: Float[Array, "n m"]


def exact_kernels(
    x: object,
    activations: Sequence[str | Activation],
    *,
    x2: object | None = None,
    tau0: float | None = None,
    kappa_sq: float | None = None,
    tile: int = TILE,
    progress: Callable[[int], None] | None = None,
) -> Kernels:
    """K_L and Θ_L at infinite width.

    Parameters
    ----------
    x : (n, p) samples.
    activations : one per layer, names or activations.
    x2 : (m, p) further samples: kernels between x and x2. By default x itself.
    tau0 : scale at which the activations are centred; by default the root mean square norm of x.
    kappa_sq : for a network with jumps, the number to put on the NTK's diagonal, which is infinite otherwise.
    tile : samples on the side of a tile; numbers do not depend on it beyond rounding.
    progress : called with the number of entries that are done, again and again, n·m in all.

    Returns
    -------
    Kernels in the precision JAX is set to (a warning says so if that is float32).

    Raises
    ------
    ValueError
        For data or settings that do not fit.
    MemoryError
        If the kernels do not fit into memory, before anything is computed; :func:`store_kernels` needs none.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=6, p=50, key=jax.random.key(0))
    >>> hntk.exact_kernels(data.x, ["relu", "erf"]).ntk.shape
    (6, 6)
    """
    warn_if_float32("the exact kernel")
    problem, tile, progress = Problem.of(x, activations, x2, tau0, kappa_sq), as_tile(tile), as_callback(progress)
    check_memory(problem.shape, problem.dtype, sides=problem.side_bytes)
    arrays = [_aligned(problem.shape, problem.dtype) for _ in range(2)]
    target = Target(*arrays, symmetric=problem.symmetric, tile=tile)
    problem.fill(target, target.bands, None if progress is None else lambda band: progress(target.pairs(band)))
    return Kernels(*map(_as_jax, arrays))


@dataclass(frozen=True)
class Problem:
    """Samples and a network whose kernels are wanted.

    Attributes
    ----------
    x, x2 : samples in JAX's precision; x2 is None for x itself.
    layers, centres : the network.
    kappa_sq : the NTK's diagonal where it is declared.
    """

    x: Float[Array, "n p"]
    x2: Float[Array, "m p"] | None
    layers: tuple[Activation, ...]
    centres: tuple[float, ...]
    kappa_sq: float | None

    @classmethod
    def of(
        cls,
        x: object,
        activations: Sequence[str | Activation],
        x2: object | None,
        tau0: float | None,
        kappa_sq: float | None,
    ) -> Problem:
        """What is asked for, checked.

        Raises
        ------
        ValueError
            For data that does not fit.
        """
        first = as_samples(x)
        second = None if x2 is None else as_samples(x2, "x2")
        if second is not None and second.shape[1] != first.shape[1]:
            raise ValueError(
                f"x and x2 must have the same number of columns, got {first.shape[1]} and {second.shape[1]}."
            )
        layers, diagonal = as_activations(activations), as_diagonal(kappa_sq)
        scale = rms_norm(first) if tau0 is None else as_scale(tau0)
        centres = coefficients(layers, scale).centres
        dtype = jnp.result_type(float)
        _check_precision(scale, dtype)
        return cls(first.astype(dtype), None if second is None else second.astype(dtype), layers, centres, diagonal)

    @property
    def symmetric(self) -> bool:
        """Whether both sides are the same samples."""
        return self.x2 is None

    @property
    def shape(self) -> tuple[int, int]:
        """(n, m)."""
        return self.x.shape[0], (self.x if self.x2 is None else self.x2).shape[0]

    @property
    def dtype(self) -> np.dtype:
        """Of the kernels."""
        return np.dtype(self.x.dtype)

    @property
    def side_bytes(self) -> int:
        """Memory of what is kept of every sample, beside the kernels."""
        one = jax.eval_shape(self.recursion.samples, jax.ShapeDtypeStruct((1, self.x.shape[1]), self.x.dtype))
        each = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(one))
        return each * (self.shape[0] + (0 if self.x2 is None else self.shape[1]))

    @cached_property
    def recursion(self) -> Recursion:
        """Of the network."""
        return Recursion(self.layers, self.centres)

    def samples(self, x: Array) -> SampleSet:
        """What the recursion needs to know of samples, with the diagonal that is declared."""
        found = self.recursion.samples(x)
        return found if self.kappa_sq is None else found._replace(ntk=jnp.full_like(found.ntk, self.kappa_sq))

    def fill(self, target: Target, bands: Sequence[int], done: Callable[[int], None] | None) -> None:
        """Compute some rows of tiles."""
        first = self.samples(self.x)
        second = first if self.x2 is None else self.samples(self.x2)
        check_result(first.ck, "the conjugate kernel's diagonal")
        check_result(second.ck, "the conjugate kernel's diagonal")
        fill(self.recursion, first, second, target, bands, done)


def as_tile(tile: object) -> int:
    """Samples on the side of a tile.

    Raises
    ------
    ValueError
        If it is not a positive whole number.
    """
    return as_count(tile, "tile")


def _check_precision(tau0: float, dtype: np.dtype) -> None:
    """Refuse scales whose fourth powers leave the precision: kernels would be 0, or infinite."""
    least, most = (float(bound) ** 0.25 for bound in (jnp.finfo(dtype).tiny, jnp.finfo(dtype).max))
    if not least < tau0 < most:
        raise ValueError(
            f"the data's scale tau0 = {tau0:.3g} is beyond what {np.dtype(dtype).name} holds the powers of: rescale x "
            "to norms about 1."
        )


def _aligned(shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    size = shape[0] * shape[1] * dtype.itemsize
    raw = np.empty(size + ALIGNMENT, np.uint8)
    begin = -raw.ctypes.data % ALIGNMENT
    return raw[begin : begin + size].view(dtype).reshape(shape)


def _as_jax(array: np.ndarray) -> Array:
    """On JAX's default device; on a CPU the same memory."""
    if jax.default_backend() == "cpu":
        return jax.dlpack.from_dlpack(array)
    return jnp.asarray(array)
