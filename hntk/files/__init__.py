"""Networks and classifiers as one safetensors file.

Weights are packed (:mod:`hntk.packing`); thresholds, levels and the readout are float32, or whole numbers for networks
of those, so that what is loaded gives the scores of what was saved; what is not an array is JSON in the file's
metadata. Nothing is pickled, and what a file says is checked before it is believed.
"""

from __future__ import annotations

import os
from pathlib import Path

from hntk.classifier import Classifier
from hntk.files.container import FileError, read, write
from hntk.files.floats import describe_floats, floats_of
from hntk.files.integers import describe_integers, integers_of
from hntk.files.told import Told
from hntk.integers import IntegerClassifier, IntegerNetwork
from hntk.network import Network

VERSION = 1
Saved = Network | Classifier | IntegerNetwork | IntegerClassifier


def save(what: Saved, path: str | os.PathLike[str], *, encoding: str | None = None) -> int:
    """Write a network, with or without a readout, and return the number of bytes.

    Parameters
    ----------
    what : a network or a classifier, of whole numbers or not. The readout at initialisation, which only the NTK sees,
        is kept for a network without a fitted readout alone.
    path : of the file; it is replaced at once or not at all.
    encoding : of the weights, see :mod:`hntk.packing`; by default the smallest.

    Raises
    ------
    ValueError
        If an activation is a function of the user's own, or the encoding does not suit the weights.
    OSError
        If the file cannot be written; what was there before is untouched.

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
    whole = isinstance(what, IntegerNetwork | IntegerClassifier)
    describe = describe_integers if whole else describe_floats
    arrays, metadata = describe(what, encoding)  # type: ignore[arg-type]
    return write(Path(path), arrays, {"version": VERSION, "form": "integer" if whole else "float", **metadata})


def encodings(path: str | os.PathLike[str]) -> list[str]:
    """How the weights of every layer are packed in a file; see :mod:`hntk.packing`.

    Raises
    ------
    FileError, FileNotFoundError
        As :func:`load` does.
    """
    return [layer.text("encoding") for layer in _read(path).parts("layers")]


def load(path: str | os.PathLike[str]) -> Saved:
    """The network or classifier of a file.

    Raises
    ------
    FileError
        If the file is damaged, or was not written by :func:`save`.
    FileNotFoundError
        If there is none.
    """
    found = _read(path)
    make = {"float": floats_of, "integer": integers_of}.get(str(found.told.get("form")))
    try:
        if make is None:
            raise ValueError(f"a form {found.told.get('form')!r} is unknown")
        return make(found)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise FileError(f"{path} is damaged: {type(error).__name__} {error}. Write it again with hntk.save.") from error


def _read(path: str | os.PathLike[str]) -> Told:
    """What a whole file of this version tells."""
    arrays, metadata = read(Path(path))
    if metadata.get("version") != VERSION:
        raise FileError(
            f"{path} has format version {metadata.get('version')}, and this hntk reads {VERSION}: use the hntk that "
            "wrote it."
        )
    return Told(metadata, arrays)
