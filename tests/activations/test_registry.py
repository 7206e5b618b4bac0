"""Activations by name, from functions, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk.activations import registry
from hntk.activations.fingerprint import fingerprint
from hntk.activations.polynomial import Polynomial
from hntk.activations.rectifier import Rectifier


@pytest.fixture
def own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the names that a test registers."""
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(ValueError, match="relu.*Did you mean 'relu'"):
        hntk.activation("rellu")
    with pytest.raises(ValueError, match="exists already"):
        hntk.register_activation("relu", jnp.tanh)


@pytest.mark.usefixtures("own_names")
def test_a_registered_function_is_known_by_its_name() -> None:
    made = hntk.register_activation("kinked", lambda t: jnp.maximum(t, 0.5), [0.5])
    assert hntk.activation("kinked") is made
    assert made.breakpoints == (0.5,)
    assert "kinked" in hntk.activation_names()


def test_an_activation_is_returned_as_it_is() -> None:
    relu = hntk.activation("relu")
    assert hntk.activation(relu) is relu
    assert hntk.activation("tanh") is hntk.activation("tanh")


@pytest.mark.parametrize(
    "function",
    [
        lambda t: jnp.clip(t, -1, 1), lambda t: jnp.sign(t) * jnp.clip(jnp.abs(t) - 0.5, 0, 1), jax.nn.relu,
        lambda t: jnp.abs(t) - 1, lambda t: jnp.where(t > 0.3, 1.0, 0.0),
    ],
    ids=["hard tanh", "clipped soft threshold", "relu", "abs", "step"],
)  # fmt: skip
def test_kinks_that_are_not_declared_are_noticed(function: Callable) -> None:
    """In the moments of odd functions they cancel, but not in that of the square."""
    with pytest.raises(ValueError, match="breakpoints="):
        hntk.activation(function)


@pytest.mark.parametrize("function", [jnp.tanh, lambda t: t**3 - t, lambda t: 0 * t, lambda t: 1e6 + jnp.sin(t)])
def test_smooth_functions_need_no_breakpoints(function: Callable) -> None:
    assert not hntk.activation(function).breakpoints


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3,), {}, "must be a name, a function"),
        (("relu",), {"breakpoints": [0.0]}, "knows its own"),
        (("relu",), {"slope": 0.1}, "do not fit the activation 'relu'"),
        (("polynomial",), {}, "do not fit"),
        ((jnp.tanh,), {"slope": 0.1}, "takes no parameters"),
        ((jnp.tanh,), {"breakpoints": [[0.0]]}, "list of numbers"),
        ((jnp.tanh,), {"breakpoints": [np.nan]}, "finite"),
        ((lambda t: jnp.sum(t),), {}, "finite values of the input's shape|calling it failed"),
        ((lambda t: "text",), {}, "calling it failed"),
        ((lambda t: 1 / t,), {"breakpoints": [0.0, 1.0, 2.0], "name": "pole"}, "got NaN or infinite values"),
    ],
)
def test_what_makes_no_activation_is_refused(arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hntk.activation(*arguments, **options)


@pytest.mark.parametrize(("name", "function"), [("", jnp.tanh), (3, jnp.tanh), ("own", "tanh")])
def test_what_cannot_be_registered_is_refused(name: object, function: object) -> None:
    with pytest.raises(ValueError, match="must"):
        hntk.register_activation(name, function)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["relu", "cos", "sin", "erf", "gaussian", "quadratic", "sign"])
def test_closed_forms_are_made_again_from_their_parameters(name: str) -> None:
    layer = hntk.activation(name)
    assert layer.parameters is not None
    assert type(layer)(**layer.parameters) == layer
    assert fingerprint(layer) == fingerprint(type(layer)(**layer.parameters))


def test_functions_have_no_parameters_but_their_values_tell_them_apart() -> None:
    tanh, gelu = hntk.activation("tanh"), hntk.activation("gelu")
    assert tanh.parameters is None
    assert fingerprint(tanh) != fingerprint(gelu)
    assert fingerprint(tanh) == fingerprint(hntk.activation(lambda t: jnp.tanh(t), name="tanh"))


def test_fingerprints_are_those_that_stored_kernels_bear() -> None:
    # text of releases before; another text would make stored kernels unusable
    assert fingerprint(hntk.activation("relu")) == "Rectifier(odd=0.5, even=0.5, name='relu')"
    layer = hntk.staircase([0.5], [0, 2], "two")
    assert fingerprint(layer) == "Staircase(thresholds=(0.5,), levels=(0.0, 2.0), name='two')"


def test_a_class_of_the_users_own_is_told_from_its_base() -> None:
    class Halved(Rectifier):
        def __call__(self, t):  # noqa: ANN001, ANN204
            return super().__call__(t) / 2

    assert "Halved" in fingerprint(Halved(0.5, 0.5, "relu"))
    assert fingerprint(Halved(0.5, 0.5, "relu")) != fingerprint(hntk.activation("relu"))


@pytest.mark.parametrize("coefficients", [[], [np.nan], [[1.0]]])
def test_polynomials_need_coefficients(coefficients: list) -> None:
    with pytest.raises(ValueError, match="coefficients"):
        Polynomial(tuple(coefficients))


def test_moments_that_overflow_are_refused() -> None:
    with pytest.raises(ValueError, match="overflow at the scale tau = 1e\\+200"):
        hntk.activation("quadratic").moments(1e200)
    with pytest.raises(ValueError, match="rescale the data"):
        hntk.activation("gaussian").moments(1e200)
