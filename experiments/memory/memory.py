"""Test accuracy against memory on real data: one arm, one budget, one seed a job; a sweep gives the figures."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import hntk
from experiments.memory import arms, trained
from experiments.memory import report as memory_report
from experiments.memory.choices import Tried, seeds_of
from experiments.memory.costs import network_costs
from experiments.memory.groups import SEEDS
from experiments.runner import metrics
from experiments.runner.config import ArmConfig, Config
from experiments.runner.console import progress
from experiments.runner.from_config import Engine, engine_of, features, raw_dataset
from experiments.runner.keys import data_digest, resolved
from experiments.runner.networks import activations
from experiments.runner.record import Record
from experiments.training.trained_arm import remove_checkpoints
from hntk._utils.labels import accuracy_score
from hntk.activations.fingerprint import fingerprint
from hntk.readouts.training import Epoch, Schedule

gather = memory_report.gather
# the training data, which are kept with the dense networks trained on them for the next job
_setup = lru_cache(maxsize=1)(trained.TrainingSetup)
# What was measured of one seed, by name.
Measured = dict[str, Any]
# What a sweeper optimises: the first is maximised, the second minimised.
OBJECTIVES = ("validation/softmax", metrics.FILE_BYTES)


def objectives(measured: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the validation accuracy of the network in the file, and the bytes of the file."""
    return tuple(float(measured[name]) for name in OBJECTIVES)


def data_read(cfg: Config) -> hntk.Dataset:
    """Return the samples that every job of a sweep reads, whatever its seed."""
    return raw_dataset(cfg.data)


def identity(cfg: Config) -> dict[str, Any]:
    """Return the settings that decide a job's result; budgets that lead to the same widths are the same job."""
    arm, data, plain = _arm(cfg), data_read(cfg), resolved(cfg)
    compress = ("sparsity",) if arm.sparse else ()
    if arm.activations == "paper" or not isinstance(arm.activations, str):
        compress += ("objective", "labels", "samples", "alpha2", "kernel", "method")
    settings = ("name", "epochs", "kernel_samples", "keep", "seeds")
    if arm.family == "trained":
        settings += ("learning_rates", "strengths", "weight_decays")
    if arm.training == "ternary":
        settings += ("start",)
    # a result of the native engine keeps the key that it has always had
    engine = {} if cfg.kernels.engine == "native" else {"kernels": plain["kernels"]}
    return engine | {
        "arm": {k: v for k, v in plain["arm"].items() if k != "label"},
        "widths": arms.widths(cfg, arm, data.p, len(data.classes)),
        "original": plain["net"]["activations"],
        "compress": {k: plain["compress"][k] for k in compress},
        "data": {k: v for k, v in plain["data"].items() if k != "folder"},
        "experiment": {k: plain["experiment"][k] for k in settings},
        "seed": plain["seed"],
    }


def _arm(cfg: Config) -> ArmConfig:
    if cfg.arm is None:
        raise ValueError("no arm was chosen: add arm=NAME, one of conf/arm.")
    return cfg.arm


def run(cfg: Config, record: Record) -> None:
    """Build the arm within its budget, fit it, and measure accuracy, bytes and operations of every seed."""
    arm, data = _arm(cfg), data_read(cfg)
    seeds, widths = seeds_of(cfg), arms.widths(cfg, arm, data.p, len(data.classes))
    fit = _fit_trained if arm.family == "trained" else _fit_random
    measured = fit(cfg, arm, data, widths, record)
    record.add_metrics(**means(measured))
    if len(seeds) > 1:
        names = list(measured[0])
        rows = [[seed, *(one[name] for name in names)] for seed, one in zip(seeds, measured, strict=True)]
        record.add_table(SEEDS, ["seed", *names], rows)
    remove_checkpoints(record.folder)
    for name in metrics.READOUTS:
        if metrics.accuracy(name) in record.metrics:
            record.headline[name] = record.metrics[metrics.accuracy(name)]
    record.headline["kB"] = record.metrics[metrics.FILE_BYTES] / 1e3


def means(measured: Sequence[Measured]) -> Measured:
    """Return the means of numbers over seeds; texts, and numbers that no seed has, are those of the first."""
    found = dict(measured[0])
    for name in found:
        numbers = [one[name] for one in measured if isinstance(one[name], int | float)]
        if len(measured) > 1 and numbers:
            found[name] = float(np.mean(numbers))
    return found


def _fit_random(
    cfg: Config, arm: ArmConfig, data: hntk.Dataset, widths: tuple[int, ...], record: Record
) -> list[Measured]:
    """Draw the hidden layers of every seed, and fit both readouts on the same features."""
    law = arms.weight_law(cfg, arm)
    layers = arms.arm_layers(cfg, arm, data, widths, law)
    seeds = seeds_of(cfg)
    nets = (
        hntk.draw_network(layers, widths, data.p, tau0=data.tau0, law=law, key=jax.random.key(seed)) for seed in seeds
    )
    return [_fit_readouts(cfg, arm, data, net, seed, record) for seed, net in zip(seeds, nets, strict=True)]


def _fit_readouts(
    cfg: Config, arm: ArmConfig, data: hntk.Dataset, net: hntk.Network, seed: int, record: Record
) -> Measured:
    read: Any = arm.layers
    start = time.perf_counter()
    with progress("features", len(data.x_train) + len(data.x_test)) as advance:
        training, test = (features(net, x, advance, read) for x in (data.x_train, data.x_test))
    measured: Measured = {"seconds/features": time.perf_counter() - start}

    def accuracy(classifier: Any) -> float:
        predicted = classifier.classes[np.argmax(classifier.scores_of(test), axis=1)]
        return accuracy_score(predicted, data.y_test)

    start = time.perf_counter()
    ridge = hntk.fit_ridge(net, data.x_train, data.y_train, features=training, layers=read, seed=seed)
    assert isinstance(ridge, hntk.RidgeClassifier)
    measured |= _accuracies("ridge", accuracy(ridge), ridge.validation_accuracy, start) | {"ridge": ridge.ridge}
    start = time.perf_counter()
    schedule = Schedule(epochs=cfg.experiment.epochs, batch=min(256, len(training) // 2))
    with progress("softmax readout, epochs", 2 * schedule.epochs) as advance:
        softmax = hntk.fit_softmax(
            net, data.x_train, data.y_train, features=training, layers=read, schedule=schedule, seed=seed,
            checkpoint=record.folder / f"softmax-{seed}.npz", progress=lambda _: advance(1),
        )  # fmt: skip
    measured |= _accuracies("softmax", accuracy(softmax), softmax.validation_accuracy, start)
    measured |= {"learning_rate": softmax.learning_rate}
    _add_history(cfg, record, seed, softmax.history)
    measured |= {metrics.KERNEL_ERROR: kernel_error(cfg, test[:, -net.widths[-1] :], data)}
    return measured | network_costs(cfg, record, softmax, data)


def _accuracies(readout: str, test: float, validation: float | None, start: float) -> Measured:
    """Return the accuracies of a readout, and the seconds since its fit began."""
    scores = {metrics.accuracy(readout): test, f"validation/{readout}": validation}
    return scores | {f"seconds/{readout}": time.perf_counter() - start}


def _add_history(cfg: Config, record: Record, seed: int, history: tuple[Epoch, ...]) -> None:
    """Keep the history of the first seed of a job."""
    if seed == int(cfg.seed):
        record.add_history(metrics.TRAINING, metrics.TRAINING_COLUMNS, [list(epoch) for epoch in history])


def _fit_trained(
    cfg: Config, arm: ArmConfig, data: hntk.Dataset, widths: tuple[int, ...], record: Record
) -> list[Measured]:
    """Train the whole network from every seed; ternary ones are returned in whole numbers."""
    tried = Tried.of(cfg)
    start, total = time.perf_counter(), len(tried.choices) * tried.epochs
    with progress("training, epochs", total * (1 + (arm.training == "finetuned"))) as advance:
        options: dict[str, Any] = {"folder": record.folder, "progress": lambda _: advance(1)}
        setup = _setup(data, tried)
        if arm.training == "ternary":
            levels, sparsity = int(arm.activations), float(cfg.compress.sparsity)
            fitted = trained.fit_ternary(setup, widths, levels, sparsity, start=cfg.experiment.start, **options)
        elif arm.training == "dense":
            fitted = trained.fit_dense(setup, widths, **options)
        else:
            options["finetune"] = arm.training == "finetuned"
            fitted = trained.fit_pruned(setup, widths, float(cfg.compress.sparsity), **options)
    measured = []
    for seed, network in zip(tried.seeds, fitted, strict=True):
        classifier = network.classifier
        whole = isinstance(classifier, hntk.IntegerClassifier)
        accuracy = classifier.accuracy(setup.samples.x_test if whole else data.x_test, data.y_test)
        _add_history(cfg, record, seed, network.history)
        measured.append(
            _accuracies("softmax", accuracy, network.validation, start)
            | network.choice._asdict()
            | network_costs(cfg, record, classifier, data)
        )
    return measured


# The exact kernel of the last job in this process, by all that decides it.
_KERNELS: dict[tuple[Any, ...], np.ndarray] = {}


def kernel_error(cfg: Config, test_features: np.ndarray, data: hntk.Dataset) -> float:
    """Return the relative operator-norm distance on test samples.

    Diagonals are left out, and the drawn kernel is scaled to be nearest: the ridge absorbs both.
    """
    rows = _rows(len(test_features), cfg.experiment.kernel_samples)
    exact = _exact_kernel(data, activations(cfg.net.activations), rows.size, engine_of(cfg))
    drawn = test_features[rows].astype(np.float64) @ test_features[rows].T.astype(np.float64)
    np.fill_diagonal(drawn, 0.0)
    factor = np.sum(exact * drawn) / np.sum(drawn**2)
    return float(hntk.operator_norm(jnp.asarray(factor * drawn - exact)) / hntk.operator_norm(jnp.asarray(exact)))


def _rows(available: int, wanted: int) -> np.ndarray:
    """Return the test samples that are compared, the same ones for every network."""
    return np.sort(np.random.default_rng(0).choice(available, min(available, wanted), replace=False))


def _exact_kernel(data: hntk.Dataset, layers: list[hntk.Activation], size: int, engine: Engine) -> np.ndarray:
    """Return the exact kernel of test samples without its diagonal; it is kept for the next job that needs it."""
    x64 = bool(jax.config.jax_enable_x64)  # type: ignore[attr-defined]
    question = (data_digest(data), tuple(map(fingerprint, layers)), size, x64, engine)
    if question not in _KERNELS:
        _KERNELS.clear()
        x = data.x_test[_rows(len(data.x_test), size)].astype(np.float64)
        kernel = np.array(hntk.exact_kernels(x, layers, tau0=data.tau0, engine=engine).ck)
        np.fill_diagonal(kernel, 0.0)
        _KERNELS[question] = kernel
    return _KERNELS[question]
