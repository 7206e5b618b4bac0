"""Hostile values for every kind of argument, and a judge of a function's answers to them."""

from __future__ import annotations

import ast
import math
import re
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy.sparse import csr_array

import hntk

N, P = 12, 4
X = np.random.default_rng(0).normal(size=(N, P)) / 2
LABELS = np.arange(N) % 2
KEY = jax.random.key(0)
HUGE = 10**12
PACKAGE = Path(hntk.__file__).parent
REFUSALS = (ValueError, TypeError, MemoryError)
WORDS = [
    "must",
    "give",
    "use",
    "drop",
    "clean",
    "rescale",
    "needs?",
    "choose",
    "lie",
    "declare",
    "make",
    "bring",
    "allow",
]
REMEDY = re.compile(rf"\b({'|'.join(WORDS)}|known are)\b", re.IGNORECASE)
NUMBERS = (math.nan, math.inf, -math.inf, -1, 0, 2.5, True, None, "text", "1.5", [], [1.0], 1j, 1e300, 5e-324, -1e-9)


def _masked(array: np.ndarray) -> np.ma.MaskedArray:
    return np.ma.masked_array(array, mask=np.arange(array.size).reshape(array.shape) == 1)


def _with(array: np.ndarray, value: object, dtype: type = float) -> np.ndarray:
    out = np.array(array, dtype)
    out.flat[1] = value
    return out


def _arrays(valid: np.ndarray) -> tuple[Any, ...]:
    """Yield values that are no finite real arrays of this shape, or are such arrays in an unusual form."""
    return (
        _with(valid, math.nan),
        _with(valid, math.inf),
        _with(valid, None, object),
        _with(valid, "x", object),
        valid.astype(object),
        valid.astype(str),
        valid.astype(complex) + 1j,
        valid.astype(bool),
        valid.astype(">f8"),
        valid.astype(np.float16),
        valid.astype(np.longdouble),
        valid * 1e30,
        valid * 1e200,
        valid * 1e-30,
        valid * 1e-200,
        valid * 5e-324,
        np.full(valid.shape, np.iinfo(np.int64).max),
        np.full(valid.shape, 127, np.int8),
        np.zeros(valid.shape),
        _masked(valid),
        [_masked(row) if row.ndim else row for row in valid],
        np.ma.masked_array(valid),
        valid.tolist(),
        valid[:0],
        valid[..., None],
        valid[:-1],
        np.float64(1.0),
        np.datetime64("2020-01-01") + np.zeros(valid.shape, int),
        [[1.0], [1.0, 2.0]],
        10**400,
        [[10**400] * P] * N,
        None,
        "text",
        {},
        (),
    )


SAMPLES = (*_arrays(X), csr_array(X), X[:, :0], X[0], X[:1], {"a": [1.0]}, np.array([["a", "b"]]))
KERNEL = X @ X.T + np.eye(N)
FEATURES = np.random.default_rng(1).normal(size=(N, 6))
VALUES: dict[str, tuple[Any, ...]] = {
    "samples": SAMPLES,
    "features": (*_arrays(FEATURES), FEATURES[:, :5]),
    "kernel": (*_arrays(KERNEL), csr_array(KERNEL), KERNEL + np.triu(KERNEL, 1), np.zeros((0, 0)), KERNEL[:, :3], 0),
    "columns": _arrays(np.linspace(1, 2, N)),
    "points": _arrays(np.linspace(1, 2, N)),
    "numbers": (*_arrays(np.linspace(0.1, 0.2, 2)), 0.5, -1.0, [-1.0], [0.0], [True], ["text"], [None], {0.1: 1}),
    "labels": (
        None, [], "text", 2.5, LABELS[:-1], LABELS[:, None], np.zeros(N), _with(LABELS, None, object),
        _with(LABELS, math.nan), _with(LABELS, "a", object), _masked(LABELS), LABELS.astype(complex),
        LABELS.astype(str),
        LABELS.astype(bool), LABELS - 1, LABELS * HUGE, [*LABELS[:-1], "a"], [*LABELS[:-1], b"a"], [[0], [1, 2]],
    ),
    "count": (*NUMBERS, HUGE, 10**30, np.array([1, 2]), np.float64(3.0), np.bool_(True), "3"),
    "real": (*NUMBERS, HUGE, 10**400, np.array([1.0, 2.0]), np.bool_(True)),
    # small numbers only, where large bounds would take long
    "bound": (*(number for number in NUMBERS if number not in (0, 5e-324)), HUGE, 10**400, np.array([1.0, 2.0])),
    "key": (0, 1, None, 2.5, "text", np.array([0, 1]), np.zeros(4, np.uint32), jax.random.split(KEY), [0, 1], True,
            jax.random.PRNGKey(0), np.asarray(jax.random.PRNGKey(0))),
    "seed": (-1, 2.5, None, "text", math.nan, math.inf, True, [], 2**40, 2**70),
    "activations": (None, "relu", "text", [], ["text"], [None], [2.5], 2.5, {}, [[]], [np.tanh], [lambda t: t * np.nan],
                    ["relu"] * 3, [lambda t: t[:1]], [abs], True, b"relu"),
    "widths": (math.nan, 2.5, [2.5], [0], [-1], [], None, "text", [HUGE], HUGE, True, [True], [8, 8], [math.nan], {},
               ["8"], [None], [[8]], np.array([8.0]), [10**30]),
    "choice": (None, "text", "", 2.5, [], np.array(["ck", "ntk"]), True, {}),
    "callback": ("text", 2.5, [], {}),
    "path": (None, 2.5, "", "a\0b", [], b"bytes", True),
    "object": (None, 2.5, "text", [], {}, np.zeros(3)),
    "function": (None, 2.5, "text", np.zeros(3), lambda t: t * np.nan, lambda t: None, lambda t: 1.0, lambda t: "text",
                 lambda t: t + 1j),
    "text": (None, 2.5, [], {}, ""),
}  # fmt: skip


def refused_well(error: BaseException, argument: str, documented: tuple[type, ...]) -> str | None:
    """Return what is wrong with an error; None if it is a helpful one of hntk's own."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    if not isinstance(error, (*REFUSALS, *documented)):
        return f"{type(error).__name__} at {where}: {error}"
    if not Path(frame.filename).is_relative_to(PACKAGE) or not _raises(frame.filename, frame.lineno or 0):
        return f"comes from deep inside, {where}: {type(error).__name__}: {error}"
    if argument not in str(error) and not REMEDY.search(str(error)):
        return f"neither names {argument} nor a remedy: {error}"
    return None


@cache
def _raise_lines(path: str) -> frozenset[int]:
    tree = ast.parse(Path(path).read_text())
    spans = [(node.lineno, node.end_lineno) for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    return frozenset(line for start, end in spans for line in range(start, (end or start) + 1))


def _raises(path: str, line: int) -> bool:
    return line in _raise_lines(path)


def numbers_of(result: Any) -> Iterator[np.ndarray]:
    """Yield every number in a result."""
    if isinstance(result, np.ndarray | jax.Array | float | int | np.generic):
        array = np.asarray(result)
        if array.dtype.kind in "fc":
            yield array
    elif is_dataclass(result):
        for field in fields(result):
            yield from numbers_of(getattr(result, field.name))
    elif isinstance(result, Mapping):
        for value in result.values():
            yield from numbers_of(value)
    elif isinstance(result, list | tuple) or hasattr(result, "__next__"):
        for value in result:
            yield from numbers_of(value)


def verdict(
    call: Callable[[], Any],
    argument: str,
    allowed: Callable[[np.ndarray], np.ndarray],
    documented: tuple[type, ...] = (),
) -> str | None:
    """Return what is wrong with the answer to a hostile value; None for a helpful error or a finite result."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # samples of another scale are accepted with a warning
            warnings.filterwarnings("ignore", "samples have the root mean square norm")
            result = call()
            found = list(numbers_of(result))
    except Exception as error:  # what it is is the question
        return refused_well(error, argument, documented)
    if not all(np.all(np.isfinite(array) | allowed(array)) for array in found):
        return "gives numbers that are not finite"
    return None
