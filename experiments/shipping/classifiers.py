"""The classifiers that are shipped: matched, drawn, fitted and turned into whole numbers, beside the dense original."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

import hntk
from experiments.runner.config import Config
from experiments.runner.console import progress, stage
from experiments.runner.from_config import features, matched
from experiments.runner.networks import activations
from hntk.compression.compressed_network import ternary_law

READOUTS = ("ridge", "softmax")
# Numbers that tell the random keys of one seed apart.
DENSE, COMPRESSED = range(2)


class Compressed(NamedTuple):
    """A compressed classifier in float32, with its levels on a grid, and the same one in whole numbers."""

    floats: hntk.Classifier
    whole: hntk.IntegerClassifier


def dense(cfg: Config, data: hntk.Dataset) -> hntk.Classifier:
    """Return the dense original, fitted."""
    key = jax.random.fold_in(jax.random.key(cfg.seed), DENSE)
    layers = activations(cfg.net.activations)
    net = hntk.dense(layers, cfg.net.widths, data.x_train, key=key, law=cfg.net.weights, tau0=data.tau0)
    return _fitted(cfg, net, data, "dense network")


def compressed(cfg: Config, data: hntk.Dataset) -> Compressed:
    """Return the classifier that replaces the original; its readout is fitted to the levels that are shipped."""
    layers = activations(cfg.net.activations)
    weights: Any = cfg.compress.weights
    drawn = list(cfg.net.widths), ternary_law(cfg.compress.sparsity, weights)
    with stage("matching: solving for the compressed activations") as tell:
        match, _ = matched(cfg.compress, layers, data.tau0, data.x_train, data.y_train, drawn=drawn, tell=tell)
    key = jax.random.fold_in(jax.random.key(cfg.seed), COMPRESSED)
    net = hntk.compress(
        layers, cfg.net.widths, data.x_train, match, cfg.compress.sparsity, key=key, weights=weights,
        tau0=data.tau0,
    )  # fmt: skip
    floats = _fitted(cfg, hntk.on_grid(net, cfg.experiment.level_bits), data, "compressed network")
    whole = hntk.to_integers(
        floats, x=data.x_train, pixels=data.pixels, level_bits=cfg.experiment.level_bits,
        readout_bits=cfg.experiment.readout_bits,
    )  # fmt: skip
    assert isinstance(whole, hntk.IntegerClassifier)
    return Compressed(floats, whole)


def _fitted(cfg: Config, net: hntk.Network, data: hntk.Dataset, name: str) -> hntk.Classifier:
    """Fit the configured readout."""
    readout, layers = cfg.experiment.readout, cfg.experiment.layers
    if readout not in READOUTS:
        raise ValueError(f"experiment.readout must be one of {', '.join(READOUTS)}, got {readout!r}.")
    with progress(f"{name}: features", len(data.x_train)) as advance:
        if readout == "ridge":
            fitted = hntk.fit_ridge(net, data, layers=layers, progress=advance, seed=cfg.seed)
            assert isinstance(fitted, hntk.RidgeClassifier)
            return fitted
        training_features = features(net, data.x_train, advance, layers)
    schedule = hntk.Schedule(epochs=cfg.experiment.epochs, batch=min(256, len(training_features) // 2))
    with progress(f"{name}: readout, epochs", 2 * schedule.epochs) as advance:
        return hntk.fit_softmax(
            net, data, layers=layers, features=training_features, schedule=schedule, progress=lambda _: advance(1),
            seed=cfg.seed,
        )  # fmt: skip
