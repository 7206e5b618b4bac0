"""Networks and classifiers as one safetensors file.

Weights are packed (:mod:`hntk.weights.encodings`). Thresholds, levels and the readout are float32, or whole numbers in
networks of those, so that a loaded network gives the scores of the saved one. Everything else is JSON in the file's
metadata. Nothing is pickled, and every claim of a file is checked before it is used: see :func:`load` for how much a
file may hold.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hntk.files.container import REMEDY, FileError, read
from hntk.files.limits import shorten
from hntk.files.matrices import encodings_of
from hntk.files.reader import FieldReader
from hntk.networks.classifier import Classifier
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_regressor import IntegerRegressor
from hntk.networks.network import Network
from hntk.networks.regressor import Regressor
from hntk.networks.saveable import READING_ERRORS, Saveable, error_text

__all__ = ["FileError", "Saved", "encodings", "load", "load_packed", "save"]

Saved = Network | Classifier | Regressor | IntegerNetwork | IntegerClassifier | IntegerRegressor
# The network of every form, and what has a readout, by what its files tell of what is predicted.
FORMS: dict[str, tuple[type[Saved], dict[str, type[Saved]]]] = {
    "float": (Network, {"classes": Classifier, "targets": Regressor}),
    "integer": (IntegerNetwork, {"classes": IntegerClassifier, "targets": IntegerRegressor}),
}


def save(what: Saveable, path: str | os.PathLike[str], *, encoding: str | None = None) -> int:
    """Write a network or classifier to a file.

    Before the file is written, its contents are read back as :func:`load` would read them, so that no file is written
    that would be refused or give another network.

    Parameters
    ----------
    what : Network, Classifier, Regressor, IntegerNetwork, IntegerClassifier or IntegerRegressor
        A network, or a network with a readout. The readout at initialisation, which only the NTK needs, is kept only
        for a network without a fitted readout.
    path : str or path-like
        Name of the file, which is replaced as a whole or not at all.
    encoding : str, optional
        Encoding of the weights, see :mod:`hntk.weights.encodings`; by default the smallest.

    Returns
    -------
    int
        Bytes of the file.

    Raises
    ------
    TypeError
        If ``what`` is none of these.
    ValueError
        If an activation is a function without a registered name, the encoding does not suit the weights, or the
        network holds more than a file may: see :func:`load`. A file that was there before is untouched.
    OSError
        If the file cannot be written. A file that was there before is untouched.

    Examples
    --------
    >>> import jax, hntk, tempfile
    >>> net = hntk.draw_network(["relu"], [100], 80, tau0=1.0, law="ternary", key=jax.random.key(0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     size = hntk.save(net, f"{folder}/net.safetensors")
    ...     again = hntk.load(f"{folder}/net.safetensors")
    >>> size < 100 * 80 / 4 + 2000, bool((again.weights[0].values == net.weights[0].values).all())
    (True, True)
    """
    if not isinstance(what, Saveable):
        raise TypeError(
            f"a {type(what).__name__} cannot be saved: give a network, as hntk.compress makes, or a classifier, as "
            "hntk.fit_ridge does."
        )
    return what.save(path, encoding=encoding)


def encodings(path: str | os.PathLike[str]) -> list[str]:
    """Return the encoding of every layer's weights in a file, and then of every branch's.

    See :mod:`hntk.weights.encodings`.

    Raises
    ------
    FileError, FileNotFoundError
        As :func:`load` does.
    """
    with _reported_as_damage(path):
        return encodings_of(_read_fields(path)[1].subtables("layers"))


def load(path: str | os.PathLike[str]) -> Saved:
    """Read the network or classifier of a file.

    A file may have up to 1,024 layers, 1,024 levels an activation, 256 coefficients a polynomial, 65,536 classes, names
    and labels of 1,024 characters, and 2 MiB of text in all. A byte of weights stands for at most 255 of them. Networks
    whose predictions would overflow are refused. The file is read whole, and takes the memory of its bytes and of its
    unpacked weights.

    Parameters
    ----------
    path : str or path-like
        Name of the file.

    Returns
    -------
    Network, Classifier, Regressor, IntegerNetwork, IntegerClassifier or IntegerRegressor
        What was saved.

    Raises
    ------
    FileError
        If the file is damaged, or was not written by :func:`save`. Nothing else is raised, whatever it holds.
    FileNotFoundError
        If it does not exist.
    """
    return load_packed(path)[0]


def load_packed(path: str | os.PathLike[str]) -> tuple[Saved, list[str]]:
    """Read the network or classifier of a file, and the encodings of its weights as :func:`encodings` gives them.

    Raises
    ------
    FileError, FileNotFoundError
        As :func:`load` does.
    """
    with _reported_as_damage(path):
        cls, fields = _read_fields(path)
        return cls.from_arrays(fields), encodings_of(fields.subtables("layers"))


@contextmanager
def _reported_as_damage(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn the errors of reading contents that are not as expected into a :class:`FileError`."""
    try:
        yield
    except FileError:
        raise
    except READING_ERRORS as error:
        raise FileError(f"{path} is damaged: {error_text(error)}. {REMEDY}") from error


def _read_fields(path: str | os.PathLike[str]) -> tuple[type[Saved], FieldReader]:
    """Return the class of what a file holds, and its metadata and arrays."""
    arrays, metadata = read(Path(path))
    fields, version = FieldReader(metadata, arrays), metadata.get("version")
    known = [made for network, readouts in FORMS.values() for made in (network, *readouts.values())]
    _check_version(path, version, sorted({number for made in known for number in made.versions}))
    form = fields.text("form") if "form" in fields else None
    if form not in FORMS:
        raise ValueError(f"a form {form!r} is unknown")
    network, readouts = FORMS[form]
    cls = next((made for name, made in readouts.items() if name in fields), network)
    _check_version(path, version, cls.versions)
    return cls, fields


def _check_version(path: str | os.PathLike[str], version: object, known: Sequence[int]) -> None:
    """Refuse a file of another version."""
    if type(version) is not int or version not in known:
        raise FileError(
            f"{path} has format version {shorten(version)}, and this hntk reads {' and '.join(map(str, known))}: use "
            "the hntk that wrote it."
        )
