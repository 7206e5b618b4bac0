"""A classifier of whole numbers as one pair of C99 files.

Matrices with few zeros lie in flash as bit planes (:mod:`hntk.planes`), worked off by AND, XOR and population
counts; sparse ones as gaps between the weights that are not 0, worked off by additions. Nothing is allocated: the
caller gives the scratch memory. There is no floating point, but for rounding an input that is not whole.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np

from hntk.integers import IntegerClassifier, Pixels, Steps
from hntk.packing import ESCAPE, expected_bits, pack
from hntk.planes import row_constants, word_planes
from hntk.weights import WeightMatrix

Layout = Literal["planes", "gaps"]
# columns of a line of C
WIDTH = 110


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
        """NAME.h, NAME.c and NAME_main.c in a folder that exists."""
        texts = {".h": self.header, ".c": self.source, "_main.c": self.main}
        paths = tuple(Path(folder) / f"{self.name}{ending}" for ending in texts)
        for path, text in zip(paths, texts.values(), strict=True):
            path.write_text(text, encoding="ascii")
        return paths  # type: ignore[return-value]


def to_c(
    classifier: IntegerClassifier, name: str = "hntk_net", *, layouts: Layout | Sequence[Layout] | None = None
) -> CProgram:
    """C99 source that predicts as the classifier does.

    Parameters
    ----------
    classifier : of ternary or ±1 weights, see :func:`hntk.to_integers`.
    name : an identifier of C.
    layouts : of the matrices, one for all or one each; by default the smaller one of each.

    Raises
    ------
    ValueError
        If the weights are int8, or the name or a layout cannot be.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", name):
        raise ValueError(f"name must be an identifier of small letters, digits and _, got {name!r}.")
    network = classifier.network
    if any(w.kind not in ("ternary", "sign") for w in network.weights):
        raise ValueError("a C program needs ternary or ±1 weights: draw the network with the law 'ternary'.")
    chosen = _layouts(network.weights, layouts)
    writer = _Writer(classifier, name, chosen)
    body = writer.body()
    fields = writer.fields()
    popcount = _filled("popcount.c.in", fields) if "planes" in chosen else ""
    return CProgram(
        name,
        _filled("net.h.in", fields),
        _filled("net.c.in", fields | {"body": body, "popcount": popcount}),
        _filled("main.c.in", fields),
        chosen,
        writer.table_bytes,
        writer.scratch_bytes,
    )


def _layouts(weights: Sequence[WeightMatrix], given: Layout | Sequence[Layout] | None) -> tuple[Layout, ...]:
    if given is None:
        return tuple("gaps" if _gap_bits(w) < 2 else "planes" for w in weights)
    asked = (given,) * len(weights) if isinstance(given, str) else tuple(given)
    if len(asked) != len(weights) or any(layout not in ("planes", "gaps") for layout in asked):
        raise ValueError(f"layouts must be 'planes' or 'gaps', for all or for each of {len(weights)}; got {given!r}.")
    return asked


def _gap_bits(matrix: WeightMatrix) -> float:
    return expected_bits("gaps+signs", float(np.mean(np.asarray(matrix.values) == 0)))


def _filled(template: str, fields: dict[str, object]) -> str:
    text = files("hntk.export").joinpath(template).read_text(encoding="utf-8")
    return _replaced(text, fields)


def _fragment(name: str, /, **fields: object) -> str:
    text = files("hntk.export").joinpath("fragments.c.in").read_text(encoding="utf-8")
    found = re.search(rf"^//: {name}\n(.*?)(?=^//: |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return _replaced(found.group(1), fields).rstrip() + "\n"


def _replaced(text: str, fields: dict[str, object]) -> str:
    return re.sub(r"@(\w+)@", lambda m: str(fields[m.group(1)]), text)


def _lines(items: Iterable[str]) -> str:
    """Items with commas, as many on a line as fit."""
    texts = list(items)
    each = max(1, WIDTH // (max(map(len, texts), default=1) + 2))
    return ",\n".join("    " + ", ".join(texts[i : i + each]) for i in range(0, len(texts), each))


def _smallest_type(values: np.ndarray) -> str:
    least, most = int(values.min()), int(values.max())
    return next(f"int{bits}_t" for bits in (8, 16, 32) if -(2 ** (bits - 1)) <= least and most < 2 ** (bits - 1))


class _Writer:
    """Text of one program, with an account of its tables."""

    def __init__(self, classifier: IntegerClassifier, name: str, layouts: tuple[Layout, ...]) -> None:
        self.classifier, self.name, self.layouts = classifier, name, layouts
        self.network = classifier.network
        self.table_bytes = 0
        self.widths = (self.network.weights[0].shape[1], *self.network.widths)
        self.codes = [v.code for v in (self.network.inputs, *self.network.steps)]
        # what every layer reads: planes, or one number each
        self.forms = [*("planes" if layout == "planes" else "numbers" for layout in layouts), "numbers"]
        sizes = [self._size(i) for i in range(len(self.widths))]
        self.halves = [max(sizes[i::2], default=0) for i in (0, 1)]
        self.scratch_bytes = sum(self.halves)

    def _size(self, i: int) -> int:
        """Bytes of the values between two layers, in whole pairs of words of 64 bits."""
        if self.forms[i] == "planes":
            return -(-self.widths[i] // 64) * 8 * len(self.codes[i].jumps)
        if i == 0 and isinstance(self.network.inputs, Pixels):
            return 0
        return -(-self.widths[i] * self._number_bytes(i) // 8) * 8

    def _number_bytes(self, i: int) -> int:
        values = self.network.inputs if i == 0 else self.network.steps[i - 1]
        return 1 if values.most <= 127 or isinstance(values, Pixels) else 2

    def _get(self, i: int, index: str) -> str:
        """Read one number between layers i and i + 1."""
        if i == 0 and isinstance(self.network.inputs, Pixels):
            fine = self.network.inputs.fine
            return f"{fine} * in[{index}]" if fine > 1 else f"in[{index}]"
        return f"((const signed char *)in)[{index}]" if self._number_bytes(i) == 1 else f"get16(in, {index})"

    def fields(self) -> dict[str, object]:
        labels, pixels = self.classifier.classes, isinstance(self.network.inputs, Pixels)
        whole = np.issubdtype(labels.dtype, np.integer)
        shape = "-".join(map(str, self.widths))
        return {
            "name": self.name,
            "NAME": self.name.upper(),
            "summary": f"{shape} with {len(labels)} classes, ternary weights, {', '.join(self.layouts)}",
            "inputs": self.widths[0],
            "classes": len(labels),
            "scratch": self.scratch_bytes,
            "tables": self.table_bytes,
            "stack": 4 * len(labels),
            "label_type": "int32_t" if whole else "char *const",
            "input_type": "uint8_t" if pixels else "float",
            "input_note": "raw pixels, 0 to 255" if pixels else "floats, rounded here to whole numbers",
            "float_note": "" if pixels else "; floating point for rounding the input alone",
        }

    def body(self) -> str:
        """Tables and functions."""
        wide = any(form == "numbers" and self._number_bytes(i) == 2 for i, form in enumerate(self.forms))
        parts = [
            _fragment("wide") if wide else "",
            self._input(),
            *(self._layer(i) for i in range(len(self.network.weights))),
            self._readout(),
        ]
        return "\n".join(part for part in parts if part)

    def _table(self, name: str, values: np.ndarray, kind: str | None = None, texts: Iterable[str] | None = None) -> str:
        """A constant array, of the smallest type that holds its whole numbers."""
        # C has no empty arrays
        values = values if values.size else np.zeros(1, np.int64)
        kind = kind or _smallest_type(values)
        self.table_bytes += values.size * int(re.sub(r"\D", "", kind) or 32) // 8
        return f"static const {kind} {name}[{values.size}] = {{\n{_lines(texts or map(str, values.tolist()))}\n}};\n"

    def _input(self) -> str:
        """From what the caller gives to what the first layer reads."""
        inputs, n = self.network.inputs, self.widths[0]
        planes = self.forms[0] == "planes"
        if isinstance(inputs, Pixels):
            return _fragment("pixels", n=n) if planes else ""
        centre = np.asarray(inputs.centre, np.float32)
        texts = [f"{float(c).hex()}f" for c in centre]
        bits = len(self.codes[0].jumps)
        store = (
            f"for (t = 0; t < {bits}; t++) {{\n            out[t * WORDS({n}) + j / WORD_BITS] |= "
            f"(word)((v + {inputs.most}) >> t & 1) << j % WORD_BITS;\n        }}"
            if planes
            else f"{self._put(0, 'j', 'v')};"
        )
        return self._table("centre", centre, "float", texts) + _fragment(
            "rounded",
            n=n,
            factor=f"{float(np.float32(inputs.factor)).hex()}f",
            most=inputs.most,
            out="word" if planes else "unsigned char",
            t=", t" if planes else "",
            clear=f"    for (j = 0; j < {bits} * WORDS({n}); j++) {{\n        out[j] = 0;\n    }}\n" if planes else "",
            store=store,
        )

    def _put(self, i: int, index: str, value: str) -> str:
        """Store one number between layers i and i + 1."""
        if self._number_bytes(i) == 1:
            return f"((signed char *)out)[{index}] = (signed char)({value})"
        return f"put16(out, {index}, {value})"

    def _layer(self, i: int) -> str:
        number, steps, weights = i + 1, self.network.steps[i], self.network.weights[i]
        bias = np.zeros(weights.shape[0], np.int64)
        if i == 0 and self.network.bias is not None:
            bias += self.network.bias
        head = f"/* layer {number}: {weights.shape[0]} x {weights.shape[1]}, {self.layouts[i]} */\n"
        work = self._planes if self.layouts[i] == "planes" else self._gaps
        return head + self._cells(number, steps) + work(i, weights, bias)

    def _cells(self, number: int, steps: Steps) -> str:
        """What to do with a neuron's sum."""
        cell = " + ".join(f"(sum >= {t})" for t in steps.thresholds)
        n = self.widths[number]
        if self.forms[number] == "planes":
            ranks = {level: rank for rank, level in enumerate(sorted(set(steps.levels)))}
            table = self._table(f"ranks{number}", np.array([ranks[level] for level in steps.levels]), "uint8_t")
            return table + _fragment("put_planes", number=number, n=n, cell=cell)
        kind = f"int{8 * self._number_bytes(number)}_t"
        table = self._table(f"levels{number}", np.array(steps.levels), kind)
        return table + _fragment("put_numbers", number=number, cell=cell, put=self._put(number, "i", "v"))

    def _planes(self, i: int, weights: WeightMatrix, bias: np.ndarray) -> str:
        number, (outputs, n), code = i + 1, weights.shape, self.codes[i]
        mask, signs = word_planes(weights)
        masked = weights.kind != "sign"
        pairs = np.stack([mask, signs] if masked else [signs], axis=1).reshape(outputs, -1, mask.shape[1] // 2, 2)
        # words of 64 bits: two of the mask, two of the signs
        words = np.ascontiguousarray(pairs.transpose(0, 2, 1, 3)).reshape(-1, 4 if masked else 2)
        macro = "W2" if masked else "W"
        texts = (f"{macro}({', '.join(map(hex, row))})" for row in words.tolist())
        self.table_bytes += words.size * 4
        stored = 2 if masked else 1
        sums = range(len(code.jumps))
        term = "k & (s ^ {b})" if masked else "s ^ {b}"
        counts = "\n".join(f"            x{t} += POPCOUNT({term.format(b=f'in[{t} * WORDS({n}) + w]')});" for t in sums)
        return (
            f"static const word rows{number}[{outputs} * {stored} * WORDS({n})] = {{\n{_lines(texts)}\n}};\n"
            + self._table(f"start{number}", row_constants(weights, code) + bias)
            + _fragment(
                "planes",
                number=number,
                outputs=outputs,
                n=n,
                out=self._out_type(number),
                clear=self._clear(number),
                stored=stored,
                load="const word k = row[2 * w], s = row[2 * w + 1];" if masked else "const word s = row[w];",
                zeros=", ".join(f"x{t} = 0" for t in sums),
                counts=counts,
                total=" + ".join(f"{jump} * x{t}" for t, jump in enumerate(code.jumps)),
            )
        )

    def _gaps(self, i: int, weights: WeightMatrix, bias: np.ndarray) -> str:
        number, (outputs, n) = i + 1, weights.shape
        packed = pack(WeightMatrix(weights.values, 1.0, "ternary"), "gaps+signs")
        assert packed.positions is not None
        tables = [
            self._table(f"gaps{number}", packed.positions, "uint8_t"),
            self._table(f"signs{number}", packed.values, "uint8_t"),
            self._table(f"start{number}", bias) if bias.any() else "",
        ]
        return "".join(tables) + _fragment(
            "gaps",
            number=number,
            outputs=outputs,
            n=n,
            out=self._out_type(number),
            clear=self._clear(number),
            count=packed.positions.size,
            escape=ESCAPE,
            first=f"start{number}[0]" if bias.any() else "0",
            next=f"i < {outputs} ? start{number}[i] : 0" if bias.any() else "0",
            value=self._get(i, "column"),
        )

    def _out_type(self, number: int) -> str:
        return "word" if self.forms[number] == "planes" else "unsigned char"

    def _clear(self, number: int) -> str:
        if self.forms[number] != "planes":
            return ""
        size = f"{len(self.codes[number].jumps)} * WORDS({self.widths[number]})"
        return f"    for (i = 0; i < {size}; i++) {{\n        out[i] = 0;\n    }}\n"

    def _readout(self) -> str:
        net, name, last = self.classifier, self.name, len(self.network.weights)
        d, classes = self.widths[-1], len(net.classes)
        labels = net.classes.tolist()
        whole = np.issubdtype(net.classes.dtype, np.integer)
        texts = map(str, labels) if whole else (json.dumps(str(label)) for label in labels)
        kind = "int32_t" if whole else "char *const"
        calls, held = [], ["scratch", f"scratch + {self.halves[0]} / sizeof(word)"]
        source = "input"
        if not (isinstance(self.network.inputs, Pixels) and self.forms[0] != "planes"):
            calls.append(f"take_input(input, {self._cast(0)}({held[0]}));")
            source = held[0]
        for number in range(1, last + 1):
            target = f"{self._cast(number)}({held[number % 2]})"
            reads = f"{self._read_cast(number - 1)}({source})"
            calls.append(f"layer{number}({reads}, {target});")
            source = held[number % 2]
        return (
            self._table("readout", np.asarray(net.readout).ravel())
            + self._table("offset", np.asarray(net.offset), "int32_t")
            + f"const {kind} {name}_labels[{classes}] = {{\n{_lines(texts)}\n}};\n"
            + _fragment(
                "readout",
                name=name,
                input_type="uint8_t" if isinstance(self.network.inputs, Pixels) else "float",
                calls="\n    ".join(calls),
                last=source,
                classes=classes,
                d=d,
                level=self._get(last, "j"),
            )
        )

    def _cast(self, i: int) -> str:
        return "" if self.forms[i] == "planes" else "(unsigned char *)"

    def _read_cast(self, i: int) -> str:
        if i == 0 and isinstance(self.network.inputs, Pixels) and self.forms[0] != "planes":
            return ""
        return "" if self.forms[i] == "planes" else "(const unsigned char *)"
