"""Integer classifiers as C99: a header, a source and a program that reads samples from its standard input.

The arithmetic is the same for every network: it is the text of ``hntk_kernels.h``, which the source begins with. Behind
it stand the network's tables. Matrices with few zeros are stored as bit planes (:mod:`hntk.weights.bit_planes`), whose
products are computed with AND, XOR and population counts; sparse ones as gaps between the weights that are not 0,
computed with additions. Orthogonal blocks are stored as signs and permutations, and their products are Walsh–Hadamard
transforms in place. Nothing is allocated: the caller gives the scratch memory. There is no floating point, except
to round an input that is not whole.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hntk._utils.atomic_file import replacing
from hntk.deploy.c_literals import CLabels, check_name
from hntk.deploy.c_tables import Layout, NetworkTables
from hntk.deploy.c_text import CText
from hntk.deploy.checks import check_folder, check_integers
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_inputs import PooledPixels
from hntk.networks.integer_network import IntegerNetwork
from hntk.networks.integer_steps import NeuronSteps
from hntk.weights.encodings import expected_bits
from hntk.weights.orthogonal import OrthogonalMatrix
from hntk.weights.weight_matrix import Weights

LAYOUTS: tuple[Layout, ...] = ("planes", "gaps", "transform")


@dataclass(frozen=True)
class CProgram:
    """A classifier in C99, and the memory that it takes.

    Attributes
    ----------
    name : str
        Name of the files, and prefix of every name that other files see.
    header, source : str
        Text of NAME.h and NAME.c.
    main : str
        Text of NAME_main.c, a program that reads samples from its standard input and prints the index of each one's
        class.
    layouts : tuple of str
        Layout of each matrix, ``"planes"``, ``"gaps"`` or ``"transform"``.
    table_bytes : int
        Bytes of the tables, in flash. Labels are not counted.
    scratch_bytes : int
        Bytes of scratch memory, in RAM.
    """

    name: str
    header: str = field(repr=False)
    source: str = field(repr=False)
    main: str = field(repr=False)
    layouts: tuple[Layout, ...]
    table_bytes: int
    scratch_bytes: int

    def write(self, folder: str | os.PathLike[str]) -> tuple[Path, Path, Path]:
        """Write NAME.h, NAME.c and NAME_main.c, each as a whole or not at all.

        Parameters
        ----------
        folder : path
            An existing folder.

        Returns
        -------
        tuple of Path
            The three files.

        Raises
        ------
        TypeError
            If ``folder`` is not a path.
        OSError
            If there is no such folder, or it cannot be written to.
        """
        parent = check_folder(folder)
        texts = {".h": self.header, ".c": self.source, "_main.c": self.main}
        paths = tuple(parent / f"{self.name}{ending}" for ending in texts)
        for path, text in zip(paths, texts.values(), strict=True):
            with replacing(path) as part:
                part.write_text(text, encoding="ascii")
        return paths  # type: ignore[return-value]


def to_c(
    classifier: IntegerClassifier, name: str = "hntk_net", *, layouts: Layout | Sequence[Layout] | None = None
) -> CProgram:
    """Return C99 source that predicts what the classifier predicts, to the bit.

    Parameters
    ----------
    classifier : IntegerClassifier
        A classifier of ternary or ±1 weights, see :func:`hntk.to_integers`. Its labels become UTF-8 strings,
        ``double``, ``int`` (booleans) or the first of ``int32_t``, ``int64_t`` and ``uint64_t`` that holds them.
    name : str
        An identifier of C: the files' name, and the prefix of what they declare.
    layouts : {"planes", "gaps", "transform"} or sequence of these, optional
        How weights are stored, one for all matrices or one each. ``"transform"`` is for orthogonal blocks, and theirs
        by default; others have the smaller one of ``"planes"`` and ``"gaps"``.

    Returns
    -------
    CProgram
        Header, source and main program, with the bytes of flash and of RAM that they take.

    Raises
    ------
    TypeError
        If this is no classifier of whole numbers.
    ValueError
        If the weights are int8, or if a number, a label, the name or a layout cannot be written in C.

    Examples
    --------
    >>> import jax, hntk
    >>> from hntk.deploy import to_c
    >>> data = hntk.reference_mixture(n=400, p=40, key=jax.random.key(0))
    >>> net = hntk.compress(["relu"] * 2, [256, 128], data.x, levels=4, key=jax.random.key(1))
    >>> program = to_c(hntk.to_integers(hntk.fit_ridge(net, data.x, data.labels), x=data.x), "tiny")
    >>> program.layouts, program.scratch_bytes
    (('transform', 'transform'), 896)
    """
    labels = CLabels.of(check_integers(classifier))
    weights = classifier.network.weights
    if any(w.kind not in ("ternary", "sign") for w in weights):
        raise ValueError("a C program needs ternary or ±1 weights: draw the network with the law 'ternary'.")
    _check_known(classifier.network)
    chosen = _layouts(weights, layouts)
    tables = NetworkTables.of(classifier, chosen)
    texts = CText(check_name(name), labels, tables, " and ".join(dict.fromkeys(chosen)))
    return CProgram(name, texts.header, texts.source, texts.main, chosen, tables.table_bytes, tables.scratch_bytes)


def _check_known(network: IntegerNetwork) -> None:
    """Refuse networks with parts that C programs do not have."""
    if isinstance(network.inputs, PooledPixels) or any(isinstance(steps, NeuronSteps) for steps in network.steps):
        raise ValueError(
            "a C program has neither thresholds of each neuron nor pooled pixels: export this network with "
            "hntk.deploy.to_onnx."
        )


def _layouts(weights: Sequence[Weights], layouts: Layout | Sequence[Layout] | None) -> tuple[Layout, ...]:
    """Return the layout of each matrix."""
    if layouts is None:
        return tuple(_default_layout(w) for w in weights)
    each = [layouts] * len(weights) if isinstance(layouts, str) else layouts
    fits = isinstance(each, Sequence) and len(each) == len(weights)
    if not fits or any(layout not in LAYOUTS for layout in each):
        *most, last = map(repr, LAYOUTS)
        names = f"{', '.join(most)} or {last}"
        raise ValueError(f"layouts must be {names}, for all or for each of {len(weights)}; got {layouts!r}.")
    # plain strings, even where an object of another type equals one
    chosen: tuple[Layout, ...] = tuple(LAYOUTS[LAYOUTS.index(layout)] for layout in each)  # type: ignore[arg-type]
    for number, (w, layout) in enumerate(zip(weights, chosen, strict=True), 1):
        if layout == "transform" and not isinstance(w, OrthogonalMatrix):
            raise ValueError(
                f"layouts names 'transform' for layer {number}, whose weights are no orthogonal blocks: use 'planes' "
                "or 'gaps', or draw the network with the law 'orthogonal'."
            )
    return chosen


def _default_layout(weights: Weights) -> Layout:
    """Return the smallest layout of a matrix."""
    if isinstance(weights, OrthogonalMatrix):
        return "transform"
    # planes take 2 bits a weight
    return "gaps" if expected_bits("gaps+signs", weights.zeros) < 2 else "planes"
