r"""Expansions of the kernels of any network about two samples of typical norm: the coefficients of its equivalents.

With $G = XX^\top$ and $\delta_i = \|x_i\|^2 - \tau_0^2$, a kernel is, up to a vanishing operator norm,

$$K_{ij} = c + aG_{ij} + b(\delta_i + \delta_j) + dG_{ij}^2 + e\delta_i\delta_j + f(\delta_i^2 + \delta_j^2),\qquad
K_{ii} = q + r\delta_i + s\delta_i^2.$$

Data has a = r = 1 and $q = \tau_0^2$. A layer composes the kernel map k with $\Sigma = \sigma_w^2 K + \sigma_b^2$, at
whose (Q, Q, C) all derivatives are (capitals are coefficients of Σ):

$$c' = k,\quad a' = k_cA,\quad b' = k_cB + k_1R,\quad d' = k_cD + \tfrac12k_{cc}A^2,$$
$$e' = k_cE + k_{cc}B^2 + 2k_{1c}RB + k_{12}R^2,\quad
f' = k_cF + \tfrac12k_{cc}B^2 + k_{1c}RB + \tfrac12k_{11}R^2 + k_1S,$$
$$q' = g(Q),\quad r' = g'(Q)R,\quad s' = g'(Q)S + \tfrac12g''(Q)R^2.$$

The NTK, where weights and biases are trained, is $\Theta_0 = K_0$ and
$\Theta' = K' + (\sigma_w^2\Theta + \sigma_b^2) \circ \dot K$ with $\dot K = E[\sigma'\sigma']$, whose expansion is
that of a layer with $k_c$ in the place of k. A residual branch gives $K + \rho^2K'$ and
$\Theta + \rho^2(K' + \Theta')$: its outer weights are trained as well. A normalisation multiplies $K - \mu^2$ and
$\Theta - \mu^2$ by $1/\sqrt{(q_i - \mu^2)(q_j - \mu^2)}$ before the weights (:mod:`hntk.theory.architecture`). That
its factor turns with the state adds nothing to the NTK at infinite width.

An implicit network is the fixed point of a layer with $\Sigma = \sigma_w^2K + \sigma_x^2G + \sigma_b^2$, and
$\Theta = K + (\sigma_w^2\Theta + \sigma_x^2G + \sigma_b^2) \circ \dot K$. Its q and c are roots. All other numbers then
solve these equations, which are linear in them (:mod:`hntk.theory.implicit`).

A regression with an intercept sees $PKP$, $P = I - 11^\top/n$. There c, b and f vanish. What is left has the form of
Theorems 1 and 2, with (a, e, d, q − c) for $(\alpha_1, \alpha_2, \alpha_3, \tau_L^2)$.

With a surrogate φ of σ' in the backward pass (:mod:`hntk.activations.straight_through`), $\dot K =
E[\sigma'(u)\varphi(v)]$ is not symmetric: rows have coefficients $b_r, f_r$ of their own, and columns $b_c, f_c$. An
entrywise product then has $e = e_1c_2 + c_1e_2 + b_{1r}b_{2c} + b_{1c}b_{2r}$.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from hntk._utils.arguments import as_finite, as_reals, as_scale
from hntk._utils.arrays import check_result
from hntk.activations import Activation, Moments, Surrogate, SurrogateLike
from hntk.activations.smoothing import PairDerivatives, pair_derivatives
from hntk.activations.straight_through import cross_means, own_slope
from hntk.activations.surrogates import as_surrogates
from hntk.theory.architecture import Architecture, ArchitectureLike, LayerScales, as_architecture
from hntk.theory.implicit import equilibrium, fixed_covariance, solve_affine

# scales from here to its reciprocal have powers that float64 holds
LEAST = 1e-60


class Expansion(NamedTuple):
    """Coefficients of one kernel, off the diagonal and on it.

    Attributes
    ----------
    c : float
        What all pairs of samples have in common.
    a : float
        Coefficient of the Gram matrix.
    b : float
        Coefficient of δ_i + δ_j.
    d : float
        Coefficient of the squared entries of the Gram matrix.
    e : float
        Coefficient of δ_i δ_j.
    f : float
        Coefficient of δ_i² + δ_j².
    q : float
        The diagonal; for the NTK of a network with jumps it is infinite.
    r, s : float
        Coefficients of δ_i and δ_i² on the diagonal; NaN for the NTK, whose diagonal counts as constant.
    """

    c: float
    a: float
    b: float
    d: float
    e: float
    f: float
    q: float
    r: float = math.nan
    s: float = math.nan

    @property
    def centred(self) -> tuple[float, float, float, float]:
        """(a, e, d, q − c), which stand for α₁, α₂, α₃ and τ_L² (or β₁, β₂, β₃ and κ_L²) behind an intercept."""
        return self.a, self.e, self.d, self.q - self.c


class Expansions(NamedTuple):
    """Coefficients of both kernels, data first and then layer by layer.

    An implicit network counts as one layer, whose output is the fixed point.

    Attributes
    ----------
    ck : tuple of Expansion
        L + 1 expansions of the conjugate kernel.
    ntk : tuple of Expansion
        L + 1 expansions of the NTK.
    centres : tuple of float
        Constants that are subtracted from the L activations.
    transposed : tuple of Expansion
        L + 1 expansions of the transposed NTK. They differ from ``ntk`` behind layers with a surrogate, in b and f,
        which belong to the samples of the rows.
    """

    ck: tuple[Expansion, ...]
    ntk: tuple[Expansion, ...]
    centres: tuple[float, ...]
    transposed: tuple[Expansion, ...]


class _Kernels(NamedTuple):
    """Both kernels of a state, and its mean over the width; the transposed NTK where it is another one."""

    ck: Expansion
    ntk: Expansion
    mean: float
    transposed: Expansion | None = None


def expansions(
    network: ArchitectureLike,
    tau0: float,
    *,
    centres: Sequence[float] | None = None,
    surrogate: SurrogateLike | Sequence[SurrogateLike | None] | None = None,
) -> Expansions:
    """Return the coefficients of a network's conjugate kernel and NTK, for all layers.

    Parameters
    ----------
    network : Architecture or sequence of str or Activation
        The network; a list of activations is centred, with unit weights and without biases.
    tau0 : float
        Root mean square norm of a sample.
    centres : sequence of float, optional
        Constant that is subtracted from each activation. By default the network's own: E[σ(τξ)] at each
        layer's scale τ where it is centred, 0 where it is not.
    surrogate : str, Activation, Surrogate or sequence of them, optional
        What the backward pass has in the place of derivatives of staircases, see :func:`hntk.surrogate`: one for all
        staircases, or one per layer with None for layers that keep their own derivative.

    Returns
    -------
    Expansions
        Coefficients of both kernels, in float64.

    Raises
    ------
    ValueError
        If ``tau0`` is not positive and finite, a layer's output is constant or beyond float64 at its scale, a surrogate
        does not fit its layer, or an implicit network does not contract there.

    Examples
    --------
    >>> import hntk
    >>> he = hntk.Architecture(["relu"] * 3, weight_std=2**0.5, centred=False)
    >>> [round(state.q, 6) for state in hntk.expansions(he, tau0=0.8).ck]
    [0.64, 0.64, 0.64, 0.64]
    """
    net, scale = as_architecture(network), as_data_scale(tau0)
    used = centres_of(net, scale) if centres is None else as_reals(centres, "centres", as_finite)
    if len(used) != net.depth:
        raise ValueError(f"{net.depth} layers need as many centres, got {len(used)}.")
    data = Expansion(0.0, 1.0, 0.0, 0.0, 0.0, 0.0, scale**2, 1.0, 0.0)
    states = [_Kernels(data, data._replace(r=math.nan, s=math.nan), 0.0)]
    surrogates = as_surrogates(surrogate, net.layers)
    for depth, (centre, backward) in enumerate(zip(used, surrogates, strict=True), start=1):
        try:
            following = _repeated if net.implicit else partial(_next, surrogate=backward)
            states.append(following(net, depth, centre, states[-1]))
        except OverflowError:
            check_result(np.array(math.inf), f"a coefficient of layer {depth}")
    finite = [*(state.ck for state in states), *(state.ntk[:-3] for state in states)]
    check_result(np.concatenate(finite), "a coefficient of a layer")
    ck, ntk = tuple(state.ck for state in states), tuple(state.ntk for state in states)
    return Expansions(ck, ntk, used, tuple(state.transposed or state.ntk for state in states))


def centres_of(network: ArchitectureLike, tau0: float) -> tuple[float, ...]:
    """Return the constants that are subtracted from the activations.

    Parameters
    ----------
    network : Architecture or sequence of str or Activation
        The network.
    tau0 : float
        Root mean square norm of a sample.

    Returns
    -------
    tuple of float
        Each activation's mean at the scale of its layer's input; zeros for a network that is not centred.

    Raises
    ------
    ValueError
        As :func:`expansions`.
    """
    return tuple(centre for _, centre in _inputs_and_centres(as_architecture(network), as_data_scale(tau0)))


def input_scales(network: ArchitectureLike, tau0: float) -> tuple[float, ...]:
    """Return the root mean square of every layer's input, at which its activation has its moments.

    Parameters
    ----------
    network : Architecture or sequence of str or Activation
        The network.
    tau0 : float
        Root mean square norm of a sample.

    Returns
    -------
    tuple of float
        The scales of the L layers; in a plain network they are τ_0 … τ_{L−1}.

    Raises
    ------
    ValueError
        As :func:`expansions`.
    """
    return tuple(
        math.sqrt(variance) for variance, _ in _inputs_and_centres(as_architecture(network), as_data_scale(tau0))
    )


def _inputs_and_centres(net: Architecture, tau0: float) -> list[tuple[float, float]]:
    """Return the variance of every layer's input, and what is subtracted from its activation."""
    q, known = tau0**2, []
    if net.implicit:
        return [equilibrium(net, q, partial(_moments, net.layers[0], depth=1))]
    for depth, (layer, scale) in enumerate(zip(net.layers, net.scales, strict=True), start=1):
        variance = _scaled(1.0 if net.normalize else q, scale)
        m = _moments(layer, variance, depth)
        centre = m.mean if net.centred else 0.0
        known.append((variance, centre))
        value = m.variance + (m.mean - centre) ** 2
        q = q + scale.residual * scale.residual * value if scale.residual else value
    return known


def as_data_scale(tau0: object) -> float:
    """Return τ_0, whose powers float64 must hold.

    Raises
    ------
    ValueError
        If it is not positive and finite, or its powers leave float64.
    """
    scale = as_scale(tau0)
    if not LEAST <= scale <= 1 / LEAST:
        raise ValueError(
            f"tau0 = {scale:.3g} is out of scale: powers of it leave float64. Rescale the data to norms about 1."
        )
    return scale


def _next(
    net: Architecture, depth: int, centre: float, state: _Kernels, surrogate: Surrogate | None = None
) -> _Kernels:
    """Return the kernels behind a layer."""
    layer, scale = net.layers[depth - 1], net.scales[depth - 1]
    sigma, trained = _inputs(net, scale, state)
    mean = _moments(layer, sigma.q, depth).mean
    # below zero by rounding alone
    k = _derivatives(layer, depth, sigma.q, max(sigma.c, 0.0), centre)
    ck = _composed(k, sigma)
    slope, transposed = _slope(k, sigma), None
    if surrogate is None and state.transposed is None:
        ntk = _sum(ck, _product(trained, slope))
    else:
        slopes = (slope, slope) if surrogate is None else _backward_slopes(layer, surrogate, sigma, depth)
        ntk, transposed = (_sum(ck, part) for part in _products(_both_inputs(net, scale, state), slopes))
    if not scale.residual:
        return _Kernels(ck, ntk, mean - centre, transposed)
    branch = scale.residual * scale.residual
    if transposed is not None:
        transposed = _sum(state.transposed or state.ntk, _sum(ck, transposed), branch)
    return _Kernels(_sum(state.ck, ck, branch), _sum(state.ntk, _sum(ck, ntk), branch), state.mean, transposed)


def _both_inputs(net: Architecture, scale: LayerScales, state: _Kernels) -> tuple[Expansion, Expansion]:
    """Return what a layer's weights make of the NTK and of its transpose."""
    sides = (state.ntk, state.transposed or state.ntk)
    rows, columns = (_inputs(net, scale, state._replace(ntk=side))[1] for side in sides)
    return _one_e(rows, columns)


def _backward_slopes(
    layer: Activation, surrogate: Surrogate, sigma: Expansion, depth: int
) -> tuple[Expansion, Expansion]:
    """Return the expansions of E[σ'(u)φ(v)] and of its transpose."""
    backward = surrogate.at(math.sqrt(sigma.q))
    try:
        means = cross_means(layer, backward, sigma.q, max(sigma.c, 0.0))
    except ValueError as error:
        raise ValueError(f"the surrogate of layer {depth}: {error}") from error
    known = (math.nan, math.nan, math.nan, own_slope(layer, backward, math.sqrt(sigma.q)))
    rows, columns = (_slope(pair_derivatives(each, known), sigma) for each in (means, means.T))
    return _one_e(rows, columns)


def _one_e(rows: Expansion, columns: Expansion, less: float = 0.0) -> tuple[Expansion, Expansion]:
    """Return both with the mean of their e, which a kernel and its transpose share, less a number."""
    e = (rows.e + columns.e) / 2 - less
    return rows._replace(e=e), columns._replace(e=e)


def _products(x: tuple[Expansion, Expansion], y: tuple[Expansion, Expansion]) -> tuple[Expansion, Expansion]:
    """Return the expansions of the entrywise product of two kernels, and of its transpose."""
    # b_xr b_yc + b_xc b_yr, where the mean of both products has b_xr b_yr + b_xc b_yc
    crossed = (x[0].b - x[1].b) * (y[0].b - y[1].b)
    return _one_e(_product(x[0], y[0]), _product(x[1], y[1]), less=crossed)


def _repeated(net: Architecture, depth: int, centre: float, data: _Kernels) -> _Kernels:
    """Return the kernels of an implicit network, at its fixed point."""
    layer, scale, inputs = net.layers[0], net.scales[0], net.input_std * net.input_std
    variance = equilibrium(net, data.ck.q, partial(_moments, layer, depth=depth), centre).variance
    weights = scale.weight_std * scale.weight_std

    def derivatives(c: float) -> PairDerivatives:
        return _derivatives(layer, depth, variance, weights * c + scale.bias_std * scale.bias_std, centre)

    def sigma(state: Expansion, injected: Expansion) -> Expansion:
        return _sum(_with_biases(state, scale), injected, inputs)

    k = derivatives(fixed_covariance(derivatives, weights))
    off, on = weights * k.k_c, weights * k.dg
    rates = Expansion(0.0, off, off, off, off, off, 0.0, on, on)
    ck = solve_affine(lambda x: _composed(k, sigma(x, data.ck)), data.ck._replace(c=k.k, q=k.g), rates)
    slope = _slope(k, sigma(ck, data.ck))
    rates = Expansion(off, off, off, off, off, off, weights * k.h)
    ntk = solve_affine(lambda x: _sum(ck, _product(sigma(x, data.ntk), slope)), ck, rates)
    return _Kernels(ck, ntk, 0.0)


def _derivatives(layer: Activation, depth: int, variance: float, covariance: float, centre: float) -> PairDerivatives:
    """Return the derivatives of a layer's kernel map."""
    try:
        return layer.pair_derivatives(variance, covariance, centre)
    except ValueError as error:
        raise ValueError(f"layer {depth} ({layer.name}): {error}") from error


def _inputs(net: Architecture, scale: LayerScales, state: _Kernels) -> tuple[Expansion, Expansion]:
    """Return σ_w² K + σ_b² for both kernels, after the normalisation."""
    ck, ntk = state.ck, state.ntk
    if net.normalize:
        common = state.mean**2 if net.normalize == "layer" else 0.0
        root = _inverse_root(ck._replace(q=ck.q - common))
        ck, ntk = (_product(k._replace(c=k.c - common, q=k.q - common), root) for k in (ck, ntk))
        ck = ck._replace(q=1.0, r=0.0, s=0.0)
    return _with_biases(ck, scale), _with_biases(ntk, scale)


def _with_biases(x: Expansion, scale: LayerScales) -> Expansion:
    """Return σ_w² x + σ_b²."""
    multiples = Expansion(*(scale.weight_std * scale.weight_std * value for value in x))
    return multiples._replace(c=_scaled(x.c, scale), q=_scaled(x.q, scale))


def _scaled(value: float, scale: LayerScales) -> float:
    """Return σ_w² value + σ_b²; products, unlike powers, may overflow to infinity."""
    return scale.weight_std * scale.weight_std * value + scale.bias_std * scale.bias_std


def _inverse_root(x: Expansion) -> Expansion:
    """Return the expansion of 1/√(K_ii K_jj)."""
    first, second = -x.r / (2 * x.q), -x.s / (2 * x.q) + 3 * x.r**2 / (8 * x.q**2)
    return Expansion(1 / x.q, 0.0, first / x.q, 0.0, first**2 / x.q, second / x.q, 1 / x.q)


def _composed(k: PairDerivatives, x: Expansion) -> Expansion:
    """Return the expansion of the kernel map at Σ."""
    off_diagonal = _taylor(k.k, k.k_c, k.k_1, k.k_cc, k.k_1c, k.k_11, k.k_12, x)
    return off_diagonal._replace(q=k.g, r=k.dg * x.r, s=k.dg * x.s + k.ddg * x.r**2 / 2)


def _slope(k: PairDerivatives, x: Expansion) -> Expansion:
    """Return the expansion of E[σ'σ'] at Σ."""
    return _taylor(k.k_c, k.k_cc, k.k_1c, k.k_ccc, k.k_1cc, k.k_11c, k.k_12c, x)._replace(q=k.h)


def _taylor(
    k: float, k_c: float, k_1: float, k_cc: float, k_1c: float, k_11: float, k_12: float, x: Expansion
) -> Expansion:
    """Return the expansion, off the diagonal, of a function of (q₁, q₂, c) with these derivatives."""
    return Expansion(
        c=k,
        a=k_c * x.a,
        b=k_c * x.b + k_1 * x.r,
        d=k_c * x.d + k_cc * x.a**2 / 2,
        e=k_c * x.e + k_cc * x.b**2 + 2 * k_1c * x.r * x.b + k_12 * x.r**2,
        f=k_c * x.f + k_cc * x.b**2 / 2 + k_1c * x.r * x.b + k_11 * x.r**2 / 2 + k_1 * x.s,
        q=math.nan,
    )


def _product(x: Expansion, y: Expansion) -> Expansion:
    """Return the expansion of the entrywise product."""
    return Expansion(
        c=x.c * y.c,
        a=x.a * y.c + x.c * y.a,
        b=x.b * y.c + x.c * y.b,
        d=x.d * y.c + x.c * y.d + x.a * y.a,
        e=x.e * y.c + x.c * y.e + 2 * x.b * y.b,
        f=x.f * y.c + x.c * y.f + x.b * y.b,
        q=x.q * y.q,
    )


def _sum(x: Expansion, y: Expansion, factor: float = 1.0) -> Expansion:
    """Return the expansion of x + factor y."""
    return Expansion(*(first + factor * second for first, second in zip(x, y, strict=True)))


def _moments(layer: Activation, variance: float, depth: int) -> Moments:
    """Return an activation's moments at the variance of its input."""
    if not 0 < variance < math.inf:
        raise ValueError(
            f"layer {depth} ({layer.name}): its input has the variance {variance:.3g}, beyond float64; bring tau0 and "
            "the scales of weights, biases and branches nearer to 1."
        )
    return layer_moments(layer, math.sqrt(variance), depth)


def layer_moments(layer: Activation, tau: float, depth: int, centre: float | None = None) -> Moments:
    """Return an activation's moments, those of second order about the centre, by default the mean."""
    try:
        m = layer.moments(tau)
    except ValueError as error:
        raise ValueError(f"layer {depth} ({layer.name}): {error}") from error
    if centre is not None:
        gap = m.mean - centre
        m = replace(m, variance=m.variance + gap**2, s2=m.s2 + 2 * gap * m.e2)
    if not (math.isfinite(m.variance) and m.variance > 0):
        raise ValueError(
            f"layer {depth} ({layer.name}) has output variance {m.variance} at the input scale {m.tau:.3g}: its output "
            "is constant or overflows there. Rescale the data (its root mean square norm is tau0), or change the "
            "activation."
        )
    return m
