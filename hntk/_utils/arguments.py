"""Check settings, such as counts, numbers, shares, widths, keys and paths; every message says what to do."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hntk._utils.arrays import brief, real_array


def as_count(value: object, name: str, least: int = 1, most: int | None = None) -> int:
    """Return a whole number from ``least`` to ``most`` as an int.

    Raises
    ------
    ValueError
        If it is anything else: 2.5 is not cut to 2, and True is no number.
    """
    number = _whole(value)
    if number is None or number < least or (most is not None and number > most):
        open_ended = "a positive whole number" if least == 1 else f"a whole number of at least {least}"
        wanted = open_ended if most is None else f"a whole number from {least} to {most}"
        raise ValueError(f"{name} must be {wanted}, got {brief(value)}.")
    return number


def _is_bool(value: object) -> bool:
    return isinstance(value, bool | np.bool_) or getattr(getattr(value, "dtype", None), "kind", "") == "b"


def _whole(value: Any) -> int | None:
    if _is_bool(value):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def as_number(value: Any) -> float:
    """Return a real number as a float; NaN for everything else, so that every comparison fails."""
    if isinstance(value, str | bytes | list | tuple | dict) or value is np.ma.masked:
        return math.nan
    if _is_bool(value) or np.ndim(value) or np.iscomplexobj(value):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def as_finite(value: object, name: str, what: str = "") -> float:
    """Return a finite real number as a float, see :func:`as_positive`.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    return _number(value, name, "a finite number", what, lambda _: True)


def as_positive(value: object, name: str, what: str = "") -> float:
    """Return a finite number above 0 as a float.

    Parameters
    ----------
    value : object
        What was given.
    name : str
        Name of the argument, for the message.
    what : str
        Explanation of the argument, for the message.

    Returns
    -------
    float
        The number.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    return _number(value, name, "a positive finite number", what, lambda number: number > 0)


def as_nonnegative(value: object, name: str, what: str = "") -> float:
    """Return a finite number of at least 0 as a float, see :func:`as_positive`.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    return _number(value, name, "a non-negative finite number", what, lambda number: number >= 0)


def as_share(value: object, name: str, what: str = "") -> float:
    """Return a number strictly between 0 and 1 as a float, see :func:`as_positive`.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    number = as_number(value)
    if not 0 < number < 1:
        raise ValueError(f"{name} must lie strictly between 0 and 1, got {brief(value)}{what and ': ' + what}.")
    return number


def _number(value: object, name: str, wanted: str, what: str, good: Callable[[float], bool]) -> float:
    number = as_number(value)
    if not (math.isfinite(number) and good(number)):
        raise ValueError(f"{name} must be {wanted}{what and f' ({what})'}, got {brief(value)}.")
    return number


def as_diagonal(kappa_sq: object) -> float | None:
    """Return the NTK's diagonal κ² where it is declared, or None.

    Raises
    ------
    ValueError
        If it is negative, not finite, or no number.
    """
    return None if kappa_sq is None else as_nonnegative(kappa_sq, "kappa_sq", "the NTK's diagonal")


def as_scale(tau0: object) -> float:
    """Return τ_0, the root mean square norm of a sample.

    Raises
    ------
    ValueError
        If it is not positive and finite.
    """
    return as_positive(tau0, "tau0", "the root mean square norm of a sample")


def as_flag(value: object, name: str) -> bool:
    """Return True or False.

    Raises
    ------
    ValueError
        If it is anything else: 0 and "no" are not taken for False.
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {brief(value)}.")
    return bool(value)


def as_choice(value: object, name: str, known: Iterable[str]) -> Any:
    """Return a name that is one of the known ones.

    Raises
    ------
    ValueError
        If it is not; the message lists them.
    """
    names = tuple(known)
    if not (isinstance(value, str) and value in names):
        raise ValueError(f"{name} must be {' or '.join(map(repr, names))}, got {brief(value)}.")
    return value


def as_widths(widths: Any, depth: int) -> tuple[int, ...]:
    """Return the widths of ``depth`` layers; one number is the width of each.

    Raises
    ------
    ValueError
        If they are not whole and positive, or not as many as there are layers.
    """
    alone = not isinstance(widths, Iterable) or (isinstance(widths, np.ndarray | Array) and widths.ndim == 0)
    refused = isinstance(widths, str | bytes | dict)
    given = [] if refused else [widths] * depth if alone else list(widths)
    whole = [width for width in map(_whole, given) if width is not None and width >= 1]
    if refused or not len(whole) == len(given) == depth:
        raise ValueError(
            f"widths must be {depth} positive integers, one per activation, or one for all of them; got "
            f"{brief(widths)}."
        )
    return tuple(whole)


def as_key(key: Any) -> Array:
    """Return one random key of ``jax.random.key``, or of the older ``jax.random.PRNGKey``, as it is.

    Raises
    ------
    ValueError
        If it is a number, several keys at once, or anything else.
    """
    remedy = "for example key=jax.random.key(0)"
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        if key.shape:
            raise ValueError(f"key must be one random key, got {key.size} of shape {key.shape}: give one of them.")
        return key
    if isinstance(key, jax.Array | np.ndarray) and key.dtype == np.uint32:
        try:
            jax.random.wrap_key_data(jnp.asarray(key))
        except (TypeError, ValueError) as error:
            raise ValueError(f"key is no random key of JAX ({error}): give one, {remedy}.") from error
        if key.ndim == 1:
            return jnp.asarray(key)
    raise ValueError(f"key must be a random key of JAX, {remedy}; got {brief(key)}.")


def as_seed(seed: object) -> int:
    """Return a whole number from 0 to 2⁶³ − 1.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    return as_count(seed, "seed", least=0, most=2**63 - 1)


def as_callback(progress: Any, name: str = "progress") -> Any:
    """Return a function, or None.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    if not (progress is None or callable(progress)):
        raise ValueError(f"{name} must be a function, or None for none; got {brief(progress)}.")
    return progress


def as_path(value: Any, name: str) -> Path:
    """Return a path.

    Raises
    ------
    ValueError
        If it is no text or path, empty, or holds NUL characters.
    """
    if not isinstance(value, str | os.PathLike) or "\0" in str(value) or not str(value):
        raise ValueError(f"{name} must be a path, got {brief(value)}.")
    return Path(value)


def as_reals(values: object, name: str, check: Callable[[object, str], float]) -> tuple[float, ...]:
    """Return a list of at least one number, each of which passes a check.

    Raises
    ------
    ValueError
        If it is no list, empty, or a number does not pass.
    """
    array = real_array(values, name)
    if array.ndim != 1:
        raise ValueError(f"{name} must be a list of numbers, got {brief(values)}.")
    if not array.size:
        raise ValueError(f"{name} is empty: give at least one number.")
    return tuple(check(value, f"every number of {name}") for value in array.tolist())


def as_instance(value: Any, name: str, kinds: type | tuple[type, ...], remedy: str) -> Any:
    """Return an instance of a class.

    Raises
    ------
    ValueError
        If it is anything else; the message gives the remedy.
    """
    if not isinstance(value, kinds):
        raise ValueError(f"{name} must be {remedy}, got {brief(value)}.")
    return value
