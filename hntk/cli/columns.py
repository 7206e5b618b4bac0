"""Tables of samples: named columns of numbers, and one column of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Real

# Names that a column of labels has where none is given, in small letters.
LABEL_NAMES = ("label", "labels", "class", "target", "y")
# Names and cells of a file are shown up to so many characters.
SHOWN = 40


@dataclass(frozen=True, eq=False)
class LabelledTable:
    """Samples and labels of a table.

    Attributes
    ----------
    x : (n, p) array
        Numbers: bytes if all are whole and from 0 to 255, else float64.
    y : (n,) array
        Labels: whole numbers, real numbers or text.
    features : tuple of str
        Names of the columns of x.
    label : str
        Name of the column of y.
    """

    x: Real[np.ndarray, "n p"]
    y: np.ndarray
    features: tuple[str, ...]
    label: str


def label_column(names: Sequence[str], wanted: str | None, *, named: bool = True) -> int:
    """Return the place of the column of labels.

    Parameters
    ----------
    names : sequence of str
        Names of all columns.
    wanted : str, optional
        A name, or a place from 0; negative ones count from the end. By default a column with one of `LABEL_NAMES`, or
        else the last one.
    named : bool
        Whether the table itself names its columns.

    Returns
    -------
    int
        The place, from 0.

    Raises
    ------
    ValueError
        If there is no such column, or several have that name, or it is the only one.
    """
    if len(names) < 2:
        raise ValueError(f"the table has {len(names)} column: it needs one of labels and one of numbers at least.")
    if wanted is None:
        known = [place for place, name in enumerate(names) if named and name.strip().lower() in LABEL_NAMES]
        if len(known) > 1:
            shown = ", ".join(shortened(names[place]) for place in known)
            raise ValueError(f"the columns {shown} could each be the labels: name one with --label.")
        return known[0] if known else len(names) - 1
    places = [place for place, name in enumerate(names) if named and name == wanted]
    if len(places) == 1:
        return places[0]
    if len(places) > 1:
        raise ValueError(
            f"{len(places)} columns are called {shortened(wanted)}: give --label the place of one, from 0."
        )
    try:
        place = int(wanted)
    except ValueError:
        place = len(names)
    if not -len(names) <= place < len(names):
        raise ValueError(
            f"there is no column {shortened(wanted)}: give --label one of {listed(names)}, or a place from 0 to "
            f"{len(names) - 1}."
        )
    return place % len(names)


def as_labels_of_text(cells: Sequence[str]) -> np.ndarray:
    """Return labels that are spelt in text: whole numbers if all are, real numbers if all are, or else text."""
    # Python takes 1_000 for a number, and nobody else does.
    for kind in () if any("_" in cell for cell in cells) else (int, float):
        try:
            made = np.array([kind(cell) for cell in cells])
        except ValueError:
            continue
        if made.dtype.kind in "if" and np.all(np.isfinite(made)):
            return made
    return np.array([cell.strip() for cell in cells])


def as_small(x: Real[np.ndarray, "n p"]) -> Real[np.ndarray, "n p"]:
    """Return numbers as bytes if all are whole and from 0 to 255."""
    if x.dtype == np.uint8 or (x.size and np.all((x >= 0) & (x <= 255)) and np.all(x == np.rint(x))):
        return x.astype(np.uint8)
    return x


def shortened(text: str) -> str:
    """Return a text of a file in quotes, on one line, and not longer than a message has room for."""
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")


def listed(names: Sequence[str], most: int = 6) -> str:
    """Return some names in quotes, and how many more there are."""
    shown = ", ".join(map(shortened, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"
