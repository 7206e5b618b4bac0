"""Parquet tables, by pyarrow, beside the same tables in CSV."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from hntk.cli.csv_files import read_csv
from hntk.cli.parquet_files import read_parquet
from tests.support.commands import refused, wine, wine_csv


def write(path: Path, **columns: object) -> Path:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table(columns), path)
    return path


def test_a_table_is_read_as_its_csv_is(tmp_path: Path) -> None:
    x, y, names = wine()
    path = write(tmp_path / "t.parquet", **{"class": y}, **dict(zip(names, x.T, strict=True)))
    ours, theirs = read_parquet(path), read_csv(wine_csv(tmp_path / "t.csv"))
    np.testing.assert_array_equal(ours.x, theirs.x)
    assert (ours.y.tolist(), ours.features, ours.label) == (theirs.y.tolist(), theirs.features, theirs.label)


def test_types_are_kept(tmp_path: Path) -> None:
    found = read_parquet(write(tmp_path / "t.parquet", a=[True, False], b=[3, 255], y=[0.5, 1.5]))
    assert (found.x.dtype, found.y.dtype) == (np.uint8, np.float64)


def test_what_is_missing_or_no_number_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="row 2, column 'a'.*missing"):
        read_parquet(write(tmp_path / "t.parquet", a=[1, None, 3], y=["p", "q", "p"]))
    with pytest.raises(ValueError, match="row 3, column 'y'.*missing"):
        read_parquet(write(tmp_path / "t.parquet", a=[1, 2, 3], y=["p", "q", None]))
    with pytest.raises(ValueError, match="column 'a'.*no numbers"):
        read_parquet(write(tmp_path / "t.parquet", a=["u", "v"], y=["p", "q"]))
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="no Parquet file"):
        read_parquet(tmp_path / "t.parquet")


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "hntk[parquet]" in refused("check", tmp_path / "t.parquet")
