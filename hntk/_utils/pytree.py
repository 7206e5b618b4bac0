"""Frozen dataclasses that hold arrays, as JAX's transformations, comparisons and printing need them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

Class = TypeVar("Class", bound=type)

# A repr shows this many characters of a field, and the numbers of arrays up to this size.
SHOWN_CHARACTERS = 80
SHOWN_NUMBERS = 4
# A repr longer than this has a line for each field.
LINE = 100


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field,))
def array_dataclass(*, static: tuple[str, ...] = ()) -> Callable[[Class], Class]:
    """Make a class a frozen dataclass that is a pytree: ``jax.jit``, ``vmap`` and ``grad`` take its instances.

    Fields that are not named in ``static`` are the tree's children. Instances compare and hash by identity, because
    ``==`` of arrays has no truth value; that holds for subclasses of ordinary dataclasses too. Their repr gives the
    type and shape of arrays instead of their numbers, unless the class or a base of this kind has a repr of its own.

    Rebuilding an instance from its leaves skips ``__init__`` and ``__post_init__``: leaves may be tracers or
    placeholders, which no check of values could take. ``jax.tree_util.register_dataclass`` would run both.

    Parameters
    ----------
    static : tuple of str
        Fields that JAX treats as constants, such as names, widths, labels and activations. A function that is
        compiled by ``jax.jit`` is compiled anew when one of them changes. Values that have no hash are compared by
        their contents if they are NumPy arrays, and by identity otherwise. The static fields of a base class stay
        static.

    Returns
    -------
    callable
        The decorator.

    Raises
    ------
    TypeError
        If ``static`` names no field of the class.
    """

    def decorate(cls: Class) -> Class:
        bases = [base for base in cls.__mro__[1:] if "_pytree_static" in vars(base)]
        methods: dict[str, Any] = {} if bases else {"__repr__": _short_repr}
        methods |= {"__eq__": object.__eq__, "__hash__": object.__hash__}
        for name in methods.keys() - vars(cls).keys():
            setattr(cls, name, methods[name])
        made = dataclass(frozen=True, eq=False, repr=False)(cls)
        names = tuple(each.name for each in fields(made))
        if unknown := set(static) - set(names):
            raise TypeError(f"{cls.__name__} has no fields {sorted(unknown)} to be static; it has {', '.join(names)}.")
        constants = {*static, *(name for base in bases for name in vars(base)["_pytree_static"])}
        made._pytree_static = tuple(name for name in names if name in constants)
        _register(made, tuple(name for name in names if name not in constants), made._pytree_static)
        return made

    return decorate


def _register(cls: type, children: tuple[str, ...], static: tuple[str, ...]) -> None:
    def flatten(instance: Any) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
        keyed = [(jax.tree_util.GetAttrKey(name), getattr(instance, name)) for name in children]
        return keyed, tuple(_Constant(getattr(instance, name)) for name in static)

    def unflatten(constants: tuple[Any, ...], leaves: Any) -> Any:
        instance = object.__new__(cls)
        values = (*leaves, *(constant.value for constant in constants))
        for name, value in zip(children + static, values, strict=True):
            object.__setattr__(instance, name, value)
        return instance

    jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)


class _Constant:
    """A static value with the hash and the comparison that JAX asks for."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        try:
            return hash(self.value)
        except TypeError:
            return hash(type(self.value))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Constant) or type(self.value) is not type(other.value):
            return False
        if isinstance(self.value, np.ndarray):
            return self.value.dtype == other.value.dtype and np.array_equal(self.value, other.value)
        try:
            hash(self.value)
        except TypeError:
            return self.value is other.value
        return bool(self.value == other.value)

    def __repr__(self) -> str:
        return repr(self.value)


def leafless(cls: Class) -> Class:
    """Register a class of constants as a pytree without leaves: JAX compiles anew where another instance is given."""
    jax.tree_util.register_pytree_node(cls, lambda value: ((), _Constant(value)), lambda constant, _: constant.value)
    return cls


def is_traced(*values: Any) -> bool:
    """Return whether JAX is tracing one of the values or a part of it: its numbers are not known then."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))


def known_numbers() -> AbstractContextManager:
    """Return a block that computes known numbers at once, even inside a function that JAX is tracing."""
    # outside one the block would run compiled programs operation by operation
    return jax.ensure_compile_time_eval() if is_traced(jnp.zeros(())) else nullcontext()


def _short_repr(instance: Any) -> str:
    parts = [f"{each.name}={_short(getattr(instance, each.name))}" for each in fields(instance) if each.repr]
    line = f"{type(instance).__name__}({', '.join(parts)})"
    if len(line) <= LINE:
        return line
    return f"{type(instance).__name__}(\n" + "".join(f"    {part},\n" for part in parts) + ")"


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray | jax.Array) and not (value.size <= SHOWN_NUMBERS and _is_known(value)):
        return f"{value.dtype}[{', '.join(map(str, value.shape))}]"
    text = " ".join((str(value.tolist()) if isinstance(value, np.ndarray | jax.Array) else repr(value)).split())
    text = text.replace("( ", "(").replace(", )", ")")
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"


def _is_known(value: Any) -> bool:
    """Whether an array has numbers that can be read: a tracer has none, a random key has no plain ones."""
    return not isinstance(value, Tracer) and not jnp.issubdtype(value.dtype, jax.dtypes.extended)
