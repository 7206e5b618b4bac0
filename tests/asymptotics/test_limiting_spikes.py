"""Spikes: the phase transition in closed form, and simulations that come nearer as p grows."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

import hntk
from hntk.asymptotics.covariances import GeneralCovariances
from hntk.asymptotics.limiting_spikes import Spike
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.predictions import limiting_density, spikes
from tests.asymptotics.laws import LINEAR, NET, law_of, mixtures, simulated


@pytest.mark.parametrize("ratio", [0.25, 4.0])
def test_baik_ben_arous_peche(ratio: float) -> None:
    p, edge = 400, (1 + np.sqrt(ratio)) ** 2
    for strength in (0.5, 0.9, 1.1, 2.0, 5.0):
        theta_sq = strength * np.sqrt(ratio)
        law = MixtureLaw.of(np.sqrt(theta_sq / ratio) * np.eye(1, p), [1.0])
        (spike,) = spikes(law, round(ratio * p), LINEAR)
        assert spike.above == (strength > 1)
        assert (spike.strength > 1) == spike.above
        if not spike.above:
            assert (spike.total, spike.value) == (0.0, pytest.approx(edge + 0.25))
            assert "no spike" in str(spike)
            continue
        assert spike.value - 0.25 == pytest.approx((1 + theta_sq) * (ratio + theta_sq) / theta_sq)
        assert spike.total == pytest.approx(1 - ratio * (1 + theta_sq) / (theta_sq * (theta_sq + ratio)))


def leading(spikes_and_directions: tuple[Spike, ...]) -> list[Spike]:
    return [spike for spike in spikes_and_directions if spike.above and not np.isnan(spike.strength)]


@pytest.mark.often("scaled-0.5", "three classes-2.0")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "ratio"), [("one class", 0.5), ("scaled", 0.5), ("scaled", 2.0), ("three classes", 2.0)]
)
def test_spikes_come_nearer_to_simulation(name: str, ratio: float) -> None:
    gaps, wrong_gaps = [], []
    for p, seeds in ((60, 24), (240, 8)):
        n, law = round(ratio * p), law_of(name, p)
        predicted = leading(spikes(law, n, LINEAR))
        wrong = leading(spikes(MixtureLaw.of(2 * mixtures(p)[name][0], mixtures(p)[name][1]), n, LINEAR))
        values, alignments = [], []
        for seed in range(seeds):
            data = hntk.gaussian_mixture(*mixtures(p)[name], n, key=jax.random.key(seed))
            spectrum = hntk.spectrum(data.x @ data.x.T, len(predicted))
            indicators = np.eye(law.classes)[data.labels] / np.sqrt(np.bincount(data.labels))
            values.append(spectrum.values[: len(predicted)] + 0.25)
            alignments.append(np.sum((indicators.T @ spectrum.leading) ** 2))
        gap = np.mean(values, axis=0) / [spike.value for spike in predicted] - 1
        total = np.mean(alignments)
        gaps.append((np.max(np.abs(gap)), abs(total - sum(spike.total for spike in predicted)) / len(predicted)))
        wrong_gaps.append(abs(total - sum(spike.total for spike in wrong[: len(predicted)])) / len(predicted))
    assert gaps[1][0] < 0.03
    assert gaps[1][1] < 0.03
    assert sum(gaps[1]) < sum(gaps[0])
    assert wrong_gaps[1] > 3 * gaps[1][1]


def test_spikes_below_the_bulk_come_out_where_the_kernel_has_them() -> None:
    p, n = 200, 800
    law = law_of("scaled", p)
    _, kernel = simulated("scaled", n, p, seed=0)
    values = kernel.eigvalsh()
    limit = limiting_density(law, n, NET)
    (place, _), left = limit.atoms[0], limit.edges[0, 0]
    between = values[(values > place + 1e-9) & (values < 0.97 * left)]
    predicted = [s.value for s in spikes(law, n, NET) if np.isnan(s.strength)]
    assert len(predicted) >= 1
    assert len(between) == len(predicted)
    np.testing.assert_allclose(between, predicted, rtol=0.03)


def test_classes_alike_give_spikes_of_multiplicity() -> None:
    three = leading(spikes(MixtureLaw.of(4 * np.eye(3, 200), [1.0] * 3), 400, LINEAR))
    assert len(three) == 3
    np.testing.assert_allclose([s.value for s in three], three[0].value)
    one = leading(spikes(MixtureLaw.of(4 * np.eye(1, 200), [1.0]), 133, LINEAR))
    np.testing.assert_allclose(sum(s.alignment for s in three), np.full(3, three[0].total), rtol=1e-6)
    assert three[0].total < one[0].total


def as_matrices(law: MixtureLaw, means: np.ndarray, covariances: list) -> MixtureLaw:
    """The same law without the shortcut for covariances that commute."""
    full = np.stack([np.diag(np.broadcast_to(c, law.dimension)) for c in covariances])
    return dataclasses.replace(law, algebra=GeneralCovariances(full, means))


def test_laws_without_the_shortcut_agree_with_it() -> None:
    means, covariances = mixtures(20)["three classes"]
    law = MixtureLaw.of(means, covariances)
    slow = as_matrices(law, means, covariances)
    np.testing.assert_allclose(limiting_density(slow, 40, NET).edges, limiting_density(law, 40, NET).edges, rtol=1e-9)
    for a, b in zip(spikes(slow, 40, NET), spikes(law, 40, NET), strict=True):
        np.testing.assert_allclose([a.value, *a.alignment], [b.value, *b.alignment], rtol=1e-6, atol=1e-9)
