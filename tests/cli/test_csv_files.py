"""Tables of CSV: separators, headers, labels, what is missing, and files that nobody should hand in."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from hntk.cli.columns import label_column
from hntk.cli.csv_files import read_csv
from tests.support.commands import write_csv

ROWS = [["5.1", "3.5", "setosa"], ["4.9", "-3e0", "setosa"], ["6.2", "2", "virginica"], ["1e3", " 7", "versi, color"]]
X = np.array([[5.1, 3.5], [4.9, -3], [6.2, 2], [1000, 7]])


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("header", [[], [["length", "width", "species"]]])
def test_separators_and_headers_are_recognised(separator: str, header: list, tmp_path: Path) -> None:
    found = read_csv(write_csv(tmp_path / "t.csv", [*header, *ROWS], separator))
    np.testing.assert_array_equal(found.x, X)
    assert found.y.tolist() == [row[2] for row in ROWS]
    assert found.features == (("length", "width") if header else ("0", "1"))
    assert found.label == ("species" if header else "column 2")


def test_pandas_csv_is_read_as_pandas_reads_it(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(rng.normal(size=(50, 3)) * [1e-7, 1, 1e9], columns=["a", 'b "q"', "c,\nd"])
    frame["target"] = rng.choice(["yes", "no, really", 'quo"ted'], 50)
    frame.to_csv(tmp_path / "t.csv", index=False)
    found = read_csv(tmp_path / "t.csv")
    np.testing.assert_array_equal(found.x, frame[frame.columns[:3]].to_numpy())
    assert found.y.tolist() == frame["target"].tolist()
    assert found.features == ("a", 'b "q"', "c,\nd")


def test_bytes_are_told_from_other_numbers(tmp_path: Path) -> None:
    assert read_csv(write_csv(tmp_path / "a.csv", [[0, 255, "x"], [3, 4, "y"]])).x.dtype == np.uint8
    for cell in ("256", "-1", "0.5"):
        assert read_csv(write_csv(tmp_path / "b.csv", [[0, cell, "x"], [3, 4, "y"]])).x.dtype == np.float64


def test_many_rows_are_read_in_blocks(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 1000, (4500, 3))
    rows[:, 2] %= 3
    found = read_csv(write_csv(tmp_path / "t.csv", rows.tolist()))
    np.testing.assert_array_equal(found.x, rows[:, :2])
    np.testing.assert_array_equal(found.y, rows[:, 2])


def test_a_header_may_be_of_numbers_where_it_is_said(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", [[0, 1, 2], [5.5, 6, 1], [7, 8, 0]])
    assert len(read_csv(path).x) == 3
    assert len(read_csv(path, header="yes").x) == 2
    named = write_csv(tmp_path / "n.csv", [["label", 0, 1], [5, 60, 1], [7, 80, 0]])
    assert read_csv(named).features == ("0", "1")


def test_labels_are_named_placed_or_guessed() -> None:
    assert label_column(["a", "Target", "b"], None) == 1
    assert label_column(["a", "b", "c"], None) == 2
    assert label_column(["a", "b", "c"], "a") == 0
    assert label_column(["a", "b", "c"], "-2") == 1
    # a name goes before a place
    assert label_column(["1", "0", "c"], "0") == 1
    for names, wanted in ((["a", "b"], "z"), (["a", "b"], "2"), (["y", "class", "a"], None), (["a", "a", "b"], "a")):
        with pytest.raises(ValueError, match="--label"):
            label_column(names, wanted)
    with pytest.raises(ValueError, match="at least"):
        label_column(["a"], None)


def test_labels_keep_their_type(tmp_path: Path) -> None:
    for cells, kind in ((["1", "02"], "i"), (["1.5", "2"], "f"), (["1", "b"], "U"), (["1_0", "2_0"], "U")):
        found = read_csv(write_csv(tmp_path / "t.csv", [[0.5, cell] for cell in cells]))
        assert found.y.dtype.kind == kind


@pytest.mark.parametrize("missing", ["", "NA", "nan", "?", " null "])
def test_a_missing_value_is_named_by_row_and_column(missing: str, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", [["a", "b", "class"], [1, 2, "x"], [3, missing, "y"]])
    with pytest.raises(ValueError, match=r"row 2 \(line 3\), column 'b'.*missing"):
        read_csv(path)
    path = write_csv(tmp_path / "t.csv", [["a", "b", "class"], [1, 2, "x"], [3, 4, missing]])
    with pytest.raises(ValueError, match=r"row 2 \(line 3\), column 'class'.*label is missing"):
        read_csv(path)


@pytest.mark.parametrize("cell", ["tall", "inf", "-Infinity", "1_000", "0x10", "1,5"])
def test_what_is_no_number_is_named_by_row_and_column(cell: str, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", [["a", "b", "class"], [1, 2, "x"], [cell, 4, "y"]])
    with pytest.raises(ValueError, match=r"row 2 \(line 3\), column 'a'.*finite number"):
        read_csv(path)


def hostile() -> dict[str, bytes]:
    """Return contents that are no table of samples."""
    limit = csv.field_size_limit()
    return {
        "nothing": b"",
        "one row": b"1,2,a\n",
        "one column": b"1\n2\n3\n",
        "ragged": b"1,2,a\n3,b\n",
        "more cells": b"1,2,a\n3,4,5,b\n",
        "no UTF-8": b"1,2,\xff\xfe\n3,4,b\n",
        "an open quote": b'1,2,"a\n' + b"3,4,b\n" * limit,
        "a huge cell": b"1,2,a\n3,4," + b"x" * (limit + 1) + b"\n",
        "NUL": b"1,2,a\n2,\0,b\n",
        "too large": b"1e308,1e308,a\n" * 3,
        "a page": b"<!DOCTYPE html><html>\n<body>not found</body>\n",
        "cut gzip": gzip.compress(b"1,2,a\n" * 1000)[:-20],
    }


@pytest.mark.parametrize("name", hostile())
def test_what_is_no_table_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(hostile()[name])
    with pytest.raises(ValueError, match=r"t\.csv|column") as refused:
        read_csv(path)
    assert len(str(refused.value)) < 1000


def test_a_zipped_table_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress("\ufeffa,b,class\r\n1.5,2,ä\r\n\r\n3,4,b\r\n".encode()))
    found = read_csv(path)
    assert found.features == ("a", "b")
    assert found.y.tolist() == ["ä", "b"]
