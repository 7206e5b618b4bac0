"""What the memory experiment keeps in a process between jobs is used for the same question alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hntk
from experiments.memory import arms
from experiments.memory.memory import kernel_error
from experiments.runner import catalog, from_config, sweep
from experiments.runner.config import ArmConfig, CompressConfig, DataConfig
from tests.support.command_line import composed


@pytest.fixture
def data(tmp_path: Path) -> hntk.Dataset:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 6)), np.arange(60) % 2
    np.savez(tmp_path / "toy.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    return hntk.load_dataset("toy", folder=tmp_path)


@pytest.fixture
def solved(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Return the list of questions that are solved; the answer to each is its number."""
    asked: list[Any] = []

    def matched(*question: Any, **options: Any) -> tuple[Any, str]:
        asked.append((question, options))
        return type("Match", (), {"activations": len(asked)}), ""

    monkeypatch.setattr(arms, "matched", matched)
    monkeypatch.setattr(arms, "_MATCHES", {})
    return asked


def configuration(slope: float = 0.1, **compress: Any) -> Any:
    cfg = composed("+exp=memory", f"net.activations=[{{name:leaky_relu,slope:{slope}}}]", "net.widths=[8]")
    cfg.compress = CompressConfig(**compress)
    return cfg


ARM = ArmConfig(name="levels4", label="4", law="ternary", activations=4)
LAW = hntk.WeightLaw("ternary", sparsity=0.5)


def layers_of(cfg: Any, arm: ArmConfig, data: hntk.Dataset, width: int = 8, law: hntk.WeightLaw = LAW) -> Any:
    return arms.arm_layers(cfg, arm, data, (width,), law)


def test_a_match_is_solved_once_for_one_question(data: hntk.Dataset, solved: list[Any]) -> None:
    first = layers_of(configuration(), ARM, data)
    # Samples count by their values, whatever object holds them.
    assert layers_of(configuration(), replace(ARM, label="b"), replace(data)) == first
    assert len(solved) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"method": "layerwise"}, {"alpha2": False}, {"kernel": "beta"}, {"bits": 9}, {"objective": "data"},
        {"labels": False}, {"samples": 600},
    ],
)  # fmt: skip
def test_a_match_of_other_options_is_another(data: hntk.Dataset, solved: list[Any], change: dict[str, Any]) -> None:
    first = layers_of(configuration(), ARM, data)
    assert layers_of(configuration(**change), ARM, data) != first


def test_a_match_of_other_activations_or_samples_is_another(data: hntk.Dataset, solved: list[Any]) -> None:
    first = layers_of(configuration(), ARM, data)
    # An activation's name has six digits only.
    assert layers_of(configuration(0.10000001), ARM, data) != first
    assert layers_of(configuration(), replace(ARM, activations=3), data) != first
    moved = replace(data, x_train=data.x_train[::-1].copy())
    assert layers_of(configuration(), ARM, moved) != first


def test_a_match_that_follows_the_data_is_one_of_its_widths_and_weights(data: hntk.Dataset, solved: list[Any]) -> None:
    cfg = configuration(objective="data")
    first = layers_of(cfg, ARM, data)
    assert solved[0][1]["drawn"] == ((8,), LAW)
    assert layers_of(cfg, ARM, data, 9) != first
    assert layers_of(cfg, ARM, data, law=hntk.WeightLaw("ternary", sparsity=0.9)) != first
    assert layers_of(cfg, ARM, data) == first
    # readouts of all layers have matches layer by layer, which are the theory's
    assert layers_of(cfg, replace(ARM, layers="all"), data) != first
    assert {k: solved[-1][1][k] for k in ("objective", "method", "drawn")} == {
        "objective": "theory", "method": "layerwise", "drawn": None,
    }  # fmt: skip
    # the theory's is the same for all
    by_theory = layers_of(configuration(), ARM, data)
    assert layers_of(configuration(), ARM, data, 9) == by_theory


def test_kernels_are_compared_with_the_original_of_its_own_parameters(data: hntk.Dataset) -> None:
    unseen = np.random.default_rng(1).normal(size=(len(data.x_test), 5)).astype(np.float32)
    errors = [kernel_error(configuration(slope), unseen, data) for slope in (0.1, 0.9, 0.1)]
    assert errors[0] == errors[2] != errors[1]


@pytest.mark.parametrize("name", ["y_train", "y_test", "x_test"])
def test_a_result_of_other_labels_or_tests_has_another_key(tmp_path: Path, data: hntk.Dataset, name: str) -> None:
    def key() -> str:
        from_config._loaded.cache_clear()
        return str(sweep.job_key(cfg, catalog.find("memory")))

    cfg = configuration()
    cfg.data = DataConfig(name="toy", kind="dataset", folder=str(tmp_path))
    cfg.arm = ArmConfig(name="dense", label="dense")
    cfg.experiment.budget = 5e8
    first = key()
    # Budgets that lead to the same widths have the same key.
    cfg.experiment.budget = 1e9
    assert key() == first
    with np.load(tmp_path / "toy.npz") as archive:
        arrays = dict(archive)
    arrays[name] = arrays[name][::-1].copy()
    np.savez(tmp_path / "toy.npz", **arrays)
    assert key() != first


@pytest.mark.parametrize(("arm", "expected"), [("ternary", (3000, 3000, 1500)), ("orthogonal4", (4096, 4096, 3000))])
def test_widths_beyond_what_can_be_computed(arm: str, expected: tuple[int, ...]) -> None:
    """Only orthogonal arms leave the proportions, where hidden layers cost next to nothing."""
    cfg = composed("+exp=memory", f"arm={arm}", "experiment.budget=1e9", "compress.sparsity=0.5")
    assert arms.widths(cfg, cfg.arm, 784, 10) == expected
    small = composed("+exp=memory", f"arm={arm}", "experiment.budget=50e3", "compress.sparsity=0.5")
    found = arms.widths(small, small.arm, 784, 10)
    ratio = found[0] / found[-1]
    assert ratio == pytest.approx(2 if arm == "ternary" else 4, rel=0.2)
