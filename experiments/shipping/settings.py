"""The experiments on shipped networks: their settings, and what the command line tells of them."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.runner.config import READOUTS, one_of
from experiments.runner.experiment import Experiment


@dataclass
class ShippedNetwork:
    """How a classifier that is to be shipped is made."""

    readout: str = one_of(READOUTS, "ridge")
    epochs: int = 60  # at most, of the softmax readout
    level_bits: int = 12  # of a level
    readout_bits: int = 16  # of a readout weight


@dataclass
class ShipExperiment(ShippedNetwork):
    """A compressed classifier in every form it can be shipped in, each run on the test set."""

    name: str = "ship"
    flash: float | None = None  # bytes of flash of the microcontroller; a program that does not fit is an error
    ram: float | None = None  # bytes of RAM of the microcontroller; likewise
    emulated: int = 100  # test samples on an emulated Cortex-M4


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
    Experiment(
        name="microcontroller",
        settings=ShipExperiment,
        shows="the same for 256 kB of flash and 64 kB of RAM: wide, nearly empty layers, levels and readout of 8 bits",
        takes="about 3 minutes",
        leaves=("forms.csv",),
        arguments="data=mnist data.folder=PATH",
        data="mnist",
        values={
            "net": {"widths": [4800, 2400, 4800]},
            "compress": {"levels": 16, "sparsity": 0.9955, "alpha2": False, "objective": "data"},
            "experiment": {
                "readout": "softmax", "level_bits": 8, "readout_bits": 8, "flash": 256 * 1024, "ram": 64 * 1024,
            },
        },
        tiny={
            "compress": {"sparsity": 0.8, "objective": "theory"},
            "experiment": {"epochs": 3, "emulated": 20},
        },
    ),
)  # fmt: skip
