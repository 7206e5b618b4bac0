"""Limits on what a file may hold: far more than a network needs, and so few that small files are cheap to read."""

from __future__ import annotations

import reprlib

LAYERS = 1024
# Levels of one activation, and coefficients of one polynomial.
LEVELS = 1024
COEFFICIENTS = 256
CLASSES = 65_536
# Characters of one name or label, and of all labels if each were as long as the longest.
CHARACTERS = 1024
LABEL_CHARACTERS = 2**24
# Characters of the metadata, and the number of tables and lists in it.
METADATA = 2**21
CONTAINERS = 2**16
# Bytes before the arrays: the metadata with its quotes escaped, and the place of each array.
HEADER = 3 * METADATA
ARRAYS = 5 * LAYERS + 16


def shorten(value: object) -> str:
    """Return the beginning of a value's representation for a message, at no cost even if the value is huge."""
    return reprlib.repr(value)[:60]
