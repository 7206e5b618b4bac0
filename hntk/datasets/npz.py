"""An .npz archive with x_train, y_train, x_test and y_test, each checked before it is read."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hntk.datasets.splits import KEYS, Part

REMEDY = "write the archive again with numpy.savez"


class _Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype
    stored: int  # bytes of values in the archive


def read_npz(path: Path) -> dict[str, Part]:
    """Training and test samples and labels; other arrays of the archive are left alone.

    Nothing is unpickled, and no more is allocated than the archive says it holds.

    Raises
    ------
    ValueError
        If the archive is damaged, lacks one of the four arrays, or holds one as Python objects.
    """
    with _readable(path) as archive:
        present = [name.removesuffix(".npy") for name in archive.namelist()]
        headers = {key: _read_header(archive, key) for key in KEYS if key in present}
    missing = [key for key in KEYS if key not in headers]
    if missing:
        raise ValueError(
            f"{path} holds {present} but not {missing}: it must hold {', '.join(KEYS)}; rename or add the missing ones."
        )
    for key, header in headers.items():
        _check_header(header, f"{key} of {path}")
    with _readable(path) as archive:
        return {key: Part(_read_values(archive, key), f"{key} of {path}", REMEDY) for key in KEYS}


@contextmanager
def _readable(path: Path) -> Iterator[zipfile.ZipFile]:
    with path.open("rb") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                yield archive
        except MemoryError:
            raise
        except Exception as error:  # on damaged bytes zipfile, zlib and numpy raise a dozen kinds between them
            message = f"{path} is damaged or not an .npz archive ({error}): download it again, or {REMEDY}."
            raise ValueError(message) from error


def _read_header(archive: zipfile.ZipFile, key: str) -> _Header:
    with archive.open(f"{key}.npy") as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        return _Header(shape, dtype, archive.getinfo(f"{key}.npy").file_size - stream.tell())


def _check_header(header: _Header, origin: str) -> None:
    if header.dtype.hasobject:
        raise ValueError(
            f"{origin} holds Python objects, which would have to be unpickled: save a plain array of numbers "
            "(rows of unequal length cannot be one)."
        )
    expected = math.prod(header.shape) * header.dtype.itemsize
    if expected != header.stored:
        raise ValueError(
            f"{origin} is damaged: its header says shape {header.shape}, {expected} bytes, but {header.stored} "
            f"are stored: download it again, or {REMEDY}."
        )


def _read_values(archive: zipfile.ZipFile, key: str) -> np.ndarray:
    with archive.open(f"{key}.npy") as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)
