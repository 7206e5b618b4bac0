"""Labels of every type that users hand in."""

from __future__ import annotations

import enum

import jax
import numpy as np
import pytest

import hntk
from hntk._utils.labels import accuracy_score, as_labels, label_array


class Colour(str, enum.Enum):  # noqa: UP042 - older code has these
    RED = "red"
    BLUE = "blue"


TAKEN = {
    "list of text": (["b", "a"], "U", ["b", "a"]),
    "objects of text": (np.array(["b", "a"], object), "U", ["b", "a"]),
    "objects of whole numbers": (np.array([3, 1], object), "i", [3, 1]),
    "objects beyond int64": (np.array([2**63, 1], object), "u", [2**63, 1]),
    "objects of NumPy's numbers": (np.array([np.int8(3), np.int64(1)], object), "i", [3, 1]),
    "objects of real numbers": (np.array([1.5, 2], object), "f", [1.5, 2.0]),
    "objects of booleans": (np.array([True, False], object), "b", [True, False]),
    "enumeration of text": (np.array([Colour.RED, Colour.BLUE], object), "U", ["red", "blue"]),
    "big endian": (np.array([3, 1], ">i4"), "i", [3, 1]),
    "uint64": (np.array([2**64 - 1, 0], np.uint64), "u", [2**64 - 1, 0]),
    "masked array without a mask": (np.ma.array([3, 1]), "i", [3, 1]),
    "unicode": (["naïve 😀", "日本"], "U", ["naïve 😀", "日本"]),
}


@pytest.mark.parametrize("name", TAKEN)
def test_labels_are_taken_for_what_they_are(name: str) -> None:
    given, kind, expected = TAKEN[name]
    found = label_array(given)
    assert found.dtype.kind == kind
    assert found.dtype.isnative
    assert found.tolist() == expected


REFUSED = {
    "mixed": (np.array(["a", 1], object), "mix the types int, str"),
    "mixed list": (["a", 1], "mix the types int, str"),
    "none": (np.array(["a", None], object), "missing .* in 1 of 2"),
    "nan among objects": (np.array(["a", float("nan")], object), "missing"),
    "nan": ([1.0, float("nan")], "NaN or infinite"),
    "bytes": (np.array([b"a", b"b"]), "np.char.decode"),
    "objects of bytes": (np.array([b"a", b"b"], object), "np.char.decode"),
    "dates": (np.array(["2020-01-01", "2020-01-02"], "datetime64[ns]"), "astype"),
    "objects of dates": (np.array([np.datetime64("2020-01-01"), np.datetime64("2020-01-02")], object), "datetime64"),
    "complex": (np.array([1j, 2j]), "complex"),
    "beyond 64 bits": (np.array([2**64, 1], object), "beyond 64 bits"),
    "both ends beyond": (np.array([2**63, -1], object), "beyond 64 bits"),
    "half a surrogate pair": (["a", "\ud800"], "no Unicode text"),
    "NUL at the end": (["a", "a\0"], "NUL"),
    "masked": (np.ma.array([1, 2], mask=[True, False]), "masked in 1 of 2"),
    "two columns": (np.eye(2), "shape"),
    "ragged": ([[1], [1, 2]], "one label per row"),
    "a scalar": (3, "shape"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_labels_are_refused_with_the_remedy(name: str) -> None:
    given, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        label_array(given)


def test_bad_labels_are_refused() -> None:
    x = hntk.reference_mixture(n=20, p=10, key=jax.random.key(0)).x
    labels = np.repeat([0, 1], 10)
    net = hntk.dense(["relu"], [8], x, key=jax.random.key(0))
    for bad, message in ((labels[:-1], "one per row"), (np.zeros(20, int), "only one class"), (labels * np.nan, "NaN")):
        with pytest.raises(ValueError, match=message):
            hntk.equivalent_kernels(x, bad, ["relu"])
        with pytest.raises(ValueError, match=message):
            hntk.fit_ridge(net, x, bad)


def test_text_is_not_compared_with_numbers() -> None:
    with pytest.raises(ValueError, match="type that the classifier was fitted on"):
        accuracy_score(np.array(["1", "2"]), [1, 2])
    assert accuracy_score(np.array(["a", "b"]), np.array(["a", "c"], object)) == 0.5
    assert accuracy_score(np.array([1, 2]), [1.0, 2.0]) == 1.0


@pytest.mark.slow
def test_labels_of_pandas_can_be_saved(tmp_path) -> None:
    data = hntk.reference_mixture(n=40, p=10, key=jax.random.key(0))
    labels = np.array(["cat", "dog"], object)[data.labels]
    fitted = hntk.fit_ridge(hntk.dense(["relu"], [16], data.x, key=jax.random.key(1)), data.x, labels, ridge=0.1)
    fitted.save(tmp_path / "net")
    assert hntk.load(tmp_path / "net").predict(data.x).tolist() == fitted.predict(data.x).tolist()
    assert fitted.accuracy(data.x, labels) > 0.8


def test_the_index_points_at_the_class() -> None:
    classes, index = as_labels(np.array(["b", "a", "b"], object), 3)
    assert classes.tolist() == ["a", "b"]
    assert index.tolist() == [1, 0, 1]
