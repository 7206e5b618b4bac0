"""Read IDX files, the format of MNIST: a magic number, the dimensions, then the values, all big endian."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from hntk._utils.memory import DEFLATE_LIMIT, available_memory, gigabytes
from hntk.data.splits import KEYS, Part, check_shapes, stand_in

PREFIXES = {
    "x_train": ("train-images",),
    "y_train": ("train-labels",),
    "x_test": ("t10k-images", "test-images"),
    "y_test": ("t10k-labels", "test-labels"),
}
TYPE_CODES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_DIMENSIONS = 32  # NumPy 1's limit
# Bytes read at a time.
BLOCK = 1 << 20
REMEDY = "download it again"


def find_idx_files(folder: Path) -> dict[str, list[Path]]:
    """Return the files of a folder that are named as IDX files, by the part of the data set they hold."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    by_part = {key: [path for path in files if path.name.startswith(PREFIXES[key])] for key in KEYS}
    return {key: paths for key, paths in by_part.items() if paths}


def read_idx_folder(folder: Path) -> dict[str, Part]:
    """Read training and test images and labels from the four IDX files of a folder.

    Raises
    ------
    FileNotFoundError
        If one of the four is missing.
    ValueError
        If two files claim the same part, or one cannot be read (see `read_idx`).
    """
    found = find_idx_files(folder)
    missing = [" or ".join(f"{prefix}*" for prefix in PREFIXES[key]) for key in KEYS if key not in found]
    if missing:
        present = [path.name for paths in found.values() for path in paths]
        raise FileNotFoundError(
            f"{folder} holds the IDX files {present} but no {', no '.join(missing)}: download the missing ones."
        )
    for paths in found.values():
        if len(paths) > 1:
            raise ValueError(f"{folder} is ambiguous: {[path.name for path in paths]} hold the same part; keep one.")
    paths = {key: path for key, (path,) in found.items()}
    # Headers are compared first, so that nothing is read that does not fit together.
    headers = {key: _read_header_of(path) for key, path in paths.items()}
    if all(_could_hold(path, *headers[key]) for key, path in paths.items()):
        check_shapes({key: Part(stand_in(*headers[key]), str(path), REMEDY) for key, path in paths.items()})
    return {key: Part(read_idx(path), str(path), REMEDY) for key, path in paths.items()}


def read_idx(path: Path) -> np.ndarray:
    """Return the array in one IDX file, raw or gzipped, in native byte order.

    Gzip is told by the content, as some browsers unzip without renaming. No more is ever allocated than the file
    holds, whatever its header says.

    Raises
    ------
    ValueError
        If the file is not IDX, is cut short, has bytes left over, or is a damaged gzip file.
    MemoryError
        If the array does not fit into memory.
    """
    with _unzipping(path) as stream:
        dtype, shape = _read_header(stream, path)
        expected = math.prod(shape) * dtype.itemsize
        _check_room(path, dtype, shape)
        body = _read_at_most(stream, expected + 1)
    if len(body) != expected:
        actual = f"only {len(body)} follow (cut short)" if len(body) < expected else "more follow"
        raise ValueError(f"{path}: its header says shape {shape}, {expected} bytes, but {actual}: {REMEDY}.")
    array = np.frombuffer(body, dtype).reshape(shape)
    # Bytes are swapped in place: a copy would take as much again.
    return array if dtype.isnative else array.byteswap(inplace=True).view(dtype.newbyteorder("="))


def _read_header_of(path: Path) -> tuple[np.dtype, tuple[int, ...]]:
    with _unzipping(path) as stream:
        return _read_header(stream, path)


@contextmanager
def _unzipping(path: Path) -> Iterator[BufferedIOBase]:
    try:
        with open_unzipped(path) as stream:
            yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is a damaged gzip file ({error}): {REMEDY}.") from error


def _could_hold(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> bool:
    """Return whether a file is large enough for an array, if it is zipped as well as can be."""
    return math.prod(shape) * dtype.itemsize <= DEFLATE_LIMIT * path.stat().st_size


def _check_room(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """Refuse an array that does not fit into memory; one that the file cannot hold is refused when it is read."""
    needed, free = math.prod(shape) * dtype.itemsize, available_memory()
    if free is not None and needed > free and _could_hold(path, dtype, shape):
        raise MemoryError(
            f"{path} unpacks to {gigabytes(needed)} and {gigabytes(free)} of memory are free: keep fewer samples in it."
        )


def open_unzipped(path: Path) -> BufferedIOBase:
    """Open a file, unzipped where its first two bytes are gzip's, whatever its name."""
    with path.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
    return gzip.GzipFile(path) if zipped else path.open("rb")


def _read_header(stream: BufferedIOBase, path: Path) -> tuple[np.dtype, tuple[int, ...]]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPE_CODES or not 1 <= magic[3] <= MOST_DIMENSIONS:
        page = " (this looks like a web page)" if magic.lstrip()[:1] == b"<" else ""
        raise ValueError(
            f"{path} is not an IDX file: its first four bytes must be 0, 0, a type code "
            f"({', '.join(f'0x{code:02x}' for code in TYPE_CODES)}) and a number of dimensions from 1 to "
            f"{MOST_DIMENSIONS}, but they are {magic!r}{page}: {REMEDY}."
        )
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise ValueError(f"{path} ends within its header, which says {magic[3]} dimensions: {REMEDY}.")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    if 0 in shape:
        raise ValueError(f"{path}: its header says shape {shape}, which is empty: {REMEDY}.")
    return np.dtype(TYPE_CODES[magic[2]]), shape


def _read_at_most(stream: BufferedIOBase, limit: int) -> bytearray:
    # Grown block by block: stream.read(limit) would allocate what a damaged header says, not what is there.
    body = bytearray()
    while len(body) < limit and (block := stream.read(min(BLOCK, limit - len(body)))):
        body += block
    return body
