"""Read an .npz archive of samples and labels, each array checked before it is read."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hntk._utils.memory import DEFLATE_LIMIT, available_memory, gigabytes
from hntk.data.splits import KEYS, NUMBERS, Part, check_shapes, stand_in

REMEDY = "write the archive again with numpy.savez"
# NumPy stores arrays whole, or deflated.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class _Header(NamedTuple):
    """What an array's own header and the archive's directory say of it."""

    shape: tuple[int, ...]
    dtype: np.dtype
    stored: int  # bytes of values in the archive
    entry: zipfile.ZipInfo


def array_names(path: Path) -> list[str]:
    """Return the names of the arrays of an archive.

    Raises
    ------
    ValueError
        If the archive is damaged.
    """
    with _readable(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def read_npz(path: Path, names: Sequence[str] = KEYS, label_kinds: str = NUMBERS) -> dict[str, Part]:
    """Read samples and labels; other arrays of the archive are left alone.

    Nothing is unpickled. What the archive claims is checked before anything is allocated: shapes against each other,
    sizes against the bytes there are and against the memory that is free.

    Parameters
    ----------
    path : Path
        The archive.
    names : sequence of str
        Names of training samples, their labels, test samples and theirs; or of samples and labels alone.
    label_kinds : str
        Kinds of NumPy types that labels may have.

    Returns
    -------
    dict of Part
        The arrays, by name.

    Raises
    ------
    ValueError
        If the archive is damaged, lacks one of the arrays, or holds one as Python objects; or if they do not fit
        together.
    MemoryError
        If they do not fit into memory.
    """
    present = array_names(path)
    with _readable(path) as archive:
        headers = {key: _read_header(archive, key) for key in names if key in present}
    missing = [key for key in names if key not in headers]
    if missing:
        raise ValueError(
            f"{path} holds {present} but not {missing}: it must hold {', '.join(names)}; rename or add the missing "
            "ones."
        )
    twice = [key for key in names if present.count(key) > 1]
    if twice:
        raise ValueError(f"{path} holds {', '.join(twice)} twice, and it is not clear which counts: {REMEDY}.")
    for key, header in headers.items():
        _check_header(header, f"{key} of {path}", path.stat().st_size)
    _check_together(headers, path, label_kinds)
    with _readable(path) as archive:
        return {key: Part(_read_values(archive, key), f"{key} of {path}", REMEDY) for key in names}


def _check_together(headers: dict[str, _Header], path: Path, label_kinds: str) -> None:
    """Refuse arrays whose headers say that they do not fit together or into memory."""
    try:
        parts = {
            key: Part(stand_in(header.dtype, header.shape), f"{key} of {path}", REMEDY)
            for key, header in headers.items()
        }
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): download it again, or {REMEDY}.") from error
    # Samples and labels alone are compared with themselves.
    check_shapes(dict(zip(KEYS, 2 * [*parts.values()], strict=False)), label_kinds)
    needed, free = sum(header.stored for header in headers.values()), available_memory()
    if free is not None and needed > free:
        raise MemoryError(
            f"the arrays of {path} take {gigabytes(needed)} and {gigabytes(free)} of memory are free: keep fewer "
            "samples, or a smaller type such as uint8 or float32, in the archive."
        )


@contextmanager
def _readable(path: Path) -> Iterator[zipfile.ZipFile]:
    with path.open("rb") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                yield archive
        except MemoryError:
            raise
        except Exception as error:  # On damaged bytes zipfile, zlib and NumPy raise a dozen kinds between them.
            message = f"{path} is damaged or not an .npz archive ({error}): download it again, or {REMEDY}."
            raise ValueError(message) from error


def _read_header(archive: zipfile.ZipFile, key: str) -> _Header:
    entry = archive.getinfo(f"{key}.npy")
    if entry.compress_type not in METHODS:
        raise ValueError(f"{key} is packed in a way that numpy does not write")
    with archive.open(entry) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        return _Header(shape, dtype, entry.file_size - stream.tell(), entry)


def _check_header(header: _Header, origin: str, archive_bytes: int) -> None:
    """Refuse Python objects, and sizes that contradict each other or the archive's own."""
    if header.dtype.hasobject:
        raise ValueError(
            f"{origin} holds Python objects, which would have to be unpickled: save a plain array of numbers "
            "(rows of unequal length cannot be one)."
        )
    expected, entry = math.prod(header.shape) * header.dtype.itemsize, header.entry
    if expected != header.stored:
        raise ValueError(
            f"{origin} is damaged: its header says shape {header.shape}, {expected} bytes, but {header.stored} "
            f"are stored: download it again, or {REMEDY}."
        )
    whole = entry.compress_type == zipfile.ZIP_STORED
    most = entry.compress_size if whole else DEFLATE_LIMIT * entry.compress_size
    if entry.file_size > most or entry.compress_size > archive_bytes:
        raise ValueError(
            f"{origin} is damaged: the archive says that {entry.file_size} bytes are stored in {entry.compress_size}, "
            f"of {archive_bytes} in all: download it again, or {REMEDY}."
        )


def _read_values(archive: zipfile.ZipFile, key: str) -> np.ndarray:
    with archive.open(f"{key}.npy") as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)
