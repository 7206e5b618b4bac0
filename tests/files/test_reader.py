"""Fields of files: each is read as described or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hntk.files.exact_arrays import to_float32, to_integers_of
from hntk.files.json_text import dumps, loads
from hntk.files.limits import CHARACTERS, COEFFICIENTS, LAYERS, LEVELS, shorten
from hntk.files.reader import FieldReader

ARRAYS = {
    "layer1.thresholds": np.arange(3, dtype=np.int32),
    "layer2.thresholds": np.zeros(0, np.int32),
    "layer3.thresholds": np.zeros(LEVELS, np.int32),
    "nan": np.array([np.nan]),
}


def read(method: str, value: object, **settings: Any) -> Any:
    return getattr(FieldReader({"a": value}, ARRAYS), method)("a", **settings)


@pytest.mark.parametrize(
    ("method", "value", "expected"),
    [
        ("number", 3, 3.0),
        ("number", -0.5, -0.5),
        ("numbers", [1, 2.5], [1.0, 2.5]),
        ("flag", True, True),
        ("flag", 0, False),
        ("text", "b", "b"),
        ("texts", ["b", ""], ["b", ""]),
        ("count", 7, 7),
        ("counts", [1, 2], [1, 2]),
        ("shape", [2, 3], (2, 3)),
    ],
)
def test_values_are_read_as_they_are(method: str, value: object, expected: object) -> None:
    found = read(method, value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("number", True), ("number", "1"), ("number", None), ("number", 1e39), ("number", float("nan")),
        ("numbers", []), ("numbers", [1] * (COEFFICIENTS + 1)), ("numbers", [True]), ("numbers", 1),
        ("flag", 2), ("flag", "true"), ("flag", []), ("text", 3), ("text", "x" * (CHARACTERS + 1)),
        ("texts", []), ("texts", ["a", 1]), ("texts", ["a"] * (LAYERS + 1)), ("texts", ["x" * (CHARACTERS + 1)]),
        ("count", 0), ("count", 1.0), ("count", True), ("counts", []), ("counts", [1, -1]), ("counts", 1),
        ("shape", [1]), ("shape", [1, 2, 3]), ("shape", [1, 0]), ("subtable", []), ("subtable", 1),
        ("subtables", {}), ("subtables", []), ("subtables", [{}] * (LAYERS + 1)), ("subtables", [1]),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else shorten(value)[:20],
)  # fmt: skip
def test_other_values_are_refused(method: str, value: object) -> None:
    with pytest.raises((ValueError, TypeError), match=r"."):
        read(method, value)


def test_settings_narrow_what_is_read() -> None:
    assert read("text", "b", among=("a", "b")) == "b"
    with pytest.raises(ValueError, match="a cannot be 'c'"):
        read("text", "c", among=("a", "b"))
    with pytest.raises(ValueError, match="positive"):
        read("number", 0.0, positive=True)
    with pytest.raises(ValueError, match="below float32's range"):
        read("number", 1e-40, positive=True)


def test_missing_fields_are_keys() -> None:
    fields = FieldReader({}, {})
    assert "a" not in fields
    assert not fields.flag("a")
    for method in ("number", "numbers", "text", "texts", "count", "counts", "shape", "subtable", "subtables"):
        with pytest.raises(KeyError):
            getattr(fields, method)("a")
    with pytest.raises(KeyError, match="the array a"):
        fields.array("a", np.int32)
    with pytest.raises(TypeError, match="a table was expected"):
        FieldReader([], {})


def test_arrays_have_the_type_and_shape_that_is_asked_for() -> None:
    fields = FieldReader({}, ARRAYS)
    assert fields.thresholds("layer1", np.int32).tolist() == [0, 1, 2]
    assert fields.array("layer1.thresholds", np.int32, None).size == 3
    for dtype, shape in ((np.int16, (3,)), (np.int32, (4,)), (np.int32, (3, None)), (np.int32, ())):
        with pytest.raises(ValueError, match="layer1.thresholds must be int"):
            fields.array("layer1.thresholds", dtype, *shape)
    with pytest.raises(ValueError, match=r"int32 of shape \(2, any\), not int32 of \(3,\)"):
        fields.array("layer1.thresholds", np.int32, 2, None)
    with pytest.raises(ValueError, match=r"float32 of shape \(any,\)"):
        fields.array("layer1.thresholds", np.float32, None)
    with pytest.raises(ValueError, match="not finite"):
        fields.array("nan", np.float64, 1)
    for layer, levels in (("layer2", "1"), ("layer3", "1,025")):
        with pytest.raises(ValueError, match=f"{layer} must have 2 to 1,024 levels, not {levels}"):
            fields.thresholds(layer, np.int32)


def test_conversions_change_nothing_but_the_type() -> None:
    assert to_float32([1, 2.5], "x").dtype == np.float32
    with pytest.raises(ValueError, match=r"x hold 1e\+39,"):
        to_float32([1.0, 1e39], "x")
    assert to_integers_of([1.0, -128], np.int8, "x").tolist() == [1, -128]
    assert to_integers_of([], np.int8, "x").size == 0
    for wrong in ([128], [0.5], [True], ["1"], [np.inf]):
        with pytest.raises(ValueError, match="x must be whole numbers from -128 to 127"):
            to_integers_of(wrong, np.int8, "x")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[NaN]", "NaN is not a finite number"),
        ("[-Infinity]", "not a finite number"),
        ("[" + "9" * 21 + "]", "21 digits"),
        ('{"a": 1, "a": 2}', "one occurs twice"),
        ('["\\ud800"]', "half of a surrogate pair"),
        ("[" + "[]," * 70_000 + "1]", "70,001 tables and lists"),
    ],
    ids=lambda text: text[:20],
)
def test_json_that_readers_understand_differently_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        loads(text)


def test_brackets_within_strings_are_no_lists() -> None:
    text = '["' + "[{" * 70_000 + '", "\\"["]'
    assert loads(text)[1] == '"['


def test_metadata_come_back_from_their_text() -> None:
    metadata = {"b": [1, -2.5, True, None], "a": {"é": "\U0001f600"}}
    assert loads(dumps(metadata)) == metadata
    assert loads(dumps({"a": np.float32(0.5), "b": np.int64(3)})) == {"a": 0.5, "b": 3}
    with pytest.raises(TypeError, match="ndarray cannot be kept in a file"):
        dumps({"a": np.ones(3)})
