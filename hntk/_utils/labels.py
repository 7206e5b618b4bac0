"""Check class labels that users give as lists, NumPy arrays or pandas columns, and tell them from targets."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

# Kinds of NumPy types of checked labels: booleans, whole numbers, real numbers, text.
KINDS = "biufU"
# NumPy's scalars that Python has a type for.
SCALARS = (np.bool_, np.integer, np.floating, np.str_)
# Classes that a message shows; up to so many it shows all of them.
SHOWN, ALL_SHOWN = 4, 16
# Real numbers that are labels occur this many times each, on average; targets mostly occur once.
REPEATS = 4


def is_regression(y: object) -> bool:
    """Return whether y holds targets of a regression: floating-point numbers, in one column or several.

    Whole numbers, booleans and text are labels of classes. The type decides, not the values: classes that a file gave
    as 0.0, 1.0, … become labels by ``y.astype(int)``, and counts become targets by ``y.astype(float)``. Python objects
    are what they are: numbers among which one at least is a float are targets.

    Parameters
    ----------
    y : object
        What a user gives as labels or targets.

    Returns
    -------
    bool
        True for targets; False for labels, and for what is no array at all, which the checks of labels refuse.

    Examples
    --------
    >>> from hntk._utils.labels import is_regression
    >>> is_regression([0.5, 2.0]), is_regression([0, 2]), is_regression(["a", "b"])
    (True, False, False)
    """
    try:
        array = np.asarray(y)
    except Exception:  # An object's own conversion may raise anything.
        return False
    if array.dtype.kind != "O":
        return jnp.issubdtype(array.dtype, np.floating)
    types = {_type(item.item() if isinstance(item, SCALARS) else item) for item in array.flat if not _is_missing(item)}
    return float in types and types <= {int, float}


def label_array(labels: object, n: int | None = None, name: str = "labels") -> np.ndarray:
    """Return labels as a one-dimensional array of booleans, whole numbers, real numbers or text.

    Arrays of Python objects, which pandas gives for text, become arrays of what they hold.

    Parameters
    ----------
    labels : array of shape (n,)
        One label per sample.
    n : int, optional
        Number of samples, where it is known.
    name : str
        Name of the argument, for messages.

    Returns
    -------
    ndarray of shape (n,)
        The labels.

    Raises
    ------
    ValueError
        If labels have another shape, are missing, of mixed types, or of a type that is none of these.

    Examples
    --------
    >>> import numpy as np
    >>> from hntk._utils.labels import label_array
    >>> label_array(np.array(["cat", "dog"], dtype=object)).dtype.kind
    'U'
    """
    given = _array(labels, name)
    if given.ndim != 1 or (n is not None and given.shape != (n,)):
        wanted = "(n,)" if n is None else f"({n},)"
        raise ValueError(f"{name} must have shape {wanted}, one per row of x; got shape {given.shape}.")
    if isinstance(given, np.ma.MaskedArray):
        masked = int(np.ma.count_masked(given))
        if masked:
            raise ValueError(f"{name} are masked in {masked} of {given.size} places: drop those samples.")
        given = given.data
    if given.dtype.kind in "OT":
        given = _from_objects(given.tolist(), name)
    return _checked(given, name)


def as_labels(labels: object, n: int, *, least: int = 2) -> tuple[np.ndarray, Int[np.ndarray, " n"]]:
    """Return the sorted classes, and each sample's index in them.

    Raises
    ------
    ValueError
        If the labels do not fit (see :func:`label_array`), fewer than ``least`` classes occur, or real numbers mostly
        occur once, as targets of a regression do.
    """
    classes, index = np.unique(label_array(labels, n), return_inverse=True)
    if classes.size < least:
        raise ValueError(
            f"labels hold only one class ({classes.tolist()}): at least {least} are needed. "
            "Check how the data was subset or sorted before it was cut."
        )
    if classes.dtype.kind == "f" and not np.all(classes == np.rint(classes)) and classes.size * REPEATS > n:
        raise ValueError(
            f"labels are real numbers of {classes.size:,} different values in {n:,} samples, which are targets of a "
            "regression: give them to hntk.fit_ridge, hntk.fit_equivalent or hntk.fit_kernel; for classes give whole "
            "numbers or text."
        )
    return classes, index


def brief_list(values: object) -> str:
    """Return labels as a list for messages: all of a few, the first and the number of many."""
    array = np.asarray(values)
    if array.size <= ALL_SHOWN:
        return str(array.tolist())
    return f"[{', '.join(map(repr, array[:SHOWN].tolist()))}, …], {array.size:,} in all"


def brief_sizes(sizes: object) -> str:
    """Return the sizes of classes for messages: all of a few, the smallest and largest of many."""
    counts = np.asarray(sizes)
    if counts.size <= ALL_SHOWN:
        return f"class sizes are {counts.tolist()}"
    return f"{counts.size:,} classes have {counts.min():,} to {counts.max():,} samples each"


def accuracy_score(predicted: np.ndarray, labels: object) -> float:
    """Return the share of predictions that equal the labels.

    Raises
    ------
    ValueError
        If there is not one label per prediction, or text is compared with numbers, which never are equal.
    """
    given = label_array(labels, predicted.size)
    if (predicted.dtype.kind == "U") != (given.dtype.kind == "U"):
        raise ValueError(
            f"labels are of the type {given.dtype} but predictions are of {predicted.dtype}, such as "
            f"{predicted[:3].tolist()}: give labels of the type that the classifier was fitted on."
        )
    return float(np.mean(predicted == given))


def _array(labels: object, name: str) -> np.ndarray:
    if isinstance(labels, np.ma.MaskedArray):
        return labels
    if isinstance(labels, list | tuple) and any(isinstance(label, str | bytes) for label in labels):
        # NumPy would turn the numbers of a mixed list into text.
        made = np.empty(len(labels), dtype=object)
        made[:] = labels
        return made
    try:
        return np.asarray(labels)
    except ValueError as error:
        raise ValueError(f"{name} must be one label per row of x: {error}.") from error


def _from_objects(items: list, name: str) -> np.ndarray:
    """Return an array of the one type that all objects have."""
    plain: list[Any] = [item.item() if isinstance(item, SCALARS) else item for item in items]
    missing = sum(map(_is_missing, plain))
    if missing:
        raise ValueError(f"{name} are missing (None or NaN) in {missing} of {len(items)} places: drop those samples.")
    types = {_type(item) for item in plain}
    if types == {int, float}:
        types = {float}
    if len(types) > 1:
        names = ", ".join(sorted(t.__name__ for t in types))
        raise ValueError(
            f"{name} mix the types {names}: make them one type, for instance with [str(y) for y in {name}]."
        )
    (kind,) = types or {float}
    if kind is str:
        return _text(plain, name)
    if kind is int:
        return _whole(plain, name)
    if kind in (bool, float):
        return np.array(plain, dtype=kind)
    raise ValueError(f"{name} are of the type {kind.__name__}: {_remedy(name)}.")


def _is_missing(item: object) -> bool:
    return item is None or type(item).__name__ in ("NAType", "NaTType") or (isinstance(item, float) and item != item)


def _type(item: object) -> type:
    """Return the type of a label; for a subclass, such as an enumeration of text, the type it extends."""
    return next((known for known in (bool, int, float, str) if isinstance(item, known)), type(item))


def _text(items: list[str], name: str) -> np.ndarray:
    made = np.array([str.__str__(item) for item in items])
    if made.tolist() != items:
        raise ValueError(f"{name} end in NUL characters, which NumPy drops: strip them with y.rstrip('\\0').")
    return made


def _whole(items: list[int], name: str) -> np.ndarray:
    least, most = min(items), max(items)
    if least >= -(2**63) and most < 2**63:
        return np.array(items, dtype=np.int64)
    if least >= 0 and most < 2**64:
        return np.array(items, dtype=np.uint64)
    raise ValueError(f"{name} are whole numbers beyond 64 bits, such as {least if least < 0 else most}: "
                     "give text, with [str(y) for y in labels], or smaller numbers.")  # fmt: skip


def _checked(given: np.ndarray, name: str) -> np.ndarray:
    if given.dtype.kind not in KINDS:
        raise ValueError(f"{name} are of the type {given.dtype}: {_remedy(name)}.")
    if given.dtype.kind == "f":
        if not np.all(np.isfinite(given)):
            raise ValueError(f"{name} contain NaN or infinite values: drop those samples.")
        if given.dtype.itemsize > 8:
            given = given.astype(np.float64)
    if given.dtype.kind == "U":
        _check_unicode(given, name)
    return given.astype(given.dtype.newbyteorder("="), copy=False)


def _check_unicode(given: np.ndarray, name: str) -> None:
    for label in np.unique(given).tolist():
        try:
            label.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{name} hold {label!r:.60}, which is no Unicode text (half a surrogate pair): read the file they come "
                "from in its own encoding."
            ) from error


def _remedy(name: str) -> str:
    return (
        f"use whole numbers, real numbers, booleans or text, for instance np.asarray({name}).astype(str), or "
        f"np.char.decode({name}) for bytes"
    )
