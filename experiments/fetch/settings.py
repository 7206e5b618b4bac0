"""The fetching of data sets: its settings, and what the command line tells of it."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.runner.experiment import Experiment


@dataclass
class FetchExperiment:
    """A data set, from the internet to the data folder."""

    name: str = "fetch"
    overwrite: bool = False  # replace files that are there but wrong
    url: str | None = None  # address of a folder with the files, in place of the known mirrors
    timeout: float = 30.0  # seconds without an answer after which a server is given up
    retries: int = 2  # of every file, at every mirror


EXPERIMENTS = (
    Experiment(
        settings=FetchExperiment,
        shows="MNIST or Fashion-MNIST from the internet into the data folder, checked by its sha256 (12 or 31 MB)",
        takes="seconds, and the time of the download",
        leaves=("files.csv",),
        arguments="data=mnist,fashion_mnist data.folder=PATH",
        data="mnist",
        groups={"override /wandb": "disabled"},
        # without a data folder, it fetches the files of data=stand_in from itself into the run's own folder
        tiny={"experiment": {"retries": 0}},
    ),
)
