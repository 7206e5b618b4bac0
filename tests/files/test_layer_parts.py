"""Files of networks with biases, residual branches, scales and normalisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import hntk
from hntk import Architecture
from hntk.files import container
from hntk.networks.saving import encodings

INPUTS = 12
Parts = tuple[dict[str, np.ndarray], dict[str, Any]]


def drawn(law: Any = "ternary", **settings: Any) -> hntk.Network:
    net = Architecture(
        ["tanh", "relu", "erf"],
        **{"weight_std": 2**0.5, "bias_std": [0.3, 0.0, 0.1], "centred": False, "residual": [0.0, 0.7, 0.9]} | settings,
    )
    return hntk.draw_network(net, 10, INPUTS, tau0=1.0, law=law, key=jax.random.key(3))


def samples() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(7, INPUTS)).astype(np.float32) / INPUTS**0.5


ORTHOGONAL = hntk.weight_law("orthogonal", sparsity=0.5)
NETWORKS: dict[str, tuple[Any, dict[str, Any], str | None]] = {
    "ternary": ("ternary", {"normalize": "layer"}, "base3"),
    "blocks": (ORTHOGONAL, {"normalize": "rms", "centred": True}, None),
    "float32": ("gaussian", {}, "float32"),
    "scales alone": ("bernoulli", {"bias_std": 0.0, "residual": 0.0}, None),
    "normalised": ("sparse_gaussian", {"bias_std": 0, "residual": 0, "weight_std": 1, "normalize": "rms"}, None),
}  # fmt: skip


@pytest.mark.parametrize(
    ("law", "settings", "encoding"),
    [pytest.param(*v, id=k, marks=() if k == "ternary" else pytest.mark.nightly) for k, v in NETWORKS.items()],
)
def test_networks_come_back_with_all_their_parts(
    law: Any, settings: dict, encoding: str | None, tmp_path: Path
) -> None:
    net, path = drawn(law, **settings), tmp_path / "net"
    size = hntk.save(net, path, encoding=encoding)
    again: Any = hntk.load(path)
    assert (again.scales, again.normalize, again.centres) == (net.scales, net.normalize, net.centres)
    assert [b is None for b in again.biases or ()] == [b is None for b in net.biases or ()]
    assert [w is None for w in again.branches or ()] == [w is None for w in net.branches or ()]
    for one, other in zip(jax.tree.leaves(net), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(one, other)
    assert repr(again) == repr(net)
    np.testing.assert_array_equal(again.features(samples()), net.features(samples()))
    assert container.read(path)[1]["version"] == 2
    # the summary counts what is in the file
    assert len(encodings(path)) == len(net.matrices)
    counted = again.summary(encodings(path))
    assert counted.bytes < size < counted.bytes + 3500
    assert len(counted.layers) == len(net.matrices)


def test_classifiers_keep_them_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made = hntk.Classifier(
        drawn(normalize="layer"), np.array(["a", "b"]), rng.normal(size=(30, 2)), rng.normal(size=2), layers="all"
    )
    hntk.save(made, tmp_path / "net")
    again: Any = hntk.load(tmp_path / "net")
    np.testing.assert_allclose(again.scores(samples()), made.scores(samples()), rtol=1e-6)
    assert again.network.scales == made.network.scales
    shown = str(hntk.summarize(again))
    assert "layers: weight_std=1.41421, bias_std=[0.3, 0, 0.1], residual=[0, 0.7, 0.9], normalize='layer'" in shown
    assert "branch 3" in shown


def test_readers_of_plain_networks_refuse_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net"
    plain = hntk.draw_network(["relu"], 9, INPUTS, tau0=1.0, key=jax.random.key(0))
    hntk.save(plain, path)
    assert container.read(path)[1]["version"] == 1
    hntk.save(drawn(), path)
    monkeypatch.setattr(hntk.Network, "versions", (1,))
    with pytest.raises(hntk.FileError, match="format version 2, and this hntk reads 1: use the hntk that wrote it"):
        hntk.load(path)


# --- forged and damaged ---


def layer(number: int, **changes: Any) -> Callable[[dict, dict], None]:
    def change(arrays: dict, metadata: dict) -> None:
        metadata["layers"][number - 1] |= changes

    return change


def branch(**changes: Any) -> Callable[[dict, dict], None]:
    def change(arrays: dict, metadata: dict) -> None:
        metadata["layers"][1]["branch"] |= changes

    return change


def told(**changes: Any) -> Callable[[dict, dict], None]:
    return lambda arrays, metadata: metadata.update(changes)


def array(**changes: Any) -> Callable[[dict, dict], None]:
    def change(arrays: dict, metadata: dict) -> None:
        for name, value in changes.items():
            arrays.pop(name.replace("__", "."))
            if value is not None:
                arrays[name.replace("__", ".")] = value

    return change


def without(table: str) -> Callable[[dict, dict], None]:
    return lambda arrays, metadata: metadata["layers"][1].pop(table)


TEN = np.ones(10, np.float32)
FORGED: dict[str, tuple[Callable[[dict, dict], Any], str]] = {
    "older version": (told(version=1), "version 1, which has no scales, branch, layer1.bias, layer3.bias, normalize"),
    "later version": (told(version=3), "format version 3, and this hntk reads 1 and 2"),
    "two point": (told(version=2.0), "format version 2.0"),
    "true": (told(version=True), "format version True"),
    "other normalisation": (told(normalize="batch"), "normalize cannot be 'batch'"),
    "no text": (told(normalize=1), "normalize cannot be 1"),
    "no normalisation": (told(normalize=None), "normalize cannot be None"),
    "no scales": (without("scales"), "scales is missing"),
    "two scales": (layer(2, scales=[1.0, 0.0]), "scales must be 3 numbers a layer, not 2"),
    "negative": (layer(2, scales=[-1.0, 0.0, 0.7]), "weight_std of layer 2 must be a positive"),
    "zero": (layer(2, scales=[0.0, 0.0, 0.7]), "weight_std of layer 2 must be a positive"),
    "large": (layer(2, scales=[1e39, 0.0, 0.7]), "finite numbers of float32's range"),
    "words": (layer(2, scales=["a", 0.0, 0.7]), "finite numbers of float32's range"),
    "overflow": (layer(2, scales=[1.0, 0.0, 3e38]), "overflow float32"),
    "no branch's factor": (layer(2, scales=[1.0, 0.0, 0.0]), "layer 2 has branches but residual = 0"),
    "no branch": (without("branch"), "layer 2 has residual = 0.7 but no branches"),
    "a branch's word": (layer(2, branch="outer"), "a table was expected"),
    "a branch's shape": (branch(shape=[10, 9]), "branch of layer 2, of width 10, has another shape"),
    "a large branch": (branch(shape=[10**9, 10**9]), "branch of layer 2, of width 10, has another shape"),
    "a branch's kind": (branch(kind="int4"), "kind cannot be"),
    "a branch's scale": (branch(scale=-1.0), "scale must be positive"),
    "a branch's bytes": (array(branch2__weights=np.ones(3, np.uint8)), "bytes|must be|fill"),
    "no branch's bytes": (array(branch2__weights=None), "branch2.weights is missing"),
    "no biases": (array(layer1__bias=None), "layer 1 has bias_std = 0.3 but no biases"),
    "few biases": (array(layer1__bias=TEN[:9]), r"layer1.bias must be float32 of shape \(10,\)"),
    "biases of another type": (array(layer1__bias=TEN.astype(np.float64)), "layer1.bias must be float32"),
    "odd biases": (array(layer1__bias=TEN * np.float32(np.nan)), "layer1.bias has values that are not finite"),
    "large biases": (layer(1, scales=[1.0, 3e38, 0.0]), "overflow float32"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "why"), FORGED.values(), ids=FORGED)
def test_what_a_file_says_of_parts_is_checked(change: Callable, why: str, tmp_path: Path) -> None:
    path = tmp_path / "net"
    hntk.save(drawn(normalize="rms"), path, encoding="bits2")
    arrays, metadata = container.read(path)
    arrays = dict(arrays)
    change(arrays, metadata)
    container.write(path, arrays, metadata)
    with pytest.raises(hntk.FileError, match=why):
        hntk.load(path)


def test_networks_of_whole_numbers_have_no_parts(tmp_path: Path) -> None:
    staircases = [hntk.staircase([-0.5, 0.5], [-1, 0, 1])] * 2
    net = hntk.draw_network(staircases, 9, INPUTS, tau0=1.0, law="ternary", key=jax.random.key(0))
    hntk.save(hntk.to_integers(net, x=samples()), tmp_path / "net")
    arrays, metadata = container.read(tmp_path / "net")
    container.write(tmp_path / "net", arrays, metadata | {"version": 3})
    with pytest.raises(hntk.FileError, match="format version 3, and this hntk reads 1 and 2:"):
        hntk.load(tmp_path / "net")


@pytest.mark.parametrize(
    ("biases", "scales", "why"),
    [
        (np.full(10, np.nan), (1.0, 0.3, 0.0), "biases of layer 1 hold nan, which is not finite"),
        (np.full(10, 1e39), (1.0, 0.3, 0.0), "biases of layer 1 hold inf, which is not finite"),
        (np.full(10, 3e38), (1.0, 0.9, 0.0), "rescale weights"),
        (np.ones(10), (1e39, 0.3, 0.0), "float32's range"),
        (np.ones(10), (1.0, 3e38, 0.0), "rescale weights"),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_what_could_not_be_loaded_is_not_saved(biases: Any, scales: Any, why: str, tmp_path: Path) -> None:
    net = drawn()
    assert net.biases is not None
    assert net.scales is not None
    wrong = replace(net, biases=(biases, *net.biases[1:]), scales=(scales, *net.scales[1:]))
    with pytest.raises(ValueError, match=why):
        hntk.save(wrong, tmp_path / "net")
    assert not list(tmp_path.iterdir())
