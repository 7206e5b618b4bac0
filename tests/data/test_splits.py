"""Which samples and classes are kept."""

from __future__ import annotations

import numpy as np
import pytest

from hntk.data import load_dataset
from hntk.data.splits import Part, as_splits
from tests.support.data_files import peak_memory, row_arrays, write_npz


def rows(data):
    """Training rows as tuples, to be looked up and compared."""
    return [tuple(row) for row in data.x_train.tolist()]


@pytest.mark.parametrize("dtype", ["float32", "uint64", "int8"])
def test_whole_number_labels_of_any_type(tmp_path, dtype):
    arrays = row_arrays()
    path = write_npz(tmp_path / "toy.npz", arrays, y_train=arrays["y_train"].astype(dtype))
    data = load_dataset("toy", folder=path)
    assert data.y_train.dtype == np.int64
    np.testing.assert_array_equal(data.y_train, arrays["y_train"])


def test_classes_keep_their_labels_and_the_file_order(toy):
    arrays = row_arrays()
    data = load_dataset("toy", folder=toy, classes=(c for c in (3, 1, 3)), normalize=False)
    for split in ("train", "test"):
        kept = np.isin(arrays[f"y_{split}"], [1, 3])
        np.testing.assert_array_equal(getattr(data, f"y_{split}"), arrays[f"y_{split}"][kept])
        np.testing.assert_array_equal(getattr(data, f"x_{split}"), arrays[f"x_{split}"][kept].astype(np.float32))
    assert data.classes.tolist() == [1, 3]


def test_smaller_subsets_begin_larger_ones(toy):
    draws = {n: load_dataset("toy", folder=toy, n_train=n, n_test=n // 3, normalize=False) for n in (12, 25, 40)}
    for small, large in ((12, 25), (25, 40)):
        np.testing.assert_array_equal(draws[small].x_train, draws[large].x_train[:small])
        np.testing.assert_array_equal(draws[small].y_train, draws[large].y_train[:small])
        np.testing.assert_array_equal(draws[small].x_test, draws[large].x_test[: small // 3])
        np.testing.assert_array_equal(draws[small].y_test, draws[large].y_test[: small // 3])
    assert len(set(rows(draws[40]))) == 40


def test_subset_is_random_and_its_labels_go_with_it(toy):
    arrays = row_arrays()
    label = dict(zip(map(tuple, arrays["x_train"].astype(np.float32).tolist()), arrays["y_train"], strict=True))
    first, again, other = (
        load_dataset("toy", folder=toy, classes=[0, 2], n_train=15, seed=seed, normalize=False) for seed in (1, 1, 2)
    )
    assert [label[row] for row in rows(first)] == first.y_train.tolist()
    assert rows(first) == rows(again)
    assert set(rows(first)) != set(rows(other))
    assert set(first.y_train.tolist()) == {0, 2}


def test_each_part_is_drawn_on_its_own(toy):
    whole = load_dataset("toy", folder=toy, n_test=6, normalize=False)
    subset = load_dataset("toy", folder=toy, n_train=20, n_test=6, normalize=False)
    np.testing.assert_array_equal(whole.x_test, subset.x_test)


BAD_SELECTIONS = {
    "unknown classes": ({"classes": [1, 7, 8]}, r"classes \[7, 8\] do not occur .* among \[0, 1, 2, 3\]"),
    "one class": ({"classes": [2, 2]}, r"at least two classes are needed, got \[2\]: choose among \[0, 1, 2, 3\]"),
    "no class": ({"classes": []}, r"at least two classes are needed, got \[\]: choose among \[0, 1, 2, 3\]"),
    "more than there are": ({"n_train": 41}, "n_train must be from 1 to 40, .* got 41"),
    "more than there are of these": ({"classes": [0, 1], "n_train": 21}, "n_train must be from 1 to 20, .* got 21"),
    "more test samples": ({"n_test": 16}, "n_test must be from 1 to 15, .* got 16"),
    "none": ({"n_train": 0}, "n_train must be from 1 to 40, .* got 0"),
    "no test sample": ({"n_test": 0}, "n_test must be from 1 to 15, .* got 0"),
    "fewer than classes": ({"n_train": 3}, r"n_train = 3 samples leave out classes \[.*\] of \[0, 1, 2, 3\]: increase"),
}


@pytest.mark.parametrize(("chosen", "message"), BAD_SELECTIONS.values(), ids=BAD_SELECTIONS)
def test_selection_that_cannot_be_made(toy, chosen, message):
    with pytest.raises(ValueError, match=message):
        load_dataset("toy", folder=toy, **chosen)


def test_class_missing_from_the_draw_is_named(tmp_path):
    labels = np.repeat([0, 1], [39, 1])
    path = write_npz(tmp_path / "toy.npz", row_arrays(), y_train=labels, y_test=np.zeros(15))
    in_order = np.random.default_rng(0).permutation(40)
    until_found = int(np.flatnonzero(in_order == 39)[0])
    with pytest.raises(ValueError, match=rf"n_train = {until_found} samples leave out classes \[1\] of .*another seed"):
        load_dataset("toy", folder=path, n_train=until_found)
    assert load_dataset("toy", folder=path, n_train=until_found + 1).classes.tolist() == [0, 1]


def test_classes_without_test_samples(tmp_path):
    path = write_npz(tmp_path / "toy.npz", row_arrays(), y_test=np.full(15, 3))
    with pytest.raises(ValueError, match=r"no test sample is of classes \[0, 1\]: choose among its labels \[3\]"):
        load_dataset("toy", folder=path, classes=[0, 1])


def test_classes_leave_out_test_labels_that_were_never_trained(tmp_path):
    path = write_npz(tmp_path / "toy.npz", row_arrays(), y_test=np.arange(15) % 5)
    assert np.unique(load_dataset("toy", folder=path, classes=range(4)).y_test).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("chosen", "name"),
    [({"n_train": 20.0}, "n_train"), ({"n_test": "6"}, "n_test"), ({"n_test": 6, "seed": None}, "seed")],
)
def test_counts_and_seed_are_whole_numbers(toy, chosen, name):
    with pytest.raises(TypeError, match=name):
        load_dataset("toy", folder=toy, **chosen)


def test_negative_seed(toy):
    with pytest.raises(ValueError, match="seed must not be negative, got -1"):
        load_dataset("toy", folder=toy, n_train=20, seed=-1)


def test_many_labels_take_the_memory_of_what_they_become(tmp_path):
    n = 1 << 22
    y = (np.arange(n) % 3).astype(np.float32)
    parts = {"x_train": np.zeros((n, 1), np.uint8), "y_train": y, "x_test": np.zeros((9, 1), np.uint8), "y_test": y[:9]}
    found, peak = peak_memory(
        lambda: as_splits({key: Part(array, key, "write it again") for key, array in parts.items()})
    )
    assert found is not None
    assert found.y_train.dtype == np.int64
    assert peak < 8 * n + 3e7 < 16 * n
