"""Tests of the mirror in Weights & Biases, which is read back from disk record by record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
import wandb
import yaml
from omegaconf import OmegaConf

from experiments.runner import tracking
from experiments.runner.config import Config
from experiments.runner.record import Record
from tests.support.command_line import ROOT, composed, rows
from tests.support.mirrored import Mirrored


def configuration(**changes: Any) -> Config:
    cfg = composed("+exp=memory", "data=mnist", "arm=levels4", "wandb.tags=[mine]", "seed=3")
    return OmegaConf.merge(cfg, changes)  # type: ignore[return-value]


TRAINING = ["epoch", "loss", "validation accuracy"]
EPOCHS = [[1, 0.5, 0.8], [2, 0.25, 0.9], [3, 0.125, 0.85]]


def recorded(folder: Path, cfg: Any) -> Record:
    """Return a record with one of everything."""
    record = Record(folder)
    record.start(cfg)
    record.add_history("training", TRAINING, EPOCHS)
    record.add_metrics(**{"accuracy/softmax": 0.9, "bytes/file": 1000, "widths": "8", "kernel/error": float("nan")})
    record.add_table("groups", ["arm", "bytes", "accuracy"], [["a", 1000, 0.9], ["b", 2000, None]])
    record.add_chart("accuracy against bytes", "scatter", "groups", "bytes", "accuracy")
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    record.add_figure("line", figure)
    plt.close(figure)
    return record


def test_everything_is_in_the_offline_run(tmp_path: Path) -> None:
    cfg = configuration()
    tracking.mirror(cfg, recorded(tmp_path, cfg))
    found = Mirrored(tmp_path)
    plain = OmegaConf.to_container(OmegaConf.load(tmp_path / "config.yaml"))
    assert isinstance(plain, dict)
    assert {k: v for k, v in found.config.items() if k != "_wandb"} == plain
    assert found.rows("training", TRAINING) == EPOCHS
    assert [[float(v) for v in row.values()] for row in rows(tmp_path / "training.csv")] == EPOCHS
    assert found.axis_of("training/loss") == "training/epoch"
    assert found.axis_of("accuracy/softmax") == "bytes/file"
    kept = json.loads((tmp_path / "metrics.json").read_text())
    for name, value in kept.items():
        if value is not None:
            assert found.summary[name] == value
    for name in ("config.yaml", "metrics.json", "versions.json", "training.csv", "groups.csv"):
        assert name in found.listed
        assert (found.files / name).read_bytes() == (tmp_path / name).read_bytes()
        assert not (found.files / name).is_symlink()
    media = [path.name for path in found.files.glob("media/**/*") if path.is_file()]
    assert any(name.endswith(".png") for name in media)
    table = next(path for path in found.files.glob("media/table/tables/groups*.json"))
    assert json.loads(table.read_text())["data"] == [["a", 1000, 0.9], ["b", 2000, None]]
    assert any("charts/accuracy against bytes" in name for row in found.history for name in row)
    assert found.exit_code == 0
    assert plt.imread(next(found.files.glob("media/images/figures/line*.png"))).size


def test_runs_say_what_they_are(tmp_path: Path) -> None:
    cfg = configuration()
    tracking.mirror(cfg, recorded(tmp_path / "job", cfg))
    tracking.mirror(cfg, recorded(tmp_path / "sweep", cfg), summary=True)
    job, sweep = (Mirrored(tmp_path / name).run for name in ("job", "sweep"))
    assert job.run_group == sweep.run_group == "memory-mnist"
    assert (job.job_type, sweep.job_type) == ("random", "summary")
    assert list(job.tags) == ["mine", "memory", "mnist", "levels4", "random"]
    assert (job.display_name, sweep.display_name) == ("memory-mnist-levels4-seed3", "memory-mnist-summary")
    assert job.notes.startswith("python -m experiments.run")
    named = configuration(wandb={"group": "paper"})
    assert tracking.run_description(named)["group"] == "paper"


def test_a_run_without_its_history_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A negative control: the reader does not find what was not sent."""
    monkeypatch.setattr(tracking, "_log_histories", lambda run, record: None)
    cfg = configuration()
    tracking.mirror(cfg, recorded(tmp_path, cfg))
    assert Mirrored(tmp_path).rows("training", TRAINING) == []


def test_a_broken_mirror_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ConnectionError("no route [/] \x1b[31m")

    monkeypatch.setattr("wandb.init", broken)
    cfg = configuration()
    record = recorded(tmp_path, cfg)
    tracking.mirror(cfg, record)
    printed = " ".join(capsys.readouterr().out.split())
    assert "not mirrored" in printed
    assert "no route [/] \\x1b[31m" in printed
    assert "wandb=disabled" in printed
    assert (tmp_path / "metrics.json").exists()


def test_settings_that_a_version_does_not_know_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(tracking.LEAN, "x_of_a_version_to_come", True)
    cfg = configuration()
    tracking.mirror(cfg, recorded(tmp_path, cfg))
    assert "not mirrored" not in capsys.readouterr().out
    assert Mirrored(tmp_path).rows("training", TRAINING) == EPOCHS

    class Older:
        model_fields = {"console": None}

        def __init__(self, **given: object) -> None:
            self.given = given

    assert tracking.lean_settings(Older).given == {"console": "off"}


def test_an_unreachable_server_leaves_runs_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, init = [], wandb.init

    def unreachable(**given: Any) -> Any:
        asked.append(given["mode"])
        if given["mode"] == "online":
            raise ConnectionError("no route")
        return init(**given)

    monkeypatch.setattr("wandb.init", unreachable)
    monkeypatch.setattr(tracking.Server, "lost", False)
    cfg = configuration(wandb={"mode": "online"})
    for name in ("first", "second"):
        tracking.mirror(cfg, recorded(tmp_path / name, cfg))
        assert Mirrored(tmp_path / name).rows("training", TRAINING) == EPOCHS
    assert asked == ["online", "offline", "offline"]
    assert capsys.readouterr().out.count("wandb sync") == 1


def test_a_file_in_the_way_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = configuration()
    record = recorded(tmp_path, cfg)
    (tmp_path / "wandb").write_text("")
    tracking.mirror(cfg, record)
    printed = " ".join(capsys.readouterr().out.split())
    assert "not mirrored" in printed
    assert "move it away" in printed
    assert (tmp_path / "metrics.json").exists()


def test_failed_jobs_are_marked(tmp_path: Path) -> None:
    cfg = configuration()
    tracking.mirror(cfg, recorded(tmp_path, cfg), failure="ValueError: no such thing")
    found = Mirrored(tmp_path)
    assert found.exit_code == 1
    assert "failed" in found.run.tags
    assert "no such thing" in found.run.notes


def test_charts_draw_what_has_numbers_and_tell_lines_apart(tmp_path: Path) -> None:
    record = recorded(tmp_path, configuration())
    rows = [["a", 100, 0.9], ["b", 10, 0.8], ["b", None, 0.7], ["b", 0, 0.6], ["b", 1, float("nan")]]
    record.add_table("costs", ["arm", "bytes", "accuracy"], rows)
    record.add_chart("by arm", "lines", "costs", "bytes", "accuracy", by="arm", log=["bytes"])
    columns, drawn = tracking.chart_rows(record.charts["by arm"], record)
    assert columns == ["log10 of bytes", "accuracy", "arm"]
    assert drawn == [[2.0, 0.9, "a"], [1.0, 0.8, "b"]]
    spec = tracking.custom_chart("by arm", record.charts["by arm"], record).spec
    assert spec.fields == {"step": "log10 of bytes", "lineVal": "accuracy", "lineKey": "arm"}
    with pytest.raises(ValueError, match="by=COLUMN"):
        record.add_chart("x", "lines", "costs", "bytes", "accuracy")


def test_disabled_means_nothing_is_written(tmp_path: Path) -> None:
    cfg = configuration(wandb={"mode": "disabled"})
    tracking.mirror(cfg, recorded(tmp_path, cfg))
    assert not (tmp_path / "wandb").exists()


def test_charts_of_what_is_not_there_are_refused(tmp_path: Path) -> None:
    record = recorded(tmp_path, configuration())
    for table, column in (("nothing", "bytes"), ("groups", "nothing")):
        with pytest.raises(ValueError, match="add it first"):
            record.add_chart("x", "bar", table, column, "accuracy")


def number(word: str) -> float | str:
    return word if word[0].isalpha() else float(word)


def test_the_wandb_sweep_has_the_grid_of_ours_and_forms_commands_that_compose() -> None:
    # here, as it loads what takes every test process a second
    from wandb.sdk.launch.sweeps import utils as sweeps

    plan = yaml.safe_load((ROOT / "conf" / "wandb_sweep" / "memory.yaml").read_text())
    assert plan["method"] == "grid"
    assert plan["metric"] == {"name": "accuracy/softmax", "goal": "maximize"}
    assert (ROOT / plan["program"]).is_file()
    ours = yaml.safe_load((ROOT / "conf" / "sweep" / "memory.yaml").read_text())["hydra"]["sweeper"]["params"]
    theirs = {name: given["values"] for name, given in plan["parameters"].items()}
    # W&B draws no axis for numbers given as text
    assert theirs == {name: [number(v) for v in str(values).strip().split(",")] for name, values in ours.items()}
    words = [word for word in plan["command"] if not word.startswith("$")]
    assert words[:3] == ["python", "-m", "experiments.run"]
    assert plan["command"][-1] == "${args_no_hyphens}"
    given = {"args": {name: {"value": values[-1]} for name, values in theirs.items()}}
    chosen = sweeps.create_sweep_command_args(given)["args_no_hyphens"]
    cfg = composed(*words[3:], *chosen)
    assert (cfg.arm.name, cfg.experiment.budget, cfg.seed, cfg.wandb.mode) == (theirs["arm"][-1], 5e6, 2, "online")
    assert set(theirs["arm"]) == {path.stem for path in (ROOT / "conf" / "arm").glob("*.yaml")}
