"""What runs print of their progress where there is no terminal."""

from __future__ import annotations

import math

import pytest
from rich.console import Console

from experiments.runner import console


class Clock:
    """Seconds that a test sets."""

    now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock in the place of the system's."""
    clock = Clock()
    monkeypatch.setattr(console, "time", clock)
    return clock


def lines(monkeypatch: pytest.MonkeyPatch, *, terminal: bool = False) -> Console:
    """Record what is printed."""
    recorder = Console(record=True, width=100, force_terminal=terminal)
    monkeypatch.setattr(console, "CONSOLE", recorder)
    return recorder


def test_long_work_prints_lines_at_growing_intervals(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = lines(monkeypatch)
    with console.progress("epochs [x]", 600) as advance:
        for _ in range(600):
            clock.now += 10
            advance(1)
    told = printed.export_text().splitlines()
    assert told[0] == "  epochs [x]: 2 of 600 after 20 s, about 100 min to go"
    assert told[-1].startswith("  epochs [x]: 5")
    # from 15 s to 6000 s by factors of 1.25, each rounded up to a step
    assert 15 <= len(told) <= math.log(6000 / 15, 1.25) + 1


def test_short_work_and_work_that_is_done_print_nothing(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = lines(monkeypatch)
    with console.progress("steps", 3) as advance:
        advance(1)
        advance(1)
        clock.now += 1000
        advance(1)
    assert printed.export_text() == ""


def test_nothing_done_yet_promises_no_time(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = lines(monkeypatch)
    with console.progress("steps", 3) as advance:
        clock.now += 20
        advance(0)
    assert printed.export_text() == "  steps: 0 of 3 after 20 s\n"
