r"""The recursion of the exact kernels through all layers, for a tile, a list of pairs, or a whole matrix.

With $K_0 = \Theta_0 = XX^\top$ (samples are rows) and $(u, v) \sim N(0, K_{l-1})$ for every pair of samples,

$$K_l = E[(\sigma_l(u) - m_l)(\sigma_l(v) - m_l)],\qquad
\Theta_l = K_l + \Theta_{l-1} \circ E[\sigma_l'(u)\sigma_l'(v)]$$

(Jacot et al., 2018). Weight and bias scales, normalisation and residual branches change what goes into a layer and what
comes out of it (:mod:`hntk.kernels.layer_scales`). A staircase with a surrogate φ has $E[\sigma'(u)\varphi(v)]$ in the
place of $E[\sigma'(u)\sigma'(v)]$ (:mod:`hntk.activations.straight_through`). Its Θ is not symmetric.
Implicit networks are a fixed point of one layer (:mod:`hntk.kernels.implicit`).

A pair depends on its two samples alone. What depends on one sample, such as its variance at every layer, is computed
once for each sample; a tile of pairs then passes through all layers before it is written.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Num

from hntk._utils.devices import compiled, exact_product
from hntk.activations import Staircase
from hntk.activations.base import PairMaps, Side
from hntk.activations.correlation import matched_pairs
from hntk.activations.step_function import padded_alike
from hntk.activations.surrogates import Surrogate
from hntk.kernels.implicit import fixed_pairs, fixed_samples
from hntk.kernels.layer_runs import Form, Given, Layer, Numbers, runs_of
from hntk.kernels.layer_scales import Norm, Squares, add_product, affine, behind, inputs, norm_of, squares_of
from hntk.theory.architecture import Architecture

# the kernel that a caller wants, where it wants one of them, and the names of those that it gets
Only = Literal["ck", "ntk"] | None
WANTED: dict[Only, tuple[str, ...]] = {None: ("ck", "ntk"), "ck": ("ck",), "ntk": ("ntk",)}


class Known(NamedTuple):
    """What layers need to know of each sample, which is the last axis; layers of one run are the first one.

    Attributes
    ----------
    variance : Array
        Variance of the layer's input.
    side : Side
        What the activation's :meth:`~hntk.activations.Activation.pairs` needs to know at this variance.
    deviation : Array
        Difference E[σ_l(u)] − m_l between the sample's mean and the centring constant.
    norm : Norm or None
        Normalisation of the layer's input.
    """

    variance: Float[Array, "*layers n"]
    side: Side
    deviation: Float[Array, "*layers n"]
    norm: Norm | None


class SampleSet(NamedTuple):
    """What the recursion needs to know of each sample.

    Attributes
    ----------
    x : Array
        (n, p) samples.
    layers : list of Known
        What the layers of each run need to know.
    ck, ntk : Array
        (n,) diagonals of K_L and Θ_L.
    """

    x: Float[Array, "n p"]
    layers: list[Known]
    ck: Float[Array, " n"]
    ntk: Float[Array, " n"]

    @property
    def variances(self) -> list[Float[np.ndarray, " n"]]:
        """Variance of the input of each layer, L arrays of shape (n,) in memory."""
        return [variance for known in self.layers for variance in np.asarray(known.variance)]

    def part(self, start: Array | int, size: int) -> SampleSet:
        """Return ``size`` consecutive samples from ``start`` on."""
        cut = partial(jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=size)
        return SampleSet(cut(self.x, axis=0), *jax.tree.map(partial(cut, axis=-1), self[1:]))

    def rows(self, index: Array) -> SampleSet:
        """Return the samples with these indices."""
        return SampleSet(self.x[index], *jax.tree.map(lambda a: a[..., index], self[1:]))


class Tile(NamedTuple):
    """Both kernels of some pairs, and where they are accurate (None for everywhere)."""

    ck: Float[Array, "*pairs"]
    ntk: Float[Array, "*pairs"]
    certain: Bool[Array, "*pairs"] | None = None

    def part(self, only: Only) -> Part:
        """Return the kernels that are wanted; XLA leaves out what a program does not return."""
        # on CPUs, XLA would compute all layers once for each array that a program returns
        return Part(jax.lax.complex(self.ck, self.ntk) if only is None else getattr(self, only), self.certain)


class Part(NamedTuple):
    """What programs return of a :class:`Tile`.

    Attributes
    ----------
    joined : Array
        One kernel of some pairs; or both, as the parts of complex numbers.
    certain : Array or None
        Where they are accurate; None for everywhere.
    """

    joined: Num[Array, "*pairs"]
    certain: Bool[Array, "*pairs"] | None

    @property
    def kernels(self) -> list[np.ndarray]:
        """The kernels that are wanted, in memory."""
        joined = np.asarray(self.joined)
        return [np.real(joined), np.imag(joined)] if np.iscomplexobj(joined) else [joined]


class Recursion:
    """A network's recursion; networks that differ in numbers and staircases alone share compiled programs.

    Parameters
    ----------
    net : Architecture
        The network.
    centres : sequence of float or Array
        (L,) constants that are subtracted from the activations.
    surrogates : sequence of Surrogate or None, optional
        What stands for the derivatives of staircases, with None for layers that keep their own. Widths are absolute.

    Attributes
    ----------
    form : Form
        What the compiled programs depend on.
    numbers : Numbers
        Their arguments.
    """

    def __init__(
        self,
        net: Architecture,
        centres: Sequence[float] | Array,
        surrogates: Sequence[Surrogate | None] | None = None,
    ) -> None:
        backward = (None,) * net.depth if surrogates is None else surrogates
        dtype = jnp.result_type(float)
        steps = iter(padded_alike([layer.step_function for layer in net.layers if isinstance(layer, Staircase)]))
        kinds = tuple(None if isinstance(layer, Staircase) else layer for layer in net.layers)
        shapes = tuple(None if each is None else each.shape for each in backward)
        self.form = Form(kinds, net.normalize, shapes, net.implicit)
        self.numbers = Numbers(
            [next(steps) if kind is None else None for kind in kinds],
            # numbers are rounded on the host: JAX would compile their conversion for every depth
            jnp.asarray(centres if isinstance(centres, Array) else np.asarray(centres, dtype), dtype),
            squares_of(net, dtype),
            [None if s is None else (jnp.asarray(s.width, dtype), jnp.asarray(s.height, dtype)) for s in backward],
        )

    def samples(self, x: Float[Array, "n p"]) -> SampleSet:
        """Return what the recursion needs to know of each sample."""
        return _programs(self.form).samples(self.numbers, x)

    def tile(
        self, first: SampleSet, second: SampleSet, corner: tuple[int, int], shape: tuple[int, int], only: Only = None
    ) -> Part:
        """Return consecutive rows and columns of both kernels, or of the one that is wanted."""
        return _programs(self.form).tile(self.numbers, first, second, *corner, shape, only)

    def pairs(self, first: SampleSet, second: SampleSet, i: np.ndarray, j: np.ndarray, only: Only = None) -> Part:
        """Return single pairs by the exact form of every activation's maps."""
        # gathered by another program, so that the long one is not compiled for every number of samples
        return _programs(self.form).pairs(self.numbers, rows_of(first, i), rows_of(second, j), only)

    def matrix(self, first: SampleSet, second: SampleSet | None) -> Tile:
        """Return the kernels of all pairs by exact forms, finite in every derivative; None stands for ``first``."""
        return _programs(self.form).matrix(self.numbers, first, second)


class _Programs(NamedTuple):
    samples: Any
    tile: Any
    pairs: Any
    matrix: Any


rows_of = jax.jit(SampleSet.rows)


@functools.lru_cache(maxsize=32)
def _programs(form: Form) -> _Programs:
    """Return the functions of a recursion; JAX compiles each for every shape that it meets."""

    def tile(
        numbers: Numbers, first: SampleSet, second: SampleSet, i: int, j: int, shape: tuple[int, int], only: Only
    ) -> Part:
        return tile_of(form, numbers, first.part(i, shape[0]), second.part(j, shape[1])).part(only)

    def pairs(numbers: Numbers, left: SampleSet, right: SampleSet, only: Only) -> Part:
        return pairs_of(form, numbers, left, right).part(only)

    return _Programs(
        samples=compiled(partial(_samples, form)),
        tile=compiled(tile, static_argnums=(5, 6)),
        pairs=compiled(pairs, static_argnums=3),
        matrix=compiled(partial(_matrix, form)),
    )


def centring_constants(net: Architecture, square: Float[Array, ""]) -> Float[Array, " depth"]:
    """Return m_l at the scale τ_{l−1}, from τ_0² = ``square``, as a function that JAX can differentiate."""
    if not net.centred:
        return jnp.zeros(net.depth, square.dtype)
    if net.implicit:
        fixed = fixed_samples(net.layers[0], squares_of(net, square.dtype)[0], square[None], None)
        return net.layers[0].mean_map(fixed.variance)
    centres, state = [], square
    for layer, squares in zip(net.layers, squares_of(net, square.dtype), strict=True):
        variance = affine(squares, jnp.ones_like(state) if net.normalize else state)
        centres.append(layer.mean_map(variance))
        value = layer.variance_map(variance)
        state = value if squares.branch is None else state + squares.branch * value
    return jnp.stack(centres)


def _samples(form: Form, numbers: Numbers, x: Array) -> SampleSet:
    ck = ntk = _square_norms(x)
    if form.implicit:
        return _fixed_samples(form, numbers, x)
    state, layers = (ck, ntk, None), []
    for run in runs_of(form, numbers):

        def step(
            state: tuple[Array, Array, Array | None], given: tuple[Given, None], layer_of: Any = run.layer
        ) -> tuple[tuple[Array, Array, Array | None], Known]:
            (ck, ntk, mean), (own, _) = state, given
            layer, squares = layer_of(own), own.squares
            norm = norm_of(form.normalize, squares, ck, mean)
            variance, trained = inputs(squares, norm, norm, ck, ntk)
            if norm is not None:  # one number for all samples, without roundings
                variance = affine(squares, jnp.ones_like(ck))
            deviation = layer.mean_map(variance) - own.centre
            value = layer.variance_map(variance) + deviation**2
            ck, ntk = behind(squares, (ck, ntk), value, add_product(value, trained, layer.slope_map(variance)))
            # the outer weights of a branch have no mean
            if form.normalize == "layer" and squares.branch is None:
                mean = deviation
            return (ck, ntk, mean), Known(variance, layer.side(variance), deviation, norm)

        state, known = run.through(step, state)
        layers.append(known)
    return SampleSet(x, layers, *state[:2])


def _fixed_samples(form: Form, numbers: Numbers, x: Array) -> SampleSet:
    layer, own = _only_layer(form, numbers)
    fixed = fixed_samples(layer, own.squares, _square_norms(x), own.centre)  # type: ignore[arg-type]
    deviation = layer.mean_map(fixed.variance) - own.centre
    known = Known(fixed.variance, layer.side(fixed.variance), deviation, None)
    return SampleSet(x, [jax.tree.map(lambda a: a[None], known)], fixed.ck, fixed.ntk)


def _only_layer(form: Form, numbers: Numbers) -> tuple[Layer, Given]:
    """Return the layer of an implicit network, and its numbers."""
    (run,) = runs_of(form, numbers)
    own = jax.tree.map(lambda a: a[0], run.given)
    return run.layer(own), own


def _square_norms(x: Float[Array, "n p"]) -> Float[Array, " n"]:
    # the root of a norm² of 0 has no derivative: such a sample counts as one of negligible norm, which does not vary
    return jnp.maximum(jnp.sum(x * x, axis=1), jnp.sqrt(jnp.finfo(x.dtype).tiny))


def tile_of(form: Form, numbers: Numbers, left: SampleSet, right: SampleSet) -> Tile:
    """Return all pairs of two sets of samples by the fastest form of every activation's maps."""
    return _kernels(form, numbers, _gram(left.x, right.x), _crossed(_known(left), _known(right)), _fast_maps)


def pairs_of(form: Form, numbers: Numbers, left: SampleSet, right: SampleSet) -> Tile:
    """Return the pairs of samples with equal indices by the exact form of every activation's maps."""
    gram = jnp.sum(left.x * right.x, axis=1)
    return _kernels(form, numbers, gram, (_known(left), _known(right)), _exact_maps)


def _matrix(form: Form, numbers: Numbers, first: SampleSet, second: SampleSet | None) -> Tile:
    left, right = first, first if second is None else second
    gram, both = _gram(left.x, right.x), _crossed(_known(left), _known(right))
    maps = _exact_maps
    if not form.implicit:
        (norm1, *_), (norm2, *_) = (ends for _, ends in both)
        same = matched_pairs(gram, norm1, norm2)[1]
        if second is None:
            same = same | jnp.eye(len(gram), dtype=bool)
        maps = partial(_smooth_maps, same)
    whole = _kernels(form, numbers, gram, both, maps)
    if second is not None:
        return whole
    k = jnp.arange(len(gram))
    return Tile(whole.ck.at[k, k].set(first.ck), whole.ntk.at[k, k].set(first.ntk))


# what is known of one side of pairs: its layers, and the diagonals of K_0, K_L and Θ_L
SideOfPairs = tuple[list[Known], tuple[Array, Array, Array]]
# the maps E[σσ] − E[σ]E[σ] and E[σ'σ'] of a layer as a function of what is known of both samples, and Σ
Maps = Callable[[Layer, Known, Known, Array], PairMaps]


def _known(samples: SampleSet) -> SideOfPairs:
    return samples.layers, (_square_norms(samples.x), samples.ck, samples.ntk)


def _kernels(
    form: Form, numbers: Numbers, gram: Float[Array, "*pairs"], both: tuple[SideOfPairs, SideOfPairs], maps: Maps
) -> Tile:
    """Return both kernels of pairs from their inner products."""
    (left, left_ends), (right, right_ends) = both
    if not form.implicit:
        return _recursion(form, numbers, gram, (left, right), maps)
    layer, own = _only_layer(form, numbers)
    one, other = jax.tree.map(lambda a: a[0], (left[0], right[0]))
    deviation = one.deviation * other.deviation
    return _fixed_pairs(gram, partial(maps, layer, one, other), deviation, own.squares, (left_ends, right_ends))


def _fixed_pairs(
    gram: Float[Array, "*pairs"],
    maps: Callable[[Array], PairMaps],
    deviation: Float[Array, "*pairs"],
    squares: Squares,
    ends: tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]],
) -> Tile:
    """Return K and Θ of pairs of an implicit network; ``ends`` are diagonals of K_0, K and Θ of both samples.

    Pairs of equal samples get the diagonal's entries, half of which is due to either. The maps of functions that are
    integrated lose digits close to them.
    """
    (norm1, ck1, ntk1), (norm2, ck2, ntk2) = ends
    same = matched_pairs(gram, norm1, norm2)[1]
    apart = jnp.where(same, 0.0, gram)
    found = fixed_pairs(maps, deviation, squares, apart, jnp.sqrt(ck1) * jnp.sqrt(ck2))
    certain = None if found.certain is None else found.certain | same
    return Tile(jnp.where(same, (ck1 + ck2) / 2, found.ck), jnp.where(same, (ntk1 + ntk2) / 2, found.ntk), certain)


def _recursion(
    form: Form,
    numbers: Numbers,
    gram: Float[Array, "*pairs"],
    both: tuple[list[Known], list[Known]],
    maps: Maps,
) -> Tile:
    """Return K_L and Θ_L of pairs from K_0: the one place where the recursion stands.

    Parameters
    ----------
    form, numbers : Form, Numbers
        The network.
    gram : Array
        Inner products of the samples, K_0.
    both : tuple of list
        What the layers need to know of both samples of each pair.
    maps : callable
        The layers' maps.

    Returns
    -------
    Tile
        Both kernels.
    """
    # joined, because XLA on CPUs would compute a layer of a loop once for each array that is returned
    joined, certain = jax.lax.complex(gram, gram), None
    for run, *known in zip(runs_of(form, numbers), *both, strict=True):

        def step(
            joined: Array, given: tuple[Given, list[Known]], layer_of: Any = run.layer
        ) -> tuple[Array, Bool[Array, "*pairs"] | None]:
            own, (one, other) = given
            before = joined.real, joined.imag
            covariance, trained = inputs(own.squares, one.norm, other.norm, *before)
            layer = maps(layer_of(own), one, other, covariance)
            value = layer.covariance + one.deviation * other.deviation
            after = behind(own.squares, before, value, add_product(value, trained, layer.derivative))
            return jax.lax.complex(*after), layer.certain

        joined, sure = run.through(step, joined, known)
        if sure is not None:
            certain = jnp.all(sure, axis=0) if certain is None else certain & jnp.all(sure, axis=0)
    return Tile(joined.real, joined.imag, certain)


def _gram(left: Array, right: Array) -> Array:
    return exact_product(left, right.T)


def _crossed(left: Side, right: Side) -> tuple[Side, Side]:
    """Return the same arrays with axes (a, 1) and (1, b) in place of (a,) and (b,)."""
    return jax.tree.map(lambda a: a[..., :, None], left), jax.tree.map(lambda b: b[..., None, :], right)


def _fast_maps(layer: Layer, one: Known, other: Known, cov: Array) -> PairMaps:
    return layer.pairs(one.side, other.side, cov)


def _exact_maps(layer: Layer, one: Known, other: Known, cov: Array) -> PairMaps:
    var1, var2 = one.variance, other.variance
    return PairMaps(layer.covariance_map(cov, var1, var2), layer.derivative_map(cov, var1, var2))


def _smooth_maps(same: Bool[Array, "a b"], layer: Layer, one: Known, other: Known, cov: Array) -> PairMaps:
    """Return the exact maps in a form with finite derivatives where both samples are one and the same.

    There ρ = 1, which is as large as ρ can be: it has no slope, and the kernels follow the variances. By symmetry half
    of what changes in Var σ(u) is due to either sample. The maps of kinks and jumps have a corner in ρ there, E[σ'σ']
    of a kink and E[σσ] of a jump; its derivative counts as 0, the mean over opposite directions.
    """
    var1, var2 = one.variance, other.variance
    same = same | matched_pairs(cov, var1, var2)[1]
    apart = _exact_maps(layer, one, other, jnp.where(same, 0.0, cov))
    variance = (layer.variance_map(var1) + layer.variance_map(var2)) / 2
    slope = (layer.slope_map(var1) + layer.slope_map(var2)) / 2
    return PairMaps(jnp.where(same, variance, apart.covariance), jnp.where(same, slope, apart.derivative))
