"""Shipped forms of a classifier: errors where one does not fit or predicts otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hntk
from experiments.runner.config import Config, NetConfig
from experiments.runner.record import Record
from experiments.shipping import microcontrollers, ship, toolchain
from experiments.shipping.settings import ShipExperiment
from hntk.deploy.c import to_c
from tests.support.architectures import raw_samples, whole_classifier
from tests.support.command_line import composed


@pytest.mark.skipif(not toolchain.has(microcontrollers.CROSS), reason="needs gcc-arm-none-eabi")
def test_what_does_not_fit_a_microcontroller_says_what_would(tmp_path: Path) -> None:
    made = whole_classifier(levels=4, widths=(129, 65, 33), pixels=True)
    cfg = composed("+exp=microcontroller", "experiment.flash=2000")
    with pytest.raises(ValueError, match=r"bytes of flash, and there are 2,000: lower net\.widths"):
        list(ship._microcontroller(cfg, Record(tmp_path), to_c(made), made, raw_samples(made)))


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
