r"""Exact kernels on several devices, which share the rows.

With the rows in D shares, device d computes the blocks (d, d), (d, d + 1), …, (d, d + ⌊D/2⌋) of the kernel, counted
around the ring, and sends each, transposed, to the device whose rows it belongs to. So every pair of shares is computed
once, and all devices do the same amount of work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float

from hntk._utils.arguments import as_count
from hntk._utils.arrays import brief
from hntk._utils.float64 import warn_if_float32
from hntk.kernels.kernel_memory import check_memory
from hntk.kernels.layer_runs import Form, Numbers
from hntk.kernels.problem import KernelProblem, Kernels
from hntk.kernels.recursion import SampleSet, pairs_of, tile_of
from hntk.theory.architecture import ArchitectureLike

# samples on the side of a tile
TILE = 1024
# pairs that are computed at a time by exact forms
PAIR_BATCH = 256
AXIS = "rows"


def sharded_kernels(
    x: object,
    activations: ArchitectureLike,
    devices: Sequence[Any] | None = None,
    *,
    tau0: float | None = None,
    kappa_sq: float | None = None,
    tile: int = TILE,
) -> Kernels:
    """Return the conjugate kernel and the NTK of a network of infinite width, computed by several devices.

    They are the kernels of :func:`exact_kernels`, with their rows shared out.

    Parameters
    ----------
    x : array_like
        (n, p) samples, one a row.
    activations : Architecture or sequence of str or Activation
        The network; a list of one activation per layer, first layer first, is centred, with unit weights and without
        biases.
    devices : sequence of jax.Device, optional
        Devices that share the rows. Each holds its rows of both kernels, a block of them in transit, and all samples.
        By default all devices of JAX's default backend.
    tau0 : float, optional
        Scale at which the activations are centred. By default the root mean square norm of the rows of ``x``.
    kappa_sq : float, optional
        Number to put on the NTK's diagonal, which is infinite for a network with jumps.
    tile : int
        Largest number of samples on the side of a tile.

    Returns
    -------
    Kernels
        (n, n) kernels whose rows lie on the devices in their order, by ``jax.sharding``. Where n is no multiple of the
        number of devices they are gathered on each.

    Raises
    ------
    ValueError
        If samples or settings do not fit, or there are more devices than samples.
    MemoryError
        If all devices are processors of this machine and the kernels do not fit into its memory.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=6, p=50, key=jax.random.key(0))
    >>> hntk.sharded_kernels(data.x, ["relu", "erf"]).ntk.shape
    (6, 6)
    """
    warn_if_float32("the exact kernel")
    problem, tile = KernelProblem.of(x, activations, None, tau0, kappa_sq), as_count(tile, "tile")
    n, chosen = problem.shape[0], _as_devices(devices)
    if not 1 <= len(chosen) <= n:
        raise ValueError(f"{n} samples cannot be shared out over {len(chosen)} devices: give 1 to {n} of them.")
    if all(device.platform == "cpu" for device in chosen):
        check_memory(problem.shape, problem.dtype)
    side = min(tile, -(-n // len(chosen)))
    share = -(-n // (len(chosen) * side)) * side
    # the last share is filled up with the first samples again, which are dropped at the end
    padded = problem.x[np.arange(share * len(chosen)) % n]
    mesh = Mesh(np.array(chosen), (AXIS,))
    samples = problem.checked_samples(jax.device_put(padded, NamedSharding(mesh, PartitionSpec())))
    ck, ntk = _on_devices(problem.recursion.form, mesh, share, side)(problem.recursion.numbers, samples)
    return Kernels(ck, ntk) if padded.shape[0] == n else Kernels(ck[:n, :n], ntk[:n, :n])


def _as_devices(devices: Any) -> list[Any]:
    if devices is None:
        return jax.devices()
    if isinstance(devices, str) or not isinstance(devices, Iterable):
        raise ValueError(f"devices must be a list of JAX's, such as jax.devices()[:2], got {brief(devices)}.")
    chosen = list(devices)
    if not all(isinstance(device, jax.Device) for device in chosen):
        raise ValueError(f"devices must be JAX's, such as jax.devices()[:2], got {brief(devices)}.")
    return chosen


@lru_cache(maxsize=32)
def _on_devices(form: Form, mesh: Mesh, share: int, side: int) -> Any:
    """Return the compiled program that every device runs."""
    here, count = PartitionSpec(AXIS, None), mesh.devices.size

    def rows(numbers: Numbers, samples: SampleSet) -> tuple[Array, Array]:
        me = jax.lax.axis_index(AXIS).astype(int)
        zero = jnp.zeros_like(me)
        mine = jnp.zeros((2, share, count * share), samples.x.dtype)
        for step in range(count // 2 + 1):
            other = (me + step) % count
            block = _block(form, numbers, samples, (me * share, other * share), share, side, upper=step == 0)
            mine = jax.lax.dynamic_update_slice(mine, block, (zero, zero, other * share))
            if step and 2 * step != count:
                ring = [(d, (d + step) % count) for d in range(count)]
                sent = jax.lax.ppermute(block.swapaxes(1, 2), AXIS, ring)
                mine = jax.lax.dynamic_update_slice(mine, sent, (zero, zero, (me - step) % count * share))
        k = jnp.arange(share)
        begin = partial(jax.lax.dynamic_slice_in_dim, start_index=me * share, slice_size=share)
        ck, ntk = (m.at[k, me * share + k].set(begin(d)) for m, d in zip(mine, (samples.ck, samples.ntk), strict=True))
        return ck, ntk

    options = {"mesh": mesh, "in_specs": (PartitionSpec(), PartitionSpec()), "out_specs": (here, here)}
    return jax.jit(_shard_map(rows, **options))


def _shard_map(function: Any, **options: Any) -> Any:
    if hasattr(jax, "shard_map"):
        return jax.shard_map(function, check_vma=False, **options)
    from jax.experimental.shard_map import shard_map  # JAX before 0.6

    return shard_map(function, check_rep=False, **options)


def _block(
    form: Form, numbers: Numbers, samples: SampleSet, corner: tuple[Array, Array], share: int, side: int, upper: bool
) -> Float[Array, "2 share share"]:
    """Return a block of both kernels, tile by tile; ``upper`` computes upper tiles and mirrors them."""
    starts = range(0, share, side)
    corners = jnp.array([(i, j) for i in starts for j in starts if not upper or j >= i])

    def step(k: int, block: Array) -> Array:
        zero, i, j = jnp.zeros((), int), *corners[k]
        tile = _tile(form, numbers, samples, (corner[0] + i, corner[1] + j), side)
        block = jax.lax.dynamic_update_slice(block, tile, (zero, i, j))
        return jax.lax.dynamic_update_slice(block, tile.swapaxes(1, 2), (zero, j, i)) if upper else block

    return jax.lax.fori_loop(0, len(corners), step, jnp.zeros((2, share, share), samples.x.dtype))


def _tile(
    form: Form, numbers: Numbers, samples: SampleSet, corner: tuple[Array, Array], side: int
) -> Float[Array, "2 side side"]:
    left, right = (samples.part(begin, side) for begin in corner)
    tile = tile_of(form, numbers, left, right)
    kernels = jnp.stack([tile.ck, tile.ntk])
    if tile.certain is None:
        return kernels
    same = (corner[0] + jnp.arange(side))[:, None] == corner[1] + jnp.arange(side)
    size = min(PAIR_BATCH, side * side)

    def mend(state: tuple[Array, Array]) -> tuple[Array, Array]:
        kernels, certain = state
        place = jnp.nonzero(~certain.reshape(-1), size=size, fill_value=0)[0]
        i, j = place // side, place % side
        exact = pairs_of(form, numbers, left.rows(i), right.rows(j))
        kernels = kernels.at[:, i, j].set(jnp.stack([exact.ck, exact.ntk]))
        return kernels, certain.at[i, j].set(True)

    return jax.lax.while_loop(lambda state: ~jnp.all(state[1]), mend, (kernels, tile.certain | same))[0]
