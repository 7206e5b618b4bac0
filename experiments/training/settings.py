"""The experiments on trained networks of few levels: settings, recipes, and what the command line tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments.runner.config import one_of
from experiments.runner.experiment import Experiment

STARTS = ("match", "dense", "uniform")
TEACHERS = ("none", "kernel", "dense")
READOUTS = ("ridge", "softmax")
# Settings of `hntk.Augmentation` by name. Coordinates of features are whole numbers from -127 to 127.
AUGMENTATIONS: Mapping[str, Mapping[str, float]] = {
    "none": {},
    "digits": {"rotation": 10, "scale": 0.1, "shear": 0.1, "shift": 1.5, "elastic": 0.5, "elastic_sigma": 4},
    "clothing": {"flip": 0.5, "shift": 1, "scale": 0.05},
    "features": {"noise": 3.0, "dropout": 0.2},
}
# What the strength of an augmentation does not multiply.
FIXED = ("elastic_sigma", "flip")


@dataclass(frozen=True)
class Family:
    """What spends the flash of a point of the frontier: drawn or trained hidden layers, with so many levels."""

    trained: bool
    levels: int


ARMS = {"random8": Family(False, 8), "trained4": Family(True, 4), "trained8": Family(True, 8)}


@dataclass(frozen=True)
class Recipe:
    """A network whose tables take about so many kilobytes, with thresholds that are spaced equally."""

    kilobytes: float
    widths: tuple[int, ...]
    sparsity: tuple[float, ...]  # share of zeros of each layer
    pool: tuple[int, int] | None = None  # the image's own height and width for none
    epochs: int | None = None  # the data set's for none


@dataclass(frozen=True)
class DataRecipe:
    """How networks are trained on one data set, unless the command line says otherwise.

    The augmentation is one of ``AUGMENTATIONS``. Networks are those of budgets that were tried; budgets between them
    are left to the library's own sizing.
    """

    augment: str = "none"
    epochs: int = 300
    batch: int = 256
    learning_rate: float = 3e-3
    weight_decay: float = 0.0
    warmup: float = 2.0
    patience: int | None = None  # none: all epochs
    networks: tuple[Recipe, ...] = ()


# Networks of images of 28 x 28 pixels. Widths and pooling were chosen by validation accuracy at 6, 12 and 49 kB; zeros
# are such that trained weights, which take some 5 % more bytes than random ones, fill the budgets.
OF_IMAGES = (
    Recipe(2, (64, 32), (0.891, 0.783), (14, 14)),
    Recipe(4, (128, 48), (0.951, 0.855), (20, 20)),
    Recipe(6, (192, 64), (0.949, 0.9), (20, 20)),
    Recipe(8, (256, 64), (0.95, 0.852), (20, 20)),
    Recipe(12.3, (384, 128), (0.964, 0.894), (20, 20)),
    Recipe(25, (448, 160), (0.95, 0.9), (28, 28)),
    Recipe(49, (512, 256), (0.909, 0.818), (28, 28)),
    # on MNIST these have the accuracy of 49 kB after a fifth of its epochs, and each epoch takes several times as long
    Recipe(100, (768, 384), (0.883, 0.767), (28, 28), epochs=60),
    Recipe(250, (1024, 512), (0.665, 0.498), (28, 28), epochs=60),
)
RECIPES: Mapping[str, DataRecipe] = {
    "mnist": DataRecipe(augment="digits", networks=OF_IMAGES),
    "fashion_mnist": DataRecipe(augment="clothing", epochs=150, learning_rate=1.5e-3, networks=OF_IMAGES),
    "cifar10_features": DataRecipe(
        augment="features", epochs=60, batch=128, learning_rate=2e-3, weight_decay=1e-2, patience=20
    ),
}
# A recipe serves budgets from its size up to this multiple of it.
STRETCH = 1.1
OTHERS = DataRecipe(epochs=60, batch=128, learning_rate=2e-3, patience=20)


@dataclass
class TrainingSettings:
    """How networks are trained; null takes the recipe of the data set, in this file."""

    kilobytes: float | None = None  # that the tables of the C program may take, of 1000 bytes
    widths: list[int] | None = None
    # a number, or one a layer
    levels: Any = None
    # share of zeros: a number, or one a layer
    sparsity: Any = None
    pool: list[int] | None = None  # height and width that images are pooled to; [0,0] for none
    thresholds: str | None = None  # of a neuron: each or spaced; null takes spaced for a budget, where levels allow it
    start: str = one_of(STARTS, "uniform")
    teacher: str = one_of(TEACHERS, "none")
    augment: str = one_of(("auto", *AUGMENTATIONS), "auto")
    strength: float = 1.0  # what the augmentation is multiplied by
    epochs: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    warmup: float | None = None  # epochs over which the learning rate rises
    patience: int | None = None  # epochs without a better validation accuracy after which a training stops
    validation: float = 0.1  # share of every class that choices are made on
    teacher_widths: list[int] = field(default_factory=lambda: [1024, 512])  # of a dense teacher
    teacher_epochs: int = 30  # at most, of a dense teacher


@dataclass
class FrontierKilobytesExperiment(TrainingSettings):
    """Accuracy of one way to spend a budget of flash, for all seeds together."""

    name: str = "frontier_kilobytes"
    kilobytes: float | None = 12.3
    arm: str = one_of(tuple(ARMS), "trained8")
    seeds: int = 5  # from cfg.seed on
    max_width: int = 8192  # neurons of all random layers together, to bound the memory for their features
    readouts: list[str] = one_of(READOUTS, list(READOUTS))  # of random layers, the one that validates best is kept
    readout_epochs: int = 30  # at most, of the random arm's softmax readout


@dataclass
class StartsExperiment(TrainingSettings):
    """Accuracy in the course of a training from one start, for all seeds together."""

    name: str = "starts"
    # the same network from every start, of 12 kB for MNIST; a search for one within kilobytes would follow the start
    widths: list[int] | None = field(default_factory=lambda: [384, 128])
    sparsity: Any = field(default_factory=lambda: [0.977, 0.93])
    levels: Any = 4
    thresholds: str | None = "each"  # a match's levels are not equidistant
    epochs: int | None = 60
    seeds: int = 5
    at: list[int] = field(default_factory=lambda: [1, 5, 20, 60])  # epochs whose test accuracies are listed


@dataclass
class TrainExperiment(TrainingSettings):
    """One network, trained and shipped."""

    name: str = "train"
    emulated: int = 100  # test samples on an emulated Cortex-M4
    layouts: str = one_of(("smallest", "fastest"), "smallest")  # of the C program's tables


# Networks that train in seconds on the stand-in's images.
TINY = {
    "widths": [24, 16], "sparsity": 0.6, "epochs": 3, "batch": 32, "learning_rate": 5e-3, "warmup": 0.5,
    "augment": "none", "kilobytes": None,
}  # fmt: skip

EXPERIMENTS = (
    Experiment(
        settings=FrontierKilobytesExperiment,
        shows="test accuracy against kilobytes of flash: drawn and trained layers, and what others report",
        takes="hours on a GPU with all its epochs, and can be stopped and continued",
        plain_only="its drawn layers are plain networks",
        leaves=("jobs.csv", "frontier.csv", "seeds.csv", "accuracy_kilobytes.png"),
        arguments="data=mnist data.folder=PATH",
        data="mnist",
        groups={"/training": "recipe", "/sweep": "frontier_kilobytes"},
        values={"net": {"activations": ["relu"] * 2, "widths": [2, 3]}, "compress": {"alpha2": False}},
        tiny={
            # the common tiny settings have three widths
            "net": {"widths": [2, 3]},
            "experiment": {**TINY, "seeds": 2, "max_width": 120, "readout_epochs": 3},
            "hydra": {
                "sweeper": {"params": {"experiment.arm": "random8,trained4", "experiment.kilobytes": 2}},
            },
        },
    ),
    Experiment(
        settings=StartsExperiment,
        shows="where training should start: match, dense network or uniform levels, at equal epochs and sizes",
        takes="about an hour for five seeds of each on a GPU, and can be stopped and continued",
        leaves=("jobs.csv", "starts.csv", "differences.csv", "accuracy_epochs.png"),
        arguments="data=mnist data.folder=PATH",
        data="mnist",
        groups={"/sweep": "starts"},
        tiny={
            "experiment": {**TINY, "seeds": 2, "at": [1, 2]},
            "hydra": {"sweeper": {"params": {"experiment.start": "match,uniform", "experiment.teacher": "none"}}},
        },
    ),
    Experiment(
        settings=TrainExperiment,
        shows="one network of few levels, trained for a number of kilobytes: packed file, C99, ONNX, instructions",
        takes="about an hour with all epochs of MNIST's recipe; less with training=quick",
        leaves=("net.safetensors", "c/hntk_net.c", "training.csv"),
        arguments="data=mnist data.folder=PATH experiment.kilobytes=12.3",
        data="mnist",
        groups={"/training": "recipe"},
        tiny={"experiment": {**TINY, "emulated": 10}},
    ),
)  # fmt: skip
