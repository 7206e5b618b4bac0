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
from hntk.interchange.card_text import (
    fenced,
    is_network,
    is_regressor,
    kind_of,
    measured_scores,
    metric_of,
    sentence_of,
    task_of,
    use_of,
)
from hntk.interchange.checks import as_filename, as_license, as_repo_id, as_text, as_words
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
    summary = saved.summary(None if encodings is None else as_words(encodings, "encodings"))
    measured = _checked_scores(saved, scores)
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
        sentence=sentence_of(saved, summary, hidden, size),
        arguments=f'"{repo_id}"' + ("" if named == FILE else f', filename="{named}"'),
        use=use_of(saved),
        table=fenced(printable(str(summary))),
        measured=measured_scores(saved, measured),
    )
    return f"---\n{_yaml(saved, title, measured, metadata)}\n---\n\n{text}"


def _yaml(saved: Saveable, title: str, measured: Mapping[str, float], metadata: dict[str, Any]) -> str:
    """Return what programs read of a card."""
    hub = import_extra("huggingface_hub", "hub", PURPOSE)
    metric = metric_of(saved)[0]
    results = [
        hub.EvalResult(
            task_type=task_of(saved), dataset_type=name, dataset_name=name, metric_type=metric, metric_value=value
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
    if is_network(saved):
        raise ValueError("scores must be left out for a network without a readout, which predicts nothing.")
    if is_regressor(saved):
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
    network: Any = getattr(saved, "network", saved)
    origin, more = network.origin, getattr(network, "notes", ())
    training = getattr(saved, "training", None)
    parts: dict[str, Any] = {
        "version": __version__,
        "kind": kind_of(saved),
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
