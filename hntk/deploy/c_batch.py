"""Functions of a C program that predict many samples at a time.

Layers of bit planes take blocks of samples, so that each load of a weight serves all of them; the rest is done sample
by sample. A program has these functions only where its macro NAME_BATCH is defined.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from string import Template

from hntk.deploy.c_tables import NetworkTables

# The C functions of blocks.
KERNELS = files("hntk.deploy").joinpath("hntk_batch.h").read_text(encoding="ascii")
# Samples of a block, and the most neurons whose weights are held as bytes, on any processor.
BLOCK, ROWS = (
    max(int(number) for number in re.findall(rf"^#define {name} (\d+)$", KERNELS, re.M))
    for name in ("BLOCK", "DOT_ROWS")
)
# Bytes in which the start of their planes is moved to a line of caches.
LINE = 64
HEADER = Template("""
/* Many samples at a time: define ${NAME}_BATCH for this header and for $name.c.
 * $sharing */
#ifdef ${NAME}_BATCH
/* RAM: bytes of scratch memory that the functions below need, whatever the number of samples is. */
#define ${NAME}_BATCH_SCRATCH_BYTES $batch_scratch
/* Write the whole scores of `count` samples, one sample after the other. */
void ${name}_scores_batch(const $input_type *inputs, size_t count, ${name}_word *scratch, int32_t *scores);
$predict#endif
""")
PREDICT_HEADER = Template("""\
/* Write the index of the largest score of each sample. */
void ${name}_predict_batch(const $input_type *inputs, size_t count, ${name}_word *scratch, int *indices);
""")
SHARING = "Layers of bit planes load each weight once for $block samples."
# Functions of a program without bit planes.
ONE_BY_ONE = Template("""
void ${name}_scores_batch(const $input_type *inputs, size_t count, ${name}_word *scratch, int32_t *scores)
{
    size_t b;
    for (b = 0; b < count; b++) {
        ${name}_scores(inputs + b * $inputs, scratch, scores + b * $outputs);
    }
}
""")
PREDICT_ONE_BY_ONE = Template("""
void ${name}_predict_batch(const $input_type *inputs, size_t count, ${name}_word *scratch, int *indices)
{
    size_t b;
    for (b = 0; b < count; b++) {
        indices[b] = ${name}_predict(inputs + b * $inputs, scratch);
    }
}
""")
# Functions of one with bit planes. The memories of a block's samples lie `STRIDE` words apart.
BLOCKS = Template("""
#define STRIDE ($scratch / sizeof(word))

/* Compute the scores of the samples of a block, `apart` numbers after each other. */
static void compute_block(const $input_type *inputs, size_t samples, word *memory, number32 *all, size_t apart)
{
    word *planes = memory + (BLOCK * STRIDE + $line / sizeof(word));
    size_t b;
    planes -= (uintptr_t)planes % $line / sizeof(word);
$steps}

void ${name}_scores_batch(const $input_type *inputs, size_t count, ${name}_word *scratch, int32_t *scores)
{
    size_t done;
    for (done = 0; done < count; done += BLOCK) {
        const size_t samples = count - done < BLOCK ? count - done : BLOCK;
        compute_block(inputs + done * $inputs, samples, scratch, (number32 *)scores + done * $outputs, $outputs);
    }
}
""")
PREDICT_BLOCKS = Template("""
void ${name}_predict_batch(const $input_type *inputs, size_t count, ${name}_word *scratch, int *indices)
{
    number32 *scores = (number32 *)(scratch + (BLOCK * STRIDE + $planes / sizeof(word)));
    size_t done, b;
    for (done = 0; done < count; done += BLOCK) {
        const size_t samples = count - done < BLOCK ? count - done : BLOCK;
        compute_block(inputs + done * $inputs, samples, scratch, scores, $outputs);
        for (b = 0; b < samples; b++) {
            indices[done + b] = largest(scores + b * $outputs, $outputs);
        }
    }
}
""")
EACH = Template("""\
    for (b = 0; b < samples; b++) {
$declared        $statements
    }
""")
# What statements of one sample name, in the order of their declaration.
OF_A_SAMPLE = {
    "input": "const {input_type} *input = inputs + b * {inputs};",
    "scratch": "word *scratch = memory + b * STRIDE;",
    "scores": "number32 *scores = all + b * apart;",
}


@dataclass(frozen=True)
class Step:
    """A statement of a prediction.

    Attributes
    ----------
    text : str
        The statement, for one sample or for a block.
    of_block : bool
        Whether it is for a block.
    """

    text: str
    of_block: bool = False


@dataclass(frozen=True)
class BatchText:
    """The batch functions' text.

    Attributes
    ----------
    fields : mapping
        What the templates name.
    tables : NetworkTables
        The network.
    predicts : bool
        Whether the program predicts classes.
    """

    fields: Mapping[str, object]
    tables: NetworkTables
    predicts: bool

    @property
    def header(self) -> str:
        """Declarations, for NAME.h."""
        sharing = Template(SHARING).substitute(block=BLOCK) if self._plane_bytes else "No load of weights is shared."
        predict = PREDICT_HEADER.substitute(self.fields) if self.predicts else ""
        return HEADER.substitute(self.fields, sharing=sharing, batch_scratch=self.scratch_bytes, predict=predict)

    def source(self, steps: Iterable[Step]) -> str:
        """Return definitions, for NAME.c, of functions that do these steps."""
        if not self._plane_bytes:
            predict = PREDICT_ONE_BY_ONE.substitute(self.fields) if self.predicts else ""
            text = ONE_BY_ONE.substitute(self.fields) + predict
        else:
            kernels = KERNELS.replace('#include "hntk_kernels.h"\n', "")
            text = kernels + BLOCKS.substitute(self.fields, line=LINE, steps="".join(self._loops(steps)))
            if self.predicts:
                text += PREDICT_BLOCKS.substitute(self.fields, planes=self._plane_bytes + LINE)
        return f"\n#ifdef {self.fields['NAME']}_BATCH\n{text}#endif\n"

    @property
    def scratch_bytes(self) -> int:
        """Bytes of the scratch memory: of each sample of a block, its planes side by side, and scores."""
        if not self._plane_bytes:
            return self.tables.scratch_bytes
        scores = -(-4 * BLOCK * self.tables.offsets.size // 8) * 8 if self.predicts else 0
        return BLOCK * self.tables.scratch_bytes + self._plane_bytes + LINE + scores

    @property
    def _plane_bytes(self) -> int:
        """Bytes of the planes of a block that a layer reads, or values and weights as bytes; 0 without planes."""
        sizes = [
            (BLOCK * v.nbytes, (BLOCK + ROWS) * -(-v.count // 64) * 64)
            for v in self.tables.values
            if v.form == "PLANES"
        ]
        return max(map(max, sizes), default=0)

    def _loops(self, steps: Iterable[Step]) -> Iterator[str]:
        """Yield the statements of blocks, and loops over samples for the others."""
        for of_block, group in groupby(steps, lambda step: step.of_block):
            texts = [step.text for step in group]
            if of_block:
                yield "".join(f"    {text}\n" for text in texts)
                continue
            whole = "\n".join(texts)
            named = [line.format_map(self.fields) for name, line in OF_A_SAMPLE.items() if _names(whole, name)]
            declared = "".join(f"        {line}\n" for line in named)
            yield EACH.substitute(declared=declared, statements="\n".join(texts).replace("\n", "\n        "))


def _names(text: str, name: str) -> bool:
    """Return whether a statement names a variable."""
    return re.search(rf"\b{name}\b", text) is not None
