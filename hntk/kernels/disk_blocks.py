"""Blocks of a kernel on disk, which an interrupted computation finds again.

A folder holds ``blocks.bin``, the blocks one after the other, and ``blocks.json``, which says what they are of and
which are done. A block is on the disk before the journal says so.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hntk._utils.atomic_file import replacing
from hntk._utils.memory import gigabytes
from hntk.kernels.kernel_plan import FILE, KernelPlan
from hntk.kernels.stored import reserve

JOURNAL = "blocks.json"
Corner = tuple[int, int]


@dataclass(eq=False)
class DiskBlocks:
    """Blocks in a folder.

    Attributes
    ----------
    folder : Path
        The folder.
    plan : KernelPlan
        What the blocks are.
    identity : dict
        What decides their numbers.
    done : set of int
        Places of the blocks that are on the disk.
    """

    folder: Path
    plan: KernelPlan
    identity: dict[str, Any]
    done: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @staticmethod
    def open(folder: Path, plan: KernelPlan, identity: dict[str, Any]) -> DiskBlocks:
        """Open the folder's blocks, or make room for them.

        Raises
        ------
        ValueError
            If the folder holds blocks of something else, its journal is damaged, or a file of the name of either is not
            this class's own.
        OSError
            If there is no room; blocks of earlier runs stay as they are.
        """
        known = identity | {"dtype": plan.dtype, "side": plan.side, "n": plan.n}
        blocks = DiskBlocks(folder, plan, known)
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / FILE).exists():
            blocks.done = blocks._read()
            return blocks
        if (folder / JOURNAL).exists():
            blocks._journal()  # a file of another kind is not replaced
        blocks._make()
        return blocks

    @cached_property
    def _places(self) -> dict[Corner, int]:
        return {corner: k for k, corner in enumerate(self.plan.corners)}

    @cached_property
    def _map(self) -> np.memmap:
        return np.memmap(self.folder / FILE, self.plan.dtype, "r+", shape=self._shape)

    def get(self, corner: Corner) -> np.ndarray | None:
        """Return a block, or None where it is not there yet."""
        place = self._places[corner]
        rows, columns = (min(self.plan.side, self.plan.n - k * self.plan.side) for k in corner)
        return self._map[place, :rows, :columns] if place in self.done else None

    def put(self, corner: Corner, block: np.ndarray | jax.Array) -> None:
        """Write a block, and note that it is there."""
        place = self._places[corner]
        self._map[place, : block.shape[0], : block.shape[1]] = np.asarray(block)
        with self._lock:
            self._map.flush()
            self.done.add(place)
            self._write()

    @property
    def _shape(self) -> tuple[int, int, int]:
        return len(self.plan.corners), self.plan.side, self.plan.side

    @property
    def _remedy(self) -> str:
        return f"remove {FILE} and {JOURNAL} in {self.folder} to begin anew, or choose another folder"

    def _journal(self) -> tuple[dict[str, Any], list[int]]:
        """Return what the blocks of the folder are of, and which are done."""
        path = self.folder / JOURNAL
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            known, done = content["blocks"], content["done"]
            if not isinstance(known, dict) or not all(type(k) is int for k in done):
                raise TypeError("it is not a journal of blocks")
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise ValueError(f"{path} cannot be read ({error}): {self._remedy}.") from error
        return known, done

    def _read(self) -> set[int]:
        if not (self.folder / JOURNAL).exists():
            raise ValueError(
                f"{self.folder} has a file {FILE} without a {JOURNAL} that tells what it holds, and it is not "
                "overwritten: remove it, or choose another folder."
            )
        known, done = self._journal()
        wanted = json.loads(json.dumps(self.identity))
        other = sorted(key for key in {**known, **wanted} if known.get(key) != wanted.get(key))
        if other:
            raise ValueError(
                f"{self.folder} holds blocks of something else (other {', '.join(other)}): {self._remedy}."
            )
        if not all(0 <= k < self._shape[0] for k in done):
            raise ValueError(f"{self.folder / JOURNAL} names blocks that these kernels do not have: {self._remedy}.")
        if (self.folder / FILE).stat().st_size != self.plan.size:
            raise ValueError(f"{self.folder / FILE} is not as long as its journal says: {self._remedy}.")
        return set(done)

    def _make(self) -> None:
        path = self.folder / FILE
        self._write()
        try:
            with path.open("xb") as file:
                file.truncate(self.plan.size)
            # writing through a map to a disk that has become full would kill the process
            reserve(path)
        except OSError as error:
            path.unlink(missing_ok=True)
            (self.folder / JOURNAL).unlink(missing_ok=True)
            raise OSError(
                f"{self.folder} has no room for blocks of {gigabytes(self.plan.size)} ({error}): free some there, or "
                "choose a folder on another disk."
            ) from error

    def _write(self) -> None:
        with replacing(self.folder / JOURNAL) as part:
            part.write_text(json.dumps({"blocks": self.identity, "done": sorted(self.done)}), encoding="utf-8")
