"""Typed configuration: a typo or a wrong type fails before anything runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from experiments.runner.choices import (
    ACTIVATIONS,
    CASES,
    COEFFICIENTS,
    IDENTITIES,
    KERNELS,
    LAWS,
    METHODS,
    OBJECTIVES,
    PRECISIONS,
    QUANTITIES,
    READOUTS,
    SCALINGS,
    one_of,
)


@dataclass
class DataConfig:
    """Either a Gaussian mixture (kind ``mixture``) or a data set on disk (kind ``dataset``)."""

    name: str = MISSING
    kind: str = one_of(("mixture", "dataset"), MISSING)
    n: int = 1600  # samples of the mixture
    p: int = 800  # its dimension
    separation: float = 3.0  # class means are separation * e_a
    spread: float = 3.0  # class covariances are (1 + spread * a / sqrt(p)) I
    folder: str | None = None  # where data sets are; the environment variable HNTK_DATA by default
    classes: list[int] | None = None  # labels to keep; all by default
    normalize: str = one_of(SCALINGS, "scale")
    n_train: int | None = None  # training samples; all by default
    n_test: int | None = None


@dataclass
class NetConfig:
    """The original network."""

    # names, or mappings with a name and parameters: {name: leaky_relu, slope: 0.1}
    activations: list[Any] = one_of(ACTIVATIONS, MISSING)
    widths: list[int] = MISSING
    weights: str = one_of(LAWS, "gaussian")


@dataclass
class ArmConfig:
    """One way to spend memory on a classifier."""

    name: str = MISSING
    label: str = MISSING  # in tables and figures
    # random hidden layers, of which the readout alone is trained; or trained ones
    family: str = one_of(("random", "trained"), "random")
    law: str = one_of(LAWS, "gaussian")  # of random weights
    # the original's; a number of levels; "paper"; or a name for all layers
    activations: Any = one_of(("original", "paper", *ACTIVATIONS), "original")
    # of the family trained
    training: str | None = one_of(("dense", "pruned", "finetuned", "ternary"), None)
    sparse: bool = False  # whether compress.sparsity applies


@dataclass
class CompressConfig:
    """The network that replaces it."""

    # a number (4 by default), a list with one per layer, or "paper"
    levels: Any = one_of(("paper",), None)
    sparsity: float = 0.5  # share of zero weights
    bits: int | None = None  # in place of levels: a budget to spread over the layers
    method: str | None = one_of(METHODS, None)  # null: joint, and layerwise for the paper's σ_T
    kernel: str = one_of(COEFFICIENTS, "alpha")  # alpha of the conjugate kernel, beta of the NTK, or both
    objective: str = one_of(OBJECTIVES, "theory")  # data: thresholds and levels follow the samples from theory's on
    alpha2: bool = True  # false leaves α_2 out, which is immaterial where norms concentrate


@dataclass
class WandbConfig:
    """Weights & Biases: a mirror of what lies on disk."""

    mode: str = one_of(("offline", "online", "disabled"), "offline")
    project: str = "hntk"
    entity: str | None = None
    group: str | None = None  # the experiment's name by default
    tags: list[str] = field(default_factory=list)


@dataclass
class GmmExperiment:
    """Spectra on a mixture."""

    name: str = "gmm"
    quantities: str = one_of(QUANTITIES, "population")  # the mixture's own, or estimated from x and labels alone
    identity: str = one_of(IDENTITIES, "default")  # "paper" for the authors' identity coefficient
    spikes: int = 2  # leading eigenpairs to compare
    finite_width: bool = True  # draw networks too


@dataclass
class ConvergenceExperiment:
    """Errors against n at fixed p/n."""

    name: str = "convergence"
    quantities: str = one_of(QUANTITIES, "population")
    halvings: int = 3  # n = data.n, data.n / 2, ... so many times
    draws: int = 3  # of the data, at each n


@dataclass
class MnistExperiment:
    """Test accuracies of one architecture, dense and compressed."""

    name: str = "mnist"
    levels: list[Any] = one_of(("paper",), ["paper", 2, 3, 4, 5, 8])
    objectives: list[str] = one_of(OBJECTIVES, ["theory", "data"])  # σ_T has theory's only
    draws: int = 1  # of every network


@dataclass
class MemoryExperiment:
    """Test accuracy of one arm within a budget of bytes; a sweep over arms and budgets gives the figure."""

    name: str = "memory"
    budget: float = 500e3  # bytes the file may take
    width: int | None = None  # of the widest layer, in place of what the budget allows
    max_width: int = 3000  # of random layers, by what can be computed
    max_sparse_width: int = 6500  # of those so sparse that zeros are skipped
    max_trained_width: int = 400  # of trained layers, which saturate early
    epochs: int = 30  # at most, of trained networks; readouts take twice as many
    kernel_samples: int = 1000  # test samples on which kernels are compared
    keep: bool = False  # keep the file


@dataclass
class ShippedNetwork:
    """How a classifier is made that is to be shipped."""

    readout: str = one_of(READOUTS, "ridge")
    epochs: int = 60  # at most, of the softmax readout
    level_bits: int = 12  # of a level
    readout_bits: int = 16  # of a readout weight


@dataclass
class ShipExperiment(ShippedNetwork):
    """A compressed classifier in every form it can be shipped in, each run on the test set."""

    name: str = "ship"
    flash: float | None = None  # bytes there are on a microcontroller; what does not fit is an error
    ram: float | None = None  # the same
    emulated: int = 100  # test samples on an emulated Cortex-M4


@dataclass
class BenchInferenceExperiment(ShippedNetwork):
    """Time and memory of predictions, dense and compressed, on one core."""

    name: str = "bench_inference"
    batches: list[int] = field(default_factory=lambda: [1, 256])
    rounds: int = 9  # in which all are measured once
    seconds: float = 0.2  # of a measurement, about
    samples: int = 512  # that predictions cycle through


@dataclass
class MillionExperiment:
    """Kernel regression with the equivalent kernel on more samples than an (n, n) matrix allows."""

    name: str = "million"
    kernel: str = one_of(KERNELS, "ntk")
    sizes: list[int] = field(default_factory=lambda: [100_000, 200_000, 500_000, 1_000_000])  # training samples
    exact_sizes: list[int] = field(default_factory=lambda: [1000, 2000, 4000, 8000])  # for the exact kernel too
    n_test: int = 10_000  # new samples of a mixture


@dataclass
class StoreExperiment:
    """Exact kernels in files."""

    name: str = "store"
    folder: str | None = None  # the run's own by default; the same again continues what was interrupted
    precision: str = one_of(PRECISIONS, "float32")  # in which they are kept
    tile: int = 1024  # samples on the side of a tile
    eigenvalues: int = 10  # leading ones to look at


@dataclass
class BenchExperiment:
    """Rounds of a benchmark."""

    rounds: int = 7  # in which all contenders run once
    seconds: float = 30.0  # after which a contender gets no more than three
    copied: int = 2**28  # bytes, by which the machine's memory is measured
    multiplied: int = 3072  # size of the matrices by whose products its arithmetic is
    starting: int = 1  # contenders made ready at a time; several need more memory


@dataclass
class BenchKernelsExperiment(BenchExperiment):
    """Time and memory of exact kernels and of regressions with them."""

    name: str = "bench_kernels"
    n: list[int] = field(default_factory=lambda: [1024, 2048, 4096, 8192])
    p: int = 100
    depth: int = 3
    ps: list[int] = field(default_factory=lambda: [50, 200, 800, 3200])
    depths: list[int] = field(default_factory=lambda: [1, 2, 4, 8])
    levels: list[int] = field(default_factory=lambda: [2, 4, 8, 16])
    activations: list[str] = one_of(("erf", "tanh"), ["erf", "tanh"])  # beside ReLU
    batches: list[int] = field(default_factory=lambda: [256, 512, 1024, 2048])  # of nt.batch
    regressions: list[int] = field(default_factory=lambda: [1000, 2000, 4000, 8000])  # samples
    new: int = 1000  # samples to predict


@dataclass
class BenchEmpiricalExperiment(BenchExperiment):
    """Time and memory of the NTKs of drawn networks."""

    name: str = "bench_empirical"
    p: int = 100
    depth: int = 3
    samples: int = 256  # where these stay the same
    width: int = 1024
    n: list[int] = field(default_factory=lambda: [64, 128, 256, 512])  # beside neural-tangents
    widths: list[int] = field(default_factory=lambda: [256, 512, 1024, 2048])
    depths: list[int] = field(default_factory=lambda: [1, 2, 4])
    alone: list[int] = field(default_factory=lambda: [1024, 2048, 4096, 8192])  # samples, hntk alone
    alone_width: int = 4096


@dataclass
class BenchSolverExperiment(BenchExperiment):
    """Time of matches."""

    name: str = "bench_solver"
    activation: str = one_of(ACTIVATIONS, "relu")
    depth: int = 3
    level: int = 4
    depths: list[int] = field(default_factory=lambda: [1, 2, 3, 4, 6])
    levels: list[int] = field(default_factory=lambda: [2, 3, 4, 6, 8])
    restarts: int = 10  # of least squares


@dataclass
class FetchExperiment:
    """A data set, from the internet to the data folder."""

    name: str = "fetch"
    overwrite: bool = False  # replace files that are there but wrong
    url: str | None = None  # address of a folder with the files, in place of the known mirrors
    timeout: float = 30.0  # seconds without an answer
    retries: int = 2  # of every file, at every mirror


@dataclass
class SolverExperiment:
    """Success and time of the matching solver on random problems."""

    name: str = "solver"
    problems: int = 250  # four in five feasible, one impossible
    baseline_problems: int = 20  # feasible ones that restarted least squares gets too
    restarts: list[int] = field(default_factory=lambda: [10, 100, 1000])


@dataclass
class LevelsExperiment:
    """Identity shift and kernel error against the number of levels."""

    name: str = "levels"
    quantities: str = one_of(QUANTITIES, "population")
    originals: list[Any] = one_of(ACTIVATIONS, ["relu", "gelu", "softplus", "tanh", "sin", "abs"])
    levels: list[int] = field(default_factory=lambda: [2, 3, 4, 5, 6, 8])
    depth: int = 3


@dataclass
class TheoryExperiment:
    """Limits of theory beside simulations."""

    seeds: int = 20  # draws of the data, at every point


@dataclass
class FollowedExperiment(TheoryExperiment):
    """The same, with errors against p."""

    sizes: list[int] = field(default_factory=lambda: [100, 200, 400, 800, 1600])  # p
    large_seeds: int = 5  # draws above data.p, where they are dear


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
    halvings: int = 7  # more of them towards the transition


@dataclass
class LearningCurveExperiment(TheoryExperiment):
    """Errors of ridge regression against n/p and against the ridge."""

    name: str = "learning_curve"
    kernel: str = one_of(KERNELS, "ck")  # the NTK is the one whose compressed diagonal is declared
    finite_size: bool = True  # theory of the exact kernel at its size, or of the equivalent kernel's limit
    ratios: list[float] = field(default_factory=lambda: [0.25, 0.5, 1.0, 2.0])  # n/p
    ridges: list[float] = field(default_factory=lambda: [0.1, 0.3, 1.0, 3.0, 10.0, 100.0])  # by the kernel's diagonal
    shown_ridge: float = 0.3  # one of them, at which errors are drawn against n/p
    n_test: int = 4000  # new samples of a mixture; a data set has its own
    ridge_points: int = 41  # of a line of theory against the ridge
    ratio_points: int = 31  # and against n/p


@dataclass
class DynamicsExperiment(TheoryExperiment):
    """Errors of gradient flow against time."""

    name: str = "dynamics"
    finite_size: bool = True  # as above
    ratios: list[float] = field(default_factory=lambda: [0.5, 2.0])  # n/p
    # by one over the kernel's diagonal
    times: list[float] = field(default_factory=lambda: [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0])
    n_test: int = 4000  # new samples of a mixture; a data set has its own
    curve: int = 61  # points of a line of theory


EXPERIMENTS = (
    GmmExperiment,
    ConvergenceExperiment,
    MillionExperiment,
    StoreExperiment,
    BenchKernelsExperiment,
    BenchEmpiricalExperiment,
    BenchSolverExperiment,
    FetchExperiment,
    ShipExperiment,
    BenchInferenceExperiment,
    MnistExperiment,
    MemoryExperiment,
    SolverExperiment,
    LevelsExperiment,
    SpectrumTheoryExperiment,
    SpikesExperiment,
    LearningCurveExperiment,
    DynamicsExperiment,
)


@dataclass
class SweepConfig:
    """How the jobs of ``-m`` are kept."""

    store: str = "outputs/jobs"  # finished jobs, by the hash of their configuration
    retry: bool = False  # run jobs that failed once more
    older_code: bool = False  # take finished results of the same settings and data that other code made


@dataclass
class Config:
    """A whole run."""

    data: DataConfig = MISSING
    net: NetConfig = MISSING
    compress: CompressConfig = MISSING
    arm: ArmConfig | None = None
    wandb: WandbConfig = MISSING
    sweep: SweepConfig = field(default_factory=SweepConfig)
    experiment: Any = MISSING
    seed: int = 0


def register() -> None:
    """Make the types known to Hydra."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for group, node in (
        ("data", DataConfig),
        ("net", NetConfig),
        ("compress", CompressConfig),
        ("arm", ArmConfig),
        ("wandb", WandbConfig),
    ):
        store.store(group=group, name="schema", node=node)
    for experiment in EXPERIMENTS:
        store.store(group="experiment", name=experiment.name, node=experiment)
