r"""
Your own data, and whether theory applies to it
===============================================

This page brings a data set of images to hntk, asks :func:`hntk.check` whether it lies in the theory's regime, tries
what normalisation does for it, and then compresses a network on it all the same. The data are scikit-learn's digits,
so that the page needs no download. They are a hard case for the theory, and the page says where that shows.
"""

# %%
# A file that hntk reads
# ----------------------
# :func:`hntk.load_dataset` reads a folder of MNIST's four IDX files, or an ``.npz`` of ``x_train``, ``y_train``,
# ``x_test`` and ``y_test``. Samples are rows, or images, which become rows. Here is how to write such a file:

import tempfile
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import hntk

jax.config.update("jax_enable_x64", True)
images, digits = load_digits(return_X_y=True)
test = np.arange(len(digits)) % 4 == 0
folder = Path(tempfile.mkdtemp())
np.savez(
    folder / "digits.npz",
    x_train=images[~test], y_train=digits[~test], x_test=images[test], y_test=digits[test],
)  # fmt: skip

data = hntk.load_dataset("digits", folder=folder)
print("training part:", data.x_train.shape, " test part:", data.x_test.shape, " classes:", data.classes.tolist())

# %%
# By default the training mean is subtracted from both parts, and both are divided by one number that makes the root
# mean square norm of the training samples, :math:`\tau_0`, equal to 1. What was done is kept, and goes into the file
# of a classifier that is fitted on the data set:

print("tau_0 =", round(data.tau0, 6), "  normalisation:", data.normalization)

# %%
# Does the theory apply?
# ----------------------
# The theory expands a kernel in two quantities that it takes for small: the correlations of different samples, and
# the deviations of their squared norms from :math:`\tau_0^2`. :func:`hntk.check` measures what makes them large.
# With a network it also computes the exact kernel on some samples, and its distance from the equivalent.

network = ["relu", "relu"]
report = hntk.check(data.x_train, data.y_train, network)
print(report)

# %%
# So the answer is no. The last line is the one that counts: the equivalent is off by a quarter of the kernel. The
# lines above say why. There are 64 pixels, and they are correlated, so that samples are as if drawn in about 20
# dimensions. And the digits differ by more than a kernel *just* sees: the mean of one class has more than half of a
# sample's squared norm.
#
# A mixture made for the theory passes:

mixture = hntk.reference_mixture(n=1000, p=1000, key=jax.random.key(0))
print("mixture:", hntk.check(mixture.x, mixture.labels, network).applies)

# %%
# What normalisation does
# -----------------------
# ``normalize="unit_norm"`` divides every sample by its norm as well, and ``"whiten"`` evens out the directions of
# the data. Each mends what it is made for. The figure has every finding in units of its limit: what is left of the
# line holds.

reports = {"scale (the default)": report}
for kind in ("unit_norm", "whiten"):
    other = hntk.load_dataset("digits", folder=folder, normalize=kind)
    reports[kind] = hntk.check(other.x_train, other.y_train, network)

figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
for (kind, each), marker, colour in zip(reports.items(), "os^", ("#0072B2", "#D55E00", "#009E73"), strict=True):
    shown = each.findings[2:]
    axes.plot([max(f.value / f.limit, 0.02) for f in shown], range(len(shown)), marker, color=colour, label=kind)
axes.axvline(1, color="#555555", lw=1)
axes.set(xscale="log", xlabel="measured / limit (smaller values are drawn at .02)")
axes.set_yticks(range(len(shown)), [f.name.split(":")[0] for f in shown])
axes.invert_yaxis()
axes.legend(frameon=False, loc="lower left")
plt.show()

# %%
# On these digits no normalisation brings the kernel near its equivalent: 64 dimensions are too few. On all of MNIST,
# with 784 pixels, whitening brings the distance from .329 to .087 (``python -m experiments.run +exp=mnist``). So it
# is worth trying, and worth measuring.

# %%
# The quantities behind the check
# -------------------------------
# :func:`hntk.estimate_population` estimates what the theory needs to know of the classes: means :math:`\mu_a`,
# traces :math:`\mathrm{tr}\,C_a/p` and overlaps :math:`T_{ab} = \mathrm{tr}\,C_aC_b/p`. Where n and p are
# comparable, putting sample covariances into the last formula is off by a constant; these estimates are not. On the
# mixture, where the truth is known:

population = hntk.estimate_population(mixture.x, mixture.labels)
plug_in = [np.sum(np.cov(np.sqrt(1000) * mixture.x[mixture.labels == a].T) ** 2) / 1000 for a in (0, 1)]
print("T_aa, plug-in:  ", np.round(plug_in, 2))
print("T_aa, estimated:", np.diag(population.overlaps).round(2))
print("T_aa, truth:    ", np.diag(mixture.population.overlaps).round(2))

# %%
# For the digits they give an effective dimension, :math:`(\mathrm{tr}\,C)^2/\mathrm{tr}\,C^2`, of the class
# covariances on average:

digit_classes = hntk.estimate_population(data.x_train, data.y_train)
shares = digit_classes.proportions
effective = 64 * digit_classes.tau0**4 / (shares @ digit_classes.overlaps @ shares)
print(f"effective dimension: {effective:.0f} of 64")

# %%
# Compressing all the same
# ------------------------
# That the theory does not describe the data does not mean that a matched network is bad on it. It means that theory
# does not promise that it is good, and so it has to be measured. Means and standard errors of the test accuracy over
# four draws, of networks with 512 neurons in both layers:


def accuracy(levels=None):
    """Return test accuracies of four drawn networks: the dense one, or one with so many levels."""
    right = []
    for seed in range(4):
        key = jax.random.key(seed)
        if levels is None:
            drawn = hntk.dense(network, 512, data.x_train, key=key)
        else:
            drawn = hntk.compress(network, 512, data.x_train, levels=levels, key=key)
        right.append(np.mean(hntk.fit_ridge(drawn, data).predict(data.x_test) == data.y_test))
    return np.array(right)


matches = {levels: hntk.match(network, data.tau0, levels=levels) for levels in (2, 4, 8)}
for name, given in (("dense", None), *((f"{n} levels", found) for n, found in matches.items())):
    right = accuracy(given)
    print(f"{name:9s} {right.mean():.3f} ± {right.std(ddof=1) / 2:.3f}")

# %%
# Eight levels are within about one standard error of the dense network, four within two, and two are well behind.
# That is the order of their identity shifts, which theory knows without any data:

for levels, found in matches.items():
    print(f"{levels} levels: identity shift {found.relative_shift:.1%} of the original's diagonal")

# %%
# If theory does not apply
# ------------------------
# * Take more levels. They cost next to nothing in a file, since activations are a few numbers a layer.
# * ``objective="data"`` of :func:`hntk.match` moves thresholds and levels to where a regression on your samples
#   predicts best, at infinite width, or with the noise of the ``widths=`` that it is told. It takes minutes, and is
#   no sure gain. On all of MNIST it brings 4 levels from .9271 to .9326 (``+exp=mnist``). On these digits, three
#   layers of 512 neurons, 4 levels, ``alpha2=False`` and no widths told, it was behind theory's match: .954 against
#   .963, means of three draws.
# * :func:`hntk.plan` with ``accuracy=`` finds the cheapest network by trying it on held-out samples.
# * :func:`hntk.train` trains ternary weights, if labels and an hour are there.
#
# :doc:`/limits` lists what is known to go wrong.
