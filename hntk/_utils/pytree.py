"""Frozen dataclasses that hold arrays, as JAX's transformations and comparisons need them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar, dataclass_transform

import jax

Class = TypeVar("Class", bound=type)


@dataclass_transform(frozen_default=True, eq_default=False)
def array_dataclass(*, static: tuple[str, ...] = ()) -> Callable[[Class], Class]:
    """Make a class a frozen dataclass that is a pytree: ``jax.jit``, ``vmap`` and ``grad`` take its instances.

    Fields that are not named in ``static`` are the tree's children. Instances compare and hash by identity, because
    ``==`` of arrays has no truth value. Rebuilding an instance from its leaves skips ``__init__`` and
    ``__post_init__``: leaves may be tracers or placeholders, which no check of values could take.
    ``jax.tree_util.register_dataclass`` would run both.

    Parameters
    ----------
    static : tuple of str
        Fields that JAX treats as constants: hashable values, such as names, widths and activations. A function that
        is compiled by ``jax.jit`` is compiled anew when one of them changes.

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
        made = dataclass(frozen=True, eq=False)(cls)
        names = tuple(field.name for field in fields(made))
        if unknown := set(static) - set(names):
            raise TypeError(f"{cls.__name__} has no fields {sorted(unknown)} to be static; it has {', '.join(names)}.")
        _register(made, tuple(name for name in names if name not in static), static)
        return made

    return decorate


def _register(cls: type, children: tuple[str, ...], static: tuple[str, ...]) -> None:
    def flatten(instance: Any) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
        keyed = [(jax.tree_util.GetAttrKey(name), getattr(instance, name)) for name in children]
        return keyed, tuple(getattr(instance, name) for name in static)

    def unflatten(constants: tuple[Any, ...], leaves: Any) -> Any:
        instance = object.__new__(cls)
        for name, value in zip(children + static, (*leaves, *constants), strict=True):
            object.__setattr__(instance, name, value)
        return instance

    jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)
