"""The text of a C program, table by table and layer by layer.

Names of a layer's own end in its number; no other name ends in a digit, and none begins with a user's prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from hntk.deploy.c_literals import label_table, smallest_type, smallest_unsigned, whole_number
from hntk.deploy.c_memory import Memory
from hntk.deploy.c_templates import filled, fragment, lines
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_inputs import Pixels
from hntk.networks.integer_steps import Steps
from hntk.weights.bit_planes import row_constants, word_planes
from hntk.weights.encodings import ESCAPE, pack
from hntk.weights.laws import WeightMatrix

# thresholds up to which comparing with each is faster than searching
COMPARED = 16
LABEL_NOTES = {"char *const": ", UTF-8", "int": ", 0 for false and 1 for true"}


class Writer:
    """Text of one program, with an account of its tables.

    Parameters
    ----------
    classifier : of ternary or ±1 weights, checked.
    labels : of its classes.
    name : the prefix.
    layouts : of the matrices.
    """

    def __init__(self, classifier: IntegerClassifier, labels: np.ndarray, name: str, layouts: Sequence[str]) -> None:
        self.classifier, self.labels, self.name, self.layouts = classifier, labels, name, tuple(layouts)
        self.network, self.steps = classifier.network, classifier.network.reachable
        self.memory = Memory(self.network, layouts)
        self.widths = self.memory.widths
        self.table_bytes = 0

    def files(self) -> tuple[str, str, str]:
        """Header, source and a program."""
        label_type, label_texts, before = label_table(self.labels)
        labels = f"{before}const {label_type} {self.name}_labels[{len(label_texts)}] = {{\n{lines(label_texts)}\n}};\n"
        body = self._body(labels)
        fields = self._fields(label_type)
        popcount = filled("popcount.c.in", {}) if "planes" in self.layouts else ""
        source = filled("net.c.in", fields | {"body": body, "popcount": popcount})
        return filled("net.h.in", fields), source, filled("main.c.in", fields)

    @property
    def _pixels(self) -> bool:
        return isinstance(self.network.inputs, Pixels)

    @property
    def _input_type(self) -> str:
        return "uint8_t" if self._pixels else "float"

    def _fields(self, label_type: str) -> dict[str, object]:
        layouts = dict.fromkeys(self.layouts)
        shape = "-".join(map(str, self.widths)) if len(self.widths) <= 9 else f"{len(self.widths) - 1} layers"
        return {
            "name": self.name,
            "NAME": self.name.upper(),
            "summary": f"{shape} with {len(self.labels)} classes, ternary weights, {' and '.join(layouts)}",
            "inputs": self.widths[0],
            "classes": len(self.labels),
            "scratch": self.memory.scratch_bytes,
            "tables": self.table_bytes,
            "label_type": label_type,
            "label_note": LABEL_NOTES.get(label_type, ""),
            "input_type": self._input_type,
            "input_note": "raw pixels, 0 to 255" if self._pixels else "floats, rounded here to whole numbers",
            "float_note": "" if self._pixels else "; floating point for rounding the input alone",
        }

    def _body(self, labels: str) -> str:
        """Tables and functions."""
        wide = [i for i, form in enumerate(self.memory.forms) if form == "numbers" and self.memory.number_bytes(i) == 2]
        parts = [
            fragment("put_wide") if wide else "",
            fragment("get_wide") if wide else "",
            fragment("search") if any(len(s.thresholds) > COMPARED for s in self.steps) else "",
            self._input(),
            *(self._layer(i) for i in range(len(self.network.weights))),
            self._readout(labels),
        ]
        return "\n".join(part for part in parts if part)

    def _table(self, name: str, values: np.ndarray, kind: str | None = None, texts: Iterable[str] | None = None) -> str:
        """A constant array, of the smallest type that holds its whole numbers."""
        # C has no empty arrays
        values = values if values.size else np.zeros(1, np.int64)
        kind = kind or smallest_type(values)
        self.table_bytes += values.size * int(re.sub(r"\D", "", kind) or 32) // 8
        texts = texts or map(whole_number, values.tolist())
        return f"static const {kind} {name}[{values.size}] = {{\n{lines(texts)}\n}};\n"

    def _input(self) -> str:
        """From what the caller gives to what the first layer reads."""
        inputs, n = self.network.inputs, self.widths[0]
        planes = self.memory.forms[0] == "planes"
        if isinstance(inputs, Pixels):
            return fragment("pixels", n=n) if planes else ""
        centre = np.asarray(inputs.centre, np.float32)
        texts = [f"{float(c).hex()}f" for c in centre]
        bits = len(self.memory.codes[0].jumps)
        store = (
            f"for (t = 0; t < {bits}; t++) {{\n            out[t * WORDS({n}) + j / WORD_BITS] |= "
            f"(word)((v + {inputs.most}) >> t & 1) << j % WORD_BITS;\n        }}"
            if planes
            else f"{self.memory.put(0, 'j', 'v')};"
        )
        return self._table("centre", centre, "float", texts) + fragment(
            "rounded",
            n=n,
            factor=f"{float(np.float32(inputs.factor)).hex()}f",
            most=inputs.most,
            out="word" if planes else "unsigned char",
            t=", t" if planes else "",
            clear=f"    for (j = 0; j < {bits} * WORDS({n}); j++) {{\n        out[j] = 0;\n    }}\n" if planes else "",
            store=store,
        )

    def _layer(self, i: int) -> str:
        number, weights = i + 1, self.network.weights[i]
        bias = np.zeros(weights.shape[0], np.int64)
        if i == 0 and self.network.bias is not None:
            bias += self.network.bias
        head = f"/* layer {number}: {weights.shape[0]} x {weights.shape[1]}, {self.layouts[i]} */\n"
        work = self._planes if self.layouts[i] == "planes" else self._gaps
        return head + self._cells(number, self.steps[i]) + work(i, weights, bias)

    def _cells(self, number: int, steps: Steps) -> str:
        """What to do with a neuron's sum."""
        cell, table = self._cell(number, steps.thresholds)
        if self.memory.forms[number] == "planes":
            code = self.memory.codes[number]
            words = code.words(steps.levels)
            table += self._table(f"codes{number}", words, smallest_unsigned(words))
            how = "put_ranks" if code.thermometer else "put_bits"
            return table + fragment(how, number=number, n=self.widths[number], cell=cell, bits=len(code.jumps))
        table += self._table(f"levels{number}", np.array(steps.levels), f"int{8 * self.memory.number_bytes(number)}_t")
        return table + fragment("put_numbers", number=number, cell=cell, put=self.memory.put(number, "i", "v"))

    def _cell(self, number: int, thresholds: Sequence[int]) -> tuple[str, str]:
        """How many thresholds a sum has reached, and the table that this takes."""
        if not thresholds:
            return "(void)sum, 0", ""
        if len(thresholds) <= COMPARED:
            return " + ".join(f"(sum >= {t})" for t in thresholds), ""
        table = self._table(f"from{number}", np.array(thresholds), "int32_t")
        return f"reached(from{number}, {len(thresholds)}, sum)", table

    def _planes(self, i: int, weights: WeightMatrix, bias: np.ndarray) -> str:
        number, (outputs, n), code = i + 1, weights.shape, self.memory.codes[i]
        masked = weights.kind != "sign"
        stored = 2 if masked else 1
        sums = range(len(code.jumps))
        term = "k & (s ^ {b})" if masked else "s ^ {b}"
        counts = "\n".join(f"            x{t} += POPCOUNT({term.format(b=f'in[{t} * WORDS({n}) + w]')});" for t in sums)
        return (
            f"static const word rows{number}[{outputs} * {stored} * WORDS({n})] = {{\n"
            f"{lines(self._words(weights, masked))}\n}};\n"
            + self._table(f"start{number}", row_constants(weights, code) + bias)
            + fragment(
                "planes",
                number=number,
                outputs=outputs,
                n=n,
                out=self.memory.out_type(number),
                clear=self.memory.clear(number),
                stored=stored,
                load="const word k = row[2 * w], s = row[2 * w + 1];" if masked else "const word s = row[w];",
                zeros=", ".join(f"x{t} = 0" for t in sums),
                counts=counts,
                total=" + ".join(f"{jump} * x{t}" for t, jump in enumerate(code.jumps)),
            )
        )

    def _words(self, weights: WeightMatrix, masked: bool) -> Iterable[str]:
        """Words of 64 bits, of the mask and of the signs in turn."""
        mask, signs = word_planes(weights)
        pairs = np.stack([mask, signs] if masked else [signs], axis=1).reshape(len(mask), -1, mask.shape[1] // 2, 2)
        words = np.ascontiguousarray(pairs.transpose(0, 2, 1, 3)).reshape(-1, 4 if masked else 2)
        self.table_bytes += words.size * 4
        macro = "W2" if masked else "W"
        return (f"{macro}({', '.join(map(hex, row))})" for row in words.tolist())

    def _gaps(self, i: int, weights: WeightMatrix, bias: np.ndarray) -> str:
        number, (outputs, n) = i + 1, weights.shape
        packed = pack(WeightMatrix(weights.values, 1.0, "ternary"), "gaps+signs")
        assert packed.positions is not None
        tables = [
            self._table(f"gaps{number}", packed.positions, "uint8_t"),
            self._table(f"signs{number}", packed.values, "uint8_t"),
            self._table(f"start{number}", bias) if bias.any() else "",
        ]
        return "".join(tables) + fragment(
            "gaps",
            number=number,
            outputs=outputs,
            n=n,
            out=self.memory.out_type(number),
            clear=self.memory.clear(number),
            count=packed.positions.size,
            escape=ESCAPE,
            first=f"start{number}[0]" if bias.any() else "0",
            next=f"i < {outputs} ? start{number}[i] : 0" if bias.any() else "0",
            value=self.memory.get(i, "column"),
        )

    def _readout(self, labels: str) -> str:
        last = len(self.network.weights)
        calls, held = [], ["scratch", f"scratch + {self.memory.halves[0]} / sizeof(word)"]
        source = "input"
        if not (self._pixels and self.memory.forms[0] != "planes"):
            calls.append(f"take_input(input, {self.memory.cast(0)}({held[0]}));")
            source = held[0]
        for number in range(1, last + 1):
            target = f"{self.memory.cast(number)}({held[number % 2]})"
            calls.append(f"layer{number}({self.memory.read_cast(number - 1)}({source}), {target});")
            source = held[number % 2]
        return (
            self._table("readout", np.asarray(self.classifier.readout).ravel())
            + self._table("offset", np.asarray(self.classifier.offset), "int32_t")
            + labels
            + fragment(
                "readout",
                name=self.name,
                input_type=self._input_type,
                calls="\n    ".join(calls),
                last=source,
                classes=len(self.labels),
                d=self.widths[-1],
                level=self.memory.get(last, "j"),
            )
        )
