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
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Num

from hntk.activations import Activation, Staircase
from hntk.activations.base import PairMaps, Side
from hntk.activations.correlation import matched_pairs
from hntk.activations.step_function import StepFunction, padded_alike
from hntk.activations.straight_through import StraightThroughStep
from hntk.activations.surrogates import Surrogate
from hntk.kernels.implicit import fixed_pairs, fixed_samples
from hntk.kernels.layer_scales import Norm, Squares, add_product, affine, behind, inputs, norm_of, squares_of
from hntk.theory.architecture import Architecture, Normalize

Layer = Activation | StepFunction | StraightThroughStep
# the kernel that a caller wants, where it wants one of them, and the names of those that it gets
Only = Literal["ck", "ntk"] | None
WANTED: dict[Only, tuple[str, ...]] = {None: ("ck", "ntk"), "ck": ("ck",), "ntk": ("ntk",)}


class Form(NamedTuple):
    """What the compiled programs of a network depend on, beside shapes and which scales there are.

    Attributes
    ----------
    kinds : tuple
        Activations, with None in the place of staircases.
    normalize : {"rms", "layer"} or None
        Normalisation of what the weights multiply.
    surrogates : tuple
        Shapes of the surrogates of staircases, with None in the place of layers that have none.
    implicit : bool
        Whether the one layer is repeated.
    """

    kinds: tuple[Activation | None, ...]
    normalize: Normalize | None
    surrogates: tuple[Activation | None, ...]
    implicit: bool


class Numbers(NamedTuple):
    """What distinguishes networks that share compiled programs: their arguments.

    Attributes
    ----------
    steps : list of StepFunction or None
        Staircases as arrays, with None in the place of other activations.
    centres : Array
        (L,) constants that are subtracted from the activations.
    squares : list of Squares
        Squared scales of each layer.
    stretches : list of tuple or None
        Width and height of the surrogates of staircases.
    """

    steps: list[StepFunction | None]
    centres: Float[Array, " depth"]
    squares: list[Squares]
    stretches: list[tuple[Float[Array, ""], Float[Array, ""]] | None]


class SampleSet(NamedTuple):
    """What the recursion needs to know of each sample; samples are the last axis of all fields but ``x``.

    Attributes
    ----------
    x : Array
        (n, p) samples.
    variances : list of Array
        Variance of the input of each layer, L arrays of shape (n,).
    sides : list
        What each activation's :meth:`~hntk.activations.Activation.pairs` needs to know at these variances.
    deviations : list of Array
        Differences E[σ_l(u)] − m_l between a sample's mean and the centring constant, L arrays of shape (n,).
    norms : list of Norm or None
        Normalisation of each layer's input.
    ck, ntk : Array
        (n,) diagonals of K_L and Θ_L.
    """

    x: Float[Array, "n p"]
    variances: list[Float[Array, " n"]]
    sides: list[Side]
    deviations: list[Float[Array, " n"]]
    norms: list[Norm | None]
    ck: Float[Array, " n"]
    ntk: Float[Array, " n"]

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
        return _programs(self.form).pairs(self.numbers, _rows(first, i), _rows(second, j), only)

    def matrix(self, first: SampleSet, second: SampleSet | None) -> Tile:
        """Return the kernels of all pairs by exact forms, finite in every derivative; None stands for ``first``."""
        return _programs(self.form).matrix(self.numbers, first, second)


class _Programs(NamedTuple):
    samples: Any
    tile: Any
    pairs: Any
    matrix: Any


_rows = jax.jit(SampleSet.rows)


@functools.lru_cache(maxsize=32)
def _programs(form: Form) -> _Programs:
    """Return the functions of a recursion; JAX compiles each for every shape that it meets."""
    samples = jax.jit(partial(_samples, form))

    @partial(jax.jit, static_argnums=(5, 6))
    def tile(
        numbers: Numbers, first: SampleSet, second: SampleSet, i: int, j: int, shape: tuple[int, int], only: Only
    ) -> Part:
        return tile_of(form, numbers, first.part(i, shape[0]), second.part(j, shape[1])).part(only)

    @partial(jax.jit, static_argnums=3)
    def pairs(numbers: Numbers, left: SampleSet, right: SampleSet, only: Only) -> Part:
        return pairs_of(form, numbers, left, right).part(only)

    matrix = jax.jit(partial(_matrix, form))
    return _Programs(samples, tile, pairs, matrix)


def _layers(form: Form, numbers: Numbers) -> list[Layer]:
    layers: list[Layer] = []
    for kind, shape, step, stretch in zip(form.kinds, form.surrogates, numbers.steps, numbers.stretches, strict=True):
        if kind is not None:
            layers.append(kind)
            continue
        assert step is not None
        layers.append(step if shape is None or stretch is None else StraightThroughStep(step, shape, *stretch))
    return layers


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
    mean, known = None, []
    for layer, centre, squares in zip(_layers(form, numbers), numbers.centres, numbers.squares, strict=True):
        norm = norm_of(form.normalize, squares, ck, mean)
        variance, trained = inputs(squares, norm, norm, ck, ntk)
        if norm is not None:  # one number for all samples, without roundings
            variance = affine(squares, jnp.ones_like(ck))
        deviation = layer.mean_map(variance) - centre
        known.append((variance, layer.side(variance), deviation, norm))
        value = layer.variance_map(variance) + deviation**2
        ck, ntk = behind(squares, (ck, ntk), value, add_product(value, trained, layer.slope_map(variance)))
        # the outer weights of a branch have no mean
        mean = deviation if squares.branch is None else mean
    variances, sides, deviations, norms = map(list, zip(*known, strict=True))
    return SampleSet(x, variances, sides, deviations, norms, ck, ntk)


def _fixed_samples(form: Form, numbers: Numbers, x: Array) -> SampleSet:
    (layer,), (centre,) = _layers(form, numbers), numbers.centres
    fixed = fixed_samples(layer, numbers.squares[0], _square_norms(x), centre)  # type: ignore[arg-type]
    deviation = layer.mean_map(fixed.variance) - centre
    return SampleSet(x, [fixed.variance], [layer.side(fixed.variance)], [deviation], [None], fixed.ck, fixed.ntk)


def _square_norms(x: Float[Array, "n p"]) -> Float[Array, " n"]:
    # the root of a norm² of 0 has no derivative: such a sample counts as one of negligible norm, which does not vary
    return jnp.maximum(jnp.sum(x * x, axis=1), jnp.sqrt(jnp.finfo(x.dtype).tiny))


def tile_of(form: Form, numbers: Numbers, left: SampleSet, right: SampleSet) -> Tile:
    """Return all pairs of two sets of samples by the fastest form of every activation's maps."""
    sides = zip(left.sides, right.sides, strict=True)
    maps = [partial(one.pairs, *_crossed(*both)) for one, both in zip(_layers(form, numbers), sides, strict=True)]
    gram = _gram(left.x, right.x)
    if form.implicit:
        return _fixed_pairs(gram, maps, _deviations(left, right), numbers.squares, _crossed(_ends(left), _ends(right)))
    return _recursion(gram, maps, _deviations(left, right), numbers.squares, _norms(left, right))


def pairs_of(form: Form, numbers: Numbers, left: SampleSet, right: SampleSet) -> Tile:
    """Return the pairs of samples with equal indices by the exact form of every activation's maps."""
    layers = _layers(form, numbers)
    maps = [partial(_exact_maps, *given) for given in zip(layers, left.variances, right.variances, strict=True)]
    deviations = [a * b for a, b in zip(left.deviations, right.deviations, strict=True)]
    norms, gram = zip(left.norms, right.norms, strict=True), jnp.sum(left.x * right.x, axis=1)
    if form.implicit:
        return _fixed_pairs(gram, maps, deviations, numbers.squares, (_ends(left), _ends(right)))
    return _recursion(gram, maps, deviations, numbers.squares, norms)


def _matrix(form: Form, numbers: Numbers, first: SampleSet, second: SampleSet | None) -> Tile:
    left, right = first, first if second is None else second
    layers = _layers(form, numbers)
    gram, ends = _gram(left.x, right.x), _crossed(_ends(left), _ends(right))
    variances = [_crossed(*both) for both in zip(left.variances, right.variances, strict=True)]
    if form.implicit:
        maps = [partial(_exact_maps, layers[0], *variances[0])]
        whole = _fixed_pairs(gram, maps, _deviations(left, right), numbers.squares, ends)
    else:
        same = matched_pairs(gram, ends[0][0], ends[1][0])[1]
        if second is None:
            same = same | jnp.eye(len(gram), dtype=bool)
        maps = [partial(_smooth_maps, layer, *both, same) for layer, both in zip(layers, variances, strict=True)]
        whole = _recursion(gram, maps, _deviations(left, right), numbers.squares, _norms(left, right))
    if second is not None:
        return whole
    k = jnp.arange(len(gram))
    return Tile(whole.ck.at[k, k].set(first.ck), whole.ntk.at[k, k].set(first.ntk))


def _ends(samples: SampleSet) -> tuple[Array, Array, Array]:
    """Return the diagonals of K_0, K_L and Θ_L."""
    return _square_norms(samples.x), samples.ck, samples.ntk


def _fixed_pairs(
    gram: Float[Array, "*pairs"],
    maps: Sequence[Callable[[Array], PairMaps]],
    deviations: Sequence[Float[Array, "*pairs"]],
    squares: Sequence[Squares],
    ends: tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]],
) -> Tile:
    """Return K and Θ of pairs of an implicit network; ``ends`` are what :func:`_ends` gives of both samples.

    Pairs of equal samples get the diagonal's entries, half of which is due to either. The maps of functions that are
    integrated lose digits close to them.
    """
    (norm1, ck1, ntk1), (norm2, ck2, ntk2) = ends
    same = matched_pairs(gram, norm1, norm2)[1]
    apart = jnp.where(same, 0.0, gram)
    found = fixed_pairs(maps[0], deviations[0], squares[0], apart, jnp.sqrt(ck1) * jnp.sqrt(ck2))
    certain = None if found.certain is None else found.certain | same
    return Tile(jnp.where(same, (ck1 + ck2) / 2, found.ck), jnp.where(same, (ntk1 + ntk2) / 2, found.ntk), certain)


def _recursion(
    gram: Float[Array, "*pairs"],
    maps: Iterable[Callable[[Array], PairMaps]],
    deviations: Iterable[Float[Array, "*pairs"]],
    squares: Iterable[Squares],
    norms: Iterable[tuple[Norm | None, Norm | None]],
) -> Tile:
    """Return K_L and Θ_L of pairs from K_0: the one place where the recursion stands.

    Parameters
    ----------
    gram : Array
        Inner products of the samples, K_0.
    maps : iterable of callable
        Each layer's maps E[σσ] − E[σ]E[σ] and E[σ'σ'] as a function of Σ_l, which is K_{l−1} in a plain network.
    deviations : iterable of Array
        (E[σ_l(u)] − m_l)(E[σ_l(v)] − m_l) of each layer.
    squares : iterable of Squares
        Squared scales of each layer.
    norms : iterable of tuple
        Normalisations of both samples at each layer's input.

    Returns
    -------
    Tile
        Both kernels.
    """
    ck = ntk = gram
    certain = None
    for maps_of, deviation, scale, both in zip(maps, deviations, squares, norms, strict=True):
        covariance, trained = inputs(scale, *both, ck, ntk)
        layer = maps_of(covariance)
        value = layer.covariance + deviation
        ck, ntk = behind(scale, (ck, ntk), value, add_product(value, trained, layer.derivative))
        if layer.certain is not None:
            certain = layer.certain if certain is None else certain & layer.certain
    return Tile(ck, ntk, certain)


def _gram(left: Array, right: Array) -> Array:
    # GPUs round the factors of a product to 10 bits unless told otherwise
    return jnp.matmul(left, right.T, precision=jax.lax.Precision.HIGHEST)


def _crossed(left: Side, right: Side) -> tuple[Side, Side]:
    """Return the same arrays with axes (a, 1) and (1, b) in place of (a,) and (b,)."""
    return jax.tree.map(lambda a: a[..., :, None], left), jax.tree.map(lambda b: b[..., None, :], right)


def _deviations(left: SampleSet, right: SampleSet) -> list[Float[Array, "a b"]]:
    return [a[:, None] * b[None, :] for a, b in zip(left.deviations, right.deviations, strict=True)]


def _norms(left: SampleSet, right: SampleSet) -> list[tuple[Norm | None, Norm | None]]:
    return [_crossed(*both) for both in zip(left.norms, right.norms, strict=True)]


def _exact_maps(layer: Layer, var1: Array, var2: Array, cov: Array) -> PairMaps:
    return PairMaps(layer.covariance_map(cov, var1, var2), layer.derivative_map(cov, var1, var2))


def _smooth_maps(layer: Layer, var1: Array, var2: Array, same: Bool[Array, "a b"], cov: Array) -> PairMaps:
    """Return the exact maps in a form with finite derivatives where both samples are one and the same.

    There ρ = 1, which is as large as ρ can be: it has no slope, and the kernels follow the variances. By symmetry half
    of what changes in Var σ(u) is due to either sample. The maps of kinks and jumps have a corner in ρ there, E[σ'σ']
    of a kink and E[σσ] of a jump; its derivative counts as 0, the mean over opposite directions.
    """
    same = same | matched_pairs(cov, var1, var2)[1]
    apart = _exact_maps(layer, var1, var2, jnp.where(same, 0.0, cov))
    variance = (layer.variance_map(var1) + layer.variance_map(var2)) / 2
    slope = (layer.slope_map(var1) + layer.slope_map(var2)) / 2
    return PairMaps(jnp.where(same, variance, apart.covariance), jnp.where(same, slope, apart.derivative))
