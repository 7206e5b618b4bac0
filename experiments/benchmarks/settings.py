"""The benchmarks: their settings, and what the command line tells of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from experiments.runner.config import ACTIVATIONS, one_of
from experiments.runner.experiment import Experiment
from experiments.shipping.settings import ShippedNetwork


@dataclass
class BenchExperiment:
    """Rounds of a benchmark."""

    rounds: int = 7  # all contenders run once in each
    seconds: float = 30.0  # a contender that takes longer runs three times at most
    written: int = 2**28  # bytes written to measure the machine's memory
    multiplied: int = 3072  # size of the matrices multiplied to measure its arithmetic
    bent: int = 2**18  # numbers taken through a layer of ReLU, alike
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
    regressions: list[int] = field(default_factory=lambda: [1000, 2000, 4000, 8000])  # training samples
    new: int = 1000  # samples to predict


@dataclass
class BenchEmpiricalExperiment(BenchExperiment):
    """Time and memory of the NTKs of drawn networks."""

    name: str = "bench_empirical"
    p: int = 100
    depth: int = 3
    samples: int = 256  # where width or depth varies
    width: int = 1024  # where samples or depth vary
    n: list[int] = field(default_factory=lambda: [64, 128, 256, 512])  # samples, beside neural-tangents
    widths: list[int] = field(default_factory=lambda: [256, 512, 1024, 2048])
    depths: list[int] = field(default_factory=lambda: [1, 2, 4])
    alone: list[int] = field(default_factory=lambda: [1024, 2048, 4096, 8192])  # samples for hntk alone
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
class BenchTransformExperiment(BenchExperiment):
    """Time and memory of products with orthogonal ternary matrices."""

    name: str = "bench_transform"
    widths: list[int] = field(default_factory=lambda: [512, 1024, 2048, 4096])  # of square matrices
    samples: list[int] = field(default_factory=lambda: [1024, 16, 1])  # multiplied at a time
    rounds: int = 9  # all contenders run once in each


@dataclass
class BenchRegressionExperiment(BenchExperiment):
    """Time, memory and accuracy of kernel ridge regressions with the exact NTK."""

    name: str = "bench_regression"
    sizes: list[int] = field(default_factory=lambda: [2000, 4000, 8000])  # training samples
    ridge: float = 1e-2  # λ, in units of the NTK's diagonal
    tolerance: float = 1e-4  # relative residual of conjugate gradients
    batches: list[int] = field(default_factory=lambda: [0, 500, 1000])  # of nt.batch; 0 is the whole kernel by jit
    ranks: list[int] = field(default_factory=lambda: [15, 100])  # of GPyTorch's preconditioner
    memory: int = 3 * 10**9  # bytes; contenders that take more are left out at a size
    n_test: int = 10_000  # new samples of a mixture; of a data set its test set
    rounds: int = 5  # all contenders run once in each


@dataclass
class BenchInferenceExperiment(ShippedNetwork):
    """Time and memory of predictions, dense and compressed, on one core."""

    name: str = "bench_inference"
    batches: list[int] = field(default_factory=lambda: [1, 256])
    rounds: int = 9  # all contenders run once in each
    seconds: float = 0.2  # approximate time of a measurement
    samples: int = 512  # that predictions cycle through
    compilers: list[str] = one_of(("gcc", "clang"), ["gcc", "clang"])  # of the C programs


# the machine's own limits, measured on less
_SMALL = {"rounds": 2, "starting": 2, "written": 2**22, "multiplied": 256, "bent": 2**10}
BOTH_ENGINES = "it times both engines beside each other"
EXPERIMENTS = (
    Experiment(
        settings=BenchKernelsExperiment,
        shows="time, memory and growth of exact kernels and regressions: hntk, neural-tangents, scikit-learn",
        takes="about 20 minutes",
        native_only=BOTH_ENGINES,
        leaves=(
            "n_ReLU_*.csv", "p_ReLU_*.csv", "depth_ReLU_*.csv", "n_erf_*.csv", "levels_*.csv", "n_regression_*.csv",
            "kernels.png", "regressions.png",
        ),
        tiny={
            "experiment": {
                **_SMALL, "n": [64], "p": 20, "depth": 1, "ps": [30], "depths": [2], "levels": [2],
                "activations": ["erf"], "batches": [], "regressions": [64], "new": 20,
            }
        },
    ),
    Experiment(
        settings=BenchEmpiricalExperiment,
        shows="time, memory and growth of drawn networks' NTKs: hntk and neural-tangents",
        takes="about 10 minutes",
        native_only=BOTH_ENGINES,
        leaves=("n_width_*.csv", "width_n_*.csv", "depth_n_*.csv", "empirical.png"),
        tiny={
            "experiment": {
                **_SMALL, "p": 20, "depth": 1, "samples": 16, "width": 32, "n": [16], "widths": [32], "depths": [2],
                "alone": [32], "alone_width": 48,
            }
        },
    ),
    Experiment(
        settings=BenchSolverExperiment,
        shows="time of matches against depth and levels: hntk and restarted least squares",
        takes="about 5 minutes",
        leaves=("depth_*.csv", "levels_*.csv", "solver_times.png"),
        tiny={"experiment": {**_SMALL, "depth": 1, "level": 2, "depths": [1], "levels": [2, 3], "restarts": 1}},
    ),
    Experiment(
        settings=BenchTransformExperiment,
        shows="time and memory of products with orthogonal ternary weights: by transform, and with the explicit matrix",
        takes="about 1.5 minutes",
        leaves=("width_*.csv", "transform.png"),
        tiny={"experiment": {**_SMALL, "widths": [32], "samples": [4]}},
    ),
    Experiment(
        settings=BenchRegressionExperiment,
        shows="time, memory and accuracy of exact kernel regression: hntk and five other ways of solving it",
        takes="12 minutes for 2,000 and 4,000 images of MNIST on busy cores",
        native_only=BOTH_ENGINES,
        plain_only="",
        leaves=("n_*.csv", "peers.png"),
        arguments="data=mnist data.folder=PATH",
        tiny={
            "experiment": {**_SMALL, "sizes": [64], "batches": [0], "ranks": [5], "n_test": 30, "memory": 300_000},
        },
    ),
    Experiment(
        settings=BenchInferenceExperiment,
        shows="time, memory and bytes of predictions on one core: onnxruntime and JAX against packed JAX and C99",
        takes="about 2 minutes",
        leaves=("batch*.csv", "memory.csv", "inference.png"),
        arguments="data=mnist data.folder=PATH",
        data="mnist",
        values={"data": {"n_train": 10_000}, "compress": {"alpha2": False}},
        tiny={
            "compress": {"objective": "theory"},
            "experiment": {"batches": [1, 16], "rounds": 2, "seconds": 0.01, "samples": 50, "compilers": ["gcc"]},
        },
    ),
)  # fmt: skip
