"""What files tell about where a network comes from."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hntk.classifier import Classifier
from hntk.files.told import Told
from hntk.integers import IntegerClassifier, IntegerNetwork
from hntk.network import Network
from hntk.origin import DataStatistics, MatchRecord


def describe_origin(what: Network | Classifier | IntegerNetwork | IntegerClassifier) -> dict[str, Any]:
    """Of the match and of the data, as far as they are known."""
    readout = isinstance(what, Classifier | IntegerClassifier)
    known = {
        "match": what.network.origin if readout else what.origin,
        "data": what.statistics if readout else None,
    }
    return {name: asdict(record) for name, record in known.items() if record is not None}


def origin_of(part: Told) -> MatchRecord | None:
    """How the activations were found, if the file tells."""
    if "match" not in part:
        return None
    told = part.part("match")
    misses = told.part("residuals")
    return MatchRecord(
        tuple(told.texts("original")),
        told.number("tau0", positive=True),
        told.text("method"),
        told.text("objective"),
        {name: misses.number(name) for name in misses.told},
        told.number("identity_shift"),
        told.number("relative_shift"),
    )


def statistics_of(part: Told) -> DataStatistics | None:
    """What the readout was fitted on, if the file tells."""
    if "data" not in part:
        return None
    told = part.part("data")
    return DataStatistics(
        told.count("n"),
        told.count("p"),
        told.number("tau0", positive=True),
        told.number("norm_deviation"),
        tuple(told.counts("class_counts")),
    )
