"""What exact kernels are computed of: samples, and a network of infinite width, both checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.arguments import as_diagonal, as_scale
from hntk._utils.arrays import check_result
from hntk._utils.pytree import is_traced, known_numbers
from hntk._utils.rows import as_samples, rms_norm
from hntk.activations.surrogates import Surrogate, as_surrogates
from hntk.kernels.recursion import Recursion, SampleSet, centring_constants
from hntk.kernels.tiling import Target, fill
from hntk.theory.architecture import Architecture, ArchitectureLike, as_architecture
from hntk.theory.coefficients import centres_at
from hntk.theory.expansion import input_scales


class Kernels(NamedTuple):
    """A conjugate kernel and a neural tangent kernel.

    Attributes
    ----------
    ck : Array
        The conjugate kernel, (n, n), or (n, m) between two sets of samples.
    ntk : Array
        The neural tangent kernel, of the same shape.
    """

    ck: Float[Array, "n m"]
    ntk: Float[Array, "n m"]

    def __repr__(self) -> str:
        return f"Kernels(ck and ntk: {self.ck.dtype} of shape {self.ck.shape})"


@dataclass(frozen=True, eq=False)
class KernelProblem:
    """Samples and a network of infinite width whose kernels are wanted.

    Attributes
    ----------
    x : Array
        (n, p) samples in JAX's precision.
    x2 : Array or None
        (m, p) further samples; None stands for ``x`` itself.
    network : Architecture
        The network.
    centres : tuple of float or Array
        What is subtracted from each activation.
    kappa_sq : float or None
        The NTK's diagonal where it is declared.
    surrogates : tuple of Surrogate or None
        What stands for the derivatives of staircases in the NTK, with None for layers that keep their own. Widths are
        absolute.
    """

    x: Float[Array, "n p"]
    x2: Float[Array, "m p"] | None
    network: Architecture
    centres: tuple[float, ...] | Float[Array, " depth"]
    kappa_sq: float | None
    surrogates: tuple[Surrogate | None, ...]

    @classmethod
    def of(
        cls,
        x: object,
        activations: ArchitectureLike,
        x2: object | None,
        tau0: float | None,
        kappa_sq: float | None,
        surrogate: Any = None,
    ) -> KernelProblem:
        """Check samples and settings.

        Parameters
        ----------
        x, activations, x2, tau0, kappa_sq, surrogate : object
            Arguments of :func:`hntk.exact_kernels`.

        Returns
        -------
        KernelProblem
            The problem.

        Raises
        ------
        ValueError
            If samples or settings do not fit.
        """
        first = as_samples(x, "x")
        second = None if x2 is None else as_samples(x2, "x2")
        if second is not None and second.shape[1] != first.shape[1]:
            raise ValueError(
                f"x and x2 must have the same number of columns, got {first.shape[1]} and {second.shape[1]}."
            )
        # activations are integrated over by numbers that are known, inside a traced function too
        with known_numbers():
            network, diagonal = as_architecture(activations), as_diagonal(kappa_sq)
            scale = None if tau0 is None else as_scale(tau0)
            if scale is None and not is_traced(first):
                scale = rms_norm(first)
            centres = None if scale is None else centres_at(network, scale)
            surrogates = _absolute(as_surrogates(surrogate, network.layers), network, scale)
        dtype = jnp.result_type(float)
        first, second = first.astype(dtype), None if second is None else second.astype(dtype)
        if scale is None or centres is None:
            centres = centring_constants(network, jnp.mean(jnp.sum(first * first, axis=1)))
        else:
            _check_precision(scale, dtype)
        return cls(first, second, network, centres, diagonal, surrogates)

    @property
    def traced(self) -> bool:
        """Whether samples are values that JAX is tracing."""
        return is_traced(self.x, self.x2)

    @property
    def same(self) -> bool:
        """Whether both sides are the same samples."""
        return self.x2 is None

    @property
    def symmetric(self) -> bool:
        """Whether the kernels are symmetric: both sides are the same samples, and nothing has a surrogate."""
        return self.same and not any(self.surrogates)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the kernels."""
        return self.x.shape[0], (self.x if self.x2 is None else self.x2).shape[0]

    @property
    def dtype(self) -> np.dtype:
        """Precision of the kernels."""
        return np.dtype(self.x.dtype)

    @property
    def side_bytes(self) -> int:
        """Memory that is taken by what is kept of every sample, beside the kernels."""
        one = jax.eval_shape(self.recursion.samples, jax.ShapeDtypeStruct((1, self.x.shape[1]), self.x.dtype))
        each = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(one))
        return each * (self.shape[0] + (0 if self.x2 is None else self.shape[1]))

    @cached_property
    def recursion(self) -> Recursion:
        """The network's recursion."""
        return Recursion(self.network, self.centres, self.surrogates)

    def samples(self, x: Array) -> SampleSet:
        """Return what the recursion needs to know of samples, with the NTK's diagonal that is declared."""
        known = self.recursion.samples(x)
        return known if self.kappa_sq is None else known._replace(ntk=jnp.full_like(known.ntk, self.kappa_sq))

    def checked_samples(self, x: Array) -> SampleSet:
        """Return what the recursion needs to know of samples, in memory or on several devices.

        Parameters
        ----------
        x : Array
            (n, p) samples.

        Returns
        -------
        SampleSet
            What it needs to know.

        Raises
        ------
        ValueError
            If a layer's variances are beyond the precision, or an implicit network does not settle.
        """
        known = self.samples(x)
        if self.network.implicit:
            _check_settled(self.network, known)
        check_result(known.ck, "the conjugate kernel's diagonal")
        if self.network.is_plain:
            return known
        for depth, variance in enumerate([*known.variances, known.ck], start=1):
            if not np.max(variance) > jnp.finfo(self.dtype).tiny:
                raise ValueError(
                    f"the input of layer {depth} vanishes in {self.dtype.name}: bring weight_std nearer to 1, or x to "
                    "norms about 1."
                )
        return known

    def matrices(self) -> Kernels:
        """Return the kernels as a function of the samples that JAX can transform."""
        second = None if self.x2 is None else self.samples(self.x2)
        whole = self.recursion.matrix(self.samples(self.x), second)
        return Kernels(whole.ck, whole.ntk)

    def fill(self, target: Target, bands: Sequence[int], done: Callable[[int], None] | None) -> None:
        """Compute some rows of tiles; ``done`` is called with the first row of each that is complete."""
        first = self.checked_samples(self.x)
        second = first if self.x2 is None else self.checked_samples(self.x2)
        fill(self.recursion, first, second, target, bands, done)


def _check_settled(network: Architecture, known: SampleSet) -> None:
    """Refuse samples at which the iteration of an implicit network does not contract."""
    (layer,), (scale,) = network.layers, network.scales
    remaining = scale.weight_std**2 * np.asarray(layer.slope_map(jnp.asarray(known.variances[0])))
    if not np.all(remaining < 1):
        worst = int(np.argmin(remaining < 1))
        raise ValueError(
            f"{network!r} does not settle at the norm {float(jnp.linalg.norm(known.x[worst])):.6g} of sample {worst}, "
            "as its iteration does not contract there: give a smaller weight_std, or leave such samples out."
        )


def _absolute(
    surrogates: tuple[Surrogate | None, ...], network: Architecture, tau0: float | None
) -> tuple[Surrogate | None, ...]:
    """Return the surrogates with widths that are not relative to the layers' scales."""
    if not any(each is not None and each.relative for each in surrogates):
        return surrogates
    if tau0 is None:
        raise ValueError(
            "the width of a surrogate is relative to the data's scale: give tau0= where samples are traced."
        )
    scales = input_scales(network, tau0)
    return tuple(None if each is None else each.at(tau) for each, tau in zip(surrogates, scales, strict=True))


def _check_precision(tau0: float, dtype: np.dtype) -> None:
    """Refuse scales whose fourth powers leave the precision: kernels would be 0, or infinite."""
    least, most = (float(bound) ** 0.25 for bound in (jnp.finfo(dtype).tiny, jnp.finfo(dtype).max))
    if not least < tau0 < most:
        raise ValueError(
            f"the data's scale tau0 = {tau0:.3g} is beyond what {np.dtype(dtype).name} holds the powers of: rescale x "
            "to norms about 1."
        )
