"""Digests of arrays and of source code, by which stored results are recognised."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np

# Bytes hashed at a time: a memory map is never copied whole.
BLOCK = 2**24
# Suffixes of source files.
SOURCES = (".py", ".in", ".h", ".c", ".html", ".css", ".js")


def array_digest(*arrays: object) -> str:
    """Return the SHA-256 of arrays, their types and their shapes; None counts as an array of its own.

    Raises
    ------
    TypeError
        If an array holds Python objects.

    Examples
    --------
    >>> import numpy as np
    >>> from hntk._utils.digest import array_digest
    >>> array_digest(np.arange(3)) == array_digest(np.arange(3)), array_digest([1.0]) == array_digest([2.0])
    (True, False)
    """
    digest = hashlib.sha256()
    for values in arrays:
        if values is None:
            digest.update(b"none")
            continue
        array = np.asarray(values)
        if array.dtype.hasobject:
            raise TypeError(f"arrays of Python objects have no bytes to hash, got {array.dtype}.")
        digest.update(f"{array.dtype.str} {array.shape};".encode())
        rows = max(1, BLOCK // max(1, array.nbytes // max(1, len(array)))) if array.ndim else 1
        for start in range(0, len(array), rows) if array.ndim else (0,):
            block = array[start : start + rows] if array.ndim else array
            digest.update(np.ascontiguousarray(block).tobytes())
    return digest.hexdigest()


@lru_cache(maxsize=64)
def source_digest(*places: Path) -> str:
    """Return the SHA-256 of source files, and of all source files in folders.

    Names of the folders themselves, and other files in them, do not count.
    """
    digest = hashlib.sha256()
    for place in places:
        inside = [place] if place.is_file() else place.rglob("*")
        for path in sorted(p for p in inside if p.suffix in SOURCES and p.is_file()):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(place).as_posix()} {content}\n".encode())
    return digest.hexdigest()
