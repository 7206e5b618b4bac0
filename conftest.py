"""Tests and documented examples compute in float64 and leave no figure open; which pages are run otherwise."""

import sys
from collections.abc import Iterator

import jax
import pytest

jax.config.update("jax_enable_x64", True)

# the settings and tutorials of the site are run by its build, and torch_to_cortex_m by tests/docs/test_tutorial.py
collect_ignore = ["docs/conf.py", "docs/tutorials/torch_to_cortex_m.md"]
# scripts of tests/docs/first_users are run by the test beside them, in a folder of its own
collect_ignore_glob = [
    "tests/docs/first_users/*.py",
    "docs/tutorials/*.py",
    "docs/auto_tutorials/*",
    "docs/reference/generated/*",
]


@pytest.fixture(autouse=True)
def _figures_are_closed() -> Iterator[None]:
    """Close what figures a test or an example has drawn."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(autouse=True)
def _pages_write_elsewhere(request: pytest.FixtureRequest) -> None:
    """Run the examples of a page in a folder of their own, where they may leave files."""
    if request.node.path.suffix == ".md":
        request.getfixturevalue("monkeypatch").chdir(request.getfixturevalue("tmp_path"))
