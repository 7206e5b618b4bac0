"""Kernel machines trained by a filter of the labels, simulated, and the samples they are trained on."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import jax
import numpy as np

import hntk
from experiments.asymptotics.draws import mean_and_error
from experiments.asymptotics.mixtures import reference_model
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE
from experiments.runner.setting import dataset
from hntk.asymptotics.estimation import estimate_law
from hntk.asymptotics.learning import Learned
from hntk.asymptotics.mixture_law import MixtureLaw

# a difference from real data that is to be seen in tables
VISIBLE = 0.01


class Errors(NamedTuple):
    """Mean squared error and share of wrong classes, on the samples trained on and on new ones."""

    training_squared: float
    training_wrong: float
    test_squared: float
    test_wrong: float

    @staticmethod
    def predicted(learned: Learned) -> Errors:
        """By theory."""
        parts = (learned.training, learned.test)
        return Errors(*(e for part in parts for e in (part.squared_error, part.classification_error)))


@dataclass
class Comparison:
    """Errors of every draw, predicted and simulated; predictions differ where the law is estimated."""

    predicted: list[Errors] = field(default_factory=list, kw_only=True)
    simulated: list[Errors] = field(default_factory=list, kw_only=True)

    def means(self, error: str) -> tuple[float, float, float]:
        """Prediction, simulation, and the standard error of their difference."""
        predicted = np.array([getattr(e, error) for e in self.predicted])
        simulated = np.array([getattr(e, error) for e in self.simulated])
        return float(predicted.mean()), float(simulated.mean()), mean_and_error(simulated - predicted)[1]


@dataclass(frozen=True)
class Problem:
    """Samples to train on and new ones, labels 0 … K − 1, and the law that theory takes them to have."""

    x: np.ndarray
    labels: np.ndarray
    x_test: np.ndarray
    labels_test: np.ndarray
    law: MixtureLaw


@dataclass(frozen=True)
class Machine:
    """An exact kernel by its eigenvectors, and scores of new samples along them."""

    problem: Problem
    values: np.ndarray
    vectors: np.ndarray
    across: np.ndarray

    @staticmethod
    def of(
        problem: Problem, layers: list[hntk.Activation], kernel: str, tau0: float, kappa_sq: float | None
    ) -> Machine:
        """The infinitely wide network's; ``kappa_sq`` for an NTK whose diagonal is declared."""
        own = hntk.exact_kernels(problem.x, layers, tau0=tau0, kappa_sq=kappa_sq)
        values, vectors = np.linalg.eigh(np.asarray(getattr(own, kernel)))
        across = hntk.exact_kernels(problem.x_test, layers, x2=problem.x, tau0=tau0)
        return Machine(problem, values, vectors, np.asarray(getattr(across, kernel)) @ vectors)

    def ridge(self, ridge: float) -> Errors:
        """Ridge regression, β = (K + λ)⁻¹ y."""
        return self._errors(1 / (self.values + ridge), ridge / (self.values + ridge))

    def flow(self, time: float) -> Errors:
        """Gradient flow from 0, β = K⁻¹(1 − exp(−sK)) y."""
        return self._errors(-np.expm1(-time * self.values) / self.values, np.exp(-time * self.values))

    def _errors(self, dual: np.ndarray, residual: np.ndarray) -> Errors:
        labels, shares = self.problem.labels, self._shares
        left = self.vectors @ (residual[:, None] * self._targets)
        scores = np.eye(shares.size)[labels] - shares - left
        new = self.across @ (dual[:, None] * self._targets)
        right = np.eye(shares.size)[self.problem.labels_test] - shares
        return Errors(
            float(np.mean(np.sum(left**2, axis=1))),
            float(np.mean(np.argmax(scores + shares, axis=1) != labels)),
            float(np.mean(np.sum((right - new) ** 2, axis=1))),
            float(np.mean(np.argmax(new + shares, axis=1) != self.problem.labels_test)),
        )

    @cached_property
    def _shares(self) -> np.ndarray:
        return np.bincount(self.problem.labels) / self.problem.labels.size

    @cached_property
    def _targets(self) -> np.ndarray:
        """One-hot labels minus shares, along the eigenvectors."""
        return self.vectors.T @ (np.eye(self._shares.size)[self.problem.labels] - self._shares)


class MixtureSource:
    """Two classes drawn anew for every seed; theory knows their law."""

    estimated = False

    def __init__(self, cfg: Config) -> None:
        self.cfg, self.p = cfg, cfg.data.p
        self.model = reference_model(cfg.data, self.p)
        self.tau0 = self.model.law.tau0
        self.name = f"Gaussian mixture, separation {cfg.data.separation:g}, spread {cfg.data.spread:g}"

    def size(self, ratio: float) -> int:
        """The n of a ratio n/p."""
        return self.model.size(ratio)

    def problem(self, n: int, draw: int) -> Problem:
        """The samples of a seed."""
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(self.cfg.seed), n), draw)
        first, second = jax.random.split(key)
        own, new = self.model.draw(n, first), self.model.draw(self.cfg.experiment.n_test, second)
        return Problem(np.asarray(own.x), own.labels, np.asarray(new.x), new.labels, self.model.law)


class DatasetSource:
    """A part of a data set for every seed, and all of its test set; theory estimates the law from that part."""

    estimated = True

    def __init__(self, cfg: Config) -> None:
        self.cfg, self.data = cfg, dataset(cfg.data, cfg.seed)
        self.p, self.tau0 = self.data.p, self.data.tau0
        self.test = np.searchsorted(self.data.classes, self.data.y_test)
        classes = ", ".join(map(str, self.data.classes))
        self.name = f"{cfg.data.name}, classes {classes}, {len(self.test):,} test samples"

    def size(self, ratio: float) -> int:
        """The n of a ratio n/p, at most what there is."""
        return min(round(ratio * self.p), len(self.data.x_train))

    def problem(self, n: int, draw: int) -> Problem:
        """The samples of a seed."""
        rows = np.random.default_rng((self.cfg.seed, n, draw)).permutation(len(self.data.x_train))[:n]
        x, labels = self.data.x_train[rows], np.searchsorted(self.data.classes, self.data.y_train[rows])
        return Problem(x, labels, self.data.x_test, self.test, estimate_law(x, labels))


Source = MixtureSource | DatasetSource


def size_of(cfg: Config) -> str:
    """Which theory lines are of, in words."""
    return "at this size" if cfg.experiment.finite_size else "in the limit"


def source(cfg: Config) -> Source:
    """Of the configured data."""
    found = MixtureSource(cfg) if cfg.data.kind == "mixture" else DatasetSource(cfg)
    CONSOLE.print(f"  {found.name}; p = {found.p}")
    return found
