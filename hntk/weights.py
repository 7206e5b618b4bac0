r"""Laws of the weights: i.i.d., mean 0, variance 1, finite fourth moment.

The kernels' limits depend on nothing else of the law; at finite width the fourth moment sets how fast they are
reached. Ternary weights are $\{0, \pm1\}/\sqrt{1-\varepsilon}$ with $P(0) = \varepsilon$.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


@dataclass(frozen=True)
class WeightMatrix:
    """A drawn matrix as what has to be stored: ``scale * values``.

    Attributes
    ----------
    values : (outputs, inputs); float32, or int8 for laws with values in {0, ±1}.
    scale : the factor that makes the variance 1.
    """

    values: Array
    scale: float = 1.0

    def dense(self, dtype: jnp.dtype = jnp.float32) -> Float[Array, "outputs inputs"]:
        """The matrix of variance 1."""
        return self.values.astype(dtype) * jnp.asarray(self.scale, dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """(outputs, inputs)."""
        return self.values.shape


@dataclass(frozen=True)
class WeightLaw:
    """A law of weights by name.

    Attributes
    ----------
    name : ``"gaussian"``, ``"ternary"``, ``"student_t"`` or ``"bernoulli"`` (±1).
    sparsity : ε = P(0) of the ternary law, in [0, 1).
    degrees : degrees of freedom of Student's t, above 4 so that the fourth moment is finite.
    """

    name: str = "gaussian"
    sparsity: float = 0.5
    degrees: float = 5.0

    def __post_init__(self) -> None:
        if self.name not in _DRAW:
            raise ValueError(f"unknown weight law {self.name!r}; known are {', '.join(sorted(_DRAW))}.")
        if self.name == "ternary" and not 0.0 <= self.sparsity < 1.0:
            raise ValueError(f"sparsity is the share of zeros and must lie in [0, 1), got {self.sparsity!r}.")
        if self.name == "student_t" and not self.degrees > 4.0:
            raise ValueError(
                f"Student's t has a finite fourth moment, which the theory needs, only above 4 degrees of freedom; "
                f"got {self.degrees!r}."
            )

    @property
    def fourth_moment(self) -> float:
        """E[W⁴] at E[W²] = 1: it sets the error at finite width."""
        nu = self.degrees
        return {
            "gaussian": 3.0,
            "bernoulli": 1.0,
            "ternary": 1.0 / (1.0 - self.sparsity),
            "student_t": 3.0 * (nu - 2.0) / (nu - 4.0),
        }[self.name]

    def draw(self, key: Array, shape: tuple[int, int]) -> WeightMatrix:
        """An i.i.d. matrix of the given (outputs, inputs)."""
        return _DRAW[self.name](self, key, shape)


def _gaussian(law: WeightLaw, key: Array, shape: tuple[int, int]) -> WeightMatrix:
    return WeightMatrix(jax.random.normal(key, shape, dtype=jnp.float32))


def _student_t(law: WeightLaw, key: Array, shape: tuple[int, int]) -> WeightMatrix:
    return WeightMatrix(jax.random.t(key, law.degrees, shape, dtype=jnp.float32), sqrt(1 - 2 / law.degrees))


def _bernoulli(law: WeightLaw, key: Array, shape: tuple[int, int]) -> WeightMatrix:
    return WeightMatrix(jax.random.rademacher(key, shape, dtype=jnp.int8))


def _ternary(law: WeightLaw, key: Array, shape: tuple[int, int]) -> WeightMatrix:
    sign, mask = jax.random.split(key)
    kept = jax.random.bernoulli(mask, 1.0 - law.sparsity, shape)
    values = jax.random.rademacher(sign, shape, dtype=jnp.int8) * kept.astype(jnp.int8)
    return WeightMatrix(values, 1 / sqrt(1 - law.sparsity))


_DRAW = {"gaussian": _gaussian, "student_t": _student_t, "bernoulli": _bernoulli, "ternary": _ternary}


def weight_law(law: str | WeightLaw, **parameters: float) -> WeightLaw:
    """A law by name, with its parameters; a law is returned as it is.

    Raises
    ------
    ValueError
        For an unknown name or a parameter out of range.
    """
    return law if isinstance(law, WeightLaw) else WeightLaw(law, **parameters)
