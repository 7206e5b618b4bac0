"""What a model card says of a network, in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from hntk import __version__
from hntk.networks.integer_inputs import Pixels, PooledPixels
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_readout import IntegerReadout
from hntk.networks.saveable import Saveable, SaveableNetwork
from hntk.networks.saving import FORMS
from hntk.networks.summary_table import LayerSummary, Summary


def kind_of(saved: Saveable) -> str:
    """Return the name of the class that is loaded from the file."""
    known = [made for network, readouts in FORMS.values() for made in (*readouts.values(), network)]
    return next(made.__name__ for made in known if isinstance(saved, made))


def is_network(saved: Saveable) -> bool:
    """Return whether there is no readout, and so nothing that is predicted."""
    return isinstance(saved, SaveableNetwork)


def is_regressor(saved: Saveable) -> bool:
    """Return whether real numbers are predicted, and not classes."""
    return not is_network(saved) and not hasattr(saved, "classes")


def task_of(saved: Saveable) -> str:
    """Return the Hub's name of the task."""
    if is_regressor(saved):
        return "tabular-regression"
    pixels = isinstance(saved, IntegerReadout) and isinstance(saved.network.inputs, Pixels | PooledPixels)
    return "image-classification" if pixels else "tabular-classification"


def metric_of(saved: Saveable) -> tuple[str, str]:
    """Return the Hub's name of the score, and a heading."""
    return ("r_squared", "R²") if is_regressor(saved) else ("accuracy", "accuracy")


def sentence_of(saved: Saveable, summary: Summary, hidden: Sequence[LayerSummary], file_bytes: int | None) -> str:
    """Return what the network is, in words."""
    what = "network" if is_network(saved) else "regressor" if is_regressor(saved) else "classifier"
    activations = [f"staircases of {row.levels} levels" if row.levels else row.activation for row in hidden]
    widths = [f"{row.outputs:,}" for row in hidden]
    layers = f"{len(hidden)} hidden layers of widths" if len(hidden) > 1 else "1 hidden layer of width"
    size = (
        ""
        if file_bytes is None
        else f" The file has {file_bytes:,} bytes; its matrices in float32 would take {summary.float_bytes:,}."
    )
    return (
        f"A {what} computed in {summary.form}, made with hntk {__version__}: {hidden[0].inputs:,} inputs, {layers} "
        f"{_listed_words(widths)}, {_listed_words(dict.fromkeys(row.weights for row in hidden))} weights, activations: "
        f"{_listed_words(dict.fromkeys(activations))}.{size}"
    )


def _listed_words(words: Iterable[str]) -> str:
    """Return words with commas, and "and" before the last."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def use_of(saved: Saveable) -> str:
    """Return the line that uses what was loaded."""
    if isinstance(saved, IntegerNetwork):
        return "levels = list(network.feature_batches(raw))  # (n, p) raw samples"
    if is_network(saved):
        return "features = network.features(x)  # (n, p) samples"
    name = "predictions" if is_regressor(saved) else "labels"
    if isinstance(saved, IntegerReadout):
        return f"{name} = network.predict(raw)  # (n, p) raw samples"
    if getattr(saved, "normalization", None) is not None:
        return f"{name} = network.predict(x, raw=True)  # (n, p) raw samples"
    return f"{name} = network.predict(x)  # (n, p) normalised samples"


def fenced(text: str) -> str:
    """Return text as it is, between fences that are longer than any in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def measured_scores(saved: Saveable, scores: Mapping[str, float]) -> str:
    """Return the measured scores as a table."""
    if not scores:
        return "Whoever published this network gave no measured score."
    rows = [f"| {_cell(name)} | {value:.4g} |" for name, value in scores.items()]
    return "\n".join([f"| data | {metric_of(saved)[1]} |", "|---|---|", *rows])


def _cell(text: str) -> str:
    """Return text for one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
