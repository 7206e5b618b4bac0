"""Files of a data set from its mirrors into a scratch folder, each checked before it counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from experiments.fetch.sources import NAMES, Source, defect
from experiments.runner.config import FetchExperiment
from experiments.runner.console import progress

CHUNK = 1 << 16
REDIRECTIONS = 5


class MirrorError(Exception):
    """One mirror did not deliver; the message says why."""


class Kilobytes:
    """The progress of a file, passed on in kB.

    Parameters
    ----------
    advance : called with the number of kB received since, which is negative when a file is begun again.
    """

    def __init__(self, advance: Callable[[float], None]) -> None:
        self._advance = advance
        self._bytes = 0

    @property
    def total(self) -> int:
        """Bytes of this file so far; set when an attempt begins, to whatever, it begins at 0."""
        return self._bytes

    @total.setter
    def total(self, _: int) -> None:
        self.reset()

    def update(self, amount: int) -> None:
        """Count bytes received."""
        self._bytes += amount
        self._advance(amount / 1000)

    def reset(self) -> None:
        """Take back what was counted of this file."""
        self._advance(-self._bytes / 1000)
        self._bytes = 0

    def close(self) -> None:
        """Keep what was counted: the file is complete."""
        self._bytes = 0


@dataclass(frozen=True)
class Capped:
    """A download as pooch asks for one, of no more bytes and redirections than are allowed.

    Attributes
    ----------
    meter : told of what arrives.
    timeout : seconds without an answer after which a server is given up.
    most : bytes of a file.
    """

    meter: Kilobytes
    timeout: float
    most: int

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        """Write what is at an address into a file, as it is stored there.

        Raises
        ------
        MirrorError
            If it is larger than allowed, or redirected too often.
        requests.RequestException
            If it does not arrive.
        """
        with self._answer(url) as response, open(output_file, "wb") as file:
            response.raise_for_status()
            declared = response.headers.get("Content-Length", "")
            if declared.isdecimal() and len(declared) < 30:
                self._check(int(declared), url)
            self.meter.total = received = 0
            for chunk in _chunks(response):
                received += len(chunk)
                self._check(received, url)
                file.write(chunk)
                self.meter.update(len(chunk))
        self.meter.close()

    def _answer(self, url: str) -> Any:
        """The first answer that leads nowhere else; what servers send along with a redirection is not read."""
        import requests

        for _ in range(REDIRECTIONS + 1):
            # a server that zips on the way would change files in form
            headers = {"Accept-Encoding": "identity"}
            response = requests.get(url, timeout=self.timeout, headers=headers, stream=True, allow_redirects=False)
            if not response.is_redirect:
                return response
            url = urljoin(url, response.headers["Location"])
            response.close()
        raise MirrorError(f"the server redirects more than {REDIRECTIONS} times")

    def _check(self, size: int, url: str) -> None:
        if size > self.most:
            raise MirrorError(f"{url.rpartition('/')[2]}: larger than {self.most:,} bytes, which the data set has not")


def _chunks(response: Any) -> Iterator[bytes]:
    """The bytes as they are stored, zipped or not; failures are those that requests has."""
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
    """Get files, whole and right, into a scratch folder; what one mirror lacks is asked of the next.

    Parameters
    ----------
    source : mirrors and checksums.
    keys : of the files wanted, among those of `sources.NAMES`.
    scratch : an empty folder.
    folder : where files got by hand would go.
    options : address, timeout and retries.

    Raises
    ------
    ImportError
        If pooch is not installed.
    OSError
        If no mirror delivers, with the reason for each and where to put files got by hand; or if the scratch folder
        cannot be written.
    """
    wanted, failures = list(keys), []
    with progress("fetching, kB", source.kilobytes) as advance:
        for mirror in source.mirrors if options.url is None else (options.url,):
            try:
                return _from_mirror(mirror, source, wanted, scratch, options, Kilobytes(advance))
            except MirrorError as error:
                failures.append(f"{mirror}: {error}")
    raise OSError(
        f"the data could not be fetched. {'; '.join(failures)}. Check the connection (a proxy is named by the "
        "environment variable HTTPS_PROXY) and run this again, or name another mirror: experiment.url=ADDRESS. By "
        f"hand: download {', '.join(NAMES[key] for key in wanted)} from {source.mirrors[0]} or elsewhere into "
        f"{folder}; then the same command only checks them."
    )


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Say what to do where a place cannot be written.

    Raises
    ------
    OSError
        For any such failure within.
    """
    try:
        yield
    except OSError as error:
        raise OSError(
            f"{place} cannot be written ({error.strerror or error}): free some space there, or choose another place "
            "with data.folder=PATH (for temporary files, with the environment variable TMPDIR). No file was left half "
            "written."
        ) from error


def _from_mirror(
    mirror: str, source: Source, keys: list[str], scratch: Path, options: FetchExperiment, meter: Kilobytes
) -> None:
    pooch = _client()
    get = Capped(meter, options.timeout, source.most_bytes)
    registry = dict.fromkeys(NAMES.values())  # no checksums here: a mirror may zip in its own way
    files = pooch.create(scratch, mirror, registry=registry, retry_if_failed=options.retries)
    for key in keys:
        with writing(scratch):
            path = _fetched(files, NAMES[key], get, options.timeout)
        if wrong := defect(path, source.sha256[key], source.most_bytes):
            path.unlink()
            raise MirrorError(f"{path.name} {wrong}")


def _client() -> Any:
    try:
        import pooch
    except ImportError as error:
        raise ImportError("fetching needs pooch: python -m pip install pooch, or make setup in a checkout.") from error
    pooch.get_logger().setLevel("WARNING")  # it would tell of every file, in the midst of the progress bar
    return pooch


def _fetched(files: Any, name: str, get: Any, timeout: float) -> Path:
    import requests

    try:
        return Path(files.fetch(name, downloader=get))
    except requests.HTTPError as error:
        raise MirrorError(f"{name}: the server answered {str(error).partition(' for url')[0]}") from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise MirrorError(f"{name}: the download broke off") from error
    except requests.RequestException as error:
        # a server that falls silent in the midst of a file comes as a ConnectionError, but for its text
        if isinstance(error, requests.Timeout) or "timed out" in str(error):
            raise MirrorError(f"{name}: no answer within {timeout:g} s (experiment.timeout)") from error
        raise MirrorError(
            f"{name}: cannot be reached ({str(error).rpartition(': ')[2].strip(chr(34) + ')')})"
        ) from error
