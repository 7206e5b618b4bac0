"""What is shipped, and what it is measured by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hntk
from experiments.runner import child_process as process
from experiments.runner.config import Config, NetConfig
from experiments.runner.record import Record
from experiments.shipping import inference as bench_inference
from experiments.shipping import ship, toolchain
from experiments.shipping.settings import ShipExperiment
from hntk.deploy.c import to_c
from tests.support.architectures import raw_samples, whole_classifier
from tests.support.command_line import run

slow = pytest.mark.slow
needs_gcc = pytest.mark.skipif(not toolchain.has("gcc"), reason="needs gcc")


@pytest.mark.slow
@slow
@pytest.mark.skipif(not toolchain.has(toolchain.CROSS), reason="needs gcc-arm-none-eabi")
def test_what_does_not_fit_a_microcontroller_says_what_would(tmp_path: Path, digits: Path) -> None:
    out = f"hydra.run.dir={tmp_path / 'out'}"
    small = run("+exp=microcontroller", "+debug=tiny", "experiment.flash=2000", out, data=digits)
    assert small.returncode == 1
    assert "bytes of flash, and there are 2,000" in small.stdout
    assert "compress.sparsity" in small.stdout


def test_a_form_that_predicts_otherwise_is_an_error(tmp_path: Path) -> None:
    labels = np.arange(6) % 2
    data = hntk.Dataset(
        np.zeros((2, 1), np.float32), labels[:2], np.zeros((6, 1), np.float32), labels, "toy", np.arange(2),
        np.zeros(1), 1.0, None,
    )  # fmt: skip
    cfg = Config(net=NetConfig(activations=["relu"], widths=[4]), experiment=ShipExperiment())
    cfg.compress = type("Compress", (), {"sparsity": 0.5})()
    wrong = labels.copy()
    wrong[3] = 1 - wrong[3]
    forms = [ship.Form("dense float32", 100, wrong), ship.Form("float32 on a grid", None, wrong)]
    forms += [ship.Form("packed, 2 bits", 10, labels), ship.Form("C99, Cortex-M4 (flash)", 20, labels[:3])]
    record = Record(tmp_path)
    ship._report(cfg, record, forms, data)
    assert record.metrics["accuracy/dense float32"] == pytest.approx(5 / 6)
    with pytest.raises(ship.DifferentError, match=r"C99, gcc on 1 of 6.*defect"):
        ship._report(cfg, record, [*forms, ship.Form("C99, gcc", 20, wrong)], data)


@needs_gcc
def test_counted_words_are_those_that_the_program_counts(tmp_path: Path) -> None:
    made = whole_classifier(levels=4, widths=(100, 65, 33), pixels=True)
    # 45 pixels of 8 planes, then 100 and 65 neurons of 3
    assert bench_inference._counts(made) == 100 * 1 * 8 + 65 * 2 * 3 + 33 * 2 * 3
    program = to_c(made, layouts="planes")
    plain = "#define POPCOUNT(x) popcount(x)\n#endif\n"
    assert program.source.count(plain) == 1
    counted = "extern long counted;\n#undef POPCOUNT\n#define POPCOUNT(x) (counted++, popcount(x))\n"
    portable = program.source.replace("defined(__GNUC__) || defined(__clang__)", "0")
    source, main = tmp_path / "net.c", tmp_path / "main.c"
    source.write_text(portable.replace(plain, plain + counted))
    main.write_text(
        '#include <stdio.h>\n#include "hntk_net.h"\nlong counted;\n'
        "int main(void)\n{\n    static hntk_net_word scratch[HNTK_NET_SCRATCH_BYTES / sizeof(hntk_net_word)];\n"
        "    static uint8_t input[HNTK_NET_INPUTS];\n    hntk_net_predict(input, scratch);\n"
        '    printf("%ld", counted);\n    return 0;\n}\n'
    )
    program.write(tmp_path)
    toolchain.compile_files([source, main], tmp_path / "run", options=(f"-I{tmp_path}",))
    assert toolchain.run_program(tmp_path / "run", raw_samples(made)).tolist() == [bench_inference._counts(made)]


def test_a_worker_that_dies_says_where_to_look(tmp_path: Path) -> None:
    with pytest.raises(process.WorkerError, match=r"status 2; see .*log"):
        process.Worker(["sh", "-c", "exit 2"], 0, tmp_path / "log")
    with process.working(["sh", "-c", "echo 7; read x; echo 1.5 2; exit 3"], 0, tmp_path / "log") as worker:
        assert worker.before == 7
        assert worker.ask("anything") == [1.5, 2.0]
        with pytest.raises(process.WorkerError, match="status 3"):
            worker.ask("more")


@pytest.mark.parametrize(
    ("work", "batch", "expected"),
    [
        ({"read": 100, "multiplies": 5}, 1, (1.0, "memory")),
        ({"read": 100, "multiplies": 5}, 100, (0.05, "multiply-add")),
        ({"read": 100, "counts": 5, "passes": True}, 100, (1.0, "memory")),
        ({"read": 100}, 1, (1.0, "memory")),
        ({"read": 100}, 2, (None, None)),
        ({}, 1, (None, None)),
    ],
)
def test_the_tightest_limit_is_told(work: dict, batch: int, expected: tuple) -> None:
    limits = {("read", 100): 100.0, ("count", bench_inference.NEAR): 10.0, ("multiply", 0): 100.0}
    assert bench_inference._limit(bench_inference.Work(**work), limits, batch) == expected
