"""Three scripts as a theorist, a scikit-learn user and an engineer would write them from the README and the site."""

from __future__ import annotations

import ast
import runpy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from experiments.shipping import toolchain

ROOT = Path(__file__).parents[2]
USERS = Path(__file__).parent / "first_users"
SCRIPTS = sorted(USERS.glob("*.py"))
MOST_LINES = 25


def run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: str) -> dict[str, Any]:
    """Run a script in a folder, with some of its words changed, and return its variables."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    text = (USERS / f"{name}.py").read_text(encoding="utf-8")
    for word, other in changes.items():
        assert word in text
        text = text.replace(word, other)
    script = folder / f"{name}.py"
    script.write_text(text, encoding="utf-8")
    return runpy.run_path(str(script))


def code_lines(tree: ast.Module) -> set[int]:
    """Return the lines that hold code: neither blank, nor comments, nor a docstring."""
    text = [node for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    docstrings = {line for node in text for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    return {node.lineno for node in ast.walk(tree) if hasattr(node, "lineno")} - docstrings  # type: ignore[attr-defined]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_is_short(script: Path) -> None:
    assert 10 < len(code_lines(ast.parse(script.read_text(encoding="utf-8")))) <= MOST_LINES


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_what_a_script_uses_is_told_in_the_documentation(script: Path) -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "docs" / "tutorials").glob("*.py")]
    told = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    tree = ast.parse(script.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and "hntk" in (node.module or "")]
    names = {alias.name for node in imports for alias in node.names}
    names |= {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("hntk.")
    }
    options = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    names |= {word for word in options if isinstance(word, str) and word.startswith("--")}
    assert names - {name for name in names if name in told} == set()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("matplotlib") is None, reason="needs matplotlib")
def test_the_theorist_finds_spectra_as_predicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    left = run("theorist", tmp_path, monkeypatch)
    assert left["error"] < 0.1
    assert left["spikes"].shape == (2,)
    assert left["measured"] == pytest.approx(left["spikes"], rel=0.06)
    # the second spike is not the first, and neither lies in the bulk
    assert left["measured"][0] > left["measured"][1] > left["limit"].support().max()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("sklearn") is None, reason="needs scikit-learn (make setup-models)")
def test_the_scikit_learn_user_gets_a_pipeline_and_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = run("scikit_learn", tmp_path, monkeypatch)
    assert left["pipeline_score"] > 0.9
    assert left["search"].best_params_["levels"] == 8
    assert left["search"].score(left["X_test"], left["labels_test"]) > 0.92
    assert 0 < left["program"].table_bytes < 4000


# in a program of 4 kB, and, among what only repeats, of the 64 kB that the script asks for
@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", ["4", pytest.param("64", marks=pytest.mark.nightly)])
@pytest.mark.skipif(find_spec("sklearn") is None or not toolchain.has("gcc"), reason="needs scikit-learn and gcc")
def test_the_engineer_gets_the_accuracy_that_was_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kilobytes: str
) -> None:
    left = run("engineer", tmp_path, monkeypatch, **{'"64"': f'"{kilobytes}"'})
    assert left["accuracy"] == left["told"]
    assert left["accuracy"] > 0.93
