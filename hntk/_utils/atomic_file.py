"""Replace files atomically."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

# Characters of a file's name in the name of its temporary file: names have a limit of 255 bytes.
NAME_CHARACTERS = 40
# Seconds without a write after which a temporary file is the remains of a process that was killed.
ABANDONED = 86_400.0


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file that replaces ``path`` at the end of the ``with`` block, and is removed after an error.

    Its name is unique, so that several processes may write the same ``path`` at a time: each replaces it whole, and the
    last one stays. File and folder are synced to the disk before the block ends. A link is followed, as ``open`` does.

    Raises
    ------
    OSError
        If the file cannot be written; the one that stood at ``path`` is untouched.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file in it.")
    _remove_abandoned(target)
    part = target.with_name(f".{target.name[:NAME_CHARACTERS]}.{secrets.token_hex(8)}.part")
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
        _sync_folder(target.parent)
    finally:
        part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Sync a rename to the disk, where the system lets a folder be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove_abandoned(target: Path) -> None:
    """Remove temporary files of killed processes."""
    for part in target.parent.glob(f".{escape(target.name[:NAME_CHARACTERS])}.*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > ABANDONED:
                part.unlink()
