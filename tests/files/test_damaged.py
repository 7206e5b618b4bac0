"""Damaged files: an error each, or the very same network. Forged ones are those of test_forged.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import hntk
from tests.support.architectures import INPUTS, classifier, whole_classifier

Damage = Callable[[np.random.Generator, bytearray, bytes], None]


def flip(rng: np.random.Generator, data: bytearray, other: bytes) -> None:
    for _ in range(rng.integers(1, 4)):
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)


def overwrite(rng: np.random.Generator, data: bytearray, other: bytes) -> None:
    start = rng.integers(len(data))
    end = min(len(data), start + rng.integers(1, 40))
    data[start:end] = rng.bytes(end - start)


def truncate(rng: np.random.Generator, data: bytearray, other: bytes) -> None:
    del data[rng.integers(len(data)) :]


def drop(rng: np.random.Generator, data: bytearray, other: bytes) -> None:
    start = rng.integers(len(data))
    del data[start : start + rng.integers(1, 200)]


def repeat(rng: np.random.Generator, data: bytearray, other: bytes) -> None:
    start = rng.integers(len(data))
    data[start:start] = data[start : start + rng.integers(1, 200)]


def splice(rng: np.random.Generator, data: bytearray, other: bytes) -> None:
    data[rng.integers(len(data)) :] = other[rng.integers(len(other)) :]


def header(rng: np.random.Generator, data: bytearray, other: bytes) -> None:
    """A digit of the header, where sizes, offsets and metadata are."""
    size = int.from_bytes(data[:8], "little")
    digits = [i for i in range(8, 8 + size) if chr(data[i]).isdigit()]
    data[digits[rng.integers(len(digits))]] = ord("0") + rng.integers(10)


def length(rng: np.random.Generator, data: bytearray, other: bytes) -> None:
    data[:8] = int(rng.integers(0, 2**63)).to_bytes(8, "little") if rng.random() < 0.5 else rng.bytes(8)


DAMAGES: list[Damage] = [flip, overwrite, truncate, drop, repeat, splice, header, length]


def originals(folder: Path) -> list[tuple[bytes, Any]]:
    """Files of every form and encoding."""
    described = hntk.Architecture(["erf", "relu"], 1.4, [0.1, 0.2], residual=[0.0, 0.7], normalize="rms")
    made: list[tuple[Any, str | None]] = [
        (classifier(widths=(20, 9)), "bits2"),
        (classifier(widths=(20, 9)).network, "base3"),
        (whole_classifier(widths=(20, 9)), "gaps+signs"),
        (whole_classifier(widths=(20, 9), pixels=True), "mask+signs"),
        (whole_classifier(widths=(20, 9)).network, "rice"),
        (whole_classifier(widths=(20, 9), law="bernoulli").network, "signs"),
        (whole_classifier(widths=(20, 9), law="orthogonal"), None),
        (hntk.draw_network(["relu", "tanh"], [9, 5], INPUTS, tau0=1.0, key=jax.random.key(3)), "float32"),
        (hntk.draw_network(described, [9, 9], INPUTS, tau0=1.0, law="ternary", key=jax.random.key(3)), "base3"),
    ]
    found = []
    for what, encoding in made:
        hntk.save(what, folder / "original", encoding=encoding)
        found.append(((folder / "original").read_bytes(), hntk.load(folder / "original")))
    return found


def same(a: Any, b: Any) -> bool:
    """Whether two networks agree in all that they compute with."""
    if type(a).__name__ != type(b).__name__:
        return False
    nets = [getattr(v, "network", v) for v in (a, b)]
    parts = [
        [*[np.asarray(w.values) for w in net.weights], *[w.scale for w in net.weights]]
        + [
            getattr(net, name, None)
            for name in ("activations", "centres", "steps", "bias", "unit", "rounding", "scales", "normalize")
        ]
        + [np.asarray(part) for part in jax.tree.leaves([getattr(net, "biases", None), getattr(net, "branches", None)])]
        + [getattr(v, name, None) for name in ("weights" if v is not net else "", "readout", "offset", "classes")]
        for v, net in zip((a, b), nets, strict=True)
    ]
    return all(np.array_equal(np.asarray(p, object), np.asarray(q, object)) for p, q in zip(*parts, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("mutations", [3000, pytest.param(30_000, marks=pytest.mark.nightly)])
def test_no_damage_goes_unnoticed(tmp_path: Path, mutations: int) -> None:
    rng = np.random.default_rng(0)
    files = originals(tmp_path)
    path = tmp_path / "net.safetensors"
    # no two are the same
    assert all(same(a, b) == (i == j) for i, (_, a) in enumerate(files) for j, (_, b) in enumerate(files))
    refused = 0
    for i in range(mutations):
        damaged = bytearray(files[i % len(files)][0])
        DAMAGES[(i // len(files)) % len(DAMAGES)](rng, damaged, files[rng.integers(len(files))][0])
        path.write_bytes(damaged)
        try:
            loaded = hntk.load(path)
        except hntk.FileError:
            refused += 1
            continue
        # one original's end after another's beginning may be a whole file again
        assert any(same(loaded, one) for _, one in files), i
    assert refused > 0.9 * mutations
