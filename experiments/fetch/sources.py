"""The data sets that can be fetched: their mirrors, the sha256 of every file, and a stand-in for a mirror."""

from __future__ import annotations

import gzip
import hashlib
import struct
import tempfile
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from experiments.runner.stand_in import arrays
from hntk.data.idx import open_unzipped

NAMES = {
    "x_train": "train-images-idx3-ubyte.gz",
    "y_train": "train-labels-idx1-ubyte.gz",
    "x_test": "t10k-images-idx3-ubyte.gz",
    "y_test": "t10k-labels-idx1-ubyte.gz",
}
# bytes that a file may have beyond eight times the size of the whole source
MARGIN = 4_000_000
BLOCK = 1 << 20
OWN_DATA = (
    "Data of your own is an .npz with x_train, y_train, x_test and y_test (samples as rows, labels as integers), at "
    "data.folder=PATH/NAME.npz."
)


@dataclass(frozen=True)
class Source:
    """Where the four IDX files of a data set are, and what they must contain.

    Attributes
    ----------
    mirrors : tuple of str
        Addresses of folders with the files of `NAMES`, tried in this order.
    sha256 : dict
        Hash of each file's unzipped content (mirrors zip differently), by the keys of `NAMES`.
    kilobytes : int
        Size of the four downloads together.
    """

    mirrors: tuple[str, ...]
    sha256: dict[str, str]
    kilobytes: int

    @property
    def max_bytes(self) -> int:
        """A size that no file of it exceeds, zipped or not."""
        return 8_000 * self.kilobytes + MARGIN


SOURCES = {
    "mnist": Source(
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        sha256={
            "x_train": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "y_train": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "x_test": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "y_test": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
        kilobytes=11_595,
    ),
    "fashion_mnist": Source(
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        sha256={
            "x_train": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "y_train": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "x_test": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "y_test": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
        kilobytes=30_878,
    ),
}
NOT_FETCHED = {
    "cifar10_features": (
        "cifar10_features cannot be fetched: there is no public copy. They are features of CIFAR-10 images, upsampled "
        "to 96 pixels, from an EfficientNet-Lite0 trained on ImageNet: 1280 numbers after pooling, then the 512 "
        "principal components of the training part (the paper's are from VGG-19). Compute features of this kind "
        "yourself, and run other experiments with data.folder= the .npz, with x_train, y_train, x_test and y_test."
    ),
    "gmm": (
        "gmm is a Gaussian mixture, drawn anew in every run: there is nothing to fetch. Run +exp=gmm, or choose "
        "data=mnist."
    ),
}


def find(name: str) -> Source:
    """Return the source of a data set.

    Raises
    ------
    ValueError
        If it cannot be fetched; the message says what to do instead.
    """
    if name in SOURCES:
        return SOURCES[name]
    if name in NOT_FETCHED:
        raise ValueError(NOT_FETCHED[name])
    raise ValueError(f"no source of {name!r} is known: choose among {', '.join(SOURCES)}. {OWN_DATA}")


def defect(path: Path, sha256: str, max_bytes: int) -> str | None:
    """Return what is wrong with a file, raw or gzipped; None if its content has this sha256.

    Parameters
    ----------
    path : Path
        The file.
    sha256 : str
        Hash of its unzipped content.
    max_bytes : int
        Size of content at which reading stops, as a small file may unzip without end.

    Returns
    -------
    str or None
        The end of a sentence that begins with the file's name.
    """
    try:
        with open_unzipped(path) as stream:
            digest, size = hashlib.sha256(), 0
            while block := stream.read(BLOCK):
                size += len(block)
                if size > max_bytes:
                    return f"unzips to more than {max_bytes:,} bytes, which the data set has not"
                digest.update(block)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        return f"is a damaged gzip file ({error})"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if digest.hexdigest() == sha256:
        return None
    return f"holds the wrong data (sha256 {digest.hexdigest()} unzipped, not {sha256})"


@contextmanager
def served() -> Iterator[Source]:
    """Serve the data set as four gzipped IDX files; yields where they are."""
    contents = {key: _idx(array) for key, array in arrays().items()}
    zipped = {key: gzip.compress(content, mtime=0) for key, content in contents.items()}
    with tempfile.TemporaryDirectory(prefix="hntk-") as folder:
        for key, content in zipped.items():
            (Path(folder) / NAMES[key]).write_bytes(content)
        with ThreadingHTTPServer(("127.0.0.1", 0), partial(_QuietHandler, directory=folder)) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            try:
                yield Source(
                    mirrors=(f"http://127.0.0.1:{server.server_port}/",),
                    sha256={key: hashlib.sha256(content).hexdigest() for key, content in contents.items()},
                    kilobytes=round(sum(map(len, zipped.values())) / 1000),
                )
            finally:
                server.shutdown()
                thread.join()


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Print nothing for a request."""


def _idx(array: np.ndarray) -> bytes:
    """Return an array of bytes in the IDX format."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
