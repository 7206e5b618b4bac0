"""Check training and test parts as read from disk, and select samples of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Real

from hntk._utils.labels import brief_list
from hntk._utils.rows import row_blocks

# Labels checked at a time: checks take several times the memory of what they check.
LABELS = 2**20
# Names of the four arrays.
KEYS = ("x_train", "y_train", "x_test", "y_test")
# Kinds of NumPy types of numbers: real, whole, booleans.
NUMBERS = "fiub"


class Part(NamedTuple):
    """One of the four arrays of `KEYS`, where it came from, and the remedy that messages give."""

    array: np.ndarray
    origin: str
    remedy: str


@dataclass(frozen=True, eq=False)
class Splits:
    """Training and test samples as rows, in the type they were stored in, and whole-number labels."""

    x_train: Real[np.ndarray, "n p"]
    y_train: Int[np.ndarray, " n"]
    x_test: Real[np.ndarray, "m p"]
    y_test: Int[np.ndarray, " m"]
    image_shape: tuple[int, ...] | None
    pixels: bool  # whether samples are bytes


def check_shapes(parts: dict[str, Part], label_kinds: str = NUMBERS) -> None:
    """Check types and shapes against each other without reading a value.

    Arrays may be those of :func:`stand_in`, of the type and shape that a header claims, so that nothing is read that
    does not fit.

    Parameters
    ----------
    parts : dict of Part
        The four arrays of `KEYS`.
    label_kinds : str
        Kinds of NumPy types that labels may have.

    Raises
    ------
    ValueError
        If samples are not real numbers with at least two dimensions, labels are not numbers in one dimension, there is
        not one label per sample, or the samples of the two parts differ in shape.
    """
    for split in ("train", "test"):
        _check_rows(parts[f"x_{split}"])
    for split in ("train", "test"):
        _check_labels(parts[f"y_{split}"], label_kinds)
    for split in ("train", "test"):
        x, y = parts[f"x_{split}"], parts[f"y_{split}"]
        if len(x.array) != len(y.array):
            raise ValueError(
                f"{x.origin} holds {len(x.array)} samples but {y.origin} {len(y.array)} labels: "
                f"there must be one label per sample; {x.remedy}, both of them."
            )
    train, test = parts["x_train"], parts["x_test"]
    sample_shape = train.array.shape[1:]
    if sample_shape != test.array.shape[1:]:
        raise ValueError(
            f"{train.origin} holds samples of shape {sample_shape} but {test.origin} of {test.array.shape[1:]}: "
            f"the two must agree; {train.remedy}, both of them."
        )


def stand_in(dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array of zeros that takes no memory, for :func:`check_shapes`.

    Raises
    ------
    ValueError
        If no array has that shape.
    """
    return np.broadcast_to(np.zeros((), dtype), shape)


def as_splits(parts: dict[str, Part]) -> Splits:
    """Check the four parts against each other, and flatten images to rows.

    Raises
    ------
    ValueError
        If the shapes do not fit (see :func:`check_shapes`), samples are not finite, or labels are no whole numbers.
    """
    check_shapes(parts)
    rows = {f"x_{split}": as_rows(parts[f"x_{split}"]) for split in ("train", "test")}
    labels = {f"y_{split}": _as_whole_numbers(parts[f"y_{split}"]) for split in ("train", "test")}
    sample_shape = parts["x_train"].array.shape[1:]
    pixels = all(parts[f"x_{split}"].array.dtype == np.uint8 for split in ("train", "test"))
    return Splits(**rows, **labels, image_shape=sample_shape if len(sample_shape) > 1 else None, pixels=pixels)


def select(splits: Splits, classes: Iterable[int] | None, n_train: int | None, n_test: int | None, seed: int) -> Splits:
    """Keep some classes, then the first n samples of a random order of each part; None keeps all, in file order.

    Raises
    ------
    TypeError
        If a number of samples, or the seed of an order that is drawn, is not a whole number.
    ValueError
        If a class is unknown, no test sample is left, a test label does not occur in training, more samples are asked
        for than there are, or a class is missing from the training samples drawn.
    """
    known = np.unique(splits.y_train)
    kept = known if classes is None else _check_classes(classes, known)
    unseen = np.setdiff1d(splits.y_test, known)
    if classes is None and unseen.size:
        raise ValueError(
            f"test labels {brief_list(unseen)} do not occur in training (labels {brief_list(known)}): "
            "name the classes to keep with classes=."
        )
    train = _draw(splits.y_train, kept, n_train, seed, "train")
    test = _draw(splits.y_test, kept, n_test, seed, "test")
    absent = np.setdiff1d(kept, splits.y_train[train])
    if absent.size:
        raise ValueError(
            f"n_train = {n_train} samples leave out classes {brief_list(absent)} of {brief_list(kept)}: "
            "increase n_train, try another seed, or keep fewer classes."
        )
    return replace(
        splits,
        x_train=splits.x_train[train],
        y_train=splits.y_train[train],
        x_test=splits.x_test[test],
        y_test=splits.y_test[test],
    )


def _check_rows(part: Part) -> None:
    x = part.array
    if x.dtype.kind not in NUMBERS:
        raise ValueError(f"{part.origin} must be real numbers, got dtype {x.dtype}: convert it, and {part.remedy}.")
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(
            f"{part.origin} must have shape (n, p), one sample per row and none empty, or (n, height, width, …); "
            f"got shape {x.shape}: reshape it (a single feature is x[:, None]), or {part.remedy}."
        )


def _check_labels(part: Part, kinds: str) -> None:
    y = part.array
    if y.ndim != 1:
        raise ValueError(
            f"{part.origin} must hold one label per sample in one dimension, got shape {y.shape}: flatten a column "
            f"with y.ravel(), turn one-hot rows into y.argmax(1), or {part.remedy}."
        )
    if y.dtype.kind not in kinds:
        raise ValueError(
            f"{part.origin} must be whole numbers, got dtype {y.dtype}: encode the labels with "
            f"np.unique(y, return_inverse=True)[1], and {part.remedy}."
        )


def as_rows(part: Part) -> Real[np.ndarray, "n p"]:
    """Return samples as rows, images flattened, in the type they were stored in; booleans become bytes.

    Raises
    ------
    ValueError
        If a value is not finite, or float32 cannot hold it.
    """
    x = part.array
    rows = x.reshape(len(x), -1)
    if x.dtype.kind == "f":
        _check_finite(rows, part)
    return rows.view(np.uint8) if x.dtype.kind == "b" else rows


def _check_finite(rows: Float[np.ndarray, "n p"], part: Part) -> None:
    with np.errstate(over="ignore"):
        bad = sum(int(np.sum(~np.all(np.isfinite(rows[b].astype(np.float32)), axis=1))) for b in row_blocks(rows))
    if bad:
        raise ValueError(
            f"{part.origin} has NaN or infinite values, or values that float32 cannot hold, in {bad} of its "
            f"{len(rows)} rows: clean, rescale or drop them, and {part.remedy}."
        )


def _as_whole_numbers(part: Part) -> Int[np.ndarray, " n"]:
    y = part.array
    blocks = [y[start : start + LABELS] for start in range(0, y.size, LABELS)]
    if y.dtype.kind == "f" and not all(np.all(np.isfinite(block)) for block in blocks):
        raise ValueError(f"{part.origin} contains NaN or infinite labels: drop those samples, and {part.remedy}.")
    if not all(map(_are_whole, blocks)):
        raise ValueError(
            f"{part.origin} must be whole numbers that int64 holds, but some are not (first labels "
            f"{y[:5].tolist()}): encode the classes as integers, and {part.remedy}. Targets of a regression are no "
            "part of a data set: give x and y as arrays, such as to hntk.fit_ridge(net, x, y)."
        )
    return y.astype(np.int64)


def _are_whole(y: Real[np.ndarray, " n"]) -> bool:
    if y.dtype.kind in "ib":
        return True
    if y.dtype.kind == "u":
        return y.dtype.itemsize < 8 or bool(np.all(y < 2**63))
    return bool(np.all(y == np.rint(y)) and np.all(np.abs(y.astype(np.float64)) < 2.0**63))


def _check_classes(classes: Iterable[int], known: Int[np.ndarray, " K"]) -> np.ndarray:
    wanted = np.unique(np.asarray(list(classes)))
    unknown = np.setdiff1d(wanted, known)
    if unknown.size:
        raise ValueError(f"classes {brief_list(unknown)} do not occur in training: choose among {brief_list(known)}.")
    if wanted.size < 2:
        raise ValueError(
            f"at least two classes are needed, got {brief_list(wanted)}: choose among {brief_list(known)}."
        )
    return wanted


def _draw(y: Int[np.ndarray, " n"], kept: np.ndarray, n: int | None, seed: int, split: str) -> np.ndarray | slice:
    """Return the samples of these classes, or n of them in random order."""
    eligible = np.flatnonzero(np.isin(y, kept))
    if not eligible.size:
        raise ValueError(
            f"no {split} sample is of classes {brief_list(kept)}: choose among its labels {brief_list(np.unique(y))}."
        )
    if n is None:
        return eligible if eligible.size < y.size else slice(None)
    for argument, value in ((f"n_{split}", n), ("seed", seed)):
        if not isinstance(value, int | np.integer):
            raise TypeError(f"{argument} must be a whole number, got {value!r}.")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}.")
    if not 1 <= n <= eligible.size:
        raise ValueError(f"n_{split} must be from 1 to {eligible.size}, the number of {split} samples there; got {n}.")
    return eligible[np.random.default_rng(seed).permutation(eligible.size)[:n]]
