"""C programs called from Python: compiled to a shared library, loaded, and given NumPy arrays."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

import numpy as np
from jaxtyping import Int, Real

from hntk._utils.arguments import as_instance
from hntk._utils.rows import as_rows
from hntk.deploy.c import CProgram

# Tried in this order, after what the environment variable CC names.
COMPILERS = ("cc", "gcc", "clang")
OPTIONS = ("-std=c99", "-O3", "-shared", "-fPIC")
# Rows after rows: what ctypes would take microseconds for each of.
ROWS = Template("""\
#include <stdlib.h>
#include "$name.h"

#ifdef ${NAME}_UNITS
#define OUTPUTS ${NAME}_TARGETS
#define UNITS ${NAME}_TARGETS
const double ${name}_unit[] = ${NAME}_UNITS;
#elif defined ${NAME}_UNIT
#define OUTPUTS ${NAME}_TARGETS
#define UNITS 1
const double ${name}_unit[] = {${NAME}_UNIT};
#else
#define OUTPUTS ${NAME}_CLASSES
#define CLASSIFIES
#define UNITS 0
#endif
const int32_t ${name}_facts[4] = {${NAME}_INPUTS, OUTPUTS, (int32_t)sizeof($kind), UNITS};

int ${name}_rows(const $kind *rows, int64_t count, int32_t *scores, int *indices)
{
    /* a program may need none */
    ${name}_word *scratch = malloc(${NAME}_BATCH_SCRATCH_BYTES + sizeof *scratch);
    (void)indices;
    if (!scratch) {
        return 1;
    }
    if (scores) {
        ${name}_scores_batch(rows, (size_t)count, scratch, scores);
    }
#ifdef CLASSIFIES
    else {
        ${name}_predict_batch(rows, (size_t)count, scratch, indices);
    }
#endif
    free(scratch);
    return 0;
}
""")


class CompilerError(OSError):
    """A C compiler that is missing, or that failed."""


@dataclass(frozen=True, eq=False)
class CLibrary:
    """A compiled C program, in this process.

    Attributes
    ----------
    name : str
        The program's name.
    inputs : int
        Number of coordinates of a sample.
    outputs : int
        Number of scores: of classes, or of targets.
    unit : float, tuple of float or None
        Unit of a regressor's scores, or of each target's; None for a classifier.
    dtype : numpy.dtype
        Type of a coordinate: uint8 for raw pixels, else float32.
    library : ctypes.CDLL
        The shared library.
    """

    name: str
    inputs: int
    outputs: int
    unit: float | tuple[float, ...] | None
    dtype: np.dtype
    library: ctypes.CDLL

    def scores(self, x: object) -> Int[np.ndarray, "n K"]:
        """Return the whole scores of samples, by the C function ``NAME_scores_batch``.

        Parameters
        ----------
        x : (n, p) array
            Raw samples, as the program takes them.

        Returns
        -------
        (n, K) array of int32
            Scores, a column for each class or target.

        Raises
        ------
        ValueError
            If samples have another number of coordinates, or are no bytes where the program takes bytes.
        """
        rows = self._rows(x)
        scores = np.empty((len(rows), self.outputs), np.int32)
        self._call(rows, scores, None)
        return scores

    def predict(self, x: object) -> Real[np.ndarray, "n ..."]:
        """Return the index of each sample's class, by the C function ``NAME_predict_batch``, or predicted targets.

        Parameters
        ----------
        x : (n, p) array
            Raw samples, as the program takes them.

        Returns
        -------
        (n,) array of int32, or (n, K) array of float64
            Indices of classes, where ``classifier.classes[indices]`` are the labels. Of a regressor, scores times its
            unit.

        Raises
        ------
        ValueError
            If samples have another number of coordinates, or are no bytes where the program takes bytes.
        """
        if self.unit is not None:
            return np.asarray(self.unit) * self.scores(x)
        rows = self._rows(x)
        indices = np.empty(len(rows), np.intc)
        self._call(rows, None, indices)
        return indices

    def _call(self, rows: np.ndarray, scores: np.ndarray | None, indices: np.ndarray | None) -> None:
        outputs = (None if each is None else each.ctypes.data_as(ctypes.c_void_p) for each in (scores, indices))
        count = ctypes.c_int64(len(rows))
        if self.library[f"{self.name}_rows"](rows.ctypes.data_as(ctypes.c_void_p), count, *outputs):
            raise MemoryError(f"there is no memory for the scratch of {self.name}.")

    def _rows(self, x: object) -> Real[np.ndarray, "n p"]:
        """Return samples in the type that the program takes."""
        given = as_rows(x)
        if given.shape[1] != self.inputs:
            raise ValueError(f"{self.name} takes samples of {self.inputs:,} coordinates, got {given.shape[1]:,}.")
        if self.dtype == np.uint8 and not np.array_equal(given, given.astype(np.uint8)):
            raise ValueError(
                f"{self.name} takes raw pixels, whole numbers from 0 to 255: give the bytes of the images."
            )
        return np.ascontiguousarray(given, self.dtype)


def c_library(program: CProgram, *, compiler: str | None = None, options: Sequence[str] = ()) -> CLibrary:
    """Compile a C program with the system's compiler, and load it into this process.

    The library's files are deleted once it is loaded.

    Parameters
    ----------
    program : CProgram
        The program, see :func:`hntk.deploy.to_c`.
    compiler : str, optional
        Compiler with the options of gcc. By default what the environment variable CC names, or else the first of cc,
        gcc and clang that is installed.
    options : sequence of str
        Further options, such as ``"-march=native"``.

    Returns
    -------
    CLibrary
        The program's functions, for NumPy arrays.

    Raises
    ------
    ValueError
        If this is no C program of hntk's.
    CompilerError
        If there is no compiler, or it fails; the message has its output.

    Examples
    --------
    >>> import jax, hntk
    >>> from hntk.deploy import c_library, to_c
    >>> data = hntk.reference_mixture(n=400, p=40, key=jax.random.key(0))
    >>> net = hntk.compress(["relu"] * 2, [64, 64], data.x, levels=4, key=jax.random.key(1))
    >>> classifier = hntk.to_integers(hntk.fit_ridge(net, data.x, data.labels), x=data.x)
    >>> library = c_library(to_c(classifier))  # doctest: +SKIP
    >>> bool((classifier.classes[library.predict(data.x)] == classifier.predict(data.x)).all())  # doctest: +SKIP
    True
    """
    as_instance(program, "program", CProgram, "what hntk.deploy.to_c returns")
    with tempfile.TemporaryDirectory(prefix="hntk-") as name:
        folder = Path(name)
        _, source, _ = program.write(folder)
        rows, built = folder / "rows.c", folder / f"{program.name}.so"
        names = {"name": program.name, "NAME": program.name.upper(), "kind": _input_type(program)}
        rows.write_text(ROWS.substitute(names), encoding="ascii")
        defined = f"-D{program.name.upper()}_BATCH"
        _compile([_compiler(compiler), *OPTIONS, defined, *options, str(source), str(rows), "-o", str(built)])
        library = ctypes.CDLL(str(built))
    inputs, outputs, size, count = (ctypes.c_int32 * 4).in_dll(library, f"{program.name}_facts")
    units = tuple((ctypes.c_double * count).in_dll(library, f"{program.name}_unit")) if count else (None,)
    unit = units[0] if len(units) == 1 else units
    return CLibrary(program.name, inputs, outputs, unit, np.dtype(np.uint8 if size == 1 else np.float32), library)


def _input_type(program: CProgram) -> str:
    """Return the C type of a coordinate, as the header declares it."""
    declared = re.search(rf"\b{program.name}_scores\(const (\w+) \*input", program.header)
    if declared is None:
        raise ValueError(f"the header of {program.name} declares no {program.name}_scores: make it with to_c.")
    return declared[1]


def _compiler(compiler: str | None) -> str:
    """Return a compiler that is installed."""
    wanted = [compiler] if compiler is not None else [*filter(None, [os.environ.get("CC")]), *COMPILERS]
    found = next((each for each in wanted if shutil.which(each)), None)
    if found is None:
        raise CompilerError(
            f"there is no C compiler here ({', '.join(wanted)}): install gcc or clang, or name one in CC or compiler=."
        )
    return found


def _compile(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise CompilerError(f"{command[0]} failed with status {done.returncode}: {done.stderr.strip()[-2000:]}")
