"""Tests that every experiment, with ``+debug=tiny`` alone, leaves the files that it promises.

Each runs once, in a process of its own; benchmarks of many processes do so nightly, and else have workers in this one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

import hntk
from experiments.benchmarks import harness, workers
from experiments.benchmarks.bench_inference import REFERENCE
from experiments.kernels.architectures import LABELS, NETS
from experiments.kernels.settings import ARCHITECTURES
from experiments.runner import catalog
from experiments.shipping import microcontrollers, toolchain
from hntk.deploy import to_c
from tests.support.command_line import ROOT, done, rows, run_here
from tests.support.precision import precision
from tests.support.workers_here import worker_here

NEEDS = {"frontier": ("optuna", "make setup-sweeps"), "bench_inference": ("onnxruntime", "make setup")}


@dataclass
class Ran:
    """A tiny run: its output and its folder (of a sweep, the sweep's folder)."""

    printed: str
    out: Path

    @property
    def metrics(self) -> dict:
        return json.loads((self.out / "metrics.json").read_text())

    def rows(self, name: str) -> list[dict[str, str]]:
        (path,) = self.out.glob(name)
        return rows(path)


def gmm(ran: Ran) -> None:
    assert "off-diag." in ran.printed
    metrics = ran.metrics
    assert metrics["match_residual"] <= 1e-9
    # up to the ridge, the eigenvectors agree; a wrong match would not come this close
    assert metrics["ck_original_compressed/operator_off"] < 0.25
    assert metrics["ck_original_compressed/alignment"] > 0.99
    assert metrics["identity_shift"] > 0
    assert len(ran.rows("errors.csv")) == 10
    assert json.loads((ran.out / "versions.json").read_text())["x64"] is True
    assert not list(ran.out.glob(".*.part"))


def convergence(ran: Ran) -> None:
    assert ran.metrics["rate/CK default"] < -0.2
    assert ran.metrics["error/CK default"] < ran.metrics["error/CK paper"]


def architectures(ran: Ran) -> None:
    for kernel in ("CK", "NTK"):
        assert ran.metrics[f"rate/relu_he/{kernel}/PK̃P"] < -0.2
    error, control = (ran.metrics[f"error/relu_he/CK/PK̃P{without}"] for without in ("", " without d, e"))
    assert error < 0.5 * control
    assert len(ran.rows("errors.csv")) == 2 * 4
    assert set(NETS) == set(LABELS) == set(ARCHITECTURES)


def levels(ran: Ran) -> None:
    metrics = ran.metrics
    assert metrics["relu/4/joint/shift"] < metrics["relu/2/joint/shift"]
    assert metrics["relu/2/joint/shift"] >= metrics["relu/2/joint/bound"]
    assert metrics["relu/2/joint/shift"] <= metrics["relu/2/layer by layer/shift"] + 1e-9


def spectrum_theory(ran: Ran) -> None:
    metrics = ran.metrics
    for simulated in ("equivalent", "exact"):
        assert metrics[f"falling/{simulated}"] is True
        assert metrics[f"worst/{simulated}"] < 0.08
    assert metrics["worst/exact against the limit"] > metrics["worst/exact"]
    # two kernels, three comparisons below n = p, two sizes
    assert len(ran.rows("distances.csv")) == 2 * 3 * 2


def spikes(ran: Ran) -> None:
    table = {(row["axis"], row["at"], row["p"], row["simulated"]): row for row in ran.rows("pairs.csv")}
    for simulated in ("exact", "equivalent"):
        assert table["separation", "0.0", "100", simulated]["above"] == "False"
        above = table["separation", "4.0", "100", simulated]
        assert above["above"] == "True"
        assert abs(float(above["relative error of the eigenvalue"])) < 0.08
        assert abs(float(above["error of the alignment"])) < 0.08
    assert "below" in ran.printed


def learning_curve(ran: Ran) -> None:
    table = ran.rows("errors.csv")
    # three networks, one n, two ridges
    assert len(table) == 3 * 2
    for row in table:
        assert abs(float(row["test squared, theory"]) - float(row["test squared, simulated"])) < 0.03
        assert abs(float(row["test wrong, theory"]) - float(row["test wrong, simulated"])) < 0.03
    dense, same, compensated = (
        [float(row["test squared, theory"]) for row in table if row["network"] == name]
        for name in ("dense", "compressed, same λ", "compressed, λ − δ")
    )
    # in the limit they are equal; at this size, exact kernels differ by terms of order 1/p
    assert compensated == pytest.approx(dense, abs=0.01)
    assert all(abs(c - d) < abs(s - d) for c, s, d in zip(compensated, same, dense, strict=True))
    assert compensated != pytest.approx(dense, abs=1e-5)
    assert same[0] != pytest.approx(dense[0], rel=1e-3)


def dynamics(ran: Ran) -> None:
    table = ran.rows("errors.csv")
    for part in ("training", "test"):
        theory = [float(row[f"{part} squared, theory"]) for row in table]
        assert theory == pytest.approx([float(row[f"{part} squared, simulated"]) for row in table], abs=0.03)
    assert float(table[-1]["training squared, theory"]) < 1e-3


def million(ran: Ran) -> None:
    metrics = ran.metrics
    assert metrics["agreement/400"] > 0.9
    assert metrics["accuracy/2000"] > metrics["accuracy/200"]
    assert metrics["peak"] > 0
    # growth is measured for large n only
    assert metrics["exponent"] is None
    assert "Most memory" in ran.printed
    assert not (ran.out / "samples.npy").exists()


def exact(ran: Ran) -> None:
    counts = {row["preconditioner"]: int(row["iterations"]) for row in ran.rows("iterations.csv")}
    assert counts["combined"] < counts["none"]
    assert set(counts) == {"none", "equivalent", "cholesky", "combined"}
    dense, compressed = ran.rows("regressions.csv")
    for row in (dense, compressed):
        assert float(row["residual"]) <= 1e-4
        assert float(row["test accuracy"]) > 0.5
    (loss,) = ran.rows("losses.csv")
    change = float(compressed["test accuracy"]) - float(dense["test accuracy"])
    assert float(loss["accuracy − original's"]) == pytest.approx(change)
    # a sample whose prediction is the same is right for both or for none
    assert abs(change) <= 1 - float(loss["same predictions"]) < 0.5
    assert "preconditioner none" in ran.printed


def store(ran: Ran) -> None:
    kernels = ran.out / "kernels"
    # two matrices of 128² numbers of 4 bytes, and their headers
    assert sum(path.stat().st_size for path in kernels.glob("*.npy")) == pytest.approx(2 * 4 * 128**2, abs=1000)
    assert len(ran.rows("eigenvalues.csv")) == 3


def solver(ran: Ran) -> None:
    metrics = ran.metrics
    assert metrics["hntk/found"] == metrics["hntk/feasible"] == 4
    assert metrics["hntk/refused"] == metrics["hntk/impossible"] == 1
    assert "missed" not in ran.printed


def fetch(ran: Ran) -> None:
    assert "nothing comes from the internet" in ran.printed
    assert [row["state"] for row in ran.rows("files.csv")] == ["fetched"] * 4
    assert len(list((ran.out / "data" / "stand_in").iterdir())) == 4


def mnist(ran: Ran) -> None:
    table = ran.rows("accuracy.csv")
    # of both readouts: two dense networks, and two each of ternary weights, of σ_T and of 2 levels by theory
    # of the last layer's alone: two of 2 levels by the data
    assert len(table) == 2 * (2 + 2 + 2 * 2) + 2
    accuracy = [float(row["test accuracy"]) for row in table]
    assert accuracy[0] > 0.7
    assert accuracy[-1] > 0.4
    assert float(table[3]["dense/bytes"]) > 5
    assert float(table[2]["dense/bytes"]) > float(table[3]["dense/bytes"])
    wide = {(row["activations"], row["readout of"]): float(row["at infinite width"]) for row in table}
    assert len(wide) == 4 + 3
    assert min(wide.values()) > 0.7
    assert "stands in for mnist" in ran.printed
    assert "VIOLATED" in ran.printed


def widths(ran: Ran) -> None:
    table = ran.rows("widths.csv")
    # at 2 widths: two dense networks, and two of 2 levels; and both at infinite width
    assert len(table) == 2 * 4 + 2
    drawn = [row for row in table if row["±"]]
    error, predicted = ([float(row[name]) for row in drawn] for name in ("kernel error", "predicted error"))
    assert all(wide < narrow for narrow, wide in zip(error[::2], error[1::2], strict=True))
    # rows: Gaussian, orthogonal, i.i.d. ternary, orthogonal ternary, each at two widths
    assert error[3] < error[1]
    assert error[7] < error[5]
    assert max(abs(e / p - 1) for e, p in zip(error, predicted, strict=True)) < 0.5


def memory(ran: Ran) -> None:
    groups = ran.rows("groups.csv")
    assert {row["arm"] for row in groups} == {
        "dense float32", "hntk, 2 levels", "trained, pruned, fine-tuned", "trained, ternary, 4 levels",
    }  # fmt: skip
    assert all(float(row["file (bytes)"]) <= 20e3 * 1.03 for row in groups)
    assert (ran.out / "report.html").read_text().count("data:image/png") == 3
    assert "0 without a result" in ran.printed


def frontier(ran: Ran) -> None:
    front = ran.rows("front.csv")
    sizes, validation = ([float(row[name]) for row in front] for name in ("file (bytes)", "validation"))
    assert sizes == sorted(sizes)
    assert validation == sorted(validation)


def frontier_kilobytes(ran: Ran) -> None:
    table = ran.rows("frontier.csv")
    # two arms, one budget
    assert len(table) == 2
    assert all(row["seeds"] == "2" for row in table)
    drawn = [row for row in table if row["arm"] == "random8"]
    assert all(float(row["kB"]) <= float(row["at most kB"]) for row in drawn)
    assert min(float(row["test"]) for row in drawn) > 0.8
    # of drawn and of trained layers, one for each budget
    assert [row["chosen"] for row in table] == ["yes"] * 2
    seeds = ran.rows("seeds.csv")
    assert len(seeds) == 2 * 2
    files = sorted((ran.out.parent / "jobs").glob("*/seed-*.safetensors"))
    sizes = {to_c(hntk.load(path)).table_bytes for path in files}
    assert len(files) == 4
    assert sizes == {int(row["table bytes"]) for row in seeds}


def starts(ran: Ran) -> None:
    table = {row["start"]: row for row in ran.rows("starts.csv")}
    assert set(table) == {"match", "uniform"}
    (difference,) = ran.rows("differences.csv")
    assert difference["start"] == "match"
    for column in ("epoch 1", "at the end"):
        gap = float(table["match"][column]) - float(table["uniform"][column])
        assert float(difference[column]) == pytest.approx(gap, abs=1e-9)


def train(ran: Ran) -> None:
    forms = {row["form"]: row for row in ran.rows("forms.csv")}
    assert all(row["same classes"] == row["of"] for row in forms.values())
    assert int(forms["packed file"]["bytes"]) == (ran.out / "net.safetensors").stat().st_size
    assert (ran.out / "net.onnx").exists() == ("ONNX" in forms)
    assert ran.metrics["test"] > 0.2
    assert len(ran.rows("training.csv")) == 3


def ship(ran: Ran) -> None:
    forms = {row["form"]: row for row in ran.rows("forms.csv")}
    whole = [row for name, row in forms.items() if "float32" not in name]
    assert len(whole) >= 3
    assert all(row["same classes"] == row["of"] != "" for row in whole)
    assert float(forms["packed, 2 bits"]["test accuracy"]) > 0.3
    # the table gives the sizes of the files
    files = {"packed, 2 bits": "net.bits2", "packed, base 3": "net.base3", "packed, the smallest": "net"}
    for name, file in files.items():
        assert int(forms[name]["bytes"]) == (ran.out / f"{file}.safetensors").stat().st_size
    for weights in ("int2", "int8"):
        if f"ONNX, {weights} weights" in forms:
            size = (ran.out / f"net.{weights}.onnx").stat().st_size
            assert int(forms[f"ONNX, {weights} weights"]["bytes"]) == size
    assert "hidden weights, packed, base 3" in ran.printed
    assert ran.metrics["hidden/packed, base 3"] < ran.metrics["hidden/packed, 2 bits"]
    if toolchain.has(microcontrollers.CROSS, microcontrollers.EMULATOR):
        assert forms["C99, Cortex-M4 (flash)"]["of"] == "20"


def devices(ran: Ran) -> None:
    if not toolchain.has(microcontrollers.CROSS, microcontrollers.EMULATOR):
        return
    table = ran.rows("devices.csv")
    # two layouts of hntk's network on two devices, and the kernels of the int8 one: SMLAD on one device alone
    assert len(table) == 2 * 2 + 3 + 2
    assert all(row["same classes"] == row["of"] == "20" for row in table)
    assert all(int(row["flash"]) == int(row["code"]) + int(row["tables"]) for row in table)
    taken = {(row["program"], row["device"]): int(row["instructions an image"]) for row in table}
    assert taken["int8 8-8, 4 sums at a time, SMLAD", "Cortex-M4"] < taken["int8 8-8, a plain loop", "Cortex-M4"]
    # fewer kinds of instructions: more of them
    assert taken["int8 8-8, a plain loop", "Cortex-M0+"] > taken["int8 8-8, a plain loop", "Cortex-M4"]


def bench_transform(ran: Ran) -> None:
    (table,) = (ran.rows(path.name) for path in ran.out.glob("width_*.csv"))
    assert [row["contender"] for row in table] == ["transform", "explicit ternary matrix"]
    # sums of whole numbers are the same to the bit
    differences = [value for name, value in ran.metrics.items() if name.startswith("difference/")]
    assert set(differences) <= {0.0, None}
    assert 0.0 in differences


def bench_kernels(ran: Ran) -> None:
    assert "left out" not in ran.printed
    table = ran.rows("n_ReLU_depth_1_p_20.csv")
    assert [row["contender"] for row in table] == ["hntk, relu", "hntk, 4 levels", "neural-tangents, best"]
    assert all(float(row["seconds"]) > 0 for row in table)
    assert ran.metrics["difference/n_erf_depth_1_p_20"] < 2e-4
    assert "exponent/n_ReLU_depth_1_p_20/hntk, relu" in ran.metrics


def bench_empirical(ran: Ran) -> None:
    assert "left out" not in ran.printed
    # float32 against float32
    assert ran.metrics["difference/depth_n_16_width_32"] < 1e-5
    assert {row["contender"] for row in ran.rows("n_width_48_depth_1.csv")} == {"hntk", "hntk, a product"}


def bench_solver(ran: Ran) -> None:
    assert len(ran.rows("levels_relu_depth_1.csv")) == 6
    assert ran.metrics["exponent/levels_relu_depth_1/hntk, joint"] is not None


def bench_regression(ran: Ran) -> None:
    table = ran.rows("n_*.csv")
    by_name = {row["contender"]: row for row in table}
    left = {name: row["left out"] for name, row in by_name.items() if row["left out"]}
    assert set(left) <= {"GPyTorch, hntk's kernel"}
    ran_all = [row for row in table if not row["left out"]]
    assert len(ran_all) >= 6
    # one kernel, one ridge, one set of targets: one regression, but for float32 and the tolerance
    assert len({row["accuracy"] for row in ran_all}) == 1
    assert float(ran_all[0]["accuracy"]) > 0.5
    differences = [value for name, value in ran.metrics.items() if name.startswith("difference/") and value is not None]
    assert len(differences) >= 6
    assert max(differences) < 1e-3


def bench_inference(ran: Ran) -> None:
    for batch in (1, 16):
        speed = {row["program"]: row for row in ran.rows(f"batch{batch}.csv")}
        assert len(speed) >= 5
        assert float(speed[REFERENCE]["times float32"]) == 1.0
        for row in speed.values():
            assert float(row["from"]) <= float(row["µs an image"]) <= float(row["to"])
        assert {f"hntk in {form}, onnxruntime" for form in ("int8", "float32", "transforms")} <= set(speed)
    memory = {row["program"]: row for row in ran.rows("memory.csv")}
    assert int(memory["hntk, JAX"]["file"]) < int(memory["dense float32, JAX"]["file"])


CHECKS: dict[str, Callable[[Ran], None]] = {
    check.__name__: check
    for check in (
        gmm, convergence, architectures, levels, spectrum_theory, spikes, learning_curve, dynamics, million, exact,
        store, solver, fetch, mnist, widths, memory, frontier, ship, devices, frontier_kilobytes, starts, train,
        bench_kernels, bench_empirical, bench_solver, bench_transform, bench_regression,
        bench_inference,
    )
} | {"microcontroller": ship, "small_microcontroller": ship}  # fmt: skip


def test_every_experiment_is_in_the_catalogue_has_tiny_settings_and_is_run_here() -> None:
    names = [experiment.name for experiment in catalog.EXPERIMENTS]
    assert set(CHECKS) == set(names)
    for experiment in catalog.EXPERIMENTS:
        assert experiment.leaves
        assert experiment.tiny
    # every study's experiments are collected
    studies = {path.parent.name for path in (ROOT / "experiments").glob("*/settings.py")}
    assert studies == set(catalog.STUDIES)


# as `ship`, but for the widths, the readout of all layers, and the bytes that a device has; as the sweeps of its tests
REPEATED = ("microcontroller", "small_microcontroller", "memory")
# those of several processes that import JAX; bench_transform has two
MANY_PROCESSES = ("bench_kernels", "bench_empirical", "bench_solver", "bench_regression", "bench_inference")


@pytest.mark.slow
# warnings are no errors in workers' own processes
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MANY_PROCESSES)
def test_tiny_with_workers_in_this_process(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _skip_without_tools(name)
    for module in (harness, workers):
        monkeypatch.setattr(module, "Worker", worker_here)
    # processes of workers compute in float32
    with precision(double=False):
        run_here(tmp_path, f"+exp={name}", "+debug=tiny")
    _check(name, Ran(capsys.readouterr().out, tmp_path))


def _skip_without_tools(name: str) -> None:
    module, remedy = NEEDS.get(name, ("jax", ""))
    if find_spec(module) is None:
        pytest.skip(f"needs {module} ({remedy})")
    if name == "bench_inference" and not toolchain.has("gcc"):
        pytest.skip("needs gcc")


def _check(name: str, ran: Ran) -> None:
    missing = [left for left in catalog.find(name).leaves if not any(p.stat().st_size for p in ran.out.glob(left))]
    assert not missing
    CHECKS[name](ran)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.nightly if name in (*MANY_PROCESSES, *REPEATED) else ())
        for name in (experiment.name for experiment in catalog.EXPERIMENTS)
    ],
)
def test_tiny(name: str, tmp_path: Path) -> None:
    _skip_without_tools(name)
    printed = done(
        f"+exp={name}", "+debug=tiny", f"hydra.run.dir={tmp_path / 'run'}", f"hydra.sweep.dir={tmp_path / 'sweep'}",
        f"sweep.store={tmp_path / 'jobs'}",
    )  # fmt: skip
    out = tmp_path / ("sweep" if (tmp_path / "sweep").exists() else "run")
    assert str(out) in printed.replace("\n", "")
    _check(name, Ran(printed, out))
