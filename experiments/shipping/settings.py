"""The experiments on shipped networks: their settings, and what the command line tells of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from experiments.runner.config import READ_LAYERS, READOUTS, one_of
from experiments.runner.experiment import Experiment

# Microcontrollers that QEMU emulates, repeated here as settings import nothing heavy; a test compares both.
DEVICES = ("cortex-m4", "cortex-m0plus")
# How hntk's C programs hold weights, of all those that hntk.deploy.to_c knows.
C_LAYOUTS = ("smallest", "fastest", "planes", "gaps", "indices", "indices16", "rice", "base3")


@dataclass
class ShippedNetwork:
    """How a classifier that is to be shipped is made."""

    readout: str = one_of(READOUTS, "ridge")
    layers: str = one_of(READ_LAYERS, "last")  # whose features the readout takes
    epochs: int = 60  # at most, of the softmax readout
    level_bits: int | None = None  # of a level; by default as many as hntk.to_integers takes
    readout_bits: int = 16  # of a readout weight


@dataclass
class ShipExperiment(ShippedNetwork):
    """A compressed classifier in every form it can be shipped in, each run on the test set."""

    name: str = "ship"
    flash: float | None = None  # bytes of flash of the microcontroller; a program that does not fit is an error
    ram: float | None = None  # bytes of RAM of the microcontroller; likewise
    device: str = one_of(DEVICES, "cortex-m4")  # the microcontroller, emulated by QEMU
    emulated: int = 100  # test samples on it


@dataclass
class DevicesExperiment:
    """A trained classifier on microcontrollers, beside int8 networks."""

    name: str = "devices"
    file: str | None = None  # a classifier that hntk.train returned, saved; by default one is trained here
    devices: list[str] = one_of(DEVICES, list(DEVICES))
    layouts: list[str] = one_of(C_LAYOUTS, ["smallest", "fastest"])  # of hntk's weights
    # hidden widths of the int8 networks
    baselines: list[list[int]] = field(default_factory=lambda: [[32, 32], [48, 48], [64, 64], [64, 64, 64], [96, 64]])
    pool: list[int] | None = field(default_factory=lambda: [16, 16])  # height and width of what networks read
    epochs: int = 60  # of every training
    augmented: bool = True  # whether images are deformed in training
    emulated: int | None = None  # test images on each device; all by default
    # the classifier that is trained here
    widths: list[int] = field(default_factory=lambda: [256, 128])
    sparsity: list[float] = field(default_factory=lambda: [0.86, 0.79])
    levels: int = 8


def _microcontroller(
    name: str, shows: str, takes: str, widths: tuple[int, int], *, flash: int, ram: int
) -> Experiment:  # fmt: skip
    """Return the experiment for a microcontroller of so many kB of flash and RAM."""
    memory = {"flash": flash * 1024, "ram": ram * 1024}
    return Experiment(
        name=name,
        settings=ShipExperiment,
        shows=shows,
        takes=takes,
        leaves=("forms.csv",),
        arguments="data=mnist data.folder=PATH",
        data="mnist",
        values={
            "net": {"activations": ["relu"] * 2, "widths": list(widths)},
            "compress": {"levels": 16, "alpha2": False},
            "experiment": {"layers": "all", "readout_bits": 8, **memory, "emulated": 200},
        },
        tiny={"net": {"widths": [64, 64]}, "experiment": {"emulated": 20}},
    )


EXPERIMENTS = (
    Experiment(
        settings=ShipExperiment,
        shows="packed files, ONNX, C99 and a microcontroller's program: bytes, accuracy, and that all predict the same",
        takes="about 2 minutes",
        leaves=("forms.csv",),
        arguments="data=mnist data.folder=PATH",
        data="mnist",
        values={"compress": {"alpha2": False, "objective": "data"}},
        tiny={"compress": {"objective": "theory"}, "experiment": {"emulated": 20}},
    ),
    _microcontroller(
        "microcontroller",
        "the same for 256 kB of flash and 64 kB of RAM: wide layers, and a readout of all of them in 8 bits",
        "about 15 minutes",
        (4096, 8192),
        flash=256,
        ram=64,
    ),
    _microcontroller(
        "small_microcontroller",
        "the same for 64 kB of flash and 16 kB of RAM",
        "about 3 minutes",
        (2048, 3300),
        flash=64,
        ram=16,
    ),
    Experiment(
        settings=DevicesExperiment,
        shows="a trained classifier on a Cortex-M4 and a Cortex-M0+ beside int8 networks: flash, RAM, instructions",
        takes="about 20 minutes",
        leaves=("devices.csv",),
        arguments="data=mnist data.folder=PATH experiment.file=FILE",
        data="mnist",
        tiny={
            "experiment": {
                "widths": [16, 16], "baselines": [[8, 8]], "pool": [4, 4], "epochs": 3, "augmented": False,
                "emulated": 20, "sparsity": [0.5, 0.5], "levels": 4,
            },
        },
    ),
)  # fmt: skip
