r"""Text, numbers and names as C99 spells them.

Nothing that a user or a file gives reaches a program but through here: text becomes literals of its UTF-8 bytes, of
which all that is not plain is escaped, and names are identifiers that nothing else has.
"""

from __future__ import annotations

import re

import numpy as np

from hntk.deploy.c_templates import lines

# characters of a literal that every compiler of C99 takes
LITERAL = 4095
# characters of a piece of a literal
PIECE = 100
# of a name: with what is added to it, a file's name stays within 255 bytes everywhere
NAME = 63
ESCAPED = {'"': r"\"", "'": r"\'", "\\": r"\\", "?": r"\?"}
# of C and of C++, and what starts a program
KEYWORDS = """
    auto break case char const continue default do double else enum extern float for goto if inline int long register
    restrict return short signed sizeof static struct switch typedef union unsigned void volatile while alignas alignof
    bool complex constexpr false imaginary nullptr static_assert thread_local true typeof typeof_unqual and and_eq asm
    bitand bitor catch char8_t char16_t char32_t class co_await co_return co_yield compl concept const_cast consteval
    constinit decltype delete dynamic_cast explicit export friend mutable namespace new noexcept not not_eq operator or
    or_eq private protected public reinterpret_cast requires static_cast template this throw try typeid typename using
    virtual wchar_t xor xor_eq main
"""
# NAME.h beside a program would be read in place of these
HEADERS = """
    assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic
    stdbit stdbool stdckdint stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype
    alloca corecrt crtdefs endian features malloc memory newlib sal strings unistd vcruntime yvals
"""
TYPES = re.compile(r"u?int(_least|_fast)?(8|16|32|64)_t|u?int(max|ptr)_t|(s?size|ptrdiff)_t")


def check_name(name: object) -> str:
    """Return a name that may be the prefix of a program's files, functions, types and macros.

    Raises
    ------
    ValueError
        If it is no identifier, or one that C, C++ or their libraries keep for themselves.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[a-z](_?[a-z0-9])*", name) or len(name) > NAME:
        raise ValueError(
            f"name must be an identifier of at most {NAME} small letters, digits and single _ between them, such as "
            f"'hntk_net'; got {name!r:.100}."
        )
    if name in {*KEYWORDS.split(), *HEADERS.split()} or TYPES.fullmatch(name):
        raise ValueError(f"name {name!r} is a word or a header of C or C++: use another, such as '{name}_net'.")
    return name


def characters(text: str) -> list[str]:
    r"""Return the UTF-8 bytes of a text, each as it is spelt between quotes.

    Octal escapes have three digits, so that a digit may follow. An escaped ? makes no trigraph.

    Examples
    --------
    >>> from hntk.deploy.c_literals import characters
    >>> print("".join(characters('a"??/é7')))
    a\"\?\?/\303\2517
    """
    return [_character(byte) for byte in text.encode("utf-8")]


def literal(text: str) -> str:
    """Return a string literal, in pieces where it is long.

    Raises
    ------
    ValueError
        If the text holds a NUL.
    """
    spelt = characters(_without_nul(text))
    pieces = ["".join(spelt[i : i + PIECE]) for i in range(0, len(spelt), PIECE)] or [""]
    return "\n    ".join(f'"{piece}"' for piece in pieces)


def whole_number(value: int) -> str:
    """Return a constant, of which C negates no number that it has no type for."""
    if value in (-(2**31), -(2**63)):
        return f"({value + 1} - 1)"
    return f"{value}u" if value >= 2**63 else str(value)


def smallest_type(values: np.ndarray) -> str:
    """Return the smallest signed type of whole numbers that holds all."""
    least, most = int(values.min()), int(values.max())
    return next(f"int{bits}_t" for bits in (8, 16, 32, 64) if -(2 ** (bits - 1)) <= least and most < 2 ** (bits - 1))


def smallest_unsigned(values: np.ndarray) -> str:
    """Return the smallest unsigned type of whole numbers that holds all."""
    return next(f"uint{bits}_t" for bits in (8, 16, 32, 64) if int(values.max()) < 2**bits)


def label_table(labels: np.ndarray) -> tuple[str, list[str], str]:
    """Return the type of C that holds labels exactly, their constants, and what has to be defined before these.

    Text becomes UTF-8 strings, real numbers ``double``, booleans ``int`` 0 and 1, and whole numbers ``int32_t``,
    ``int64_t`` or ``uint64_t``, the first that holds all.

    Raises
    ------
    ValueError
        If a text holds a NUL, which ends a string of C.
    """
    values = labels.tolist()
    if labels.dtype.kind == "U":
        return _texts(values)
    if labels.dtype.kind == "f":
        return "double", [float(value).hex() for value in values], ""
    if labels.dtype.kind == "b":
        return "int", [str(int(value)) for value in values], ""
    kinds = {"int32_t": np.int32, "int64_t": np.int64, "uint64_t": np.uint64}
    kind = next(name for name, kind in kinds.items() if all(_fits(value, np.iinfo(kind)) for value in values))
    return kind, [whole_number(value) for value in values], ""


def _texts(values: list[str]) -> tuple[str, list[str], str]:
    """Literals; of text that is too long for one an array of its characters."""
    constants, before = [], []
    for number, text in enumerate(values):
        spelt = characters(_without_nul(text))
        if len(spelt) <= LITERAL:
            constants.append(literal(text))
            continue
        constants.append(f"label{number}")
        bytes_of = lines([*(f"'{one}'" for one in spelt), "0"])
        before.append(f"static const char label{number}[{len(spelt) + 1}] = {{\n{bytes_of}\n}};\n")
    return "char *const", constants, "".join(before)


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError(f"the label {text!r:.60} holds a NUL character, which ends a string of C: drop it.")
    return text


def _fits(value: int, kind: np.iinfo) -> bool:
    return kind.min <= value <= kind.max


def _character(byte: int) -> str:
    letter = chr(byte)
    if letter in ESCAPED:
        return ESCAPED[letter]
    return letter if 32 <= byte < 127 else f"\\{byte:03o}"
