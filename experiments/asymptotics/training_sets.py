"""Where training samples come from: mixtures whose law is known, or data sets whose law theory estimates."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np

from experiments.asymptotics.mixtures import reference_model
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE
from experiments.runner.from_config import LabelledSamples, dataset
from experiments.runner.statistics import means_in_words
from hntk.asymptotics.estimation import estimate_law
from hntk.asymptotics.mixture_law import MixtureLaw


@dataclass(frozen=True)
class TrainingSet(LabelledSamples):
    """Samples with labels 0 … K − 1, and the law that theory assumes for them."""

    law: MixtureLaw


class MixtureSource:
    """Two classes of a Gaussian mixture, drawn anew for every seed; theory knows their law."""

    estimated = False

    def __init__(self, cfg: Config) -> None:
        self.cfg, self.p = cfg, cfg.data.p
        self.model = reference_model(cfg.data, self.p)
        self.tau0 = self.model.law.tau0
        self.name = f"Gaussian mixture, separation {cfg.data.separation:g}, spread {cfg.data.spread:g}"

    def size(self, ratio: float) -> int:
        """Return the number n of training samples for a ratio n/p."""
        return self.model.size(ratio)

    def samples(self, n: int, draw: int) -> TrainingSet:
        """Return the samples of one draw."""
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(self.cfg.seed), n), draw)
        first, second = jax.random.split(key)
        own, new = self.model.draw(n, first), self.model.draw(self.cfg.experiment.n_test, second)
        return TrainingSet(np.asarray(own.x), own.labels, np.asarray(new.x), new.labels, self.model.law)


class DatasetSource:
    """A random part of a data set for every seed, with its whole test set; theory estimates the law from that part."""

    estimated = True

    def __init__(self, cfg: Config) -> None:
        self.cfg, self.data = cfg, dataset(cfg.data, cfg.seed)
        self.p, self.tau0 = self.data.p, self.data.tau0
        self.test = np.searchsorted(self.data.classes, self.data.y_test)
        classes = ", ".join(map(str, self.data.classes))
        self.name = f"{cfg.data.name}, classes {classes}, {len(self.test):,} test samples"

    def size(self, ratio: float) -> int:
        """Return the number n of training samples for a ratio n/p, at most all of them."""
        return min(round(ratio * self.p), len(self.data.x_train))

    def samples(self, n: int, draw: int) -> TrainingSet:
        """Return the samples of one draw."""
        rows = np.random.default_rng((self.cfg.seed, n, draw)).permutation(len(self.data.x_train))[:n]
        x, labels = self.data.x_train[rows], np.searchsorted(self.data.classes, self.data.y_train[rows])
        return TrainingSet(x, labels, self.data.x_test, self.test, estimate_law(x, labels))


Source = MixtureSource | DatasetSource


def configured_source(cfg: Config) -> Source:
    """Return the source of the configured data, and print its name."""
    source = MixtureSource(cfg) if cfg.data.kind == "mixture" else DatasetSource(cfg)
    CONSOLE.print(f"  {source.name}; p = {source.p}")
    return source


def caption_of(cfg: Config, source: Source, subject: str) -> str:
    """Return a figure's caption: its subject, the data, and the meaning of lines and marks."""
    size = "at this size" if cfg.experiment.finite_size else "in the limit"
    quantities = " with estimated quantities" if source.estimated else ""
    return (
        f"{subject}. {source.name}; p = {source.p}.\nLines: theory {size}{quantities}; marks: exact kernels, "
        f"{means_in_words(cfg.experiment.seeds, 'draw')}"
    )
