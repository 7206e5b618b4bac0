"""What a training minimises, and how good scores are on validation samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float, Int

from hntk.readouts.softmax import cross_entropy
from hntk.training.few_level_layers import (
    FewLevelLayer,
    Parameters,
    SumStatistics,
    forward,
    with_cuts,
    with_followed_cuts,
)

# Augmented pixels are whole again, and stay in their range.
BRIGHTEST = 255.0


@dataclass(frozen=True)
class Objective:
    """Loss and validation of few-level networks; equal objectives share their compiled programs.

    Attributes
    ----------
    layers : tuple of FewLevelLayer
        What is fixed about each layer.
    classes : bool
        Whether targets are class indices; standardised numbers else.
    weight, temperature : float
        Share of the loss that follows the teacher, and the temperature of both softmaxes in it.
    inputs : callable or None
        Turns raw samples into whole numbers, where they are augmented and that happens in every step.
    augment : callable or None
        Maps (key, images of shape (batch, H, W) with values from 0 to 255) to such images; or (key, rows of whole
        numbers, limits) to such rows.
    limits : pair of float or None
        Least and largest whole number of a sample that is no image; None for images.
    teacher : callable or None
        Maps raw samples to (batch, K) logits, where they are not known beforehand.
    shape : tuple of int or None
        Height and width of an image.
    """

    layers: tuple[FewLevelLayer, ...]
    classes: bool
    weight: float = 0.0
    temperature: float = 1.0
    inputs: Callable | None = None
    augment: Callable | None = None
    teacher: Callable | None = None
    shape: tuple[int, int] | None = None
    limits: tuple[float, float] | None = None

    def take(self, samples: Sequence[Array], rows: Int[Array, " batch"], key: Array) -> tuple[Array, ...]:
        """Return whole numbers, targets and, with a teacher, logits of a batch.

        Parameters
        ----------
        samples : sequence of array
            Raw samples if they are augmented or shown to a teacher, their whole numbers else; targets; and logits
            where they are known.
        rows : (batch,) array of int
            Samples of the batch.
        key : jax.Array
            Random key of the augmentation.

        Returns
        -------
        tuple of arrays
            The parts of the batch, as :meth:`loss` takes them.
        """
        x, *rest = (part[rows] for part in samples)
        x = x.astype(jnp.float32)
        if self.augment is not None:
            x = self._augmented(key, x)
        logits = () if self.teacher is None else (self.teacher(x),)
        return (x if self.inputs is None else self.inputs(x), *rest, *logits)

    def _augmented(self, key: Array, x: Float[Array, "batch p"]) -> Float[Array, "batch p"]:
        assert self.augment is not None
        if self.limits is not None:
            return jnp.clip(jnp.round(self.augment(key, x, self.limits)), *self.limits)
        images = x if self.shape is None else x.reshape(-1, *self.shape)
        return jnp.clip(jnp.round(self.augment(key, images)), 0.0, BRIGHTEST).reshape(x.shape)

    def forward(
        self, parameters: Parameters, x: Float[Array, "n p"], statistics: Sequence[SumStatistics] | None = None
    ) -> tuple[Float[Array, "n K"], tuple[SumStatistics, ...]]:
        """Return scores and the statistics of each layer's sums, see :func:`few_level_layers.forward`."""
        return forward(parameters, self.layers, x, statistics)

    def loss(
        self, parameters: Parameters, x: Float[Array, "batch d"], targets: Array, logits: Array | None = None
    ) -> Array:
        """Return the loss of a batch.

        That is the cross-entropy, or the mean squared error of standardised targets. With a teacher it is the mean of
        that and of the teacher's term, weighted 1 − w and w: T² KL(softmax(teacher/T) ‖ softmax(scores/T)) (Hinton et
        al., 2015), or the squared distance to the teacher's outputs.
        """
        scores, _ = self.forward(parameters, x)
        own = cross_entropy(scores, targets) if self.classes else jnp.mean(jnp.square(scores - targets))
        if logits is None:
            return own
        return (1 - self.weight) * own + self.weight * self._distance(scores, jax.lax.stop_gradient(logits))

    def _distance(self, scores: Float[Array, "batch K"], logits: Float[Array, "batch K"]) -> Array:
        if not self.classes:
            return jnp.mean(jnp.square(scores - logits))
        t = self.temperature
        told = jax.nn.softmax(logits / t)
        return t * t * jnp.mean(optax.losses.kl_divergence(jax.nn.log_softmax(scores / t), told))

    def follow(self, parameters: Parameters, rate: Array) -> Parameters:
        """Return parameters after a step of a learning rate, whose cuts follow the weights."""
        return with_followed_cuts(parameters, self.layers, rate)

    def settle(self, parameters: Parameters) -> Parameters:
        """Return parameters after an epoch, whose cuts are those of the program that they would be folded into."""
        return with_cuts(parameters, self.layers)

    def statistics(self, parameters: Parameters, x: Array) -> tuple[SumStatistics, ...]:
        """Return the statistics of the sums of each layer over whole samples."""
        return self.forward(parameters, x.astype(jnp.float32))[1]

    def goodness(self, parameters: Parameters, statistics: Any, x: Array, targets: Array) -> Array:
        """Return the number of samples that are classified right, or minus the sum of squared errors."""
        scores, _ = self.forward(parameters, x.astype(jnp.float32), statistics)
        if self.classes:
            return jnp.sum(jnp.argmax(scores, axis=1) == targets)
        return -jnp.sum(jnp.square(scores - targets))
