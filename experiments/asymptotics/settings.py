"""The experiments on limits of theory beside simulations: their settings, and what the command line tells of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from experiments.runner.config import KERNELS, one_of
from experiments.runner.experiment import Experiment

MIXTURES = ("identity", "scaled", "structured", "unequal")
NETS = ("relu", "erf", "staircase")
CASES = tuple(f"{mixture}/{net}" for mixture in MIXTURES for net in NETS)


@dataclass
class TheoryExperiment:
    """Limits of theory beside simulations."""

    seeds: int = 20  # draws of the data at every point


@dataclass
class FollowedExperiment(TheoryExperiment):
    """Limits of theory beside simulations, with errors against p."""

    sizes: list[int] = field(default_factory=lambda: [100, 200, 400, 800, 1600])  # values of p
    large_seeds: int = 5  # draws where p exceeds data.p, as these take long


@dataclass
class SpectrumTheoryExperiment(FollowedExperiment):
    """Limiting densities and simulated spectra."""

    name: str = "spectrum_theory"
    # a mixture (identity, scaled, structured, unequal) and a net (relu, erf, staircase)
    cases: list[str] = one_of(CASES, ["identity/relu", "scaled/erf", "structured/staircase", "unequal/relu"])
    depth: int = 3
    ratios: list[float] = field(default_factory=lambda: [0.5, 2.0])  # n/p


@dataclass
class SpikesExperiment(FollowedExperiment):
    """Isolated eigenvalues across the phase transition."""

    name: str = "spikes"
    kernel: str = one_of(KERNELS, "ck")
    separations: list[float] = field(default_factory=lambda: [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0])
    spreads: list[float] = field(default_factory=lambda: [0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0])
    # where errors are followed against p, on both sides of the transitions
    followed_separations: list[float] = field(default_factory=lambda: [1.0, 3.0])
    followed_spreads: list[float] = field(default_factory=lambda: [0.0, 4.0])
    ratio: float = 2.0  # n/p
    curve: int = 61  # points of a line of theory
    halvings: int = 7  # further points of it, ever closer to the transition


@dataclass
class LearningCurveExperiment(TheoryExperiment):
    """Errors of ridge regression against n/p and against the ridge."""

    name: str = "learning_curve"
    kernel: str = one_of(KERNELS, "ck")  # for the NTK, the compressed network's diagonal is declared
    finite_size: bool = True  # theory of the exact kernel at its size; false: of the equivalent kernel's limit
    ratios: list[float] = field(default_factory=lambda: [0.25, 0.5, 1.0, 2.0])  # n/p
    # in units of the kernel's diagonal
    ridges: list[float] = field(default_factory=lambda: [0.1, 0.3, 1.0, 3.0, 10.0, 100.0])
    shown_ridge: float = 0.3  # one of the ridges, at which errors are drawn against n/p
    n_test: int = 4000  # new samples of a mixture; a data set has its own
    ridge_points: int = 41  # points of a line of theory against the ridge
    ratio_points: int = 31  # points of a line of theory against n/p


@dataclass
class DynamicsExperiment(TheoryExperiment):
    """Errors of gradient flow against time."""

    name: str = "dynamics"
    finite_size: bool = True  # theory of the exact kernel at its size; false: of the equivalent kernel's limit
    ratios: list[float] = field(default_factory=lambda: [0.5, 2.0])  # n/p
    # in units of one over the kernel's diagonal
    times: list[float] = field(default_factory=lambda: [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0])
    n_test: int = 4000  # new samples of a mixture; a data set has its own
    curve: int = 61  # points of a line of theory


EXPERIMENTS = (
    Experiment(
        settings=SpectrumTheoryExperiment,
        shows="limiting eigenvalue densities over simulated spectra, and their distance against p",
        takes="about 4 minutes",
        native_only="",
        plain_only="its networks are those of experiment.cases",
        leaves=("distances.csv", "spectra_*.png", "distances.png"),
        tiny={
            "data": {"p": 160},
            "experiment": {
                "seeds": 3, "sizes": [40, 160], "large_seeds": 1, "cases": ["unequal/staircase"], "depth": 1,
                "ratios": [0.5],
            },
        },
    ),
    Experiment(
        settings=SpikesExperiment,
        shows="isolated eigenvalues and what their eigenvectors know of the classes, across the phase transition",
        takes="about 3 minutes",
        native_only="",
        plain_only="its theory is compared for plain networks",
        leaves=("pairs.csv", "spikes.png", "errors.png"),
        tiny={
            "data": {"p": 100},
            "experiment": {
                "seeds": 3, "sizes": [50, 100], "large_seeds": 1, "separations": [0.0, 4.0], "spreads": [0.0, 6.0],
                "followed_separations": [4.0], "followed_spreads": [6.0], "curve": 7, "halvings": 2,
            },
        },
    ),
    Experiment(
        settings=LearningCurveExperiment,
        shows="predicted and simulated errors of ridge regression against n/p and the ridge, dense and compressed",
        takes="about 6 minutes",
        native_only="",
        plain_only="its theory is compared for plain networks",
        leaves=("errors.csv", "best_ridges.csv", "learning_curve.png"),
        tiny={
            "data": {"p": 100},
            "experiment": {
                "seeds": 4, "ratios": [1.0], "ridges": [0.3, 3.0], "n_test": 500, "ridge_points": 5,
                "ratio_points": 3,
            },
        },
    ),
    Experiment(
        settings=DynamicsExperiment,
        shows="predicted and simulated errors of gradient flow on the NTK against time",
        takes="about 2 minutes",
        native_only="",
        plain_only="its theory is compared for plain networks",
        leaves=("errors.csv", "dynamics.png"),
        tiny={
            "data": {"p": 100},
            "experiment": {"seeds": 4, "ratios": [1.0], "times": [0.1, 10.0], "n_test": 500, "curve": 5},
        },
    ),
)  # fmt: skip
