"""The baseline's networks as C99, with the header that hntk's programs have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Template

import numpy as np

from experiments.shipping.int8_network import Int8Layer, Int8Network
from hntk.deploy.c import CProgram
from hntk.deploy.c_arrays import Table
from hntk.deploy.c_literals import CLabels, check_name
from hntk.deploy.c_pooling import reciprocal
from hntk.deploy.c_text import HEADER, LABELS, MAIN, PREDICT, PRINT_CLASSES
from hntk.networks.integer_inputs import Pixels, PooledPixels

KERNELS = Path(__file__).parent / "native" / "int8_kernels.h"
# How weights lie, see the kernels: for a plain loop, for 4 sums at a time in plain C, and for SMLAD.
LAYOUTS = ("loop", "columns", "blocks")
SOURCE = Template("""\
/* $name: see $name.h. */
#include "$name.h"

#define $layout
$pooled$kernels
$tables
/* The scores, within the scratch memory. */
static const int32_t *scores_of(const uint8_t *input, ${name}_word *scratch)
{
    uint8_t *const bytes = (uint8_t *)scratch;
    int32_t *const scores = (int32_t *)(void *)(bytes + $scores_at);
    $calls
    return scores;
}

void ${name}_scores(const uint8_t *input, ${name}_word *scratch, int32_t *scores)
{
    const int32_t *all = scores_of(input, scratch);
    size_t c;
    for (c = 0; c < $classes; c++) {
        scores[c] = all[c];
    }
}

int ${name}_predict(const uint8_t *input, ${name}_word *scratch)
{
    const int32_t *scores = scores_of(input, scratch);
    int best = 0, c;
    for (c = 1; c < $classes; c++) {
        if (scores[c] > scores[best]) {
            best = c;
        }
    }
    return best;
}
""")


def int8_program(network: Int8Network, name: str = "int8_net", layout: str = "loop") -> CProgram:
    """Return C99 source that predicts what the network predicts, to the bit.

    Parameters
    ----------
    network : Int8Network
        The network; its inputs and hidden widths must be multiples of 4.
    name : str
        The files' name, and the prefix of what they declare.
    layout : {"loop", "columns", "blocks"}
        How weights lie, and with it the loop over them.

    Returns
    -------
    CProgram
        Header, source and main program.

    Raises
    ------
    ValueError
        If there is no such layout, or a width is no multiple of 4.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}.")
    if any(width % 4 for width in network.widths[:-1]):
        raise ValueError(f"widths must be multiples of 4, but for the number of classes; got {network.widths}.")
    labels, pooling = CLabels.of(network.classes), _Pooling.of(network.inputs)
    tables = [] if pooling is None else pooling.tables
    structs = "" if pooling is None else pooling.structs
    for number, layer in enumerate(network.layers, 1):
        weights, bias = (Table(f"{kind}{number}", values) for kind, values in _layer_arrays(layer, layout))
        tables += [weights, bias]
        structs += (
            f"static const dense_layer layer{number} = {{{weights.name}, {bias.name}, {layer.weights.shape[1]}, "
            f"{bias.values.size}, {layer.multiplier}, {layer.shift}}};\n"
        )
    memory = _Memory.of(network, 0 if pooling is None else 2 * pooling.shape[1])
    texts = {
        "name": name, "NAME": check_name(name).upper(), "classes": labels.count, "layout": layout.upper(),
        "pooled": "" if pooling is None else pooling.defines, "kernels": KERNELS.read_text(encoding="ascii"),
        "tables": "".join(table.declaration for table in tables) + structs + labels.definition(f"{name}_labels"),
        "scores_at": memory.scores_at, "calls": "\n    ".join(_calls(network, pooling, memory)),
        "summary": f"{'-'.join(map(str, network.widths[:-1]))} with {labels.count} classes, plain int8 dense kernel",
        "inputs": network.widths[0] if pooling is None else pooling.shape[0] * pooling.shape[1],
        "scratch": memory.size, "table_bytes": sum(table.nbytes for table in tables), "label_type": labels.type_name,
        "label_note": labels.note, "outputs": labels.count, "OUTPUTS": "CLASSES", "input_type": "uint8_t",
        "input_note": "raw pixels, 0 to 255", "float_note": "", "batch": "",
    }  # fmt: skip
    before, after, loop = (template.substitute(texts) for template in (LABELS, PREDICT, PRINT_CLASSES))
    header = HEADER.substitute(texts, before=before, after=after)
    main = MAIN.substitute(texts, printed="the index of each one's class", print=loop)
    return CProgram(name, header, SOURCE.substitute(texts), main, (), texts["table_bytes"], memory.size)


def _layer_arrays(layer: Int8Layer, layout: str) -> tuple[tuple[str, np.ndarray], tuple[str, np.ndarray]]:
    """Return the weights in words of 4 and the bias; rows are filled up to a multiple of 4 by weights 0."""
    rows, columns = layer.weights.shape
    more = -rows % 4
    whole = np.pad(layer.weights, ((0, more), (0, 0)))
    if layout == "columns":
        whole = whole.reshape(-1, 4, columns).swapaxes(1, 2)
    if layout == "blocks":
        whole = whole.reshape(-1, 4, columns // 4, 4).swapaxes(1, 2)
    words = np.ascontiguousarray(whole).ravel().view("<u4").astype(np.uint32)
    return ("weights", words), ("bias", np.pad(layer.bias, (0, more)).astype(np.int32))


@dataclass(frozen=True)
class _Memory:
    """The scratch memory: two halves for values in turn, scores, and a line of sums of pixels."""

    halves: tuple[int, int]
    scores_at: int
    line_at: int
    size: int

    @classmethod
    def of(cls, network: Int8Network, line: int) -> _Memory:
        reads = [*network.widths[:-1]]
        if isinstance(network.inputs, Pixels):
            # the first layer reads them where they are
            reads[0] = 0
        first, second = (-(-max(sizes, default=0) // 4) * 4 for sizes in (reads[::2], reads[1::2]))
        scores_at = first + second
        line_at = scores_at + 4 * -(-network.widths[-1] // 4) * 4
        return cls((0, first), scores_at, line_at, -(-(line_at + line) // 8) * 8)


def _calls(network: Int8Network, pooling: _Pooling | None, memory: _Memory) -> list[str]:
    calls, source = [], "input"
    if pooling is not None:
        source = f"bytes + {memory.halves[0]}"
        calls.append(f"{pooling.call}, (uint16_t *)(void *)(bytes + {memory.line_at}), {source});")
    for number in range(1, len(network.layers)):
        target = f"bytes + {memory.halves[number % 2]}"
        calls.append(f"apply(&layer{number}, {source}, {target});")
        source = target
    return [*calls, f"score(&layer{len(network.layers)}, {source}, scores);"]


@dataclass(frozen=True, eq=False)
class _Pooling:
    """Averages of pixels over cells."""

    shape: tuple[int, int]
    tables: list[Table]
    structs: str
    defines: str
    call: str

    @classmethod
    def of(cls, inputs: Pixels | PooledPixels) -> _Pooling | None:
        if isinstance(inputs, Pixels):
            return None
        tables, structs, defines = [], "", "#define POOLED\n"
        for name, overlaps in zip(("rows", "columns"), inputs.overlaps, strict=True):
            most = int((overlaps > 0).sum(axis=1).max())
            # the last cells begin earlier, with lengths of 0, so that none reads behind the image
            first = np.minimum(np.argmax(overlaps > 0, axis=1), overlaps.shape[1] - most)
            lengths = np.take_along_axis(overlaps, first[:, None] + np.arange(most), axis=1)
            each = [Table(f"{name}_{kind}", np.asarray(values, np.uint8).ravel())
                    for kind, values in (("first", first), ("lengths", lengths))]  # fmt: skip
            tables += each
            cells, pixels = overlaps.shape
            structs += f"static const axis {name} = {{{each[0].name}, {each[1].name}, {cells}, {pixels}}};\n"
            defines += f"#define POOLED_{name.upper()} {most}\n"
        factor, shift = reciprocal(inputs.area)
        if not factor:
            raise ValueError(f"means over cells of area {inputs.area} are no products of 32 bits: pool to fewer cells.")
        call = f"pool(input, &rows, &columns, {inputs.area // 2}, {factor}u, {shift}"
        return cls(inputs.shape, tables, structs, defines, call)
