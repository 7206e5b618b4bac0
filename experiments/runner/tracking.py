"""The mirror in Weights & Biases: one run per job, and one for the summary of a sweep.

Everything is on disk before anything is sent, so a failure here loses nothing and stops nothing.
"""

from __future__ import annotations

import math
import os
import shlex
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from experiments.runner import metrics
from experiments.runner.config import Config
from experiments.runner.console import say, shown
from experiments.runner.record import Chart, Record

if TYPE_CHECKING:
    from wandb.plot.custom_chart import CustomChart


# metrics of a finished job that are drawn against another metric rather than against a step
AXES = {pattern: metrics.FILE_BYTES for pattern in ("accuracy/*", "validation/*", "kernel/*")}
FILES = ("*.yaml", "*.json", "*.csv", "report.html")
# W&B settings for hundreds of runs: what config.yaml and versions.json contain is not collected again
LEAN = {
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "symlink": False,  # links would dangle when the folder moves
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}


class Server:
    """Whether W&B could not be reached; then later runs of this process do not wait for it again."""

    lost = False


def mirror(cfg: Config, record: Record, *, summary: bool = False, failure: str = "") -> None:
    """Mirror a finished run: configuration, histories, metrics, tables, figures, charts and files.

    If the server cannot be reached, this run and the next ones of the process are kept offline.

    Parameters
    ----------
    cfg : Config
        The run's configuration; ``cfg.wandb`` says where to send it, and whether.
    record : Record
        What the run left on disk.
    summary : bool
        Whether it is the summary of a sweep rather than a job.
    failure : str
        Why the job failed; empty if it succeeded.
    """
    mode = "offline" if Server.lost and cfg.wandb.mode == "online" else cfg.wandb.mode
    if mode == "disabled":
        return
    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        _send(cfg, record, mode, summary=summary, failure=failure)
    except Exception as error:  # whatever W&B, its service or the network may raise
        why = shown(" ".join(f"{type(error).__name__}: {error}".split()))
        if mode == "online":
            Server.lost = True
            say(
                f"[yellow]Weights & Biases is out of reach[/] ({why}); runs are kept offline from here on. Send them "
                "later: wandb sync FOLDER/wandb/offline-run-*"
            )
            mirror(cfg, record, summary=summary, failure=failure)
            return
        say(
            f"[yellow]not mirrored in Weights & Biases[/] ({why}); everything is in {shown(record.folder)}. "
            "wandb=disabled leaves the mirror out."
        )


def _send(cfg: Config, record: Record, mode: str, *, summary: bool, failure: str) -> None:
    """Send everything to one run of W&B."""
    import wandb

    if (record.folder / "wandb").is_file():
        # W&B would silently use the system's temporary folder
        raise NotADirectoryError(f"{record.folder / 'wandb'} is a file where a folder is needed: move it away")
    config: Any = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[arg-type]
    if summary:
        # a summary belongs to no arm; with one, it would count among the runs of that arm
        config["arm"] = None
    with wandb.init(
        project=cfg.wandb.project,
        entity=cfg.wandb.entity,
        mode=mode,  # type: ignore[arg-type]
        dir=str(record.folder),
        config=config,
        settings=lean_settings(wandb.Settings),
        **run_description(cfg, summary=summary, failure=failure),
    ) as run:
        _define_axes(run, record)
        _log_histories(run, record)
        finite = {k: v for k, v in record.written.items() if v is not None}
        if finite:
            run.log(finite)
        run.summary.update(record.written)
        run.log(_pictures(record))
        for pattern in FILES:
            if list(record.folder.glob(pattern)):
                run.save(str(record.folder / pattern), base_path=str(record.folder), policy="now")
        run.finish(exit_code=1 if failure else 0)


def lean_settings(kind: Any) -> Any:
    """Return W&B's settings for many runs, without those that the installed version does not have."""
    known = getattr(kind, "model_fields", None) or getattr(kind, "__annotations__", {})
    return kind(**{name: value for name, value in LEAN.items() if name in known})


def run_description(cfg: Config, *, summary: bool = False, failure: str = "") -> dict[str, Any]:
    """Return group, job type, tags, name and notes of a run.

    Runs of one experiment on one data set form a group, so that a continued sweep stays in one group.
    """
    arm = cfg.arm if cfg.experiment.name == "memory" and not summary else None
    group = cfg.wandb.group or f"{cfg.experiment.name}-{cfg.data.name}"
    parts = ["summary"] if summary else [*([arm.name] if arm else []), f"seed{cfg.seed}"]
    tags = [*cfg.wandb.tags, cfg.experiment.name, cfg.data.name, *([arm.name, arm.family] if arm else [])]
    tags += ["failed"] if failure else []
    return {
        "group": group,
        "job_type": "summary" if summary else arm.family if arm else "run",
        "tags": list(dict.fromkeys(tags)),
        "name": "-".join([group, *parts]),
        "notes": "\n\n".join(part for part in (_command(), failure) if part),
    }


def _command() -> str:
    """Return the command line of this run."""
    words = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    return " ".join(["python -m experiments.run", *(shlex.quote(word) for word in words)])


def _define_axes(run: Any, record: Record) -> None:
    """Define the axes of histories and metrics."""
    for name, (columns, _) in record.histories.items():
        run.define_metric(metrics.history_key(name, columns[0]), hidden=True)
        run.define_metric(metrics.history_key(name, "*"), step_metric=metrics.history_key(name, columns[0]))
    for pattern, axis in AXES.items():
        if axis in record.metrics:
            run.define_metric(pattern, step_metric=axis)


def _log_histories(run: Any, record: Record) -> None:
    """Send every row of every history."""
    for name, (columns, rows) in record.histories.items():
        for row in rows:
            run.log({metrics.history_key(name, column): value for column, value in zip(columns, row, strict=True)})


def _pictures(record: Record) -> dict[str, Any]:
    """Return figures, tables, and the charts that W&B draws from the tables."""
    import wandb

    content: dict[str, Any] = {f"figures/{name}": wandb.Image(str(path)) for name, path in record.figures.items()}
    for name, (columns, rows) in record.tables.items():
        table = wandb.Table(columns=list[str | int](columns), data=list[Any](rows), allow_mixed_types=True)
        content[metrics.table_key(name)] = table
    return content | {f"charts/{title}": custom_chart(title, chart, record) for title, chart in record.charts.items()}


def custom_chart(title: str, chart: Chart, record: Record) -> CustomChart:
    """Return the chart that W&B draws in the browser from a record's table, by a preset of its own."""
    import wandb

    columns, rows = chart_rows(chart, record)
    preset, *roles = PRESETS[chart.kind]
    table = wandb.Table(columns=list[str | int](columns), data=list[Any](rows))
    labels = {"title": title, "xname": columns[0]}
    return wandb.plot_table(preset, table, dict(zip(roles, columns, strict=True)), labels)


# name of the preset, and of its fields for x, y and the column that tells lines apart
PRESETS = {
    "scatter": ("wandb/scatter/v0", "x", "y"),
    "bar": ("wandb/bar/v0", "label", "value"),
    "lines": ("wandb/lineseries/v0", "step", "lineVal", "lineKey"),
}


def chart_rows(chart: Chart, record: Record) -> tuple[list[str], list[list[Any]]]:
    """Return the columns and rows to draw: with logarithms taken, and without rows that lack a number."""
    names = [chart.x, chart.y, *([chart.by] if chart.by else [])]
    columns, rows = record.tables[chart.table]
    chosen = [[row[columns.index(name)] for name in names] for row in rows]
    numbers = (1,) if chart.kind == "bar" else (0, 1)
    kept = [row for row in chosen if all(_drawable(row[i], names[i] in chart.log) for i in numbers)]
    drawn = [[math.log10(v) if n in chart.log else v for n, v in zip(names, row, strict=True)] for row in kept]
    return [f"log10 of {name}" if name in chart.log else name for name in names], drawn


def _drawable(value: Any, logarithmic: bool) -> bool:
    """Whether a value can be drawn on a linear or logarithmic axis."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return number and (value > 0 or not logarithmic)
