"""Downloads of a data set's files from its mirrors into a scratch folder, each file checked on arrival."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from experiments.fetch.settings import FetchExperiment
from experiments.fetch.sources import NAMES, Source, defect
from experiments.runner.console import progress

try:
    import requests
except ImportError as error:
    raise ImportError("fetching needs requests: python -m pip install requests, or make setup.") from error

# bytes read at a time
CHUNK = 1 << 16
MAX_REDIRECTIONS = 5
# seconds before a file is requested again
PAUSE = 1.0


class MirrorError(Exception):
    """One mirror did not deliver; the message says why."""


@dataclass(frozen=True)
class Client:
    """A client that limits size and redirections, and stores files as the server stores them.

    requests alone would unzip what a server calls zipped, and read what comes with redirections without limit.

    Attributes
    ----------
    advance : callable
        Called with kB received since the last call; negative when a file is begun again.
    timeout : float
        Seconds without an answer after which a server is given up.
    retries : int
        How often a file is requested again.
    max_bytes : int
        Largest size of a file.
    """

    advance: Callable[[float], None]
    timeout: float
    retries: int
    max_bytes: int

    def fetch(self, url: str, path: Path) -> None:
        """Download an address into a file.

        Raises
        ------
        MirrorError
            If the file does not arrive, is too large, or is redirected too often.
        """
        try:
            for _ in range(self.retries):
                try:
                    return self._receive(url, path)
                except requests.RequestException:
                    time.sleep(PAUSE)
            self._receive(url, path)
        except requests.HTTPError as error:
            raise MirrorError(f"{path.name}: the server answered {str(error).partition(' for url')[0]}") from error
        except requests.exceptions.ChunkedEncodingError as error:
            raise MirrorError(f"{path.name}: the download broke off") from error
        except requests.RequestException as error:
            # only its text tells the silence of a server within a file from other connection errors
            if isinstance(error, requests.Timeout) or "timed out" in str(error):
                raise MirrorError(f"{path.name}: no answer within {self.timeout:g} s (experiment.timeout)") from error
            why = str(error).rpartition(": ")[2].strip('")')
            raise MirrorError(f"{path.name}: cannot be reached ({why})") from error

    def _receive(self, url: str, path: Path) -> None:
        """Request a file once."""
        received = 0
        try:
            with self._response(url) as response, path.open("wb") as file:
                response.raise_for_status()
                size = response.headers.get("Content-Length", "")
                if size.isdecimal() and len(size) < 30:
                    self._check_size(int(size), path.name)
                for chunk in response.iter_content(CHUNK):
                    received += len(chunk)
                    self._check_size(received, path.name)
                    file.write(chunk)
                    self.advance(len(chunk) / 1000)
        except BaseException:
            self.advance(-received / 1000)
            raise

    def _response(self, url: str) -> requests.Response:
        """Follow redirections without reading what comes with them, and return the last response."""
        for _ in range(MAX_REDIRECTIONS + 1):
            # a server that zips on the way would change the form of files
            headers = {"Accept-Encoding": "identity"}
            response = requests.get(url, timeout=self.timeout, headers=headers, stream=True, allow_redirects=False)
            if not response.is_redirect:
                # some servers claim that a zipped file was zipped on the way: without the claim, nothing is unzipped
                response.raw.headers.pop("Content-Encoding", None)
                return response
            url = urljoin(url, response.headers["Location"])
            response.close()
        raise MirrorError(f"the server redirects more than {MAX_REDIRECTIONS} times")

    def _check_size(self, size: int, name: str) -> None:
        if size > self.max_bytes:
            raise MirrorError(f"{name}: larger than {self.max_bytes:,} bytes, which the data set has not")


def download(source: Source, keys: Sequence[str], scratch: Path, folder: Path, options: FetchExperiment) -> None:
    """Download files into a scratch folder and check them; what one mirror lacks is requested from the next.

    Parameters
    ----------
    source : Source
        Mirrors and checksums.
    keys : sequence of str
        The wanted files, among the keys of `sources.NAMES`.
    scratch : Path
        An empty folder.
    folder : Path
        Where a user would put files downloaded by hand, for the error message.
    options : FetchExperiment
        Address, timeout and retries.

    Raises
    ------
    OSError
        If no mirror delivers, with the reason for each; or if the scratch folder cannot be written.
    """
    remaining, failures = list(keys), []
    with progress("fetching, kB", source.kilobytes) as advance:
        client = Client(advance, options.timeout, options.retries, source.max_bytes)
        for mirror in source.mirrors if options.url is None else (options.url,):
            try:
                while remaining:
                    _fetch_checked(client, mirror, remaining[0], source, scratch)
                    remaining.pop(0)
                return
            except MirrorError as error:
                failures.append(f"{mirror}: {error}")
    raise OSError(
        f"the data could not be fetched. {'; '.join(failures)}. Check the connection (a proxy is named by the "
        "environment variable HTTPS_PROXY) and run this again, or name another mirror: experiment.url=ADDRESS. By "
        f"hand: download {', '.join(NAMES[key] for key in keys)} from {source.mirrors[0]} or elsewhere into "
        f"{folder}; then the same command only checks them."
    )


def _fetch_checked(client: Client, mirror: str, key: str, source: Source, scratch: Path) -> None:
    """Download one file, and raise `MirrorError` if its content is not the source's."""
    path = scratch / NAMES[key]
    with writing(scratch):
        client.fetch(f"{mirror.rstrip('/')}/{path.name}", path)
    if wrong := defect(path, source.sha256[key], source.max_bytes):
        raise MirrorError(f"{path.name} {wrong}")


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Say what to do if a place cannot be written.

    Raises
    ------
    OSError
        For any OSError inside the context.
    """
    try:
        yield
    except OSError as error:
        raise OSError(
            f"{place} cannot be written ({error.strerror or error}): free some space there, or choose another place "
            "with data.folder=PATH (for temporary files, with the environment variable TMPDIR). No file was left half "
            "written."
        ) from error
