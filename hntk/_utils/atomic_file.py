"""Files that are replaced at once or not at all."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

# characters of a file's name in the name of its part: names have a limit of 255 bytes
NAMED = 40
# seconds without a write after which a part is the remains of a process that was killed
ABANDONED = 86_400.0


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a file to write in the place of ``path``, which it takes at the end; after an error nothing is left of it.

    Its name is unique, so that several processes may write the same ``path`` at a time: each replaces it whole, and the
    last one stays. File and folder are on the disk before it returns. A link is followed, as ``open`` does.

    Raises
    ------
    OSError
        If the file cannot be written; what was there before is untouched.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file in it.")
    _remove_abandoned(target)
    part = target.with_name(f".{target.name[:NAMED]}.{secrets.token_hex(8)}.part")
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
    """Bring a rename to the disk, where the system lets a folder be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove_abandoned(target: Path) -> None:
    for part in target.parent.glob(f".{escape(target.name[:NAMED])}.*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > ABANDONED:
                part.unlink()
