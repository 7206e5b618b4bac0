"""DATA of every format: what is read, how it is divided, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hntk.cli.data_files import ReadingOptions, read_data
from hntk.data.npz import read_npz
from tests.support.commands import digits, wine, wine_csv, write_csv
from tests.support.data_files import image_arrays, row_arrays, write_idx


def test_a_folder_of_idx_files_has_its_own_test_part(tmp_path: Path) -> None:
    arrays = image_arrays()
    write_idx(tmp_path / "toy", arrays, zipped=True)
    data = read_data(tmp_path / "toy")
    np.testing.assert_array_equal(data.x_test, arrays["x_test"].reshape(6, 12))
    assert (data.pixels, data.image_shape, data.classes.tolist()) == (True, (4, 3), [4, 5, 6])
    assert "the file's own" in str(data)


def test_an_archive_is_divided_or_is_not(tmp_path: Path) -> None:
    arrays = row_arrays()
    np.savez(tmp_path / "own.npz", **arrays)
    own = read_data(tmp_path / "own.npz")
    np.testing.assert_array_equal(own.y_test, arrays["y_test"])
    assert not own.pixels
    x, y = digits()
    for name in ("X", "x"):
        np.savez(tmp_path / "one.npz", **{name: x.reshape(-1, 8, 8), "y": y})
        one = read_data(tmp_path / "one.npz", ReadingOptions(test_share=0.25, seed=3))
        assert (one.pixels, one.image_shape) == (True, (8, 8))
        assert "25% of every class, drawn with seed 3" in one.split
    together = np.concatenate([one.x_train, one.x_test])
    assert {row.tobytes() for row in together} == {row.tobytes() for row in x}
    shares = np.bincount(one.y_test) / np.bincount(y)
    assert np.all(np.abs(shares - 0.25) < 0.02)


def test_the_split_follows_the_seed_alone(tmp_path: Path) -> None:
    path = wine_csv(tmp_path / "wine.csv")
    first, again, other = (read_data(path, ReadingOptions(seed=seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.x_test, again.x_test)
    assert not np.array_equal(first.x_test, other.x_test)
    assert first.label == "class"
    assert first.features == tuple(wine()[2])


def test_a_name_is_looked_for_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx(tmp_path / "toy", image_arrays())
    monkeypatch.setenv("HNTK_DATA", str(tmp_path))
    assert len(read_data(Path("toy")).x_train) == 12
    monkeypatch.delenv("HNTK_DATA")
    with pytest.raises(FileNotFoundError):
        read_data(Path("toy"))


def test_labels_are_classes_unless_they_have_fractions(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(40, 3))
    whole, fractions = np.arange(40) % 3, np.linspace(0, 1, 40)
    for y, task, regression in (
        (whole, "auto", False), (whole.astype(float), "auto", False), (fractions, "auto", True),
        (whole, "regression", True), (np.repeat([0.5, 1.5], 20), "classification", False),
        (np.repeat(["a", "b"], 20), "auto", False),
    ):  # fmt: skip
        np.savez(tmp_path / "t.npz", x=x, y=y)
        data = read_data(tmp_path / "t.npz", ReadingOptions(task=task))  # type: ignore[arg-type]
        assert data.regression == regression, (y.dtype, task)
        assert len(data.y_test) == pytest.approx(8, abs=1)
    np.savez(tmp_path / "t.npz", x=x, y=np.arange(40))
    with pytest.raises(ValueError, match=r"40 different values.*--task regression"):
        read_data(tmp_path / "t.npz")
    np.savez(tmp_path / "t.npz", x=x, y=np.repeat(["a", "b"], 20))
    with pytest.raises(ValueError, match="no quantities"):
        read_data(tmp_path / "t.npz", ReadingOptions(task="regression"))


def test_what_cannot_be_read_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "a.txt.zip").write_bytes(b"PK")
    for path, message in ((tmp_path / "a.txt.zip", r"save it as"), (tmp_path / "no" / "x.csv", "does not exist")):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            read_data(path)
    np.savez(tmp_path / "names.npz", features=np.ones((4, 2)), answers=np.ones(4))
    with pytest.raises(ValueError, match="rename the arrays"):
        read_data(tmp_path / "names.npz")
    np.savez(tmp_path / "objects.npz", x=np.ones((4, 2)), y=np.array([{}, 1, None, "a"], object))
    with pytest.raises(ValueError, match="unpickled"):
        read_data(tmp_path / "objects.npz")
    np.savez(tmp_path / "uneven.npz", x=np.ones((4, 2)), y=np.ones(5))
    with pytest.raises(ValueError, match="one label per sample"):
        read_data(tmp_path / "uneven.npz")
    np.savez(tmp_path / "nan.npz", x=np.array([[1, np.nan], [2, 3]] * 4), y=np.arange(8) % 2)
    with pytest.raises(ValueError, match="NaN"):
        read_data(tmp_path / "nan.npz")
    arrays = row_arrays()
    np.savez(tmp_path / "unseen.npz", **(arrays | {"y_test": arrays["y_test"] + 9}))
    with pytest.raises(ValueError, match="test labels"):
        read_data(tmp_path / "unseen.npz")
    lonely = write_csv(tmp_path / "lonely.csv", [[i, i + 0.5, "a"] for i in range(9)] + [[1, 2, "b"]])
    with pytest.raises(ValueError, match="merge them"):
        read_data(lonely)


def test_labels_that_no_program_could_hold_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    for label in ("x" * 5000, "a\0b"):
        np.savez(tmp_path / "t.npz", x=np.random.default_rng(0).normal(size=(8, 2)), y=np.array([label, "c"] * 4))
        with pytest.raises(ValueError, match="shorten it"):
            read_data(tmp_path / "t.npz")


def test_pairs_are_checked_as_whole_archives_are(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x=np.ones((4, 2)), y=np.array(["a", "b", "c", "d"]))
    assert list(read_npz(tmp_path / "t.npz", ("x", "y"), "U")) == ["x", "y"]
    with pytest.raises(ValueError, match="whole numbers"):
        read_npz(tmp_path / "t.npz", ("x", "y"))
    with pytest.raises(ValueError, match="must hold x_train"):
        read_npz(tmp_path / "t.npz")
