"""The folder that a command fills: files that are there already are left alone, unless they are to be replaced."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hntk.deploy.c_literals import LONGEST_NAME, check_name

# Prefix of a name that would begin with a digit, or be a word of C.
PREFIX = "net_"


def name_for(data: Path) -> str:
    """Return a name for the program of DATA: its file's name as far as C's identifiers allow.

    Examples
    --------
    >>> from pathlib import Path
    >>> [name_for(Path(p)) for p in ("Wine Quality.csv.gz", "1st.npz", "int.csv", "…")]
    ['wine_quality', 'net_1st', 'net_int', 'net_data']
    """
    stem = data.name.split(".")[0] or data.resolve().name
    plain = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")[: LONGEST_NAME - len(PREFIX)].strip("_")
    try:
        return check_name(plain)
    except ValueError:
        return check_name(PREFIX + (plain or "data"))


@dataclass(frozen=True)
class OutputFolder:
    """The files that a command writes.

    Attributes
    ----------
    folder : Path
        The folder.
    name : str
        Name of the program, of which the files' names are made.
    targets : tuple of str
        What is exported: "c", "onnx".
    """

    folder: Path
    name: str
    targets: tuple[str, ...]

    @property
    def network(self) -> Path:
        """The packed file."""
        return self.folder / f"{self.name}.safetensors"

    @property
    def onnx(self) -> Path:
        """The ONNX model."""
        return self.folder / f"{self.name}.onnx"

    @property
    def report(self) -> Path:
        """The page about the program."""
        return self.folder / "report.html"

    @property
    def checkpoint(self) -> Path:
        """What an interrupted training goes on from."""
        return self.folder / f"{self.name}.training.npz"

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that is written at the end."""
        c = [self.folder / f"{self.name}{ending}" for ending in (".h", ".c", "_main.c")] if "c" in self.targets else []
        return self.network, *c, *([self.onnx] if "onnx" in self.targets else []), self.report

    def prepare(self, *, force: bool) -> None:
        """Make the folder, before anything is computed.

        Raises
        ------
        FileExistsError
            If a file would be replaced, or the folder's name is a file's.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise FileExistsError(f"{self.folder} is a file: name a folder with --out.")
        present = [file.name for file in self.files if file.exists() or file.is_symlink()]
        if present and not force:
            raise FileExistsError(
                f"{self.folder} holds {', '.join(present)} already: name another folder with --out, or add --force to "
                "replace them."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
