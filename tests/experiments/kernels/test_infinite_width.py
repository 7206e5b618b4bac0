"""Accuracies at infinite width, by a direct solver and by conjugate gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import hntk
from experiments.kernels import infinite_width
from experiments.kernels.infinite_width import accuracies_at_infinite_width


@pytest.mark.parametrize("net", [["relu"], ["relu", hntk.staircase([-0.5, 0.5], [-1, 0, 1])]])
def test_many_samples_are_solved_with_by_conjugate_gradients_of_the_same_accuracy(
    net: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mixture = hntk.reference_mixture(n=700, p=30, key=jax.random.key(0))
    order = np.random.default_rng(0).permutation(700)
    x, y = np.asarray(mixture.x)[order], np.asarray(mixture.labels)[order]
    np.savez(tmp_path / "mixture.npz", x_train=x[:300], y_train=y[:300], x_test=x[300:], y_test=y[300:])
    data = hntk.load_dataset("mixture", folder=tmp_path)
    layers = [hntk.activation(each) for each in net]
    direct = accuracies_at_infinite_width(layers, data, 300, 0, ["last", "all"])
    assert "samples" not in capsys.readouterr().out
    monkeypatch.setattr(infinite_width, "DIRECT", 299)
    found = accuracies_at_infinite_width(layers, data, 300, 0, ["last"])
    assert "300 samples" in capsys.readouterr().out
    # two ways of choosing the ridge, each within two standard errors of an accuracy of .9 on 400 samples
    assert found["last"] > 0.85
    assert found["last"] == pytest.approx(direct["last"], abs=0.03)
    assert accuracies_at_infinite_width(layers, data, 300, 0, ["last", "all"]) == direct
