"""Commands of hntk, run in this process, and small data for them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_digits, load_wine

from hntk.__main__ import main


class Result(NamedTuple):
    """Exit status, standard output and standard error of a command."""

    status: int
    out: str
    err: str


def hntk_command(*words: str | Path) -> Result:
    """Run a command; usage errors give their exit status too."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main([str(word) for word in words])
        except SystemExit as left:
            status = int(left.code or 0)
    return Result(status, out.getvalue(), err.getvalue())


def done(*words: str | Path) -> str:
    """Return the output of a command that must succeed."""
    result = hntk_command(*words)
    assert result.status == 0, result.err
    return result.out


def facts(*words: str | Path) -> Any:
    """Return the JSON of a command that must succeed, and print nothing else."""
    result = hntk_command(*words, "--json")
    assert (result.status, result.err) == (0, ""), result.err
    return json.loads(result.out)


def refused(*words: str | Path) -> str:
    """Return the only line on stderr of a command that must fail."""
    result = hntk_command(*words)
    assert result.status == 1, result
    assert result.err.count("\n") == 1, result.err
    return result.err


@cache
def digits(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Return images of 8 × 8 bytes as rows, and their digits."""
    images, labels = load_digits(return_X_y=True)
    return (images[:n] * 15).astype(np.uint8), labels[:n]


@cache
def wine() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return 13 columns of very different sizes, names of classes as labels, and names of the columns."""
    data: Any = load_wine()
    return data.data, data.target_names[data.target], list(data.feature_names)


def write_csv(path: Path, rows: Iterable[Iterable[object]], separator: str = ",") -> Path:
    """Write a table, and return its path."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows(rows)
    return path


def wine_csv(path: Path) -> Path:
    """Write the wines with a header and the labels in the first column."""
    x, y, names = wine()
    return write_csv(path, [["class", *names], *([label, *row] for label, row in zip(y, x.tolist(), strict=True))])
