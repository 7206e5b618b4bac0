"""Arrays and JSON in one safetensors file, with a checksum over both.

A file is replaced as a whole or not at all. Its claims are checked against its size and its checksum before they are
used, so that a damaged file gives an error and never another network. Files are read, not mapped: if another process
truncated a mapped file, this process would be killed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from io import BufferedReader
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hntk._utils.atomic_file import replacing
from hntk._utils.memory import available_memory, gigabytes
from hntk.files.json_text import dumps, loads
from hntk.files.limits import ARRAYS, HEADER, METADATA, shorten

KEY = "hntk"
CHECKSUM = "sha256"
# The name that safetensors gives its metadata.
METADATA_KEY = "__metadata__"
DTYPES = {"U8": "<u1", "I8": "<i1", "U16": "<u2", "I16": "<i2", "I32": "<i4", "F32": "<f4", "F64": "<f8"}
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
# The header is padded with spaces to a multiple of so many bytes, which aligns the arrays.
ALIGNMENT = 8
REMEDY = "Write it again with hntk.save."


class FileError(ValueError):
    """A file is damaged, or holds no network of this library."""


class _ArrayPlace(NamedTuple):
    """Type, shape and position of an array in the bytes after the header."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    start: int
    end: int


def write(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> int:
    """Write arrays and metadata and return the number of bytes.

    Raises
    ------
    OSError
        If the file cannot be written. A file that was there before is untouched.
    """
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    text = dumps(metadata)
    # With the largest types first, every array is aligned.
    order = sorted(contiguous, key=lambda name: (-contiguous[name].itemsize, name))
    header = _header(contiguous, order, {KEY: text, CHECKSUM: _digest(text, contiguous)})
    try:
        with replacing(path) as part, part.open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            for name in order:
                file.write(contiguous[name].data)
            file.flush()
            return os.fstat(file.fileno()).st_size
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(error.errno, f"{path} could not be written ({error.strerror}): free some space there, or "
                          "choose another place. What was there before is untouched") from error  # fmt: skip


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the metadata of an undamaged file.

    Raises
    ------
    FileError
        If the file is damaged, or was not written by :func:`write`.
    FileNotFoundError
        If it does not exist.
    """
    if path.is_dir():
        raise FileError(f"{path} is a folder: name a file in it.")
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist.")
    try:
        with path.open("rb") as file:
            strings, places = _read_header(file, path)
            arrays = _read_arrays(file, places, path)
        text = strings[KEY]
        if _digest(text, arrays) != strings[CHECKSUM]:
            raise FileError(f"{path} is damaged: its checksum does not fit its contents. {REMEDY}")
        metadata = loads(text)
    except FileError:
        raise
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise FileError(f"{path} is not a network that hntk.save wrote, or it is damaged ({error}).") from error
    if not isinstance(metadata, dict):
        raise FileError(f"{path} is not a network that hntk.save wrote.")
    return arrays, metadata


def check_size(arrays: Mapping[str, np.ndarray], text: str) -> None:
    """Refuse arrays and text that :func:`read` would refuse for their size.

    Raises
    ------
    ValueError
        If there are too many arrays, or labels and names take too many characters.
    """
    if len(text) > METADATA:
        raise ValueError(
            f"labels, names and numbers take {len(text):,} characters of text, more than {METADATA:,}: use whole "
            "numbers as labels, and keep their names beside the file"
        )
    if len(arrays) > ARRAYS:
        raise ValueError(f"there are {len(arrays):,} arrays, more than {ARRAYS:,}")


def _header(arrays: Mapping[str, np.ndarray], order: list[str], strings: dict[str, str]) -> bytes:
    """Return the padded header: the metadata, and where each array lies."""
    header: dict[str, Any] = {METADATA_KEY: strings}
    end = 0
    for name in order:
        array, start = arrays[name], end
        end += array.nbytes
        header[name] = {"dtype": NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % ALIGNMENT)


def _read_header(file: BufferedReader, path: Path) -> tuple[dict[str, str], list[_ArrayPlace]]:
    """Return the metadata, still as text, and the places of the arrays, which must fill the rest of the file."""
    size = os.fstat(file.fileno()).st_size - 8
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(size, HEADER):
        raise ValueError(f"its header would have {length:,} bytes, of {max(size, 0):,} there are")
    header = loads(file.read(length).decode("utf-8"))
    if not isinstance(header, dict) or len(header) > ARRAYS + 1:
        raise ValueError("its header is no table of arrays")
    strings = header.pop(METADATA_KEY, {})
    if not isinstance(strings, dict) or not all(isinstance(strings.get(key), str) for key in (KEY, CHECKSUM)):
        raise FileError(f"{path} is a safetensors file, but no network that hntk.save wrote.")
    check_size({}, strings[KEY])
    places = sorted((_array_place(name, entry, path) for name, entry in header.items()), key=lambda place: place[3:])
    ends = [0, *(place.end for place in places)]
    if ends[:-1] != [place.start for place in places] or ends[-1] != size - length:
        raise ValueError("its arrays do not fill it one after the other")
    return strings, places


def _array_place(name: str, entry: object, path: Path) -> _ArrayPlace:
    """Check one array's entry in the header."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"an array is described by {shorten(entry)}")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in DTYPES:
        raise FileError(f"{path} has arrays of the type {shorten(kind)}, which hntk.save does not write.")
    if not all(isinstance(sizes, list) and all(type(n) is int and n >= 0 for n in sizes) for sizes in (shape, offsets)):
        raise ValueError(f"an array has the shape {shorten(shape)} and lies at {shorten(offsets)}")
    dtype = np.dtype(DTYPES[kind])
    if len(offsets) != 2 or len(shape) > 2 or prod(shape) * dtype.itemsize != offsets[1] - offsets[0]:
        raise ValueError(f"an array of the shape {shorten(shape)} lies at {shorten(offsets)}")
    return _ArrayPlace(name, dtype, tuple(shape), *offsets)


def _read_arrays(file: BufferedReader, places: list[_ArrayPlace], path: Path) -> dict[str, np.ndarray]:
    """Read all arrays at once; they share one block of memory."""
    size, free = places[-1].end if places else 0, available_memory()
    if free is not None and size > free:
        raise FileError(f"{path} takes {gigabytes(size)} and {gigabytes(free)} of memory are free: free some.")
    body = bytearray(size)
    if file.readinto(body) != size:
        raise ValueError("it was cut short while it was read")
    return {
        place.name: np.frombuffer(body, place.dtype, prod(place.shape), place.start).reshape(place.shape)
        if place.end > place.start
        else np.zeros(place.shape, place.dtype)
        for place in places
    }


def _digest(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Return the checksum of the metadata and of every array's name, type, shape and bytes."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
