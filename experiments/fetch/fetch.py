"""Fetch a data set into the data folder, in the form that ``hntk.load_dataset`` reads, after a check of its sha256."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from experiments.fetch import sources
from experiments.fetch.downloads import download, writing
from experiments.fetch.sources import NAMES, Source, served
from experiments.runner.command_line import STAND_IN
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, say, show_table, stage
from experiments.runner.record import Record
from hntk._utils.atomic_file import replacing
from hntk.data.idx import find_idx_files
from hntk.data.locate import ENVIRONMENT_VARIABLE


@dataclass(frozen=True)
class Present:
    """The files of a data set that its folder has already.

    Attributes
    ----------
    files : dict
        Path by key.
    defects : dict
        What is wrong, by the keys of the wrong files.
    """

    files: dict[str, Path]
    defects: dict[str, str]


def data_read(cfg: Config) -> None:
    """Return None, as the data set is not there yet."""


def run(cfg: Config, record: Record) -> None:
    """Check the files in the folder, fetch the missing ones, and put them in place only when all are right.

    Raises
    ------
    FileNotFoundError
        If no data folder is set.
    OSError
        If no mirror delivers, or a folder cannot be written.
    ValueError
        If the data set cannot be fetched, or files in the folder would be hidden, made ambiguous or overwritten.
    """
    if cfg.data.name == STAND_IN and cfg.data.folder is None:
        with served() as source:
            CONSOLE.print(
                "  this process serves the files itself, on the loopback address; nothing comes from the internet"
            )
            _fetch(cfg, record, source, record.folder / "data")
    else:
        _fetch(cfg, record, sources.find(cfg.data.name), _data_folder(cfg.data.folder))


def _fetch(cfg: Config, record: Record, source: Source, root: Path) -> None:
    """Fetch a data set from a source into its folder below ``root``."""
    name, folder = cfg.data.name, _dataset_folder(root, cfg.data.name)
    with stage(f"checking {folder}"):
        present = _present(folder, source)
    _check_replacements(present, folder, name, cfg.experiment.overwrite)
    missing = [key for key in source.sha256 if key not in present.files or key in present.defects]
    if missing:
        with writing(root):
            root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="hntk-") as scratch:
            download(source, missing, Path(scratch), folder, cfg.experiment)
            with stage(f"writing {folder}"), writing(folder):
                _put_in_place(Path(scratch), folder, missing, present)
    _report(record, source, present, missing)
    say(f"\nNext: python -m experiments.run +exp=mnist data={name} data.folder={root}")


def _data_folder(configured: str | None) -> Path:
    """Return the data folder of the configuration, or else of the environment."""
    place = configured or os.environ.get(ENVIRONMENT_VARIABLE)
    if not place:
        raise FileNotFoundError(
            f"no data folder is set: say where to put the data with data.folder=PATH, or set the environment variable "
            f"{ENVIRONMENT_VARIABLE}. The folder is made if it is missing."
        )
    root = Path(place).expanduser()
    if root.exists() and not root.is_dir():
        raise ValueError(f"{root} is a file: data.folder must be a folder, which may be a new one.")
    return root


def _dataset_folder(root: Path, name: str) -> Path:
    """Return the folder where `hntk.load_dataset` will look first, if files there hide none that it finds now."""
    named, folder = root / name, root / name
    if not named.is_dir() and root.is_dir() and find_idx_files(root):
        folder = root  # the data folder is the folder of the files themselves
    archives = sorted(folder.glob("*.npz")) if folder.is_dir() else []
    archives += [path for path in [root / f"{name}.npz"] if path.is_file() and not named.is_dir()]
    if archives:
        raise ValueError(
            f"{archives[0]} is what load_dataset finds at present, and IDX files in {folder} would hide it or make it "
            "ambiguous: use it as it is, move it away, or choose another data.folder."
        )
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file where a folder is needed: move it away, or choose another data.folder.")
    return folder


def _present(folder: Path, source: Source) -> Present:
    """Check the files in a folder."""
    candidates = find_idx_files(folder) if folder.is_dir() else {}
    for paths in candidates.values():
        if len(paths) > 1:
            raise ValueError(f"{folder} is ambiguous: {[path.name for path in paths]} hold the same part; keep one.")
    files = {key: path for key, (path,) in candidates.items()}
    checked = {key: sources.defect(path, source.sha256[key], source.max_bytes) for key, path in files.items()}
    return Present(files, {key: wrong for key, wrong in checked.items() if wrong is not None})


def _check_replacements(present: Present, folder: Path, name: str, overwrite: bool) -> None:
    """Refuse to replace wrong files unless the user allows it."""
    if not present.defects:
        return
    wrong = "; ".join(f"{present.files[key].name} {defect}" for key, defect in present.defects.items())
    if not overwrite:
        raise ValueError(
            f"{folder} holds files that are not those of {name}: {wrong}. Nothing was changed. To replace them add "
            "experiment.overwrite=true, or choose another data.folder."
        )
    say(f"  to be replaced: {wrong}")


def _put_in_place(scratch: Path, folder: Path, keys: list[str], present: Present) -> None:
    """Move files from the scratch folder, each as a whole, in place of wrong ones."""
    folder.mkdir(exist_ok=True)
    for key in keys:
        target = folder / NAMES[key]
        with replacing(target) as part:
            shutil.copyfile(scratch / target.name, part)
        wrong = present.files.get(key, target)
        if wrong != target:
            wrong.unlink()


def _report(record: Record, source: Source, present: Present, fetched: list[str]) -> None:
    """Print and write a table of the files."""
    rows = []
    for key, sha256 in source.sha256.items():
        state = "was there" if key not in fetched else "replaced" if key in present.files else "fetched"
        rows.append([NAMES[key] if key in fetched else present.files[key].name, sha256, state])
    columns = ["file", "sha256, unzipped", ""]
    show_table("Everything is in place and right" + ("" if fetched else ": nothing to fetch"), columns, rows)
    record.add_table("files", ["file", "sha256", "state"], rows)
    record.add_metrics(fetched=len(fetched))
