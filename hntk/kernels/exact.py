"""Exact kernels of an infinitely wide network, in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import jax
import numpy as np
from jax import Array

from hntk._utils.arguments import as_callback, as_choice, as_count
from hntk._utils.devices import accelerated
from hntk._utils.float64 import warn_if_float32
from hntk._utils.pytree import known_numbers
from hntk.activations import SurrogateLike
from hntk.kernels.device_kernels import Part, check_device_memory, device_kernels
from hntk.kernels.kernel_memory import check_memory, kernel_bytes
from hntk.kernels.problem import KernelProblem, Kernels
from hntk.kernels.stax import neural_tangents_kernels
from hntk.kernels.tiling import TILE, Target
from hntk.theory.architecture import ArchitectureLike

# bytes at whose multiples an array must begin for JAX to use it without a copy
ALIGNMENT = 64

Engine = Literal["native", "neural_tangents"]


def exact_kernels(
    x: object,
    activations: ArchitectureLike,
    *,
    x2: object | None = None,
    tau0: float | None = None,
    kappa_sq: float | None = None,
    surrogate: SurrogateLike | Sequence[SurrogateLike | None] | None = None,
    tile: int = TILE,
    progress: Callable[[int], None] | None = None,
    engine: Engine = "native",
) -> Kernels:
    r"""Return the conjugate kernel and the NTK of a fully-connected network of infinite width.

    The recursion over layers is that of Jacot et al. (2018); see docs/theory.md, "From a network to its kernels".

    The function works under ``jax.jit``, ``jax.vmap`` and ``jax.grad`` with respect to ``x`` and ``x2``. Samples are
    then traced: all pairs are computed at once by exact forms, ``tile`` and ``progress`` have no effect, and neither
    values nor memory are checked. Derivatives are finite everywhere. Where a kernel has a corner, such as the NTK of a
    ReLU network at two equal samples, its derivative is the mean over opposite directions. A staircase has no
    derivative, but its conjugate kernel and the off-diagonal of its NTK are smooth in ``x`` where no two samples are
    parallel; infinite entries have the derivative 0. Activations that are given as functions are integrated
    numerically: derivatives then take far more time and memory, and are not accurate at parallel samples.

    Parameters
    ----------
    x : array_like
        (n, p) samples, one a row.
    activations : Architecture or sequence of str or Activation
        The network; a list of one activation per layer, first layer first, is centred, with unit weights and without
        biases.
    x2 : array_like, optional
        (m, p) further samples, for kernels between ``x`` and ``x2``. By default ``x`` itself.
    tau0 : float, optional
        Scale at which the activations are centred. By default the root mean square norm of the rows of ``x``.
    kappa_sq : float, optional
        Number to put on the NTK's diagonal, which is infinite for a network with jumps. By default it is computed.
    surrogate : str, Activation, Surrogate or sequence of them, optional
        What the backward pass has in the place of derivatives of staircases, see :func:`hntk.surrogate`: one for all
        staircases, or one per layer with None for layers that keep their own derivative. The NTK is then that of
        training with this straight-through estimator: entry (i, j) says how the output of sample i changes by a small
        step on sample j. It is not symmetric, and finite on its diagonal.
    tile : int
        Number of samples on the side of a tile. Kernels do not depend on it beyond rounding.
    progress : callable, optional
        Function that is called with the number of entries that have been computed since the last call.
    engine : {"native", "neural_tangents"}
        What computes the kernels. ``"neural_tangents"`` is neural-tangents on whole matrices, with activations as
        :func:`stax_kernel_fn` gives them: slower, for comparison. It has no normalisation and no surrogates, takes no
        traced samples, and ``tile`` has no effect.

    Returns
    -------
    Kernels
        Conjugate kernel ``ck`` and NTK ``ntk``, each (n, n) or (n, m), in JAX's precision. A warning says so if that is
        float32.

    Raises
    ------
    ValueError
        If samples or settings do not fit, or the engine does not have what is asked for.
    ImportError
        If neural-tangents is asked for and not installed. The message names the extra.
    MemoryError
        If the kernels do not fit into memory. It is raised before anything is computed; :func:`store_kernels` writes
        to files instead.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=6, p=50, key=jax.random.key(0))
    >>> hntk.exact_kernels(data.x, ["relu", "erf"]).ntk.shape
    (6, 6)
    >>> slope = jax.grad(lambda x: hntk.exact_kernels(x, ["relu", "erf"]).ntk.sum())(data.x)
    >>> slope.shape
    (6, 50)
    """
    warn_if_float32("the exact kernel")
    problem = KernelProblem.of(x, activations, x2, tau0, kappa_sq, surrogate)
    tile, progress = as_count(tile, "tile"), as_callback(progress)
    if as_choice(engine, "engine", get_args(Engine)) == "neural_tangents":
        return _by_neural_tangents(problem, progress)
    if problem.traced:
        return problem.matrices()
    if accelerated():
        return _on_device(problem, progress)
    check_memory(problem.shape, problem.dtype, sides=problem.side_bytes)
    arrays = [_aligned(problem.shape, problem.dtype) for _ in range(2)]
    target = Target(*arrays, symmetric=problem.symmetric, tile=tile, same=problem.same)
    with known_numbers():
        problem.fill(target, target.bands, None if progress is None else lambda band: progress(target.pairs(band)))
    return Kernels(*map(_as_jax, arrays))


def _by_neural_tangents(problem: KernelProblem, progress: Callable[[int], None] | None) -> Kernels:
    # its layers hold the kernels before them beside their own
    check_memory(problem.shape, problem.dtype, sides=kernel_bytes(problem.shape, problem.dtype))
    kernels = neural_tangents_kernels(problem)
    if progress is not None:
        progress(problem.shape[0] * problem.shape[1])
    return kernels


def _on_device(problem: KernelProblem, progress: Callable[[int], None] | None) -> Kernels:
    """Return kernels that never leave the device."""
    check_device_memory(problem.shape, problem.dtype)
    with known_numbers():
        first = Part.of(problem.checked_samples(problem.x))
        second = None if problem.symmetric else first
        if problem.x2 is not None:
            second = Part.of(problem.checked_samples(problem.x2))
        kernels = Kernels(*device_kernels(problem.recursion, first, second, same=problem.same))
    if progress is not None:
        progress(problem.shape[0] * problem.shape[1])
    return kernels


def _aligned(shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    size = shape[0] * shape[1] * dtype.itemsize
    raw = np.empty(size + ALIGNMENT, np.uint8)
    begin = -raw.ctypes.data % ALIGNMENT
    return raw[begin : begin + size].view(dtype).reshape(shape)


def _as_jax(array: np.ndarray) -> Array:
    """Return the array as one of JAX's that shares its memory."""
    return jax.dlpack.from_dlpack(array)
