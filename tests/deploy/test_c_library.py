"""The C program called from Python gives what Python computes."""

from __future__ import annotations

from dataclasses import replace
from shutil import which

import numpy as np
import pytest

import hntk
from hntk.deploy import CompilerError, c_library, to_c
from tests.support.architectures import raw_samples, whole_classifier

needs_gcc = pytest.mark.skipif(which("gcc") is None, reason="needs gcc")


@needs_gcc
@pytest.mark.parametrize(("pixels", "layers"), [(True, "last"), (False, "all")])
def test_scores_and_classes_are_those_of_python(pixels: bool, layers: str) -> None:
    made = whole_classifier(levels=4, widths=(33, 17), pixels=pixels, law="orthogonal", layers=layers)
    raw = raw_samples(made)
    library = c_library(to_c(made))
    assert (library.inputs, library.outputs) == (raw.shape[1], len(made.classes))
    np.testing.assert_array_equal(library.scores(raw), made.scores(raw))
    np.testing.assert_array_equal(made.classes[library.predict(raw)], made.predict(raw))
    # rows that do not lie one after the other, in another type
    np.testing.assert_array_equal(library.scores(np.asfortranarray(raw[::2].astype(np.float64))), made.scores(raw[::2]))


@needs_gcc
def test_a_regressor_predicts_what_python_predicts() -> None:
    made = whole_classifier(levels=4, widths=(33, 17), pixels=True)
    regressor = hntk.IntegerRegressor(made.network, made.readout[:2], made.offset[:2], 0.1 / 3)
    library, raw = c_library(to_c(regressor)), raw_samples(made)
    assert (library.outputs, library.unit) == (2, 0.1 / 3)
    np.testing.assert_array_equal(library.predict(raw), regressor.predict(raw))


@needs_gcc
def test_two_programs_of_one_name_do_not_meet() -> None:
    first, second = (whole_classifier(levels=levels, widths=(16,), pixels=True) for levels in (3, 4))
    raw, libraries = raw_samples(first), [c_library(to_c(made), options=["-O0"]) for made in (first, second)]
    for made, library in zip((first, second), libraries, strict=True):
        np.testing.assert_array_equal(library.scores(raw), made.scores(raw))
    assert not np.array_equal(first.scores(raw), second.scores(raw))


@needs_gcc
def test_samples_of_another_kind_are_refused() -> None:
    made = whole_classifier(levels=3, widths=(8,), pixels=True)
    library, raw = c_library(to_c(made), options=["-O0"]), raw_samples(made)
    with pytest.raises(ValueError, match=r"takes samples of 45 coordinates, got 44\."):
        library.predict(raw[:, 1:])
    with pytest.raises(ValueError, match="takes raw pixels, whole numbers from 0 to 255"):
        library.predict(raw / 255)
    with pytest.raises(ValueError, match="takes raw pixels"):
        library.scores(raw.astype(int) + 200)
    with pytest.raises(ValueError, match=r"x\[None, :\]"):
        library.scores(raw[0])


def test_a_compiler_that_is_missing_or_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    program = to_c(whole_classifier(levels=3, widths=(8,), pixels=True))
    with pytest.raises(CompilerError, match=r"no C compiler here \(nowhere-cc\): install gcc or clang"):
        c_library(program, compiler="nowhere-cc")
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(CompilerError, match=r"cc, gcc, clang.*name one in CC"):
        c_library(program)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="must be what hntk.deploy.to_c returns"):
        c_library(program.source)  # type: ignore[arg-type]
    if which("gcc"):
        with pytest.raises(CompilerError, match=r"gcc failed with status 1: .*no_such_function"):
            c_library(replace(program, source="int x = no_such_function;"), compiler="gcc")
