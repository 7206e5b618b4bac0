"""Names of programs and their files, whatever DATA is called."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hntk.cli.output_folder import OutputFolder, name_for
from hntk.deploy.c_literals import check_name


@given(st.text(min_size=1).filter(lambda text: "/" not in text and "\0" not in text))
def test_every_file_name_gives_an_identifier_of_c(text: str) -> None:
    assert check_name(name_for(Path(text)))


def test_names_are_recognisable() -> None:
    assert name_for(Path("a/b/My Data (1).csv.gz")) == "my_data_1"
    assert name_for(Path("a/mnist/")) == "mnist"
    assert name_for(Path(".")) == name_for(Path.cwd())
    assert name_for(Path("float.npz")) == "net_float"
    assert len(name_for(Path("x" * 300 + ".npz"))) <= 63


def test_files_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path / "deep" / "er", "d", ("c",))
    folder.prepare(force=False)
    assert folder.folder.is_dir()
    (folder.folder / "notes.txt").write_text("mine")
    folder.prepare(force=False)
    (folder.folder / "d.h").write_text("")
    with pytest.raises(FileExistsError, match=r"d\.h already.*--force"):
        folder.prepare(force=False)
    folder.prepare(force=True)
    OutputFolder(folder.folder, "d", ("onnx",)).prepare(force=False)
