"""The scratch memory of a C program: what lies between layers, and how C reads and writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hntk.networks.integer_inputs import Pixels
from hntk.networks.integer_network import IntegerNetwork
from hntk.weights.bit_planes import Code


class Memory:
    """Values between layers: those of layer i lie in one of two halves in turn, as planes or one number each.

    Parameters
    ----------
    network : whose values they are; those that layer 0 reads are the input.
    layouts : of the matrices: one of planes reads planes, one of gaps reads numbers.
    """

    def __init__(self, network: IntegerNetwork, layouts: Sequence[str]) -> None:
        self.values = (network.inputs, *network.reachable)
        self.widths = (network.weights[0].shape[1], *network.widths)
        self.codes = [_code(v.code) for v in self.values]
        # the readout reads numbers
        self.forms = [*("planes" if layout == "planes" else "numbers" for layout in layouts), "numbers"]
        sizes = [self._size(i) for i in range(len(self.widths))]
        self.halves = [max(sizes[i::2], default=0) for i in (0, 1)]
        self.scratch_bytes = sum(self.halves)

    @property
    def pixels(self) -> bool:
        """Whether the input is whole numbers already, which can be read where they are."""
        return isinstance(self.values[0], Pixels)

    def number_bytes(self, i: int) -> int:
        """Bytes of a number between layers i and i + 1."""
        values = self.values[i]
        return 1 if values.most <= 127 or isinstance(values, Pixels) else 2

    def get(self, i: int, index: str) -> str:
        """Read one number between layers i and i + 1."""
        inputs = self.values[i]
        if isinstance(inputs, Pixels):
            fine = inputs.fine
            return f"{fine} * in[{index}]" if fine > 1 else f"in[{index}]"
        return f"((const signed char *)in)[{index}]" if self.number_bytes(i) == 1 else f"get_wide(in, {index})"

    def put(self, i: int, index: str, value: str) -> str:
        """Store one number between layers i and i + 1."""
        if self.number_bytes(i) == 1:
            return f"((signed char *)out)[{index}] = (signed char)({value})"
        return f"put_wide(out, {index}, {value})"

    def out_type(self, number: int) -> str:
        """The type of what a layer writes."""
        return "word" if self.forms[number] == "planes" else "unsigned char"

    def clear(self, number: int) -> str:
        """Set the planes that a layer writes to 0."""
        if self.forms[number] != "planes":
            return ""
        size = f"{len(self.codes[number].jumps)} * WORDS({self.widths[number]})"
        return f"    for (i = 0; i < {size}; i++) {{\n        out[i] = 0;\n    }}\n"

    def cast(self, i: int) -> str:
        """To where a layer writes."""
        return "" if self.forms[i] == "planes" else "(unsigned char *)"

    def read_cast(self, i: int) -> str:
        """To what a layer reads."""
        if i == 0 and self.pixels and self.forms[0] != "planes":
            return ""
        return "" if self.forms[i] == "planes" else "(const unsigned char *)"

    def _size(self, i: int) -> int:
        """Bytes of the values between two layers, in whole pairs of words of 64 bits."""
        if self.forms[i] == "planes":
            return -(-self.widths[i] // 64) * 8 * len(self.codes[i].jumps)
        if i == 0 and self.pixels:
            return 0
        return -(-self.widths[i] * self.number_bytes(i) // 8) * 8


def _code(code: Code) -> Code:
    """A code of at least one plane: C has no empty arrays, and a plane of a jump by 0 is never asked for."""
    return code if code.jumps else replace(code, jumps=(0,))
