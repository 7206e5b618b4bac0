"""Tests of a sweep's jobs: which results count, and that no damaged file, disk or name of one job stops the others."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from experiments.runner import catalog, from_config, jobs, keys, summary, sweep
from experiments.runner.record import Record
from experiments.runner.watch import Sweep
from tests.support.command_line import composed

HOSTILE = "[/] [bold red]x[/green] \x1b[31m \x1b]0;title\x07 \u202e </script> `a` \\"


class Bench:
    """A sweep in this process whose jobs call ``work``; ``runs`` counts how often."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.runs, self.patch = folder, 0, monkeypatch
        self.work: Callable[[Record], None] = lambda record: None
        self.module: Any = SimpleNamespace(run=self._do)
        self.experiment: Any = SimpleNamespace(name="toy", load=lambda: self.module)
        monkeypatch.setattr(catalog, "find", lambda _: self.experiment)
        (folder / "sweep").mkdir()
        self.write_facts('{"total": 2, "varied": ["seed"], "started": 0}')

    def write_facts(self, text: str) -> None:
        (self.folder / "sweep" / "sweep.json").write_text(text)

    def run(self, number: int = 0, words: tuple[str, ...] = (), **changes: Any) -> None:
        """Run one job, with changes to its configuration."""
        told = SimpleNamespace(
            sweep=SimpleNamespace(dir=str(self.folder / "sweep")),
            overrides=SimpleNamespace(task=[*words, f"seed={number}"]),
            job=SimpleNamespace(num=number),
            runtime=SimpleNamespace(output_dir=str(self.folder / "sweep" / str(number))),
        )
        self.patch.setattr(sweep, "HydraConfig", SimpleNamespace(get=lambda: told))
        from_config._loaded.cache_clear()
        sweep.run_job(self.configuration(number, changes), self.experiment)

    def configuration(self, number: int, changes: dict[str, Any]) -> Any:
        own = {"sweep": {"store": str(self.folder / "jobs")}, "seed": number}
        return OmegaConf.merge(composed("+exp=gmm", "wandb=disabled"), own, changes)

    def _do(self, _cfg: Any, record: Record) -> None:
        self.runs += 1
        record.add_metrics(run=self.runs)
        record.headline["run"] = float(self.runs)
        self.work(record)

    @property
    def job(self) -> Path:
        """Return the folder of the only job."""
        (found,) = (self.folder / "jobs").iterdir()
        return found

    def jobs(self) -> list[jobs.Job]:
        return jobs.jobs_of(self.folder / "sweep")

    def summary(self) -> int:
        ended = Sweep(self.folder / "sweep", self.configuration(0, {}), 0.0)
        return summary.summarise(ended, "python -m experiments.run -m +exp=toy")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", ["state.json", "metrics.json", "versions.json", "config.yaml"])
@pytest.mark.parametrize("left", ["", '{"state": "do', "[1]", None])
def test_a_job_whose_files_are_damaged_is_not_done(
    bench: Bench, name: str, left: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.run()
    bench.run()
    assert bench.runs == 1
    if left is None:
        (bench.job / name).unlink()
    else:
        (bench.job / name).write_text(left)
    capsys.readouterr()
    bench.run()
    assert bench.runs == 2
    # without a state, the job counts as stopped, not as damaged
    assert ("damaged" in printed(capsys)) == (name != "state.json" or left is not None)
    assert [job.state for job in bench.jobs()] == ["done"]
    assert bench.summary() == 0


def test_a_state_of_another_form_is_not_done(bench: Bench) -> None:
    bench.run()
    for text in ('{"state": "done"}', '{"state": 3, "message": "", "seconds": 1, "metrics": {}}', "null", '"done"'):
        (bench.job / "state.json").write_text(text)
        before = bench.runs
        bench.run()
        assert bench.runs == before + 1


@pytest.mark.parametrize("left", ["", "{", "[]", "{}"])
def test_damaged_files_of_the_sweep_stop_nothing(bench: Bench, left: str, capsys: pytest.CaptureFixture[str]) -> None:
    bench.run(0)
    bench.write_facts(left)
    (bench.job / "running.json").write_text(left)
    bench.run(0)
    assert bench.runs == 1
    bench.run(1)
    (bench.folder / "sweep" / "1" / "job.json").write_text(left)
    assert [job.state for job in bench.jobs()] == ["done", "missing"]
    assert bench.summary() == 1
    assert "job.json" in printed(capsys)
    bench.run(1)
    assert bench.runs == 2
    assert bench.summary() == 0


def test_a_folder_that_is_no_job_is_left_alone(bench: Bench) -> None:
    bench.run()
    other = bench.folder / "sweep" / "notes"
    other.mkdir()
    (other / "job.json").write_text("{}")
    assert len(bench.jobs()) == 1


def test_a_folder_that_vanishes_fails_its_job_alone(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.work = lambda record: shutil.rmtree(record.folder)
    bench.run(0)
    bench.work = lambda record: None
    bench.run(1)
    first, second = bench.jobs()
    assert (first.state, second.state) == ("failed", "done")
    assert "removed" in first.message
    assert "removed" in printed(capsys)
    # likewise where the job itself fails on the missing folder
    bench.work = lambda record: (shutil.rmtree(record.folder), record.add_metrics(a=1.0))  # type: ignore[func-returns-value]
    bench.run(2)
    assert "removed" in bench.jobs()[2].message
    # and for the sweep's own folder
    shutil.rmtree(bench.folder / "sweep" / "1")
    bench.work = lambda record: shutil.rmtree(bench.folder / "sweep" / "3")
    bench.run(3)
    assert [job.state for job in bench.jobs()] == ["failed", "failed", "done"]


def test_a_job_whose_folder_takes_nothing_fails_alone(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.run(0)
    taken = bench.job
    shutil.rmtree(taken)
    taken.write_text("a file where a folder is needed")
    bench.run(0)
    bench.run(1)
    assert [job.state for job in bench.jobs()] == ["failed", "done"]
    assert "cannot be written" in printed(capsys)
    assert bench.summary() == 1


def test_a_disk_that_is_full_at_the_end_fails_the_job_alone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def full(source: Any, target: Any) -> None:
        if Path(target).name == "state.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    bench.run(0)
    monkeypatch.setattr(os, "replace", replace)
    bench.run(1)
    first, second = bench.jobs()
    assert (first.state, second.state) == ("failed", "done")
    assert "No space left" in first.message
    # a job that could not be kept is run again
    bench.run(0)
    assert [job.state for job in bench.jobs()] == ["done", "done"]


def test_where_no_job_can_be_kept_the_sweep_ends(bench: Bench) -> None:
    (bench.folder / "jobs").write_text("a file")
    with pytest.raises(OSError, match="make room there, or choose another sweep.store"):
        bench.run()


def test_a_failed_job_is_run_again_on_request_alone_and_once_in_a_sweep(bench: Bench) -> None:
    def fail(_: Record) -> None:
        raise ValueError("not today")

    bench.work = fail
    bench.run()
    bench.work = lambda record: None
    bench.run()
    assert (bench.runs, [job.state for job in bench.jobs()]) == (1, ["failed"])
    # it failed after this sweep began, by the sweep's own facts
    bench.run(sweep={"retry": True})
    assert bench.runs == 1
    bench.write_facts(f'{{"total": 2, "varied": ["seed"], "started": {time.time() + 60}}}')
    bench.run(sweep={"retry": True})
    assert (bench.runs, [job.state for job in bench.jobs()]) == (2, ["done"])


def toy(folder: Path, **changes: np.ndarray) -> None:
    """Write a data set of two classes, with some arrays replaced."""
    rng = np.random.default_rng(0)
    arrays = {"x_train": rng.normal(size=(8, 4)), "y_train": np.arange(8) % 2}
    arrays |= {"x_test": rng.normal(size=(4, 4)), "y_test": np.arange(4) % 2}
    np.savez(folder / "toy.npz", **{**arrays, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["x_train", "y_train", "x_test", "y_test"])
def test_a_result_of_other_data_is_none(bench: Bench, name: str) -> None:
    data = {"data": {"name": "toy", "kind": "dataset", "folder": str(bench.folder)}}
    toy(bench.folder)
    bench.run(**data)
    toy(bench.folder)
    bench.run(**data)
    assert bench.runs == 1
    with np.load(bench.folder / "toy.npz") as arrays:
        changed = arrays[name].copy()
    # swap the last two samples, which changes no sum
    changed[[-1, -2]] = changed[[-2, -1]]
    toy(bench.folder, **{name: changed})
    bench.run(**data)
    assert bench.runs == 2


def other_code(monkeypatch: pytest.MonkeyPatch, sources: str) -> None:
    """Pretend that the sources of hntk or the experiments have changed."""
    monkeypatch.setattr("hntk._utils.digest.source_digest", lambda *_: sources)
    keys.code.cache_clear()


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> Any:
    yield lambda sources: other_code(monkeypatch, sources)
    monkeypatch.undo()
    keys.code.cache_clear()


def test_a_result_of_other_code_is_none_unless_it_is_accepted(
    bench: Bench, code: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    code("one")
    bench.run()
    old = bench.job
    code("two")
    bench.run(sweep={"older_code": True})
    assert bench.runs == 1
    assert "by older code" in printed(capsys)
    (job,) = bench.jobs()
    assert (job.state, job.folder) == ("done", old)
    assert bench.summary() == 0
    assert "1 of 1 results are of older code" in printed(capsys)
    bench.run()
    assert bench.runs == 2
    assert bench.summary() == 0
    assert "older code" not in printed(capsys)
    # results of this code take precedence
    bench.run(sweep={"older_code": True})
    assert bench.jobs()[0].folder != old
    # other data or settings are not older code
    bench.run(seed=5, sweep={"older_code": True})
    assert bench.runs == 3


def test_versions_of_what_computes_are_part_of_the_code(
    bench: Bench, code: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    code("one")
    bench.run()
    monkeypatch.setattr("experiments.runner.keys.version", lambda name: "0.0" if name == "jax" else "1")
    code("one")
    bench.run()
    assert bench.runs == 2


def test_a_result_says_what_made_it(bench: Bench) -> None:
    bench.run()
    told = jobs.read(bench.job / "key.json", {"key": str, "settings": dict, "code": dict})
    assert told is not None
    assert bench.job.name == f"toy-{told['key']}"
    assert told["code"] == keys.code()
    assert told["settings"]["compress"]["sparsity"] == 0.5
    state = jobs.state_of(bench.job)
    assert state is not None
    assert state["key"] == told["key"] == f"{state['without_code']}-{keys.code_hash()}"


def test_a_failure_after_all_jobs_is_reported(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    def gather(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device [/]")

    bench.run()
    bench.module.gather = gather
    assert bench.summary() == 1
    found = printed(capsys)
    assert "No space left on device [/]" in found
    assert "1 jobs done" in found
    assert (bench.folder / "sweep" / "jobs.csv").exists()


def test_names_and_messages_are_printed_as_they_are(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: Record) -> None:
        raise ValueError(HOSTILE)

    bench.run(0, words=(f"net.widths={HOSTILE}",))
    bench.work = fail
    bench.write_facts('{"total": 2, "varied": ["net.widths"], "started": 0}')
    bench.run(1, words=(f"net.widths={HOSTILE}",))
    assert bench.summary() == 1
    out = capsys.readouterr().out
    assert out.count("[/] [bold red]x[/green]") >= 4
    assert not {"\x1b", "\x07", "\u202e"} & set(out)
    assert "\\x1b[31m" in out
