"""The kernel of a regression on the machines of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
from jaxtyping import Int

from hntk._utils.arguments import as_choice
from hntk._utils.float64 import float64
from hntk.data.row_files import RowFiles, files_of
from hntk.kernels.held_kernel import HeldKernel, KernelName, NoBlocks
from hntk.kernels.kernel_plan import KernelPlan
from hntk.kernels.problem import KernelProblem
from hntk.kernels.ray_kernel import RayKernel
from hntk.kernels.ray_workers import Engine, import_ray
from hntk.kernels.stored import locked
from hntk.readouts.gradient_options import ConjugateGradients
from hntk.readouts.kernel_data import KernelData, check_diagonal
from hntk.theory.architecture import Architecture

TrainingKernel = HeldKernel | RayKernel


@dataclass(frozen=True, eq=False)
class Cluster:
    """What the workers of a Ray cluster are told.

    Attributes
    ----------
    files : RowFiles or None
        Files in which they find the samples; None sends them.
    order : ndarray of shape (n,) or None
        Which row of the files every row of the kernel is; None for rows in their order.
    outputs : int
        Number of targets.
    """

    files: RowFiles | None
    order: Int[np.ndarray, " n"] | None = None
    outputs: int = 1

    def of(self, data: KernelData, order: Int[np.ndarray, " n"], in_order: bool) -> Cluster:
        """Return it for a regression whose samples are taken in some order."""
        return replace(self, outputs=data.targets.values.shape[1], order=None if in_order else order)


def as_cluster(engine: object, x: object) -> Cluster | None:
    """Return what a Ray cluster needs to know of samples, or None for this machine.

    Raises
    ------
    ImportError
        If Ray is not installed.
    ValueError
        If there is no such engine.
    """
    as_choice(engine, "engine", get_args(Engine))
    if engine == "local":
        return None
    import_ray()
    return Cluster(files_of(x))


@contextmanager
def open_on_ray(
    x: np.ndarray,
    net: Architecture,
    kernel: KernelName,
    tau0: float,
    declared: float | None,
    options: ConjugateGradients,
    cluster: Cluster,
) -> Iterator[RayKernel]:
    """Yield a kernel between samples whose blocks workers keep; a folder is locked meanwhile.

    Raises
    ------
    ValueError
        If the kernel's diagonal is infinite, or blocks are to be on disk.
    """
    with float64():
        problem = KernelProblem.of(x, net, None, tau0, declared)
    n = len(x)
    del x  # which the problem has a copy of
    here = HeldKernel(problem, kernel, KernelPlan(n, "nowhere", "float64", n), NoBlocks())
    check_diagonal(here.diagonal())
    with nullcontext() if options.folder is None else locked(Path(options.folder), 0):
        held = RayKernel.open(
            here,
            cluster.outputs,
            samples=cluster.files,
            order=cluster.order,
            keep=options.keep,
            precision=options.precision,
            memory=options.memory,
            tell=options.tell,
        )
        try:
            yield held
        finally:
            held.close()
