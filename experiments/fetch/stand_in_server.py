"""A server of the stand-in data set on the loopback address, so that fetching can be tried without the internet."""

from __future__ import annotations

import gzip
import hashlib
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from experiments.fetch.sources import NAMES, Source
from experiments.runner.stand_in import arrays


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
