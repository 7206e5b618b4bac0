"""The page about a compressed program: what was asked, what fits, what it takes and reaches, and how to use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hntk.cli.fitted import Candidate, as_score, candidate_columns
from hntk.cli.page import Markup, commands, facts, listing, page, section, shaded, table

# With more classes the most frequent confusions are listed in place of the matrix.
MOST_CLASSES = 20
MOST_CONFUSIONS = 20
LONGEST_HEADING = 24
FIRMWARE = """\
#include "{name}.h"

static {kind} input[{NAME}_INPUTS];
static {name}_word scratch[{NAME}_SCRATCH_BYTES / sizeof({name}_word)];

/* fill input with one raw sample, then: */
{use}"""


def report_page(made: dict[str, Any]) -> str:
    """Return the page.

    Parameters
    ----------
    made : dict
        What :meth:`hntk.cli.compress.Compressed.to_dict` returns.

    Returns
    -------
    str
        HTML without scripts or outside files.
    """
    regression = made["data"]["task"] == "regression"
    source, measured = Path(made["data"]["source"]).name, made["measured"]
    reached = (
        f"R² {measured['r2']:.4f}, root mean square error {measured['rmse']:.4g}"
        if regression
        else f"{measured['accuracy']:.4f} ± {measured['standard_error']:.4f} right"
    )
    size = made["c"]["table_bytes"] if made["c"] else made["network"]["bytes"]
    lead = [f"{reached} of {measured['samples']:,} test samples, in {size:,} bytes of {made['kilobytes'] * 1000:,.0f}."]
    sections = [
        section("What was asked", commands(made["command"])),
        _data(made),
        _candidates(made),
        _accuracy(made),
        _layers(made),
        _use(made),
        section("Versions", facts(list(made["versions"].items()))),
    ]
    return page(f"{source}: a network of whole numbers", lead, sections)


def _data(made: dict[str, Any]) -> Markup:
    data = made["data"]
    classes = [str(label) for label in np.asarray(data["classes"]).tolist()]
    shown = ", ".join(classes[:MOST_CLASSES]) + (" …" if len(classes) > MOST_CLASSES else "")
    answer = [("predicted", "a quantity")] if not classes else [("classes", f"{len(classes):,}: {shown}")]
    return section(
        "The data",
        facts(
            [
                ("source", data["source"]),
                ("training samples", f"{data['training']:,}"),
                ("test samples", f"{data['test']:,}; {data['split']}"),
                ("features", f"{data['features']:,} {'bytes' if data['bytes'] else 'numbers'}"),
                *([("column of labels", data["label"])] if data["label"] else []),
                *answer,
            ]
        ),
    )


def _candidates(made: dict[str, Any]) -> Markup:
    candidates = [Candidate(**each) for each in made["candidates"]]
    headings, rows = candidate_columns(candidates, "R²" if made["data"]["task"] == "regression" else "accuracy")
    chosen = next((place for place, each in enumerate(candidates) if each.chosen), None)
    how = (
        "Hidden layers are drawn; only the readout is fitted."
        if made["method"] == "random"
        else "The best one after short trainings was trained to the end, with zeros that follow the budget."
    )
    caption = f"Networks that fit {made['kilobytes']:g} kB; the highlighted one was chosen by validation samples."
    return section("What fits", how, table(caption, headings, rows, marked=chosen))


def _accuracy(made: dict[str, Any]) -> Markup:
    measured, parts = made["measured"], list[object]()
    pairs = [("predicted", f"{as_score(made['predicted'])}, {made['predicted_by']}")]
    if made["method"] == "random" and "r2" not in measured:
        pairs.append(("validation", f"{as_score(made['validation'])}, by which the ridge was chosen"))
    if "r2" in measured:
        pairs += [
            ("R² on test samples", as_score(measured["r2"])),
            ("root mean square error", f"{measured['rmse']:.4g}"),
        ]
    else:
        error = f"{measured['accuracy']:.4f} ± {measured['standard_error']:.4f} of {measured['samples']:,}"
        pairs.append(("right on test samples", error))
        parts.append(_confusion(np.asarray(measured["confusion"]), np.asarray(made["data"]["classes"]).tolist()))
    compared = made["c"]["compiled_and_compared"] if made["c"] else None
    if compared is not None:
        pairs.append(("compiled C program", f"the same scores as Python on all {compared:,} samples tried"))
    return section("Accuracy", facts(pairs), *parts)


def _confusion(counts: np.ndarray, classes: list[Any]) -> Markup:
    """Return the matrix of true against predicted classes, or its largest entries beside the diagonal."""
    names = [_cut(str(label)) for label in classes]
    if len(names) <= MOST_CLASSES:
        largest = int(counts.max())
        rows = [[name, *(shaded(int(n), largest) for n in row)] for name, row in zip(names, counts, strict=True)]
        return table("Test samples by true class (rows) and predicted class (columns).", ["", *names], rows)
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(wrong, axis=None, kind="stable")[::-1][:MOST_CONFUSIONS]
    pairs = [np.unravel_index(place, wrong.shape) for place in order]
    rows = [[names[a], names[b], f"{wrong[a, b]:,}"] for a, b in pairs if wrong[a, b]]
    return table("The most frequent confusions of test samples.", ["true", "predicted", "samples"], rows, words=2)


def _layers(made: dict[str, Any]) -> Markup:
    rows = [
        [layer["name"], f"{layer['outputs']:,} × {layer['inputs']:,}", layer["weights"], f"{layer['zeros']:.1%}",
         "" if layer["levels"] is None else layer["levels"], f"{layer['bytes']:,}", f"{layer['float_bytes']:,}",
         f"{layer['multiply_accumulates']:,}", f"{layer['additions']:,}"]
        for layer in made["network"]["layers"]
    ]  # fmt: skip
    headings = ["layer", "shape", "weights", "zeros", "levels", "bytes", "in float32", "multiplications", "additions"]
    caption = "Bytes are those of the packed file; operations are those of one prediction."
    sizes = made["c"]
    memory = [] if sizes is None else [
        facts([("flash: tables of the C program", f"{sizes['table_bytes']:,} bytes"),
               ("RAM: scratch memory", f"{sizes['scratch_bytes']:,} bytes")])
    ]  # fmt: skip
    return section("Layers", table(caption, headings, rows, words=3), *memory, listing(made["network"]["notes"]))


def _use(made: dict[str, Any]) -> Markup:
    parts: list[object] = [commands(*made["files"])]
    if made["c"]:
        name = next(Path(file).stem for file in made["files"] if file.endswith(".h"))
        kind = "uint8_t" if made["data"]["bytes"] else "float"
        use = (
            f"int32_t score;\n{name}_scores(input, scratch, &score);\ndouble predicted = {name.upper()}_UNIT * score;"
            if made["data"]["task"] == "regression"
            else f"int index = {name}_predict(input, scratch); /* {name}_labels[index] is its label */"
        )
        parts += [
            "The program with a main that reads raw samples from its standard input:",
            commands(made["c"]["compile"]),
            "In firmware; nothing is allocated, and no library is needed:",
            commands(FIRMWARE.format(name=name, NAME=name.upper(), kind=kind, use=use)),
        ]
    return section("How to use it", *parts)


def _cut(label: str) -> str:
    """Return the beginning of a label that is too long for a heading; the list of classes has all of it."""
    return label if len(label) <= LONGEST_HEADING else label[: LONGEST_HEADING - 1] + "…"
