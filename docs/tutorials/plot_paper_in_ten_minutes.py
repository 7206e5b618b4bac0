r"""
The paper in ten minutes
========================

This page goes through the paper that hntk is built on, `"Lossless" compression of deep neural networks: a
high-dimensional neural tangent kernel approach <https://arxiv.org/abs/2403.00258>`_ (Gu et al., NeurIPS 2022), on a
mixture of two Gaussians. It computes a network's exact kernel, replaces it by the deterministic equivalent of
theorem 1, solves for a network of ternary weights and four levels with the same equivalent, draws that network, and
compares spectra and accuracies.

Nothing is trained but a linear readout: the hidden layers of both networks are random.
"""

# %%
# The data
# --------
# Two classes in :math:`p = 400` dimensions, 400 samples each. Class :math:`a` has a mean of norm 3 along a
# coordinate of its own, and the covariance :math:`C_a = (1 + 3a/\sqrt p)\,I`. The samples are
# :math:`x_i = (\mu_a + z_i)/\sqrt p`, so that their norms are near 1. Both differences are small on purpose: at this
# scale they are just visible to a kernel.
#
# hntk computes in the precision of JAX, and theory wants float64.

import jax
import matplotlib.pyplot as plt
import numpy as np

import hntk
import hntk.plot

jax.config.update("jax_enable_x64", True)
data = hntk.reference_mixture(n=800, p=400, key=jax.random.key(0))
test = hntk.reference_mixture(n=2000, p=400, key=jax.random.key(1))
print("samples", data.x.shape, "and their norms:", np.linalg.norm(data.x, axis=1).round(3)[:5])

# %%
# The exact kernel
# ----------------
# The original network has three layers of ReLU. With infinitely many neurons and random weights its features have a
# kernel that depends on the samples alone: the *conjugate kernel* (CK) :math:`K_{ij} = E[\sigma(u_i)\sigma(u_j)]`,
# layer by layer. The *neural tangent kernel* (NTK) is that of training all layers by small steps.

original = ["relu", "relu", "relu"]
exact = hntk.exact_kernels(data.x, original)
print("conjugate kernel:", exact.ck.shape, " neural tangent kernel:", exact.ntk.shape)

# %%
# Its equivalent
# --------------
# Theorem 1: for large :math:`n` and :math:`p` the CK is, in operator norm, as good as
#
# .. math:: \tilde K = \alpha_1 X X^\top + V A(\alpha_2, \alpha_3) V^\top + (\tau_L^2 - \tau_0^2\alpha_1) I ,
#
# a Gram matrix of the data, a matrix of low rank that holds what tells the classes apart, and a multiple of the
# identity. Of the whole network only four numbers are left, :math:`\alpha_1, \alpha_2, \alpha_3` and
# :math:`\tau_L^2`.

theory = hntk.equivalent_kernels(data.x, data.labels, original, population=data.population)
numbers = hntk.coefficients(original, data.population.tau0)
print("alpha:", numbers.alpha[-1, :3].round(4), " tau squared:", (numbers.tau[-1] ** 2).round(4))
error = hntk.compare_kernels(exact.ck, theory.ck)
print(f"equivalent against exact, in operator norm: {error.operator:.3f} of the exact kernel's")

# %%
# The equivalent is not a matrix of 800 × 800 numbers but a sum of few factors, so that its products, eigenvalues and
# solutions take memory of the order of the data. That the error is small, and falls as :math:`n` and :math:`p` grow,
# is measured in ``python -m experiments.run +exp=convergence``.

# %%
# The match
# ---------
# If only four numbers count, another network may have them too. :func:`hntk.match` solves for step functions of four
# levels, one for each layer, with the same :math:`\alpha_1, \alpha_2, \alpha_3`.

match = hntk.match(original, data.population.tau0, levels=4)
print(match.report())

# %%
# The fourth number, :math:`\tau_L^2`, cannot always be the same as well. What the compressed network has more of it,
# the *identity shift* :math:`\delta`, is a multiple of the identity in its kernel. In a ridge regression that is a
# ridge: :math:`K + \delta I` with the ridge :math:`\lambda - \delta` predicts what :math:`K` does with
# :math:`\lambda`. With more levels :math:`\delta` becomes 0.
#
# The staircases are not rounded ReLUs. They have the Gaussian moments of the original's layers, up to what later
# layers make good, and may turn back where that helps. Here they are over centred ReLUs, with the share of inputs on
# each level; a function may be drawn mirrored where that brings it nearer to ReLU, as a kernel does not see that.

figure, panels = plt.subplots(3, 1, figsize=(7, 9), layout="constrained")
for number, (axes, staircase) in enumerate(zip(panels, match.activations, strict=True)):
    scales = {"tau": match.coefficients.tau[number], "original_tau": match.original_coefficients.tau[number]}
    hntk.plot.activation(staircase, original[number], **scales, ax=axes)
    axes.set_title(f"layer {number + 1}")
plt.show()

# %%
# The kernel of the compressed network
# ------------------------------------
# Its exact CK, less :math:`\delta I`, against the original's:

compressed = hntk.exact_kernels(data.x, match.activations).ck
difference = hntk.compare_kernels(compressed - match.identity_shift * np.eye(len(compressed)), exact.ck)
print(f"compressed against original, in operator norm: {difference.operator:.3f} of the original's")

# %%
# So both have the spectrum that theory predicts: a bulk, and two eigenvalues that stand out of it, one for each
# class. :mod:`hntk.asymptotics` finds the edges of the bulk and these *spikes* from the means and covariances alone,
# without a sample.

from hntk.asymptotics import LimitingKernel, MixtureLaw

law = MixtureLaw.of(3 * np.eye(2, 400), [1.0, 1 + 3 / np.sqrt(400)])
limit = LimitingKernel.of(law, 800, original)
print("edges of the bulk:", limit.support().round(4).tolist())
for spike in limit.spikes()[:2]:
    print(spike)

shifted = compressed - match.identity_shift * np.eye(len(compressed))
figure, panels = plt.subplots(2, 1, figsize=(7, 7), sharex=True, layout="constrained")
for axes, kernel, name in zip(panels, (exact.ck, shifted), ("the original", "4 levels, less δ"), strict=True):
    hntk.plot.density(limit, kernel, spikes=limit.spikes()[:2], ax=axes)
    axes.set_title(f"conjugate kernel of {name}")
plt.show()

# %%
# Half of all eigenvalues are one number in the limit, because the 800 samples span 400 dimensions. In the exact
# kernel of 800 samples that peak is as wide as their norms vary, and a draw of the samples moves the spikes by a few
# per cent. :meth:`~hntk.asymptotics.LimitingKernel.finite_size_density` is the same theory for exact kernels at
# their size.

# %%
# The drawn network
# -----------------
# Kernels are of infinitely wide networks. A real one has so many neurons: here 2048, 2048 and 1024. The weights are
# 0, 1 and −1, half of them 0, in orthogonal blocks, which stray less from the limit than independent ones. Dense
# weights can be orthogonal as well.

widths = [2048, 2048, 1024]
small = hntk.compress(original, widths, data.x, levels=match, sparsity=0.5, key=jax.random.key(2))
drawn = {
    "dense, Gaussian": hntk.dense(original, widths, data.x, key=jax.random.key(3)),
    "dense, orthogonal": hntk.dense(original, widths, data.x, law="orthogonal_gaussian", key=jax.random.key(3)),
    "4 levels, ternary": small,
}
for name, network in drawn.items():
    took = hntk.storage(network, classes=2)
    readout = hntk.fit_ridge(network, data.x, data.labels)
    right = np.mean(readout.predict(test.x) == test.labels)
    print(f"{name:18s} hidden weights {took.hidden:>10,} bytes   test accuracy {right:.4f}")

# %%
# And what infinite width would reach, by kernel ridge regression with either exact kernel: with the ridge
# :math:`\lambda` for the original and :math:`\lambda - \delta` for the compressed network, as above.

ridge = 0.1 * float(numbers.tau[-1] ** 2)
targets = 2.0 * data.labels - 1
for name, network, own in (
    ("original", original, ridge),
    ("4 levels", match.activations, match.ridge_for(ridge)),
):
    both = hntk.exact_kernels(np.concatenate([data.x, test.x[:800]]), network, tau0=data.population.tau0).ck
    weights = np.linalg.solve(both[:800, :800] + own * np.eye(800), targets)
    scores = both[800:, :800] @ weights
    right = np.mean((scores > 0) == (test.labels[:800] > 0))
    print(f"infinite width, {name}: {right:.4f}")

# %%
# What to take away
# -----------------
# * The kernels of a wide network on high-dimensional data depend on its activations through a few Gaussian moments.
# * So a network of ternary weights and few levels can be *solved for* that predicts as the original does.
# * What networks of these widths lose against infinite width is noise, and more than what compression costs.
#   Orthogonal weights have less of it, dense or ternary; as ternary blocks they take some 1,500 bytes in place of 28
#   million.
#
# The theory wants data that look like a mixture whose norms concentrate. Whether yours do is the subject of
# :ref:`sphx_glr_auto_tutorials_plot_your_own_data.py`; where it ends is in :doc:`/limits`.
