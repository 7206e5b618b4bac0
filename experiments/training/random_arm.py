"""Drawn layers of orthogonal blocks with matched levels and a trained readout of all layers, in whole numbers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

import hntk
from experiments.runner.config import Config
from experiments.runner.console import progress, stage
from experiments.runner.errors import Skip
from experiments.runner.from_config import features, matched
from experiments.runner.networks import activations
from hntk.deploy.c import to_c

# More zeros would save no byte of orthogonal blocks.
LAW = hntk.WeightLaw("orthogonal", sparsity=0.5)
READOUT_BITS = 8
# Samples by which a network whose size alone matters is turned into whole numbers.
FEW = 64


class Fitted(NamedTuple):
    """A classifier of whole numbers, the validation accuracy that its readout was chosen by, and that readout."""

    classifier: hntk.IntegerClassifier
    validation: float
    readout: str


def matched_staircases(cfg: Config, data: hntk.Dataset, levels: int) -> list[hntk.Activation]:
    """Return the few-level activations of the original's layers, matched layer by layer for a readout of all."""
    layers = activations(cfg.net.activations)
    with stage(f"matching: {levels} levels, layer by layer") as tell:
        match, _ = matched(
            cfg.compress, layers, data.tau0, data.x_train, data.y_train, levels=levels, objective="theory",
            method="layerwise", tell=tell,
        )  # fmt: skip
    return list(match.activations)


def fitted_network(
    cfg: Config, data: hntk.Dataset, staircases: Sequence[hntk.Activation], widths: Sequence[int], seed: int
) -> Fitted:
    """Draw the layers of one seed; of readouts of the same features, keep the one of the best validation accuracy."""
    net = _drawn(data, staircases, widths, seed)
    with progress(f"seed {seed}: features", len(data.x_train)) as advance:
        training = features(net, data.x_train, advance, "all")
    given = {"features": training, "layers": "all", "seed": seed}
    schedule = hntk.Schedule(epochs=cfg.experiment.readout_epochs, batch=min(256, len(training) // 2))
    fits: dict[str, Callable[[], hntk.RidgeClassifier | hntk.SoftmaxClassifier]] = {
        "ridge": lambda: hntk.fit_ridge(net, data, **given),  # type: ignore[dict-item]
        "softmax": lambda: hntk.fit_softmax(net, data, schedule=schedule, progress=lambda _: advance(1), **given),
    }
    with progress(f"seed {seed}: readouts, epochs", 2 * schedule.epochs) as advance:
        candidates = {name: fits[name]() for name in cfg.experiment.readouts}
    name = max(candidates, key=lambda readout: candidates[readout].validation_accuracy or 0.0)
    chosen = candidates[name]
    whole = hntk.to_integers(chosen, x=data.x_train, pixels=data.pixels, readout_bits=READOUT_BITS)
    assert isinstance(whole, hntk.IntegerClassifier)
    return Fitted(whole, float(chosen.validation_accuracy or np.nan), name)


def _drawn(
    data: hntk.Dataset, staircases: Sequence[hntk.Activation], widths: Sequence[int], seed: int
) -> hntk.Network:  # fmt: skip
    net = hntk.draw_network(staircases, widths, data.p, tau0=data.tau0, law=LAW, key=jax.random.key(seed))
    return hntk.on_grid(net)


def widths_within(
    cfg: Config, data: hntk.Dataset, staircases: Sequence[hntk.Activation], most_bytes: float
) -> tuple[int, ...]:
    """Return the widest layers, in the proportions of ``net.widths``, whose C tables fit a number of bytes.

    Sizes are those of drawn networks, whose readouts are not fitted.

    Parameters
    ----------
    cfg : Config
        The configuration.
    data : hntk.Dataset
        The data set.
    staircases : sequence of hntk.Activation
        Activations of the layers.
    most_bytes : float
        Bytes that the tables may take.

    Returns
    -------
    tuple of int
        The widths.

    Raises
    ------
    ValueError
        If not even one neuron a layer fits; the message says which number of bytes would do.
    """
    shape = tuple(cfg.net.widths)
    least, bound = len(shape), int(cfg.experiment.max_width)

    def scaled(neurons: int) -> tuple[int, ...]:
        return tuple(max(1, round(d * neurons / sum(shape))) for d in shape)

    def size(neurons: int) -> int:
        tell(f"{neurons:,} neurons")
        return table_bytes(data, _drawn(data, staircases, scaled(neurons), 0))

    with stage(f"the widest layers within {most_bytes / 1e3:g} kB") as tell:
        # from the narrowest on, as wide layers take longest to draw
        tried = least
        while tried < bound and size(tried) <= most_bytes:
            tried = min(2 * tried, bound)
        known = max(0, tried // 2 - least)
        most = bisect_right(range(least, tried + 1), most_bytes, lo=known, key=size)
    if most == 0:
        raise ValueError(
            f"no random layers fit {most_bytes / 1e3:g} kB: one neuron a layer takes {size(len(shape)) / 1e3:g} kB, so "
            "give a larger experiment.kilobytes."
        )
    return scaled(most + len(shape) - 1)


def check_budget(cfg: Config, data: hntk.Dataset, levels: int) -> None:
    """Skip a job whose budget random layers do not fit, before anything is matched.

    Raises
    ------
    Skip
        If not even one neuron a layer fits.
    """
    steps = hntk.staircase(list(range(levels - 1)), list(range(levels)))
    layers = len(cfg.net.widths)
    least = table_bytes(data, _drawn(data, [steps] * layers, [1] * layers, 0)) / 1e3
    if least > float(cfg.experiment.kilobytes):
        raise Skip(f"no random layers fit {cfg.experiment.kilobytes:g} kB: one neuron a layer takes {least:g} kB")


def table_bytes(data: hntk.Dataset, net: hntk.Network) -> int:
    """Return the bytes of the C tables of a network with some readout of all layers."""
    readout = np.random.default_rng(0).normal(size=(sum(net.widths), len(data.classes)))
    classifier = hntk.Classifier(
        net, data.classes, readout, np.zeros(len(data.classes)), layers="all", normalization=data.normalization
    )
    whole = hntk.to_integers(classifier, x=data.x_train[:FEW], pixels=data.pixels, readout_bits=READOUT_BITS)
    return to_c(whole).table_bytes  # type: ignore[arg-type]
