"""Repeated measurements in words."""

from __future__ import annotations

from experiments.runner.statistics import means_in_words, plus_minus


def test_one_repetition_is_no_mean() -> None:
    assert means_in_words(1, "seed") == "one seed"
    assert means_in_words(5, "seed") == "means of 5 seeds with standard errors"


def test_a_number_has_its_error_in_the_same_digits() -> None:
    assert plus_minus(0.12345, 0.00067) == "0.1235 ± 0.0007"
