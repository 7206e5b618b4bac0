"""A sample covariance matrix with one eigenvalue beyond the bulk."""

from __future__ import annotations

import numpy as np

N = 300
FEATURES = np.random.default_rng(0).standard_normal((N, 450)) / np.sqrt(450)
MATRIX = FEATURES @ FEATURES.T + 9 * np.outer(FEATURES[:, 0], FEATURES[:, 0])
VALUES = np.linalg.eigvalsh(MATRIX)[::-1]
