"""Networks as plain functions of their parameters, written from the definition, and their gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import hntk

Parameters = dict[str, list[Array]]


def parameters_of(model: hntk.Network | hntk.Classifier, output: int = 0, standard: bool = False) -> Parameters:
    """Return W, b, W₂, and the readout with the offset of a classifier; or the products of them with their scales."""
    net = model.network if isinstance(model, hntk.Classifier) else model
    readout = model.weights[:, output] if isinstance(model, hntk.Classifier) else model.readout
    depth = len(net.weights)
    scales = net.scales or [(1.0, 0.0, 0.0)] * depth
    found: Parameters = {"weights": [], "biases": [], "branches": [], "readout": [jnp.asarray(readout, jnp.float64)]}
    for number, (w, scale) in enumerate(zip(net.weights, scales, strict=True)):
        b, w2 = (net.biases or [None] * depth)[number], (net.branches or [None] * depth)[number]
        width, before = w.shape
        first = number == 0 and not net.normalize
        by_w = scale[0] / (1 if first else np.sqrt(before)) if standard else 1
        found["weights"].append(w.dense(jnp.float64) * by_w)
        if b is not None:
            found["biases"].append(b.astype(jnp.float64) * (scale[1] if standard else 1))
        if w2 is not None:
            found["branches"].append(w2.dense(jnp.float64) * (scale[2] / np.sqrt(width) if standard else 1))
    if standard:
        every = isinstance(model, hntk.Classifier) and model.layers == "all"
        widths = net.widths if every else net.widths[-1:]
        found["readout"][0] = found["readout"][0] / np.sqrt(np.repeat(widths, widths))
        if isinstance(model, hntk.Classifier):
            found["offset"] = [jnp.asarray(model.offset[output], jnp.float64)]
    return found


def value(
    model: hntk.Network | hntk.Classifier, parameters: Parameters, x: Array, standard: bool = False, rigid: bool = False
) -> Array:
    """Return one output at one sample; the divisors of a rigid normalisation count as constants."""
    net = model.network if isinstance(model, hntk.Classifier) else model
    left = {name: list(parts) for name, parts in parameters.items()}
    h, of_data, states = jnp.sqrt(x.size) * x, True, []
    for number, (sigma, m) in enumerate(zip(net.activations, net.centres, strict=True)):
        weight_std, bias_std, residual = (1.0, 0.0, 0.0) if net.scales is None else net.scales[number]
        n = h
        if net.normalize:
            n = h - jnp.mean(h) if net.normalize == "layer" and not of_data else h
            size = jnp.sqrt(jnp.mean(n**2))
            n = n / (jax.lax.stop_gradient(size) if rigid else size)
        w = left["weights"].pop(0)
        if not standard:
            u = weight_std * w @ n / jnp.sqrt(n.size)
        else:
            u = w @ (x if number == 0 and not net.normalize else n)
        if bias_std:
            u = u + left["biases"].pop(0) * (1 if standard else bias_std)
        f = sigma(u) - m
        if residual:
            w2 = left["branches"].pop(0)
            h = h + (w2 @ f if standard else residual * w2 @ f / jnp.sqrt(f.size))
        else:
            h, of_data = f, False
        states.append(h)
    read = states if isinstance(model, hntk.Classifier) and model.layers == "all" else states[-1:]
    (w,) = left["readout"]
    if standard:
        return w @ jnp.concatenate(read) + sum(left.get("offset", []))
    return w @ jnp.concatenate([h / jnp.sqrt(h.size) for h in read])


def gradients(
    model: hntk.Network | hntk.Classifier,
    x: np.ndarray,
    output: int = 0,
    standard: bool = False,
    rigid: bool = False,
) -> dict[str, list[np.ndarray]]:
    """Return the gradients of an output by all parameters; samples as rows."""
    parameters = parameters_of(model, output, standard)
    jacobian = jax.jacobian(lambda p, rows: jax.vmap(lambda row: value(model, p, row, standard, rigid))(rows))
    found = jax.jit(jacobian)(parameters, jnp.asarray(x))
    return {name: [np.asarray(g).reshape(len(x), -1) for g in parts] for name, parts in found.items()}


def ntk(first: dict[str, list[np.ndarray]], second: dict[str, list[np.ndarray]] | None = None) -> np.ndarray:
    """Return the sum of the products of gradients, of two sets of samples or one."""
    second = second or first
    return np.sum([a @ b.T for name in first for a, b in zip(first[name], second[name], strict=True)], axis=0)
