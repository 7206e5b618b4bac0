"""Trained arms of the memory experiment: all are trained alike, and nothing but validation samples chooses."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

import hntk
from experiments.memory import trained
from experiments.memory.choices import Choice, Tried
from experiments.memory.trained import TrainingSetup
from experiments.training.dense_networks import relu_forward, weights_of
from hntk.networks.integer_inputs import Rounded
from hntk.readouts.training import Trained
from tests.support.command_line import composed, run_here

WIDTHS = (6, 5)
CHOICES = (Choice(0.0, 0.0, 1e-2), Choice(1.0, 0.1, 3e-3), Choice(2.0, 0.1, 1e-3))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> hntk.Dataset:
    return toy(tmp_path_factory.mktemp("data"))


def toy(folder: Path, *, pixels: bool = False) -> hntk.Dataset:
    """Return samples of three classes, of an uneven mean, with the augmentation of CIFAR-10 features."""
    rng, y = np.random.default_rng(0), np.arange(240) % 3
    means = rng.normal(size=(3, 16))
    x: Any = 2 * means[y] + rng.normal(size=(240, 16)) + np.arange(16)
    if pixels:
        x = np.clip(8 * x + 40, 0, 255).astype(np.uint8).reshape(-1, 4, 4)
    np.savez(folder / "toy.npz", x_train=x[:200], y_train=y[:200], x_test=x[200:], y_test=y[200:])
    return replace(hntk.load_dataset("toy", folder=folder), name="cifar10_features")


def setup_of(data: hntk.Dataset, seeds: tuple[int, ...] = (0,), choices: Any = CHOICES[:1], epochs: int = 3) -> Any:
    return TrainingSetup(data, Tried(seeds, epochs, choices))


def test_every_arm_is_trained_in_the_same_ways(
    data: hntk.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, list[Any]] = {"dense": [], "ternary": []}

    def dense(starts: Any, *_: Any, **options: Any) -> list[Trained]:
        asked["dense"].append((options["schedule"], options["augment"], options["keys"]))
        return [Trained(start, 0.5, ()) for start in starts]

    def ternary(*_: Any, **options: Any) -> list[Any]:
        asked["ternary"].append((options["schedule"], options["augment"], options["key"], options["sparsity"]))
        return [SimpleNamespace(accuracy=lambda *_: 0.5) for _ in options["key"]]

    monkeypatch.setattr(trained, "train_relu", dense)
    monkeypatch.setattr(hntk, "train", ternary)
    setup = setup_of(data, (3, 4), CHOICES, epochs=8)
    trained.fit_dense(setup, WIDTHS, tmp_path)
    trained.fit_pruned(setup, WIDTHS, 0.5, tmp_path, finetune=True)
    trained.fit_ternary(setup, WIDTHS, 4, 0.9, tmp_path)
    one = asked["ternary"]
    # the dense network is trained once for both of its arms, and fine-tuned in the same ways again
    assert len(one) == 3
    for number, (schedule, augment, keys) in enumerate(asked["dense"]):
        assert (schedule, augment) == one[number % 3][:2]
        assert np.all(jax.random.key_data(keys) == jax.random.key_data(one[number % 3][2]))
    assert len(asked["dense"]) == 6
    assert {sparsity for *_, sparsity in one} == {0.9}
    assert [str(augment) for _, augment, *_ in one] == ["None", "noise 3, dropout 0.2", "noise 6, dropout 0.4"]
    assert [(s.weight_decay, s.learning_rate) for s, *_ in one] == [tuple(choice[1:]) for choice in CHOICES]
    assert {(s.epochs, s.patience, s.warmup) for s, *_ in one} == {(8, 8, 2.0)}


def test_validation_chooses_for_each_seed(data: hntk.Dataset, tmp_path: Path) -> None:
    scores = iter([[0.5, 0.8], [0.7, 0.8], [0.6, 0.9]])
    setup = setup_of(data, (0, 1), CHOICES)
    best = setup.best(lambda **_: next(scores), lambda score: score, tmp_path / "a")
    assert best == [(0.7, CHOICES[1]), (0.9, CHOICES[2])]
    scores = iter([[0.5, 0.5]] * 3)
    assert [choice for _, choice in setup.best(lambda **_: next(scores), float, tmp_path / "a")] == [CHOICES[0]] * 2


@pytest.mark.parametrize("pixels", [False, True])
def test_dense_networks_are_those_of_the_library_up_to_the_rounding_of_samples(pixels: bool, tmp_path: Path) -> None:
    data = toy(tmp_path, pixels=pixels)
    setup = setup_of(data, (0, 1), epochs=20)
    fitted, (_, second) = trained.fit_dense(setup, WIDTHS, tmp_path), setup.dense[WIDTHS]
    parameters, whole = second[0].parameters, setup.data.held.whole.astype(np.float32)
    inputs = setup.data.inputs
    raw = whole / inputs.factor + inputs.centre if isinstance(inputs, Rounded) else whole
    normalised = (raw - data.centre) / data.scale
    classifier: Any = fitted[1].classifier
    np.testing.assert_allclose(
        classifier.scores_of(classifier.network.features(normalised)), relu_forward(parameters, whole), atol=2e-4
    )
    # they learn what there is to learn: chance is a third
    assert min(network.validation for network in fitted) > 0.6
    accuracy = classifier.accuracy(data.normalization(setup.samples.x_held), setup.samples.y_held)
    assert accuracy == pytest.approx(fitted[1].validation, abs=0.06)
    alone_in = tmp_path / "alone"
    alone_in.mkdir()
    # seeds that are trained together are as if alone
    (alone,) = setup_of(data, (1,), epochs=20).trained_dense(WIDTHS, alone_in)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), alone[0].parameters, parameters)


def test_weights_that_were_pruned_stay_0(data: hntk.Dataset, tmp_path: Path) -> None:
    setup = setup_of(data, choices=CHOICES[1:2])
    pruned, tuned = (
        trained.fit_pruned(setup, WIDTHS, 0.5, tmp_path, finetune=finetune)[0] for finetune in (False, True)
    )
    before, after = ([np.asarray(m.dense()) for m in each.classifier.network.weights] for each in (pruned, tuned))
    for old, new in zip(before, after, strict=True):
        assert np.mean(old == 0) == pytest.approx(0.5, abs=0.02)
        np.testing.assert_array_equal(new[old == 0], 0)
        assert not np.allclose(old, new)
    ((dense, _),) = setup.dense[WIDTHS]
    assert all(np.all(weights_of(layer) != 0) for layer in dense.parameters["layers"])


def test_settings_give_all_combinations_and_refuse_none() -> None:
    cfg = composed("+exp=memory", "data=cifar_features", "experiment.strengths=[0,2]", "experiment.seeds=3", "seed=4")
    cfg.experiment.learning_rates = [1e-3]
    tried = Tried.of(cfg)
    assert tried.seeds == (4, 5, 6)
    # the weight decay is the recipe's
    assert tried.choices == (Choice(0.0, 1e-2, 1e-3), Choice(2.0, 1e-2, 1e-3))
    cfg.experiment.weight_decays = [0, 0.1, 1]
    assert len(Tried.of(cfg).choices) == 6
    for name in ("strengths", "weight_decays", "learning_rates"):
        empty = deepcopy(cfg)
        empty.experiment[name] = []
        with pytest.raises(ValueError, match=rf"experiment\.{name} is empty: give at least one number"):
            Tried.of(empty)
    cfg.experiment.seeds = 0
    with pytest.raises(ValueError, match=r"experiment\.seeds must be at least 1"):
        Tried.of(cfg)


@pytest.mark.often("trained_pruned")
@pytest.mark.parametrize("arm", ["trained_pruned", "binary"])
def test_seeds_of_a_job_are_those_of_jobs_alone(arm: str, tmp_path: Path) -> None:
    words = (
        "+exp=memory",
        "+debug=tiny",
        "data=stand_in",
        f"arm={arm}",
        "experiment.epochs=1",
        "compress.sparsity=0.5",
    )
    words += ("experiment.budget=4e3", "experiment.learning_rates=[1e-3]")
    together = run_here(tmp_path / "both", *words, "experiment.seeds=2", "seed=3")
    columns, rows = together.tables["seeds"]
    named = [dict(zip(columns, row, strict=True)) for row in rows]
    assert [row["seed"] for row in named] == [3, 4]
    assert named[0]["bytes/file"] > 1000
    accuracies = {name for name in columns if name.startswith(("accuracy/", "validation/"))}
    alone = run_here(tmp_path / "one", *words, "seed=4").metrics
    assert [named[1][name] for name in ("bytes/file", "widths")] == [alone[name] for name in ("bytes/file", "widths")]
    for name in accuracies:
        # trained together is trained alone up to rounding, which turns hardly a sample
        assert named[1][name] == pytest.approx(alone[name], abs=0.02)
        assert together.metrics[name] == np.mean([row[name] for row in named])
    assert not (tmp_path / "one" / "seeds.csv").exists()
    assert not list((tmp_path / "both").glob("*.npz*"))
