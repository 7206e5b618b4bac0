"""The mirror in Weights & Biases: one run a job, and one for what a sweep says as a whole.

The disk is complete before anything is sent, so a failure here loses nothing and stops nothing.
"""

from __future__ import annotations

import math
import os
import shlex
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from experiments.config import Config
from experiments.console import CONSOLE
from experiments.record import Record

# metrics of a finished job that are read against another one rather than against a step
AXES = {"accuracy/*": "bytes/file", "validation/*": "bytes/file", "kernel/*": "bytes/file"}
FILES = ("*.yaml", "*.json", "*.csv", "report.html")


def mirror(cfg: Config, record: Record, *, summary: bool = False) -> None:
    """Send a finished run: config, histories, summary metrics, tables, figures, charts and files.

    Parameters
    ----------
    cfg : its configuration, which says where to and how.
    record : what it left on disk.
    summary : whether it is a sweep's summary rather than a job.
    """
    if cfg.wandb.mode == "disabled":
        return
    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        _send(cfg, record, summary=summary)
    except Exception as error:  # whatever W&B, its service or the network may raise
        CONSOLE.print(
            f"[yellow]not mirrored in Weights & Biases[/] ({type(error).__name__}: {error}); everything is in "
            f"{record.folder}. wandb=disabled leaves the mirror out.",
            soft_wrap=True,
        )


def _send(cfg: Config, record: Record, *, summary: bool) -> None:
    import wandb

    config: Any = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[arg-type]
    with wandb.init(
        project=cfg.wandb.project,
        entity=cfg.wandb.entity,
        mode=cfg.wandb.mode,  # type: ignore[arg-type]
        dir=str(record.folder),
        config=config,
        settings=wandb.Settings(x_disable_stats=True, disable_code=True, disable_git=True, console="off"),
        **described(cfg, summary=summary),
    ) as run:
        _define(run, record)
        _log_histories(run, record)
        finite = {k: v for k, v in record.metrics.items() if not (isinstance(v, float) and not math.isfinite(v))}
        if finite:
            run.log(finite)
        run.summary.update(record.metrics)
        run.log(_pictures(record))
        for pattern in FILES:
            if list(record.folder.glob(pattern)):
                run.save(str(record.folder / pattern), base_path=str(record.folder), policy="now")


def described(cfg: Config, *, summary: bool = False) -> dict[str, Any]:
    """Group, job type, tags, name and notes of a run.

    Runs of one experiment on one data set are a group, so that a sweep that was continued stays one.
    """
    arm = cfg.arm if cfg.experiment.name == "memory" and not summary else None
    group = cfg.wandb.group or f"{cfg.experiment.name}-{cfg.data.name}"
    parts = ["summary"] if summary else [*([arm.name] if arm else []), f"seed{cfg.seed}"]
    tags = [*cfg.wandb.tags, cfg.experiment.name, cfg.data.name, *([arm.name, arm.family] if arm else [])]
    return {
        "group": group,
        "job_type": "summary" if summary else arm.family if arm else "run",
        "tags": list(dict.fromkeys(tags)),
        "name": "-".join([group, *parts]),
        "notes": _command(),
    }


def _command() -> str:
    """What to type to get the same."""
    words = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    return " ".join(["python -m experiments.run", *(shlex.quote(word) for word in words)])


def _define(run: Any, record: Record) -> None:
    """Axes of histories and of metrics that have one."""
    for name, (columns, _) in record.histories.items():
        run.define_metric(f"{name}/{columns[0]}", hidden=True)
        run.define_metric(f"{name}/*", step_metric=f"{name}/{columns[0]}")
    for pattern, axis in AXES.items():
        if axis in record.metrics:
            run.define_metric(pattern, step_metric=axis)


def _log_histories(run: Any, record: Record) -> None:
    for name, (columns, rows) in record.histories.items():
        for row in rows:
            run.log({f"{name}/{column}": value for column, value in zip(columns, row, strict=True)})


def _pictures(record: Record) -> dict[str, Any]:
    """Figures, tables, and charts that the page draws from the tables."""
    import wandb

    content: dict[str, Any] = {f"figures/{name}": wandb.Image(str(path)) for name, path in record.figures.items()}
    tables = {
        name: wandb.Table(columns=list[str | int](columns), data=rows, allow_mixed_types=True)
        for name, (columns, rows) in record.tables.items()
    }
    content |= {f"tables/{name}": table for name, table in tables.items()}
    for name, chart in record.charts.items():
        plot = getattr(wandb.plot, chart.kind)
        content[f"charts/{name}"] = plot(_copy(tables[chart.table]), chart.x, chart.y, title=name)
    return content


def _copy(table: Any) -> Any:
    """A table can be logged under one name only."""
    import wandb

    return wandb.Table(columns=table.columns, data=table.data, allow_mixed_types=True)
