"""Data sets: what is read back is what was written, every defect is named, and the scale is the theory's."""

import gzip
import io
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hntk.data import load_dataset
from hntk.data.idx import read_idx
from hntk.data.npz import read_npz
from hntk.data.splits import Part, as_splits

TYPE_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
HYPHENS = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
DOTS = {key: name.replace("-idx", ".idx") for key, name in HYPHENS.items()}
TEST_PREFIX = {key: name.replace("t10k", "test") for key, name in HYPHENS.items()}
REAL_DATA = pytest.mark.skipif(not os.environ.get("HNTK_DATA"), reason="HNTK_DATA names no data folder")


def idx_bytes(array):
    """The IDX format, written from its definition."""
    array = np.asarray(array)
    magic = bytes([0, 0, TYPE_CODES[array.dtype.str[1:]], array.ndim])
    return magic + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(array.dtype.newbyteorder(">")).tobytes()


def image_arrays(n=12, m=6):
    rng = np.random.default_rng(7)
    return {
        "x_train": rng.integers(0, 256, (n, 4, 3), dtype=np.uint8),
        "y_train": (np.arange(n) % 3 + 4).astype(np.uint8),
        "x_test": rng.integers(0, 256, (m, 4, 3), dtype=np.uint8),
        "y_test": (np.arange(m) % 3 + 4).astype(np.uint8),
    }


def row_arrays(n=40, m=15, p=5, classes=4):
    rng = np.random.default_rng(8)
    return {
        "x_train": 3.0 + 2.0 * rng.normal(size=(n, p)),
        "y_train": rng.permutation(np.arange(n) % classes),
        "x_test": 5.0 + rng.normal(size=(m, p)),
        "y_test": rng.permutation(np.arange(m) % classes),
    }


def write_idx(folder, arrays, names=HYPHENS, zipped=False):
    folder.mkdir(parents=True, exist_ok=True)
    for key, array in arrays.items():
        content = idx_bytes(array)
        path = folder / (names[key] + ".gz" * zipped)
        path.write_bytes(gzip.compress(content) if zipped else content)
    return folder


def write_npz(path, arrays, **changed):
    kept = {key: value for key, value in {**arrays, **changed}.items() if value is not None}
    np.savez(path, **kept)
    return path


def rows(data):
    """Training rows as tuples, to be looked up and compared."""
    return [tuple(row) for row in data.x_train.tolist()]


def peak_memory(read):
    """What ``read`` returns, or None for a ValueError, and the most bytes it held."""
    tracemalloc.start()
    try:
        return read(), tracemalloc.get_traced_memory()[1]
    except ValueError:
        return None, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# --- what is written is read back ---


@pytest.mark.parametrize("dtype", TYPE_CODES)
@pytest.mark.parametrize("shape", [(7,), (5, 2), (3, 4, 2), (2, 3, 2, 2)])
@pytest.mark.parametrize("zipped", [False, True])
def test_idx_of_any_type_and_shape_is_read_back(tmp_path, dtype, shape, zipped):
    low = 0 if dtype == "u1" else -100
    array = np.random.default_rng(0).integers(low, 100, shape).astype(dtype)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array))
    read = read_idx(path)
    assert read.dtype == array.dtype
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("names", [HYPHENS, DOTS, TEST_PREFIX], ids=["hyphens", "dots", "test-"])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("subfolder", ["toy", "."])
def test_idx_folder(tmp_path, names, zipped, subfolder):
    arrays = image_arrays()
    write_idx(tmp_path / subfolder, arrays, names, zipped)
    data = load_dataset("toy", folder=tmp_path, normalize=False)
    np.testing.assert_array_equal(data.x_train, arrays["x_train"].reshape(12, 12))
    np.testing.assert_array_equal(data.x_test, arrays["x_test"].reshape(6, 12))
    np.testing.assert_array_equal(data.y_train, arrays["y_train"])
    np.testing.assert_array_equal(data.y_test, arrays["y_test"])
    assert data.x_train.dtype == data.x_test.dtype == np.float32
    assert data.y_train.dtype == data.y_test.dtype == np.int64
    assert (data.name, data.classes.tolist(), data.image_shape, data.p) == ("toy", [4, 5, 6], (4, 3), 12)


def test_idx_is_told_by_content_not_by_suffix(tmp_path):
    arrays = image_arrays()
    write_idx(tmp_path, arrays, zipped=True)
    raw = tmp_path / (HYPHENS["x_train"] + ".gz")
    raw.write_bytes(idx_bytes(arrays["x_train"]))
    data = load_dataset("toy", folder=tmp_path, normalize=False)
    np.testing.assert_array_equal(data.x_train, arrays["x_train"].reshape(12, 12))


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


def test_raw_samples_come_back(tmp_path):
    images = image_arrays()
    write_idx(tmp_path / "bytes", images)
    data = load_dataset("bytes", folder=tmp_path)
    assert data.pixels
    assert data.raw(data.x_test).dtype == np.uint8
    np.testing.assert_array_equal(data.raw(data.x_test), images["x_test"].reshape(6, 12))
    np.testing.assert_allclose(data.normalization(data.raw(data.x_train)), data.x_train, rtol=1e-5, atol=1e-6)
    rows = row_arrays()
    write_npz(tmp_path / "floats.npz", rows)
    data = load_dataset("floats", folder=tmp_path)
    assert not data.pixels
    np.testing.assert_allclose(data.raw(data.x_test), rows["x_test"], rtol=1e-5, atol=1e-5)
    for kind in ("whiten", "unit_norm"):
        with pytest.raises(ValueError, match="normalize='scale'"):
            load_dataset("floats", folder=tmp_path, normalize=kind).raw(data.x_test)


@pytest.mark.parametrize("dtype", ["float16", ">f4", "float64", "uint8", "int64", "bool"])
def test_npz_of_any_real_type(tmp_path, dtype):
    arrays = row_arrays()
    arrays |= {key: np.asfortranarray(arrays[key].round() % 5).astype(dtype) for key in ("x_train", "x_test")}
    data = load_dataset("toy", folder=write_npz(tmp_path / "toy.npz", arrays), normalize=False)
    assert data.x_train.dtype == np.float32
    np.testing.assert_array_equal(data.x_train, arrays["x_train"].astype(np.float32))


@pytest.mark.parametrize("dtype", ["float32", "uint64", "int8"])
def test_whole_number_labels_of_any_type(tmp_path, dtype):
    arrays = row_arrays()
    path = write_npz(tmp_path / "toy.npz", arrays, y_train=arrays["y_train"].astype(dtype))
    data = load_dataset("toy", folder=path)
    assert data.y_train.dtype == np.int64
    np.testing.assert_array_equal(data.y_train, arrays["y_train"])


def test_npz_of_colour_images(tmp_path):
    arrays = row_arrays(p=12)
    images = {key: arrays[key].reshape(-1, 2, 2, 3) for key in ("x_train", "x_test")}
    data = load_dataset("toy", folder=write_npz(tmp_path / "toy.npz", arrays, **images), normalize=False)
    assert data.image_shape == (2, 2, 3)
    np.testing.assert_array_equal(data.x_train, arrays["x_train"].astype(np.float32))


# --- where it is looked for ---


def test_named_folder_goes_before_named_archive_and_that_before_the_rest(tmp_path):
    arrays = image_arrays()
    write_npz(tmp_path / "other.npz", arrays, x_train=arrays["x_train"] // 8)
    only = load_dataset("toy", folder=tmp_path, normalize=False).x_train
    write_npz(tmp_path / "toy.npz", arrays, x_train=arrays["x_train"] // 4)
    archive = load_dataset("toy", folder=tmp_path, normalize=False).x_train
    write_idx(tmp_path / "toy", arrays | {"x_train": arrays["x_train"] // 2})
    folder = load_dataset("toy", folder=tmp_path, normalize=False).x_train
    whole = arrays["x_train"].reshape(12, 12)
    for found, factor in ((only, 8), (archive, 4), (folder, 2)):
        np.testing.assert_array_equal(found, whole // factor)


def test_folder_from_the_environment_and_home(tmp_path, monkeypatch):
    write_npz(tmp_path / "toy.npz", row_arrays())
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_dataset("toy", folder="~").p == 5
    monkeypatch.setenv("HNTK_DATA", "~")
    assert load_dataset("toy").p == 5


def test_argument_goes_before_the_environment(tmp_path, monkeypatch):
    write_npz(tmp_path / "toy.npz", row_arrays())
    monkeypatch.setenv("HNTK_DATA", str(tmp_path / "nowhere"))
    assert load_dataset("toy", folder=tmp_path).p == 5


@pytest.mark.parametrize("value", [None, ""])
def test_no_folder_says_how_to_get_the_data(monkeypatch, value):
    monkeypatch.setenv("HNTK_DATA", value) if value is not None else monkeypatch.delenv("HNTK_DATA", raising=False)
    with pytest.raises(
        FileNotFoundError, match=r"no data folder is set.*HNTK_DATA.*train-images-idx3-ubyte.*fetch_openml.*x_train"
    ) as raised:
        load_dataset("mnist")
    assert "://" not in str(raised.value)


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist: check the path\. Pass folder="):
        load_dataset("toy", folder=tmp_path / "nowhere")


def test_file_that_is_no_archive(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("1,2")
    with pytest.raises(ValueError, match=r"data\.csv is a file, but neither a folder nor an \.npz\. Pass folder="):
        load_dataset("toy", folder=path)


def test_folder_without_data_lists_what_was_sought_and_found(tmp_path):
    (tmp_path / "readme.txt").write_text("")
    with pytest.raises(FileNotFoundError, match=r"looked for \['.*toy', '.*toy\.npz', .*found \['readme\.txt'\] in"):
        load_dataset("toy", folder=tmp_path)


def test_empty_named_folder_does_not_fall_back_on_other_data(tmp_path):
    (tmp_path / "toy").mkdir()
    write_npz(tmp_path / "other.npz", row_arrays())
    with pytest.raises(FileNotFoundError, match=r"found \[\] in .*toy\. Pass folder="):
        load_dataset("toy", folder=tmp_path)


def test_two_archives_are_ambiguous(tmp_path):
    for name in ("a", "b"):
        write_npz(tmp_path / f"{name}.npz", row_arrays())
    with pytest.raises(ValueError, match=r"ambiguous: it holds \['a\.npz', 'b\.npz'\]; pass folder= the path of one"):
        load_dataset("toy", folder=tmp_path)


def test_archive_beside_idx_files_is_ambiguous(tmp_path):
    write_npz(write_idx(tmp_path, image_arrays()) / "a.npz", row_arrays())
    with pytest.raises(ValueError, match=r"ambiguous: it holds \['a\.npz'\] and IDX files; .*keep one"):
        load_dataset("toy", folder=tmp_path)


def test_same_part_twice_is_ambiguous(tmp_path):
    write_idx(tmp_path, image_arrays())
    write_idx(tmp_path, image_arrays(), zipped=True)
    with pytest.raises(ValueError, match=r"'train-images-idx3-ubyte', 'train-images-idx3-ubyte\.gz'\].*; keep one"):
        load_dataset("toy", folder=tmp_path)


@pytest.mark.parametrize("key", HYPHENS)
def test_missing_idx_file(tmp_path, key):
    write_idx(tmp_path, image_arrays())
    (tmp_path / HYPHENS[key]).unlink()
    prefix = HYPHENS[key].split("-idx")[0]
    with pytest.raises(FileNotFoundError, match=rf"holds the IDX files .* but no {prefix}\*.*: download the missing"):
        load_dataset("toy", folder=tmp_path)


# --- damaged IDX files ---

IMAGES = idx_bytes(image_arrays()["x_train"])
BAD_IDX = {
    "empty": (b"", r"not an IDX file: .* but they are b''"),
    "web page": (b"<!DOCTYPE html><html></html>", "looks like a web page"),
    "magic not zero": (b"\1" + IMAGES[1:], "not an IDX file"),
    "unknown type": (IMAGES[:2] + b"\x0a" + IMAGES[3:], r"not an IDX file: .*0x08, 0x09, 0x0b"),
    "no dimensions": (IMAGES[:3] + b"\0" + IMAGES[4:], "a number of dimensions from 1"),
    "too many dimensions": (IMAGES[:3] + b"\xff" + IMAGES[4:], "a number of dimensions from 1 to 32"),
    "cut in the header": (IMAGES[:9], "ends within its header, which says 3 dimensions"),
    "cut in the body": (IMAGES[:-1], r"shape \(12, 4, 3\), 144 bytes, but only 143 follow \(cut short\)"),
    "bytes left over": (IMAGES + b"\0", r"shape \(12, 4, 3\), 144 bytes, but more follow"),
    "absurd sizes": (IMAGES[:4] + b"\xff" * 12 + IMAGES[16:], "but only 144 follow"),
    "product that wraps to the body": (
        bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**31, 2**31, 4) + b"\0" * 8, f"{2**64} bytes, but only 8 follow"
    ),
    "nothing in it": (IMAGES[:4] + struct.pack(">3I", 0, 4, 3), r"shape \(0, 4, 3\), which is empty"),
    "gzip cut short": (gzip.compress(IMAGES)[:-20], "damaged gzip file"),
    "gzip without its checksum": (gzip.compress(IMAGES)[:-4], "damaged gzip file"),
    "gzip with a wrong checksum": (gzip.compress(IMAGES)[:-8] + b"\0" * 8, "damaged gzip file"),
    "gzip with garbage inside": (gzip.compress(IMAGES)[:10] + b"\xff" * 99, "damaged gzip file"),
    "gzip then garbage": (gzip.compress(IMAGES) + b"<html>", "damaged gzip file"),
    "gzipped web page": (gzip.compress(b"<html></html>"), "looks like a web page"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BAD_IDX.values(), ids=BAD_IDX)
def test_damaged_idx(tmp_path, content, message):
    path = write_idx(tmp_path, image_arrays()) / HYPHENS["x_train"]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{path}.*{message}.*: download it again\.$"):
        load_dataset("toy", folder=tmp_path)


IDX_THAT_DO_NOT_FIT = {
    "labels missing": ({"y_train": np.array([4, 5], "u1")}, "12 samples but .*train-labels.* 2 labels"),
    "labels are images": (
        {"y_test": np.zeros((6, 2, 2), "u1")},
        r"t10k-labels.* in one dimension, got shape \(6, 2, 2",
    ),
    "images are labels": (
        {"x_train": np.zeros(12, "u1")},
        r"train-images.* must have shape \(n, p\).*got shape \(12,\)",
    ),
    "images of two sizes": ({"x_test": np.zeros((6, 3, 4), "u1")}, r"shape \(4, 3\) but .*t10k-images.* of \(3, 4\)"),
    "fractional labels": ({"y_test": np.full(6, 4.5, "f4")}, r"t10k-labels.* must be whole numbers"),
    "NaN": ({"x_test": np.full((6, 4, 3), np.nan, "f4")}, "t10k-images.* has NaN or infinite .* in 6 of its 6 rows"),
}


@pytest.mark.parametrize(("changed", "message"), IDX_THAT_DO_NOT_FIT.values(), ids=IDX_THAT_DO_NOT_FIT)
def test_idx_files_that_do_not_fit(tmp_path, changed, message):
    write_idx(tmp_path, image_arrays() | changed)
    with pytest.raises(ValueError, match=f"{message}.*download it again"):
        load_dataset("toy", folder=tmp_path)


# --- archives that cannot be used ---

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


# --- which samples are kept ---


@pytest.fixture
def toy(tmp_path):
    return write_npz(tmp_path / "toy.npz", row_arrays())


def test_classes_keep_their_labels_and_the_file_order(toy):
    arrays = row_arrays()
    data = load_dataset("toy", folder=toy, classes=(c for c in (3, 1, 3)), normalize=False)
    for split in ("train", "test"):
        kept = np.isin(arrays[f"y_{split}"], [1, 3])
        np.testing.assert_array_equal(getattr(data, f"y_{split}"), arrays[f"y_{split}"][kept])
        np.testing.assert_array_equal(getattr(data, f"x_{split}"), arrays[f"x_{split}"][kept].astype(np.float32))
    assert data.classes.tolist() == [1, 3]


def test_smaller_subsets_begin_larger_ones(toy):
    draws = {n: load_dataset("toy", folder=toy, n_train=n, n_test=n // 3, normalize=False) for n in (12, 25, 40)}
    for small, large in ((12, 25), (25, 40)):
        np.testing.assert_array_equal(draws[small].x_train, draws[large].x_train[:small])
        np.testing.assert_array_equal(draws[small].y_train, draws[large].y_train[:small])
        np.testing.assert_array_equal(draws[small].x_test, draws[large].x_test[: small // 3])
        np.testing.assert_array_equal(draws[small].y_test, draws[large].y_test[: small // 3])
    assert len(set(rows(draws[40]))) == 40


def test_subset_is_random_and_its_labels_go_with_it(toy):
    arrays = row_arrays()
    label = dict(zip(map(tuple, arrays["x_train"].astype(np.float32).tolist()), arrays["y_train"], strict=True))
    first, again, other = (
        load_dataset("toy", folder=toy, classes=[0, 2], n_train=15, seed=seed, normalize=False) for seed in (1, 1, 2)
    )
    assert [label[row] for row in rows(first)] == first.y_train.tolist()
    assert rows(first) == rows(again)
    assert set(rows(first)) != set(rows(other))
    assert set(first.y_train.tolist()) == {0, 2}


def test_each_part_is_drawn_on_its_own(toy):
    whole = load_dataset("toy", folder=toy, n_test=6, normalize=False)
    subset = load_dataset("toy", folder=toy, n_train=20, n_test=6, normalize=False)
    np.testing.assert_array_equal(whole.x_test, subset.x_test)


BAD_SELECTIONS = {
    "unknown classes": ({"classes": [1, 7, 8]}, r"classes \[7, 8\] do not occur .* among \[0, 1, 2, 3\]"),
    "one class": ({"classes": [2, 2]}, r"at least two classes are needed, got \[2\]: choose among \[0, 1, 2, 3\]"),
    "no class": ({"classes": []}, r"at least two classes are needed, got \[\]: choose among \[0, 1, 2, 3\]"),
    "more than there are": ({"n_train": 41}, "n_train must be from 1 to 40, .* got 41"),
    "more than there are of these": ({"classes": [0, 1], "n_train": 21}, "n_train must be from 1 to 20, .* got 21"),
    "more test samples": ({"n_test": 16}, "n_test must be from 1 to 15, .* got 16"),
    "none": ({"n_train": 0}, "n_train must be from 1 to 40, .* got 0"),
    "no test sample": ({"n_test": 0}, "n_test must be from 1 to 15, .* got 0"),
    "fewer than classes": ({"n_train": 3}, r"n_train = 3 samples leave out classes \[.*\] of \[0, 1, 2, 3\]: increase"),
}


@pytest.mark.parametrize(("chosen", "message"), BAD_SELECTIONS.values(), ids=BAD_SELECTIONS)
def test_selection_that_cannot_be_made(toy, chosen, message):
    with pytest.raises(ValueError, match=message):
        load_dataset("toy", folder=toy, **chosen)


def test_class_missing_from_the_draw_is_named(tmp_path):
    labels = np.repeat([0, 1], [39, 1])
    path = write_npz(tmp_path / "toy.npz", row_arrays(), y_train=labels, y_test=np.zeros(15))
    in_order = np.random.default_rng(0).permutation(40)
    until_found = int(np.flatnonzero(in_order == 39)[0])
    with pytest.raises(ValueError, match=rf"n_train = {until_found} samples leave out classes \[1\] of .*another seed"):
        load_dataset("toy", folder=path, n_train=until_found)
    assert load_dataset("toy", folder=path, n_train=until_found + 1).classes.tolist() == [0, 1]


def test_classes_without_test_samples(tmp_path):
    path = write_npz(tmp_path / "toy.npz", row_arrays(), y_test=np.full(15, 3))
    with pytest.raises(ValueError, match=r"no test sample is of classes \[0, 1\]: choose among its labels \[3\]"):
        load_dataset("toy", folder=path, classes=[0, 1])


def test_classes_leave_out_test_labels_that_were_never_trained(tmp_path):
    path = write_npz(tmp_path / "toy.npz", row_arrays(), y_test=np.arange(15) % 5)
    assert np.unique(load_dataset("toy", folder=path, classes=range(4)).y_test).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("chosen", "name"),
    [({"n_train": 20.0}, "n_train"), ({"n_test": "6"}, "n_test"), ({"n_test": 6, "seed": None}, "seed")],
)
def test_counts_and_seed_are_whole_numbers(toy, chosen, name):
    with pytest.raises(TypeError, match=name):
        load_dataset("toy", folder=toy, **chosen)


def test_negative_seed(toy):
    with pytest.raises(ValueError, match="seed must not be negative, got -1"):
        load_dataset("toy", folder=toy, n_train=20, seed=-1)


# --- the scale of the theory ---


@pytest.mark.parametrize("chosen", [{}, {"classes": [1, 2]}, {"n_train": 17, "n_test": 4}])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_training_rows_are_centred_with_mean_square_norm_one(tmp_path, chosen, offset):
    arrays = row_arrays()
    path = write_npz(tmp_path / "toy.npz", arrays, x_train=arrays["x_train"] + offset, x_test=arrays["x_test"] + offset)
    data = load_dataset("toy", folder=path, **chosen)
    x = data.x_train.astype(np.float64)
    np.testing.assert_allclose(x.mean(axis=0), 0.0, atol=1e-7)
    assert np.mean(np.sum(x**2, axis=1)) == pytest.approx(1.0, abs=1e-6)
    assert data.tau0 == pytest.approx(np.sqrt(np.mean(np.sum(x**2, axis=1))), rel=1e-12)


@pytest.mark.parametrize("chosen", [{}, {"classes": [1, 2]}, {"n_train": 17, "n_test": 4}])
def test_both_parts_are_normalised_by_the_training_rows_kept(toy, chosen):
    raw = load_dataset("toy", folder=toy, normalize=False, **chosen)
    data = load_dataset("toy", folder=toy, **chosen)
    centre = raw.x_train.mean(axis=0, dtype=np.float64)
    scale = np.sqrt(np.mean(np.sum((raw.x_train - centre) ** 2, axis=1)))
    np.testing.assert_allclose(data.centre, centre, rtol=1e-6)
    assert data.scale == pytest.approx(scale, rel=1e-6)
    np.testing.assert_allclose(data.x_train, (raw.x_train - centre) / scale, atol=1e-6)
    np.testing.assert_allclose(data.x_test, (raw.x_test - centre) / scale, atol=1e-6)
    np.testing.assert_array_equal(data.y_train, raw.y_train)


def test_raw_values_have_no_centre_and_scale_one(toy):
    raw = load_dataset("toy", folder=toy, normalize=False)
    assert (raw.centre.tolist(), raw.scale) == ([0.0] * 5, 1.0)
    assert raw.tau0 == pytest.approx(np.sqrt(np.mean(np.sum(row_arrays()["x_train"] ** 2, axis=1))), rel=1e-6)


def test_normalisation_over_many_blocks_of_rows(tmp_path):
    p, n = 3000, 1000
    x = np.random.default_rng(0).integers(0, 256, (n, p), dtype=np.uint8)
    y = np.arange(n) % 2
    data = load_dataset(
        "toy", folder=write_npz(tmp_path / "toy.npz", {}, x_train=x, y_train=y, x_test=x[:9], y_test=y[:9])
    )
    centre = x.mean(axis=0)
    scale = np.sqrt(np.mean(np.sum((x - centre) ** 2, axis=1)))
    np.testing.assert_allclose(data.centre, centre, rtol=1e-13)
    assert data.scale == pytest.approx(scale, rel=1e-13)
    np.testing.assert_array_equal(data.x_train, ((x - centre) / scale).astype(np.float32))


def test_no_float64_copy_of_the_data_is_made(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (4000, 3000), dtype=np.uint8)
    y = np.arange(4000) % 2
    path = write_npz(tmp_path / "toy.npz", {}, x_train=x, y_train=y, x_test=x[:9], y_test=y[:9])
    data, peak = peak_memory(lambda: load_dataset("toy", folder=path))
    assert data is not None
    assert data.x_train.nbytes == 4 * x.size
    assert peak < 4 * x.size + x.size + 5e7 < 8 * x.size + 5 * x.size


# --- any bytes at all ---

FUZZ = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
SEEDS = [
    idx_bytes(np.arange(24, dtype="u1").reshape(2, 3, 4)),
    idx_bytes(np.linspace(0, 1, 6).reshape(3, 2)),
    gzip.compress(idx_bytes(np.arange(300, dtype="i4")), mtime=0),
]
EDITS = st.lists(st.tuples(st.one_of(st.integers(0, 20), st.integers(0, 2000)), st.integers(0, 255)), max_size=6)
NOT_CUT = 1 << 20


def damaged(content, edits, cut, tail):
    content = bytearray(content)
    for place, value in edits:
        content[place % len(content)] = value
    return bytes(content[:cut]) + tail


@pytest.mark.slow
@FUZZ
@given(
    seed=st.sampled_from(SEEDS),
    edits=EDITS,
    cut=st.one_of(st.just(NOT_CUT), st.integers(0, 2000)),
    tail=st.one_of(st.just(b""), st.binary(max_size=40)),
)
@example(seed=SEEDS[0], edits=[(place, 255) for place in range(4, 16)], cut=NOT_CUT, tail=b"")
@example(seed=SEEDS[0], edits=[], cut=NOT_CUT, tail=b"")
def test_any_idx_bytes_give_an_array_or_a_value_error(tmp_path, seed, edits, cut, tail):
    path = tmp_path / "file"
    content = damaged(seed, edits, cut, tail)
    path.write_bytes(content)
    array, peak = peak_memory(lambda: read_idx(path))
    assert peak < 4e6
    if content == seed:
        assert array is not None
    if array is not None and content[:2] == b"\0\0":
        assert array.dtype.str[1:] in TYPE_CODES
        assert len(content) == 4 + 4 * array.ndim + array.nbytes
        assert idx_bytes(array)[: 4 + 4 * array.ndim] == content[: 4 + 4 * array.ndim]


def test_zip_bomb_is_not_unpacked_beyond_its_header(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(idx_bytes(np.arange(24, dtype="u1").reshape(2, 3, 4)) + bytes(100_000_000), 1))
    array, peak = peak_memory(lambda: read_idx(path))
    assert array is None
    assert peak < 4e6


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


# --- what is claimed is checked before it is allocated ---

LARGE = 1 << 24


def raised_peak(read, kind=ValueError):
    """The error of ``read`` and the most bytes it held."""
    tracemalloc.start()
    try:
        with pytest.raises(kind) as caught:
            read()
        return str(caught.value), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


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


def test_idx_files_that_do_not_fit_together_are_not_read(tmp_path):
    arrays = image_arrays() | {"x_train": np.zeros((LARGE // 12, 4, 3), np.uint8)}
    write_idx(tmp_path / "mnist", arrays, zipped=True)
    message, peak = raised_peak(lambda: load_dataset("mnist", folder=tmp_path))
    assert "one label per sample" in message
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


@pytest.mark.parametrize("dtype", ["u1", "i2", "f8"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_large_idx_file_takes_the_memory_of_its_array(tmp_path, dtype, zipped):
    content = idx_bytes((np.arange(LARGE // 8) % 100).astype(dtype).reshape(-1, 64))
    (tmp_path / "file").write_bytes(gzip.compress(content, 1) if zipped else content)
    array, peak = peak_memory(lambda: read_idx(tmp_path / "file"))
    assert array is not None
    assert array.dtype.isnative
    np.testing.assert_array_equal(array.ravel()[:200], np.arange(200) % 100)
    assert peak < 1.2 * array.nbytes + 3e6


def test_many_labels_take_the_memory_of_what_they_become(tmp_path):
    n = 1 << 22
    y = (np.arange(n) % 3).astype(np.float32)
    parts = {"x_train": np.zeros((n, 1), np.uint8), "y_train": y, "x_test": np.zeros((9, 1), np.uint8), "y_test": y[:9]}
    found, peak = peak_memory(
        lambda: as_splits({key: Part(array, key, "write it again") for key, array in parts.items()})
    )
    assert found is not None
    assert found.y_train.dtype == np.int64
    assert peak < 8 * n + 3e7 < 16 * n


def test_what_does_not_fit_into_memory_is_not_read(tmp_path, monkeypatch):
    write_npz(tmp_path / "toy.npz", row_arrays())
    write_idx(tmp_path / "mnist", image_arrays())
    for module in ("npz", "idx"):
        monkeypatch.setattr(f"hntk.data.{module}.available_memory", lambda: 100)
    for name in ("toy", "mnist"):
        message, _ = raised_peak(lambda name=name: load_dataset(name, folder=tmp_path), MemoryError)
        assert "memory are free: keep fewer samples" in message


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


# --- the data of HNTK_DATA ---


@REAL_DATA
def test_real_mnist():
    data = load_dataset("mnist", normalize=False)
    assert (data.x_train.shape, data.x_test.shape, data.image_shape) == ((60000, 784), (10000, 784), (28, 28))
    assert np.bincount(data.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.x_train.mean(dtype=np.float64) / 255 == pytest.approx(0.13066, abs=5e-6)


@REAL_DATA
def test_real_mnist_in_the_scale_of_the_theory():
    data = load_dataset("mnist", classes=[6, 8], n_train=1000, n_test=500)
    assert (data.x_train.shape, data.x_test.shape, data.classes.tolist()) == ((1000, 784), (500, 784), [6, 8])
    assert data.tau0 == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(data.x_train.mean(axis=0, dtype=np.float64), 0.0, atol=1e-8)
