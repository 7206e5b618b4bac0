"""A reader of offline runs of W&B, record by record."""

from __future__ import annotations

import json
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2 as messages

BLOCK, HEADER = 32768, 7
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(path: Path) -> Iterator[messages.Record]:
    """Yield the messages of a .wandb file, a log of blocks with checksum, length and type before each piece."""
    data = path.read_bytes()
    if len(data) < HEADER:  # older versions begin to write late
        return
    assert data[:4] == b":W&B"
    place, message = HEADER, b""
    while place + HEADER <= len(data):
        left = BLOCK - place % BLOCK
        if left < HEADER:
            place += left
            continue
        checksum, length, kind = struct.unpack("<IHB", data[place : place + HEADER])
        if kind == 0:
            place += left
            continue
        piece = data[place + HEADER : place + HEADER + length]
        if len(piece) < length:
            return
        assert zlib.crc32(bytes([kind]) + piece) == checksum
        message = piece if kind in (WHOLE, FIRST) else message + piece
        if kind in (WHOLE, LAST):
            yield messages.Record.FromString(message)
        place += HEADER + length


def _ended(path: Path) -> list[messages.Record]:
    """Return all messages of an ended run; W&B's service writes the last some milliseconds later."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        found = list(records(path))
        if found and found[-1].WhichOneof("record_type") == "exit":
            return found
        time.sleep(0.02)
    raise AssertionError(f"{path} has no end: the run was not finished")


class Mirrored:
    """The contents of an offline run."""

    def __init__(self, folder: Path) -> None:
        (file,) = folder.glob("wandb/offline-run-*/*.wandb")
        self.files = file.parent / "files"
        self.run = messages.RunRecord()
        self.config: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.metrics: list[messages.MetricRecord] = []
        self.listed: set[str] = set()
        self.exit_code = -1
        for record in _ended(file):
            self._take(record)

    def _take(self, record: messages.Record) -> None:
        kind = record.WhichOneof("record_type")
        if kind == "run":
            self.run = record.run
            self.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "history":
            self.history.append({_name(item): json.loads(item.value_json) for item in record.history.item})
        elif kind == "summary":
            self.summary |= {_name(item): json.loads(item.value_json) for item in record.summary.update}
        elif kind == "metric":
            self.metrics.append(record.metric)
        elif kind == "exit":
            self.exit_code = record.exit.exit_code
        elif kind == "files":
            self.listed |= {file.path for file in record.files.files}

    def rows(self, name: str, columns: list[str]) -> list[list[Any]]:
        """Return a history as it was logged."""
        keys = [f"{name}/{column}" for column in columns]
        return [[row[key] for key in keys] for row in self.history if keys[0] in row]

    def axis_of(self, metric: str) -> str | None:
        """Return the metric that is the axis of another metric."""
        for found in self.metrics:
            if found.name == metric or (found.glob_name and metric.startswith(found.glob_name.rstrip("*"))):
                return found.step_metric or None
        return None


def _name(item: Any) -> str:
    return item.key or "/".join(item.nested_key)
