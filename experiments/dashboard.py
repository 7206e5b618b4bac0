"""Save a workspace in W&B for sweeps of the memory experiment: ``python -m experiments.dashboard``.

It needs a login (``wandb login``) and the package wandb-workspaces, which ``make setup`` installs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from experiments.runner import metrics
from experiments.runner.config import WandbConfig
from experiments.runner.console import say, shown

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Section, Workspace

NAME = "Accuracy against memory"
ARM = "arm.label"
SCORES = [metrics.accuracy(readout) for readout in metrics.READOUTS]
COLUMNS = (*SCORES, metrics.FILE_BYTES, metrics.BIT_OPERATIONS, metrics.KERNEL_ERROR)


class Unavailable(Exception):
    """W&B cannot be used; the message says what to do."""


def workspace(entity: str, project: str) -> Workspace:
    """Return the workspace: five sections, with runs grouped by arm."""
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.expr import Config

    return ws.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[*_sections()],
        settings=ws.WorkspaceSettings(max_runs=100, smoothing_type="none"),
        runset_settings=ws.RunsetSettings(
            groupby=[Config(ARM)], pinned_columns=[f"summary:{name}" for name in COLUMNS]
        ),
    )


def _sections() -> Iterator[Section]:
    """Yield the sections of the workspace."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    def section(name: str, panels: Sequence[Any]) -> Section:
        return ws.Section(name=name, panels=list(panels), is_open=True)

    sizes = (metrics.FILE_BYTES, metrics.FORMULA_BYTES)
    costs = (metrics.BIT_OPERATIONS, metrics.PLANE_OPERATIONS, metrics.ACTIVATION_BYTES)
    yield section("Accuracy against bytes", [_scatter(x, y) for y in SCORES for x in sizes])
    yield section("Accuracy against bit operations", [_scatter(x, y) for y in SCORES for x in costs])
    kernel = [_scatter(x, metrics.KERNEL_ERROR) for x in (metrics.FILE_BYTES, metrics.BIT_OPERATIONS)]
    bars = wr.BarPlot(
        title=f"{metrics.KERNEL_ERROR}, mean by arm", metrics=[metrics.KERNEL_ERROR], groupby=wr.Config(ARM),
        groupby_aggfunc="mean", groupby_rangefunc="stderr",
    )  # fmt: skip
    yield section("Kernel error", [*kernel, bars])
    yield section("Training curves", [_curve(c) for c in (metrics.LOSS, metrics.HELD_OUT, metrics.LEARNING_RATE)])
    jobs = wr.WeavePanelSummaryTable(table_name=metrics.table_key(metrics.JOBS))
    counts = wr.BarPlot(title="Jobs of every sweep", metrics=[metrics.JOBS_FAILED, metrics.JOBS_DONE], groupby="Group")
    yield section("Failures", [counts, jobs])


def _scatter(x: str, y: str) -> Any:
    """Return a scatter plot of two metrics."""
    import wandb_workspaces.reports.v2 as wr

    return wr.ScatterPlot(title=f"{y} against {x}", x=wr.SummaryMetric(x), y=wr.SummaryMetric(y), log_x=True)


def _curve(column: str) -> Any:
    """Return the curve of a training's column against the epoch."""
    import wandb_workspaces.reports.v2 as wr

    axis, key = (metrics.history_key(metrics.TRAINING, name) for name in (metrics.EPOCH, column))
    return wr.LinePlot(
        title=column, x=wr.Metric(axis), y=[wr.Metric(key)], title_x=metrics.EPOCH, groupby=wr.Config(ARM),
        groupby_aggfunc="mean", groupby_rangefunc="minmax", log_y=column != metrics.HELD_OUT,
    )  # fmt: skip


def save(entity: str | None, project: str) -> str:
    """Save the workspace as a new view, and return its address.

    Raises
    ------
    Unavailable
        If the package is missing, nobody is logged in, or the server refuses.
    """
    try:
        import wandb
        import wandb_workspaces.workspaces  # noqa: F401
        from wandb.errors import UsageError
    except ImportError as error:
        raise Unavailable("wandb-workspaces is missing: make setup, or pip install '.[experiments]'.") from error
    try:
        owner = entity or wandb.Api(timeout=30).default_entity
        if not owner:
            raise Unavailable("W&B names no entity to save it for: add --entity=NAME.")
        return workspace(owner, project).save().url
    except UsageError as error:
        raise Unavailable("nobody is logged in to W&B: run `wandb login`, or set WANDB_API_KEY.") from error
    except Unavailable:
        raise
    except Exception as error:  # the package passes on the errors of its transport
        why = " ".join(str(error).split()).rstrip(".")
        raise Unavailable(
            f"W&B does not take the workspace ({type(error).__name__}: {why}): check the network and the login, and "
            f"that the project {project!r} exists there; `wandb sync FOLDER/wandb/offline-*` makes it."
        ) from error


def main(words: Sequence[str] | None = None) -> None:
    """Save the workspace, as the command line asks."""
    parser = argparse.ArgumentParser(prog="python -m experiments.dashboard", description="Save a workspace in W&B.")
    parser.add_argument("--entity", help="user or team; by default that of the login")
    parser.add_argument("--project", default=WandbConfig.project, help="by default %(default)s, as the runs")
    options = parser.parse_args(words)
    try:
        address = save(options.entity, options.project)
    except Unavailable as error:
        say(f"[bold red]error[/] {shown(error)}")
        raise SystemExit(1) from None
    say(f"Saved: {shown(address)}")


if __name__ == "__main__":
    main()
