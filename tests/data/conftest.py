"""A small data set on disk."""

from __future__ import annotations

import pytest

from tests.support.data_files import row_arrays, write_npz


@pytest.fixture
def toy(tmp_path):
    return write_npz(tmp_path / "toy.npz", row_arrays())
