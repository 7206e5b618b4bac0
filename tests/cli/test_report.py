"""The page about a program: nothing of it comes from elsewhere, whatever labels and names say."""

from __future__ import annotations

import copy
import re
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hntk.cli.page import UNFIT
from hntk.cli.report import report_page
from tests.support.chromium import browser, opened

HOSTILE = (
    "<script>document.title = 'taken'</script>", "</style><style>body { display: none }</style>",
    "\" onload=\"alert(1)",
    "</td></table><img src=x onerror=alert(1)>", "a\nb\x1b[31m\0\u202e", "]]> --> &lt; &#60; {title} %s $x",
    "long " * 400,
)  # fmt: skip


def made(classes: list[Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return what a run of the command tells the page."""
    classes = ["a", "b", "c"] if classes is None else classes
    count = len(classes)
    layer = {
        "name": "layer 1", "outputs": 64, "inputs": 784, "weights": "ternary", "encoding": "rice", "zeros": 0.93,
        "activation": "steps", "levels": 8, "bits": 0.6, "bytes": 3210, "float_bytes": 200_704,
        "multiply_accumulates": 0, "additions": 3500,
    }  # fmt: skip
    candidate = {"widths": (64, 32), "levels": (8, 8), "zeros": (0.93, 0.8), "cells": (20, 20), "epochs": 3,
                 "bytes": 3990, "predicted": None, "validation": 0.91, "chosen": True}  # fmt: skip
    confusion = (np.eye(count, dtype=int) * 30 + np.arange(count)).tolist()
    return copy.deepcopy({
        "command": "hntk compress digits.csv --kilobytes 4",
        "data": {"source": "digits.csv", "training": 900, "test": 100, "features": 784, "bytes": True,
                 "split": "drawn with seed 0", "label": "y", "task": "classification", "classes": classes},
        "kilobytes": 4.0, "method": "train", "candidates": [candidate, candidate | {"chosen": False}],
        "predicted": 0.93, "predicted_by": "on a tenth of the training samples", "validation": 0.93,
        "measured": {"samples": 100, "accuracy": 0.92, "standard_error": 0.027, "confusion": confusion},
        "network": {"form": "whole numbers", "layers": [layer, layer | {"levels": None}], "bytes": 6420,
                    "float_bytes": 401_408, "notes": ["input: pixels, 0 to 255"]},
        "c": {"table_bytes": 3990, "scratch_bytes": 1234, "layouts": ("rice", "rice"), "compiled_and_compared": 100,
              "compile": "cc -std=c99 -O3 out/digits.c out/digits_main.c -o out/digits"},
        "files": ["out/digits.safetensors", "out/digits.h", "out/digits.c", "out/digits_main.c", "out/report.html"],
        "versions": {"hntk": "0.2.0", "jax": "0.7"},
    } | changes)  # fmt: skip


REGRESSION = {"measured": {"samples": 100, "r2": 0.83, "rmse": 2.5}}


def test_the_page_says_what_was_asked_and_what_came_of_it() -> None:
    page = report_page(made())
    for text in ("hntk compress digits.csv --kilobytes 4", "0.9200 ± 0.0270", "3,990 bytes", "64-32", "20 x 20",
                 "93%, 80%", "drawn with seed 0", "digits_predict(input, scratch)", "uint8_t", "jax"):  # fmt: skip
        assert text in page
    assert page.count("class=chosen") == 1
    data = made()["data"] | {"task": "regression", "classes": [], "bytes": False}
    page = report_page(made(data=data, **REGRESSION))
    for text in ("R² 0.8300", "DIGITS_UNIT * score", "static float"):
        assert text in page
    assert "confusion" not in page


def test_many_classes_are_told_by_their_confusions() -> None:
    names = [f"class {i}" for i in range(30)]
    page = report_page(made(names))
    assert "most frequent confusions" in page
    assert page.count("<td") < 300


def test_nothing_comes_from_elsewhere() -> None:
    page = report_page(made(list(HOSTILE)))
    # escaped text holds no < of its own, so that these are the page's tags
    assert not [tag for tag in re.findall("<[^>]*>", page) if re.search(r"\b(src|href|srcset|on\w+)=", tag)]
    assert "@import" not in page
    assert "url(" not in page
    assert "<script" not in page
    assert page.count("<style>") == 1
    assert "default-src 'none'" in page


@pytest.mark.parametrize("place", ["classes", "source", "label", "command", "files"])
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_shown_as_text(place: str, text: str) -> None:
    facts = made([text, "b", "c"]) if place == "classes" else made()
    if place in ("source", "label"):
        facts["data"][place] = text
    elif place == "command":
        facts["command"] = text
    elif place == "files":
        facts["files"] = [f"{text}/digits.h"]
    page = report_page(facts)
    assert not UNFIT.search(page)
    plain = report_page(made())
    # no element more than with harmless text
    assert re.findall(r"</?\w+", page) == re.findall(r"</?\w+", plain) or place == "files"
    assert page.count("<") == plain.count("<") or place == "files"
    assert escape(UNFIT.sub("\ufffd", text.strip())) in page or place == "source"


def widths(page: str, width: int, folder: Path) -> tuple[int, list[str]]:
    """Return by how many pixels a page is wider than a window, and the browser's complaints."""
    frame = f'<iframe width="{width}" height="900" srcdoc="{escape(page)}"></iframe>'
    measure = (
        "<script>addEventListener('load', () => { const root = document.querySelector('iframe').contentDocument"
        ".documentElement; document.title = 'wider ' + (root.scrollWidth - root.clientWidth) })</script>"
    )
    (folder / "frame.html").write_text(f"<!DOCTYPE html><meta charset=utf-8><title></title>{frame}{measure}")
    shown, console = opened(folder / "frame.html")
    found = re.search(r"wider (-?\d+)", shown)
    assert found is not None, shown[:500]
    return int(found[1]), console


@browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_never_scrolls_sideways_whatever_labels_say(width: int, tmp_path: Path) -> None:
    assert widths(report_page(made(["x" * 3000, *HOSTILE])), width, tmp_path) == (0, [])


@browser
def test_the_browser_notices_what_is_too_wide_or_from_elsewhere(tmp_path: Path) -> None:
    page = report_page(made())
    assert widths(page.replace("</main>", '</main><hr width="2000">'), 390, tmp_path)[0] > 0
    (tmp_path / "other.html").write_text(page.replace("</main>", "</main><script>document.title = 'taken'</script>"))
    shown, console = opened(tmp_path / "other.html")
    assert "taken</title>" not in shown
    assert any("Content Security Policy" in line for line in console)
