"""Labelled data sets read from disk, with a training and a test part in the scale of the theory."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float32, Float64, Int, UInt8

from hntk._utils.arguments import as_path
from hntk._utils.arrays import brief
from hntk._utils.labels import as_labels, label_array
from hntk._utils.pytree import array_dataclass
from hntk.data.idx import read_idx_folder
from hntk.data.locate import locate
from hntk.data.normalization import Normalization
from hntk.data.npz import read_npz
from hntk.data.scaling import Scaling, as_scaling, mean_squared_norm, scale_samples
from hntk.data.splits import as_splits, select


@array_dataclass(static=("name", "image_shape", "pixels", "unit_norm"))
class Dataset:
    """Training and test samples as rows, and the normalisation that was applied to both.

    Attributes
    ----------
    x_train : ndarray of shape (n, p)
        Training samples, (raw − centre)/scale.
    y_train : ndarray of shape (n,)
        Their labels, as in the files.
    x_test : ndarray of shape (m, p)
        Test samples, normalised by the training statistics.
    y_test : ndarray of shape (m,)
        Their labels.
    name : str
        Name of the data set.
    classes : ndarray of shape (K,)
        Labels that occur in ``y_train``, sorted.
    centre : ndarray of shape (p,)
        What was subtracted: the mean of the raw training rows, or zeros.
    scale : float
        What was divided by: the root mean square norm of the centred training rows, or 1.
    image_shape : tuple of int or None
        Shape of one sample where the files hold images, such as (28, 28).
    pixels : bool
        Whether the files hold bytes from 0 to 255.
    whitening : ndarray of shape (p, p) or None
        What rows were then multiplied by, with ``normalize="whiten"``.
    unit_norm : bool
        Whether every row was divided by its norm at last.
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
        """Root mean square norm τ_0 of the training rows: 1 up to float32 rounding if they were normalised."""
        return float(np.sqrt(mean_squared_norm(self.x_train, np.zeros(self.p))))

    @property
    def normalization(self) -> Normalization:
        """What was applied, for a classifier to take raw samples."""
        whitening = None if self.whitening is None else self.whitening.astype(np.float32)
        return Normalization(self.centre.astype(np.float32), self.scale, whitening, self.unit_norm)

    def raw(self, x: Float32[np.ndarray, "m p"]) -> Float32[np.ndarray, "m p"] | UInt8[np.ndarray, "m p"]:
        """Return rows of x_train or x_test as they are in the files.

        Parameters
        ----------
        x : ndarray of shape (m, p)
            Normalised rows.

        Returns
        -------
        ndarray of shape (m, p)
            Raw rows: exact bytes for ``pixels``, else float32 up to rounding.

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
        rows = np.asarray(x) * self.scale + self.centre
        return np.rint(rows).astype(np.uint8) if self.pixels else rows.astype(np.float32)


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
    name : str
        Name of the data set: the subfolder of IDX files or the .npz in ``folder``. Where ``folder`` itself is an .npz
        or holds the files, the name is only a label.
    folder : path, optional
        Where the data lies; by default the environment variable HNTK_DATA. IDX files are the four of MNIST's names,
        raw or gzipped; an .npz holds x_train, y_train, x_test and y_test.
    classes : iterable of int, optional
        Labels to keep, as they are in the files; all by default.
    n_train, n_test : int, optional
        How many samples to keep, the first ones of a random order: a larger subset starts with the smaller one of the
        same seed. By default all are kept, in file order.
    seed : int
        Seed of that random order.
    normalize : bool or {"scale", "unit_norm", "whiten"}
        "scale", or True, for the above. "unit_norm" then divides every sample by its norm. "whiten" then multiplies by
        (Ĉ + ρ tr(Ĉ)/p)^(−1/2) of the training covariance, ρ = .1, and scales again, which brings real data nearest to
        the theory's regime. False leaves the raw values, as float32.

    Returns
    -------
    Dataset
        Both parts, and what was applied to them.

    Raises
    ------
    FileNotFoundError
        If the folder or a file is missing; the message says how to get the data.
    MemoryError
        If the arrays do not fit into memory, before they are read.
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
    kind, wanted = as_scaling(normalize), _wanted_classes(classes)
    source = locate(name, folder)
    whole = as_splits(read_npz(source) if source.is_file() else read_idx_folder(source))
    kept = select(whole, wanted, n_train, n_test, seed)
    present, _ = as_labels(kept.y_train, len(kept.y_train))
    scaled = scale_samples(kept.x_train, kept.x_test, kind)
    return Dataset(
        x_train=scaled.x_train,
        y_train=kept.y_train,
        x_test=scaled.x_test,
        y_test=kept.y_test,
        name=name,
        classes=present,
        centre=scaled.centre,
        scale=scaled.scale,
        image_shape=kept.image_shape,
        pixels=kept.pixels,
        whitening=scaled.whitening,
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
        labels = x.y_train if labels is None else labels
        return x.x_train, labels, x.normalization if normalization is None else normalization
    if labels is None:
        raise ValueError("labels= are needed, one per row of x; only a hntk.Dataset has labels of its own.")
    return x, labels, normalization


def _wanted_classes(classes: object) -> list | None:
    if classes is None:
        return None
    if isinstance(classes, str | bytes | dict) or not isinstance(classes, Iterable):
        raise ValueError(f"classes must be a list of the labels to keep, got {brief(classes)}.")
    labels = classes if isinstance(classes, np.ndarray) else list(classes)
    return label_array(labels, name="classes").tolist()
