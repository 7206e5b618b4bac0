"""The experiments on shipped networks: their settings, and what the command line tells of them."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.runner.config import READ_LAYERS, READOUTS, one_of
from experiments.runner.experiment import Experiment

# Microcontrollers that QEMU emulates, repeated here as settings import nothing heavy; a test compares both.
DEVICES = ("cortex-m4", "cortex-m0plus")


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
)  # fmt: skip
