"""Networks with orthogonal blocks in files: they come back, stay small, and claims are checked before they are used."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

import hntk
from hntk.__main__ import main
from hntk.files import container
from hntk.networks.saving import encodings
from hntk.weights.encodings import pack
from hntk.weights.orthogonal import OrthogonalMatrix
from tests.support.architectures import INPUTS, classifier, raw_samples, whole_classifier
from tests.support.orthogonal import explicit_values, random_blocks

EXPLICIT = ["bits2", "base3", "mask+signs", "gaps+signs", "rice"]


def drawn(order: str = "random", sparsity: float = 0.75) -> hntk.Network:
    law = hntk.weight_law("orthogonal", sparsity=sparsity, order=order)
    return hntk.draw_network(["tanh", "relu"], (70, 33), INPUTS, tau0=1.0, law=law, key=jax.random.key(0))


@pytest.mark.parametrize("order", ["none", "random", "generated"])
def test_networks_come_back_with_their_blocks(order: str, tmp_path: Path) -> None:
    net = drawn(order)
    size = hntk.save(net, tmp_path / "net")
    again = hntk.load(tmp_path / "net")
    assert encodings(tmp_path / "net") == ["hadamard", "hadamard"]
    assert size < 2500 + 4 * 33
    for one, other in zip(again.weights, net.weights, strict=True):  # type: ignore[union-attr]
        assert isinstance(one, OrthogonalMatrix)
        np.testing.assert_array_equal(explicit_values(one), explicit_values(other))  # type: ignore[arg-type]
        kept = [(w.scale, w.groups, w.order, w.generator) for w in (one, other)]  # type: ignore[union-attr]
        assert kept[0] == kept[1]
    x = np.random.default_rng(0).normal(size=(5, INPUTS))
    np.testing.assert_array_equal(again.features(x), net.features(x))  # type: ignore[union-attr]


@pytest.mark.parametrize("encoding", EXPLICIT)
def test_explicit_encodings_give_the_same_network(encoding: str, tmp_path: Path) -> None:
    net, x = drawn(), np.random.default_rng(0).normal(size=(5, INPUTS))
    hntk.save(net, tmp_path / "net", encoding=encoding)
    again = hntk.load(tmp_path / "net")
    assert encodings(tmp_path / "net") == [encoding] * 2
    assert all(isinstance(w, hntk.WeightMatrix) for w in again.weights)  # type: ignore[union-attr]
    np.testing.assert_allclose(again.features(x), net.features(x), atol=1e-6)  # type: ignore[union-attr]


def test_whole_classifiers_come_back_exactly(tmp_path: Path) -> None:
    made = whole_classifier(widths=(70, 33), law="orthogonal", pixels=True)
    raw = raw_samples(made)
    for encoding in (None, "bits2"):
        hntk.save(made, tmp_path / "net", encoding=encoding)
        np.testing.assert_array_equal(hntk.load(tmp_path / "net").scores(raw), made.scores(raw))  # type: ignore[union-attr]


def test_encodings_of_other_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be stored as 'signs'"):
        hntk.save(drawn(), tmp_path / "net", encoding="signs")
    iid = hntk.draw_network(["tanh"], (9,), INPUTS, tau0=1.0, law="ternary", key=jax.random.key(0))
    with pytest.raises(ValueError, match="cannot be stored as 'hadamard'"):
        hntk.save(iid, tmp_path / "net", encoding="hadamard")
    assert not (tmp_path / "net").exists()


def test_wrong_parts_are_not_saved(tmp_path: Path) -> None:
    net = drawn()
    first = net.weights[0]
    assert isinstance(first, OrthogonalMatrix)
    for wrong, why in (
        (replace(first, signs=np.zeros_like(first.signs)), "not \\+1 or -1"),
        (replace(first, places=np.zeros(INPUTS, np.int32)), "place of its own"),
        (replace(first, groups=3), "power of two"),
        (replace(first, scale=-1.0), "scale"),
    ):
        with pytest.raises(ValueError, match=f"cannot be saved: .*{why}"):
            hntk.save(replace(net, weights=(wrong, net.weights[1])), tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_the_command_line_shows_blocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = classifier(widths=(70, 33), law="orthogonal", sparsity=0.75)
    hntk.save(made, tmp_path / "net")
    assert main(["inspect", str(tmp_path / "net")]) == 0
    shown = capsys.readouterr().out
    assert shown.count("ternary: hadamard") == 2
    assert main(["inspect", str(tmp_path / "net"), "--json"]) == 0
    layers = json.loads(capsys.readouterr().out)["layers"]
    for layer, w in zip(layers, made.network.weights, strict=False):
        values = explicit_values(w)  # type: ignore[arg-type]
        assert layer["encoding"] == "hadamard"
        assert layer["zeros"] == pytest.approx(np.mean(values == 0))
        assert layer["bits"] == pytest.approx(8 * pack(w).nbytes / values.size)
        assert layer["additions"] == sum(w.additions) < np.count_nonzero(values)  # type: ignore[union-attr]
    # The same weights, written as values, are counted as such.
    hntk.save(made, tmp_path / "net", encoding="bits2")
    assert main(["inspect", str(tmp_path / "net"), "--json"]) == 0
    values = explicit_values(made.network.weights[0])  # type: ignore[arg-type]
    layer = json.loads(capsys.readouterr().out)["layers"][0]
    assert (layer["encoding"], layer["additions"]) == ("bits2", np.count_nonzero(values))


def forged(tmp_path: Path, shape: list[int], stored: np.ndarray) -> Path:
    """A network of one layer with a valid checksum, of any shape and bytes."""
    net = hntk.draw_network(["sign"], (4,), 4, tau0=1.0, law=hntk.weight_law("orthogonal"), key=jax.random.key(0))
    hntk.save(net, tmp_path / "net")
    arrays, metadata = container.read(tmp_path / "net")
    arrays.pop("readout.initial", None)
    layer = metadata["layers"][0] | {"shape": shape}
    container.write(tmp_path / "net", arrays | {"layer1.weights": stored}, metadata | {"layers": [layer]})
    return tmp_path / "net"


def test_damage_behind_a_valid_checksum_is_noticed(tmp_path: Path) -> None:
    matrix = random_blocks(0, (11, 5), 2, "random")
    good = pack(matrix).values
    assert isinstance(hntk.load(forged(tmp_path, [11, 5], good)), hntk.Network)
    cases = {
        "no bytes": good[:0],
        "bytes, not": good[:-1],
        "means nothing": np.concatenate([[0xFF], good[1:]]).astype(np.uint8),
        "place of its own": np.concatenate([good[:1], [0, 0], good[3:]]).astype(np.uint8),
        "uint8": good.astype(np.int32),
    }
    for why, stored in cases.items():
        with pytest.raises(hntk.FileError, match=why):
            hntk.load(forged(tmp_path, [11, 5], stored))
    generated = pack(random_blocks(0, (11, 5), 2, "generated")).values.copy()
    generated[1] &= 0xFE
    with pytest.raises(hntk.FileError, match="odd"):
        hntk.load(forged(tmp_path, [11, 5], generated))


def test_bytes_stand_for_no_more_memory_than_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine bits stand for 256 rows of one input, which are counted and never made."""
    outputs = 256 * 8000
    bits = 8000 * (1 + 8)
    stored = np.concatenate([[8 << 2], np.zeros(-(-bits // 8))]).astype(np.uint8)
    path = forged(tmp_path, [outputs, 1], stored)
    tracemalloc.start()
    loaded = hntk.load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    (matrix,) = loaded.weights  # type: ignore[union-attr]
    # Swap 0 leaves the input in the first group, of one row.
    assert (matrix.nonzero, matrix.largest_row_sum) == (8000, 1.0)
    assert str(hntk.summarize(loaded))
    assert peak < 2 * (8 * outputs + 40 * stored.size)
    monkeypatch.setattr("hntk.files.matrices.available_memory", lambda: 4_000_000)
    with pytest.raises(hntk.FileError, match="unpack to .* MB, and 4.0 MB of memory are free"):
        hntk.load(path)


def test_many_small_blocks_are_not_made_explicit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block of 256 takes 32 bytes, and 64 kB as values: many of them run as transforms."""
    monkeypatch.setattr("hntk.networks.layers.COPIED", 2**16)
    matrix = random_blocks(0, (600, 250), 1)
    loaded = hntk.load(forged(tmp_path, [600, 250], pack(matrix).values))
    monkeypatch.setattr(OrthogonalMatrix, "values", property(lambda self: pytest.fail("values were made")))
    x = np.random.default_rng(0).integers(-9, 10, (3, 250))
    features = np.asarray(loaded.features(x)) * 600**0.5  # type: ignore[union-attr]
    centre = loaded.centres[0]  # type: ignore[union-attr]
    np.testing.assert_allclose(features, np.sign(x @ explicit_values(matrix).T + 1e-9) - centre, atol=1e-5)
