"""Build the sdist and of it the wheel, check both, and use the wheel in an empty environment: ``make wheel``.

Prints what they hold, how long the installation takes and how large it is. Where a folder is named, both are put there.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS, MEGABYTES = 60, 700


def main() -> None:
    """Run all steps; an assertion that fails ends the program with a traceback."""
    with tempfile.TemporaryDirectory() as folder:
        sdist, wheel = build(Path(folder))
        check_descriptions(sdist, wheel)
        python = install(wheel, Path(folder) / "environment")
        elsewhere = Path(folder) / "elsewhere"
        elsewhere.mkdir()
        print(call([python, Path(__file__).with_name("use_installed.py")], elsewhere).strip())
        version = call([python.with_name("hntk"), "--version"], elsewhere)
        print(f"the console command answers: {version.strip()}")
        for kept in sys.argv[1:]:
            Path(kept).mkdir(parents=True, exist_ok=True)
            for made in (sdist, wheel):
                shutil.copy(made, kept)


def build(folder: Path) -> tuple[Path, Path]:
    """Build the sdist from a copy of the tracked files, and the wheel from the sdist; check what both hold."""
    # a copy, because setuptools puts into a wheel what an earlier build left in the folder build
    tracked, sources = call(["git", "ls-files"], ROOT).splitlines(), folder / "sources"
    for name in tracked:
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, sources / name)
    # without isolation: what builds is pinned in requirements/build.txt and installed
    call([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, sources], ROOT)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    with tarfile.open(sdist) as archive:
        files = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    # hidden files are settings of the place that a repository lies in
    expected = {name for name in tracked if not name.startswith(".")}
    compare(sdist, {name for name in files if ".egg-info/" not in name} - {"PKG-INFO", "setup.cfg"}, expected)
    names = set(zipfile.ZipFile(wheel).namelist())
    library = {name for name in tracked if name.startswith("hntk/")}
    compare(wheel, {name for name in names if ".dist-info/" not in name}, library)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names), "the wheel has no license"
    return sdist, wheel


def compare(made: Path, held: set[str], expected: set[str]) -> None:
    """Check that an archive holds what it should and nothing else."""
    missing, more = sorted(expected - held), sorted(held - expected)
    assert held == expected, f"{made.name}: missing: {missing}; too many: {more}"
    print(f"{made.name}: {len(held)} files, {made.stat().st_size / 1e3:.0f} kB")


def check_descriptions(sdist: Path, wheel: Path) -> None:
    """Check that a package index can show the README, and that both archives say the same of the project."""
    call([sys.executable, "-m", "twine", "check", "--strict", sdist, wheel], ROOT)
    print("twine check --strict: both passed")
    with tarfile.open(sdist) as archive:
        (name,) = [name for name in archive.getnames() if name.count("/") == 1 and name.endswith("/PKG-INFO")]
        told = archive.extractfile(name)
        assert told is not None
        of_sdist = told.read()
    packed = zipfile.ZipFile(wheel)
    (metadata,) = [name for name in packed.namelist() if name.endswith(".dist-info/METADATA")]
    assert of_sdist == packed.read(metadata), "sdist and wheel describe the project in other words"


def install(wheel: Path, environment: Path) -> Path:
    """Install the wheel and what it asks for, and return the interpreter."""
    call([sys.executable, "-m", "venv", environment], ROOT)
    before, start = size(environment), time.perf_counter()
    python = environment / "bin" / "python"
    call([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel], ROOT)
    seconds, megabytes = time.perf_counter() - start, (size(environment) - before) / 1e6
    print(f"pip install: {seconds:.0f} s, {megabytes:.0f} MB")
    assert seconds < SECONDS, f"more than {SECONDS} s"
    assert megabytes < MEGABYTES, f"more than {MEGABYTES} MB"
    return python


def size(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def call(command: Sequence[object], folder: Path) -> str:
    """Run a command in a folder and return what it prints; its errors are shown where it fails."""
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
