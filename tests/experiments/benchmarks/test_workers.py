"""Worker processes, the tasks they serve, and the rounds in which they take turns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.benchmarks import kernel_tasks
from experiments.benchmarks.serve import SampleCycle, Server
from experiments.benchmarks.workers import Timing, Turn, Worker, WorkerError, take_turns, task_command, working


def test_a_worker_that_dies_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match=r"status 2; see .*log"):
        Worker(["sh", "-c", "exit 2"], 0, tmp_path / "log")
    with working(["sh", "-c", "echo 7; read x; echo 1.5 2; exit 3"], 0, tmp_path / "log") as worker:
        assert worker.before == 7
        assert worker.ask("anything") == [1.5, 2.0]
        with pytest.raises(WorkerError, match="status 3"):
            worker.ask("more")


@pytest.mark.slow
def test_a_task_is_served_by_a_process_of_its_own(tmp_path: Path) -> None:
    options = {"n": 12, "p": 4, "depth": 1, "activation": "relu"}
    with working(task_command("kernel_tasks.exact", options), None, tmp_path / "log") as worker:
        assert worker.before is None or worker.before > 0
        assert worker.ask("restart")[0] >= 0
        seconds = worker.ask("run", 3)
        assert len(seconds) == 3
        assert min(seconds) > 0
        assert worker.ask("peak")[0] >= 0
        worker.ask("save", tmp_path / "result.npy")
    saved, squared = np.load(tmp_path / "result.npy"), np.sum(kernel_tasks.samples(12, 4) ** 2, axis=1)
    assert saved.shape == (2, 12, 12)
    # E[(relu(√q z) − m)²] with m = E[relu(z)] = 1/√(2π).
    diagonal = squared / 2 - np.sqrt(squared) / np.pi + 1 / (2 * np.pi)
    np.testing.assert_allclose(np.diag(saved[0]), diagonal, rtol=1e-4)


def test_preparation_is_no_part_of_the_time() -> None:
    order: list[str] = []

    def prepare(size: int = 1) -> tuple[int]:
        order.append(f"prepare {size}")
        return (size,)

    def once(size: int) -> list[int]:
        order.append(f"run {size}")
        return [size]

    server = Server(once, prepare)
    assert len(server.answer("run", "2", "5")) == 2
    assert order == ["prepare 5", "run 5"] * 2
    assert server.result == [5]


def test_samples_are_taken_in_turn() -> None:
    cycle = SampleCycle(np.arange(5))
    taken = [cycle.batch(2)[0].tolist() for _ in range(3)]
    assert taken == [[0, 1], [2, 3], [4, 0]]
    assert cycle.batch()[0].tolist() == [1]


class Clock:
    """A worker whose answers are known."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.asked = seconds, 0

    def ask(self, *question: object) -> list[float]:
        self.asked += 1
        return [self.seconds, 9.0, self.seconds]


def test_workers_take_turns_and_slow_ones_get_three_rounds() -> None:
    fast, slow, measured = Clock(1.0), Clock(20.0), []
    turns = [Turn(worker, ("run", 3), Timing()) for worker in (fast, slow)]  # type: ignore[arg-type]
    take_turns(turns, 7, lambda: measured.append((fast.asked, slow.asked)), seconds=30.0)
    assert (fast.asked, slow.asked) == (7, 3)
    # Limits are measured at the start of every round.
    assert measured == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 3), (5, 3), (6, 3)]
    first, second = (turn.timing for turn in turns)
    assert first.median == 1.0
    assert first.speedup(second) == 20.0
    assert Timing([1.0, 2.0, 3.0, 4.0, 5.0]).quartiles == (2.0, 3.0, 4.0)


def test_speedups_pair_the_rounds() -> None:
    # The machine was ten times as slow in the second round, for both.
    assert Timing([1.0, 10.0]).speedup(Timing([3.0, 30.0])) == 3.0


def test_batches_of_neural_tangents_give_what_it_gives_at_once() -> None:
    options = {"n": 16, "p": 4, "depth": 1, "activation": "relu"}
    whole, batched = (kernel_tasks.neural_tangents(**options, batch=batch)() for batch in (0, 8))
    for one, other in zip(whole, batched, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-5)
