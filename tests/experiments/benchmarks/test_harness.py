"""Sweeps of benchmarks: what is compared, and what tables say."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from experiments.benchmarks import sweeps
from experiments.benchmarks.harness import Case, Contender, Machine, Measured, Sweep, Work, _differences, _results
from experiments.runner.record import Record


class Saver:
    """A worker whose result is known."""

    def __init__(self, result: np.ndarray) -> None:
        self.result = result

    def ask(self, word: str, path: Path) -> list[float]:
        assert word == "save"
        np.save(path, self.result)
        return [1.0]


def measured(name: str, seconds: list[float], **options: object) -> Measured:
    return Measured(seconds, contender=Contender(name, "none", {}, **options))  # type: ignore[arg-type]


def test_results_are_compared_with_the_last_contenders(tmp_path: Path) -> None:
    peer = np.array([[1.0, -4.0]])
    best = {
        "near": (measured("near", [1.0], results=16), Saver(peer + 0.04)),
        "other shape": (measured("other shape", [1.0], results=16), Saver(peer.T)),
        "not compared": (measured("not compared", [1.0], results=16, compared=False), Saver(peer + 1)),
        "peer": (measured("peer", [1.0], results=16), Saver(peer)),
    }
    assert _differences(_results(best, tmp_path)) == {"near": pytest.approx(0.01)}  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_limit_is_set_by_what_takes_longest() -> None:
    machine = Machine(written=100.0, multiplied=10.0, bent=4.0)
    assert machine.limit(Work(200.0, 5.0)) == 2.0
    assert machine.limit(Work(200.0, 50.0)) == 5.0
    # both kinds of arithmetic take turns in the processor
    assert machine.limit(Work(200.0, 5.0, 8.0)) == 2.5
    assert machine.limit(None) is None


def test_tables_tell_ratios_memory_and_growth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def case(n: int) -> Case:
        own = measured("own", [1.0 * n**2, 1.0 * n**2], results=10 * n, work=Work(50.0 * n, 0.0))
        own.beyond = 20 * n
        return Case(n, {"own": own, "peer": measured("peer", [3.0 * n**2, 3.0 * n**2])}, {"own": 1e-6})

    def known(swept: list[Sweep], settings: object, folder: Path) -> object:
        for sweep in swept:
            yield sweep, [case(n) for n in sweep.cases], Machine(100.0, 10.0)

    monkeypatch.setattr(sweeps, "measure", known)
    record = Record(tmp_path)
    sweep, empty = Sweep("n", "p = 3", {1: (), 2: (), 4: ()}, "peer"), Sweep("p", "n = 3", {})
    cases = sweeps.run_sweeps(record, [sweep, empty], None)  # type: ignore[arg-type]
    with (tmp_path / "n_p_3.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["contender"] for row in rows] == ["own", "peer"] * 3
    assert float(rows[2]["times peer"]) == 3.0
    assert float(rows[2]["÷ results"]) == 2.0
    assert [float(rows[2][name]) for name in ("limit", "÷ limit")] == pytest.approx([1.0, 4.0])
    assert rows[3]["MB beyond start"] == ""
    assert record.metrics["exponent/n_p_3/own"] == pytest.approx(2.0)
    assert record.metrics["difference/n_p_3"] == 1e-6
    sweeps.draw_sweeps(record, [sweep, empty], cases, "figure", "a caption")
    assert (tmp_path / "figure.png").stat().st_size > 0
