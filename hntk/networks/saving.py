"""Networks and classifiers as one safetensors file.

Weights are packed (:mod:`hntk.weights.encodings`); thresholds, levels and the readout are float32, or whole numbers for
networks of those, so that what is loaded gives the scores of what was saved; what is not an array is JSON in the file's
metadata. Nothing is pickled, and what a file says is checked before it is believed: see :func:`load` for how much it
may hold (:mod:`hntk.files.limits`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hntk.files.container import AGAIN, FileError, check_size, read, write
from hntk.files.json_text import dumps, loads
from hntk.files.limits import LAYERS, shown
from hntk.files.reader import FieldReader
from hntk.networks.classifier import Classifier
from hntk.networks.float_records import describe_floats, floats_of
from hntk.networks.integer_network import IntegerClassifier, IntegerNetwork
from hntk.networks.integer_records import describe_integers, integers_of
from hntk.networks.network import Network
from hntk.weights.encodings import ENCODINGS
from hntk.weights.laws import WeightMatrix

__all__ = ["FileError", "Saved", "encodings", "load", "load_packed", "save"]

VERSION = 1
Saved = Network | Classifier | IntegerNetwork | IntegerClassifier
MAKERS: dict[str, Callable[..., Saved]] = {"float": floats_of, "integer": integers_of}
# what a table that is not as expected raises where it is read
WRONG = (KeyError, TypeError, ValueError, IndexError, OverflowError, RecursionError)


def save(what: Saved, path: str | os.PathLike[str], *, encoding: str | None = None) -> int:
    """Write a network, with or without a readout, and return the number of bytes.

    What is to be written is first read back as :func:`load` would read it, so that no file is written that would be
    refused or give another network.

    Parameters
    ----------
    what : a network or a classifier, of whole numbers or not. The readout at initialisation, which only the NTK sees,
        is kept for a network without a fitted readout alone.
    path : of the file; it is replaced at once or not at all.
    encoding : of the weights, see :mod:`hntk.weights.encodings`; by default the smallest.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If an activation is a function of the user's own, the encoding does not suit the weights, or the network holds
        what no file may: see :func:`load`. What was there before is untouched.
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
    if not isinstance(what, Saved):
        raise TypeError(
            f"a {type(what).__name__} cannot be saved: give a network, as hntk.compress makes, or a classifier, as "
            "hntk.fit_ridge does."
        )
    try:
        arrays, metadata = _described(what, encoding)
    except (*WRONG, AttributeError) as error:
        raise ValueError(f"this {type(what).__name__} cannot be saved: {_words(error)}") from error
    return write(Path(path), arrays, metadata)


def encodings(path: str | os.PathLike[str]) -> list[str]:
    """Return how the weights of every layer are packed in a file; see :mod:`hntk.weights.encodings`.

    Raises
    ------
    FileError, FileNotFoundError
        As :func:`load` does.
    """
    with _readable(path):
        return _encodings(_read(path))


def load(path: str | os.PathLike[str]) -> Saved:
    """Return the network or classifier of a file.

    A file may have up to 1,024 layers, 1,024 levels an activation, 256 coefficients a polynomial, 65,536 classes, names
    and labels of 1,024 characters, and 2 MiB of text in all. A byte of weights stands for 255 of them at most. Its
    predictions are finite. It is read whole, and takes the memory of its bytes and of its unpacked weights.

    Raises
    ------
    FileError
        If the file is damaged, or was not written by :func:`save`. Nothing else is raised, whatever it holds.
    FileNotFoundError
        If there is none.
    """
    return load_packed(path)[0]


def load_packed(path: str | os.PathLike[str]) -> tuple[Saved, list[str]]:
    """Return the network or classifier of a file, and how the weights of every layer are packed in it.

    Raises
    ------
    FileError, FileNotFoundError
        As :func:`load` does.
    """
    with _readable(path):
        found = _read(path)
        return _maker(found)(found), _encodings(found)


def _described(what: Saved, encoding: str | None) -> tuple[dict[str, np.ndarray], dict]:
    """Return arrays and metadata that give the same again when they are read."""
    whole = isinstance(what, IntegerNetwork | IntegerClassifier)
    network = what.network if isinstance(what, Classifier | IntegerClassifier) else what
    _check_layers(network)
    describe: Callable[..., tuple[dict, dict]] = describe_integers if whole else describe_floats
    arrays, described = describe(what, encoding)
    metadata = {"version": VERSION, "form": "integer" if whole else "float", **described}
    text = dumps(metadata)
    check_size(arrays, text)
    told = FieldReader(loads(text), arrays)
    again = _maker(told)(told, network.weights)
    found = _kept(again)
    wrong = [
        name for name, given in _kept(what).items() if type(given) is not type(found[name]) or given != found[name]
    ]
    if wrong:
        raise ValueError(f"its {', '.join(wrong)} would not come back as they are: make it anew, or leave them out")
    return arrays, metadata


def _check_layers(network: Network | IntegerNetwork) -> None:
    """Refuse networks made by hand whose parts do not belong together."""
    names = ("steps", "rounding") if isinstance(network, IntegerNetwork) else ("activations", "centres")
    counts = {name: len(getattr(network, name)) for name in ("weights", *names)}
    layers = counts["weights"]
    if not 0 < layers <= LAYERS:
        raise ValueError(f"it has {layers:,} layers, and a file has 1 to {LAYERS:,}: keep it in parts")
    if set(counts.values()) != {layers}:
        raise ValueError(f"it has {', '.join(f'{n} {name}' for name, n in counts.items())}: give one of each a layer")
    if not all(isinstance(matrix, WeightMatrix) for matrix in network.weights):
        raise ValueError("weights are no hntk.WeightMatrix: make them so, with their scale and kind")


def _kept(what: Saved) -> dict[str, object]:
    """Return what a file must give back exactly, by name."""
    readout = isinstance(what, Classifier | IntegerClassifier)
    return {
        "record of the match (origin)": what.network.origin if readout else what.origin,
        "data statistics": what.statistics if readout else None,
        "classes": np.asarray(what.classes).tolist() if readout else None,
    }


def _maker(found: FieldReader) -> Callable[..., Saved]:
    form = found.text("form") if "form" in found else None
    if form not in MAKERS:
        raise ValueError(f"a form {form!r} is unknown")
    return MAKERS[form]


def _encodings(found: FieldReader) -> list[str]:
    known: Sequence[str] = sorted({encoding for of_kind in ENCODINGS.values() for encoding in of_kind})
    return [layer.text("encoding", known) for layer in found.parts("layers")]


@contextmanager
def _readable(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say of whatever is wrong with a file's contents that it is damaged."""
    try:
        yield
    except FileError:
        raise
    except WRONG as error:
        raise FileError(f"{path} is damaged: {_words(error)}. {AGAIN}") from error


def _words(error: Exception) -> str:
    """Return what an error says; of a missing name the name alone is its text."""
    return f"{error.args[0] if error.args else 'a name'} is missing" if type(error) is KeyError else str(error)


def _read(path: str | os.PathLike[str]) -> FieldReader:
    """Return what a whole file of this version tells."""
    arrays, metadata = read(Path(path))
    if metadata.get("version") != VERSION or isinstance(metadata["version"], bool):
        raise FileError(
            f"{path} has format version {shown(metadata.get('version'))}, and this hntk reads {VERSION}: use the hntk "
            "that wrote it."
        )
    return FieldReader(metadata, arrays)
