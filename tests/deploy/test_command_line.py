"""The command line: its help, its version, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import jax
import pytest

import hntk
from hntk.__main__ import _program_name, main
from tests.support.architectures import INPUTS, NORMALIZATION, classifier, whole_classifier


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage:")
    for word in ("inspect", "export", "--version", "examples:"):
        assert word in shown


def test_the_program_is_named_as_it_was_called() -> None:
    assert _program_name("/usr/bin/hntk") == "hntk"
    assert _program_name("/x/hntk/__main__.py") == "python -m hntk"


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"hntk {hntk.__version__}\n"


@pytest.mark.parametrize("command", ["inspect", "export"])
def test_commands_describe_every_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert "FILE " in shown
    assert shown.index("usage:") < shown.index("options:")


def test_files_are_inspected_and_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx")
    path = tmp_path / "net.safetensors"
    size = hntk.save(whole_classifier(widths=(20, 9)), path)
    assert main(["inspect", str(path)]) == 0
    assert f"{size:,} bytes; in float32 its matrices take" in capsys.readouterr().out
    assert main(["inspect", str(path), "--json"]) == 0
    assert f'"file_bytes": {size}' in capsys.readouterr().out
    assert main(["export", str(path), "--to", "onnx"]) == 0
    assert (tmp_path / "net.onnx").stat().st_size > 0
    assert main(["export", str(path), "--to", "c", "--name", "mine"]) == 0
    assert {"mine.h", "mine.c", "mine_main.c"} < {file.name for file in tmp_path.iterdir()}


def test_what_cannot_be_exported_is_refused_with_a_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.safetensors"
    hntk.save(hntk.draw_network(["relu"], [9], INPUTS, tau0=1.0, key=jax.random.key(0)), path)
    assert main(["export", str(path), "--to", "c"]) == 1
    assert "hntk.fit_ridge" in capsys.readouterr().err
    made = classifier(widths=(20, 9))
    hntk.save(hntk.Classifier(made.network, made.classes, made.weights, made.offset, normalization=NORMALIZATION), path)
    assert main(["export", str(path), "--to", "c"]) == 1
    assert "add --pixels" in capsys.readouterr().err
    assert main(["export", str(path), "--to", "c", "--pixels"]) == 0
    assert main(["inspect", str(tmp_path / "none")]) == 1
    assert "does not exist" in capsys.readouterr().err
