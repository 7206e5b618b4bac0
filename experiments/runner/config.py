"""The settings that all experiments share, typed, so that a typo or a wrong type fails before anything runs.

The settings of one experiment (``experiment.NAME``) are declared in its study's ``settings`` module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

# keys in a field's metadata: the closed set of its values; that its values are numbers
CHOICES, NUMBERS = "choices", "numbers"
# Closed sets. The library's own are repeated here, as a wrong setting is refused before the library is imported; a test
# compares both.
KERNELS = ("ck", "ntk")
COEFFICIENTS = ("alpha", "beta", "both")
METHODS = ("joint", "layerwise")
OBJECTIVES = ("theory", "data")
ENGINES = ("native", "neural_tangents")
NORMALIZATIONS = ("rms", "layer")
QUANTITIES = ("population", "estimated")
IDENTITIES = ("default", "paper")
SCALINGS = ("scale", "unit_norm", "whiten")
PRECISIONS = ("float32", "float64")
READOUTS = ("ridge", "softmax")
READ_LAYERS = ("last", "all")
WEIGHTS = ("orthogonal", "iid")
LAWS = (
    "gaussian", "ternary", "student_t", "bernoulli", "int8_gaussian", "sparse_gaussian", "pruned_gaussian",
    "orthogonal", "orthogonal_gaussian",
)  # fmt: skip
ACTIVATIONS = (
    "abs", "cos", "erf", "gaussian", "gelu", "leaky_relu", "linear", "polynomial", "quadratic", "relu", "sigmoid",
    "sign", "silu", "sin", "softplus", "staircase", "step", "tanh",
)  # fmt: skip


def one_of(choices: Sequence[str], default: Any) -> Any:
    """Declare a setting whose text, or the texts of whose list, must be among the choices; other values pass."""
    metadata = {CHOICES: tuple(choices)}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def numbers(default: float) -> Any:
    """Declare a setting that is a number, or a list of numbers."""
    return field(default=default, metadata={NUMBERS: True})


@dataclass
class DataConfig:
    """Either a Gaussian mixture (kind ``mixture``) or a data set on disk (kind ``dataset``)."""

    name: str = MISSING
    kind: str = one_of(("mixture", "dataset"), MISSING)
    n: int = 1600  # samples of the mixture
    p: int = 800  # dimension of the mixture
    separation: float = 3.0  # class means are separation * e_a
    spread: float = 3.0  # class covariances are (1 + spread * a / sqrt(p)) I
    folder: str | None = None  # where data sets lie; the environment variable HNTK_DATA by default
    classes: list[int] | None = None  # labels to keep; all by default
    normalize: str = one_of(SCALINGS, "scale")
    n_train: int | None = None  # training samples; all by default
    n_test: int | None = None  # test samples; all by default


@dataclass
class NetConfig:
    """The original network; where a scale may be a list, it has one number per layer."""

    # names, or mappings with a name and parameters: {name: leaky_relu, slope: 0.1}
    activations: list[Any] = one_of(ACTIVATIONS, MISSING)
    widths: list[int] = MISSING
    weights: str = one_of(LAWS, "gaussian")
    # what makes a network other than plain: PLAIN_NET has the values of a plain one
    weight_std: Any = numbers(1.0)  # σ_w: a number or a list
    bias_std: Any = numbers(0.0)  # σ_b: a number or a list; 0 for no biases
    centred: bool = True  # whether activations have their Gaussian means subtracted
    residual: Any = numbers(0.0)  # factor of the residual branches: a number or a list
    normalize: str | None = one_of(NORMALIZATIONS, None)


# the networks of the paper, which every experiment takes
PLAIN_NET = {"weight_std": 1.0, "bias_std": 0.0, "centred": True, "residual": 0.0, "normalize": None}


@dataclass
class KernelsConfig:
    """How exact and empirical kernels are computed."""

    engine: str = one_of(ENGINES, "native")


@dataclass
class ArmConfig:
    """One way to spend memory on a classifier."""

    name: str = MISSING
    label: str = MISSING  # in tables and figures
    # random: hidden layers are drawn, and the readout alone is trained; trained: all layers are
    family: str = one_of(("random", "trained"), "random")
    law: str = one_of(LAWS, "gaussian")  # of random weights
    # the original's; a number of levels; "paper"; or a name for all layers
    activations: Any = one_of(("original", "paper", *ACTIVATIONS), "original")
    layers: str = one_of(READ_LAYERS, "last")  # whose features the readout of random layers takes
    proportions: list[int] | None = None  # of widths; the original network's by default
    training: str | None = one_of(("dense", "pruned", "finetuned", "ternary"), None)  # of the family trained
    sparse: bool = False  # whether compress.sparsity applies


@dataclass
class CompressConfig:
    """The compressed network."""

    levels: Any = one_of(("paper",), None)  # a number (4 by default), a list with one per layer, or "paper"
    sparsity: float = 0.5  # share of zero weights
    bits: int | None = None  # in place of levels: a budget to distribute over the layers
    method: str | None = one_of(METHODS, None)  # null: joint, but layerwise for the paper's σ_T
    kernel: str = one_of(COEFFICIENTS, "alpha")  # alpha of the conjugate kernel, beta of the NTK, or both
    objective: str = one_of(OBJECTIVES, "theory")  # data: start from theory's match, then fit it to the samples
    labels: bool = True  # the data objective predicts the labels; false: what the original's kernel can learn
    samples: int = 1200  # most samples of the data objective
    # in orthogonal blocks, or independent; by default orthogonal where the sparsity is 1 - 1/2^k
    weights: str | None = one_of(WEIGHTS, None)
    alpha2: bool = True  # false leaves α_2 out, which is immaterial where norms concentrate


@dataclass
class WandbConfig:
    """Weights & Biases: a mirror of what lies on disk."""

    mode: str = one_of(("offline", "online", "disabled"), "offline")
    project: str = "hntk"
    entity: str | None = None
    group: str | None = None  # EXPERIMENT-DATA by default
    tags: list[str] = field(default_factory=list)


@dataclass
class SweepConfig:
    """How the jobs of a sweep are kept."""

    store: str = "outputs/jobs"  # finished jobs, by the hash of their configuration
    retry: bool = False  # run jobs that failed once more
    older_code: bool = False  # accept finished results of the same settings and data that other code made


@dataclass
class Config:
    """The configuration of a run."""

    data: DataConfig = MISSING
    net: NetConfig = MISSING
    kernels: KernelsConfig = field(default_factory=KernelsConfig)
    compress: CompressConfig = MISSING
    arm: ArmConfig | None = None
    wandb: WandbConfig = MISSING
    sweep: SweepConfig = field(default_factory=SweepConfig)
    experiment: Any = MISSING
    seed: int = 0
