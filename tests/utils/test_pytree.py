"""Dataclasses that are pytrees, and packages that an extra brings."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from hntk._utils.extras import import_extra
from hntk._utils.pytree import array_dataclass, is_traced


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


@dataclass(frozen=True)
class Plain:
    """An ordinary dataclass: it compares its fields, which arrays cannot, and prints all numbers."""

    values: np.ndarray | Array
    note: str | None = field(default=None, kw_only=True)


@array_dataclass(static=("name",))
class Named(Plain):
    name: str


@array_dataclass()
class Scaled(Named):
    scale: float = 1.0


def test_subclasses_of_ordinary_dataclasses_compare_by_identity_and_keep_static_fields() -> None:
    one, other = Named(np.ones(3), "a"), Named(np.ones(3), "a")
    assert one == one
    assert one != other
    assert len({one, other}) == 2
    leaves, structure = jax.tree.flatten(Scaled(np.ones(3), "a", 2.0))
    assert [np.ndim(leaf) for leaf in leaves] == [1, 0]
    again = jax.tree.unflatten(structure, leaves)
    assert (type(again), again.name, again.note, again.scale) == (Scaled, "a", None, 2.0)


def test_a_repr_tells_shapes_of_large_arrays_and_numbers_of_small_ones() -> None:
    assert repr(Named(np.ones((30, 4), np.float32), "a")) == "Named(values=float32[30, 4], note=None, name='a')"
    assert repr(Scaled(np.array([1, 2]), "a")) == "Scaled(values=[1, 2], note=None, name='a', scale=1.0)"
    long = repr(Scaled(np.ones(9), "a" * 500, note="b" * 60))
    assert len(long.splitlines()) == 6
    assert max(map(len, long.splitlines())) < 100
    shown = []
    jax.jit(lambda power: shown.append(repr(power)) or power)(Power(jnp.asarray(3.0), 2))
    assert shown == ["Power(scale=float64[], power=2)"]
    assert repr(Named(jax.random.key(0), "a")) == "Named(values=key<fry>[], note=None, name='a')"


@array_dataclass()
class Told:
    values: np.ndarray | Array

    def __repr__(self) -> str:
        return "told"


@array_dataclass()
class ToldMore(Told):
    more: float


def test_a_repr_of_its_own_is_kept_and_inherited() -> None:
    assert [repr(Told(np.ones(3))), repr(ToldMore(np.ones(3), 1.0))] == ["told", "told"]


def test_a_static_field_must_be_there() -> None:
    with pytest.raises(TypeError, match=r"Wrong has no fields \['b'\] to be static; it has a"):

        @array_dataclass(static=("b",))
        class Wrong:
            a: Array


def test_a_missing_extra_is_named() -> None:
    with pytest.raises(ImportError, match=r"Drawing needs no_such_module: python -m pip install 'hntk\[plot\]'"):
        import_extra("no_such_module.part", "plot", "Drawing")
    assert import_extra("json", "plot", "Drawing").dumps(1) == "1"


@array_dataclass(static=("labels", "notes"))
class Labelled:
    values: Array
    labels: np.ndarray
    notes: list


def test_static_arrays_compare_by_content_and_other_values_without_hash_by_identity() -> None:
    notes: list = []
    structures = [
        jax.tree.structure(Labelled(jnp.zeros(2), np.array(labels), held))
        for labels, held in ((["a", "b"], notes), (["a", "b"], notes), (["a", "c"], notes), (["a", "b"], []), ([1], []))
    ]
    assert structures[0] == structures[1]
    assert hash(structures[0]) == hash(structures[1])
    assert all(structures[0] != other for other in structures[2:])
    assert (
        jax.jit(lambda made: made.values + len(made.labels))(Labelled(jnp.ones(1), np.array(["ab"]), notes)).size == 1
    )


def test_tracers_are_told_from_numbers() -> None:
    seen = []
    jax.jit(lambda x: seen.append((is_traced(x), is_traced({"a": (1, x)}), is_traced(np.ones(2), None))))(1.0)
    assert seen == [(True, True, False)]
    assert not is_traced(jnp.ones(2), "text", None)
