"""Arrays and JSON in one safetensors file, with a checksum over both.

A file is replaced at once or not at all. What a file claims is checked against its size and its checksum before
anything is made of it, so that a damaged file gives an error and never another network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hntk.atomic import replacing

KEY = "hntk"
CHECKSUM = "sha256"
DTYPES = {"U8": np.uint8, "I8": np.int8, "I16": np.int16, "I32": np.int32, "F32": np.float32, "F64": np.float64}


class FileError(ValueError):
    """A file that holds no network of this library, or a damaged one."""


def write(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> int:
    """Write arrays and metadata and return the number of bytes.

    Raises
    ------
    OSError
        If the file cannot be written; what was there before is untouched.
    """
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    text = _text(metadata)
    try:
        with replacing(path) as part:
            save_file(contiguous, part, {KEY: text, CHECKSUM: _digest(text, contiguous)})
            return part.stat().st_size
    except SafetensorError as error:
        raise OSError(f"{path} could not be written: {error}") from error


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the metadata of a file that is whole.

    Raises
    ------
    FileError
        If it is not, or was not written by :func:`write`.
    FileNotFoundError
        If there is none.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist.")
    try:
        # sizes and offsets are checked here against the file's own
        with safe_open(path, framework="numpy") as file:
            told = file.metadata() or {}
            if KEY not in told or CHECKSUM not in told:
                raise FileError(f"{path} is a safetensors file, but no network that hntk.save wrote.")
            foreign = sorted({str(file.get_slice(name).get_dtype()) for name in file.keys()} - DTYPES.keys())  # noqa: SIM118
            if foreign:
                raise FileError(f"{path} has arrays of the type {', '.join(foreign)}, which hntk.save does not write.")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = told[KEY]
        whole = _digest(text, arrays) == told[CHECKSUM]
        metadata = json.loads(text) if whole else {}
    except (SafetensorError, UnicodeDecodeError, json.JSONDecodeError, OSError, RecursionError) as error:
        raise FileError(f"{path} is not a network that hntk.save wrote, or it is damaged ({error}).") from error
    if not whole:
        raise FileError(f"{path} is damaged: its checksum does not fit its contents. Write it again with hntk.save.")
    if not isinstance(metadata, dict):
        raise FileError(f"{path} is not a network that hntk.save wrote.")
    return arrays, metadata


def _text(metadata: Mapping[str, Any]) -> str:
    return json.dumps(metadata, sort_keys=True, allow_nan=False)


def _digest(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    found = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        found.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
