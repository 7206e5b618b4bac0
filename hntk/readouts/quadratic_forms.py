r"""Quadratic forms of a sample by which an equivalent kernel becomes a function of two samples.

With $S_b = \frac1{n_b}\sum_{j \in b} x_j x_j^\top$ the second moments of the classes and $q_b(x) = x^\top S_b x$,

$$q(x)^\top G^{-1} q(x')$$

is the orthogonal projection, in the Frobenius inner product of $xx^\top$ and $x'x'^\top$, of $(x^\top x')^2$ onto the
classes' second moments.

$G_{ab}$ is the mean of $q_b$ over class a, and a training sample is left out of the moment of its own class: with it,
$q_a$ would be larger by $\|x_i\|^4/n_a$, which is as large as $T_{aa}/p$ when n and p are comparable, and which no new
sample has. Directions of G below $\sqrt{2K/n}$ of its largest eigenvalue are left out: the noise of estimating their
moment would cost more, in operator norm, than they are worth.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Real

from hntk._utils.arguments import as_scale
from hntk._utils.labels import brief_sizes, label_array
from hntk._utils.pytree import array_dataclass
from hntk._utils.rows import as_rows, class_means, class_scatters, row_blocks
from hntk.data.population import as_index


@array_dataclass()
class QuadraticForms:
    """What the equivalent kernels take of a sample besides its inner products.

    Attributes
    ----------
    moments : ndarray of shape (K, p, p)
        Second moments S_b of the classes.
    sizes : ndarray of shape (K,)
        Number of training samples of every class.
    mixing : ndarray of shape (K, k)
        Classes to forms: (q_1(x), …, q_K(x)) times this gives k forms, and the inner product of two samples' forms is
        the projected quadratic part of the kernel.
    tau0 : float
        Root mean square norm of a training sample.
    """

    moments: Float[np.ndarray, "K p p"]
    sizes: Int[np.ndarray, " K"]
    mixing: Float[np.ndarray, "K k"]
    tau0: float

    @staticmethod
    def of(x: Real[np.ndarray, "n p"], index: Int[np.ndarray, " n"], tau0: float) -> QuadraticForms:
        """Estimate the forms of a training set.

        Parameters
        ----------
        x : array of shape (n, p)
            Training samples; a memory map is read in blocks.
        index : array of shape (n,)
            Class of each sample, whole numbers 0 … K − 1.
        tau0 : float
            Root mean square norm of a sample.

        Returns
        -------
        QuadraticForms
            The forms.

        Raises
        ------
        ValueError
            If samples, classes or scale do not fit, or a class has fewer than 2 samples.
        """
        x, tau0 = as_rows(x), as_scale(tau0)
        index = as_index(index, len(x))
        sizes = np.bincount(index)
        if np.any(sizes < 2):
            raise ValueError(
                f"{brief_sizes(sizes)}: the second moment of a class takes at least 2 samples. Drop small classes."
            )
        means = class_means(x, index)
        moments = class_scatters(x, index, means) / sizes[:, None, None]
        moments += means[:, :, None] * means[:, None, :]
        return QuadraticForms(moments, sizes, _mixing(_form_means(x, index, moments, sizes), sizes), tau0)

    def __call__(self, x: Real[np.ndarray, "m p"], index: Int[np.ndarray, " m"] | None = None) -> np.ndarray:
        """Return the forms and ‖x‖² − τ_0² of new samples, or of training samples.

        Parameters
        ----------
        x : array of shape (m, p)
            Samples.
        index : array of shape (m,), optional
            Classes of training samples, for each to be left out of the moment of its own class; None for new samples.

        Returns
        -------
        ndarray of shape (m, k + 1)
            The k forms, then ‖x‖² − τ_0².

        Raises
        ------
        ValueError
            If samples are of another dimension, or a class is not one of the training set's.
        """
        x = as_rows(x)
        if x.shape[1] != self.moments.shape[1]:
            raise ValueError(f"x has {x.shape[1]} columns but the training samples had {self.moments.shape[1]}.")
        squares = _squared_norms(x)
        if index is None:
            forms = _evaluate(x, np.tensordot(self.mixing.T, self.moments, 1))
        else:
            forms = self._left_out(x, self._check_index(index, len(x)), squares)
        return np.column_stack([forms, squares - self.tau0**2])

    def _left_out(
        self, x: Real[np.ndarray, "m p"], index: Int[np.ndarray, " m"], squares: Float[np.ndarray, " m"]
    ) -> Float[np.ndarray, "m k"]:
        """Return the forms of training samples, each without its own part in its class's moment."""
        matrices, forms = np.tensordot(self.mixing.T, self.moments, 1), np.empty((len(x), self.mixing.shape[1]))
        for a in np.unique(index):
            own = index == a
            # The mean over the other n_a − 1 samples is (n_a S_a − x xᵀ)/(n_a − 1) = S_a + (S_a − x xᵀ)/(n_a − 1).
            weights = self.mixing[a] / (self.sizes[a] - 1)
            forms[own] = _evaluate(x[own], matrices + weights[:, None, None] * self.moments[a])
            forms[own] -= squares[own, None] ** 2 * weights
        return forms

    def _check_index(self, index: object, n: int) -> Int[np.ndarray, " m"]:
        classes = label_array(index, n, "index")
        if classes.dtype.kind not in "iu" or classes.min() < 0 or classes.max() >= len(self.sizes):
            raise ValueError(f"index must hold the training samples' classes, whole numbers below {len(self.sizes)}.")
        return classes


def _form_means(
    x: Real[np.ndarray, "n p"],
    index: Int[np.ndarray, " n"],
    moments: Float[np.ndarray, "K p p"],
    sizes: Int[np.ndarray, " K"],
) -> Float[np.ndarray, "K K"]:
    """Return G: the mean of q_b over class a is tr S_a S_b, and without each sample's own part where a = b."""
    flat = moments.reshape(len(sizes), -1)
    means = flat @ flat.T
    fourth = np.zeros(len(sizes))
    for rows in row_blocks(x):
        fourth += np.bincount(index[rows], _squared_norms(x[rows]) ** 2, minlength=len(sizes))
    diagonal = np.diag_indices(len(sizes))
    means[diagonal] = (sizes * means[diagonal] - fourth / sizes) / (sizes - 1)
    return means


def _mixing(form_means: Float[np.ndarray, "K K"], sizes: Int[np.ndarray, " K"]) -> Float[np.ndarray, "K k"]:
    """Return a root of G⁻¹ on the directions of G that stand above the noise."""
    values, vectors = np.linalg.eigh(form_means)
    if not values[-1] > 0:
        raise ValueError("all rows of x are zero: no kernel tells them apart. Check how they were made.")
    kept = values > np.sqrt(2 * len(sizes) / sizes.sum()) * values[-1]
    return vectors[:, kept] / np.sqrt(values[kept])


def _squared_norms(x: Real[np.ndarray, "m p"]) -> Float[np.ndarray, " m"]:
    return np.einsum("ij,ij->i", x, x, dtype=np.float64)


def _evaluate(x: Real[np.ndarray, "m p"], matrices: Float[np.ndarray, "k p p"]) -> Float[np.ndarray, "m k"]:
    """Return xᵀ Q x for every matrix Q, in the precision of the samples: a form is no more precise than they are."""
    if not len(matrices):
        return np.empty((len(x), 0))
    exact = x if x.dtype == np.float64 else x.astype(np.float32)
    return np.stack([np.einsum("ij,ij->i", exact @ q.astype(exact.dtype), exact) for q in matrices], axis=1)
