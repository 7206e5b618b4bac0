"""The choice of a layout for each weight matrix of a C program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from hntk.deploy.c_layouts import instructions, possible_layouts, stored_weights
from hntk.deploy.c_thresholds import threshold_tables
from hntk.deploy.c_values import LAYOUTS, Layout, Reader, readers
from hntk.networks.integer_network import IntegerNetwork
from hntk.weights.orthogonal import OrthogonalMatrix

Goal = Literal["smallest", "fastest"]
Choice = Layout | Goal
CHOICES: tuple[Choice, ...] = (*get_args(Goal), *LAYOUTS)


def choose_layouts(network: IntegerNetwork, layouts: Choice | Sequence[Layout] | None) -> tuple[Layout, ...]:
    """Return the layout of each matrix.

    Raises
    ------
    ValueError
        If a layout is unknown, or ``"transform"`` for weights that are no orthogonal blocks, or there is not one a
        matrix.
    """
    if layouts is None or (isinstance(layouts, str) and layouts in get_args(Goal)):
        return _best_layouts(network, "fastest" if layouts == "fastest" else "smallest")
    weights = network.weights
    each = [layouts] * len(weights) if isinstance(layouts, str) else layouts
    fits = isinstance(each, Sequence) and len(each) == len(weights)
    if not fits or any(layout not in LAYOUTS for layout in each):
        *most, last = map(repr, LAYOUTS)
        names = f"{', '.join(most)} or {last}"
        raise ValueError(
            f"layouts must be {names}, for all or for each of {len(weights)}, or 'smallest' or 'fastest'; got "
            f"{layouts!r}."
        )
    # plain strings, even where an object of another type equals one
    chosen: tuple[Layout, ...] = tuple(LAYOUTS[LAYOUTS.index(layout)] for layout in each)  # type: ignore[arg-type]
    for number, (w, layout) in enumerate(zip(weights, chosen, strict=True), 1):
        if layout == "transform" and not isinstance(w, OrthogonalMatrix):
            raise ValueError(
                f"layouts names 'transform' for layer {number}, whose weights are no orthogonal blocks: use 'smallest' "
                "or 'fastest', or draw the network with the law 'orthogonal'."
            )
    return chosen


def _best_layouts(network: IntegerNetwork, goal: Goal) -> tuple[Layout, ...]:
    """Return the layout of the fewest bytes, or instructions, for each matrix; of equals the fastest, or smallest."""
    return tuple(_best_layout(reader, goal) for reader in readers(network)[:-1])


def _best_layout(reader: Reader, goal: Goal) -> Layout:
    assert reader.weights is not None
    if isinstance(reader.weights, OrthogonalMatrix):
        return "transform"
    costs: dict[Layout, tuple[float, float]] = {
        layout: _costs(reader, layout) for layout in possible_layouts(reader.weights)
    }
    return min(costs, key=lambda layout: costs[layout][:: 1 if goal == "smallest" else -1])


def _costs(reader: Reader, layout: Layout) -> tuple[float, float]:
    """Return the bytes of a layer's tables with a layout of its weights, and the instructions of a product."""
    assert reader.weights is not None
    before = reader.values(layout)
    stored = stored_weights(reader, layout)
    tables = [*before.tables, *stored.tables, *threshold_tables(reader, stored.start)[0]]
    return sum(table.nbytes for table in tables), instructions(reader.weights, layout, before)
