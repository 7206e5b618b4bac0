"""Tests of sweeps of the memory experiment, through the command line."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from experiments.memory.report import TOLERANCE
from tests.support.command_line import ROOT, done, rows, run, run_here, started, wait_for

pytestmark = pytest.mark.slow
QUICK = (
    "+exp=memory", "+debug=tiny", "wandb=disabled", "seed=0", "compress.objective=theory", "experiment.epochs=3",
    "experiment.max_width=300", "experiment.max_trained_width=60",
)  # fmt: skip


def sweep(folder: Path, *words: str) -> list[str]:
    return [*QUICK, f"sweep.store={folder / 'jobs'}", f"hydra.sweep.dir={folder / 'sweep'}", *words]


def measured(folder: Path) -> list[dict[str, str]]:
    """Return everything that a sweep measured except times."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows(folder / "sweep" / "groups.csv")]


@pytest.mark.nightly
def test_a_memory_sweep_compares_all_arms_at_equal_bytes(tmp_path: Path, digits: Path) -> None:
    files = [path.stem for path in sorted((ROOT / "conf" / "arm").glob("*.yaml"))]
    words = sweep(tmp_path, "experiment.budget=30e3", "compress.sparsity=0.9", f"arm={','.join(files)}")
    printed = done(*words, data=digits)
    groups = rows(tmp_path / "sweep" / "groups.csv")
    arms = {row["arm"] for row in groups}
    assert len(arms) == len(groups) == len(files)
    for row in groups:
        size = float(row["file (bytes)"])
        assert size <= 30e3 * 1.03
        assert float(row["2 bits (bytes)"]) > 0
        assert (row["test, ridge"] == "") == row["arm"].startswith("trained")
    within = {row["arm"]: float(row["30 kB"]) for row in rows(tmp_path / "sweep" / "equal_bytes.csv")}
    assert within["hntk, 4 levels"] > within["dense float32"] > 0.3
    assert within["trained, dense float32"] > 0.7
    for name in ("accuracy_bytes", "accuracy_operations", "kernel_error"):
        assert (tmp_path / "sweep" / f"{name}.png").stat().st_size > 10_000
    page = (tmp_path / "sweep" / "report.html").read_text()
    assert page.count("data:image/png") == 3
    assert "hntk, 4 levels" in page
    assert "0 without a result" in printed
    # checkpoints and files are removed unless they are asked for
    assert not list(tmp_path.glob("jobs/*/*.npz")) + list(tmp_path.glob("jobs/*/*.safetensors"))


def tell_to_end(words: list[str], job: Path, data: Path) -> None:
    """Start a sweep, and end it by SIGTERM when it has begun a job."""
    process = started(*words, data=data)
    wait_for(lambda: json.loads((job / "running.json").read_text())["process"] == process.pid)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert out.count("stopped by SIGTERM; the same command goes on from here") == 1
    assert "Traceback" not in out + err
    assert not (job / "state.json").exists()


def test_a_killed_sweep_goes_on_and_ends_as_an_uninterrupted_one(tmp_path: Path, digits: Path) -> None:
    words = ("experiment.budget=20e3", "compress.sparsity=0.5", "arm=dense,trained", "experiment.epochs=60")
    done(*sweep(tmp_path / "whole", *words), data=digits)
    killed = tmp_path / "killed"
    process = started(*sweep(killed, *words), data=digits)
    # the second job's training has begun
    wait_for(lambda: list(killed.glob("jobs/*/dense-*.npz")))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    states = {path.name: (path / "state.json").exists() for path in killed.glob("jobs/*")}
    assert sorted(states.values()) == [False, True]
    tell_to_end(sweep(killed, *words), next(killed / "jobs" / name for name in states if not states[name]), digits)
    printed = done(*sweep(killed, *words), data=digits)
    assert printed.count("done before") == 1
    assert measured(killed) == measured(tmp_path / "whole")
    # other networks measure otherwise
    assert measured(killed)[0] != measured(killed)[1]
    for name in states:
        histories = [rows(folder / "jobs" / name / "training.csv") for folder in (killed, tmp_path / "whole")]
        assert histories[0] == histories[1]


def test_jobs_are_skipped_or_marked_as_failed_and_retried(tmp_path: Path, digits: Path) -> None:
    words = sweep(tmp_path, "experiment.budget=1e3,20e3", "compress.sparsity=0.5,0.9", "arm=dense,binary")
    printed = done(*words, data=digits)
    # jobs on which the sparsity has no effect run once
    assert printed.count("done before") == 2
    assert len(measured(tmp_path)) == 2
    assert printed.count("arm=dense: skipped, not even one neuron a layer fits 1,000 bytes") == 2
    broken = next(path for path in tmp_path.glob("jobs/*") if "binary" in (path / "config.yaml").read_text())
    (broken / "state.json").unlink()
    # a folder of that name prevents the file
    (broken / "net.safetensors").mkdir()
    failed = run(*words, data=digits)
    assert failed.returncode == 1
    assert failed.stdout.count("net.safetensors") >= 2
    assert "sweep.retry=true" in failed.stdout
    assert json.loads((broken / "state.json").read_text())["state"] == "failed"
    assert "Traceback" not in failed.stdout + failed.stderr
    assert "net.safetensors" in (tmp_path / "sweep" / "report.html").read_text()
    (broken / "net.safetensors").rmdir()
    assert "0 without a result" in done(*words, "sweep.retry=true", data=digits)


def test_missing_data_ends_a_sweep(tmp_path: Path) -> None:
    result = run(*sweep(tmp_path, "experiment.budget=9e3", "arm=dense", f"data.folder={tmp_path / 'nothing'}"))
    assert result.returncode == 1
    assert "HNTK_DATA" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


def test_one_job_alone_keeps_its_file(tmp_path: Path, digits: Path) -> None:
    record = run_here(tmp_path, *QUICK, f"data.folder={digits}", "arm=levels3", "experiment.budget=20e3",
                      "experiment.keep=true")  # fmt: skip
    metrics = record.metrics
    assert (tmp_path / "net.safetensors").stat().st_size == metrics["bytes/file"] <= TOLERANCE * 20e3
    assert metrics["bytes/entropy"] < metrics["bytes/base3"] < metrics["bytes/formula"]
    assert 0 < metrics["kernel/error"] < 1.5
