"""``hntk inspect FILE``: what a saved network takes, layer by layer."""

from __future__ import annotations

import argparse

from hntk.cli.terminal import show, show_json
from hntk.networks.saving import load_packed
from hntk.networks.summary import summarize


def run(options: argparse.Namespace) -> None:
    """Print a file's layers: shapes, encodings, bits a weight, bytes and arithmetic."""
    summary, size = summarize(*load_packed(options.file)), options.file.stat().st_size
    if options.json:
        show_json({"file": str(options.file), "file_bytes": size, **summary.to_dict()})
        return
    ratio = summary.float_bytes / size
    show(f"{options.file}: {size:,} bytes; in float32 its matrices take {ratio:.1f} times as many\n{summary}")
