"""Functions that draw change no setting of matplotlib, and close with the test."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def _settings_stay_and_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse plt.show, and compare matplotlib's settings before and after the test."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a figure was shown")

    monkeypatch.setattr(plt, "show", refuse)
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before
