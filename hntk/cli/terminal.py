"""What commands print: text that a terminal can show, aligned tables, JSON, and progress on stderr."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from hntk._utils.printable import printable as without_controls


def printable(text: str, stream: TextIO) -> str:
    """Return text in the characters that a stream has, without control characters that a terminal would act on."""
    encoding = stream.encoding or "utf-8"
    return without_controls(text).encode(encoding, "backslashreplace").decode(encoding)


def show(text: str) -> None:
    """Print text on the standard output."""
    print(printable(text, sys.stdout))


def show_json(value: dict[str, Any]) -> None:
    """Print one JSON object on the standard output; numbers that are not finite become null."""
    print(json.dumps(plain(value), indent=2, allow_nan=False))


def plain(value: Any) -> Any:
    """Return a value as JSON has it: dictionaries, lists, text, finite numbers and null."""
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def table(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Return rows, the headings first, as lines with columns of equal width; those named in ``left`` begin there."""
    sizes = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    pads = [str.ljust if column in left else str.rjust for column in range(len(sizes))]
    lines = (
        "  ".join(pad(cell, size) for pad, cell, size in zip(pads, row, sizes, strict=True)).rstrip() for row in rows
    )
    return "\n".join(lines)


def shell_word(path: Path | str) -> str:
    """Return a path as one word of a shell command that cannot be taken for an option."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


@contextmanager
def stages(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Yield a function that tells on stderr what is being done, if that is a terminal and ``quiet`` is false."""
    shown = not quiet and sys.stderr.isatty()

    def tell(what: str) -> None:
        if shown:
            print(f"\r\033[K{printable(what, sys.stderr)} ...", end="", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        if shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


@contextmanager
def epochs_shown(total: int, *, quiet: bool) -> Iterator[Callable[[Any], None]]:
    """Yield a function of an :class:`Epoch` that moves a bar on stderr, if that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from tqdm import tqdm

    bar = tqdm(total=total, desc="choosing a network", unit="epoch", leave=False, file=sys.stderr)

    def advance(epoch: Any) -> None:
        bar.set_description("training", refresh=False)
        bar.n = epoch.epoch
        bar.set_postfix(validation=f"{epoch.validation:.4f}")

    with bar:
        yield advance
