"""The experiments on accuracy against memory: their settings, and what the command line tells of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from experiments.runner.config import one_of
from experiments.runner.experiment import Experiment
from experiments.training.settings import STARTS


@dataclass
class MemoryExperiment:
    """Test accuracy of one arm within a budget of bytes; a sweep over arms and budgets gives the figure."""

    name: str = "memory"
    budget: float = 500e3  # bytes that the file may take
    width: int | None = None  # of the widest layer, in place of what the budget allows
    max_width: int = 3000  # of random layers, to bound the computation
    max_sparse_width: int = 6500  # of random layers so sparse that their zeros are skipped
    max_orthogonal_width: int = 4096  # of hidden layers of orthogonal blocks; their last is limited by max_width
    max_trained_width: int = 400  # of trained layers, to bound the computation
    epochs: int = 60  # of trained networks, and at most of readouts
    seeds: int = 1  # of a job, from cfg.seed on; trained networks of all of them are trained together
    # Each trained network is the best by validation accuracy of all combinations of these, whatever its arm.
    learning_rates: list[float] = field(default_factory=lambda: [3e-3, 1e-3])
    strengths: list[float] = field(default_factory=lambda: [1.0])  # what the data's augmentation is multiplied by
    weight_decays: list[float] | None = None  # null takes the recipe's of the data set
    kernel_samples: int = 1000  # test samples on which kernels are compared
    start: str = one_of(STARTS, "uniform")  # of networks of few levels, see `hntk.train`
    keep: bool = False  # keep the network's file
    checkpoints: bool = True  # of trainings after every epoch, to go on from; they take time for large networks


EXPERIMENTS = (
    Experiment(
        settings=MemoryExperiment,
        shows="test accuracy against bytes and bit operations, for everything one would pick instead",
        takes="an estimated four hours for three seeds, and can be stopped and continued",
        native_only="",
        plain_only="its arms are plain networks",
        leaves=(
            "jobs.csv", "groups.csv", "equal_bytes.csv", "accuracy_bytes.png", "accuracy_operations.png",
            "kernel_error.png", "report.html",
        ),
        arguments="data=mnist data.folder=PATH",
        data="mnist",
        groups={"/arm": "dense", "/sweep": "memory"},
        values={"compress": {"alpha2": False, "objective": "data"}},
        tiny={
            "compress": {"objective": "theory"},
            "experiment": {
                "epochs": 2, "strengths": [0.0], "max_width": 200, "max_sparse_width": 200, "max_trained_width": 40,
                "kernel_samples": 100,
            },
            "hydra": {
                "sweeper": {
                    "params": {
                        "seed": 0, "experiment.budget": 20e3, "compress.sparsity": 0.9,
                        "arm": "dense,levels2,trained_finetuned,trained_ternary",
                    }
                }
            },
        },
    ),
    # Optuna searches levels, sparsity and width by validation accuracy and bytes of the file. The same command
    # continues a search that was stopped, as its sampler asks again for the networks that are done.
    Experiment(
        name="frontier",
        settings=MemoryExperiment,
        shows="networks that are accurate and small, which Optuna looks for (needs make setup-sweeps)",
        takes="an estimated 20 minutes for its 100 networks, by the time of memory's; can be stopped and continued",
        native_only="",
        plain_only="its arms are plain networks",
        leaves=("jobs.csv", "front.csv"),
        arguments="data=mnist data.folder=PATH",
        data="mnist",
        groups={
            "/arm": "levels4", "/sweep": "frontier", "override /hydra/sweeper": "optuna",
            "override /hydra/sweeper/sampler": "nsgaii",
        },
        values={"compress": {"alpha2": False, "objective": "data"}},
        tiny={
            "compress": {"objective": "theory"},
            "experiment": {"epochs": 2, "kernel_samples": 100},
            "hydra": {
                "sweeper": {
                    "n_trials": 3,
                    "sampler": {"population_size": 2},
                    "params": {
                        "arm": "choice(levels2, levels3)", "compress.sparsity": "choice(0.5, 0.9)",
                        "experiment.width": "tag(log, int(interval(20, 80)))",
                    },
                }
            },
        },
    ),
)  # fmt: skip
