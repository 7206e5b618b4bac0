"""The table of the page on networks of few levels is what its figures are drawn from."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import pytest

from experiments.training import kept_frontier
from experiments.training.settings import ARMS

PAGE = Path(__file__).parents[3] / "docs/benchmarks/few_levels.md"
TABLE = """
| data | kB of tables | trained | random layers |
|---|---|---|---|
| MNIST | 2.0 | .9719 ± .0005 | – |
| MNIST | 12.3 | .9924 ± .0003 | .9501 ± .0007 |
| CIFAR-10 features | 4.0 | | .5178 ± .0056 |

| another | table |
|---|---|
| MNIST | .9 ± .1 |
"""


def test_cells_of_the_table_are_points_and_empty_cells_are_not():
    points = kept_frontier.kept_points(TABLE)
    read = {name: [(p.arm, p.kilobytes, p.test, p.error) for p in of] for name, of in points.items()}
    assert read == {
        "MNIST": [
            ("trained8", 2.0, 0.9719, 0.0005), ("trained8", 12.3, 0.9924, 0.0003), ("random8", 12.3, 0.9501, 0.0007),
        ],
        "Fashion-MNIST": [],
        "CIFAR-10 features": [("random8", 4.0, 0.5178, 0.0056)],
    }  # fmt: skip


def test_a_page_without_the_table_is_refused():
    with pytest.raises(ValueError, match="no table with the columns data, kB of tables"):
        kept_frontier.kept_points("| data | kB |\n|---|---|\n| MNIST | 2 |\n")


def test_the_page_has_points_of_every_data_set_and_arm_at_both_ends():
    for name, points in kept_frontier.kept_points(PAGE.read_text(encoding="utf-8")).items():
        assert {point.arm for point in points} == set(kept_frontier.ARM_COLUMNS.values()) <= set(ARMS), name
        sizes = [point.kilobytes for point in points]
        assert min(sizes) <= 4, name
        assert max(sizes) >= 49, name


def test_a_figure_is_drawn_for_each_data_set_that_has_points(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(TABLE, encoding="utf-8")
    files = kept_frontier.draw(page, tmp_path)
    assert [file.name for file in files] == ["frontier_kilobytes.png", "frontier_cifar_features.png"]
    assert matplotlib.image.imread(files[0]).shape[:2] == (768, 1152)
