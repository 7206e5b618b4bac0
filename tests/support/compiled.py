"""Many C programs compiled into one binary, and their results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.shipping import toolchain
from hntk.deploy.c import CProgram

# with -Og, gcc compiles in two thirds of the time that it takes with -O1, and in a tenth of that with -O0
# reads of null pointers and beyond an object end gcc's programs by the address sanitizer; without the other's checks of
# them compilation takes two thirds of the time
SANITIZED = ("-Og", "-fsanitize=address,undefined", "-fno-sanitize=null,object-size", "-fno-sanitize-recover=all")
DRIVER = """
#include <stdio.h>
#include <string.h>

static void number(const void *value, size_t size)
{
    fwrite(value, size, 1, stdout);
}

#define RUN(name, NAME, type, rows, LABEL) \\
    { \\
        static name##_word scratch[NAME##_SCRATCH_BYTES / sizeof(name##_word)]; \\
        static type input[NAME##_INPUTS]; \\
        static int32_t scores[NAME##_CLASSES]; \\
        int32_t best; \\
        int r, c; \\
        for (c = 0; c < NAME##_CLASSES; c++) { \\
            LABEL(name##_labels[c]); \\
        } \\
        for (r = 0; r < rows; r++) { \\
            if (fread(input, sizeof input, 1, stdin) != 1) { \\
                return 1; \\
            } \\
            name##_scores(input, scratch, scores); \\
            best = name##_predict(input, scratch); \\
            number(scores, sizeof scores); \\
            number(&best, sizeof best); \\
        } \\
    }
/* The same scores and classes of all samples at a time, or a status that says which of them differ. */
#define RUN_BATCH(name, NAME, type, rows) \\
    { \\
        static name##_word scratch[NAME##_BATCH_SCRATCH_BYTES / sizeof(name##_word)]; \\
        static type inputs[rows * NAME##_INPUTS]; \\
        static int32_t scores[rows * NAME##_CLASSES], one[NAME##_CLASSES]; \\
        static int indices[rows]; \\
        size_t count, r; \\
        if (fread(inputs, sizeof inputs, 1, stdin) != 1) { \\
            return 1; \\
        } \\
        name##_scores_batch(inputs, rows, scratch, scores); \\
        name##_predict_batch(inputs, rows, scratch, indices); \\
        for (r = 0; r < rows; r++) { \\
            name##_scores(inputs + r * NAME##_INPUTS, scratch, one); \\
            if (memcmp(one, scores + r * NAME##_CLASSES, sizeof one)) { \\
                return 2; \\
            } \\
            if (name##_predict(inputs + r * NAME##_INPUTS, scratch) != indices[r]) { \\
                return 3; \\
            } \\
            number(one, sizeof one); \\
            number(&indices[r], sizeof indices[r]); \\
        } \\
        for (count = 0; count < rows; count += 7) { \\
            memset(scores, 85, sizeof scores); \\
            name##_scores_batch(inputs + NAME##_INPUTS, count, scratch, scores + NAME##_CLASSES); \\
            for (r = 0; r <= count + 1 && r < rows; r++) { \\
                name##_scores(inputs + r * NAME##_INPUTS, scratch, one); \\
                if (r == 0 || r == count + 1) { \\
                    memset(one, 85, sizeof one); \\
                } \\
                if (memcmp(one, scores + r * NAME##_CLASSES, sizeof one)) { \\
                    return 4; \\
                } \\
            } \\
        } \\
    }
#define NUMBER(label) number(&label, sizeof label)
#define TEXT(label) \\
    { \\
        const uint32_t size = (uint32_t)strlen(label); \\
        number(&size, sizeof size); \\
        number(label, size); \\
    }

int main(void)
{
"""


@dataclass(frozen=True)
class Given:
    """The results of a program: labels as bytes or numbers, scores and indices of the samples."""

    labels: list[Any]
    scores: np.ndarray
    indices: np.ndarray


def run_all(
    programs: Sequence[CProgram],
    labels: Sequence[np.ndarray],
    samples: Sequence[np.ndarray],
    folder: Path,
    compiler: str,
    options: Sequence[str],
    word_bits: Sequence[int],
    batch: bool = False,
    runner: Sequence[str] = (),
) -> list[Given]:
    """Compile programs of different names into one binary, run it, and parse its output.

    With ``batch``, the program checks that batch functions give what those of one sample do, and prints no labels. An
    emulator may be named as the runner.
    """
    headers, calls, sources = [], [], []
    for program, names, raw in zip(programs, labels, samples, strict=True):
        sources.append(program.write(folder)[1])
        headers.append(f'#include "{program.name}.h"\n')
        kind = "uint8_t" if raw.dtype == np.uint8 else "float"
        what = "TEXT" if names.dtype.kind == "U" else "NUMBER"
        macro, last = ("RUN_BATCH", "") if batch else ("RUN", f", {what}")
        calls.append(f"    {macro}({program.name}, {program.name.upper()}, {kind}, {len(raw)}{last})\n")
    main, built = folder / "driver.c", folder / f"driver-{compiler}"
    main.write_text("".join(headers) + DRIVER + "".join(calls) + "    return 0;\n}\n")
    bits = [f"-D{p.name.upper()}_WORD_BITS={b}" for p, b in zip(programs, word_bits, strict=True)]
    bits += [f"-D{p.name.upper()}_BATCH" for p in programs if batch]
    toolchain.compile_files([*sources, main], built, compiler, (*options, *bits, f"-I{folder}"))
    given = toolchain.call([*runner, str(built)], input=b"".join(raw.tobytes() for raw in samples)).stdout
    found, at = [], 0
    for names, raw in zip(labels, samples, strict=True):
        one, at = _taken(given, at, names, len(raw), labelled=not batch)
        found.append(one)
    assert at == len(given)
    return found


def _taken(given: bytes, at: int, names: np.ndarray, rows: int, *, labelled: bool) -> tuple[Given, int]:
    labels: list[Any] = []
    if not labelled:
        pass
    elif names.dtype.kind == "U":
        for _ in names:
            size = int.from_bytes(given[at : at + 4], "little")
            labels.append(given[at + 4 : at + 4 + size])
            at += 4 + size
    else:
        kind = label_type(names)
        labels = np.frombuffer(given, kind, names.size, at).tolist()
        at += kind.itemsize * names.size
    table = np.frombuffer(given, np.int32, rows * (names.size + 1), at).reshape(rows, -1)
    return Given(labels, table[:, :-1], table[:, -1]), at + table.nbytes


def label_type(names: np.ndarray) -> np.dtype:
    """Return the C type of numbers or booleans."""
    if names.dtype.kind in "fb":
        return np.dtype(np.float64 if names.dtype.kind == "f" else np.int32)
    return next(
        np.dtype(kind)
        for kind in (np.int32, np.int64, np.uint64)
        if all(np.iinfo(kind).min <= v <= np.iinfo(kind).max for v in names.tolist())
    )
