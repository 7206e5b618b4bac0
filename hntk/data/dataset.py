r"""A labelled data set in the scale of the theory: $x \leftarrow (x - \bar x)/s$ with $\bar x$, $s$ from training.

Real data is centred by the mean of the training rows and divided by one number for the whole set, so that
$\tau_0^2 = \frac1n \sum_i \|x_i\|^2 = 1$ on the training rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32, Float64, Int, Real, UInt8

from hntk._utils.arguments import as_path
from hntk._utils.arrays import brief
from hntk._utils.labels import as_labels, label_array
from hntk._utils.rows import row_blocks
from hntk.data.idx import read_idx_folder
from hntk.data.locate import locate
from hntk.data.normalization import Normalization
from hntk.data.npz import read_npz
from hntk.data.splits import as_splits, select

Scaling = Literal["scale", "unit_norm", "whiten"]
SHRINKAGE = 0.1


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test samples as rows, and the normalisation that was applied to both.

    Attributes
    ----------
    x_train : (n, p) training samples, (raw − centre)/scale.
    y_train : (n,) their labels, as in the files.
    x_test : (m, p) test samples, normalised by the training statistics.
    y_test : (m,) their labels.
    name : the name the data set was asked for by.
    classes : (K,) the labels that occur in y_train, sorted.
    centre : (p,) what was subtracted: the mean of the raw training rows, or zeros.
    scale : what was divided by: the root mean square norm of the centred training rows, or 1.
    pixels : whether the files hold bytes from 0 to 255.
    whitening : (p, p), what rows were then multiplied by; None but for ``normalize="whiten"``.
    unit_norm : whether every row was divided by its norm at last.
    image_shape : shape of one sample where the files hold images, such as (28, 28), else None.
    """

    x_train: Float32[np.ndarray, "n p"]
    y_train: Int[np.ndarray, " n"]
    x_test: Float32[np.ndarray, "m p"]
    y_test: Int[np.ndarray, " m"]
    name: str
    classes: Int[np.ndarray, " K"]
    centre: Float64[np.ndarray, " p"]
    scale: float
    image_shape: tuple[int, ...] | None
    pixels: bool = False
    whitening: Float64[np.ndarray, "p p"] | None = None
    unit_norm: bool = False

    @property
    def p(self) -> int:
        """Dimension of a sample."""
        return self.x_train.shape[1]

    @property
    def tau0(self) -> float:
        """τ_0, the root mean square norm of the training rows: 1 up to float32 rounding if they were normalised."""
        return float(np.sqrt(_mean_square_norm(self.x_train, np.zeros(self.p))))

    @property
    def normalization(self) -> Normalization:
        """What was applied, for a classifier to take raw samples."""
        whitening = None if self.whitening is None else self.whitening.astype(np.float32)
        return Normalization(self.centre.astype(np.float32), self.scale, whitening, self.unit_norm)

    def raw(self, x: Float32[np.ndarray, "m p"]) -> Float32[np.ndarray, "m p"] | UInt8[np.ndarray, "m p"]:
        """Rows of x_train or x_test as they are in the files, up to float32 rounding; bytes exactly.

        Raises
        ------
        ValueError
            If rows were whitened or divided by their norms as well.

        Examples
        --------
        >>> import numpy as np, tempfile
        >>> from hntk.data import load_dataset
        >>> x, y = np.arange(24, dtype=np.uint8).reshape(6, 2, 2), np.arange(6) % 2
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/toy.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
        ...     data = load_dataset("toy", folder=folder)
        >>> data.raw(data.x_test).tolist()
        [[0, 1, 2, 3], [4, 5, 6, 7]]
        """
        if self.whitening is not None or self.unit_norm:
            raise ValueError(
                f"{self.name} was {'brought to unit norms' if self.unit_norm else 'whitened'}, which cannot be undone: "
                "load it with normalize='scale'."
            )
        found = np.asarray(x) * self.scale + self.centre
        return np.rint(found).astype(np.uint8) if self.pixels else found.astype(np.float32)


def load_dataset(
    name: str,
    *,
    folder: str | os.PathLike[str] | None = None,
    classes: Iterable[int] | None = None,
    n_train: int | None = None,
    n_test: int | None = None,
    seed: int = 0,
    normalize: bool | Scaling = True,
) -> Dataset:
    r"""Read a data set from disk, keep a part of it, and bring it to the scale of the theory.

    The training rows that are kept give $\bar x$ and $s^2 = \frac1n \sum_i \|x_i - \bar x\|^2$, in float64; both
    parts become $(x - \bar x)/s$.

    Parameters
    ----------
    name : of the data set: the subfolder of IDX files or the .npz in ``folder``. Where ``folder`` itself is an .npz
        or holds the files, the name is only a label.
    folder : where the data lies; by default the environment variable HNTK_DATA. IDX files are the four of MNIST's
        names, raw or gzipped; an .npz holds x_train, y_train, x_test and y_test.
    classes : labels to keep, as they are in the files; all by default.
    n_train, n_test : how many samples to keep, the first so many of one random order (a larger subset starts with
        the smaller one of the same seed); by default all, in file order.
    seed : of that random order.
    normalize : ``"scale"`` or True for the above; ``"unit_norm"`` then divides every sample by its norm;
        ``"whiten"`` then multiplies by (Ĉ + ρ tr(Ĉ)/p)^(−1/2) of the training covariance, ρ = .1, and scales again,
        which brings real data nearest to the theory's regime; False leaves the raw values, as float32.

    Raises
    ------
    FileNotFoundError
        If the folder or a file is missing; the message says how to get the data.
    TypeError
        If n_train, n_test, or the seed that a subset is drawn by, is not a whole number.
    ValueError
        If files are damaged or ambiguous, arrays do not fit together, a class is unknown or left without training
        samples, more samples are asked for than there are, or all training rows are the same.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from hntk.data import load_dataset
    >>> x, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/toy.npz", x_train=x, y_train=y, x_test=x[:4], y_test=y[:4])
    ...     data = load_dataset("toy", folder=folder, n_train=10)
    >>> data.x_train.shape, data.classes.tolist(), round(data.tau0, 6)
    ((10, 3), [0, 1], 1.0)
    """
    if not isinstance(name, str) or "\0" in name:
        raise ValueError(f"name must be the name of a data set, such as 'mnist', got {brief(name)}.")
    if folder is not None and folder != "":
        folder = as_path(folder, "folder")
    kind, chosen = _kind(normalize), _chosen(classes)
    source = locate(name, folder)
    whole = as_splits(read_npz(source) if source.is_file() else read_idx_folder(source))
    kept = select(whole, chosen, n_train, n_test, seed)
    present, _ = as_labels(kept.y_train, len(kept.y_train))
    centre, scale = _centre_and_scale(kept.x_train) if kind else (np.zeros(kept.x_train.shape[1]), 1.0)
    x_train, x_test = (_normalised(x, centre, scale) for x in (kept.x_train, kept.x_test))
    whitening = _whitening(x_train) if kind == "whiten" else None
    if whitening is not None:
        x_train, x_test = (_multiplied(x, whitening) for x in (x_train, x_test))
    if kind == "unit_norm":
        x_train, x_test = _unit_norm(x_train, "training"), _unit_norm(x_test, "test")
    return Dataset(
        x_train=x_train,
        y_train=kept.y_train,
        x_test=x_test,
        y_test=kept.y_test,
        name=name,
        classes=present,
        centre=centre,
        scale=scale,
        image_shape=kept.image_shape,
        pixels=kept.pixels,
        whitening=whitening,
        unit_norm=kind == "unit_norm",
    )


def training_part(
    x: object, labels: object, normalization: Normalization | None
) -> tuple[object, object, Normalization | None]:
    """Return samples, labels and normalisation to fit on: those of a :class:`Dataset`, or as they were given.

    Raises
    ------
    ValueError
        If x is no data set and there are no labels.
    """
    if isinstance(x, Dataset):
        return (
            x.x_train,
            x.y_train if labels is None else labels,
            x.normalization if normalization is None else normalization,
        )
    if labels is None:
        raise ValueError("labels= are needed, one per row of x; only a hntk.Dataset has labels of its own.")
    return x, labels, normalization


def _chosen(classes: object) -> list | None:
    """Labels to keep, as a list."""
    if classes is None:
        return None
    if isinstance(classes, str | bytes | dict) or not isinstance(classes, Iterable):
        raise ValueError(f"classes must be a list of the labels to keep, got {brief(classes)}.")
    given = classes if isinstance(classes, np.ndarray) else list(classes)
    return label_array(given, name="classes").tolist()


def _kind(normalize: bool | Scaling) -> Scaling | None:
    if isinstance(normalize, bool):
        return "scale" if normalize else None
    if not isinstance(normalize, str) or normalize not in get_args(Scaling):
        raise ValueError(f"normalize must be True, False or one of {get_args(Scaling)}, got {brief(normalize)}.")
    return normalize


def _whitening(x: Float32[np.ndarray, "n p"]) -> Float64[np.ndarray, "p p"]:
    """(Ĉ + ρ tr(Ĉ)/p I)^(−1/2) of centred rows, times the number that makes their mean square norm 1."""
    covariance = sum(x[b].T.astype(np.float64) @ x[b] for b in row_blocks(x)) / len(x)
    values, vectors = np.linalg.eigh(covariance)
    # a floor keeps directions that never vary from being blown up
    spread = np.clip(values, 0.0, None) + SHRINKAGE * values.mean()
    size = np.sqrt(np.sum(np.clip(values, 0.0, None) / spread))
    return (vectors / (np.sqrt(spread) * size)) @ vectors.T


def _multiplied(x: Float32[np.ndarray, "n p"], matrix: Float64[np.ndarray, "p p"]) -> Float32[np.ndarray, "n p"]:
    for block in row_blocks(x):
        x[block] = x[block] @ matrix
    return x


def _unit_norm(x: Float32[np.ndarray, "n p"], split: str) -> Float32[np.ndarray, "n p"]:
    norms = np.linalg.norm(x, axis=1)
    zero = int(np.sum(norms == 0))
    if zero:
        raise ValueError(
            f"{zero} {split} rows equal the training mean and cannot be scaled to unit norm: drop them, or use "
            "normalize='scale'."
        )
    x /= norms[:, None]
    return x


def _centre_and_scale(x: Real[np.ndarray, "n p"]) -> tuple[Float64[np.ndarray, " p"], float]:
    # Sums are taken relative to the first row: exact zeros where all rows are the same, and no cancellation.
    first = x[0].astype(np.float64)
    centre = first + sum(np.sum(x[block] - first, axis=0) for block in row_blocks(x)) / len(x)
    square = _mean_square_norm(x, centre)
    if square == 0.0:
        raise ValueError(
            f"all {len(x)} training rows are the same, so that nothing can be scaled: check how the data was made or "
            "subset, or pass normalize=False."
        )
    return centre, float(np.sqrt(square))


def _mean_square_norm(x: Real[np.ndarray, "n p"], centre: Float64[np.ndarray, " p"]) -> float:
    return sum(float(np.sum(np.square(x[block] - centre))) for block in row_blocks(x)) / len(x)


def _normalised(
    x: Real[np.ndarray, "n p"], centre: Float64[np.ndarray, " p"], scale: float
) -> Float32[np.ndarray, "n p"]:
    out = np.empty(x.shape, dtype=np.float32)
    for block in row_blocks(x):
        out[block] = (x[block] - centre) / scale
    return out
