"""Activations that frameworks have and the registry has not, as JAX functions that compare by their parameters."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array


@dataclass(frozen=True)
class Elu:
    """The function scale · t above 0 and scale · alpha · (exp t − 1) below: ELU, and SELU with its two numbers."""

    alpha: float = 1.0
    scale: float = 1.0

    def __call__(self, t: Array) -> Array:
        """Apply it elementwise."""
        below = self.alpha * jnp.expm1(jnp.minimum(t, 0))
        return self.scale * jnp.where(t > 0, t, below)


@dataclass(frozen=True)
class Celu:
    """The function t above 0 and alpha · (exp(t/alpha) − 1) below."""

    alpha: float

    def __call__(self, t: Array) -> Array:
        """Apply it elementwise."""
        return jnp.where(t > 0, t, self.alpha * jnp.expm1(jnp.minimum(t, 0) / self.alpha))


@dataclass(frozen=True)
class Ramp:
    """The function slope · t + offset, cut at low and high: hardtanh, ReLU6, hard sigmoid."""

    slope: float
    offset: float
    low: float
    high: float

    @property
    def breakpoints(self) -> tuple[float, float]:
        """The points where it begins and ends to be constant."""
        return (self.low - self.offset) / self.slope, (self.high - self.offset) / self.slope

    def __call__(self, t: Array) -> Array:
        """Apply it elementwise."""
        return jnp.clip(self.slope * t + self.offset, self.low, self.high)


@dataclass(frozen=True)
class SoftPlus:
    """The function log(1 + exp(beta · t))/beta."""

    beta: float

    def __call__(self, t: Array) -> Array:
        """Apply it elementwise."""
        return jax.nn.softplus(self.beta * t) / self.beta


@dataclass(frozen=True)
class SoftShrink:
    """The function t moved towards 0 by a number, and 0 within it."""

    size: float

    def __call__(self, t: Array) -> Array:
        """Apply it elementwise."""
        return t - jnp.clip(t, -self.size, self.size)


def gelu_tanh(t: Array) -> Array:
    """Return GELU's approximation by tanh, elementwise."""
    return jax.nn.gelu(t, approximate=True)


def quick_gelu(t: Array) -> Array:
    """Return t · sigmoid(1.702 t), elementwise."""
    return t * jax.nn.sigmoid(1.702 * t)


def mish(t: Array) -> Array:
    """Return t · tanh(log(1 + exp t)), elementwise."""
    return t * jnp.tanh(jax.nn.softplus(t))


def hard_swish(t: Array) -> Array:
    """Return t · ReLU6(t + 3)/6, elementwise."""
    return t * jnp.clip(t / 6 + 0.5, 0, 1)


def softsign(t: Array) -> Array:
    """Return t/(1 + |t|), elementwise."""
    return t / (1 + jnp.abs(t))


def log_sigmoid(t: Array) -> Array:
    """Return −log(1 + exp(−t)), elementwise."""
    return -jax.nn.softplus(-t)


def tanhshrink(t: Array) -> Array:
    """Return t − tanh t, elementwise."""
    return t - jnp.tanh(t)
