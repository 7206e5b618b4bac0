"""Figures of a frontier from the table of a page, to which its cells are added one by one, as each takes long.

Run as ``python -m experiments.training.kept_frontier docs/benchmarks/few_levels.md docs``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt

from experiments.runner.record import DPI
from experiments.training.figures import frontier_figure
from experiments.training.points import Point, chosen
from experiments.training.published import published

# The page's columns of accuracies, and the arms that they are of.
ARM_COLUMNS = {"trained": "trained8", "random layers": "random8"}
HEAD = ("data", "kB of tables", *ARM_COLUMNS)
# The page's names of data sets, those of `published`, and the figures' names.
DATA = {
    "MNIST": ("mnist", "frontier_kilobytes.png"),
    "Fashion-MNIST": ("fashion_mnist", "frontier_fashion_mnist.png"),
    "CIFAR-10 features": ("cifar10_features", "frontier_cifar_features.png"),
}
SEEDS = 5
ACCURACY = re.compile(r"(\.\d+) ± (\.\d+)")


def kept_points(page: str) -> dict[str, list[Point]]:
    """Return the points of the table of a page, by the page's names of data sets.

    Parameters
    ----------
    page : str
        The page's text, in Markdown. Accuracies are written as ``.9886 ± .0002``; other cells are of what was not run.

    Returns
    -------
    dict of list of Point
        Points by arm and size. Their kilobytes are the budgets, and what the page does not tell is NaN or empty.

    Raises
    ------
    ValueError
        If the page has no such table.
    """
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    if list(HEAD) not in rows:
        raise ValueError(f"the page has no table with the columns {', '.join(HEAD)}.")
    points: dict[str, list[Point]] = {name: [] for name in DATA}
    for column, arm in enumerate(ARM_COLUMNS.values(), start=2):
        for row in rows[rows.index(list(HEAD)) + 2 :]:
            found = ACCURACY.fullmatch(row[column]) if row[0] in DATA and len(row) == len(HEAD) else None
            if found:
                size, nan = float(row[1]), float("nan")
                points[row[0]].append(Point(arm, size, size, nan, float(found[1]), float(found[2]), nan, SEEDS, ()))
    return points


def draw(page: Path, folder: Path) -> list[Path]:
    """Draw the figure of every data set of a page's table into a folder, and return the files."""
    written = []
    for name, points in kept_points(page.read_text(encoding="utf-8")).items():
        if points:
            data, file = DATA[name]
            figure = frontier_figure(points, chosen(points), published(data), name)
            figure.savefig(folder / file, dpi=DPI)
            plt.close(figure)
            written.append(folder / file)
    return written


def main(arguments: Sequence[str]) -> None:
    """Draw the figures of the page and into the folder that are given."""
    page, folder = map(Path, arguments)
    for file in draw(page, folder):
        print(file)


if __name__ == "__main__":
    main(sys.argv[1:])
