"""The mirror in Weights & Biases: one run per job."""

from __future__ import annotations

import os
from typing import Any

from omegaconf import OmegaConf

from experiments.config import Config
from experiments.record import Record


def mirror(cfg: Config, record: Record) -> None:
    """Send a finished run: config, summary metrics, tables and figures.

    The disk is complete before this is called, so a failure here loses nothing.
    """
    if cfg.wandb.mode == "disabled":
        return
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    config: Any = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[arg-type]
    with wandb.init(
        project=cfg.wandb.project,
        entity=cfg.wandb.entity,
        group=cfg.wandb.group or cfg.experiment.name,
        job_type=cfg.experiment.name,
        tags=list(cfg.wandb.tags),
        mode=cfg.wandb.mode,  # type: ignore[arg-type]
        dir=str(record.folder),
        config=config,
        name=f"{cfg.experiment.name}-{record.folder.name}",
    ) as run:
        run.summary.update(record.metrics)
        content: dict[str, Any] = {f"figures/{name}": wandb.Image(str(path)) for name, path in record.figures.items()}
        for name, (columns, rows) in record.tables.items():
            content[f"tables/{name}"] = wandb.Table(columns=list[str | int](columns), data=rows, allow_mixed_types=True)
        run.log(content)
