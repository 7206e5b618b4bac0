"""Hashes of arrays and of source code, by which results that were kept are told from others."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np

# bytes hashed at a time: a memory map is never copied whole
BLOCK = 2**24
SOURCES = (".py", ".in", ".h", ".c", ".html", ".css", ".js")


def array_digest(*arrays: object) -> str:
    """Return the sha256 of arrays, their types and their shapes; None counts as an array of its own.

    Examples
    --------
    >>> import numpy as np
    >>> from hntk._utils.digest import array_digest
    >>> array_digest(np.arange(3)) == array_digest(np.arange(3)), array_digest([1.0]) == array_digest([2.0])
    (True, False)
    """
    found = hashlib.sha256()
    for given in arrays:
        if given is None:
            found.update(b"none")
            continue
        array = np.asarray(given)
        if array.dtype.hasobject:
            raise TypeError(f"arrays of Python objects have no bytes to hash, got {array.dtype}.")
        found.update(f"{array.dtype.str} {array.shape};".encode())
        rows = max(1, BLOCK // max(1, array.nbytes // max(1, len(array)))) if array.ndim else 1
        for start in range(0, len(array), rows) if array.ndim else (0,):
            block = array[start : start + rows] if array.ndim else array
            found.update(np.ascontiguousarray(block).tobytes())
    return found.hexdigest()


@lru_cache(maxsize=64)
def source_digest(*places: Path) -> str:
    """Return the sha256 of source files, and of all of them in folders, whatever the folders' own names are.

    What compilers and editors leave beside them does not count.
    """
    found = hashlib.sha256()
    for place in places:
        inside = [place] if place.is_file() else place.rglob("*")
        for path in sorted(p for p in inside if p.suffix in SOURCES and p.is_file()):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            found.update(f"{path.relative_to(place).as_posix()} {content}\n".encode())
    return found.hexdigest()
