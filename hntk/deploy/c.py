"""Integer classifiers as C99: a header, a source and a program that reads samples from its standard input.

The arithmetic is the same for every network: it is the text of ``hntk_words.h`` and ``hntk_kernels.h``, which the
source begins with. Behind it stand the network's tables. Each matrix is stored in one of the layouts of
:mod:`hntk.deploy.c_layouts`: the columns of the weights that are not 0, Golomb–Rice codes of the gaps between
these, five trits a byte, or bit planes, whose products are computed with AND, XOR and population counts. Orthogonal
blocks are stored as signs and permutations, and their products are Walsh–Hadamard transforms in place. Pixels that
a network takes as means of cells are averaged here. Nothing is allocated: the caller gives the scratch memory.
There is no floating point, except to round an input that is not whole.

Bit planes are multiplied in vectors of AVX-512, AVX2 or NEON where the compiler's options allow these instructions, and
in portable C elsewhere, or everywhere if ``HNTK_PORTABLE`` is defined. Results are the same to the bit.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hntk._utils.atomic_file import replacing
from hntk.deploy.c_choice import Choice, choose_layouts
from hntk.deploy.c_literals import CLabels, check_name
from hntk.deploy.c_tables import NetworkTables
from hntk.deploy.c_targets import CTargets
from hntk.deploy.c_text import CText
from hntk.deploy.c_values import Layout
from hntk.deploy.checks import check_folder, check_integers, check_readout_of_integers
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_regressor import IntegerRegressor


@dataclass(frozen=True)
class CProgram:
    """A classifier or regressor in C99, and the memory that it takes.

    Attributes
    ----------
    name : str
        Name of the files, and prefix of every name that other files see.
    header, source : str
        Text of NAME.h and NAME.c.
    main : str
        Text of NAME_main.c, a program that reads samples from its standard input and prints the index of each one's
        class, or the predictions of a regressor with 17 digits.
    layouts : tuple of str
        Layout of each matrix, one of those of :func:`to_c`.
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
    classifier: IntegerClassifier | IntegerRegressor,
    name: str = "hntk_net",
    *,
    layouts: Choice | Sequence[Layout] | None = None,
) -> CProgram:
    """Return C99 source that predicts what a classifier or regressor predicts, to the bit.

    The program of a regressor gives the whole scores of its targets: a prediction is a score, as a ``double``, times
    the macro NAME_UNIT, or the entry of NAME_UNITS where targets have units of their own. They stay out of the program,
    as most microcontrollers do not multiply numbers of that type. Units of :func:`hntk.to_integers` are powers of two:
    scores are fixed-point numbers with NAME_FRACTION_BITS bits behind the point. The header states the precision,
    NAME_ROUNDING, and NAME_LARGEST_SCORE.

    Where the macro NAME_BATCH is defined, for NAME.h and for NAME.c, the program has functions for many samples at a
    time too, NAME_scores_batch and NAME_predict_batch: their layers of bit planes load each weight once for 32 samples.

    Parameters
    ----------
    classifier : IntegerClassifier or IntegerRegressor
        A classifier of ternary or ±1 weights, see :func:`hntk.to_integers`, or a regressor. Labels become UTF-8
        strings, ``double``, ``int`` (booleans) or the first of ``int32_t``, ``int64_t`` and ``uint64_t`` that holds
        them.
    name : str
        An identifier of C: the files' name, and the prefix of what they declare.
    layouts : {"smallest", "fastest"}, a layout or sequence of layouts, optional
        How weights are stored: one layout for all matrices, or one each. ``"smallest"``, the default, takes the
        layout of the fewest bytes for each matrix, and ``"fastest"`` that of the fewest instructions on a Cortex-M4.
        Layouts are ``"planes"``, ``"gaps"``, ``"indices"``, ``"indices16"``, ``"rice"``, ``"base3"`` and
        ``"transform"``, which is for orthogonal blocks, and theirs by either. :mod:`hntk.deploy.c_layouts` describes
        them, and how instructions are estimated.

    Returns
    -------
    CProgram
        Header, source and main program, with the bytes of flash and of RAM that they take.

    Raises
    ------
    TypeError
        If this is no classifier or regressor of whole numbers.
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
    if isinstance(classifier, IntegerRegressor):
        check_readout_of_integers(classifier)
        answers: CLabels | CTargets = CTargets.of(classifier)
    else:
        answers = CLabels.of(check_integers(classifier))
    weights = classifier.network.weights
    if any(w.kind not in ("ternary", "sign") for w in weights):
        raise ValueError("a C program needs ternary or ±1 weights: draw the network with the law 'ternary'.")
    chosen = choose_layouts(classifier.network, layouts)
    tables = NetworkTables.of(classifier, chosen)
    texts = CText(check_name(name), answers, tables, " and ".join(dict.fromkeys(chosen)))
    return CProgram(name, texts.header, texts.source, texts.main, chosen, tables.table_bytes, tables.scratch_bytes)
