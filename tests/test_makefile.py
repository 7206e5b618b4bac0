"""What the Makefile does and refuses, in folders of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# an interpreter that notes what it is asked to do
NOTING = '#!/bin/sh\necho "$@" >> "$(dirname "$0")/asked"\n'

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder with the Makefile, what its set-up reads, and an interpreter that notes what it is asked."""
    folder = tmp_path / "checkout"
    (folder / "requirements").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copyfile(ROOT / name, folder / name)
    for name in ("build.txt", "lock.txt"):
        (folder / "requirements" / name).touch()
    (folder / "python").write_text(NOTING)
    (folder / "python").chmod(0o755)
    return folder


def made(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run make in a folder."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", f"PYTHON={folder}/python", "JOBS=1", *words]
    return subprocess.run(command, cwd=folder, env=inherited, capture_output=True, text=True)


def asked(folder: Path) -> str:
    """Return what the interpreter was asked."""
    return (folder / "asked").read_text() if (folder / "asked").exists() else ""


@pytest.mark.parametrize("target", ["setup", "setup-models", "unit"])
@pytest.mark.parametrize("begun", [False, True], ids=["empty", "without this project"])
def test_an_environment_of_another_folder_is_not_touched(checkout: Path, target: str, begun: bool) -> None:
    other = checkout.parent / "other"
    (other / "bin").mkdir(parents=True)
    shutil.copyfile(checkout / "python", other / "bin" / "python")
    (other / "bin" / "python").chmod(0o755)
    (other / "kept").write_text("mine")
    if begun:
        (other / ".lock").touch()
    (checkout / ".venv").symlink_to(other)
    before = sorted(other.rglob("*"))
    done = made(checkout, target)
    assert done.returncode != 0
    assert f".venv is a link to {other}" in done.stderr
    assert "rm .venv" in done.stderr
    assert "VENV=.venv-own" in done.stderr
    assert sorted(other.rglob("*")) == before
    assert "venv" not in asked(checkout)
    assert asked(other / "bin") == ""


def test_an_environment_of_its_own_is_made(checkout: Path) -> None:
    made(checkout, "setup")
    assert "-m venv --clear .venv" in asked(checkout)
    made(checkout, "setup", "VENV=.venv-own")
    assert "-m venv --clear .venv-own" in asked(checkout)
