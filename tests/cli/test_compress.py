"""hntk compress: programs of images and of tables, trained and drawn, and what their C programs say of raw samples."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import hntk
from hntk.cli import compress
from hntk.cli.data_files import DataFile, ReadingOptions, read_data
from hntk.cli.fitted import Standardization
from hntk.cli.trained import schedule_for
from tests.support.commands import digits, done, facts, hntk_command, refused, wine_csv, write_csv

STRICT = ("-std=c99", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror")


def run_main(folder: Path, name: str, x: np.ndarray, compiler: str = "cc") -> list[str]:
    """Compile the program with its main, and return what it prints of raw samples."""
    binary = folder / f"{name}-{compiler}"
    sources = [str(folder / f"{name}{ending}") for ending in (".c", "_main.c")]
    subprocess.run([compiler, *STRICT, *sources, "-o", str(binary)], check=True)
    raw = np.ascontiguousarray(x if x.dtype == np.uint8 else x.astype(np.float32))
    return subprocess.run([binary], input=raw.tobytes(), capture_output=True, check=True).stdout.decode().split()


def accuracy_of(folder: Path, name: str, data: DataFile, compiler: str = "cc") -> float:
    """Return the accuracy of the compiled program on the test samples."""
    places = np.array(run_main(folder, name, data.x_test, compiler), int)
    return float(np.mean(data.classes[places] == data.y_test))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Train on digits once, and return the folder and what was printed as JSON."""
    folder = tmp_path_factory.mktemp("images")
    x, y = digits()
    np.savez(folder / "digits.npz", x=x.reshape(-1, 8, 8), y=y)
    words = ("--kilobytes", "1.1", "--epochs", "25", "--to", "both", "--out", folder / "made")
    return folder, facts("compress", folder / "digits.npz", *words)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Train on the wines, whose columns differ a thousandfold, and return the folder and what was printed."""
    folder = tmp_path_factory.mktemp("table")
    path = wine_csv(folder / "wine.csv")
    words = ("--kilobytes", "0.5", "--epochs", "20", "--out", folder / "made")
    return folder, done("compress", path, *words)


def test_the_c_program_has_the_accuracy_that_was_printed(images: tuple[Path, Any]) -> None:
    folder, made = images
    data = read_data(folder / "digits.npz")
    assert made["measured"]["samples"] == len(data.x_test) > 70
    assert made["measured"]["accuracy"] > 0.8
    for compiler in ("gcc", "clang"):
        assert accuracy_of(folder / "made", "digits", data, compiler) == made["measured"]["accuracy"]
    assert np.trace(made["measured"]["confusion"]) == made["measured"]["accuracy"] * len(data.x_test)
    assert made["c"]["compiled_and_compared"] == len(data.x_test)


def test_tables_fit_the_budget_and_candidates_too(images: tuple[Path, Any]) -> None:
    folder, made = images
    assert 0.9 * 1100 < made["c"]["table_bytes"] <= 1100
    header = (folder / "made" / "digits.h").read_text()
    assert f"DIGITS_TABLE_BYTES {made['c']['table_bytes']}\n" in header
    assert len(made["candidates"]) > 1
    assert [each["chosen"] for each in made["candidates"]].count(True) == 1
    assert all(each["bytes"] <= 1100 for each in made["candidates"])
    chosen = next(each for each in made["candidates"] if each["chosen"])
    assert chosen["widths"] == list(hntk.load(folder / "made" / "digits.safetensors").network.widths)  # type: ignore[union-attr]


def test_the_packed_file_and_the_onnx_model_predict_the_same(images: tuple[Path, Any]) -> None:
    folder, made = images
    data = read_data(folder / "digits.npz")
    program = hntk.load(folder / "made" / "digits.safetensors")
    assert isinstance(program, hntk.IntegerClassifier)
    assert program.accuracy(data.x_test, data.y_test) == made["measured"]["accuracy"]
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(folder / "made" / "digits.onnx")
    labels = session.run(["label"], {"input": data.x_test})[0]
    np.testing.assert_array_equal(labels, program.predict(data.x_test))


def test_every_file_that_is_named_is_there_and_no_other(images: tuple[Path, Any]) -> None:
    folder, made = images
    names = {"digits.safetensors", "digits.h", "digits.c", "digits_main.c", "digits.onnx", "report.html"}
    assert {Path(file).name for file in made["files"]} == names
    built = {"digits-gcc", "digits-clang"}
    assert {file.name for file in (folder / "made").iterdir()} - built == names


def test_a_table_gives_a_program_of_raw_columns(table: tuple[Path, str]) -> None:
    folder, printed = table
    data = read_data(folder / "wine.csv")
    found = re.search(r"measured accuracy: ([\d.]+) ± [\d.]+ of 36 test samples", printed)
    assert found is not None
    accuracy = accuracy_of(folder / "made", "wine", data)
    assert float(found[1]) == round(accuracy, 4)
    assert accuracy > 0.9
    labels = re.search(r"wine_labels\[3\] = \{(.*?)\}", (folder / "made" / "wine.c").read_text(), re.DOTALL)
    assert labels is not None
    assert re.findall(r'"(.*?)"', labels[1]) == ["class_0", "class_1", "class_2"]
    tables = re.search(r"tables \(flash\): ([\d,]+) bytes", printed)
    assert tables is not None
    assert int(tables[1].replace(",", "")) <= 500


@pytest.mark.nightly
def test_one_unit_for_all_columns_loses_the_small_ones(table: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = table
    standard, data = Standardization.of(read_data(folder / "wine.csv").x_train), read_data(folder / "wine.csv")
    assert np.allclose(standard(data.x_train).std(axis=0), 1, atol=0.05)
    words = ("--kilobytes", "0.5", "--epochs", "20", "--scale", "one", "--out", tmp_path)
    one = facts("compress", folder / "wine.csv", *words)["measured"]["accuracy"]
    assert one < accuracy_of(folder / "made", "wine", data)


@pytest.mark.nightly
def test_quantities_are_predicted(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(250, 4))
    y = 20 + 3 * x[:, 0] - 2 * x[:, 1] + 0.1 * np.abs(x[:, 2])
    path = write_csv(tmp_path / "line.csv", [["a", "b", "c", "d", "y"], *np.column_stack([x, y]).tolist()])
    words = ("--kilobytes", "0.5", "--epochs", "20", "--out", tmp_path / "made")
    made = facts("compress", path, *words)
    assert made["data"]["task"] == "regression"
    assert made["measured"]["r2"] > 0.5
    assert abs(made["predicted"] - made["measured"]["r2"]) < 0.2
    data = read_data(path)
    predicted = np.array(run_main(tmp_path / "made", "line", data.x_test), float)
    assert np.sqrt(np.mean((predicted - data.y_test) ** 2)) == pytest.approx(made["measured"]["rmse"], rel=1e-12)
    words = ("--kilobytes", "0.6", "--method", "random", "--levels", "4", "--out", tmp_path / "drawn")
    drawn = facts("compress", path, *words)
    assert drawn["c"]["table_bytes"] <= 600
    assert drawn["measured"]["r2"] > 0.8
    predicted = np.array(run_main(tmp_path / "drawn", "line", data.x_test), float)
    assert np.sqrt(np.mean((predicted - data.y_test) ** 2)) == pytest.approx(drawn["measured"]["rmse"], rel=1e-12)


def test_drawn_layers_have_a_prediction_by_theory(tmp_path: Path) -> None:
    data = hntk.reference_mixture(n=600, p=40, key=jax.random.key(0))
    np.savez(tmp_path / "mixture.npz", x=np.asarray(data.x), y=data.labels)
    words = ("--kilobytes", "0.5", "--method", "random", "--levels", "4", "--out", tmp_path / "made")
    made = facts("compress", tmp_path / "mixture.npz", *words)
    assert made["c"]["table_bytes"] <= 500
    assert all(each["bytes"] <= 500 and each["levels"] == [4, 4] for each in made["candidates"])
    assert "otherwise" not in made["predicted_by"]
    # the mixture is the theory's own: within three standard errors
    assert abs(made["predicted"] - made["measured"]["accuracy"]) < 3 * made["measured"]["standard_error"]
    measured = accuracy_of(tmp_path / "made", "mixture", read_data(tmp_path / "mixture.npz"))
    assert measured == made["measured"]["accuracy"]
    assert "give --kilobytes" in refused(
        "compress", tmp_path / "mixture.npz", "--kilobytes", "0.01", "--method", "random", "--out", tmp_path / "none"
    )


def test_an_interrupted_training_goes_on_and_ends_as_it_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = digits(200)
    np.savez(tmp_path / "d.npz", x=x, y=y)
    words = ("compress", tmp_path / "d.npz", "--kilobytes", "0.6", "--epochs", "3", "--name", "d", "--out")
    done(*words, tmp_path / "whole")

    @contextmanager
    def stopping(*_: Any, **__: Any) -> Any:
        def stop(epoch: Any) -> None:
            if epoch.epoch == 2:
                raise KeyboardInterrupt

        yield stop

    with monkeypatch.context() as patch:
        patch.setattr(compress, "epochs_shown", stopping)
        stopped = hntk_command(*words, tmp_path / "cut")
    assert (stopped.status, stopped.err.count("\n")) == (130, 1)
    assert [file.name for file in (tmp_path / "cut").iterdir()] == ["d.training.npz"]
    assert "d.training.npz" in refused(*["4" if word == "3" else word for word in words], tmp_path / "cut")
    done(*words, tmp_path / "cut")
    whole, cut = ((tmp_path / folder / "d.safetensors").read_bytes() for folder in ("whole", "cut"))
    assert whole == cut
    assert not (tmp_path / "cut" / "d.training.npz").exists()


def test_files_that_are_there_are_left_alone(images: tuple[Path, Any], tmp_path: Path) -> None:
    folder, _ = images
    made = folder / "made"
    before = {file.name: file.read_bytes() for file in made.iterdir()}
    said = refused("compress", folder / "digits.npz", "--kilobytes", "2", "--out", made)
    assert "--force" in said
    assert {file.name: file.read_bytes() for file in made.iterdir()} == before
    assert "holds the samples" in refused("compress", made, "--out", made)
    (tmp_path / "file").write_text("mine")
    assert "is a file" in refused("compress", folder / "digits.npz", "--out", tmp_path / "file")
    # a link that leads nowhere would be followed
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "digits.c").symlink_to(tmp_path / "elsewhere.c")
    assert "digits.c" in refused("compress", folder / "digits.npz", "--out", tmp_path / "linked")


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("--kilobytes", "0"), "positive"),
        (("--kilobytes", "nan"), "positive"),
        (("--kilobytes", "0.05"), "give kilobytes="),
        (("--name", "9 lives"), "identifier"),
        (("--name", "../../etc"), "identifier"),
        (("--levels", "1"), "--levels"),
        (("--seed", "-1"), "seed"),
        (("--epochs", "0"), "epochs"),
        (("--test-share", "1"), "--test-share"),
        (("--method", "random", "--epochs", "3"), "--epochs has no effect"),
        (("--label", "nothing"), "--label"),
    ],
)
def test_options_that_do_not_fit_are_refused(words: tuple[str, ...], remedy: str, tmp_path: Path) -> None:
    x, y = digits(100)
    path = write_csv(tmp_path / "d.csv", np.column_stack([x, y]).tolist())
    assert remedy in refused("compress", path, "--out", tmp_path / "made", *words)
    assert not list((tmp_path / "made").glob("*.[ch]"))


def test_wrong_options_are_usage_errors(tmp_path: Path) -> None:
    for words in (("--to", "rust"), ("--kilobytes", "many"), ("--colour",), ()):
        result = hntk_command("compress", *([tmp_path] if words else []), *words)
        assert result.status == 2
        assert "usage:" in result.err


def test_trainings_of_few_samples_have_more_epochs() -> None:
    small, middle, large = (schedule_for(n, None) for n in (100, 2000, 60_000))
    assert small.epochs == 300 > middle.epochs > large.epochs == 60
    assert small.batch == 32 <= middle.batch <= large.batch == 256
    assert schedule_for(2000, 7).epochs == 7
    assert schedule_for(3, None).batch <= 2


def test_the_json_is_one_object_of_finite_numbers(images: tuple[Path, Any]) -> None:
    def numbers(value: Any) -> list[float]:
        if isinstance(value, dict | list):
            return [n for part in (value.values() if isinstance(value, dict) else value) for n in numbers(part)]
        return [value] if isinstance(value, float) else []

    _, made = images
    assert np.all(np.isfinite(numbers(made)))
    assert json.loads(json.dumps(made)) == made
    assert made["versions"]["hntk"] == hntk.__version__
    assert ReadingOptions().test_share == 0.2
