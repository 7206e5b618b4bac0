"""Model cards: the README.md that tells on the Hugging Face Hub what a network is and how it is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hntk import __version__
from hntk._utils.arguments import as_count, as_finite, as_instance, as_number
from hntk._utils.arrays import brief
from hntk._utils.extras import import_extra
from hntk._utils.printable import printable
from hntk.interchange.checks import as_filename, as_license, as_repo_id, as_text, as_words
from hntk.networks.classifier import Classifier
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_inputs import Pixels, PooledPixels
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_readout import IntegerReadout
from hntk.networks.integer_regressor import IntegerRegressor
from hntk.networks.network import Network
from hntk.networks.saveable import Saveable
from hntk.networks.summary_table import LayerSummary, Summary

FILE = "network.safetensors"
PURPOSE = "Writing a model card"
BRANCH_OR_READOUT = re.compile(r"branch \d+|readout")
TEXT = """\
# {title}

{description}{sentence}

## How to load it

`pip install "hntk[hub]"`, and then

```python
from hntk.interchange import pull_from_hub
network = pull_from_hub({arguments})
{use}
```

The file holds numbers and JSON. hntk checks both before it uses them, and unpickles nothing.

## What it consists of

{table}

## Measured

{measured}
"""


def model_card(
    network: Saveable,
    repo_id: str,
    *,
    license: str,
    tags: Iterable[str] = (),
    scores: Mapping[str, float] | None = None,
    description: str = "",
    filename: str = FILE,
    file_bytes: int | None = None,
    encodings: Sequence[str] | None = None,
) -> str:
    """Return a model card: YAML for programs, and a page for people.

    The YAML has the Hub's own fields (library, license, tags, measured scores) and one table of its own, ``hntk``, with
    the form of the numbers, activations, widths, levels, kinds of weights and bytes, and with the record of the match
    or of the training where there is one.

    Parameters
    ----------
    network : Network, Classifier, IntegerNetwork, IntegerClassifier or IntegerRegressor
        What the card is of.
    repo_id : str
        Name of the repository, such as ``"me/mnist-49kb"``.
    license : str
        The Hub's name of the license, such as ``"apache-2.0"``, ``"mit"`` or ``"other"``.
    tags : iterable of str
        Further tags.
    scores : mapping of str to float, optional
        What was measured, by the name of the data: the accuracy of a classifier from 0 to 1, or R² of a regressor.
        The card has no score that is not given here.
    description : str
        Markdown that stands first.
    filename : str
        Name of the file in the repository.
    file_bytes : int, optional
        Bytes of the file; left out if they are not known.
    encodings : sequence of str, optional
        Encoding of every layer's weights in the file; by default the smallest of each.

    Returns
    -------
    str
        Text of README.md.

    Raises
    ------
    ImportError
        If huggingface_hub is not installed.
    ValueError
        If this is no network or classifier, the license is no such name, a tag is no text, or a score is none, or is
        given for a network without a readout.
    """
    saved = as_instance(network, "network", Saveable, "a network or a classifier, in floats or in integers")
    named, size = as_filename(filename), None if file_bytes is None else as_count(file_bytes, "file_bytes")
    words = as_text(description, "description", "text of the card").strip()
    summary, measured = (
        saved.summary(None if encodings is None else as_words(encodings, "encodings")),
        _checked_scores(saved, scores),
    )
    hidden = [row for row in summary.layers if not BRANCH_OR_READOUT.fullmatch(row.name)]
    title = as_repo_id(repo_id).rpartition("/")[2]
    metadata = {
        "license": as_license(license),
        "tags": _tags(saved, summary, tags),
        "hntk": _table(saved, summary, hidden, size),
    }
    text = TEXT.format(
        title=title,
        description=f"{words}\n\n" if words else "",
        sentence=_sentence(saved, summary, hidden, size),
        arguments=f'"{repo_id}"' + ("" if named == FILE else f', filename="{named}"'),
        use=_use(saved),
        table=_fenced(printable(str(summary))),
        measured=_measured(saved, measured),
    )
    return f"---\n{_yaml(saved, title, measured, metadata)}\n---\n\n{text}"


def _yaml(saved: Saveable, title: str, measured: Mapping[str, float], metadata: dict[str, Any]) -> str:
    """Return what programs read of a card."""
    hub = import_extra("huggingface_hub", "hub", PURPOSE)
    metric = _metric(saved)[0]
    results = [
        hub.EvalResult(
            task_type=_task(saved), dataset_type=name, dataset_name=name, metric_type=metric, metric_value=value
        )
        for name, value in measured.items()
    ]
    if results:
        metadata = {**metadata, "model_name": title, "eval_results": results}
    return hub.ModelCardData(library_name="hntk", **metadata).to_yaml().strip()


def _checked_scores(saved: Saveable, scores: object) -> dict[str, float]:
    """Return measured scores by the name of the data."""
    if scores is None:
        return {}
    if not isinstance(scores, Mapping) or not all(isinstance(name, str) and name.strip() for name in scores):
        raise ValueError(
            f"scores must map names of data to numbers, such as {{'MNIST, test': 0.97}}, got {brief(scores)}."
        )
    if isinstance(saved, Network | IntegerNetwork):
        raise ValueError("scores must be left out for a network without a readout, which predicts nothing.")
    if isinstance(saved, IntegerRegressor):
        return {name: as_finite(value, f"the score on {name!r}", "R²") for name, value in scores.items()}
    for name, value in scores.items():
        if not 0 <= as_number(value) <= 1:
            raise ValueError(f"the score on {name!r} must be an accuracy from 0 to 1, got {brief(value)}.")
    return {name: float(value) for name, value in scores.items()}


def _tags(saved: Saveable, summary: Summary, more: Iterable[str]) -> list[str]:
    """Return tags, each once: those that follow from the network, and the user's."""
    kinds = {row.weights for row in summary.layers if row.name != "readout"}
    own = ["hntk", "neural-tangent-kernel"]
    own += [f"{kind}-weights" for kind in sorted(kinds & {"ternary", "sign", "int8"})]
    own += ["integer-only"] if saved.form == "integer" else []
    return list(dict.fromkeys([*own, *as_words(more, "tags")]))


def _table(saved: Saveable, summary: Summary, hidden: Sequence[LayerSummary], file_bytes: int | None) -> dict[str, Any]:
    """Return what the network is, for programs."""
    network = getattr(saved, "network", saved)
    origin, more = network.origin, getattr(network, "notes", ())
    training = getattr(saved, "training", None)
    parts: dict[str, Any] = {
        "version": __version__,
        "kind": _kind(saved),
        "form": summary.form,
        "architecture": "; ".join(["fully connected", *(part.removeprefix("layers: ") for part in more)]),
        "inputs": hidden[0].inputs,
        "activations": [row.activation for row in hidden],
        "widths": [row.outputs for row in hidden],
        "levels": [row.levels for row in hidden],
        "weights": [row.weights for row in hidden],
        "zeros": [round(row.zeros, 4) for row in hidden],
        "file_bytes": file_bytes,
        "float32_bytes": summary.float_bytes,
        "match": None if origin is None else origin.to_metadata(),
        "training": None if training is None else training.to_metadata(),
    }
    return {name: _listed(value) for name, value in parts.items() if value is not None}


def _listed(value: Any) -> Any:
    """Return a value whose tuples are lists, which YAML has, and whose numbers are Python's."""
    if isinstance(value, Mapping):
        return {name: _listed(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_listed(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value


def _kind(saved: Saveable) -> str:
    """Return what is loaded from the file."""
    kinds = (IntegerClassifier, IntegerRegressor, IntegerNetwork, Classifier, Network)
    return next(kind.__name__ for kind in kinds if isinstance(saved, kind))


def _task(saved: Saveable) -> str:
    """Return the Hub's name of the task."""
    if isinstance(saved, IntegerRegressor):
        return "tabular-regression"
    pixels = isinstance(saved, IntegerReadout) and isinstance(saved.network.inputs, Pixels | PooledPixels)
    return "image-classification" if pixels else "tabular-classification"


def _metric(saved: Saveable) -> tuple[str, str]:
    """Return the Hub's name of the score, and a heading."""
    return ("r_squared", "R²") if isinstance(saved, IntegerRegressor) else ("accuracy", "accuracy")


def _sentence(saved: Saveable, summary: Summary, hidden: Sequence[LayerSummary], file_bytes: int | None) -> str:
    """Return what the network is, in words."""
    what = {"IntegerNetwork": "network", "Network": "network", "IntegerRegressor": "regressor"}.get(
        _kind(saved), "classifier"
    )
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


def _use(saved: Saveable) -> str:
    """Return the line that uses what was loaded."""
    if isinstance(saved, IntegerReadout):
        name = "predictions" if isinstance(saved, IntegerRegressor) else "labels"
        return f"{name} = network.predict(raw)  # (n, p) raw samples"
    if isinstance(saved, Classifier):
        if saved.normalization is not None:
            return "labels = network.predict(x, raw=True)  # (n, p) raw samples"
        return "labels = network.predict(x)  # (n, p) normalised samples"
    if isinstance(saved, Network):
        return "features = network.features(x)  # (n, p) samples"
    return "levels = list(network.feature_batches(raw))  # (n, p) raw samples"


def _fenced(text: str) -> str:
    """Return text as it is, between fences that are longer than any in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _measured(saved: Saveable, scores: Mapping[str, float]) -> str:
    """Return the measured scores as a table."""
    if not scores:
        return "Whoever published this network gave no measured score."
    rows = [f"| {_cell(name)} | {value:.4g} |" for name, value in scores.items()]
    return "\n".join([f"| data | {_metric(saved)[1]} |", "|---|---|", *rows])


def _cell(text: str) -> str:
    """Return text for one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
