r"""Kernel ridge regression with the equivalent kernels, on more samples than an (n, n) matrix allows.

To predict, a kernel must be a function of two samples, and what the equivalents know of a class must be read off the
sample. With $S_b = \frac1{n_b}\sum_{j \in b} x_j x_j^\top$ the second moments of the classes, the function is

$$k(x, x') = c_1\, x^\top x' + c_2\,(\|x\|^2 - \tau_0^2)(\|x'\|^2 - \tau_0^2)
    + c_3\, q(x)^\top G^{-1} q(x'), \qquad q_b(x) = x^\top S_b x,$$

and on the training samples $\gamma$ is added to the diagonal; $(c_1, c_2, c_3)$ are $\alpha_L$ or $\beta_L$. Its last
part is the orthogonal projection, in the Frobenius inner product of $xx^\top$ and $x'x'^\top$, of the kernel's
quadratic part $c_3 (x^\top x')^2$ onto the classes' second moments. It is the equivalent kernel in the limit:
$\|x_i\|^2 - \tau_0^2 = \psi_i + t_a/\sqrt p$ and $q_b(x_i) = T_{ab}/p$ up to terms that vanish in operator norm.

$G_{ab}$ is the mean of $q_b$ over class a, and a training sample is left out of the moment of its own class: with it,
$q_a$ would be larger by $\|x_i\|^4/n_a$, which is as large as $T_{aa}/p$ when n and p are comparable, and which no new
sample has. Directions of G below $\sqrt{2K/n}$ of its largest eigenvalue are left out: the noise of estimating their
moment would cost more, in operator norm, than they are worth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, Real

from hntk._utils.arguments import as_callback, as_choice, as_diagonal, as_instance, as_nonnegative, as_scale
from hntk._utils.arrays import check_result
from hntk._utils.labels import accuracy_score, as_labels, label_array
from hntk._utils.rows import as_rows, class_means, class_scatters, rms_norm, row_blocks
from hntk.activations import Activation
from hntk.data.dataset import training_part
from hntk.data.normalization import Normalization, prepare_samples
from hntk.data.population import as_index
from hntk.theory.coefficients import as_activations, coefficients
from hntk.theory.low_rank_operator import StructuredKernel

# ridges tried, in units of the kernel's mean eigenvalue
GRID = np.logspace(-4, 3, 29)


@dataclass(frozen=True)
class QuadraticForms:
    """What the equivalent kernels see of a sample besides its inner products.

    Attributes
    ----------
    moments : (K, p, p) second moments S_b of the classes.
    sizes : (K,) samples of every class.
    mixing : (K, k) classes to forms; the kernel's projected quadratic part is the inner product of (k,) forms.
    tau0 : data scale.
    """

    moments: Float[np.ndarray, "K p p"]
    sizes: Int[np.ndarray, " K"]
    mixing: Float[np.ndarray, "K k"]
    tau0: float

    @staticmethod
    def of(x: Real[np.ndarray, "n p"], index: Int[np.ndarray, " n"], tau0: float) -> QuadraticForms:
        """Of a training set.

        Raises
        ------
        ValueError
            For samples, classes 0 … K − 1 or a scale that do not fit, and classes of fewer than 2 samples.
        """
        x, tau0 = as_rows(x), as_scale(tau0)
        index = as_index(index, len(x))
        sizes, means = np.bincount(index), class_means(x, index)
        if np.any(sizes < 2):
            raise ValueError(
                f"class sizes are {sizes.tolist()}: the second moment of a class takes at least 2 samples. "
                "Drop small classes."
            )
        moments = class_scatters(x, index, means) / sizes[:, None, None]
        moments += means[:, :, None] * means[:, None, :]
        flat = moments.reshape(len(sizes), -1)
        gram = flat @ flat.T
        fourth = np.zeros(len(sizes))
        for part in row_blocks(x):
            fourth += np.bincount(index[part], _squares(x[part]) ** 2, minlength=len(sizes))
        diagonal = np.diag_indices(len(sizes))
        gram[diagonal] = (sizes * gram[diagonal] - fourth / sizes) / (sizes - 1)
        values, vectors = np.linalg.eigh(gram)
        if not values[-1] > 0:
            raise ValueError("all rows of x are zero: no kernel tells them apart. Check how they were made.")
        kept = values > np.sqrt(2 * len(sizes) / sizes.sum()) * values[-1]
        return QuadraticForms(moments, sizes, vectors[:, kept] / np.sqrt(values[kept]), tau0)

    def __call__(self, x: Real[np.ndarray, "m p"], index: Int[np.ndarray, " m"] | None = None) -> np.ndarray:
        """(m, k + 1): the forms and ‖x‖² − τ_0², of new samples, or of training samples with their classes.

        Raises
        ------
        ValueError
            For samples of another dimension, and classes that the training set has not.
        """
        x = as_rows(x)
        if x.shape[1] != self.moments.shape[1]:
            raise ValueError(f"x has {x.shape[1]} columns but the training samples had {self.moments.shape[1]}.")
        index = None if index is None else self._known(index, len(x))
        squares = _squares(x)
        out = np.empty((len(x), self.mixing.shape[1] + 1))
        out[:, -1] = squares - self.tau0**2
        forms = np.tensordot(self.mixing.T, self.moments, 1)
        if index is None:
            out[:, :-1] = _forms(x, forms)
            return out
        for a in np.unique(index):
            own, others = index == a, self.sizes[a] - 1
            weights = self.mixing[a] / others
            out[own, :-1] = _forms(x[own], forms + weights[:, None, None] * self.moments[a])
            out[own, :-1] -= squares[own, None] ** 2 * weights
        return out

    def _known(self, index: object, n: int) -> Int[np.ndarray, " m"]:
        given = label_array(index, n, "index")
        if given.dtype.kind not in "iu" or given.min() < 0 or given.max() >= len(self.sizes):
            raise ValueError(f"index must hold the training samples' classes, whole numbers below {len(self.sizes)}.")
        return given


def _squares(x: Real[np.ndarray, "m p"]) -> Float[np.ndarray, " m"]:
    return np.einsum("ij,ij->i", x, x, dtype=np.float64)


def _forms(x: Real[np.ndarray, "m p"], matrices: Float[np.ndarray, "k p p"]) -> Float[np.ndarray, "m k"]:
    """xᵀ Q x, in the precision of the samples: a form is no more precise than they are."""
    exact = x if x.dtype == np.float64 else x.astype(np.float32)
    return np.stack([np.einsum("ij,ij->i", exact @ q.astype(exact.dtype), exact) for q in matrices], axis=1)


@dataclass(frozen=True)
class EquivalentRegression:
    """A classifier by kernel ridge regression on centred one-hot targets.

    Attributes
    ----------
    classes : (K,) labels in the order of the scores.
    kernel : the equivalent kernel between training samples, an operator.
    forms : what else it takes of a sample than inner products.
    linear : (p, K) scores = x · linear + forms(x) · quadratic + offset.
    quadratic : (k + 1, K).
    offset : (K,) shares of the classes.
    ridge : λ that was used.
    tried : (λ, mean square leave-one-out error, share of leave-one-out predictions that are right) by λ; empty when
        the ridge was given.
    normalization : what raw samples go through first, where it is known.
    """

    classes: np.ndarray
    kernel: StructuredKernel
    forms: QuadraticForms
    linear: Float[np.ndarray, "p K"]
    quadratic: Float[np.ndarray, "k_plus_1 K"]
    offset: Float[np.ndarray, " K"]
    ridge: float
    tried: tuple[tuple[float, float, float], ...] = ()
    normalization: Normalization | None = None

    def scores(self, x: object, *, raw: bool = False) -> Float[np.ndarray, "m K"]:
        """Return one score per class; the largest wins.

        Parameters
        ----------
        x : (m, p) samples, normalised as the training samples were.
        raw : whether they are raw instead, to go through ``normalization`` first.

        Raises
        ------
        ValueError
            If x does not have the training samples' dimension, is not finite, or is raw and the normalisation is not
            known.
        """
        samples = as_rows(prepare_samples(x, self.normalization, self.forms.tau0, raw=raw))
        if samples.shape[1] != len(self.linear):
            raise ValueError(
                f"x has {samples.shape[1]} columns but the training samples had {len(self.linear)}: treat both alike."
            )
        parts = (samples[part] for part in row_blocks(samples))
        found = np.concatenate([part @ self.linear + self.forms(part) @ self.quadratic for part in parts])
        check_result(found, "a score")
        return found + self.offset

    def predict(self, x: object, *, raw: bool = False) -> np.ndarray:
        """Return predicted labels, (m,), of samples as for :meth:`scores`."""
        return self.classes[np.argmax(self.scores(x, raw=raw), axis=1)]

    def accuracy(self, x: object, labels: object, *, raw: bool = False) -> float:
        """Return the share of samples, as for :meth:`scores`, whose label is predicted.

        Raises
        ------
        ValueError
            If x does not fit, or there is not one label per row of it.
        """
        return accuracy_score(self.predict(x, raw=raw), labels)


def fit_equivalent(
    x: object,
    labels: object,
    activations: Sequence[str | Activation],
    *,
    kernel: Literal["ck", "ntk"] = "ntk",
    ridge: float | None = None,
    tau0: float | None = None,
    kappa_sq: float | None = None,
    normalization: Normalization | None = None,
    progress: Callable[[int], None] | None = None,
) -> EquivalentRegression:
    r"""Classify by kernel ridge regression with the equivalent CK or NTK, in O(np) memory and O(np²) time.

    Parameters
    ----------
    x : (n, p) training samples, ‖x_i‖² ≈ τ_0², or a :class:`hntk.Dataset`, whose training part is taken; a memory map
        is read in blocks and never copied.
    labels : (n,) whole numbers, real numbers, booleans or text; None for a data set's own.
    activations : one per layer.
    kernel : ``"ntk"`` or ``"ck"``.
    ridge : λ ≥ 0, added to the kernel's own multiple of the identity; None chooses it from ``GRID`` times the mean
        eigenvalue, by mean square leave-one-out error.
    tau0 : root mean square norm; by default the data's.
    kappa_sq : the NTK's diagonal κ_L², to be declared when an activation jumps.
    normalization : what raw samples go through before they are like x, for the result to take those with ``raw=True``;
        by default the data set's own.
    progress : called with the number of samples done, after each block of the choice of the ridge.

    Raises
    ------
    ValueError
        For data, labels or settings that do not fit, classes too small, or a singular matrix.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=2000, p=40, key=jax.random.key(0))
    >>> fitted = hntk.fit_equivalent(data.x[::2], data.labels[::2], ["relu"] * 3)
    >>> fitted.accuracy(data.x[1::2], data.labels[1::2]) > 0.95
    True
    """
    as_choice(kernel, "kernel", ("ck", "ntk"))
    declared, progress = as_diagonal(kappa_sq), as_callback(progress)
    ridge = None if ridge is None else as_nonnegative(ridge, "ridge", "None has it chosen")
    if normalization is not None:
        as_instance(normalization, "normalization", Normalization, "a hntk.Normalization")
    x, labels, normalization = training_part(x, labels, normalization)
    x = as_rows(x)
    classes, index = as_labels(labels, len(x))
    scale = rms_norm(x) if tau0 is None else as_scale(tau0)
    net = coefficients(as_activations(activations), scale)
    forms = QuadraticForms.of(x, index, scale)
    if kernel == "ck":
        (c1, c2, c3), diagonal = map(float, net.alpha[-1, :3]), float(net.tau[-1] ** 2)
    else:
        c1, c2, c3 = map(float, net.beta[-1])
        diagonal = float(net.kappa_sq[-1]) if declared is None else declared
    factor = np.concatenate([forms(x[part], index[part]) for part in row_blocks(x)])
    core = np.diag([c3] * (factor.shape[1] - 1) + [c2])
    operator = StructuredKernel(x, c1, factor, core, diagonal - scale**2 * c1)
    shares = np.bincount(index) / len(x)
    targets = np.eye(len(classes))[index] - shares
    tried: tuple[tuple[float, float, float], ...] = ()
    if ridge is None:
        tried = _tried(operator, targets, index, shares, GRID * diagonal, progress)
        ridge = min(tried, key=lambda found: found[1])[0]
    dual = operator.solve(targets, ridge)
    check_result(dual, "the regression")
    return EquivalentRegression(
        classes, operator, forms, *operator.weights(dual), shares, float(ridge), tried, normalization
    )


def _tried(
    kernel: StructuredKernel,
    targets: np.ndarray,
    index: np.ndarray,
    shares: np.ndarray,
    ridges: np.ndarray,
    progress: Callable[[int], None] | None,
) -> tuple[tuple[float, float, float], ...]:
    """(λ, mean square error, accuracy), both of leave-one-out predictions."""
    squares, right = np.zeros(len(ridges)), np.zeros(len(ridges))
    for part, errors in kernel.leave_one_out_grid(targets, list(ridges)):
        squares += np.sum(errors**2, axis=(1, 2))
        predicted = np.argmax(targets[part] + shares - errors, axis=2)
        right += np.sum(predicted == index[part], axis=1)
        if progress is not None:
            progress(part.stop - part.start)
    n = len(targets)
    return tuple(zip(map(float, ridges), map(float, squares / n), map(float, right / n), strict=True))
