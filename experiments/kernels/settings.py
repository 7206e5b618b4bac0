"""The experiments on kernels: their settings, and what the command line tells of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from experiments.runner.config import (
    ACTIVATIONS,
    IDENTITIES,
    KERNELS,
    OBJECTIVES,
    PRECISIONS,
    QUANTITIES,
    READ_LAYERS,
    WEIGHTS,
    one_of,
)
from experiments.runner.experiment import Experiment

ARCHITECTURES = (
    "relu_he", "relu_unit", "relu_large_biases", "erf", "gelu_he", "levels4_he", "relu_residual", "relu_layer_norm",
    "relu_implicit", "erf_implicit",
)  # fmt: skip


@dataclass
class GmmExperiment:
    """Kernel spectra on a Gaussian mixture."""

    name: str = "gmm"
    quantities: str = one_of(QUANTITIES, "population")  # the mixture's own, or estimated from x and labels alone
    identity: str = one_of(IDENTITIES, "default")  # "paper": the authors' identity coefficient
    spikes: int = 2  # leading eigenpairs to compare
    finite_width: bool = True  # draw networks of finite width too


@dataclass
class ConvergenceExperiment:
    """Errors of the equivalents against n at fixed p/n."""

    name: str = "convergence"
    quantities: str = one_of(QUANTITIES, "population")
    halvings: int = 3  # number of sample sizes: data.n, data.n / 2, ...
    draws: int = 3  # draws of the data at each n


@dataclass
class ArchitecturesExperiment:
    """Errors of the equivalents of un-centred networks against p at fixed n/p."""

    name: str = "architectures"
    # all but those with "implicit"
    networks: list[str] = one_of(ARCHITECTURES, [name for name in ARCHITECTURES if "implicit" not in name])
    quantities: str = one_of(QUANTITIES, "population")
    halvings: int = 4  # number of sizes: data.p, data.p / 2, ...
    draws: int = 2  # draws of the data at each size
    # from 0 to 1: the variances of one class are 1 + contrast on one half of the coordinates and 1 - contrast on the
    # other, those of the other class the other way round; with 0 the classes differ as data.spread says, and no more
    contrast: float = 1.0


@dataclass
class MnistExperiment:
    """Test accuracies of one architecture, dense and compressed."""

    name: str = "mnist"
    levels: list[Any] = one_of(("paper",), ["paper", 2, 3, 4, 5, 8])
    objectives: list[str] = one_of(OBJECTIVES, ["theory", "data"])  # the paper's σ_T has theory's only
    weights: list[str] = one_of(WEIGHTS, ["orthogonal", "iid"])  # of ternary matrices
    layers: list[str] = one_of(READ_LAYERS, ["last", "all"])  # whose features the readout takes
    draws: int = 1  # draws of every network
    infinite: int = 4000  # training samples of exact kernel regression, the column at infinite width; 0 for none


@dataclass
class WidthsExperiment:
    """Accuracy and kernel error of drawn networks against their width."""

    name: str = "widths"
    widths: list[int] = field(default_factory=lambda: [128, 256, 512, 1024, 2048, 4096])  # of every layer
    levels: list[int] = field(default_factory=lambda: [2, 3, 4, 8])
    seeds: int = 3  # draws of every network
    kernel_samples: int = 500  # training samples on which kernels are compared


@dataclass
class MillionExperiment:
    """Kernel regression with the equivalent kernel on more samples than an (n, n) matrix allows."""

    name: str = "million"
    kernel: str = one_of(KERNELS, "ntk")
    sizes: list[int] = field(default_factory=lambda: [100_000, 200_000, 500_000, 1_000_000])  # training samples
    exact_sizes: list[int] = field(default_factory=lambda: [1000, 2000, 4000, 8000])  # where the exact kernel runs too
    n_test: int = 10_000  # new samples of a mixture


@dataclass
class ExactExperiment:
    """Kernel regression with the exact kernels on all of a data set, by conjugate gradients."""

    name: str = "exact"
    kernels: list[str] = one_of(KERNELS, ["ntk", "ck"])
    levels: list[int] = field(default_factory=lambda: [4])  # of compressed networks beside the original one
    sizes: list[int] = field(default_factory=list)  # training samples; all of a data set in any case
    ridge: float | None = None  # λ; None chooses it on samples that are held out
    tolerance: float = 1e-4  # relative residual to reach
    compared: list[int] = field(default_factory=lambda: [4000])  # sizes at which preconditioners are compared
    ridges: list[float] = field(default_factory=lambda: [1e-1, 1e-2, 1e-3, 1e-4])  # of these, in units of the diagonal
    pivots: int = 500  # of these
    most: int = 1000  # iterations of these
    n_test: int = 10_000  # new samples of a mixture
    folder: str | None = None  # of checkpoints, by which an interrupted run is continued


@dataclass
class StoreExperiment:
    """Exact kernels in files."""

    name: str = "store"
    folder: str | None = None  # the run's own by default; naming the same folder again continues an interrupted run
    precision: str = one_of(PRECISIONS, "float32")  # of the files
    tile: int = 1024  # samples on the side of a tile
    eigenvalues: int = 10  # leading eigenvalues to compute


@dataclass
class SolverExperiment:
    """Success and time of the matching solver on random problems."""

    name: str = "solver"
    problems: int = 250  # four in five are feasible, one is impossible
    baseline_problems: int = 20  # feasible ones that restarted least squares solves too
    restarts: list[int] = field(default_factory=lambda: [10, 100, 1000])


@dataclass
class LevelsExperiment:
    """Identity shift and kernel error against the number of levels."""

    name: str = "levels"
    quantities: str = one_of(QUANTITIES, "population")
    originals: list[Any] = one_of(ACTIVATIONS, ["relu", "gelu", "softplus", "tanh", "sin", "abs"])
    levels: list[int] = field(default_factory=lambda: [2, 3, 4, 5, 6, 8])
    depth: int = 3


EXPERIMENTS = (
    Experiment(
        settings=GmmExperiment,
        shows="kernel spectra on a Gaussian mixture: a dense network, the theory, the ternary network solved for",
        takes="about half a minute",
        native_only="",
        plain_only="",
        leaves=("match.csv", "activations.csv", "errors.csv", "spectra.png", "spectra.pdf", "eigenvectors.png"),
        values={"net": {"widths": [4096, 4096, 4096]}, "compress": {"kernel": "both"}},
        tiny={"experiment": {"spikes": 1}},
    ),
    Experiment(
        settings=ConvergenceExperiment,
        shows="errors of the equivalents falling with n, and the floor of the authors' identity term",
        takes="about 1.5 minutes",
        native_only="",
        plain_only="",
        leaves=("errors.csv", "draws.csv", "means.csv", "floors.csv", "convergence.png"),
        values={"compress": {"kernel": "both"}},
        tiny={"experiment": {"halvings": 1, "draws": 2}},
    ),
    Experiment(
        settings=ArchitecturesExperiment,
        shows="errors of the equivalents of un-centred networks with biases, branches or normalisation, falling with p",
        takes="about 6 minutes",
        native_only="",
        plain_only="its networks are those of experiment.networks",
        leaves=("errors.csv", "draws.csv", "architectures.png"),
        values={"data": {"n": 3200, "p": 1600, "separation": 2.0, "spread": 2.0}},
        tiny={"data": {"n": 192, "p": 96}, "experiment": {"networks": ["relu_he"], "halvings": 1, "draws": 1}},
    ),
    Experiment(
        settings=LevelsExperiment,
        shows="identity shift and kernel error against the number of levels, for several activations, and the bound",
        takes="about 2.5 minutes",
        native_only="",
        plain_only="",
        leaves=("levels.csv", "levels.png"),
        values={"data": {"n": 400, "p": 200}},
        tiny={
            "data": {"n": 80, "p": 40},
            "experiment": {"originals": ["relu"], "levels": [2, 4], "depth": 1},
        },
    ),
    Experiment(
        settings=MillionExperiment,
        shows="accuracy, time and memory of regressions on up to a million samples: the equivalent NTK, the exact NTK",
        takes="about 7 minutes",
        native_only="",
        plain_only="",
        leaves=("regressions.csv", "agreement.csv", "operator.csv", "million.png"),
        values={"data": {"p": 800, "separation": 2.0, "spread": 2.0}},
        tiny={"experiment": {"sizes": [400, 2000], "exact_sizes": [200, 400], "n_test": 200}},
    ),
    Experiment(
        settings=ExactExperiment,
        shows="accuracy, time and memory of the exact kernels on all of a data set, and iterations by preconditioner",
        takes="about 10 minutes for each network and kernel on MNIST",
        native_only="kernels are computed block by block",
        plain_only="",
        leaves=("regressions.csv", "losses.csv", "iterations.csv", "iterations.png"),
        arguments="data=mnist data.folder=PATH",
        tiny={
            "experiment": {
                "sizes": [300],
                "compared": [200],
                "ridges": [0.01],
                "pivots": 40,
                "levels": [3],
                "kernels": ["ntk"],
            }
        },
    ),
    Experiment(
        settings=StoreExperiment,
        shows="exact kernels of a data set in files, beyond what memory holds; an interrupted run is continued",
        takes="29 GB and about 2 minutes for MNIST",
        native_only="files are written tile by tile",
        plain_only="",
        leaves=("eigenvalues.csv",),
        arguments="data=mnist data.folder=PATH experiment.folder=KERNELS",
        tiny={"experiment": {"tile": 128, "eigenvalues": 3}},
    ),
    Experiment(
        settings=SolverExperiment,
        shows="random matching problems: success and time, beside restarted least squares",
        takes="about half an hour",
        plain_only="its networks are drawn at random",
        leaves=("solver.csv", "problems.csv", "solver.png"),
        tiny={"experiment": {"problems": 5, "baseline_problems": 1, "restarts": [1, 2]}},
    ),
    Experiment(
        settings=WidthsExperiment,
        shows="accuracy and kernel error against width: independent and orthogonal weights, and infinite width",
        takes="about 15 minutes",
        native_only="",
        plain_only="the noise of finite widths is predicted for plain networks",
        leaves=("widths.csv", "widths.png"),
        arguments="data.folder=PATH",
        data="mnist",
        values={"data": {"n_train": 4000}, "compress": {"alpha2": False}},
        tiny={"experiment": {"widths": [64, 128], "levels": [2], "seeds": 2, "kernel_samples": 50}},
    ),
    Experiment(
        settings=MnistExperiment,
        shows="does the theory apply, and test accuracies on MNIST: dense, ternary weights, few-level activations",
        takes="about 17 minutes",
        native_only="",
        plain_only="",
        leaves=("assumptions.csv", "accuracy.csv", "draws.csv", "accuracy.png"),
        arguments="data.folder=PATH",
        data="mnist",
        values={"compress": {"alpha2": False}},
        tiny={"compress": {"samples": 100}, "experiment": {"levels": ["paper", 2], "objectives": ["theory", "data"]}},
    ),
)
