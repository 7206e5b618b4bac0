"""Fetch a data set into the data folder, in the form that ``hntk.load_dataset`` reads, after checking its sha256."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from experiments.fetch import sources, stand_in
from experiments.fetch.downloads import download, writing
from experiments.fetch.sources import NAMES, Source
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, show_table, stage
from experiments.runner.record import Record
from hntk.data.idx import find_idx_files
from hntk.data.locate import ENVIRONMENT_VARIABLE


@dataclass(frozen=True)
class Held:
    """What the folder of a data set holds already.

    Attributes
    ----------
    files : at most one for each key.
    defects : what is wrong with those that are not right.
    """

    files: dict[str, Path]
    defects: dict[str, str]


def data_read(cfg: Config) -> None:
    """Return nothing, as the data set is not there yet."""


def run(cfg: Config, record: Record) -> None:
    """Check what is there, fetch what is missing, and put it in place only when all of it is right.

    Raises
    ------
    FileNotFoundError
        If no data folder is set.
    ImportError
        If pooch is not installed.
    OSError
        If no mirror delivers, or a folder cannot be written.
    ValueError
        If the data set cannot be fetched, or what is there would be hidden, made ambiguous or overwritten.
    """
    name = cfg.data.name
    if name == stand_in.NAME and cfg.data.folder is None:
        with stand_in.served() as source:
            CONSOLE.print("  served by this process itself on the loopback address; nothing comes from the internet")
            _fetch(cfg, record, source, record.folder / "data")
    else:
        _fetch(cfg, record, sources.find(name), _root(cfg.data.folder))


def _fetch(cfg: Config, record: Record, source: Source, root: Path) -> None:
    name, folder = cfg.data.name, _folder(root, cfg.data.name)
    with stage(f"checking {folder}"):
        held = _held(folder, source)
    _allow(held, folder, name, cfg.experiment.overwrite)
    wanted = [key for key in source.sha256 if key not in held.files or key in held.defects]
    if wanted:
        with writing(root):
            root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="hntk-") as scratch:
            download(source, wanted, Path(scratch), folder, cfg.experiment)
            with stage(f"writing {folder}"), writing(folder):
                _place(Path(scratch), folder, wanted, held)
    _report(record, source, held, wanted)
    CONSOLE.print(f"\nNext: python -m experiments.run +exp=mnist data={name} data.folder={root}", soft_wrap=True)


def _root(given: str | None) -> Path:
    place = given or os.environ.get(ENVIRONMENT_VARIABLE)
    if not place:
        raise FileNotFoundError(
            f"no data folder is set: say where to put the data with data.folder=PATH, or set the environment variable "
            f"{ENVIRONMENT_VARIABLE}. The folder is made if it is missing."
        )
    root = Path(place).expanduser()
    if root.exists() and not root.is_dir():
        raise ValueError(f"{root} is a file: data.folder must be a folder, which may be a new one.")
    return root


def _folder(root: Path, name: str) -> Path:
    """Where `hntk.load_dataset` will look first, if that can be had without hiding what it finds now."""
    named, folder = root / name, root / name
    if not named.is_dir() and root.is_dir() and find_idx_files(root):
        folder = root  # the folder of the files themselves was given
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


def _held(folder: Path, source: Source) -> Held:
    found = find_idx_files(folder) if folder.is_dir() else {}
    for paths in found.values():
        if len(paths) > 1:
            raise ValueError(f"{folder} is ambiguous: {[path.name for path in paths]} hold the same part; keep one.")
    files = {key: path for key, (path,) in found.items()}
    checked = {key: sources.defect(path, source.sha256[key], source.most_bytes) for key, path in files.items()}
    return Held(files, {key: wrong for key, wrong in checked.items() if wrong is not None})


def _allow(held: Held, folder: Path, name: str, overwrite: bool) -> None:
    if not held.defects:
        return
    found = "; ".join(f"{held.files[key].name} {wrong}" for key, wrong in held.defects.items())
    if not overwrite:
        raise ValueError(
            f"{folder} holds files that are not those of {name}: {found}. Nothing was changed. To replace them add "
            "experiment.overwrite=true, or choose another data.folder."
        )
    CONSOLE.print(f"  to be replaced: {found}", soft_wrap=True)


def _place(scratch: Path, folder: Path, keys: list[str], held: Held) -> None:
    folder.mkdir(exist_ok=True)
    for key in keys:
        target = folder / NAMES[key]
        part = folder / f".{target.name}.{os.getpid()}.part"
        try:
            shutil.copyfile(scratch / target.name, part)
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
        former = held.files.get(key, target)
        if former != target:
            former.unlink()


def _report(record: Record, source: Source, held: Held, fetched: list[str]) -> None:
    rows = []
    for key, sha256 in source.sha256.items():
        state = "was there" if key not in fetched else "replaced" if key in held.files else "fetched"
        rows.append([NAMES[key] if key in fetched else held.files[key].name, sha256, state])
    columns = ["file", "sha256, unzipped", ""]
    show_table("Everything is in place and right" + ("" if fetched else ": nothing to fetch"), columns, rows)
    record.add_table("files", ["file", "sha256", "state"], rows)
    record.add_metrics(fetched=len(fetched))
