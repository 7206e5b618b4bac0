"""Dataclasses that are pytrees, and packages that an extra brings."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from jax import Array

from hntk._utils.extras import import_extra
from hntk._utils.pytree import array_dataclass


@array_dataclass(static=("power",))
class Power:
    """A scale and a power of it; zero is refused."""

    scale: Array
    power: int

    def __post_init__(self) -> None:
        if not self.scale.shape and self.scale == 0:
            raise ValueError("scale must not be 0.")

    def __call__(self, t: Array) -> Array:
        """Return scale · t^power."""
        return self.scale * t**self.power


def test_transformations_take_it_and_its_checks_see_no_tracers() -> None:
    made, t = Power(jnp.asarray(3.0), 2), jnp.asarray(5.0)
    assert jax.jit(lambda f, t: f(t))(made, t) == 75
    assert jax.grad(lambda f: f(t))(made).scale == 25
    several = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), made)
    assert jax.vmap(lambda f: f(t))(several).tolist() == [75, 150]
    with pytest.raises(ValueError, match="must not be 0"):
        Power(jnp.asarray(0.0), 2)


def test_static_fields_decide_what_is_compiled_again() -> None:
    traced = []

    @jax.jit
    def run(f: Power) -> Array:
        traced.append(f.power)
        return f(jnp.asarray(2.0))

    assert [float(run(Power(jnp.asarray(float(s)), p))) for s, p in ((1, 2), (2, 2), (1, 3))] == [4, 8, 8]
    assert traced == [2, 3]


def test_instances_compare_by_identity() -> None:
    one, other = Power(jnp.arange(2.0), 2), Power(jnp.arange(2.0), 2)
    assert one == one
    assert one != other
    assert len({one, other}) == 2


def test_a_static_field_must_be_there() -> None:
    with pytest.raises(TypeError, match=r"Wrong has no fields \['b'\] to be static; it has a"):

        @array_dataclass(static=("b",))
        class Wrong:
            a: Array


def test_a_missing_extra_is_named() -> None:
    with pytest.raises(ImportError, match=r"Drawing needs no_such_module: python -m pip install 'hntk\[plot\]'"):
        import_extra("no_such_module.part", "plot", "Drawing")
    assert import_extra("json", "plot", "Drawing").dumps(1) == "1"
