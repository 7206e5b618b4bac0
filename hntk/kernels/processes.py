"""Processes of JAX that compute together: before they do, each tells the others what it is about to compute.

A process that raised an error by itself would leave the others waiting for it. So each prepares its part alone, and all
exchange whether that went well, and digests of what it is. Then all of them go on, or all of them raise an error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import UInt8

Made = TypeVar("Made")
AXIS = "processes"
DIGEST = hashlib.sha256().digest_size


def check_devices(devices: Sequence[Any]) -> None:
    """Refuse devices none of which is of this process.

    Raises
    ------
    ValueError
        If there is none.
    """
    me = jax.process_index()
    if devices and all(device.process_index != me for device in devices):
        raise ValueError(
            f"no device is of this process, number {me}: give devices of every process that makes this call, or make "
            "it in the processes of these devices alone."
        )


def agreed(devices: Sequence[Any], prepare: Callable[[], Made], identity: Callable[[Made], dict[str, str]]) -> Made:
    """Return what this process has prepared, once all processes of some devices have prepared the same.

    Parameters
    ----------
    devices : sequence of jax.Device
        The devices. All their processes make this call, with the same devices.
    prepare : callable
        Prepares this process's part, without the others.
    identity : callable
        Returns texts that are equal in processes that compute the same. Their names, the same in all processes, are
        for messages. It is not called where all devices are of this process.

    Returns
    -------
    object
        What ``prepare`` returned.

    Raises
    ------
    ValueError
        If the processes have not prepared the same.
    RuntimeError
        If another process could not prepare its part. An error of this process is raised as it is.
    """
    if all(device.process_index == jax.process_index() for device in devices):
        return prepare()
    numbers = sorted({device.process_index for device in devices})
    try:
        made = prepare()
        told = identity(made)
    except Exception:
        _exchange(devices, b"\0")
        raise
    failed = [number for number, (well,) in zip(numbers, _exchange(devices, b"\1"), strict=True) if not well]
    if failed:
        raise RuntimeError(f"nothing is computed, as process {failed[0]} raised an error: see what it says.")
    digests = [hashlib.sha256(text.encode()).digest() for text in told.values()]
    rows = _exchange(devices, b"".join(digests)).reshape(len(numbers), len(told), DIGEST)
    differs = np.any(rows != rows[0], axis=2)
    if np.any(differs):
        other, what = np.argwhere(differs)[0]
        raise ValueError(
            f"the processes do not compute the same: process {numbers[other]} differs from process {numbers[0]} in its "
            f"{list(told)[what]}. Make the same call in all of them."
        )
    return made


def _exchange(devices: Sequence[Any], told: bytes) -> UInt8[np.ndarray, "processes bytes"]:
    """Return what every process has told, in the order of their numbers; all tell as many bytes."""
    first = {device.process_index: device for device in sorted(devices, key=lambda device: -device.id)}
    mesh = Mesh(np.array([first[number] for number in sorted(first)]), (AXIS,))
    row = np.frombuffer(told, np.uint8)[None]
    shared = NamedSharding(mesh, PartitionSpec(AXIS))
    rows = jax.make_array_from_callback((len(first), len(told)), shared, lambda _: row)
    return np.asarray(jax.jit(lambda each: each, out_shardings=NamedSharding(mesh, PartitionSpec()))(rows))
