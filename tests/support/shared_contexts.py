"""One MLIR context for many programs, where JAX makes one for each: a fifth of the time of a small program.

A context is what JAX writes a program into before XLA compiles it. It knows some dialects, whose registration takes
2 ms, and keeps constants of the programs it was used for: after ``USES`` programs another one is made.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

from jax._src.interpreters import mlir

USES = 200


def share_contexts() -> None:
    """Let JAX use contexts again in this process; nothing changes where another JAX makes them elsewhere."""
    make: Any = getattr(mlir, "make_ir_context", None)
    if make is None:
        return
    kept = functools.lru_cache(maxsize=1)(lambda _: make())
    programs = itertools.count()
    mlir.make_ir_context = lambda: kept(next(programs) // USES)
