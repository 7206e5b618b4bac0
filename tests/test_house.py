"""The rules of the layout that import-linter does not know; CONTRIBUTING.md tells them."""

from __future__ import annotations

import ast
import inspect
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType

import grimp
import pytest
from numpydoc.validate import validate

import hntk
import hntk.deploy
import hntk.plot
import hntk.sklearn

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*ROOT.glob("hntk/**/*.py"), *ROOT.glob("experiments/**/*.py")])
LONGEST_FUNCTION = 40
# beside the checks of `make lint`: all parameters and what is returned are described
COMPLETE = {"PR01", "PR02", "PR03", "PR04", "PR07", "RT01", "RT03", "GL08", "SS03"}


def name_of(path: Path) -> str:
    """Return a source file's place for messages and test names."""
    return str(path.relative_to(ROOT))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield all functions of a module, nested ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the number of a function's lines without its docstring."""
    documented = ast.get_docstring(function, clean=False)
    return function.end_lineno - function.lineno + 1 - (documented.count("\n") + 1 if documented else 0)


def test_no_module_reaches_itself() -> None:
    graph = grimp.build_graph("hntk", "experiments", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(f"modules that import each other, late imports included: {' -> '.join(error.args[1])}")


def test_no_function_is_long() -> None:
    long = [
        f"{name_of(path)}:{function.lineno} {function.name} ({code_lines(function)})"
        for path in SOURCES
        for function in functions(ast.parse(path.read_text(encoding="utf-8")))
        if code_lines(function) > LONGEST_FUNCTION
    ]
    assert not long, f"functions of more than {LONGEST_FUNCTION} lines: {long}"


def test_packages_hold_a_docstring_and_imports() -> None:
    for path in SOURCES:
        if path.name == "__init__.py":
            _, *statements = ast.parse(path.read_text(encoding="utf-8")).body
            for statement in statements:
                assigned = isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]).startswith("__")
                assert assigned or isinstance(statement, ast.Import | ast.ImportFrom), f"{name_of(path)} computes"


def test_no_module_bears_the_name_of_a_function_of_its_package() -> None:
    for path in SOURCES:
        if path.name == "__init__.py":
            package = __import__(".".join(path.parent.relative_to(ROOT).parts), fromlist=["*"])
            for module in set(path.parent.glob("[!_]*.py")):
                attribute = getattr(package, module.stem, None)
                assert attribute is None or isinstance(attribute, ModuleType), f"{name_of(module)} is hidden"


def public() -> dict[str, object]:
    """Return what users import, by its full name."""
    exported = {}
    for package in (hntk, hntk.asymptotics, hntk.deploy, hntk.plot, hntk.sklearn):
        for name in package.__all__:
            value = getattr(package, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                exported[f"{value.__module__}.{value.__qualname__}"] = value
    return exported


@pytest.mark.parametrize("name", public())
def test_the_public_surface_is_documented(name: str) -> None:
    report = validate(name)
    wrong = [f"{code} {text}" for code, text in report["errors"] if code in COMPLETE]
    if inspect.isclass(public()[name]):
        # dataclasses document what they hold as attributes
        wrong = [line for line in wrong if not line.startswith(("PR01", "PR02", "PR03"))]
    assert not wrong, f"{report['file']}:{report['file_line']} {name}: {wrong}"


def layers() -> list[tuple[str, list[str]]]:
    """Return the contracts of layers in pyproject.toml, a name and the floors from the top."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    return [(contract["id"], contract["layers"]) for contract in contracts if contract["type"] == "layers"]


def diagram() -> str:
    """Return the floors as a Mermaid diagram: every package may import what stands below it."""
    lines = ["```mermaid", "flowchart TB"]
    for number, (title, floors) in enumerate(layers()):
        lines += [f"    subgraph {title}", "        direction TB"]
        for floor, packages in enumerate(floors):
            names = [package.strip().split(".", 1)[1] for package in packages.split("|")]
            lines.append(f'        f{number}_{floor}["{" &nbsp;·&nbsp; ".join(names)}"]')
        lines.append("        " + " --> ".join(f"f{number}_{floor}" for floor in range(len(floors))))
        lines.append("    end")
    return "\n".join([*lines, "    studies --> library", "```"])


def test_the_picture_of_the_house_is_that_of_the_rules() -> None:
    assert diagram() in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), f"CONTRIBUTING.md needs:\n{diagram()}"
