"""The journal of kernels on disk: a file, always replaced whole, that says which bands (rows of tiles) are done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hntk._utils.atomic_file import replacing

FILES = ("ck.npy", "ntk.npy")
PROGRESS = "progress.json"
# the entry of an identity that is about the program and not about the problem
PROGRAM = "code"


def remedy(folder: Path) -> str:
    """Return what to do about files that cannot be continued."""
    return f"remove {', '.join(FILES)} and {PROGRESS} in {folder} to begin anew, or choose another folder"


@dataclass
class Journal:
    """The state of kernels on disk.

    Attributes
    ----------
    path : Path
        The journal's file.
    identity : dict
        What the kernels are of, and what code computes them.
    bands : list of int
        First rows of all bands.
    done : set of int
        Bands that are complete on the disk.
    fresh : bool
        Whether the kernels' files are still to be made.
    older : bool
        Whether another version of the code began them.
    """

    path: Path
    identity: dict[str, Any]
    bands: list[int]
    done: set[int] = field(default_factory=set)
    fresh: bool = True
    older: bool = False

    @property
    def left(self) -> list[int]:
        """Bands that are still to be computed."""
        return [band for band in self.bands if band not in self.done]

    @classmethod
    def of(cls, folder: Path, identity: dict[str, Any], bands: Sequence[int], older_code: bool) -> Journal:
        """Read a folder's journal; where there is none it is empty.

        Raises
        ------
        ValueError
            If it cannot be read, is of something else or of other code, or names bands that do not exist.
        """
        path = folder / PROGRESS
        if not path.exists():
            return cls(path, identity, list(bands))
        known, done = _read(path)
        _check_identity(folder, known, identity, older_code)
        _check_bands(path, done, bands)
        files_exist = all((folder / name).exists() for name in FILES)
        if not files_exist:
            return cls(path, identity, list(bands))
        # kernels that another version of the code began keep its digest
        older = known.get(PROGRAM) != identity[PROGRAM]
        return cls(path, known, list(bands), set(done), fresh=False, older=older)

    def add(self, band: int) -> None:
        """Note that a band is done."""
        self.done.add(band)
        self.write()

    def write(self) -> None:
        """Replace the journal's file."""
        with replacing(self.path) as part:
            part.write_text(json.dumps({"kernels": self.identity, "done": sorted(self.done)}), encoding="utf-8")


def _read(path: Path) -> tuple[dict[str, Any], list[int]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known, done = content["kernels"], content["done"]
        if not isinstance(known, dict) or not isinstance(done, list):
            raise TypeError("it is not a journal of kernels")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({error}): remove the folder, or choose another.") from error
    return known, done


def _check_bands(path: Path, done: list, bands: Sequence[int]) -> None:
    known = set(bands)
    beyond = [band for band in done if type(band) is not int or band not in known]
    if beyond or len(set(done)) != len(done):
        raise ValueError(
            f"{path} counts rows of tiles as done that these kernels do not have, or counts them twice "
            f"({(beyond or done)[:5]}): it is damaged; {remedy(path.parent)}."
        )


def _check_identity(folder: Path, known: dict[str, Any], identity: dict[str, Any], older_code: bool) -> None:
    keys = [*identity, *(key for key in known if key not in identity)]
    other = [key for key in keys if key != PROGRAM and known.get(key) != identity.get(key)]
    if other:
        raise ValueError(
            f"{folder} holds kernels of something else (other {', '.join(other)}): choose another folder, or "
            f"remove {FILES[0]}, {FILES[1]} and {PROGRESS} there."
        )
    if known.get(PROGRAM) != identity[PROGRAM] and not older_code:
        raise ValueError(
            f"{folder} holds these kernels, computed by another version of hntk's code: {remedy(folder)}. With "
            "older_code=True they are taken as they are."
        )
