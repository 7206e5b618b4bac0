"""What decides the numbers of exact kernels: samples, network, settings and code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hntk._utils.digest import array_digest, source_digest
from hntk.activations.fingerprint import fingerprint
from hntk.kernels.problem import KernelProblem

PACKAGE = Path(__file__).parents[1]
# source code that decides the numbers; what only checks, hashes or writes is left out
CODE = (
    PACKAGE / "kernels",
    PACKAGE / "activations",
    PACKAGE / "theory" / "architecture.py",
    PACKAGE / "theory" / "coefficients.py",
    PACKAGE / "theory" / "expansion.py",
    PACKAGE / "theory" / "implicit.py",
    PACKAGE / "_utils" / "devices.py",
    PACKAGE / "_utils" / "float64.py",
)


def kernel_identity(problem: KernelProblem) -> dict[str, Any]:
    """Return what decides the numbers: samples, network, settings and code."""
    net = problem.network
    # stores of plain networks do not name what these do not have
    described = {"scales": [list(row) for row in net.scales], "centred": net.centred, "normalize": net.normalize}
    if net.implicit:
        described |= {"implicit": True, "input_std": net.input_std}
    backward = [s and [fingerprint(s.shape), s.width, s.height] for s in problem.surrogates]
    return (
        ({} if net.is_plain else described)
        | ({"surrogates": backward} if any(backward) else {})
        | {
            "x": array_digest(problem.x),
            "x2": array_digest(problem.x2),
            "activations": [fingerprint(layer) for layer in net.layers],
            "centres": list(problem.centres),
            "kappa_sq": problem.kappa_sq,
            "precision": problem.dtype.name,
            "code": source_digest(*CODE),
        }
    )
