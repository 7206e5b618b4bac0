"""Networks that are chosen for a budget of kilobytes: sizes, the search, and budgets that nothing fits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import hntk
from hntk.deploy import to_c
from hntk.networks.training_record import Candidate, TrainingRecord
from hntk.training import designs as rules
from hntk.training.budget import folded_within, search, shortened
from hntk.training.designs import Freedom, cells, designs
from hntk.training.folding import folded
from hntk.training.samples import training_data
from hntk.training.starts import StartProblem, uniform_start
from hntk.training.table_size import drawn_bytes, filled, table_bytes, with_density

KEY = jax.random.key(3)
SCHEDULE = hntk.Schedule(epochs=3, batch=32, learning_rate=5e-3, patience=3)
RECORD = TrainingRecord("uniform", 1, 1, None, 100)


def images(n: int = 300, side: int = 14) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of three classes: a bright bar in another place, and noise; dark at the rims, as drawn digits are."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, n)
    x = rng.integers(0, 120, (n, side, side))
    x[np.arange(n), side // 4 * (1 + y)] += 100
    x[:, :2] = x[:, -2:] = 0
    return x.reshape(n, -1).astype(np.uint8), y


def problem(widths: tuple[int, ...] = (48, 24), levels: int = 4, side: int = 14) -> StartProblem:
    layers = len(widths)
    return StartProblem(training_data(*images(side=side)), widths, (levels,) * layers, (None,) * layers, None, SCHEDULE)


def train(kilobytes: Any, widths: Any = None, **options: Any) -> Any:
    given = {"key": KEY, "schedule": SCHEDULE, "start": "uniform", **options}
    return hntk.train(*images(), widths, kilobytes=kilobytes, **given)


def entropy_bits(made: StartProblem) -> float:
    """Fewest bits of random weights with the sparsity of a training."""
    total, before = 0.0, made.data.inputs_width
    for width, zeros in zip(made.widths, made.sparsity, strict=True):
        assert zeros is not None
        total += before * width * (-zeros * np.log2(zeros) - (1 - zeros) * np.log2((1 - zeros) / 2))
        before = width
    return total


# Sizes


@pytest.mark.parametrize(("limit", "levels"), [(1200, 4), (1700, 2), (2400, 8)])
def test_a_budget_is_filled_and_not_exceeded(limit: int, levels: int) -> None:
    made = filled(problem(levels=levels), limit, (1.0, 3.0))
    assert made is not None
    assert 0.97 * limit < drawn_bytes(made) <= limit
    dense = [1 - zeros for zeros in made.sparsity if zeros is not None]
    assert dense[1] == pytest.approx(3 * dense[0]) or dense[1] == pytest.approx(2 / 3)
    assert drawn_bytes(with_density(made, 1.02 * dense[0], (1.0, 3.0))) > limit
    # Tables hold at least the entropy of the weights, a readout of bytes, and offsets of 4 bytes.
    assert drawn_bytes(made) > entropy_bits(made) / 8 + 3 * 24 + 4 * 3


def test_densities_have_bounds_that_are_reported() -> None:
    """A budget beyond the densest network is not filled, and one below the sparsest has no network."""
    densest, sparsest = filled(problem(), 1e6, (1.0, 3.0)), with_density(problem(), 0.0, (1.0, 3.0))
    assert densest is not None
    assert densest.sparsity == pytest.approx((1 / 3, 1 / 3))
    assert sparsest.sparsity == pytest.approx((1 - 2 / 196, 1 - 2 / 48))
    assert filled(problem(), drawn_bytes(sparsest), (1.0, 3.0)) is not None
    assert filled(problem(), drawn_bytes(sparsest) - 1, (1.0, 3.0)) is None


def test_untrained_tables_have_about_the_bytes_of_a_trained_program() -> None:
    """Those of the program are counted by to_c."""
    made = filled(problem(), 1500, (1.0, 2.0))
    assert made is not None
    program = train(None, made.widths, sparsity=made.sparsity, levels=4)
    assert table_bytes(program) == to_c(program).table_bytes
    assert table_bytes(program) == pytest.approx(drawn_bytes(made), rel=0.08)
    other = replace(made, sparsity=tuple(1 - 1.5 * (1 - zeros) for zeros in made.sparsity if zeros is not None))
    assert table_bytes(program) != pytest.approx(drawn_bytes(other), rel=0.08)


def test_weights_of_the_smallest_magnitude_are_left_out_of_a_program_that_is_too_large() -> None:
    made = filled(problem(), 1500, (1.0, 3.0))
    assert made is not None
    layers, parameters = uniform_start(made, KEY)
    whole = folded(parameters, layers, made.data, RECORD)
    limit = 0.85 * table_bytes(whole)
    small, first = folded_within(parameters, layers, made.data, RECORD, limit)
    assert first == table_bytes(whole)
    assert 0.97 * limit < table_bytes(small) <= limit
    for part, before, after in zip(parameters["layers"], whole.network.weights, small.network.weights, strict=True):
        size, old, new = np.abs(part["weights"]), np.asarray(before.values), np.asarray(after.values)
        left_out = (new == 0) & (old != 0)
        assert left_out.any()
        np.testing.assert_array_equal(new[~left_out], old[~left_out])
        assert size[left_out].max() <= size[new != 0].min()
    enough, _ = folded_within(parameters, layers, made.data, RECORD, first)
    np.testing.assert_array_equal(enough.network.weights[0].values, whole.network.weights[0].values)
    with pytest.raises(ValueError, match="thresholds and readout alone"):
        folded_within(parameters, layers, made.data, RECORD, 200)


# Designs


def freedom(
    made: StartProblem, *, widths: Any = None, sparsity: Any = None, pool: bool = False, side: int = 14
) -> Freedom:
    def pooled(share: float) -> Any:
        if share == 1:
            return made.data
        small = cells((side, side), share)
        return None if small is None else training_data(*images(side=side), pool=small)

    return Freedom(made, pooled, widths, sparsity, pool)


@pytest.mark.parametrize("limit", [900, 6000])
def test_designs_of_any_budget_are_within_it_and_wide(limit: int) -> None:
    made = designs(freedom(problem(), pool=True), limit)
    assert 2 <= len(made) <= 6
    sizes = [drawn_bytes(design.problem) for design in made]
    assert max(sizes) <= limit
    assert min(sizes) > 0.8 * limit
    assert len({design.problem.widths for design in made}) > 1
    assert len({design.problem.data.inputs_width for design in made}) > 1


def test_larger_budgets_have_wider_designs() -> None:
    first = [designs(freedom(problem()), limit)[0].problem.widths for limit in (600, 2000)]
    assert first[0][0] < first[1][0]
    assert first[0][1] < first[1][1]
    assert all(width % 8 == 0 for widths in first for width in widths)


def test_what_is_given_is_kept() -> None:
    widths = designs(freedom(problem(), widths=(40, 16)), 1200)
    assert {design.problem.widths for design in widths} == {(40, 16)}
    assert len({design.problem.sparsity for design in widths}) == len(widths) == 2
    sparsity = designs(freedom(problem(), sparsity=(0.9, 0.7)), 3000)
    assert {design.problem.sparsity for design in sparsity} == {(0.9, 0.7)}
    assert all(0.85 * 3000 < drawn_bytes(design.problem) <= 3000 for design in sparsity)
    both = designs(freedom(problem(), widths=(40, 16), sparsity=(0.9, 0.7)), 3000)
    assert [design.problem.widths for design in both] == [(40, 16)]


def test_cells_of_images_divide_fast() -> None:
    assert cells((28, 28), 5 / 7) == (20, 20)
    assert cells((28, 28), 4 / 7) == (16, 16)
    assert cells((28, 28), 1) is None
    assert cells((8, 8), 5 / 7) is None
    rows, columns = cells((32, 48), 5 / 7) or (0, 0)
    assert abs(rows - 32 * 5 / 7) < 3
    assert abs(columns - 48 * 5 / 7) < 4


# Search


def test_the_search_keeps_the_best_of_each_round() -> None:
    """Trainings that do nothing leave random networks, whose validation is known beforehand."""
    made = designs(freedom(problem(), pool=True), 1500)
    epochs = []

    def start_only(short: StartProblem, rows: np.ndarray) -> tuple[Any, Sequence[Any], TrainingRecord]:
        epochs.append(short.schedule.epochs)
        layers, parameters = uniform_start(short, KEY)
        return parameters, layers, replace(RECORD, epochs=short.schedule.epochs, samples=rows.size)

    long = [design._replace(problem=replace(design.problem, schedule=replace(SCHEDULE, epochs=80))) for design in made]
    best, tried = search(long, 1500, start_only)
    count = len(made)
    assert epochs == [2] * count + [6] * 2
    assert len(tried) == count + 2
    assert max(candidate.table_bytes for candidate in tried) <= 1500
    first, second = tried[:count], tried[count:]
    ranked = sorted(first, key=lambda candidate: -candidate.validation)
    assert {(c.widths, c.pooled) for c in second} == {(c.widths, c.pooled) for c in ranked[:2]}
    assert best.widths == max(second, key=lambda candidate: candidate.validation).widths
    assert best.schedule.epochs == 80


def test_a_single_design_needs_no_search() -> None:
    (only,) = designs(freedom(problem((32,), levels=3), widths=(32,)), 1000)

    def never(*_: Any) -> Any:
        raise AssertionError

    assert search([only], 1000, never) == (only.problem, ())


@pytest.mark.parametrize(("share", "epochs", "samples"), [(0.025, 1, 40), (0.1, 2, 54)])
def test_short_trainings_see_a_share_of_the_samples(
    share: float, epochs: int, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hntk.training.budget.LEAST_SAMPLES", 40)
    x, y = images(n=60)
    whole = replace(problem(), data=training_data(x, y), schedule=replace(SCHEDULE, epochs=20, warmup=5.0))
    short, rows = shortened(whole, share)
    assert (short.schedule.epochs, rows.size) == (epochs, samples)
    assert short.schedule.warmup < epochs / 2
    np.testing.assert_array_equal(short.data.training.raw, whole.data.training.raw[rows])
    assert len(short.data.held.targets) == len(whole.data.held.targets) == 6
    none, rows = shortened(replace(whole, data=training_data(x, y, validation=None)), 0.1)
    held = none.data.held.raw
    assert len(held) == 6
    assert not {row.tobytes() for row in held} & {row.tobytes() for row in none.data.training.raw}
    np.testing.assert_array_equal(none.data.training.raw, x[rows])


def test_train_chooses_a_network_that_fits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two designs are tried; the same key gives the same, and the file says what was tried."""
    monkeypatch.setattr(rules, "OF_IMAGES", rules.OF_IMAGES[2:4])
    schedule = replace(SCHEDULE, epochs=10, patience=10)
    made = train(1.5, schedule=schedule)
    assert to_c(made).table_bytes <= 1500
    assert made.accuracy(*images()) > 0.8
    again = train(1.5, schedule=schedule)
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(made), jax.tree.leaves(again), strict=True))
    assert made.training == again.training
    tried = made.training.candidates
    assert len(tried) == 4
    assert {candidate.widths for candidate in tried} >= {made.network.widths}
    assert {candidate.pooled for candidate in tried} == {(), (10, 10)}
    path = tmp_path / "small.hntk"
    hntk.save(made, path)
    read: Any = hntk.load(path)
    assert [replace(c, sparsity=()) for c in read.training.candidates] == [replace(c, sparsity=()) for c in tried]
    assert "chosen by 4 short trainings" in str(hntk.summarize(made))


@pytest.mark.nightly
def test_members_and_regressors_are_within_the_budget() -> None:
    members = train(0.8, (32,), pool=(14, 14), key=jax.random.split(KEY, 2), levels=8)
    assert len(members) == 2
    assert all(700 < to_c(member).table_bytes <= 800 for member in members)
    assert members[0].training.candidates == members[1].training.candidates == ()
    x, _ = images()
    y = x[:, 40:60].mean(axis=1) + 0.5
    made = hntk.train(x, y, (24,), kilobytes=0.8, pool=(10, 10), key=KEY, schedule=SCHEDULE, start="uniform")
    assert table_bytes(made) <= 800


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kilobytes": 0.05}, "for these samples fits"),
        ({"kilobytes": 0.3, "widths": (64, 32)}, "these widths fits"),
        ({"kilobytes": 0.05, "sparsity": 0.8}, "this sparsity fits"),
        ({"kilobytes": 0.5, "widths": (64, 32), "sparsity": 0.5}, "these widths and this sparsity fits"),
    ],
)
def test_a_budget_that_nothing_fits_is_refused_with_one_that_does(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        train(**options, pool=(14, 14))
    named = re.search(r"kilobytes=([\d.]+)", str(refused.value))
    assert named
    made = replace(problem(options.get("widths", (1, 1)), levels=8), spaced=True)
    sparsity = options.get("sparsity")
    wanted = freedom(made, widths=options.get("widths"), sparsity=None if sparsity is None else (sparsity,) * 2)
    assert designs(wanted, 1000 * float(named[1]))
    with pytest.raises(ValueError, match="fits"):
        designs(wanted, 1000 * float(named[1]) / 1.2)


def test_samples_of_few_coordinates_have_designs_down_to_the_budget_that_the_error_names() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 6))
    data = training_data(x, x @ rng.normal(size=6))
    made = StartProblem(data, (1, 1), (8, 8), (None, None), None, SCHEDULE, spaced=True)
    wanted = Freedom(made, lambda share: data if share == 1 else None, None, None, False)
    with pytest.raises(ValueError, match="for these samples fits") as refused:
        designs(wanted, 100)
    named = re.search(r"kilobytes=([\d.]+)", str(refused.value))
    assert named
    for kilobytes in (float(named[1]), 0.3, 0.4):
        made_within = designs(wanted, 1000 * kilobytes)
        assert all(drawn_bytes(design.problem) <= 1000 * kilobytes for design in made_within)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kilobytes": 0}, "kilobytes must be a positive"),
        ({"kilobytes": float("nan")}, "kilobytes must be a positive"),
        ({"kilobytes": "12"}, "kilobytes"),
        ({"kilobytes": None}, "give widths="),
        ({"kilobytes": None, "widths": 8, "pool": "auto"}, 'pool="auto" needs kilobytes='),
        ({"kilobytes": 2, "pool": "automatic"}, "pool must be"),
        ({"kilobytes": 2, "sparsity": (0.5, None)}, "sparsity of every layer or of none"),
        ({"kilobytes": 2, "sparsity": (0.5, 0.5), "levels": (4, 4, 4)}, "sparsity must be one number|levels must be"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(**options)


def test_candidates_say_what_they_were() -> None:
    tried = Candidate((304, 104), (4, 4), (0.94, 0.83), (20, 20), 12298, 1, 0.7078)
    assert str(tried) == (
        "20 x 20 cells, widths 304-104, 4-4 levels, zeros 94%, 83%: 12,298 bytes, validation 0.7078 after 1 epoch"
    )
