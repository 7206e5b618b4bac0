"""Which layers a readout reads: the last one, or all of them with their features side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from hntk._utils.arguments import as_choice
from hntk.files.reader import FieldReader

ReadLayers = Literal["last", "all"]
NAMES: tuple[ReadLayers, ...] = get_args(ReadLayers)


def as_read_layers(value: object) -> ReadLayers:
    """Return ``"last"`` or ``"all"``.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    return as_choice(value, "layers", NAMES)


def read_widths(widths: Sequence[int], layers: ReadLayers) -> tuple[int, ...]:
    """Return the widths of the layers that are read, in their order; a readout has as many weights as their sum."""
    return tuple(widths) if layers == "all" else tuple(widths[-1:])


def layers_to_metadata(layers: object) -> dict[str, str]:
    """Return what a file says of the layers that are read: nothing of the last one, as files always did."""
    return {} if as_read_layers(layers) == "last" else {"readout_layers": "all"}


def read_layers(fields: FieldReader) -> ReadLayers:
    """Return which layers the readout of a file reads.

    Raises
    ------
    ValueError
        If the file names none of those that there are.
    """
    return fields.text("readout_layers", NAMES) if "readout_layers" in fields else "last"  # type: ignore[return-value]


def read_note(widths: Sequence[int], layers: ReadLayers) -> tuple[str, ...]:
    """Return a line of a summary for a readout of every layer, and none for one of the last."""
    if layers == "last":
        return ()
    return (f"readout: of every layer's features, {' + '.join(f'{width:,}' for width in widths)}",)
