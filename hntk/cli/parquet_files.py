"""Read tables from Parquet files, by pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hntk._utils.extras import import_extra
from hntk._utils.memory import check_room
from hntk.cli.columns import LabelledTable, as_labels_of_text, as_small, label_column, shortened


def read_parquet(path: Path, label: str | None = None) -> LabelledTable:
    """Read a table of numbers with one column of labels.

    Parameters
    ----------
    path : Path
        The file.
    label : str, optional
        Name or place of the column of labels, see :func:`hntk.cli.columns.label_column`.

    Returns
    -------
    LabelledTable
        Samples and labels.

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    ValueError
        If the file is damaged, a column holds no numbers, or a value is missing; the message says which.
    MemoryError
        If the table does not fit into memory.
    """
    pyarrow = import_extra("pyarrow", "parquet", "Reading Parquet files")
    parquet = import_extra("pyarrow.parquet", "parquet", "Reading Parquet files")
    try:
        file = parquet.ParquetFile(path)
        names = [str(name) for name in file.schema_arrow.names]
        place = label_column(names, label)
        # 8 bytes for each number, and once more where columns are put together.
        check_room(16 * file.metadata.num_rows * len(names), f"The numbers of {path}", "Keep fewer rows in it.")
        table = file.read()
    except pyarrow.ArrowException as error:
        raise ValueError(f"{path} is no Parquet file that can be read ({error}): write it again.") from error
    if not table.num_rows:
        raise ValueError(f"{path} holds no rows: write samples into it.")
    columns = [_column(table.column(i), name, path) for i, name in enumerate(names)]
    y = columns.pop(place)
    for name, column in zip([*names[:place], *names[place + 1 :]], columns, strict=True):
        if column.dtype.kind not in "fiub":
            raise ValueError(
                f"{path}, column {shortened(name)}: it holds no numbers but {column.dtype}: drop it, or code it in "
                "numbers; if it holds the labels, name it with --label."
            )
    x = np.column_stack([column.astype(np.uint8 if column.dtype.kind == "b" else column.dtype) for column in columns])
    features = tuple(name for i, name in enumerate(names) if i != place)
    return LabelledTable(as_small(x), _labels(y), features, names[place])


def _column(column: Any, name: str, path: Path) -> np.ndarray:
    """Return a column without missing values."""
    values = column.to_numpy()
    absent = np.array([value is None for value in values]) if values.dtype.kind == "O" else np.zeros(len(values), bool)
    if values.dtype.kind == "f":
        # pyarrow gives NaN for what is missing in a column of whole numbers
        absent = ~np.isfinite(values)
    if absent.any():
        row = int(np.flatnonzero(absent)[0]) + 1
        raise ValueError(
            f"{path}, row {row}, column {shortened(name)}: the value is missing or infinite: fill it in, or drop the "
            "row."
        )
    return values


def _labels(y: np.ndarray) -> np.ndarray:
    return as_labels_of_text([str(label) for label in y.tolist()]) if y.dtype.kind == "O" else y
