r"""Text, numbers and names as C99 spells them.

Everything that a user or a file names reaches a program through this module: text becomes literals of its UTF-8 bytes,
in which every character that is not plain is escaped, and names are identifiers that C and its libraries do not use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

# characters of a literal that every compiler of C99 takes
LONGEST_LITERAL = 4095
# characters of each of the pieces that a long literal is written in
PIECE = 100
# characters of a line of constants
LINE = 110
# characters of a name: with "_main.c" behind it, a file's name stays within 255 bytes everywhere
LONGEST_NAME = 63
ESCAPED = {'"': r"\"", "'": r"\'", "\\": r"\\", "?": r"\?"}
# keywords of C and of C++, and the function that starts a program
KEYWORDS = """
    auto break case char const continue default do double else enum extern float for goto if inline int long register
    restrict return short signed sizeof static struct switch typedef union unsigned void volatile while alignas alignof
    bool complex constexpr false imaginary nullptr static_assert thread_local true typeof typeof_unqual and and_eq asm
    bitand bitor catch char8_t char16_t char32_t class co_await co_return co_yield compl concept const_cast consteval
    constinit decltype delete dynamic_cast explicit export friend mutable namespace new noexcept not not_eq operator or
    or_eq private protected public reinterpret_cast requires static_cast template this throw try typeid typename using
    virtual wchar_t xor xor_eq main
"""
# a file NAME.h beside a program would be read in place of the header of the same name
HEADERS = """
    assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic
    stdbit stdbool stdckdint stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype
    alloca corecrt crtdefs endian features malloc memory newlib sal strings unistd vcruntime yvals
"""
TYPES = re.compile(r"u?int(_least|_fast)?(8|16|32|64)_t|u?int(max|ptr)_t|(s?size|ptrdiff)_t")


def check_name(name: object) -> str:
    """Return ``name`` if it may be the prefix of a program's files, functions, types and macros.

    Raises
    ------
    ValueError
        If it is no identifier, or one that C, C++ or their libraries use.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[a-z](_?[a-z0-9])*", name) or len(name) > LONGEST_NAME:
        raise ValueError(
            f"name must be an identifier of at most {LONGEST_NAME} small letters, digits and single _ between them, "
            f"such as 'hntk_net'; got {name!r:.100}."
        )
    if name in {*KEYWORDS.split(), *HEADERS.split()} or TYPES.fullmatch(name):
        raise ValueError(f"name {name!r} is a word or a header of C or C++: use another, such as '{name}_net'.")
    return name


def characters(text: str) -> list[str]:
    r"""Return the UTF-8 bytes of a text, each as C spells it between quotes.

    Octal escapes have three digits, so that a digit may follow. An escaped ? cannot be part of a trigraph.

    Examples
    --------
    >>> from hntk.deploy.c_literals import characters
    >>> print("".join(characters('a"??/é7')))
    a\"\?\?/\303\2517
    """
    return [_character(byte) for byte in text.encode("utf-8")]


def literal(text: str) -> str:
    """Return a string literal; a long one is written in pieces, which C joins.

    Raises
    ------
    ValueError
        If the text holds a NUL.
    """
    spelt = characters(_without_nul(text))
    pieces = ["".join(spelt[i : i + PIECE]) for i in range(0, len(spelt), PIECE)] or [""]
    return "\n    ".join(f'"{piece}"' for piece in pieces)


def whole_number(value: int) -> str:
    """Return a constant of C.

    The smallest number of a type has no constant: C would negate a number that the type does not hold.
    """
    if value in (-(2**31), -(2**63)):
        return f"({value + 1} - 1)"
    return f"{value}u" if value >= 2**63 else str(value)


def as_lines(constants: Iterable[str]) -> str:
    """Return constants with commas between them, as many on a line as fit."""
    texts = list(constants)
    each = max(1, LINE // (max(map(len, texts), default=1) + 2))
    return ",\n".join("    " + ", ".join(texts[i : i + each]) for i in range(0, len(texts), each))


@dataclass(frozen=True)
class CLabels:
    """Labels as an array of C that holds them exactly.

    Text becomes UTF-8 strings, real numbers ``double``, booleans ``int`` 0 and 1, and whole numbers ``int32_t``,
    ``int64_t`` or ``uint64_t``, the first that holds all.

    Attributes
    ----------
    type_name : str
        The elements' type.
    constants : tuple of str
        The elements.
    before : str
        Arrays that elements refer to: text that is too long for a literal.
    note : str
        What a reader of the header has to know of them.
    """

    type_name: str
    constants: tuple[str, ...]
    before: str = ""
    note: str = ""

    @classmethod
    def of(cls, labels: np.ndarray) -> CLabels:
        """Return labels in C.

        Raises
        ------
        ValueError
            If a text holds a NUL, which ends a string of C.
        """
        values, kind = labels.tolist(), labels.dtype.kind
        if kind == "U":
            return cls("char *const", *_texts(values), ", UTF-8")
        if kind == "f":
            return cls("double", tuple(float(value).hex() for value in values))
        if kind == "b":
            return cls("int", tuple(str(int(value)) for value in values), note=", 0 for false and 1 for true")
        bounds = {"int32_t": np.iinfo(np.int32), "int64_t": np.iinfo(np.int64), "uint64_t": np.iinfo(np.uint64)}
        least, most = min(values), max(values)
        type_name = next(name for name, b in bounds.items() if b.min <= least and most <= b.max)
        return cls(type_name, tuple(map(whole_number, values)))

    @property
    def count(self) -> int:
        """Number of labels."""
        return len(self.constants)

    def definition(self, name: str) -> str:
        """The definition in C of the array, and of what it refers to."""
        return f"{self.before}const {self.type_name} {name}[{self.count}] = {{\n{as_lines(self.constants)}\n}};\n"


def _texts(values: list[str]) -> tuple[tuple[str, ...], str]:
    """Return a constant for each text, and the arrays that stand for texts too long for a literal."""
    constants, arrays = [], []
    for number, text in enumerate(values):
        spelt = characters(_without_nul(text))
        if len(spelt) <= LONGEST_LITERAL:
            constants.append(literal(text))
            continue
        constants.append(f"label{number}")
        elements = as_lines([*(f"'{character}'" for character in spelt), "0"])
        arrays.append(f"static const char label{number}[{len(spelt) + 1}] = {{\n{elements}\n}};\n")
    return tuple(constants), "".join(arrays)


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError(f"the label {text!r:.60} holds a NUL character, which ends a string of C: drop it.")
    return text


def _character(byte: int) -> str:
    letter = chr(byte)
    if letter in ESCAPED:
        return ESCAPED[letter]
    return letter if 32 <= byte < 127 else f"\\{byte:03o}"
