"""Archives: what was written is read back, every defect is named, and claims are checked before they are believed."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hntk.data import load_dataset
from hntk.data.npz import read_npz
from tests.support.data_files import (
    EDITS,
    FUZZ,
    LARGE,
    NOT_CUT,
    damaged,
    peak_memory,
    raised_peak,
    row_arrays,
    write_npz,
)


@pytest.mark.parametrize("where", ["toy.npz", "toy/any.npz", "other.npz"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, where, save):
    arrays = row_arrays()
    path = tmp_path / where
    path.parent.mkdir(exist_ok=True)
    save(path, **arrays, more=np.array([{"ignored": True}], dtype=object))
    for folder in (tmp_path, path):
        data = load_dataset("toy", folder=folder, normalize=False)
        np.testing.assert_array_equal(data.x_train, arrays["x_train"].astype(np.float32))
        np.testing.assert_array_equal(data.y_test, arrays["y_test"])
        assert data.image_shape is None


@pytest.mark.parametrize("dtype", ["float16", ">f4", "float64", "uint8", "int64", "bool"])
def test_npz_of_any_real_type(tmp_path, dtype):
    arrays = row_arrays()
    arrays |= {key: np.asfortranarray(arrays[key].round() % 5).astype(dtype) for key in ("x_train", "x_test")}
    data = load_dataset("toy", folder=write_npz(tmp_path / "toy.npz", arrays), normalize=False)
    assert data.x_train.dtype == np.float32
    np.testing.assert_array_equal(data.x_train, arrays["x_train"].astype(np.float32))


def test_npz_of_colour_images(tmp_path):
    arrays = row_arrays(p=12)
    images = {key: arrays[key].reshape(-1, 2, 2, 3) for key in ("x_train", "x_test")}
    data = load_dataset("toy", folder=write_npz(tmp_path / "toy.npz", arrays, **images), normalize=False)
    assert data.image_shape == (2, 2, 3)
    np.testing.assert_array_equal(data.x_train, arrays["x_train"].astype(np.float32))


X, Y = row_arrays()["x_train"], row_arrays()["y_train"]
SOME_NAN = np.where(np.arange(40)[:, None] < 3, np.nan, X)


BAD_ARRAYS = {
    "missing keys": ({"y_train": None, "x_test": None}, r"but not \['y_train', 'x_test'\].*rename or add"),
    "ragged rows": ({"x_train": np.array([[1], [1, 2]], dtype=object)}, "x_train of .*Python objects.*save a plain"),
    "object labels": ({"y_train": Y.astype(object)}, "y_train of .*Python objects.*save a plain array"),
    "one dimension": ({"x_train": X[:, 0]}, r"x_train of .*got shape \(40,\): reshape it \(a single feature is x\["),
    "no dimension": ({"x_train": np.float32(1)}, r"x_train of .*got shape \(\): reshape it"),
    "no samples": ({"x_test": X[:0], "y_test": Y[:0]}, r"x_test of .*none empty.*got shape \(0, 5\)"),
    "no features": ({"x_test": X[:, :0]}, r"x_test of .*got shape \(40, 0\)"),
    "complex": ({"x_train": X.astype(complex)}, "x_train of .*real numbers, got dtype complex128: convert it"),
    "words": ({"x_train": X.astype(str)}, "x_train of .*real numbers, got dtype <U32: convert it"),
    "NaN": ({"x_train": SOME_NAN}, "x_train of .*NaN or infinite .* in 3 of its 40 rows: clean"),
    "infinite float16": ({"x_test": np.full((15, 5), np.inf, "f2")}, "x_test of .*in 15 of its 15 rows: clean"),
    "beyond float32": ({"x_train": X * 1e39}, "float32 cannot hold, in 40 of its 40 rows: clean, rescale"),
    "lengths differ": ({"y_train": Y[:-1]}, "x_train of .* 40 samples but y_train of .* 39 labels"),
    "p differs": ({"x_test": X[:15, :-1]}, r"shape \(5,\) but x_test of .* of \(4,\)"),
    "column of labels": ({"y_train": Y[:, None]}, r"got shape \(40, 1\): flatten a column with y\.ravel\(\)"),
    "one-hot labels": ({"y_train": np.eye(4)[Y]}, r"got shape \(40, 4\): .*y\.argmax\(1\)"),
    "string labels": ({"y_train": Y.astype(str)}, r"got dtype <U\d+: encode the labels with np\.unique"),
    "fractional labels": ({"y_train": Y + 0.5}, "whole numbers that int64 holds, but some are not.*encode the classes"),
    "huge labels": ({"y_train": Y * 1e30}, "whole numbers that int64 holds, but some are not.*encode the classes"),
    "labels beyond int64": ({"y_train": Y.astype("u8") + 2**63}, "whole numbers that int64 holds, but some are not"),
    "NaN labels": ({"y_train": np.where(Y == 0, np.nan, Y)}, "y_train of .*NaN or infinite labels: drop"),
    "test class never trained": ({"y_test": np.full(15, 9)}, r"test labels \[9\] do not occur in training.*classes="),
    "one class": ({"y_train": 0 * Y, "y_test": np.zeros(15)}, "only one class.*Check how the data was subset"),
    "constant": ({"x_train": np.full((40, 5), 0.1)}, "all 40 training rows are the same.*normalize=False"),
}  # fmt: skip


@pytest.mark.parametrize(("changed", "message"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_archive_that_cannot_be_used(tmp_path, changed, message):
    path = write_npz(tmp_path / "toy.npz", row_arrays(), **changed)
    with pytest.raises(ValueError, match=message):
        load_dataset("toy", folder=path)


def npz_bytes(tmp_path):
    return write_npz(tmp_path / "good.npz", row_arrays()).read_bytes()


BAD_ARCHIVES = {
    "empty": lambda good: b"",
    "web page": lambda good: b"<html></html>",
    "cut short": lambda good: good[:-30],
    "flipped value": lambda good: good.replace(good[200:208], b"\xff" * 8, 1),
    "header not NPY": lambda good: good.replace(b"\x93NUMPY", b"\x93NUMPI", 1),
    "larger shape": lambda good: good.replace(b"(40, 5), ", b"(4000000000000, 5), ", 1),
}


@pytest.mark.parametrize("damage", BAD_ARCHIVES.values(), ids=BAD_ARCHIVES)
def test_damaged_archive(tmp_path, damage):
    content = npz_bytes(tmp_path)
    path = tmp_path / "toy.npz"
    path.write_bytes(damage(content))
    assert path.read_bytes() != content
    with pytest.raises(ValueError, match=rf"{path} is damaged .*download it again, or write the archive again"):
        load_dataset("toy", folder=path)


def test_archive_whose_header_says_more_than_it_stores(tmp_path):
    path = write_npz(tmp_path / "toy.npz", row_arrays())
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["x_train.npy"] = members["x_train.npy"].replace(b"(40, 5), }", b"(40, 5000000000), }")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match=r"x_train of .* damaged: .*\(40, 5000000000\).*download it again"):
        load_dataset("toy", folder=path)


def test_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    path = write_npz(tmp_path / "toy.npz", row_arrays(), x_train=np.array([Trap()], dtype=object))
    with pytest.raises(ValueError, match="Python objects"):
        load_dataset("toy", folder=path)
    assert not (tmp_path / "sprung").exists()


@FUZZ
@given(
    zipped=st.booleans(),
    edits=EDITS,
    cut=st.one_of(st.just(NOT_CUT), st.integers(0, 4000)),
    tail=st.one_of(st.just(b""), st.binary(max_size=40)),
)
@example(zipped=False, edits=[], cut=NOT_CUT, tail=b"")
def test_any_archive_bytes_give_four_arrays_or_a_value_error(tmp_path, zipped, edits, cut, tail):
    path = tmp_path / "file.npz"
    arrays = row_arrays(n=12, m=4)
    (np.savez_compressed if zipped else np.savez)(path, **arrays)
    whole = path.read_bytes()
    content = damaged(whole, edits, cut, tail)
    path.write_bytes(content)
    parts, peak = peak_memory(lambda: read_npz(path))
    assert peak < 4e6
    if content == whole:
        assert parts is not None
    if parts is not None:  # the checksums of the format leave no changed value through
        for key, array in arrays.items():
            np.testing.assert_array_equal(parts[key].array, array)


def npy_header(shape, dtype="|u1"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def forged_npz(path, claimed, zipped):
    """An archive whose directory says of x_train that it is larger than it is, as its header does."""
    arrays = row_arrays(n=12, m=4)
    header = npy_header((claimed // 4, 4))
    method = zipfile.ZIP_DEFLATED if zipped else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as archive:
        for key in ("y_train", "x_test", "y_test"):
            stream = io.BytesIO()
            np.save(stream, arrays[key])
            archive.writestr(f"{key}.npy", stream.getvalue())
        archive.writestr("x_train.npy", header + bytes(100))
    content = bytearray(path.read_bytes())
    entry = content.rfind(b"PK\x01\x02")
    struct.pack_into("<I", content, entry + 24, len(header) + claimed)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("zipped", [False, True])
def test_an_archive_that_claims_more_than_it_can_hold_allocates_nothing(tmp_path, zipped):
    path = forged_npz(tmp_path / "toy.npz", 1 << 30, zipped)
    message, peak = raised_peak(lambda: read_npz(path))
    assert "x_train of" in message
    assert "download it again" in message
    assert peak < 4e6


@pytest.mark.parametrize("key", ["x_train", "y_train", "x_test", "y_test"])
def test_arrays_that_do_not_fit_together_are_not_read(tmp_path, key):
    arrays = row_arrays(n=12, m=4)
    shape = (LARGE // 4, 4) if key[0] == "x" else (LARGE,)
    np.savez_compressed(tmp_path / "toy.npz", **{**arrays, key: np.zeros(shape, np.uint8)})
    message, peak = raised_peak(lambda: load_dataset("toy", folder=tmp_path))
    assert "one label per sample" in message or "two must agree" in message
    assert peak < 4e6


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_a_large_archive_takes_the_memory_of_its_arrays(tmp_path, write):
    n = 1 << 18
    arrays = {
        "x_train": np.zeros((n, 64), np.uint8),
        "y_train": np.arange(n) % 3,
        "x_test": np.zeros((9, 64), np.uint8),
    }
    write(tmp_path / "toy.npz", **arrays, y_test=np.arange(9) % 3)
    parts, peak = peak_memory(lambda: read_npz(tmp_path / "toy.npz"))
    assert parts is not None
    assert peak < 1.02 * sum(part.array.nbytes for part in parts.values()) + 1e6


def test_an_array_that_is_there_twice_is_ambiguous(tmp_path):
    path = write_npz(tmp_path / "toy.npz", row_arrays())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("y_train.npy", archive.read("y_test.npy"))
    with pytest.raises(ValueError, match=r"holds y_train twice.*write the archive again"):
        load_dataset("toy", folder=path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing_are_named(tmp_path, method):
    path = write_npz(tmp_path / "good.npz", row_arrays())
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "toy.npz", "w", method) as archive:
        for name in whole.namelist():
            archive.writestr(name, whole.read(name))
    with pytest.raises(ValueError, match="packed in a way that numpy does not write.*write the archive again"):
        load_dataset("toy", folder=tmp_path / "toy.npz")
