"""What files tell about where a network comes from."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from hntk.files.reader import FieldReader
from hntk.networks.classifier import Classifier
from hntk.networks.integer_network import IntegerClassifier, IntegerNetwork
from hntk.networks.network import Network
from hntk.networks.provenance import DataStatistics, MatchRecord


def describe_origin(what: Network | Classifier | IntegerNetwork | IntegerClassifier) -> dict[str, Any]:
    """Return tables of the match and of the data, as far as they are known.

    Raises
    ------
    ValueError
        If the match's record holds a number that is not finite.
    """
    readout = isinstance(what, Classifier | IntegerClassifier)
    known = {
        "match": what.network.origin if readout else what.origin,
        "data": what.statistics if readout else None,
    }
    if known["match"] is not None:
        _check_finite(known["match"])
    return {name: asdict(record) for name, record in known.items() if record is not None}


def _check_finite(record: MatchRecord) -> None:
    numbers = {**record.residuals, "identity_shift": record.identity_shift, "relative_shift": record.relative_shift}
    wrong = [name for name, value in numbers.items() if not np.isfinite(value)]
    if wrong:
        raise ValueError(
            f"the record of the match has values that are not finite ({', '.join(map(str, wrong))}): match again, or "
            "save dataclasses.replace(network, origin=None)."
        )


def origin_of(part: FieldReader) -> MatchRecord | None:
    """Return how the activations were found, if the file tells."""
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


def statistics_of(part: FieldReader) -> DataStatistics | None:
    """Return what the readout was fitted on, if the file tells."""
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
