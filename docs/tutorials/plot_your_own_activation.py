r"""
Your own activation
===================

hntk knows activations by name, and takes any other as a function of JAX. This page makes one, looks at the moments by
which the theory knows it, finds networks of few levels with the same kernel, and checks all of that against draws.
"""

# %%
# A function and its breakpoints
# ------------------------------
# As an example take a soft threshold, which is flat around 0, rises, and is clipped, with a little of a square
# beside it. It has kinks at four points, and hntk has no closed form of it.

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import hntk
import hntk.plot

jax.config.update("jax_enable_x64", True)


def shrink(t):
    """Return sign(t) · min(max(|t| − 0.5, 0), 1.5) + t²/16: a clipped soft threshold with an even part."""
    return jnp.sign(t) * jnp.clip(jnp.abs(t) - 0.5, 0, 1.5) + t**2 / 16


shrinkage = hntk.activation(shrink, breakpoints=[-2, -0.5, 0.5, 2], name="shrink")
print(f"{shrinkage.name}(1.5) = {float(shrinkage(jnp.array(1.5))):.6f}")

# %%
# Breakpoints are the points where the function has kinks or jumps. Integrals are split there, which makes them exact
# to rounding. Forgetting one is noticed:

try:
    hntk.activation(shrink, breakpoints=[-2, 2])
except ValueError as error:
    print(error)

# %%
# What theory sees of it
# ----------------------
# A layer takes in Gaussian values of some scale :math:`\tau`. Of its activation theory needs the mean, the variance,
# and three more moments: :math:`e_1 = E[\sigma'(\tau\xi)]` and :math:`e_2 = E[\sigma''(\tau\xi)]`, of which Stein's
# identity makes integrals without a derivative, and :math:`s_2`, the same as :math:`e_2` for the square of the
# centred function. Four million draws agree with the integrals:

moments = shrinkage.moments(1.0)
xi = np.random.default_rng(1).standard_normal(4_000_000)
values = np.asarray(shrink(xi))
for name, ours, drawn in (
    ("mean", moments.mean, values),
    ("e1", moments.e1, xi * values),
    ("e2", moments.e2, (xi**2 - 1) * values),
    ("s2", moments.s2, (xi**2 - 1) * (values - moments.mean) ** 2),
):
    error = drawn.std() / len(xi) ** 0.5
    print(f"{name:5s} {ours:.6f}   drawn {drawn.mean():.4f} ± {error:.4f}")

# %%
# These moments make the coefficients of the equivalents, layer by layer:

network = [shrinkage, shrinkage]
print(hntk.coefficients(network, tau0=1.0))

# %%
# Exact kernels
# -------------
# Everything that takes ``"relu"`` takes the new activation. Kernels of the infinitely wide network are integrals
# over pairs of correlated Gaussians. A drawn network comes nearer to them the wider it is, like one over the root of
# the width:

data = hntk.reference_mixture(n=200, p=100, key=jax.random.key(0))
tau0 = data.population.tau0
exact = hntk.exact_kernels(data.x, network, tau0=tau0).ck
for width in (512, 1024, 2048):
    errors = []
    for seed in range(3):
        drawn = hntk.dense(network, width, data.x, tau0=tau0, key=jax.random.key(seed))
        features = drawn.features(data.x)
        errors.append(hntk.compare_kernels(features @ features.T, exact).frobenius)
    predicted = hntk.asymptotics.kernel_error(network, width, data.x, tau0=tau0)
    print(f"width {width:4d}: off by {np.mean(errors):.2f} of the exact kernel, {predicted:.2f} predicted")

# %%
# Few levels in its place
# -----------------------
# :func:`hntk.match` finds step functions with the same coefficients. What more levels bring is a smaller identity
# shift :math:`\delta`, the ridge that compression adds; 0 is a network without any loss. No step functions of so few
# levels can do better than the bound, by a proof that the match carries with it.

matches = {levels: hntk.match(network, tau0=1.0, levels=levels) for levels in (2, 3, 4, 8)}
print("levels  shift  no activations of so few levels have less than")
for levels, match in matches.items():
    print(f"{levels:6d}  {match.relative_shift:5.3f}  {max(match.certificate.bound - 1, 0):5.3f}")

# %%
# The first layer's staircases over the function they stand for, both less their means. A kernel does not see the
# signs of a function, so they are drawn the way round that is nearest:

figure, panels = plt.subplots(2, 1, figsize=(7, 7), layout="constrained")
for axes, levels in zip(panels, (3, 8), strict=True):
    hntk.plot.activation(matches[levels].activations[0], shrinkage, ax=axes)
    axes.set_title(f"{levels} levels")
plt.show()

# %%
# Above four levels there is room to spare: the staircase need not follow the function to have its moments.
#
# Such a match is one of the equivalents. The exact kernels of both networks, less the shift, are therefore some way
# apart for few samples in few dimensions, and approach each other as both grow, like :math:`p^{-1/2}`:

for p in (50, 100, 200, 400):
    sample = hntk.reference_mixture(n=2 * p, p=p, key=jax.random.key(0))
    scale = sample.population.tau0
    match = hntk.match(network, scale, levels=4)
    ours, theirs = (hntk.exact_kernels(sample.x, net, tau0=scale).ck for net in (network, match.activations))
    apart = hntk.compare_kernels(theirs - match.identity_shift * jnp.eye(2 * p), ours).operator
    print(f"p = {p:3d}, n = {2 * p:3d}: {apart:.3f} apart, in operator norm")

# %%
# Both networks take in the same samples and have nothing else in common: different functions, and other weights.

# %%
# Names, files and what to avoid
# ------------------------------
# :func:`hntk.register_activation` makes a function known by a name, so that configurations and saved networks can
# refer to it; a program that loads such a file registers it first.

hntk.register_activation("shrink", shrink, breakpoints=[-2, -0.5, 0.5, 2])
print(hntk.activation_names())

# %%
# * A function must be made of ``jax.numpy`` operations, elementwise, and must not grow faster than a Gaussian falls.
# * With a *jump* the function has no derivative, and the NTK's diagonal is infinite. Conjugate kernels and matches
#   are as well defined as ever; for the NTK give ``kappa_sq=``, or a ``surrogate=`` that training uses in place of
#   the derivative.
# * Functions cost quadrature where named ones have closed forms: kernels of ``relu``, ``erf`` or a staircase are
#   faster.
