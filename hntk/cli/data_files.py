"""Read DATA of any format that the commands take: training and test samples, and what is to be predicted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Real

from hntk._utils.arguments import as_seed, as_share
from hntk._utils.labels import as_labels, is_regression, label_array
from hntk.cli.columns import LabelledTable, shortened
from hntk.cli.csv_files import Header, read_csv
from hntk.cli.parquet_files import read_parquet
from hntk.data.idx import read_idx_folder
from hntk.data.locate import locate
from hntk.data.npz import array_names, read_npz
from hntk.data.splits import KEYS, NUMBERS, Part, as_rows
from hntk.files.limits import CHARACTERS
from hntk.readouts.answers import draw_validation

Task = Literal["auto", "classification", "regression"]
CSV_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt")
PARQUET_ENDINGS = (".parquet", ".pq")
# Names of samples and labels of an archive that is not divided.
PAIRS = (("x", "y"), ("X", "y"), ("x_train", "y_train"))
MOST_CLASSES = 1000


@dataclass(frozen=True)
class ReadingOptions:
    """How DATA is read.

    Attributes
    ----------
    label : str or None
        Name or place of the column of labels of a table.
    header : {"auto", "yes", "no"}
        Whether the first row of a CSV file holds names.
    task : {"auto", "classification", "regression"}
        Whether labels are classes or quantities; ``"auto"`` takes numbers with fractions for quantities.
    test_share : float
        Share of the samples that are kept for the test, where DATA has no test part of its own.
    seed : int
        Seed by which these are drawn.
    """

    label: str | None = None
    header: Header = "auto"
    task: Task = "auto"
    test_share: float = 0.2
    seed: int = 0


@dataclass(frozen=True, eq=False)
class DataFile:
    """Samples as rows, raw as they are in the file.

    Attributes
    ----------
    source : Path
        The file or folder.
    x_train, x_test : (n, p) and (m, p) arrays
        Samples; uint8 where they are bytes.
    y_train, y_test : (n,) and (m,) arrays
        Labels, or targets of float64.
    image_shape : tuple of int or None
        Height and width of a sample that is an image.
    features : tuple of str
        Names of the columns of a table; empty for arrays.
    label : str
        Name of the column of labels; empty for arrays.
    split : str
        Where the test samples come from, in words.
    """

    source: Path
    x_train: Real[np.ndarray, "n p"]
    y_train: np.ndarray
    x_test: Real[np.ndarray, "m p"]
    y_test: np.ndarray
    image_shape: tuple[int, ...] | None
    features: tuple[str, ...]
    label: str
    split: str

    @property
    def pixels(self) -> bool:
        """Whether samples are bytes."""
        return self.x_train.dtype == np.uint8

    @property
    def regression(self) -> bool:
        """Whether quantities are predicted."""
        return is_regression(self.y_train)

    @property
    def score(self) -> str:
        """What tells how good predictions are, in words."""
        return "R²" if self.regression else "accuracy"

    @property
    def classes(self) -> np.ndarray:
        """The labels, sorted; empty for a regression."""
        return np.empty(0) if self.regression else np.unique(self.y_train)

    def __str__(self) -> str:
        n, m, p = len(self.x_train), len(self.x_test), self.x_train.shape[1]
        kind = "bytes" if self.pixels else "numbers"
        answer = "a quantity to predict" if self.regression else f"{len(self.classes):,} classes"
        column = f" (column {self.label!r})" if self.label else ""
        return f"{self.source}: {n:,} training and {m:,} test samples of {p:,} {kind}, {answer}{column}; {self.split}"


def read_data(given: Path, options: ReadingOptions | None = None) -> DataFile:
    """Read DATA, whose format its name and content tell.

    Parameters
    ----------
    given : Path
        A folder of IDX files, an .npz archive, a CSV or Parquet table; or the name of a data set in the folder that the
        environment variable HNTK_DATA names.
    options : ReadingOptions, optional
        How it is read.

    Returns
    -------
    DataFile
        Training and test samples. The file's own where it has both; else test samples are drawn, the same share of
        every class.

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ValueError
        If the file is damaged or of no known format, values are missing, or the samples cannot be divided.
    """
    options = options or ReadingOptions()
    name = given.name.lower()
    if given.is_file() and name.endswith(CSV_ENDINGS):
        return _of_table(given, read_csv(given, options.label, options.header), options)
    if given.is_file() and name.endswith(PARQUET_ENDINGS):
        return _of_table(given, read_parquet(given, options.label), options)
    if given.is_file() and name.endswith(".npz"):
        return _of_archive(given, options)
    if given.is_file():
        raise ValueError(
            f"{given} is neither .npz, .csv, .tsv nor .parquet: save it as one of these, or name a folder of IDX files."
        )
    if not given.exists() and len(given.parts) > 1:
        raise FileNotFoundError(f"{given} does not exist: check the path.")
    source = locate("", given) if given.is_dir() else locate(str(given), None)
    return _of_archive(source, options) if source.is_file() else _divided(source, read_idx_folder(source), options)


def _of_archive(path: Path, options: ReadingOptions) -> DataFile:
    present = array_names(path)
    if "x_test" in present or "y_test" in present:
        return _divided(path, read_npz(path, label_kinds=NUMBERS + "U"), options)
    pair = next((pair for pair in PAIRS if all(key in present for key in pair)), None)
    if pair is None:
        raise ValueError(
            f"{path} holds {present[:10]}: it must hold {', '.join(KEYS)}, or x and y alone, of which test samples are "
            "drawn; rename the arrays."
        )
    samples, labels = read_npz(path, pair, NUMBERS + "U").values()
    return _drawn(path, samples, labels.array, options)


def _divided(path: Path, parts: dict[str, Part], options: ReadingOptions) -> DataFile:
    """Return the data of a file that has a test part of its own."""
    y = _targets(np.concatenate([parts["y_train"].array, parts["y_test"].array]), options.task, path)
    y_train, y_test = np.split(y, [len(parts["y_train"].array)])
    if y.dtype.kind != "f":
        unseen = np.setdiff1d(y_test, y_train)
        if unseen.size:
            raise ValueError(
                f"{path} has test labels {unseen[:4].tolist()} that training samples do not have: drop them."
            )
    x_train, x_test = as_rows(parts["x_train"]), as_rows(parts["x_test"])
    shape = _image_shape(parts["x_train"].array)
    return DataFile(path, x_train, y_train, x_test, y_test, shape, (), "", "the test samples are the file's own")


def _drawn(path: Path, samples: Part, labels: np.ndarray, options: ReadingOptions) -> DataFile:
    y = _targets(labels, options.task, path)
    data = _split(path, as_rows(samples), y, options)
    return DataFile(*data, _image_shape(samples.array), (), "", _split_in_words(y, options))


def _of_table(path: Path, table: LabelledTable, options: ReadingOptions) -> DataFile:
    y = _targets(table.y, options.task, path)
    data = _split(path, table.x, y, options)
    return DataFile(*data, None, table.features, table.label, _split_in_words(y, options))


def _targets(y: np.ndarray, task: Task, path: Path) -> np.ndarray:
    """Return labels, or targets of float64.

    Raises
    ------
    ValueError
        If text is to be a quantity, or there are more classes than a table of them has room for.
    """
    y = label_array(y, name=f"the labels of {path}")
    fractions = y.dtype.kind == "f" and not np.all(y == np.rint(y))
    if task == "regression" or (task == "auto" and fractions):
        if y.dtype.kind == "U":
            raise ValueError(f"the labels of {path} are text, such as {y[0].item()!r:.40}: they are no quantities.")
        return y.astype(np.float64)
    if y.dtype.kind == "f" and not fractions and np.all(np.abs(y) < 2.0**63):
        y = y.astype(np.int64)
    elif y.dtype.kind == "f":
        # real numbers would be taken for quantities
        y = y.astype(str)
    _check_classes(np.unique(y), len(y), path)
    return y


def _check_classes(classes: np.ndarray, samples: int, path: Path) -> None:
    """Refuse labels that look like quantities, and those that no file or program could hold."""
    if len(classes) > min(MOST_CLASSES, samples // 2):
        raise ValueError(
            f"the labels of {path} take {len(classes):,} different values in {samples:,} samples: if they are "
            "quantities, add --task regression; if another column holds the labels, name it with --label."
        )
    for label in classes.tolist() if classes.dtype.kind == "U" else ():
        if len(label) > CHARACTERS or "\0" in label:
            raise ValueError(
                f"the label {shortened(label)} of {path} has {len(label):,} characters, or one is NUL: a label has "
                f"{CHARACTERS:,} at most; shorten it, or name another column with --label."
            )


def _split(
    path: Path, x: np.ndarray, y: np.ndarray, options: ReadingOptions
) -> tuple[Path, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the file, training samples and labels, and test samples and theirs."""
    as_share(options.test_share, "--test-share")
    index = np.zeros(len(y), int) if y.dtype.kind == "f" else as_labels(y, len(y))[1]
    held = draw_validation(
        index, options.test_share, as_seed(options.seed), f"drop the classes of {path} that have one, or merge them"
    )
    return path, x[~held], y[~held], x[held], y[held]


def _split_in_words(y: np.ndarray, options: ReadingOptions) -> str:
    of = "the samples" if y.dtype.kind == "f" else "every class"
    return f"the test samples are {options.test_share:.0%} of {of}, drawn with seed {options.seed}"


def _image_shape(x: np.ndarray) -> tuple[int, ...] | None:
    return x.shape[1:] if x.ndim == 3 else None
