"""Files that are replaced at once, by several writers at a time too, and hashes of what results depend on."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hntk._utils.atomic_file import ABANDONED, replacing
from hntk._utils.digest import array_digest, source_digest


def test_two_writers_of_one_file_do_not_collide(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with replacing(path) as first, replacing(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_many_writers_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def write(i: int) -> None:
        with replacing(path) as part:
            part.write_text(str(i) * 100_000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(10)))
    assert len(set(path.read_text())) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_file_and_folder_are_on_the_disk_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append("sync"), sync(handle))[1])
    monkeypatch.setattr(os, "replace", lambda *a: (done.append("rename"), replace(*a))[1])
    with replacing(tmp_path / "file") as part:
        part.write_text("text")
    assert done == ["sync", "rename", "sync"]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(FileNotFoundError), replacing(path) as part:
        part.unlink()
    assert path.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_names_links_and_modes(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"), replacing(tmp_path / "folder"):
        pass
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    for path in (link, tmp_path / ("ä" * 120), tmp_path / "[x]*?"):
        with replacing(path) as part:
            part.write_text("text")
        assert path.read_text() == "text"
    assert link.is_symlink()
    plain = tmp_path / "plain"
    plain.touch()
    assert (tmp_path / "real").stat().st_mode == plain.stat().st_mode


def test_remains_of_killed_writers_go(tmp_path: Path) -> None:
    old, new, other = tmp_path / ".file.0.part", tmp_path / ".file.1.part", tmp_path / ".else.0.part"
    for path in (old, new, other):
        path.touch()
    for path in (old, other):
        os.utime(path, (time.time() - 2 * ABANDONED,) * 2)
    with replacing(tmp_path / "file") as part:
        part.write_text("text")
    assert [p.exists() for p in (old, new, other)] == [False, True, True]


def test_a_digest_knows_values_types_and_shapes(tmp_path: Path) -> None:
    a = np.arange(6.0)
    others = [a + 1, a.astype(np.float32), a.reshape(2, 3), a.astype(">f8"), a[:5], None]
    assert len({array_digest(x) for x in [a, *others]}) == 7
    np.save(tmp_path / "a.npy", a)
    assert array_digest(np.load(tmp_path / "a.npy", mmap_mode="r")) == array_digest(a) == array_digest(a[::-1][::-1])
    assert array_digest(a, a) != array_digest(np.concatenate([a, a]))
    with pytest.raises(TypeError, match="objects"):
        array_digest(np.array([object()]))


def test_a_digest_of_sources_knows_names_and_contents(tmp_path: Path) -> None:
    found = []
    for name, text in (("a.py", "x = 1"), ("a.py", "x = 2"), ("b.py", "x = 1"), ("a.pyc", "x = 1")):
        folder = tmp_path / str(len(found))
        folder.mkdir()
        (folder / name).write_text(text)
        found.append(source_digest(folder))
    assert len(set(found)) == 4
