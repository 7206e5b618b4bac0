"""Build the wheel, install it into an empty environment, and use it from another folder: ``make wheel``.

Prints how long the installation takes and how large it is.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
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
        wheel = build(Path(folder))
        python = install(wheel, Path(folder) / "environment")
        elsewhere = Path(folder) / "elsewhere"
        elsewhere.mkdir()
        print(call([python, Path(__file__).with_name("use_installed.py")], elsewhere).strip())
        version = call([python.with_name("hntk"), "--version"], elsewhere)
        print(f"the console command answers: {version.strip()}")


def build(folder: Path) -> Path:
    """Build the wheel from a copy of the tracked files, and check that it holds the library and nothing else."""
    # a copy, because setuptools puts into a wheel what an earlier build left in the folder build
    tracked, sources = call(["git", "ls-files"], ROOT).splitlines(), folder / "sources"
    for name in tracked:
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, sources / name)
    # without isolation: what builds is pinned in requirements/build.txt and installed
    call([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, sources], ROOT)
    (wheel,) = folder.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    held = {name for name in names if ".dist-info/" not in name}
    library = {name for name in tracked if name.startswith("hntk/")}
    assert held == library, f"missing: {sorted(library - held)}; too many: {sorted(held - library)}"
    print(f"{wheel.name}: {len(names)} files, {wheel.stat().st_size / 1e3:.0f} kB")
    return wheel


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
