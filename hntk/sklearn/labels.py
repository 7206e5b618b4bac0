"""Labels between scikit-learn and hntk, and scores as scikit-learn has them."""

from __future__ import annotations

import numpy as np
from sklearn.utils.multiclass import check_classification_targets


def known_labels(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted classes as scikit-learn shows them, and every sample's label as hntk keeps it in files.

    Whole numbers of a floating-point type become integers, as hntk takes such numbers for targets of a regression.

    Raises
    ------
    ValueError
        If y holds no labels of a classification, or one class alone.
    """
    check_classification_targets(y)
    classes, index = np.unique(y, return_inverse=True)
    if classes.size < 2:
        raise ValueError(f"y holds one class only ({classes.tolist()}), and a classifier needs two at least.")
    kept = classes.astype(np.int64) if classes.dtype.kind == "f" else classes
    return classes, kept[index]


def margins(scores: np.ndarray) -> np.ndarray:
    """Return scores of shape (n, K) as decision functions are: of two classes the difference, of shape (n,)."""
    return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores
