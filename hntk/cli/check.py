"""``hntk check DATA``: whether the theory applies to data."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from hntk.cli.network_options import network_of
from hntk.cli.samples import samples_of
from hntk.cli.terminal import show, show_json, stages
from hntk.compression.applicability import Applicability, check


def run(options: argparse.Namespace) -> None:
    """Measure every assumption of the theory on the training samples."""
    with stages(quiet=options.json) as tell:
        tell("reading")
        data, x = samples_of(options)
        tell("checking")
        network = network_of(options, options.network) if options.network else None
        report = check(x, data.y_train, network)
    if options.json:
        show_json({"data": str(options.data), "normalized": options.normalize, **as_facts(report)})
        return
    held = sum(finding.holds for finding in report.findings)
    verdict = "the theory applies" if report.applies else f"{held} of {len(report.findings)} assumptions hold"
    show(f"{data}\n\n{report}\n\n{verdict}")


def as_facts(report: Applicability) -> dict[str, Any]:
    """Return a report as dictionaries and numbers."""
    findings = [asdict(finding) | {"holds": finding.holds} for finding in report.findings]
    return {"applies": report.applies, "findings": findings}
