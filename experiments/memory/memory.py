"""Test accuracy against memory on real data: one arm, one budget, one seed a job; a sweep gives the figures."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import hntk
from experiments.memory import arms, trained
from experiments.memory import report as memory_report
from experiments.runner import metrics
from experiments.runner.config import ArmConfig, Config
from experiments.runner.console import progress
from experiments.runner.from_config import Engine, engine_of, features, raw_dataset
from experiments.runner.keys import data_digest, resolved
from experiments.runner.networks import activations
from experiments.runner.record import Record
from experiments.training.dense_networks import TrainingSetup
from experiments.training.trained_arm import remove_checkpoints
from hntk._utils.labels import accuracy_score
from hntk.activations.fingerprint import fingerprint
from hntk.readouts.training import Epoch, Schedule

gather = memory_report.gather
# the training data, which are kept with the dense networks trained on them for the next job
_setup = lru_cache(maxsize=1)(TrainingSetup.of)
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
    # a result of the native engine keeps the key that it has always had
    engine = {} if cfg.kernels.engine == "native" else {"kernels": plain["kernels"]}
    return engine | {
        "arm": {k: v for k, v in plain["arm"].items() if k != "label"},
        "widths": arms.widths(cfg, arm, data.p, len(data.classes)),
        "original": plain["net"]["activations"],
        "compress": {k: plain["compress"][k] for k in compress},
        "data": {k: v for k, v in plain["data"].items() if k != "folder"},
        "experiment": {k: plain["experiment"][k] for k in ("name", "epochs", "kernel_samples", "keep")},
        "seed": plain["seed"],
    }


def _arm(cfg: Config) -> ArmConfig:
    if cfg.arm is None:
        raise ValueError("no arm was chosen: add arm=NAME, one of conf/arm.")
    return cfg.arm


def run(cfg: Config, record: Record) -> None:
    """Build the arm within its budget, fit it, and measure accuracy, bytes and operations."""
    arm, data = _arm(cfg), data_read(cfg)
    widths = arms.widths(cfg, arm, data.p, len(data.classes))
    fit = _fit_trained if arm.family == "trained" else _fit_random
    classifier: Any = fit(cfg, arm, data, widths, record)
    _measure_costs(cfg, record, classifier, data)
    for name in metrics.READOUTS:
        if metrics.accuracy(name) in record.metrics:
            record.headline[name] = record.metrics[metrics.accuracy(name)]
    record.headline["kB"] = record.metrics[metrics.FILE_BYTES] / 1e3


def _fit_random(
    cfg: Config, arm: ArmConfig, data: hntk.Dataset, widths: tuple[int, ...], record: Record
) -> hntk.Classifier:
    """Draw the hidden layers, and fit both readouts on the same features."""
    read: Any = arm.layers
    law = arms.weight_law(cfg, arm)
    layers = arms.arm_layers(cfg, arm, data, widths, law)
    net = hntk.draw_network(layers, widths, data.p, tau0=data.tau0, law=law, key=jax.random.key(cfg.seed))
    start = time.perf_counter()
    with progress("features", len(data.x_train) + len(data.x_test)) as advance:
        training, test = (features(net, x, advance, read) for x in (data.x_train, data.x_test))
    record.add_metrics(**{"seconds/features": time.perf_counter() - start})

    def measured(classifier: Any) -> float:
        predicted = classifier.classes[np.argmax(classifier.scores_of(test), axis=1)]
        return accuracy_score(predicted, data.y_test)

    start = time.perf_counter()
    ridge = hntk.fit_ridge(net, data.x_train, data.y_train, features=training, layers=read, seed=cfg.seed)
    _add_accuracies(record, "ridge", measured(ridge), ridge.validation_accuracy, start)
    record.add_metrics(ridge=ridge.ridge)
    start = time.perf_counter()
    schedule = Schedule(epochs=2 * cfg.experiment.epochs, batch=min(256, len(training) // 2))
    with progress("softmax readout, epochs", 2 * schedule.epochs) as advance:
        softmax = hntk.fit_softmax(
            net, data.x_train, data.y_train, features=training, layers=read, schedule=schedule, seed=cfg.seed,
            checkpoint=record.folder / "softmax.npz", progress=lambda _: advance(1),
        )  # fmt: skip
    _add_accuracies(record, "softmax", measured(softmax), softmax.validation_accuracy, start)
    record.add_metrics(learning_rate=softmax.learning_rate)
    _add_history(record, softmax.history)
    last = test[:, -widths[-1] :]
    record.add_metrics(**{metrics.KERNEL_ERROR: kernel_error(cfg, last, data)})
    return softmax


def _add_accuracies(record: Record, readout: str, test: float, validation: float | None, start: float) -> None:
    """Record the accuracies of a readout, and the seconds since its fit began."""
    scores = {metrics.accuracy(readout): test, f"validation/{readout}": validation}
    record.add_metrics(**scores, **{f"seconds/{readout}": time.perf_counter() - start})


def _add_history(record: Record, history: tuple[Epoch, ...]) -> None:
    record.add_history(metrics.TRAINING, metrics.TRAINING_COLUMNS, [list(epoch) for epoch in history])


def _fit_trained(
    cfg: Config, arm: ArmConfig, data: hntk.Dataset, widths: tuple[int, ...], record: Record
) -> hntk.Classifier | hntk.IntegerClassifier:
    """Train the whole network; a ternary one is returned in whole numbers."""
    start, total = time.perf_counter(), trained.TRAININGS * cfg.experiment.epochs
    with progress("training, epochs", total * (1 + (arm.training == "finetuned"))) as advance:
        options: dict[str, Any] = {"folder": record.folder, "progress": lambda _: advance(1)}
        if arm.training == "ternary":
            fitted = trained.fit_ternary(cfg, data, widths, int(arm.activations), **options)
        else:
            setup = _setup(data, int(cfg.seed), cfg.experiment.epochs)
            if arm.training == "dense":
                fitted = trained.fit_dense(setup, widths, **options)
            else:
                finetune = arm.training == "finetuned"
                fitted = trained.fit_pruned(
                    setup, widths, float(cfg.compress.sparsity), finetune=finetune, **options
                )  # fmt: skip
    _add_history(record, fitted.history)
    classifier = fitted.classifier
    whole = isinstance(classifier, hntk.IntegerClassifier)
    accuracy = classifier.accuracy(data.raw(data.x_test) if whole else data.x_test, data.y_test)
    _add_accuracies(record, "softmax", accuracy, fitted.validation, start)
    return classifier


def _measure_costs(
    cfg: Config, record: Record, classifier: hntk.Classifier | hntk.IntegerClassifier, data: hntk.Dataset
) -> None:
    """Record bytes by formula and as written, operations, and memory for activations.

    The readout counts as float32 in all operations, as that of every arm does.
    """
    path, layers = record.folder / "net.safetensors", classifier.layers
    if isinstance(classifier, hntk.IntegerClassifier):
        whole: Any = classifier
        network = counted_network(classifier)
        formula = hntk.storage(network, len(data.classes), layers)
        rest = arms.whole_number_bytes(network.widths, data.p, len(data.classes), levels_of(classifier))
    else:
        whole = replace(classifier, normalization=data.normalization)
        network = classifier.network
        formula = hntk.storage(network, len(data.classes), layers)
        rest = formula.activations + formula.readout
    size = hntk.save(whole, path)
    cost = hntk.arithmetic(network, len(data.classes), 8 if data.pixels else 32, layers)
    record.add_metrics(
        **{
            metrics.FILE_BYTES: size,
            metrics.FORMULA_BYTES: formula.hidden + rest,
            "bytes/base3": None if formula.hidden_base3 is None else formula.hidden_base3 + rest,
            "bytes/entropy": None if formula.hidden_entropy is None else formula.hidden_entropy + rest,
            "operations/multiply_accumulates": cost.multiply_accumulates,
            metrics.BIT_OPERATIONS: cost.bit_operations,
            metrics.PLANE_OPERATIONS: cost.plane_operations,
            metrics.ACTIVATION_BYTES: cost.activation_bytes,
            "widths": "-".join(map(str, network.widths)),
        }
    )
    if not cfg.experiment.keep:
        path.unlink()
    remove_checkpoints(record.folder)


def levels_of(classifier: hntk.IntegerClassifier) -> list[int]:
    """Return the number of levels of each layer."""
    return [len(steps.levels) for steps in classifier.network.steps]


def counted_network(classifier: hntk.IntegerClassifier) -> hntk.Network:
    """Return a network of the same weights and numbers of levels, whose operations are counted."""
    staircases = [hntk.staircase(list(range(n - 1)), list(range(n))) for n in levels_of(classifier)]
    return hntk.Network(classifier.network.weights, tuple(staircases), (0.0,) * len(staircases), None, None)


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
