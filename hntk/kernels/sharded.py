r"""Exact kernels on several devices, which share the rows.

With the rows in D shares, device d computes the blocks (d, d), (d, d + 1), …, (d, d + ⌊D/2⌋) of the kernel, counted
around the ring, and sends each, transposed, to the device whose rows it belongs to. So every pair of shares is computed
once, and all devices do the same amount of work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
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
from hntk._utils.pytree import is_traced
from hntk.kernels.kernel_identity import kernel_identity
from hntk.kernels.kernel_memory import check_part, kernel_bytes
from hntk.kernels.layer_runs import Form, Numbers
from hntk.kernels.problem import KernelProblem, Kernels
from hntk.kernels.processes import agreed, check_devices
from hntk.kernels.recursion import SampleSet, pairs_of, tile_of
from hntk.theory.architecture import ArchitectureLike

# samples on the side of a tile
TILE = 1024
# pairs that are computed at a time by exact forms
PAIR_BATCH = 256
AXIS = "rows"
# what the entries of a problem's identity are to a user
NAMES = {"version of hntk": "code", "precision": "precision", "samples": "x"}
# what spares memory where rows are gathered
DIVIDE = "A number of devices that divides the number of samples leaves the rows where they are computed; "


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

    Devices may be of several processes, which ``jax.distributed.initialize`` connects. All of these make the same call,
    each with all samples, and each gets global arrays of JAX, of which it holds the rows of its own devices:

    - ``kernel.addressable_shards`` are these rows: ``shard.index[0]`` is the slice of rows that ``shard.data`` holds.
      A process that writes them with ``numpy.save`` never holds those of others.
    - ``jax.experimental.multihost_utils.process_allgather(kernel, tiled=True)``, called in all processes, is the whole
      kernel as a NumPy array, in each of them.

    Parameters
    ----------
    x : array_like
        (n, p) samples, one a row.
    activations : Architecture or sequence of str or Activation
        The network; a list of one activation per layer, first layer first, is centred, with unit weights and without
        biases.
    devices : sequence of jax.Device, optional
        Devices that share the rows, the same ones in all processes. Each holds its rows of both kernels, blocks of them
        in transit, and all samples. By default all devices of JAX's default backend, those of other processes too.
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
        number of devices they are gathered on each, as JAX has no arrays of unequal shards.

    Raises
    ------
    ValueError
        If samples or settings do not fit, there are more devices than samples, no device is of this process, or the
        processes do not make the same call. It is then raised in all of them.
    RuntimeError
        If another process has raised an error before it computed.
    MemoryError
        If all devices are processors, and what those of this process hold does not fit into its machine's memory.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=6, p=50, key=jax.random.key(0))
    >>> hntk.sharded_kernels(data.x, ["relu", "erf"]).ntk.shape
    (6, 6)
    """
    warn_if_float32("the exact kernel")
    chosen = _as_devices(devices)
    check_devices(chosen)

    def prepare() -> _Sharing:
        problem = KernelProblem.of(_local(x), activations, None, tau0, kappa_sq)
        sharing = _Sharing.of(problem, chosen, as_count(tile, "tile"))
        sharing.check()
        return sharing

    return agreed(chosen, prepare, _Sharing.identity).kernels()


@dataclass(frozen=True, eq=False)
class _Sharing:
    """How the rows of a problem's kernels are shared out.

    Attributes
    ----------
    problem : KernelProblem
        Samples and network.
    mesh : Mesh
        The devices.
    tile : int
        Largest number of samples on the side of a tile.
    """

    problem: KernelProblem
    mesh: Mesh
    tile: int

    @classmethod
    def of(cls, problem: KernelProblem, devices: list[Any], tile: int) -> _Sharing:
        """Share the rows out, or refuse more devices than there are samples."""
        n = problem.shape[0]
        if not 1 <= len(devices) <= n:
            raise ValueError(f"{n} samples cannot be shared out over {len(devices)} devices: give 1 to {n} of them.")
        return cls(problem, Mesh(np.array(devices), (AXIS,)), tile)

    @property
    def share(self) -> int:
        """Number of rows of a device."""
        return -(-self.problem.shape[0] // self.mesh.devices.size)

    @property
    def even(self) -> bool:
        """Whether all devices have as many rows."""
        return self.share * self.mesh.devices.size == self.problem.shape[0]

    @cached_property
    def samples(self) -> SampleSet:
        """What the recursion needs to know of every sample, on a device of this process."""
        n, total = self.problem.shape[0], self.share * self.mesh.devices.size
        # the last share is filled up with the first samples again, which are dropped at the end
        padded = self.problem.x if self.even else self.problem.x[np.arange(total) % n]
        return self.problem.checked_samples(jax.device_put(padded, self.mesh.local_devices[0]))

    def check(self) -> None:
        """Refuse samples that the recursion has no numbers for, and kernels that do not fit into memory."""
        if all(device.platform == "cpu" for device in self.mesh.devices.flat):
            needed = len(self.mesh.local_devices) * self._device_bytes
            check_part(self.problem.shape, self.problem.dtype, needed, "" if self.even else DIVIDE)
        _ = self.samples

    @property
    def _device_bytes(self) -> int:
        """Memory that a device takes."""
        count, n, dtype = self.mesh.devices.size, self.problem.shape[0], self.problem.dtype
        rows = kernel_bytes((self.share, self.share * count), dtype)
        # blocks on their way to other devices, which XLA may keep until all have been sent
        sent = (count - 1) // 2 * 2 * kernel_bytes((self.share, self.share), dtype)
        # both kernels are gathered one after the other, in a copy
        gathered = 0 if self.even else 3 * kernel_bytes((n, n), dtype) // 2
        return rows + max(sent, gathered) + self.problem.side_bytes

    def identity(self) -> dict[str, str]:
        """Return what other processes have to have in common with this one."""
        known = kernel_identity(self.problem)
        texts = {name: known.pop(key) for name, key in NAMES.items()}
        # processors of different kinds round sums differently
        centres = [f"{float(centre):.9e}" for centre in known.pop("centres")]
        devices = [(device.platform, device.id) for device in self.mesh.devices.flat]
        settings = [centres, known.pop("kappa_sq"), self.tile, devices]
        return texts | {"network": str(known), "settings or devices": str(settings)}

    def kernels(self) -> Kernels:
        """Compute the kernels."""
        side = -(-self.share // -(-self.share // self.tile))
        program = _on_devices(self.problem.recursion.form, self.mesh, self.share, side)
        given = self.problem.recursion.numbers, self.samples
        kernels = program(*jax.tree.map(partial(_everywhere, self.mesh), given))
        if not self.even:
            kernels = (_gathered(kernel, self.problem.shape, self.mesh) for kernel in kernels)
        return Kernels(*kernels)


def _local(x: object) -> object:
    """Return samples that lie in this process, or else tell how to bring them there."""
    if not isinstance(x, Array) or is_traced(x) or x.is_fully_addressable:
        return x
    if x.is_fully_replicated and x.addressable_shards:
        return x.addressable_shards[0].data
    raise ValueError(
        "x lies on devices of several processes, and each needs all samples: give "
        "jax.experimental.multihost_utils.process_allgather(x, tiled=True)."
    )


def _everywhere(mesh: Mesh, array: Array) -> Array:
    """Return an array that all processes know as one that lies on every device."""
    # jax.device_put would compare what all processes have, and leave the first one waiting where they differ
    here = [jax.device_put(array, device) for device in mesh.local_devices]
    return jax.make_array_from_single_device_arrays(np.shape(array), NamedSharding(mesh, PartitionSpec()), here)


@partial(jax.jit, static_argnums=(1, 2))
def _gathered(kernel: Array, shape: tuple[int, int], mesh: Mesh) -> Array:
    """Return a kernel without the rows and columns of repeated samples, on every device."""
    cut = kernel[: shape[0], : shape[1]]
    return jax.lax.with_sharding_constraint(cut, NamedSharding(mesh, PartitionSpec()))


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
        zero, k = jnp.zeros_like(me), jnp.arange(share)
        mine = (jnp.zeros((share, count * share), samples.x.dtype),) * 2
        for step in range(count // 2 + 1):
            other = (me + step) % count
            mine = _with_block(form, numbers, samples, mine, (me * share, other * share), side, upper=step == 0)
            if step and 2 * step != count:
                ring = [(d, (d + step) % count) for d in range(count)]
                blocks = (jax.lax.dynamic_slice(kernel, (zero, other * share), (share, share)) for kernel in mine)
                sent = [jax.lax.ppermute(block.T, AXIS, ring) for block in blocks]
                place = zero, (me - step) % count * share
                mine = tuple(jax.lax.dynamic_update_slice(*pair, place) for pair in zip(mine, sent, strict=True))
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


def _with_block(
    form: Form,
    numbers: Numbers,
    samples: SampleSet,
    kernels: tuple[Float[Array, "share n"], ...],
    corner: tuple[Array, Array],
    side: int,
    upper: bool,
) -> tuple[Float[Array, "share n"], ...]:
    """Return rows of both kernels with a block filled in, tile by tile.

    The last tile of a row overlaps the one before, where ``side`` does not divide the block. With ``upper``, which is
    for the block on the diagonal, upper tiles are computed and mirrored.
    """
    share = kernels[0].shape[0]
    starts = [min(start, share - side) for start in range(0, share, side)]
    places = jnp.array([(i, j) for i in starts for j in starts if not upper or j >= i])

    def step(k: int, kernels: tuple[Array, ...]) -> tuple[Array, ...]:
        i, j = places[k]
        tile = _tile(form, numbers, samples, (corner[0] + i, corner[1] + j), side)
        put = jax.lax.dynamic_update_slice
        kernels = tuple(put(kernel, part, (i, corner[1] + j)) for kernel, part in zip(kernels, tile, strict=True))
        if upper:
            kernels = tuple(put(kernel, part.T, (j, corner[1] + i)) for kernel, part in zip(kernels, tile, strict=True))
        return kernels

    return jax.lax.fori_loop(0, len(places), step, kernels)


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
