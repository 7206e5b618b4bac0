"""Tests and documented examples compute in float64, and leave no figure open."""

import sys
from collections.abc import Iterator

import jax
import pytest

jax.config.update("jax_enable_x64", True)


@pytest.fixture(autouse=True)
def _figures_are_closed() -> Iterator[None]:
    """Close what figures a test or an example has drawn."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
