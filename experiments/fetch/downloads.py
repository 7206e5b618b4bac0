"""Downloads of a data set's files from its mirrors into a scratch folder, each file checked on arrival."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from experiments.fetch.settings import FetchExperiment
from experiments.fetch.sources import NAMES, Source, defect
from experiments.runner.console import progress

# bytes read at a time
CHUNK = 1 << 16
MAX_REDIRECTIONS = 5


class MirrorError(Exception):
    """One mirror did not deliver; the message says why."""


class Meter:
    """A progress bar's share of one file, which may be begun again.

    Parameters
    ----------
    advance : callable
        Called with kB received since the last call; negative when a file is begun again.
    """

    def __init__(self, advance: Callable[[float], None]) -> None:
        self._advance = advance
        self._bytes = 0

    def begin(self) -> None:
        """Take back what an earlier attempt at this file received."""
        self._advance(-self._bytes / 1000)
        self._bytes = 0

    def add(self, amount: int) -> None:
        """Count received bytes."""
        self._bytes += amount
        self._advance(amount / 1000)

    def end(self) -> None:
        """Keep the count, as the file is complete."""
        self._bytes = 0


@dataclass(frozen=True)
class CappedDownloader:
    """A downloader for pooch that limits size and redirections, and stores files as the server stores them.

    pooch's own downloader would unzip what a server calls zipped, and read what comes with redirections without limit.

    Attributes
    ----------
    meter : Meter
        Counts what arrives.
    timeout : float
        Seconds without an answer after which a server is given up.
    max_bytes : int
        Largest size of a file.
    """

    meter: Meter
    timeout: float
    max_bytes: int

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        """Download an address into a file.

        Raises
        ------
        MirrorError
            If the file is too large, or redirected too often.
        requests.RequestException
            If it does not arrive.
        """
        with self._response(url) as response, open(output_file, "wb") as file:
            response.raise_for_status()
            size = response.headers.get("Content-Length", "")
            if size.isdecimal() and len(size) < 30:
                self._check_size(int(size), url)
            self.meter.begin()
            received = 0
            for chunk in _chunks(response):
                received += len(chunk)
                self._check_size(received, url)
                file.write(chunk)
                self.meter.add(len(chunk))
        self.meter.end()

    def _response(self, url: str) -> Any:
        """Follow redirections without reading what comes with them, and return the last response."""
        import requests

        for _ in range(MAX_REDIRECTIONS + 1):
            # a server that zips on the way would change the form of files
            headers = {"Accept-Encoding": "identity"}
            response = requests.get(url, timeout=self.timeout, headers=headers, stream=True, allow_redirects=False)
            if not response.is_redirect:
                return response
            url = urljoin(url, response.headers["Location"])
            response.close()
        raise MirrorError(f"the server redirects more than {MAX_REDIRECTIONS} times")

    def _check_size(self, size: int, url: str) -> None:
        if size > self.max_bytes:
            name = url.rpartition("/")[2]
            raise MirrorError(f"{name}: larger than {self.max_bytes:,} bytes, which the data set has not")


def _chunks(response: Any) -> Iterator[bytes]:
    """Yield the bytes as the server stores them; errors of urllib3 become those of requests."""
    import requests
    import urllib3.exceptions as failures

    try:
        yield from response.raw.stream(CHUNK, decode_content=False)
    except failures.ReadTimeoutError as error:
        raise requests.exceptions.ReadTimeout(error) from error
    except failures.ProtocolError as error:
        raise requests.exceptions.ChunkedEncodingError(error) from error
    except failures.HTTPError as error:
        raise requests.exceptions.ConnectionError(error) from error


def download(source: Source, keys: Iterable[str], scratch: Path, folder: Path, options: FetchExperiment) -> None:
    """Download files into a scratch folder and check them; what one mirror lacks is requested from the next.

    Parameters
    ----------
    source : Source
        Mirrors and checksums.
    keys : iterable of str
        The wanted files, among the keys of `sources.NAMES`.
    scratch : Path
        An empty folder.
    folder : Path
        Where a user would put files downloaded by hand, for the error message.
    options : FetchExperiment
        Address, timeout and retries.

    Raises
    ------
    ImportError
        If pooch is not installed.
    OSError
        If no mirror delivers, with the reason for each; or if the scratch folder cannot be written.
    """
    missing, failures = list(keys), []
    with progress("fetching, kB", source.kilobytes) as advance:
        for mirror in source.mirrors if options.url is None else (options.url,):
            try:
                return _download_from(mirror, source, missing, scratch, options, Meter(advance))
            except MirrorError as error:
                failures.append(f"{mirror}: {error}")
    raise OSError(
        f"the data could not be fetched. {'; '.join(failures)}. Check the connection (a proxy is named by the "
        "environment variable HTTPS_PROXY) and run this again, or name another mirror: experiment.url=ADDRESS. By "
        f"hand: download {', '.join(NAMES[key] for key in missing)} from {source.mirrors[0]} or elsewhere into "
        f"{folder}; then the same command only checks them."
    )


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


def _download_from(
    mirror: str, source: Source, keys: list[str], scratch: Path, options: FetchExperiment, meter: Meter
) -> None:
    """Download all files from one mirror; files that an earlier mirror delivered are in the scratch folder already."""
    downloader = CappedDownloader(meter, options.timeout, source.max_bytes)
    # without checksums, as each mirror zips in its own way: the content is checked below
    registry = dict.fromkeys(NAMES.values())
    files = _pooch().create(scratch, mirror, registry=registry, retry_if_failed=options.retries)
    for key in keys:
        with writing(scratch):
            path = _fetched(files, NAMES[key], downloader)
        if wrong := defect(path, source.sha256[key], source.max_bytes):
            path.unlink()
            raise MirrorError(f"{path.name} {wrong}")


def _pooch() -> Any:
    """Import pooch, and keep its log out of the progress bar."""
    try:
        import pooch
    except ImportError as error:
        raise ImportError("fetching needs pooch: python -m pip install pooch, or make setup in a checkout.") from error
    pooch.get_logger().setLevel("WARNING")
    return pooch


def _fetched(files: Any, name: str, downloader: CappedDownloader) -> Path:
    """Return the path of a downloaded file.

    Raises
    ------
    MirrorError
        If it does not arrive.
    """
    import requests

    try:
        return Path(files.fetch(name, downloader=downloader))
    except requests.HTTPError as error:
        raise MirrorError(f"{name}: the server answered {str(error).partition(' for url')[0]}") from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise MirrorError(f"{name}: the download broke off") from error
    except requests.RequestException as error:
        # only its text tells the silence of a server within a file from other connection errors
        if isinstance(error, requests.Timeout) or "timed out" in str(error):
            raise MirrorError(f"{name}: no answer within {downloader.timeout:g} s (experiment.timeout)") from error
        raise MirrorError(
            f"{name}: cannot be reached ({str(error).rpartition(': ')[2].strip(chr(34) + ')')})"
        ) from error
