"""Tests of the workspace in W&B, which is built without a server from the metrics of the memory experiment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments import dashboard
from tests.support.command_line import ROOT, done, rows
from tests.support.mirrored import Mirrored

# the package's own code warns on import
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")
SECTIONS = ["Accuracy against bytes", "Accuracy against bit operations", "Kernel error", "Training curves", "Failures"]


def specification() -> dict[str, Any]:
    model = dashboard.workspace("someone", "hntk")._to_model()
    return json.loads(model.spec.model_dump_json(by_alias=True))["section"]


def panels(name: str) -> list[dict[str, Any]]:
    sections = specification()["panelBankConfig"]["sections"]
    return next(section["panels"] for section in sections if section["name"] == name)


def summaries() -> set[str]:
    """Return every summary metric that a panel shows."""
    found = set()
    for name in SECTIONS[:3]:
        for panel in panels(name):
            config = panel["config"]
            found |= set(config.get("metrics") or [config.get("xAxis"), config.get("yAxis")])
    return {name.removeprefix("summary:") for name in found}


def curves() -> set[tuple[str, str]]:
    """Return every axis with a metric of a history."""
    return {(panel["config"]["xAxis"], name) for panel in panels(SECTIONS[3]) for name in panel["config"]["metrics"]}


def test_the_workspace_has_its_sections_and_groups_runs_by_arm() -> None:
    spec = specification()
    assert [section["name"] for section in spec["panelBankConfig"]["sections"]][: len(SECTIONS)] == SECTIONS
    assert all(panels(name) for name in SECTIONS)
    (runs,) = spec["runSets"]
    assert runs["grouping"] == [{"section": "config", "name": "arm.value.label"}]
    assert all(panel["config"]["xAxisLogScale"] for panel in panels(SECTIONS[0]))


@pytest.mark.slow
def test_every_panel_finds_what_a_sweep_leaves_and_the_mirror_is_complete(tmp_path: Path, digits: Path) -> None:
    done(
        "+exp=memory", "+debug=tiny", "wandb=offline", "arm=levels2", "seed=0", "experiment.budget=20e3",
        "compress.sparsity=0.5",
        "compress.objective=theory", "experiment.epochs=2", f"sweep.store={tmp_path / 'jobs'}",
        f"hydra.sweep.dir={tmp_path / 'sweep'}", data=digits,
    )  # fmt: skip
    (folder,) = (tmp_path / "jobs").iterdir()
    job, sweep = Mirrored(folder), Mirrored(tmp_path / "sweep")
    assert summaries() >= {"bytes/file", "operations/bits", "kernel/error", "accuracy/ridge", "accuracy/softmax"}
    assert summaries() <= set(job.summary)
    assert len(curves()) == 3
    for axis, name in curves():
        assert job.axis_of(name) == axis
        assert any({axis, name} <= set(row) for row in job.history)
    assert job.config["arm"]["label"]
    assert sweep.config["arm"] is None
    counts, table = panels(SECTIONS[4])
    assert set(counts["config"]["metrics"]) <= set(sweep.summary)
    assert '"tables/jobs"' in json.dumps(table)
    assert list(sweep.files.glob("media/table/tables/jobs*"))
    assert "report.html" in sweep.listed
    drawn = {name for row in sweep.history for name in row if name.startswith("charts/")}
    assert any("by arm_table/" in name for name in drawn), drawn
    # what the mirror shows is what lies on disk
    table = rows(folder / "training.csv")
    assert [[float(v) for v in row.values()] for row in table] == job.rows("training", list(table[0]))
    assert job.run.run_group == sweep.run.run_group == "memory-mnist"
    assert "+exp=memory" in job.run.notes
    assert "accuracy_bytes.png" not in sweep.listed
    assert list(sweep.files.glob("media/images/figures/accuracy_bytes*.png"))


def test_without_a_login_it_says_what_to_do(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")} | {"HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-m", "experiments.dashboard"],
        cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert "wandb login" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


def test_without_the_package_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    with pytest.raises(SystemExit, match="1"):
        dashboard.main(["--entity=someone"])
    assert "make setup" in capsys.readouterr().out


def test_a_refusal_of_the_server_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr("wandb_workspaces.workspaces.Workspace.save", refuse)
    with pytest.raises(SystemExit, match="1"):
        dashboard.main(["--entity=someone", "--project=elsewhere"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "no route" in printed
    assert "'elsewhere'" in printed
    assert "wandb sync" in printed


def test_the_address_of_the_saved_workspace_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = []

    class Saved:
        url = "somewhere"

    def save(workspace: Any) -> type[Saved]:
        saved.append((workspace.entity, workspace.project, workspace.name))
        return Saved

    monkeypatch.setattr("wandb_workspaces.workspaces.Workspace.save", save)
    dashboard.main(["--entity=someone"])
    assert saved == [("someone", "hntk", dashboard.NAME)]
    assert "somewhere" in capsys.readouterr().out
