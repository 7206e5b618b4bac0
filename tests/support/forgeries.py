"""Forged files with valid checksums but changed contents, made in numbers, each from its own seed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save_file

import hntk
from hntk.activations.polynomial import Polynomial
from hntk.activations.rectifier import Rectifier
from hntk.files import container

INPUTS, WIDTHS = 12, (9, 5)
Parts = tuple[dict[str, np.ndarray], dict[str, Any]]


def _network(activations: Any, law: str = "ternary", sparsity: float = 0.5, **order: str) -> hntk.Network:
    drawn = hntk.weight_law(law, sparsity=sparsity, **order)
    return hntk.draw_network(activations, WIDTHS, INPUTS, tau0=1.0, law=drawn, key=jax.random.key(3))


def _classifier(network: hntk.Network, classes: list, **known: Any) -> hntk.Classifier:
    rng = np.random.default_rng(len(classes))
    width = sum(WIDTHS) if known.get("layers") == "all" else WIDTHS[-1]
    weights, offset = rng.normal(size=(width, len(classes))), rng.normal(size=len(classes))
    return hntk.Classifier(network, np.array(classes), weights, offset, **known)


def own_networks(x: np.ndarray) -> list[Any]:
    """Return a classifier and regressors with thresholds of each neuron, in all their encodings, and pooled pixels."""
    whole = hntk.to_integers(_network([hntk.staircase([-0.5, 0.5], [-1, 0, 1])] * 2), x=x)
    assert isinstance(whole, hntk.IntegerNetwork)
    rng = np.random.default_rng(2)

    def own(width: int, count: int, most: int) -> hntk.NeuronSteps:
        thresholds = np.sort(rng.integers(-most, most, (width, count)), axis=1).astype(np.int32)
        return hntk.NeuronSteps(thresholds, tuple(range(-1, count)))

    record = hntk.TrainingRecord(
        "match", 30, 24, 0.97, 60_000, (0.4, 0.5), (4, 3), "shifts of 1 pixel", "an ensemble of 3"
    )
    readout = rng.integers(-99, 99, (2, sum(WIDTHS))).astype(np.int16)
    pooled = replace(whole, inputs=hntk.PooledPixels((6, 5), (4, 3)), steps=(own(9, 3, 2000), own(5, 2, 5)))
    mixed = replace(whole, steps=(whole.steps[0], own(5, 1, 20)))
    wide = replace(whole, steps=(own(9, 2, 2**31 - 1), whole.steps[1]))
    return [
        hntk.IntegerClassifier(
            pooled, readout[:, -5:], np.array([5, 0], np.int32), np.array(["a", "b"]), 0.5, training=record
        ),
        hntk.IntegerRegressor(mixed, readout, np.array([5, -7], np.int32), 0.01, layers="all", shifts=(2, 0)),
        hntk.IntegerRegressor(
            wide, readout[:1, -5:].astype(np.int8), np.zeros(1, np.int32), 3.0,
            training=hntk.TrainingRecord("uniform", 0, 0, None, 7),
        ),
        pooled,
    ]  # fmt: skip


@lru_cache
def originals() -> list[Parts]:
    """Return arrays and metadata of every form, encoding, activation and type of labels."""
    x = np.random.default_rng(0).normal(size=(40, INPUTS)) / INPUTS**0.5
    stairs = hntk.match(["relu"] * 2, 1.0, 4, alpha2=False)
    signs = [hntk.staircase([-0.5, 0.5], [-1, 0, 1]), "sign"]
    normalization = hntk.Normalization(np.linspace(100, 150, INPUTS).astype(np.float32), 300.0)
    record = hntk.DataStatistics(40, INPUTS, 1.0, 0.1, (20, 20))
    compressed = hntk.compress(["relu"] * 2, WIDTHS, x, stairs, key=jax.random.key(1))
    raw = _classifier(_network(signs), ["a", "b"], normalization=normalization, statistics=record)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(INPUTS, INPUTS)))[0].astype(np.float32)
    whitened = hntk.Normalization(np.zeros(INPUTS, np.float32), 2.0, turn, unit_norm=True)
    every = _classifier(_network(signs), ["a", "b"], layers="all")
    described = hntk.Architecture(
        ["erf", "relu"], weight_std=1.4, bias_std=[0.1, 0.2], centred=False, residual=[0.6, 0.0], normalize="layer"
    )
    parts = hntk.draw_network(described, (INPUTS, WIDTHS[-1]), INPUTS, tau0=1.0, law="ternary", key=jax.random.key(3))
    scaled = hntk.Architecture(["sin", "erf"], weight_std=[0.7, 1.4], bias_std=[0.0, 0.2])
    made: list[tuple[Any, str | None]] = [
        (_classifier(compressed, ["left", "right"], statistics=record), "bits2"),
        (_classifier(_network(signs, "bernoulli"), [3, 5, 2**40]), "signs"),
        (_classifier(_network([Polynomial((0.1, 1.0)), Rectifier(0.5, 0.5)], "int8_gaussian"), [True, False]), None),
        (_classifier(_network(["sin", "erf"]), [0.5, 1.5]), "base3"),
        (_network(["cos", "gaussian"], sparsity=0.9), "gaps+signs"),
        (_network(["tanh", "gelu"], "gaussian"), "float32"),
        (_network(["relu", "abs"], "sparse_gaussian", 0.7), "mask+float32"),
        (_network(["leaky_relu", "step"], "pruned_gaussian", 0.9), "gaps+float32"),
        (raw, "mask+signs"),
        (_classifier(_network(signs, "orthogonal"), ["a", "b"]), None),
        (_network(["relu", "tanh"], "orthogonal", 0.75, order="generated"), None),
        (hntk.to_integers(_network(signs, "orthogonal", 0.0), x=x), None),
        (_classifier(_network(signs), [1, 2], normalization=whitened, statistics=record), "bits2"),
        (hntk.to_integers(raw, x=x), "mask+signs"),
        (hntk.to_integers(raw, pixels=True, readout_bits=8), "bits2"),
        (hntk.to_integers(compressed, pixels=True, normalization=normalization), None),
        (hntk.to_integers(compressed, x=x), "gaps+signs"),
        (_network(["sin", "tanh"], sparsity=0.8), "rice"),
        (hntk.to_integers(_network(signs, "bernoulli"), x=x), "signs"),
        (hntk.to_integers(_network(signs, "int8_gaussian"), x=x), "int8"),
        (every, "bits2"),
        (replace(hntk.to_integers(every, x=x, level_bits=4), shifts=(1, 0)), "base3"),
        (_classifier(parts, ["a", "b"]), "mask+signs"),
        (_network(scaled, "gaussian"), None),
        *((made, None) for made in own_networks(x)),
    ]  # fmt: skip
    found = []
    with TemporaryDirectory() as folder:
        for what, encoding in made:
            hntk.save(what, Path(folder) / "net", encoding=encoding)
            found.append(container.read(Path(folder) / "net"))
    return found


def forge(number: int, path: Path) -> list[str]:
    """Write a forged file, and return what was done to the original."""
    rng = np.random.default_rng([1, number])
    files = originals()
    arrays, metadata = copy.deepcopy(files[number % len(files)])
    other = copy.deepcopy(files[rng.integers(len(files))])
    done = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        change = CHANGES[rng.integers(len(CHANGES))]
        done.append(f"{change.__name__}: {change(rng, arrays, metadata, other)}")
    text = json.dumps(metadata)
    if rng.random() < 0.1:
        name, edit = list(EDITS.items())[rng.integers(len(EDITS))]
        text = edit(text)
        done.append(name)
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(arrays, path, {"hntk": text, "sha256": container._digest(text, arrays)})
    return done


# --- metadata ---

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 255, 256, 2**15, 2**24, 2**31, 2**53 + 1, 2**63, 10**18, 10**19, 0.0, -0.0, 0.5,
    1.5, 1e-45, 1e-38, 1.2e-38, 1e19, 1e30, 3.4e38, 3.5e38, -3.4e38, 1e300, 5e-324, "", "a", "1", "ternary", "sign",
    "float32", "int8", "bits2", "base3", "signs", "mask+signs", "gaps+signs", "Staircase", "registered", "Polynomial",
    "Rectifier", "Cosine", "relu", "tanh", "nowhere", "<U1", "<U200000000", "|i1", "<f8", "|b1", "|O", "pixels",
    "pooled_pixels", "rice", "rounded", "float", "integer", "x" * 5000,
    "\0", "\n\x1b[2J", "é\U0001f600", "../x", [], {}, [1], [1, 2], [[]],
    ["a"], {"type": "Staircase"}, [0.5] * 300, [1] * 3000, ["a"] * 1100,
]  # fmt: skip


NAMES = [
    "classes", "scale", "match", "data", "positions", "é", "name", "scales", "branch", "targets", "training", "levels",
    "pooled",
]  # fmt: skip


def _places(told: Any, at: tuple = ()) -> list[tuple]:
    """Yield the paths of all values in metadata."""
    keys = list(told) if isinstance(told, dict) else range(len(told)) if isinstance(told, list) else []
    return [path for key in keys for path in [(*at, key), *_places(told[key], (*at, key))]]


def _holder(told: Any, path: tuple) -> Any:
    for key in path[:-1]:
        told = told[key]
    return told


def _any_place(rng: np.random.Generator, told: Any) -> tuple[Any, Any, str]:
    """Return a container of one of the values, the key in it, and its path."""
    places = _places(told)
    path = places[rng.integers(len(places))] if places else ("empty",)
    return _holder(told, path), path[-1], "/".join(map(str, path))


def replace_value(rng: np.random.Generator, arrays: dict, told: dict, other: Parts) -> str:
    holder, key, path = _any_place(rng, told)
    holder[key] = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
    return f"{path} = {holder[key]!r:.60}"


def nudge_number(rng: np.random.Generator, arrays: dict, told: dict, other: Parts) -> str:
    places = [p for p in _places(told) if isinstance(_holder(told, p)[p[-1]], int | float)]
    path = places[rng.integers(len(places))] if places else ("none",)
    holder, factor = _holder(told, path), [-1, 2, 0.5, 1e10, 1e-10, 1e38, 10][rng.integers(7)]
    if places:
        given = holder[path[-1]]
        holder[path[-1]] = given + int(rng.integers(-1, 2)) if rng.random() < 0.5 else given * factor
    return f"{path} nudged"


def drop_value(rng: np.random.Generator, arrays: dict, told: dict, other: Parts) -> str:
    holder, key, path = _any_place(rng, told)
    if isinstance(holder, list) or key in holder:
        del holder[key]
    return path


def add_value(rng: np.random.Generator, arrays: dict, told: dict, other: Parts) -> str:
    holder, _, path = _any_place(rng, told)
    value = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
    if isinstance(holder, list):
        holder.insert(int(rng.integers(len(holder) + 1)), value)
    else:
        holder[NAMES[rng.integers(len(NAMES))]] = value
    return f"{path}: {value!r:.60}"


def take_value(rng: np.random.Generator, arrays: dict, told: dict, other: Parts) -> str:
    """Return the value that another file has in the same place, or anywhere."""
    holder, key, path = _any_place(rng, told)
    there, at, source = _any_place(rng, other[1])
    same = [p for p in _places(other[1]) if "/".join(map(str, p)) == path]
    if same and rng.random() < 0.6:
        there, at, source = _holder(other[1], same[0]), same[0][-1], path
    holder[key] = copy.deepcopy(there[at])
    return f"{path} = another's {source}"


def swap_layers(rng: np.random.Generator, arrays: dict, told: dict, other: Parts) -> str:
    layers = told.get("layers")
    if not isinstance(layers, list) or len(layers) < 2 or not all(isinstance(layer, dict) for layer in layers):
        return "no layers"
    name = sorted(layers[0])[rng.integers(len(layers[0]))] if layers[0] else ""
    if rng.random() < 0.5 or name not in layers[1]:
        layers.reverse()
        return "all"
    layers[0][name], layers[1][name] = layers[1][name], layers[0][name]
    return name


def repeat_layer(rng: np.random.Generator, arrays: dict, told: dict, other: Parts) -> str:
    if not isinstance(told.get("layers"), list):
        return "no layers"
    times = int(rng.choice([2, 3, 1100]))
    told["layers"] = told["layers"][:1] * times
    return str(times)


def resize(rng: np.random.Generator, arrays: dict, told: dict, other: Parts) -> str:
    """Change a size that several layers share."""
    layers = told.get("layers")
    if not isinstance(layers, list) or not all(
        isinstance(v, dict) and isinstance(v.get("shape"), list) for v in layers
    ):
        return "no layers"
    size = int(rng.choice([1, 2, 8, 10, 1000, 10**6, 2**31, 10**12, 10**18]))
    shapes = [layer.get("shape") for layer in layers]
    if len(shapes) > 1 and all(isinstance(shape, list) and len(shape) == 2 for shape in shapes):
        shapes[0][0] = shapes[1][1] = size
    return str(size)


def deepen(rng: np.random.Generator, arrays: dict, told: dict, other: Parts) -> str:
    holder, key, path = _any_place(rng, told)
    value: Any = 1
    for _ in range(int(rng.choice([1, 5, 50, 400]))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    holder[key] = value
    return path


# changes to the text as it is written
EDITS: dict[str, Callable[[str], str]] = {
    "NaN": lambda text: text.replace(": 1", ": NaN", 1),
    "Infinity": lambda text: text.replace("0.", "-Infinity, 0.", 1),
    "digits": lambda text: text.replace("1", "1" * 5000, 1),
    "exponent": lambda text: text.replace("1,", "1e" + "9" * 400 + ",", 1),
    "twice": lambda text: text[:-1] + ', "version": 1}',
    "half a character": lambda text: text.replace('"', '"\\ud800', 1),
    "half of a name": lambda text: text.replace('": "', '": "\\udc00', 1),
    "deep": lambda text: text[:-1] + ', "a": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "cut": lambda text: text[: len(text) // 2],
    "wide": lambda text: text[:-1] + ', "a": [' + "[]," * 100_000 + "1]}",
    "long": lambda text: text[:-1] + ', "a": "' + "a" * 3_000_000 + '"}',
}  # fmt: skip

# --- arrays ---

TYPES = list(container.DTYPES.values())


def _any_array(rng: np.random.Generator, arrays: dict) -> str:
    names = sorted(arrays)
    return names[rng.integers(len(names))] if names else ""


def limits(rng: np.random.Generator, arrays: dict, told: dict, other: Parts) -> str:
    """Replace one, some or all numbers by the limits of their type."""
    name = _any_array(rng, arrays)
    if not name or not arrays[name].size:
        return "nothing"
    changed = arrays[name].copy()
    if changed.dtype.kind == "f":
        top = float(np.finfo(changed.dtype).max)
        choice = [
            np.nan,
            np.inf,
            -np.inf,
            top,
            -top,
            top / 4,
            np.finfo(changed.dtype).tiny,
            0.0,
            -0.0,
            1e-45,
            1e20,
            1e300,
        ]
    else:
        info = np.iinfo(changed.dtype)
        choice = [info.min, info.max, 0, info.max - 1, max(info.min, -1), 1]
    with np.errstate(over="ignore"):
        value = np.array(choice[rng.integers(len(choice))]).astype(changed.dtype)
    where = rng.random(changed.shape) < rng.choice([0.0, 0.3, 1.0])
    where.ravel()[rng.integers(changed.size)] = True
    changed[where] = value
    arrays[name] = changed
    return f"{name}: {int(where.sum())} times {value}"


def retype(rng: np.random.Generator, arrays: dict, told: dict, other: Parts) -> str:
    name, dtype = _any_array(rng, arrays), TYPES[rng.integers(len(TYPES))]
    if name:
        with np.errstate(all="ignore"):
            arrays[name] = arrays[name].astype(dtype)
    return f"{name}: {dtype}"


def reshape(rng: np.random.Generator, arrays: dict, told: dict, other: Parts) -> str:
    name = _any_array(rng, arrays)
    if not name or not arrays[name].size:
        return "nothing"
    given = arrays[name]
    ways = [given.ravel(), given[None], given.T, given[..., None], given.reshape(-1, 1), given.ravel()[:1].reshape(())]
    arrays[name] = ways[rng.integers(len(ways))]
    return f"{name}: {arrays[name].shape}"


def relength(rng: np.random.Generator, arrays: dict, told: dict, other: Parts) -> str:
    name = _any_array(rng, arrays)
    if not name or arrays[name].ndim == 0:
        return "nothing"
    given, way = arrays[name], rng.integers(6)
    longer = np.concatenate([given, given[-1:]]) if way else np.concatenate([given] * 50)
    arrays[name] = [longer, longer, given[:-1], given[1:], given[:0], given[: len(given) // 2]][way]
    return f"{name}: {len(given)} to {len(arrays[name])}"


def shuffle(rng: np.random.Generator, arrays: dict, told: dict, other: Parts) -> str:
    name = _any_array(rng, arrays)
    if name:
        given = arrays[name]
        arrays[name] = rng.permutation(given.ravel()).reshape(given.shape)
    return name


def random_bytes(rng: np.random.Generator, arrays: dict, told: dict, other: Parts) -> str:
    name = _any_array(rng, arrays)
    if name and arrays[name].size:
        given = arrays[name]
        changed = bytearray(given.tobytes())
        for _ in range(int(rng.choice([1, 4, 4 * len(changed)]))):
            changed[rng.integers(len(changed))] = rng.integers(256)
        arrays[name] = np.frombuffer(bytes(changed), given.dtype).reshape(given.shape)
    return name


def exchange(rng: np.random.Generator, arrays: dict, told: dict, other: Parts) -> str:
    one, two = _any_array(rng, arrays), _any_array(rng, arrays)
    if one and two:
        arrays[one], arrays[two] = arrays[two], arrays[one]
    return f"{one} and {two}"


def take_array(rng: np.random.Generator, arrays: dict, told: dict, other: Parts) -> str:
    name = _any_array(rng, other[0])
    arrays[name] = other[0][name]
    return name


def drop_array(rng: np.random.Generator, arrays: dict, told: dict, other: Parts) -> str:
    name = _any_array(rng, arrays)
    arrays.pop(name, None)
    return name


Change = Callable[[np.random.Generator, dict, dict, Parts], str]
CHANGES: list[Change] = [
    replace_value, replace_value, replace_value, nudge_number, nudge_number, drop_value, add_value, take_value,
    take_value, swap_layers, repeat_layer, resize, deepen, limits, limits, limits, retype, reshape, relength, relength,
    shuffle, random_bytes, random_bytes, exchange, take_array, take_array, drop_array,
]  # fmt: skip
