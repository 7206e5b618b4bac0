"""IDX files: what was written is read back, every defect is named, and no more is allocated than a file holds."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hntk.data import load_dataset
from hntk.data.idx import read_idx
from tests.support.data_files import (
    DOTS,
    EDITS,
    FUZZ,
    HYPHENS,
    LARGE,
    NOT_CUT,
    TEST_PREFIX,
    TYPE_CODES,
    damaged,
    idx_bytes,
    image_arrays,
    peak_memory,
    raised_peak,
    write_idx,
)


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


SEEDS = [
    idx_bytes(np.arange(24, dtype="u1").reshape(2, 3, 4)),
    idx_bytes(np.linspace(0, 1, 6).reshape(3, 2)),
    gzip.compress(idx_bytes(np.arange(300, dtype="i4")), mtime=0),
]


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


def test_idx_files_that_do_not_fit_together_are_not_read(tmp_path):
    arrays = image_arrays() | {"x_train": np.zeros((LARGE // 12, 4, 3), np.uint8)}
    write_idx(tmp_path / "mnist", arrays, zipped=True)
    message, peak = raised_peak(lambda: load_dataset("mnist", folder=tmp_path))
    assert "one label per sample" in message
    assert peak < 4e6


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
