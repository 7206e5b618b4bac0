"""The style: colours that readers tell apart, settings that stay, and an error that names the extra."""

from __future__ import annotations

import itertools
import sys
from importlib import import_module

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb

import hntk.plot
from hntk.plot.style import COLOURS, MARKS, STYLES, styled

# Simulations of dichromatic vision in linear RGB, severity 1 (Machado, Oliveira and Fernandes, 2009).
VISION = {
    "full": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
# CIE 1976 distances of about 2.3 are just noticeable; side by side, 10 are told apart at a glance.
APART = 10.0


def lab(colour: str, vision: np.ndarray) -> np.ndarray:
    """Return a colour in CIELAB (D65) as it is seen."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(vision @ linear, 0, 1)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    t = np.array(to_xyz) @ seen / np.array([0.95047, 1.0, 1.08883])
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def nearest(colours: tuple[str, ...], vision: np.ndarray) -> float:
    seen = [lab(colour, vision) for colour in colours]
    return min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2))


@pytest.mark.parametrize("vision", VISION)
def test_colours_are_told_apart(vision: str) -> None:
    assert nearest(COLOURS, VISION[vision]) > APART


def test_a_red_and_a_green_of_equal_lightness_would_not_be_told_apart() -> None:
    assert nearest(("#C0392B", "#6B8000"), VISION["full"]) > APART
    assert nearest(("#C0392B", "#6B8000"), VISION["deuteranopia"]) < APART


def test_lines_differ_in_style_and_mark_besides_their_colour() -> None:
    assert len(set(COLOURS)) == len(set(STYLES)) == len(set(MARKS)) == len(COLOURS)


def test_settings_are_those_of_before_after_an_error_too() -> None:
    before = dict(mpl.rcParams)
    seen = []

    @styled
    def draw() -> None:
        seen.append(mpl.rcParams["legend.frameon"])
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        draw()
    assert seen == [False]
    assert dict(mpl.rcParams) == before


def test_without_matplotlib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "hntk.plot" or name.startswith("hntk.plot.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"hntk.plot needs matplotlib: .*pip install 'hntk\[plot\]'"):
        import_module("hntk.plot")


def test_every_function_is_exported() -> None:
    wanted = {"spectrum", "eigenvectors", "activation", "match", "convergence", "learning_curve", "density", "layers"}
    assert set(hntk.plot.__all__) == wanted
