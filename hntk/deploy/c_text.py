"""Text of the three files of a C program.

No name of NAME.c's own ends like those of NAME.h (``_word``, ``_labels``, ``_scores``, ``_predict``), so that none of
them is equal to one, whatever name a user chooses.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from string import Template

import numpy as np

from hntk.deploy.c_batch import BatchText, Step
from hntk.deploy.c_literals import CLabels
from hntk.deploy.c_tables import NetworkTables
from hntk.deploy.c_targets import CTargets

HEADER = Template("""\
/* $name: $summary
 *
 * Written by hntk. C99; no heap, no dependencies but <stddef.h> and <stdint.h>$float_note.
 */
#ifndef ${NAME}_H
#define ${NAME}_H

#ifdef ${NAME}_BATCH
#include <stddef.h>
#endif
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Width of the words that hold bit planes: 64 bits, or 32 where pointers are no wider. */
#ifndef ${NAME}_WORD_BITS
#if UINTPTR_MAX > 0xffffffffu
#define ${NAME}_WORD_BITS 64
#else
#define ${NAME}_WORD_BITS 32
#endif
#endif
#if ${NAME}_WORD_BITS == 64
typedef uint64_t ${name}_word;
#else
typedef uint32_t ${name}_word;
#endif

#define ${NAME}_INPUTS $inputs
#define ${NAME}_$OUTPUTS $outputs
/* RAM: bytes of scratch memory that a prediction needs. */
#define ${NAME}_SCRATCH_BYTES $scratch
/* Flash: bytes of the tables. */
#define ${NAME}_TABLE_BYTES $table_bytes

$before
/* Write the whole scores of one sample of ${NAME}_INPUTS coordinates: $input_note.
 * scratch: ${NAME}_SCRATCH_BYTES bytes, aligned as ${name}_word is; what it held is lost. */
void ${name}_scores(const $input_type *input, ${name}_word *scratch, int32_t *scores);
$after$batch
#ifdef __cplusplus
}
#endif
#endif
""")
SOURCE = Template("""\
/* $name: see $name.h. Written by hntk. */
#include "$name.h"

#define WORD_BITS ${NAME}_WORD_BITS
$float_input$kernels
/* The tables of this network. */
$tables
$functions""")
# What the header of a classifier declares before the scores, and after them.
LABELS = Template("""\
/* Labels in the order of the scores$label_note. */
extern const $label_type ${name}_labels[${NAME}_CLASSES];
""")
PREDICT = Template("""
/* Return the index of the largest score, the first of equals. */
int ${name}_predict(const $input_type *input, ${name}_word *scratch);
""")
LAST_READ = Template("""\
/* The levels of the last layer. */
static const void *features(const $input_type *input, word *scratch)
{
    $calls
}

void ${name}_scores(const $input_type *input, ${name}_word *scratch, int32_t *scores)
{
    const void *levels = features(input, scratch);
    size_t c;
    for (c = 0; c < $outputs; c++) {
        scores[c] = offset[c] + score(&readout$last, levels, c);
    }
}
""")
# What a batch function does with the scores of one sample.
SET_SCORES = Template("""\
size_t c;
for (c = 0; c < $outputs; c++) {
    scores[c] = offset[c];
}""")
READ_SCORES = Template("""\
size_t c;
for (c = 0; c < $outputs; c++) {
    scores[c] = offset[c] + score(&readout$last, $levels, c);
}""")
LAST_PREDICT = Template("""
int ${name}_predict(const $input_type *input, ${name}_word *scratch)
{
    return best_class(&readout$last, offset, features(input, scratch));
}
""")
ALL_READ = Template("""\
/* The scores, to which every layer adds. */
static void add_all(const $input_type *input, word *scratch, number32 *scores)
{
    size_t c;
    for (c = 0; c < $outputs; c++) {
        scores[c] = offset[c];
    }
    $calls
}

void ${name}_scores(const $input_type *input, ${name}_word *scratch, int32_t *scores)
{
    add_all(input, scratch, (number32 *)scores);
}
""")
ALL_PREDICT = Template("""
int ${name}_predict(const $input_type *input, ${name}_word *scratch)
{
    number32 *scores = (number32 *)($scores);
    add_all(input, scratch, scores);
    return largest(scores, $outputs);
}
""")
MAIN = Template("""\
/* Reads samples of $inputs $input_type each from the standard input; prints $printed. */
#include <stdio.h>

#include "$name.h"

static ${name}_word scratch[${NAME}_SCRATCH_BYTES / sizeof(${name}_word)];
static $input_type input[${NAME}_INPUTS];

int main(void)
{
$print    return 0;
}
""")
PRINT_CLASSES = Template("""\
    while (fread(input, sizeof input, 1, stdin) == 1) {
        printf("%d\\n", ${name}_predict(input, scratch));
    }
""")
PRINT_PREDICTIONS = Template("""\
    static int32_t scores[${NAME}_TARGETS];
$units    int k;
    while (fread(input, sizeof input, 1, stdin) == 1) {
        ${name}_scores(input, scratch, scores);
        for (k = 0; k < ${NAME}_TARGETS; k++) {
            printf("%.17g%c", $unit * scores[k], k + 1 < ${NAME}_TARGETS ? ' ' : '\\n');
        }
    }
""")


@dataclass(frozen=True)
class CText:
    """The files' text.

    Attributes
    ----------
    name : str
        The prefix of every name that other files see.
    answers : CLabels or CTargets
        The labels of a classifier's classes, or the units of a regressor's scores and their precision.
    tables : NetworkTables
        The network.
    layouts : str
        Layouts of the matrices, for the comment at the head.
    """

    name: str
    answers: CLabels | CTargets
    tables: NetworkTables
    layouts: str

    @property
    def header(self) -> str:
        """NAME.h."""
        fields = self._fields
        if isinstance(self.answers, CTargets):
            before, after = self.answers.definitions(self.name.upper()), ""
        else:
            before, after = LABELS.substitute(fields), PREDICT.substitute(fields)
        return HEADER.substitute(fields, before=before, after=after, batch=self._batch.header)

    @property
    def main(self) -> str:
        """NAME_main.c."""
        fields = self._fields
        printed, loop = "the index of each one's class", PRINT_CLASSES
        if self._labels is None:
            printed, loop = "the predictions of each one", PRINT_PREDICTIONS
        return MAIN.substitute(fields, printed=printed, print=loop.substitute(fields))

    @property
    def source(self) -> str:
        """NAME.c."""
        words, kernels = (
            files("hntk.deploy").joinpath(name).read_text(encoding="ascii")
            for name in ("hntk_words.h", "hntk_kernels.h")
        )
        kernels = words + kernels.replace('#include "hntk_words.h"\n\n', "")
        float_input = "" if self.tables.pixels else "#define FLOAT_INPUT\n"
        definitions, fields = self.tables.definitions, self._fields
        scores, predict = (ALL_READ, ALL_PREDICT) if self.tables.reads_all else (LAST_READ, LAST_PREDICT)
        last = len(self.tables.layers)
        functions = scores.substitute(fields, calls="\n    ".join(step.text for step in self._steps()), last=last)
        if self._labels is not None:
            definitions += self._labels.definition(f"{self.name}_labels")
            functions += predict.substitute(fields, last=last, scores=self._memory(3))
        functions += self._batch.source(self._block_steps())
        return SOURCE.substitute(
            fields, kernels=kernels, float_input=float_input, tables=definitions, functions=functions
        )

    @property
    def _labels(self) -> CLabels | None:
        return self.answers if isinstance(self.answers, CLabels) else None

    @property
    def _fields(self) -> dict[str, object]:
        pixels, counts = self.tables.pixels, [v.count for v in self.tables.values]
        shape = "-".join(map(str, counts)) if len(counts) <= 9 else f"{len(counts) - 1} layers"
        if self.tables.cells is not None:
            shape = f"{self.tables.inputs} pixels in cells, {shape}"
        outputs, labels = len(self.tables.offsets), self._labels
        kind = "targets" if labels is None else "classes"
        told = self._unit_fields
        if labels is not None:
            told = {"label_type": labels.type_name, "label_note": labels.note}
        return {
            **told,
            "name": self.name,
            "NAME": self.name.upper(),
            "summary": f"{shape} with {outputs} {kind}, ternary weights, {self.layouts}",
            "inputs": self.tables.inputs,
            "outputs": outputs,
            "OUTPUTS": kind.upper(),
            "scratch": self.tables.scratch_bytes,
            "table_bytes": self.tables.table_bytes,
            "input_type": "uint8_t" if pixels else "float",
            "input_note": "raw pixels, 0 to 255" if pixels else "floats, rounded here to whole numbers",
            "float_note": "" if pixels else "; floating point for rounding the input alone",
        }

    @property
    def _unit_fields(self) -> dict[str, str]:
        """What the main program of a regressor multiplies scores with."""
        prefix = self.name.upper()
        if isinstance(self.answers, CTargets) and len(self.answers.units) > 1:
            array = f"    static const double units[{prefix}_TARGETS] = {prefix}_UNITS;\n"
            return {"units": array, "unit": "units[k]"}
        return {"units": "", "unit": f"{prefix}_UNIT"}

    @property
    def _batch(self) -> BatchText:
        return BatchText(self._fields, self.tables, self._labels is not None)

    def _memory(self, part: int, base: str = "scratch") -> str:
        """Return where a part of the scratch memory begins."""
        before = sum(self.tables.parts_of_memory[:part])
        return f"{base} + {before} / sizeof(word)" if before else base

    def _steps(self, *, blocks: bool = False) -> list[Step]:
        """Return the statements that compute levels, in two halves of the scratch memory in turn, and use them.

        Of the statements for blocks of samples, those of layers of bit planes apply them to all samples.
        """
        tables, sums = self.tables, self._memory(2)
        calls, source = self._input_call(self._memory(0))
        steps = [Step(call) for call in calls]
        for number, layer in enumerate(tables.layers, 1):
            target = self._memory(number % 2)
            if blocks and layer.fields["layout_of"] == "ROWS":
                places = f"{self._memory(1 - number % 2, 'memory')}, {self._memory(number % 2, 'memory')}"
                steps.append(Step(f"apply_block(&layer{number}, {places}, STRIDE, samples, planes);", of_block=True))
            else:
                steps.append(Step(f"apply(&layer{number}, {source}, {sums}, {target});"))
            source = target
            if tables.reads_all:
                steps.append(Step(f"add_scores(&readout{number}, {source}, scores);"))
        return steps if tables.reads_all or blocks else [*steps, Step(f"return {source};")]

    def _block_steps(self) -> list[Step]:
        """Return the statements that compute the scores of a block of samples."""
        fields, last = self._fields, len(self.tables.layers)
        if self.tables.reads_all:
            return [Step(SET_SCORES.substitute(fields)), *self._steps(blocks=True)]
        levels = self._memory(last % 2)
        return [*self._steps(blocks=True), Step(READ_SCORES.substitute(fields, last=last, levels=levels))]

    def _input_call(self, target: str) -> tuple[list[str], str]:
        """Return the statements that take the input, and where the first layer reads."""
        tables, source = self.tables, "input"
        values, rounding, calls = tables.values[0], tables.rounding, []
        if rounding is not None:
            each = np.ndim(rounding.factor) > 0
            factor = "factors, 0.0f" if each else f"NULL, {float(rounding.factor).hex()}f"
            most = rounding.most
            return [f"take_rounded(input, centre, {factor}, {most}, &places, &layer1.in, {target});"], target
        if tables.cells is not None:
            source = target if tables.reads_pixels else self._memory(1)
            calls.append(f"pool_pixels(input, &cells, (uint8_t *)({source}));")
            source = f"(const uint8_t *)({source})"
        if tables.reads_pixels:
            return calls, source
        taken = f"take_pixels({source}, " if values.form == "PLANES" else f"place_pixels({source}, &places, "
        return [*calls, f"{taken}&layer1.in, {target});"], target
