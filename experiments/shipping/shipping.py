"""A classifier for shipping: matched, drawn, fitted and turned into whole numbers, beside the dense original."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

import hntk
from experiments.runner.config import Config
from experiments.runner.console import progress, stage
from experiments.runner.setting import activations, features, matched

READOUTS = ("ridge", "softmax")
# stages of making one, as a seed's random keys are told apart
DENSE, COMPRESSED = range(2)


class Made(NamedTuple):
    """The float form, whose levels are on a grid, and the same network in whole numbers."""

    floats: hntk.Classifier
    whole: hntk.IntegerClassifier


def dense(cfg: Config, data: hntk.Dataset) -> hntk.Classifier:
    """The original, for raw samples."""
    key = jax.random.fold_in(jax.random.key(cfg.seed), DENSE)
    layers = activations(cfg.net.activations)
    net = hntk.dense(layers, cfg.net.widths, data.x_train, key=key, law=cfg.net.weights, tau0=data.tau0)
    return _fitted(cfg, net, data, "dense network")


def compressed(cfg: Config, data: hntk.Dataset) -> Made:
    """The network that replaces it."""
    layers = activations(cfg.net.activations)
    with stage("matching: solving for the compressed activations") as tell:
        match, _ = matched(cfg.compress, layers, data.tau0, data.x_train, tell=tell)
    key = jax.random.fold_in(jax.random.key(cfg.seed), COMPRESSED)
    net = hntk.compress(
        layers, cfg.net.widths, data.x_train, match, cfg.compress.sparsity, key=key, tau0=data.tau0
    )  # fmt: skip
    # the readout is fitted to what will be shipped
    floats = _fitted(cfg, hntk.on_grid(net, cfg.experiment.level_bits), data, "compressed network")
    whole = hntk.to_integers(
        floats, x=data.x_train, pixels=data.pixels, level_bits=cfg.experiment.level_bits,
        readout_bits=cfg.experiment.readout_bits,
    )  # fmt: skip
    assert isinstance(whole, hntk.IntegerClassifier)
    return Made(floats, whole)


def _fitted(cfg: Config, net: hntk.Network, data: hntk.Dataset, what: str) -> hntk.Classifier:
    kind = cfg.experiment.readout
    if kind not in READOUTS:
        raise ValueError(f"experiment.readout must be one of {', '.join(READOUTS)}, got {kind!r}.")
    given: dict[str, Any] = {"seed": cfg.seed}
    if kind == "ridge":
        with progress(f"{what}: features", len(data.x_train)) as advance:
            return hntk.fit_ridge(net, data, progress=advance, **given)
    with progress(f"{what}: features", len(data.x_train)) as advance:
        seen = features(net, data.x_train, advance)
    schedule = hntk.Schedule(epochs=cfg.experiment.epochs, batch=min(256, len(seen) // 2))
    with progress(f"{what}: readout, epochs", 2 * schedule.epochs) as advance:
        return hntk.fit_softmax(
            net, data, features=seen, schedule=schedule, progress=lambda _: advance(1), **given
        )  # fmt: skip
