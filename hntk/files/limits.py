"""How much a file may hold: far more than any network needs, and few enough that no small file costs much to read."""

from __future__ import annotations

import reprlib

LAYERS = 1024
# of one activation, and coefficients of a polynomial
LEVELS = 1024
COEFFICIENTS = 256
CLASSES = 65_536
# characters of a name or a label, and of all labels when each takes as many as the longest
CHARACTERS = 1024
LABEL_CHARACTERS = 2**24
# characters of all that is not an array, and tables and lists in it
METADATA = 2**21
CONTAINERS = 2**16
# bytes before the arrays: the metadata with its quotes escaped, and where each array is
HEADER = 3 * METADATA
ARRAYS = 4 * LAYERS + 16


def shown(given: object) -> str:
    """Return the beginning of whatever a file holds, for messages, at no cost even where it is huge."""
    return reprlib.repr(given)[:60]
