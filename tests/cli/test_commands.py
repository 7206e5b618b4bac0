"""The other commands: what they print, as text and as JSON, beside what the library says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import hntk
from hntk._utils.float64 import float64
from hntk.cli import compress_options, parser, shared_options
from hntk.cli.fitted import Standardization
from hntk.cli.samples import NORMALIZATIONS
from hntk.cli.terminal import plain, printable, shell_word, table
from hntk.cli.trained import AUGMENTATIONS
from hntk.deploy.c_choice import CHOICES
from hntk.deploy.onnx import PRODUCT_FORMS
from hntk.deploy.onnx_weights import BLOCK_FORMS
from tests.support.architectures import whole_classifier
from tests.support.commands import digits, done, facts, hntk_command, refused, wine, wine_csv


def test_match_prints_what_the_library_finds() -> None:
    with float64():
        expected = hntk.match(["relu"] * 3, 1.0, 4)
    found = facts("match", "relu", "relu", "relu", "--levels", "4")
    assert len(found["layers"]) == 3
    for layer, sigma, scale in zip(found["layers"], expected.activations, expected.coefficients.tau, strict=False):
        assert layer["input_scale"] == pytest.approx(float(scale))
        np.testing.assert_allclose(layer["thresholds"], sigma.thresholds, atol=1e-12)
        np.testing.assert_allclose(layer["levels"], sigma.levels, atol=1e-12)
    assert found["relative_shift"] == pytest.approx(expected.relative_shift)
    assert found["bound"] == pytest.approx(expected.certificate.bound)
    assert found["coefficients"]["alpha1"]["original"] == pytest.approx(1 / 64)
    text = done("match", "relu", "relu", "relu", "--levels", "4")
    assert f"τ̂_L²/τ_L² = {1 + expected.relative_shift:.4f}" in text
    assert f"{expected.certificate.bound:.4f}" in text
    for sigma in expected.activations:
        assert all(f"{t + 0.0:.4f}" in text for t in sigma.thresholds)


def test_match_takes_levels_of_each_layer_and_other_networks() -> None:
    found = facts("match", "relu", "erf", "--levels", "3", "4", "--no-alpha2", "--tau0", "0.5")
    assert [layer["different_levels"] for layer in found["layers"]] == [3, 4]
    assert (found["tau0"], found["asked"]) == (0.5, ["alpha1", "alpha3"])
    he = facts("match", "relu", "--weight-std", "1.4142", "--bias-std", "0.1", "--not-centred", "--levels", "5")
    assert he["converged"]
    assert "unknown activation" in refused("match", "rely").lower() or "rely" in refused("match", "rely")
    assert "levels" in refused("match", "relu", "--levels", "1")


def test_check_prints_every_assumption(tmp_path: Path) -> None:
    path = wine_csv(tmp_path / "wine.csv")
    found = facts("check", path)
    x, _, _ = wine()
    assert found["findings"][0]["value"] == pytest.approx(0.8 * len(x) / x.shape[1], rel=0.02)
    assert [each["holds"] for each in found["findings"]].count(False) > 0
    assert not found["applies"]
    text = done("check", path, "--network", "relu")
    assert text.count("holds") + text.count("VIOLATED") >= 8
    assert "kernels:" in text
    np.savez(tmp_path / "quantities.npz", x=x, y=x[:, 0])
    assert "holds quantities" in refused("check", tmp_path / "quantities.npz")


def test_check_holds_where_the_theory_does(tmp_path: Path) -> None:
    data = hntk.reference_mixture(n=900, p=400, key=jax.random.key(0))
    np.savez(tmp_path / "mixture.npz", x=np.asarray(data.x), y=data.labels)
    assert facts("check", tmp_path / "mixture.npz")["applies"]
    x, y = digits()
    np.savez(tmp_path / "digits.npz", x=x, y=y)
    before, after = (
        {f["name"]: f["value"] for f in facts("check", tmp_path / "digits.npz", "--normalize", kind)["findings"]}
        for kind in ("scale", "unit_norm")
    )
    norms = next(name for name in before if name.startswith("norms"))
    assert before[norms] > 0.1 > after[norms]


def test_spectrum_prints_eigenvalues_of_both_kernels() -> None:
    words = ("spectrum", "--network", "relu", "--samples", "60", "--dimensions", "40", "--top", "3", "--kernel", "ntk")
    found = facts(*words)
    data = hntk.reference_mixture(n=60, p=40, key=jax.random.key(0))
    with float64():
        exact = hntk.exact_kernels(np.asarray(data.x, np.float64), ["relu"]).ntk
        theory = hntk.equivalent_kernels(np.asarray(data.x, np.float64), data.labels, ["relu"]).ntk
        for name, kernel in (("exact", np.asarray(exact)), ("equivalent", np.asarray(theory.to_dense()))):
            values = np.linalg.eigvalsh(kernel)[::-1]
            np.testing.assert_allclose([pair[name] for pair in found["leading"]], values[:3], rtol=1e-4)
    text = done(*words)
    assert "neural tangent kernel of relu" in text
    assert text.count("largest, ") == 3
    assert "--dimensions" in refused("spectrum", "wine.csv", "--dimensions", "4")


def test_spectrum_of_data_draws_a_figure(tmp_path: Path) -> None:
    pytest.importorskip("hntk.plot")
    out = done("spectrum", wine_csv(tmp_path / "wine.csv"), "--network", "relu", "--figure", tmp_path / "s.svg")
    assert "<svg" in (tmp_path / "s.svg").read_text()
    assert "s.svg" in out


def test_inspect_and_export_print_json(tmp_path: Path) -> None:
    size = hntk.save(whole_classifier(widths=(20, 9)), tmp_path / "net.safetensors")
    assert facts("inspect", tmp_path / "net.safetensors")["file_bytes"] == size
    made = facts("export", tmp_path / "net.safetensors", "--to", "c", "--name", "mine")
    assert [Path(file).name for file in made["files"]] == ["mine.h", "mine.c", "mine_main.c"]
    assert made["table_bytes"] > 0


def test_options_are_those_of_the_library() -> None:
    assert sorted(parser.LAYOUTS) == sorted(CHOICES)
    assert sorted(parser.BLOCKS) == sorted(BLOCK_FORMS)
    assert sorted(parser.FORMS) == sorted(PRODUCT_FORMS)
    assert shared_options.NORMALIZATIONS == NORMALIZATIONS
    assert compress_options.AUGMENTATIONS == AUGMENTATIONS


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_commands_and_options(shell: str, tmp_path: Path) -> None:
    pytest.importorskip("shtab")
    script = done("completion", shell)
    for word in ("compress", "spectrum", "kilobytes", "whiten"):
        assert word in script
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on the PATH")
def test_bash_completes_a_command(tmp_path: Path) -> None:
    pytest.importorskip("shtab")
    (tmp_path / "script").write_text(done("completion", "bash"))
    ask = (
        f"source {tmp_path / 'script'}; COMP_WORDS=(hntk com); COMP_CWORD=1; _shtab_hntk; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    shown = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["compress", "completion"]


def test_help_names_every_command_and_a_wrong_one_is_a_usage_error() -> None:
    text = done()
    for name in ("compress", "check", "match", "spectrum", "inspect", "export", "completion"):
        assert f"    {name}" in text
        assert "usage:" in done(name, "--help")
    result = hntk_command("comprss")
    assert result.status == 2
    assert "compress" in result.err


@pytest.mark.nightly
def test_a_closed_pipe_ends_a_command_quietly() -> None:
    words = [sys.executable, "-m", "hntk", "match", "relu"]
    command = f"{' '.join(words)} | head -c 0"
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert ended.stderr == ""


def test_texts_of_files_cannot_act_on_a_terminal() -> None:
    class Ascii:
        encoding = "ascii"

    assert printable("a\x1b[31m\u202eb\n", Ascii()) == "a\\x1b[31m\\u202eb\n"  # type: ignore[arg-type]
    assert printable("τ", Ascii()) == "\\u03c4"  # type: ignore[arg-type]
    assert shell_word("-rf x") == "'./-rf x'"
    assert table([["a", "bb"], ["ccc", "d"]]) == "a    bb\nccc   d"
    assert plain({"a": np.array([1.0, np.inf]), "b": Path("x"), 3: (True, None)}) == {
        "a": [1.0, None], "b": "x", "3": [True, None],
    }  # fmt: skip


def test_constant_columns_and_far_samples_are_standardised() -> None:
    x = np.column_stack([np.full(50, 0.1), np.append(np.zeros(49), 1e6), np.arange(50.0)])
    made = Standardization.of(x)(x)
    assert np.all(np.isfinite(made))
    assert np.abs(made[:, 0]).max() < 1e-3
    assert np.abs(made).max() <= 6
