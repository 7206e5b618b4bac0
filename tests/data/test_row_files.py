"""Samples in several files: the rows of one array, and files that do not fit together."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

import hntk
from hntk.data.row_files import files_of

X = np.random.default_rng(0).normal(size=(23, 3))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k, part in enumerate(np.array_split(X, 4)):
        np.save(tmp_path / f"part-{k}.npy", part)
    return tmp_path


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_rows_are_those_of_one_array(folder: Path, ending: str) -> None:
    if ending == "parquet":
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        for k, part in enumerate(np.array_split(X, 4)):
            table = arrow.table({f"c{j}": part[:, j] for j in range(3)})
            parquet.write_table(table, folder / f"part-{k}.parquet")
    rows = hntk.open_rows(folder / f"*.{ending}")
    rows = pickle.loads(pickle.dumps(rows))
    assert (rows.shape, rows.dtype, rows.mapped) == (X.shape, X.dtype, ending == "npy")
    for index in (slice(None), slice(4, 9), slice(20, 99), np.array([22, 0, 7, 7]), np.array([], int)):
        np.testing.assert_array_equal(rows[index], X[index])
    np.testing.assert_array_equal(np.asarray(rows), X)
    assert (files_of(rows) is rows) == rows.mapped


def test_what_machines_read_themselves(folder: Path) -> None:
    path = folder / "part-0.npy"
    mapped = np.load(path, mmap_mode="r")
    assert files_of(mapped) == hntk.open_rows(path)
    assert [files_of(x) for x in (X, mapped[1:], mapped[::2], np.asarray(mapped))] == [None] * 4


def test_files_that_do_not_fit_are_refused(folder: Path) -> None:
    np.save(folder / "wide.npy", np.zeros((2, 4)))
    np.save(folder / "single.npy", np.zeros((2, 3), np.float32))
    np.save(folder / "text.npy", np.array([["a"]]))
    (folder / "broken.npy").write_bytes(b"nothing")
    first = folder / "part-0.npy"
    for other, message in {
        "wide.npy": "alike in their columns: .*part-0.npy has 3, and .*wide.npy has 4",
        "single.npy": "alike in their dtype",
        "text.npy": "not numbers of shape",
        "broken.npy": "cannot be read",
        "missing.npy": "give an existing file",
        "x.csv": "paths must be .npy or .parquet files, got .*x.csv",
    }.items():
        with pytest.raises(ValueError, match=message):
            hntk.open_rows([first, folder / other])
    for paths in ([], 3, None, [3]):
        with pytest.raises(ValueError, match="paths must be a path"):
            hntk.open_rows(paths)  # type: ignore[arg-type]
    rows = hntk.open_rows(first)
    np.save(first, np.zeros((2, 3)))
    with pytest.raises(ValueError, match="it has changed"):
        rows[:1]
