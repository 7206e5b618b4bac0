"""Malicious files with valid checksums: each is refused with an error, at little cost."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import hntk
from hntk.__main__ import main
from hntk.files import container
from hntk.networks.saving import encodings
from tests.support.architectures import INPUTS, classifier, whole_classifier

WIDTHS = (20, 9)
MEMORY = 100e6


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict, dict]]:
    folder = tmp_path_factory.mktemp("originals")
    made = {"float": classifier(widths=WIDTHS), "integer": whole_classifier(widths=WIDTHS)}
    made["relu"] = hntk.fit_ridge(
        hntk.draw_network(["relu"] * 2, [9, 5], INPUTS, tau0=1.0, key=_key()), *_data(), ridge=0.1
    )  # type: ignore[assignment]
    found = {}
    for name, what in made.items():
        hntk.save(what, folder / name)
        found[name] = container.read(folder / name)
        # what is compiled once is not what a file costs
        hntk.load(folder / name)
    return found


def _key() -> Any:
    import jax

    return jax.random.key(3)


def _data() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).normal(size=(40, INPUTS)), np.arange(40) % 2


def raw(path: Path, arrays: dict[str, np.ndarray], text: str) -> None:
    """Write a file of any text with a valid checksum."""
    save_file(arrays, path, {"hntk": text, "sha256": container._digest(text, arrays)})


def cost(path: Path) -> tuple[object, float, float]:
    """Load a file; return the result or the error, the peak of memory in bytes, and the seconds."""
    tracemalloc.start()
    start = time.process_time()
    try:
        found: object = hntk.load(path)
    except hntk.FileError as error:
        found = error
    seconds = time.process_time() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found, peak, seconds


# --- the declared type of labels ---


@pytest.mark.parametrize(
    ("classes", "declared"),
    [
        (["left", "right"], "<U200000000"),
        (["left", "right"], "<U1"),
        (["left", "lefty"], "<U4"),
        ([1, 300], "|i1"),
        ([-1, 1], "|u1"),
        ([0, 1], "|b1"),
        ([2, 3], "|b1"),
        ([True, False], "<i8"),
        ([0.5, 1.5], "<i8"),
        ([1, 2], "<f8"),
        ([1, 2], "<U1"),
        (["1", "2"], "<i8"),
        ([0.1, 0.2], "<f2"),
        ([1e300, 1.0], "<f4"),
        ([True, 2], "<i8"),
        ([1, "a"], "<U1"),
        (["a", "b\0"], "<U2"),
        (["a", "b"], "O"),
        (["a", "b"], "|S1"),
        (["a", "b"], "<U1,<U1"),
        (["a", "b"], "<M8[D]"),
        (["a", "b"], ["<U1"]),
        ([1, 2], "<i3"),
        ([1, 2], "<i٨"),
        ([2**63, 1], "<i8"),
        ([1, 1.0], "<f8"),
        ([None, 1], "<i8"),
    ],
    ids=str,
)
def test_labels_come_back_exactly_or_not_at_all(
    originals: dict, tmp_path: Path, classes: list, declared: object
) -> None:
    arrays, metadata = originals["float"]
    container.write(tmp_path / "net", arrays, metadata | {"classes": classes, "classes_type": declared})
    found, peak, _ = cost(tmp_path / "net")
    if isinstance(found, hntk.FileError):
        assert declared != "<U200000000"
    else:
        # The longest label decides the size of a text type, not the declaration.
        assert declared == "<U200000000"
        assert found.classes.tolist() == classes  # type: ignore[attr-defined]
    assert peak < 5e6


# --- what JSON may hold ---

TEXTS: dict[str, Callable[[str], str]] = {
    "digits": lambda text: text.replace('"centre": ', '"centre": ' + "9" * 5000, 1),
    "digits of labels": lambda text: text.replace('"classes": [', '"classes": [' + "9" * 5000 + ", ", 1),
    "exponent": lambda text: text.replace('"version": 1', '"version": 1e999', 1),
    "huge exponent": lambda text: text.replace('"centre": ', '"centre": 1e' + "9" * 5000 + ", \"a\": ", 1),
    "deep": lambda text: text[:-1] + ', "a": ' + "[" * 200_000 + "]" * 200_000 + "}",
    "deep tables": lambda text: text[:-1] + ', "a": ' + '{"a":' * 50_000 + "1" + "}" * 50_000 + "}",
    "deep within": lambda text: text.replace('"classes": [', '"classes": [' + "[" * 900 + "]" * 900 + ", ", 1),
    "twice": lambda text: text[:-1] + ', "version": 1}',
    "twice within": lambda text: text.replace('"encoding": ', '"encoding": "bits2", "encoding": ', 1),
    "NaN": lambda text: text.replace('"centre": ', '"centre": NaN, "a": ', 1),
    "Infinity": lambda text: text.replace('"centre": ', '"centre": -Infinity, "a": ', 1),
    "half a character": lambda text: text.replace('"left"', '"\\ud800"', 1),
    "half a name": lambda text: text.replace('"name": "', '"name": "\\udfff', 1),
    "half a key": lambda text: text[:-1] + ', "\\uD800": 1}',
    "text for a number": lambda text: text.replace('"centre": ', '"centre": "1", "a": ', 1),
    "true for a number": lambda text: text.replace('"centre": ', '"centre": true, "a": ', 1),
    "true for a version": lambda text: text.replace('"version": 1', '"version": true', 1),
    "true for a size": lambda text: text.replace('"shape": [', '"shape": [true, ', 1),
    "no table": lambda text: "[]",
    "no JSON": lambda text: text[:-1],
    "nothing": lambda text: "",
    "layers of text": lambda text: '{"version": 1, "form": "float", "layers": ["a", 1, null]}',
    "no layers": lambda text: '{"version": 1, "form": "float", "layers": []}',
    "a form of a list": lambda text: text.replace('"form": "float"', '"form": ["float"]'),
    "an encoding of a list": lambda text: text.replace('"encoding": ', '"encoding": ["a"], "b": ', 1),
    "a kind of a table": lambda text: text.replace('"kind": ', '"kind": {}, "b": ', 1),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("change", TEXTS.values(), ids=TEXTS)
def test_odd_metadata_is_refused_by_all_that_read_files(
    originals: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[str], str]
) -> None:
    arrays, metadata = originals["float"]
    text = json.dumps(metadata)
    assert change(text) != text
    path = tmp_path / "net"
    raw(path, arrays, change(text))
    with pytest.raises(hntk.FileError):
        hntk.load(path)
    with contextlib.suppress(hntk.FileError):
        encodings(path)
    for words in (["inspect", str(path)], ["inspect", str(path), "--json"], ["export", str(path), "--to", "c"]):
        assert main(words) == 1
        assert capsys.readouterr().err.startswith("FileError: ")


def test_such_files_are_refused_for_what_is_odd_in_them_alone(originals: dict, tmp_path: Path) -> None:
    arrays, metadata = originals["float"]
    raw(tmp_path / "net", arrays, json.dumps(metadata))
    assert isinstance(hntk.load(tmp_path / "net"), hntk.Classifier)
    # A whole pair of surrogates is a character.
    raw(tmp_path / "net", arrays, json.dumps(metadata | {"classes": ["\U0001f600", "b"], "classes_type": "<U9"}))
    assert hntk.load(tmp_path / "net").classes.tolist() == ["\U0001f600", "b"]  # type: ignore[union-attr]


def test_headers_are_checked_like_metadata(originals: dict, tmp_path: Path) -> None:
    arrays, metadata = originals["float"]
    path = tmp_path / "net"
    container.write(path, arrays, metadata)
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    table = json.loads(whole[8 : 8 + size])

    def rewritten(header: object, body: bytes = whole[8 + size :]) -> None:
        told = header if isinstance(header, bytes) else json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(told)) + told + body)
        with pytest.raises(hntk.FileError):
            hntk.load(path)
        with pytest.raises(hntk.FileError):
            encodings(path)

    name = "layer1.weights"
    for changed in (
        {"dtype": "BF16"}, {"dtype": ["U8"]}, {"shape": [10**30, 0]}, {"shape": [10**19, 0]}, {"shape": [-1, -1]},
        {"shape": [True] * 2}, {"shape": "3"}, {"data_offsets": [0]}, {"data_offsets": [0, 2**63]},
        {"data_offsets": [-5, 5]}, {"data_offsets": None}, {"more": 1}, {"shape": [1] * 40},
    ):  # fmt: skip
        rewritten(table | {name: table[name] | changed})
    rewritten(table | {"__metadata__": {"hntk": 3, "sha256": "a"}})
    rewritten(table | {"__metadata__": table["__metadata__"] | {"hntk": "\ud800"}})
    rewritten(table | {"__metadata__": None})
    rewritten(table, whole[8 + size :] + b"more")
    rewritten(table, whole[8 + size : -1])
    rewritten(b"[" * 100_000)
    rewritten(b"\xff\xfe{}")
    rewritten(b'{"a": ' + b"9" * 10_000 + b"}")
    rewritten([])
    for length in (0, 1, 2**63, 2**64 - 1, size + 10**9):
        path.write_bytes(struct.pack("<Q", length) + whole[8:])
        with pytest.raises(hntk.FileError):
            hntk.load(path)


# --- sizes ---


def many(metadata: dict, name: str, count: int) -> dict:
    return metadata | {name: metadata[name] * count}


@pytest.mark.slow
def test_no_file_costs_more_than_its_size_explains(originals: dict, tmp_path: Path) -> None:
    arrays, metadata = originals["float"]
    layer = metadata["layers"][0]
    wide = np.arange(2000, dtype=np.float32)
    gelu = layer | {"activation": {"type": "registered", "name": "gelu"}}
    unknown = layer | {"activation": {"type": "registered", "name": "a" * 1_500_000}}
    text = json.dumps(metadata)[:-1]
    cases: dict[str, tuple[dict, str]] = {
        "layers": (arrays, json.dumps(metadata | {"layers": [{}] * 100_000})),
        "functions": (arrays, json.dumps(metadata | {"layers": [gelu] * 1000})),
        "a long name": (arrays, json.dumps(metadata | {"layers": [unknown]})),
        "levels": (arrays | {"layer1.thresholds": wide[1:], "layer1.levels": wide}, json.dumps(metadata)),
        "small lists": (arrays, text + ', "a": [' + "[]," * 1_000_000 + "[]]}"),
        "small tables": (arrays, text + ', "a": [' + "{}," * 600_000 + "{}]}"),
        "numbers": (arrays, text + ', "a": [' + "1.5," * 500_000 + "1]}"),
        "words": (arrays, text + ', "a": [' + '"ab",' * 400_000 + "1]}"),
        "classes": (arrays, json.dumps(metadata | {"classes": list(range(300_000)), "classes_type": "<i4"})),
        "one long label": (
            arrays,
            json.dumps(metadata | {"classes": ["a" * 1000, *map(str, range(60_000))], "classes_type": "<U1000"}),
        ),
        "long text": (arrays, json.dumps(metadata | {"a": "b" * 10**7})),
        "arrays": (arrays | {f"a{i}": np.zeros(0, np.uint8) for i in range(20_000)}, json.dumps(metadata)),
        "residuals": (arrays, json.dumps(metadata | {"match": {"residuals": {f"{i:x}": 1 for i in range(150_000)}}})),
    }
    for name, (held, told) in cases.items():
        raw(tmp_path / "net", held, told)
        found, peak, seconds = cost(tmp_path / "net")
        # Unknown entries are ignored.
        assert isinstance(found, hntk.FileError) or name in ("numbers", "words"), name
        assert peak < MEMORY, name
        assert seconds < 2 * 5, name  # of a machine that others use


@pytest.mark.parametrize("shape", [[10**9, 10**9], [2**40, INPUTS], [1, 10**12], [10**18, 10**18]], ids=str)
@pytest.mark.parametrize("encoding", ["bits2", "base3", "mask+signs", "gaps+signs", "rice", "float32", "hadamard"])
def test_widths_are_explained_by_bytes(originals: dict, tmp_path: Path, shape: list, encoding: str) -> None:
    arrays, metadata = originals["float"]
    kind = "float32" if encoding == "float32" else "ternary"
    layer = metadata["layers"][0] | {"shape": shape, "encoding": encoding, "kind": kind}
    following = metadata["layers"][1] | {"shape": [9, shape[0]]}
    held = arrays | {"layer1.positions": np.full(1000, 255, np.uint8), "layer1.weights": np.zeros(1000, np.uint8)}
    container.write(tmp_path / "net", held, metadata | {"layers": [layer, following]})
    found, peak, _ = cost(tmp_path / "net")
    assert isinstance(found, hntk.FileError)
    assert "damaged" in str(found)
    assert peak < 5e6


@pytest.mark.parametrize("encoding", ["gaps+signs", "rice"])
def test_the_emptiest_matrix_takes_255_weights_a_byte(tmp_path: Path, encoding: str) -> None:
    values = np.zeros((100, 2550), np.int8)
    net = hntk.Network(
        (hntk.WeightMatrix(values, 1.0, "ternary"),),
        (hntk.activation("sign"),),
        (0.0,),
        None,
        None,  # type: ignore[arg-type]
    )
    assert hntk.save(net, tmp_path / "net", encoding=encoding) < values.size / 255 + 1500
    np.testing.assert_array_equal(hntk.load(tmp_path / "net").weights[0].values, values)  # type: ignore[union-attr]


def test_weights_that_do_not_fit_into_memory_are_not_unpacked(
    originals: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten kB stand for two and a half million zeros, which are refused where they do not fit into memory."""
    arrays, metadata = originals["float"]
    layer = metadata["layers"][0] | {"shape": [255_000, 10], "encoding": "gaps+signs", "kind": "ternary"}
    following = metadata["layers"][1] | {"shape": [9, 255_000], "encoding": "gaps+signs", "kind": "ternary"}
    held = arrays | {f"layer{i}.weights": np.zeros(0, np.uint8) for i in (1, 2)}
    held |= {f"layer{i}.positions": np.full(1000 * size, 255, np.uint8) for i, size in ((1, 10), (2, 9))}
    container.write(tmp_path / "net", held, metadata | {"layers": [layer, following]})
    found, peak, _ = cost(tmp_path / "net")
    assert isinstance(found, hntk.Classifier)
    assert peak < 2.5 * 255_000 * 19 + 5e6
    monkeypatch.setattr("hntk.files.matrices.available_memory", lambda: 4_000_000)
    with pytest.raises(hntk.FileError, match="unpack to 9.7 MB, and 4.0 MB of memory are free"):
        hntk.load(tmp_path / "net")


@pytest.mark.slow
def test_what_a_file_may_hold_is_enough(tmp_path: Path) -> None:
    """Networks as large as the limits allow are saved and loaded."""
    deep = hntk.draw_network(["sign"], [3], 4, tau0=1.0, law="ternary", key=_key())
    square = hntk.WeightMatrix(np.ones((3, 3), np.int8), 1.0, "sign")  # type: ignore[arg-type]
    layers, levels = 1024, 1024
    deep = hntk.Network(
        (deep.weights[0], *[square] * (layers - 1)), deep.activations * layers, (0.0,) * layers, None, None
    )
    stairs = hntk.staircase(np.arange(1, levels), np.arange(levels))
    fine = hntk.Network((square,), (stairs,), (0.0,), None, None)
    many = hntk.Classifier(fine, np.array([f"class {i}" for i in range(65_536)]), np.ones((3, 65_536)), np.ones(65_536))
    for made in (deep, fine, many):
        hntk.save(made, tmp_path / "net")
        again: Any = hntk.load(tmp_path / "net")
        network = getattr(again, "network", again)
        assert network.activations == getattr(made, "network", made).activations
    assert again.classes.tolist() == many.classes.tolist()


# --- predictions ---


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("float", lambda a, m: m["layers"][0].update(scale=3e38)),
        ("float", lambda a, m: m["layers"][1].update(centre=3e38)),
        ("float", lambda a, m: a.update({"layer1.levels": np.array([-3e38, *range(5), 3e38], np.float32)})),
        ("float", lambda a, m: a.update({"readout.weights": np.full((9, 2), 3e38, np.float32)})),
        ("float", lambda a, m: a.update({"readout.offset": np.array([0, 1e308])})),
        ("relu", lambda a, m: m["layers"][0]["activation"].update(even=3e38)),
        ("relu", lambda a, m: [layer.update(scale=1e20) for layer in m["layers"]]),
        ("relu", lambda a, m: a.update({"readout.weights": np.full((5, 2), 3e38, np.float32)})),
        ("relu", lambda a, m: a.update({"layer1.weights": np.full(9 * INPUTS, 3e38, "<f4").view(np.uint8)})),
        ("relu", lambda a, m: m["layers"][0].update(
            activation={"type": "Polynomial", "coefficients": [0.0] * 200 + [1e38], "name": "p"}, scale=1e3)),
        ("integer", lambda a, m: a.update({"layer1.levels": np.array([*range(6), -(2**15)], np.int16)})
            or m["layers"][1].update(scale=1.0) or a.update({"readout.offset": np.full(2, -(2**31), np.int32)})),
        ("integer", lambda a, m: a.update({"input.bias": np.full(20, -(2**31), np.int32)})),
    ],
)  # fmt: skip
def test_networks_whose_predictions_overflow_are_refused(
    originals: dict, tmp_path: Path, name: str, change: Callable
) -> None:
    arrays, metadata = originals[name]
    arrays, metadata = dict(arrays), json.loads(json.dumps(metadata))
    change(arrays, metadata)
    container.write(tmp_path / "net", arrays, metadata)
    with pytest.raises(hntk.FileError, match="rescale|below 2|32 bits"):
        hntk.load(tmp_path / "net")


# --- files that change while they are read ---


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "truncate"), reason="no truncate here")
def test_a_file_that_shrinks_while_it_is_read_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = classifier(widths=(300, 200))
    path = tmp_path / "net"
    hntk.save(made, path)
    reading = container._read_arrays

    def cut_first(*given: Any) -> Any:
        os.truncate(path, 4096)
        return reading(*given)

    monkeypatch.setattr(container, "_read_arrays", cut_first)
    with pytest.raises(hntk.FileError, match="cut short"):
        hntk.load(path)


READING = """
import sys, time
import numpy as np
import hntk
values = np.random.default_rng(0).normal(size=(2000, 2000)).astype(np.float32)
net = hntk.Network((hntk.WeightMatrix(values),), (hntk.activation("relu"),), (0.0,), None, None)
hntk.save(net, sys.argv[1])
print("saved", flush=True)
end = time.monotonic() + 3
while time.monotonic() < end:
    try:
        hntk.load(sys.argv[1])
    except hntk.FileError:
        continue
"""
SHRINKING = """
import os, sys, time
size = os.path.getsize(sys.argv[1])
while True:
    os.truncate(sys.argv[1], 4096)
    time.sleep(0.003)
    os.truncate(sys.argv[1], size)
    time.sleep(0.003)
"""


@pytest.mark.slow
def test_no_file_is_mapped(tmp_path: Path) -> None:
    """Truncating a mapped file would kill the process that reads it by a signal."""
    path = str(tmp_path / "net")
    with subprocess.Popen([sys.executable, "-c", READING, path], stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "saved\n"
        with subprocess.Popen([sys.executable, "-c", SHRINKING, path]) as shrinker:
            reader.wait(120)
            shrinker.kill()
    assert reader.returncode == 0


# --- the terminal ---


def test_a_terminal_gets_no_commands_from_a_file(
    originals: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays, metadata = originals["float"]
    path = tmp_path / "net"
    container.write(path, arrays, metadata | {"classes": ["\x1b[2Jé", "b\r"], "classes_type": "<U9"})
    assert main(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "\\x1b[2Jé" in shown
    assert "\x1b" not in shown
    assert "\r" not in shown

    class Plain:
        encoding = "ascii"

        def __init__(self) -> None:
            self.text = ""

        def write(self, text: str) -> None:
            self.text += text.encode("ascii").decode()

        def flush(self) -> None: ...

    plain = Plain()
    monkeypatch.setattr(sys, "stdout", plain)
    assert main(["inspect", str(path)]) == 0
    assert "\\xe9" in plain.text


def test_checksums_are_those_of_the_format() -> None:
    """The checksum covers the text, then each array's name, type, shape and bytes; files rely on it."""
    array = np.arange(3, dtype=np.int16)
    told = b'{"a": 1}' + b"\0x\0<i2\0(3,)\0" + array.tobytes()
    assert container._digest('{"a": 1}', {"x": array}) == hashlib.sha256(told).hexdigest()


def test_a_layer_of_no_bytes_is_summed_up(tmp_path: Path) -> None:
    """A matrix of fewer than 255 weights, all zero, has no bytes in the encoding by gaps."""
    zeros = hntk.WeightMatrix(np.zeros((9, 12), np.int8), 1.0, "ternary")  # type: ignore[arg-type]
    net = hntk.Network((zeros,), (hntk.activation("relu"),), (0.0,), None, None)
    hntk.save(net, tmp_path / "net", encoding="gaps+signs")
    found = hntk.load(tmp_path / "net").summary()
    assert found.layers[0].bytes == 0
    assert "9 x 12" in str(found)
