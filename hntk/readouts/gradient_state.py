"""Checkpoints of a kernel regression that is solved by conjugate gradients."""

from __future__ import annotations

import json
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from hntk._utils.atomic_file import replacing
from hntk.readouts.kernel_ridge import Trial
from hntk.readouts.kernel_system import GradientSolver

FILE = "iteration.npz"
ARRAYS = ("solution", "residual", "directions")
# seconds between two checkpoints within a ridge
PAUSE = 60.0


@dataclass(eq=False)
class GradientState:
    """Where a regression is: the ridges that have been tried, and the state of an iteration.

    Attributes
    ----------
    tried : list of Trial
        Ridges that have been tried.
    dual : ndarray of shape (m, K) or None
        Solution at the last of them, where the next one starts.
    best : ndarray of shape (m, K) or None
        Solution at the best of them.
    choice : dict
        The preconditioner and those that were tried, see ``Preconditioners.known``; empty at the start.
    iteration : dict of str to ndarray
        Solution, residual and directions of the iteration at the next ridge, empty at its start.
    steps : int
        Number of its steps.
    errors : list of float
        Its largest relative residuals since it has its preconditioner, from which its end is predicted.
    refused : float
        The largest ridge with which the kernel is not positive definite; 0 where none was met.
    """

    tried: list[Trial] = field(default_factory=list)
    dual: Float[np.ndarray, "m K"] | None = None
    best: Float[np.ndarray, "m K"] | None = None
    choice: dict[str, Any] = field(default_factory=dict)
    iteration: dict[str, np.ndarray] = field(default_factory=dict)
    steps: int = 0
    errors: list[float] = field(default_factory=list)
    refused: float = 0.0


@dataclass(eq=False)
class Checkpoint:
    """The file of a regression's state; nothing is written where there is no folder.

    Attributes
    ----------
    folder : Path or None
        Folder of the file.
    identity : dict
        What the regression is of: data, settings and code.
    written : float
        When it was written last.
    """

    folder: Path | None
    identity: dict[str, Any]
    written: float = field(default_factory=time.monotonic)

    def load(self) -> GradientState:
        """Return the state of an earlier run, or the start.

        Raises
        ------
        ValueError
            If the file is damaged, or of another regression; the message says what differs.
        """
        if self.folder is None or not (self.folder / FILE).exists():
            return GradientState()
        path = self.folder / FILE
        remedy = f"remove {FILE} in {self.folder} to begin anew, or choose another folder"
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            said = json.loads(str(arrays.pop("said")))
            identity, tried = said["identity"], [Trial(*each) for each in said["tried"]]
            choice, steps, errors = dict(said["choice"]), int(said["steps"]), list(map(float, said["errors"]))
            refused = float(said["refused"])
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} cannot be read ({error}): {remedy}.") from error
        differing = [key for key in {**identity, **self.identity} if identity.get(key) != self.identity.get(key)]
        if differing:
            raise ValueError(f"{path} is of another regression (other {', '.join(sorted(differing))}): {remedy}.")
        iteration = {key: arrays[key] for key in ARRAYS if key in arrays}
        bad = [key for key, array in arrays.items() if array.dtype != np.float64 or not np.all(np.isfinite(array))]
        if bad or len(iteration) not in (0, len(ARRAYS)):
            raise ValueError(f"{path} is damaged ({', '.join(bad) or 'an array is missing'}): {remedy}.")
        return GradientState(tried, arrays.get("dual"), arrays.get("best"), choice, iteration, steps, errors, refused)

    def save(self, state: GradientState) -> None:
        """Replace the file."""
        if self.folder is None:
            return
        told = {name: getattr(state, name) for name in ("tried", "choice", "steps", "errors", "refused")}
        said = {"identity": self.identity, **told}
        arrays = dict(state.iteration) | {
            key: array for key, array in (("dual", state.dual), ("best", state.best)) if array is not None
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / FILE) as part, part.open("wb") as file:
            np.savez(file, allow_pickle=False, said=np.array(json.dumps(said)), **arrays)
        self.written = time.monotonic()

    def step(self, state: GradientState, solver: GradientSolver) -> None:
        """Save the state of an iteration, if the last time was long enough ago."""
        if self.folder is None or time.monotonic() - self.written < PAUSE:
            return
        state.choice, state.steps, state.errors = solver.system.choice.known, solver.method.steps, solver.entrant.errors
        state.iteration = {key: getattr(solver.method, key) for key in ARRAYS}
        self.save(state)

    def remove(self) -> None:
        """Remove the file of a regression that is done."""
        if self.folder is not None:
            (self.folder / FILE).unlink(missing_ok=True)
