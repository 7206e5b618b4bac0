"""A classifier of whole numbers as one pair of C99 files.

Matrices with few zeros lie in flash as bit planes (:mod:`hntk.weights.bit_planes`), worked off by AND, XOR and
population counts; sparse ones as gaps between the weights that are not 0, worked off by additions. Nothing is
allocated: the caller gives the scratch memory. There is no floating point, but for rounding an input that is not whole.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hntk._utils.atomic_file import replacing
from hntk.deploy.c_literals import check_name
from hntk.deploy.c_writer import Writer
from hntk.deploy.exportable import check_folder, check_integers
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.weights.encodings import expected_bits
from hntk.weights.laws import WeightMatrix

Layout = Literal["planes", "gaps"]
LAYOUTS: tuple[Layout, ...] = ("planes", "gaps")


@dataclass(frozen=True)
class CProgram:
    """The two files, and what they take.

    Attributes
    ----------
    name : of the files and the prefix of everything in them.
    header, source : text of NAME.h and NAME.c.
    main : text of a program that reads samples from its standard input and prints the index of each one's class.
    layouts : of every matrix.
    table_bytes : of constants, in flash.
    scratch_bytes : of RAM.
    """

    name: str
    header: str
    source: str
    main: str
    layouts: tuple[Layout, ...]
    table_bytes: int
    scratch_bytes: int

    def write(self, folder: str | os.PathLike[str]) -> tuple[Path, Path, Path]:
        """Write NAME.h, NAME.c and NAME_main.c into a folder that exists, each at once or not at all.

        Raises
        ------
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
    """C99 source that predicts as the classifier does.

    Parameters
    ----------
    classifier : of ternary or ±1 weights, see :func:`hntk.to_integers`. Its labels become UTF-8 strings, ``double``,
        ``int`` (of booleans) or the first of ``int32_t``, ``int64_t`` and ``uint64_t`` that holds them.
    name : an identifier of C.
    layouts : of the matrices, one for all or one each; by default the smaller one of each.

    Raises
    ------
    TypeError
        If this is no classifier of whole numbers.
    ValueError
        If the weights are int8, or a number, a label, the name or a layout cannot be.
    """
    labels = check_integers(classifier)
    weights = classifier.network.weights
    if any(w.kind not in ("ternary", "sign") for w in weights):
        raise ValueError("a C program needs ternary or ±1 weights: draw the network with the law 'ternary'.")
    chosen = _layouts(weights, layouts)
    writer = Writer(classifier, labels, check_name(name), chosen)
    header, source, main = writer.files()
    return CProgram(name, header, source, main, chosen, writer.table_bytes, writer.memory.scratch_bytes)


def _layouts(weights: Sequence[WeightMatrix], given: Layout | Sequence[Layout] | None) -> tuple[Layout, ...]:
    if given is None:
        return tuple("gaps" if _gap_bits(w) < 2 else "planes" for w in weights)
    asked = [given] * len(weights) if isinstance(given, str) else given
    fits = isinstance(asked, Sequence) and len(asked) == len(weights)
    if not fits or any(layout not in LAYOUTS for layout in asked):
        raise ValueError(f"layouts must be 'planes' or 'gaps', for all or for each of {len(weights)}; got {given!r}.")
    # the very words, whatever equalled them
    return tuple(LAYOUTS[LAYOUTS.index(layout)] for layout in asked)


def _gap_bits(matrix: WeightMatrix) -> float:
    return expected_bits("gaps+signs", float(np.mean(np.asarray(matrix.values) == 0)))
