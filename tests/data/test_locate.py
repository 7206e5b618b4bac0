"""Where a data set is looked for, and what is said when it is not there."""

from __future__ import annotations

import numpy as np
import pytest

from hntk.data import load_dataset
from tests.support.data_files import image_arrays, row_arrays, write_idx, write_npz


def test_named_folder_goes_before_named_archive_and_that_before_the_rest(tmp_path):
    arrays = image_arrays()
    write_npz(tmp_path / "other.npz", arrays, x_train=arrays["x_train"] // 8)
    only = load_dataset("toy", folder=tmp_path, normalize=False).x_train
    write_npz(tmp_path / "toy.npz", arrays, x_train=arrays["x_train"] // 4)
    archive = load_dataset("toy", folder=tmp_path, normalize=False).x_train
    write_idx(tmp_path / "toy", arrays | {"x_train": arrays["x_train"] // 2})
    folder = load_dataset("toy", folder=tmp_path, normalize=False).x_train
    whole = arrays["x_train"].reshape(12, 12)
    for found, factor in ((only, 8), (archive, 4), (folder, 2)):
        np.testing.assert_array_equal(found, whole // factor)


def test_folder_from_the_environment_and_home(tmp_path, monkeypatch):
    write_npz(tmp_path / "toy.npz", row_arrays())
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_dataset("toy", folder="~").p == 5
    monkeypatch.setenv("HNTK_DATA", "~")
    assert load_dataset("toy").p == 5


def test_argument_goes_before_the_environment(tmp_path, monkeypatch):
    write_npz(tmp_path / "toy.npz", row_arrays())
    monkeypatch.setenv("HNTK_DATA", str(tmp_path / "nowhere"))
    assert load_dataset("toy", folder=tmp_path).p == 5


@pytest.mark.parametrize("value", [None, ""])
def test_no_folder_says_how_to_get_the_data(monkeypatch, value):
    monkeypatch.setenv("HNTK_DATA", value) if value is not None else monkeypatch.delenv("HNTK_DATA", raising=False)
    with pytest.raises(
        FileNotFoundError, match=r"no data folder is set.*HNTK_DATA.*train-images-idx3-ubyte.*fetch_openml.*x_train"
    ) as raised:
        load_dataset("mnist")
    assert "://" not in str(raised.value)


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist: check the path\. Pass folder="):
        load_dataset("toy", folder=tmp_path / "nowhere")


def test_file_that_is_no_archive(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("1,2")
    with pytest.raises(ValueError, match=r"data\.csv is a file, but neither a folder nor an \.npz\. Pass folder="):
        load_dataset("toy", folder=path)


def test_folder_without_data_lists_what_was_sought_and_found(tmp_path):
    (tmp_path / "readme.txt").write_text("")
    with pytest.raises(FileNotFoundError, match=r"looked for \['.*toy', '.*toy\.npz', .*found \['readme\.txt'\] in"):
        load_dataset("toy", folder=tmp_path)


def test_empty_named_folder_does_not_fall_back_on_other_data(tmp_path):
    (tmp_path / "toy").mkdir()
    write_npz(tmp_path / "other.npz", row_arrays())
    with pytest.raises(FileNotFoundError, match=r"found \[\] in .*toy\. Pass folder="):
        load_dataset("toy", folder=tmp_path)


def test_two_archives_are_ambiguous(tmp_path):
    for name in ("a", "b"):
        write_npz(tmp_path / f"{name}.npz", row_arrays())
    with pytest.raises(ValueError, match=r"ambiguous: it holds \['a\.npz', 'b\.npz'\]; pass folder= the path of one"):
        load_dataset("toy", folder=tmp_path)


def test_archive_beside_idx_files_is_ambiguous(tmp_path):
    write_npz(write_idx(tmp_path, image_arrays()) / "a.npz", row_arrays())
    with pytest.raises(ValueError, match=r"ambiguous: it holds \['a\.npz'\] and IDX files; .*keep one"):
        load_dataset("toy", folder=tmp_path)
