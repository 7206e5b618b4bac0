"""Saving refuses what could not be loaded, before anything is written, and names the remedy."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open

import hntk
from hntk.activations.polynomial import Polynomial
from hntk.activations.rectifier import Rectifier
from hntk.files import container
from hntk.networks.integer_steps import Steps
from hntk.networks.saving import load_packed
from tests.support.architectures import INPUTS, classifier, whole_classifier

WIDTHS = (20, 9)


@lru_cache
def small() -> hntk.Classifier:
    return classifier(widths=WIDTHS)


@lru_cache
def whole() -> hntk.IntegerClassifier:
    return whole_classifier(widths=WIDTHS)


def with_network(made: Any, **changes: Any) -> Any:
    return replace(made, network=replace(made.network, **changes))


def labelled(made: Any, classes: object) -> Any:
    return replace(made, classes=classes)


# --- labels ---

LABELS = {
    "objects": (np.array(["cat", "dog"], dtype=object), ["cat", "dog"], "U"),
    "wider than needed": (np.array(["cat", "dog"], dtype="U5000"), ["cat", "dog"], "U"),
    "whole objects": (np.array([3, 2**40], dtype=object), [3, 2**40], "i"),
    "large": (np.array([1, 2**64 - 1], dtype=np.uint64), [1, 2**64 - 1], "u"),
    "swapped bytes": (np.array([1, 300], dtype=">i4"), [1, 300], "i"),
    "small": (np.array([-128, 127], dtype=np.int8), [-128, 127], "i"),
    "halves": (np.array([0.1, 2.0], dtype=np.float16), np.array([0.1, 2.0], np.float16).tolist(), "f"),
    "booleans": (np.array([False, True]), [False, True], "b"),
    "empty text": (np.array(["", "\u00e9\U0001f600"]), ["", "\u00e9\U0001f600"], "U"),
    "a list": (["a", "b"], ["a", "b"], "U"),
}


@pytest.mark.parametrize("make", [small, whole], ids=["float", "integer"])
@pytest.mark.parametrize(("given", "wanted", "kind"), LABELS.values(), ids=LABELS)
def test_labels_of_every_type_come_back(make: Callable, given: object, wanted: list, kind: str, tmp_path: Path) -> None:
    hntk.save(labelled(make(), given), tmp_path / "net")
    found: Any = hntk.load(tmp_path / "net")
    assert found.classes.tolist() == wanted
    assert [type(label) for label in found.classes.tolist()] == [type(label) for label in wanted]
    assert found.classes.dtype.kind == kind
    assert found.classes.dtype.isnative


# --- what no file may hold ---


def thresholds(*values: float) -> hntk.Staircase:
    return hntk.Staircase(values, tuple(range(len(values) + 1)))


def first(made: Any, sigma: Any) -> Any:
    return with_network(made, activations=(sigma, *made.network.activations[1:]))


def matrix(values: object, kind: Any, scale: float = 1.0) -> Callable:
    def change(made: Any) -> Any:
        kept = made.network.weights[1:]
        return with_network(made, weights=(hntk.WeightMatrix(values, scale, kind), *kept))  # type: ignore[arg-type]

    return change


def with_record(**changes: Any) -> Callable:
    record = hntk.MatchRecord(("relu",), 1.0, "joint", "theory", {"e1": 0.1}, 0.0, 0.0)
    return lambda made: with_network(made, origin=replace(record, **changes))


def ones(*shape: int, dtype: Any = jnp.int8) -> Any:
    return jnp.ones(shape, dtype)


FLOAT = {
    "bytes": (lambda m: labelled(m, np.array([b"a", b"b"])), "decode"),
    "dates": (lambda m: labelled(m, np.array(["2020-01-01", "2021-01-01"], "datetime64[D]")), "astype"),
    "complex": (lambda m: labelled(m, np.array([1j, 2j])), "astype"),
    "missing": (lambda m: labelled(m, np.array(["a", None], dtype=object)), "drop"),
    "mixed": (lambda m: labelled(m, np.array(["a", 1], dtype=object)), "one type"),
    "twice": (lambda m: labelled(m, np.array(["a", "a"])), "different labels"),
    "none": (lambda m: labelled(m, np.array([], int)), "list of labels"),
    "too few": (lambda m: labelled(m, np.array(["a"])), "must be float32 of shape"),
    "half a character": (lambda m: labelled(m, np.array(["a", "\ud800"])), "surrogate"),
    "long": (lambda m: labelled(m, np.array(["a", "b" * 2000])), "[Ss]horten"),
    "equal in float32": (lambda m: first(m, thresholds(0.1, 0.1 + 1e-12)), "leave one out"),
    "threshold overflows": (lambda m: first(m, thresholds(0.1, 1e39)), "rescale"),
    "level overflows": (lambda m: first(m, hntk.Staircase((0.0,), (0.0, 1e39))), "rescale"),
    "many levels": (lambda m: first(m, thresholds(*range(2000))), "2 to 1,024 levels"),
    "odd parameter": (lambda m: first(m, Rectifier(np.nan, 1.0)), "finite|JSON"),
    "large parameter": (lambda m: first(m, Rectifier(1e39, 1.0)), "float32's range"),
    "many coefficients": (lambda m: first(m, Polynomial((0.1,) * 300)), "256"),
    "odd name": (lambda m: first(m, Rectifier(1.0, 1.0, "\ud800")), "surrogate"),
    "long name": (lambda m: first(m, Rectifier(1.0, 1.0, "x" * 2000)), "1,024"),
    "no name": (lambda m: first(m, Rectifier(1.0, 1.0, 3)), "name cannot be 3"),  # type: ignore[arg-type]
    "sums overflow": (lambda m: first(m, hntk.Staircase((0.0,), (-3e38, 3e38))), "rescale"),
    "centre": (lambda m: with_network(m, centres=(1e39, 0.0)), "float32's range"),
    "fewer centres": (lambda m: with_network(m, centres=(0.0,)), "one of each a layer"),
    "fewer activations": (lambda m: with_network(m, activations=m.network.activations[:1]), "one of each a layer"),
    "arrays": (lambda m: with_network(m, weights=tuple(w.values for w in m.network.weights)), "hntk.WeightMatrix"),
    "no network": (lambda m: replace(m, network=m.network.weights), "WeightMatrix|no attribute|has 0"),
    "no activation": (lambda m: first(m, np.tanh), "register_activation"),
    "no record": (with_record(residuals=[0.1]), "no attribute|mapping|residuals"),
    "not finite": (matrix(jnp.full((20, INPUTS), jnp.nan, jnp.float32), "float32"), "not all finite"),
    "overflowing": (matrix(np.full((20, INPUTS), 1e39), "float32"), "not all finite"),
    "not ternary": (matrix(2 * ones(20, INPUTS), "ternary"), "round them"),
    "no sign": (matrix(jnp.zeros((20, INPUTS), jnp.int8), "sign"), "round them"),
    "below int8": (matrix(jnp.full((20, INPUTS), -128, jnp.int8), "int8"), "-127"),
    "not whole": (matrix(0.5 * ones(20, INPUTS, dtype=jnp.float32), "int8"), "round them"),
    "no kind": (matrix(ones(20, INPUTS), "int4"), "use one of"),
    "no matrix": (matrix(ones(20 * INPUTS), "ternary"), "must be a matrix"),
    "empty": (matrix(ones(0, INPUTS), "ternary"), "must be a matrix"),
    "other shape": (matrix(ones(21, INPUTS), "ternary"), "follow each other"),
    "no scale": (matrix(ones(20, INPUTS), "ternary", 0.0), "positive"),
    "tiny scale": (matrix(ones(20, INPUTS), "ternary", 1e-40), "below float32's range"),
    "odd scale": (matrix(ones(20, INPUTS), "ternary", np.nan), "finite|JSON"),
    "large scale": (matrix(ones(20, INPUTS), "ternary", 3e38), "rescale"),
    "no layers": (lambda m: with_network(m, weights=(), activations=(), centres=()), "0 layers"),
    "readout": (lambda m: replace(m, weights=m.weights.T), "must be float32 of shape"),
    "readout overflows": (lambda m: replace(m, weights=m.weights * 1e39), "rescale"),
    "offset": (lambda m: replace(m, offset=m.offset[:1]), "must be float64 of shape"),
    "odd offset": (lambda m: replace(m, offset=m.offset * np.nan), "not finite"),
    "scores overflow": (lambda m: replace(m, offset=m.offset + 1e300), "rescale"),
    "odd residual": (with_record(residuals={"e1": np.nan}), "origin=None"),
    "odd shift": (with_record(identity_shift=np.inf), "origin=None"),
    "numbers as names": (with_record(residuals={1: 0.1}), "origin"),
    "odd tau0": (with_record(tau0=-1.0), "positive"),
    "odd counts": (lambda m: replace(m, statistics=replace(m.statistics, class_counts=(1, 0))), "whole numbers"),
}  # fmt: skip


def step(*values: int, levels: tuple[int, ...]) -> Callable:
    return lambda m: with_network(m, steps=(Steps(values, levels), *m.network.steps[1:]))


INTEGER = {
    "bytes": (lambda m: labelled(m, np.array([b"a", b"b"])), "decode"),
    "twice": (lambda m: labelled(m, np.array([1, 1])), "different labels"),
    "level": (step(0, levels=(0, 2**15)), "hntk.to_integers"),
    "threshold": (step(2**31, levels=(0, 1)), "hntk.to_integers"),
    "no whole level": (step(0, levels=(0, 0.5)), "hntk.to_integers"),  # type: ignore[arg-type]
    "order": (step(3, 1, levels=(0, 1, 2)), "out of order"),
    "one level": (step(levels=(1,)), "2 to 1,024 levels"),
    "readout": (lambda m: replace(m, readout=m.readout.astype(np.int64) + 2**20), "hntk.to_integers"),
    "readout shape": (lambda m: replace(m, readout=m.readout.T), "must be int16 of shape"),
    "offset": (lambda m: replace(m, offset=m.offset.astype(np.int64) + 2**40), "hntk.to_integers"),
    "unit": (lambda m: with_network(m, unit=0.0), "positive"),
    "fewer steps": (lambda m: with_network(m, steps=m.network.steps[:1]), "one of each a layer"),
    "no steps": (lambda m: with_network(m, steps=m.network.weights), "no attribute"),
    "input": (lambda m: with_network(m, inputs=replace(m.network.inputs, centre=np.ones(3))), "input.centre must be"),
    "factor": (lambda m: with_network(m, inputs=replace(m.network.inputs, factor=1e38)), "overflow"),
    "most": (lambda m: with_network(m, inputs=replace(m.network.inputs, most=2**15)), "below 2..15"),
    "bias": (lambda m: with_network(m, bias=np.zeros(3, np.int32)), "input.bias must be"),
    "floats": (matrix(0.5 * ones(20, INPUTS, dtype=jnp.float32), "float32"), "must be such"),
    "sums": (lambda m: with_network(m, bias=np.full(20, -(2**31), np.int32)), "2..24"),
    "scores": (lambda m: replace(m, offset=np.full(2, 2**31 - 1, np.int32)), "32 bits"),
}  # fmt: skip
REFUSED = [(small, *case) for case in FLOAT.values()] + [(whole, *case) for case in INTEGER.values()]
NAMES = [f"float-{name}" for name in FLOAT] + [f"integer-{name}" for name in INTEGER]


@pytest.mark.parametrize(("make", "change", "why"), REFUSED, ids=NAMES)
def test_what_could_not_be_loaded_is_not_saved(make: Callable, change: Callable, why: str, tmp_path: Path) -> None:
    path = tmp_path / "net"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match=why) as caught:
        hntk.save(change(make()), path)
    assert not isinstance(caught.value, hntk.FileError)
    assert str(caught.value).startswith("this ")
    assert [p.name for p in tmp_path.iterdir()] == ["net"]
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize("shape", [(3,), (INPUTS, 1), ()], ids=str)
def test_a_normalization_of_another_shape_is_not_saved(shape: tuple, tmp_path: Path) -> None:
    (tmp_path / "net").write_bytes(b"before")
    with pytest.raises(ValueError, match="centre"):
        hntk.save(replace(small(), normalization=hntk.Normalization(np.ones(shape, np.float32), 1.0)), tmp_path / "net")
    assert (tmp_path / "net").read_bytes() == b"before"


def test_what_was_refused_is_well_but_for_one_thing(tmp_path: Path) -> None:
    for made in (small(), whole()):
        hntk.save(made, tmp_path / "net")
        hntk.save(with_record()(made), tmp_path / "net")
        assert hntk.load(tmp_path / "net").network.origin == with_record()(made).network.origin  # type: ignore[union-attr]
    for given in (None, "net", np.ones(3), hntk.weight_law("ternary")):
        with pytest.raises(TypeError, match="give a network"):
            hntk.save(given, tmp_path / "other")  # type: ignore[arg-type]
    assert not (tmp_path / "other").exists()


def test_numbers_of_any_type_are_taken_for_what_they_are(tmp_path: Path) -> None:
    made, x = small(), np.random.default_rng(0).normal(size=(5, INPUTS)) / INPUTS**0.5
    assert made.statistics is not None
    values = np.asarray(made.network.weights[0].values)
    for odd in (
        first(made, Rectifier(np.float32(0.5), 1)),  # type: ignore[arg-type]
        with_network(made, centres=(np.float32(0.5), 0)),
        replace(made, statistics=replace(made.statistics, n=np.int64(7))),
        replace(made, offset=made.offset.astype(np.float32)),
        matrix(values.astype(np.float64), "ternary", made.network.weights[0].scale)(made),
        matrix(values.astype(np.float64), "float32", np.float32(1.5))(made),
    ):
        hntk.save(odd, tmp_path / "net")
        again: Any = hntk.load(tmp_path / "net")
        # Files keep offsets in float64, which are added in float64.
        np.testing.assert_allclose(again.scores(x), odd.scores(x), rtol=1e-6, atol=1e-6)
        assert again.statistics == odd.statistics


@pytest.mark.slow
def test_deep_networks_of_unbounded_activations_are_finite_where_bounds_are_not(tmp_path: Path) -> None:
    import jax

    deep = hntk.draw_network(["relu"] * 40, [128] * 40, 30, tau0=1.0, law="ternary", key=jax.random.key(0))
    hntk.save(deep, tmp_path / "net")
    assert len(hntk.load(tmp_path / "net").weights) == 40  # type: ignore[union-attr]
    cubic = hntk.activation("polynomial", coefficients=[0.0, 1.0, 0.0, 1e3])
    with pytest.raises(ValueError, match="rescale"):
        hntk.save(replace(deep, activations=(cubic,) * 40), tmp_path / "net")


# --- the format ---


def test_other_readers_find_what_was_written(tmp_path: Path) -> None:
    made = whole()
    size = hntk.save(made, tmp_path / "net", encoding="mask+signs")
    arrays, _ = container.read(tmp_path / "net")
    with safe_open(tmp_path / "net", framework="numpy") as file:
        assert set(file.metadata()) == {"hntk", "sha256"}
        assert set(file.keys()) == set(arrays)
        for name in arrays:
            found = file.get_tensor(name)
            np.testing.assert_array_equal(found, arrays[name])
            assert found.dtype == arrays[name].dtype
    assert size == (tmp_path / "net").stat().st_size


def test_files_may_be_read_by_whom_the_mask_allows(tmp_path: Path) -> None:
    former = os.umask(0o022)
    try:
        hntk.save(small(), tmp_path / "net")
    finally:
        os.umask(former)
    assert (tmp_path / "net").stat().st_mode & 0o777 == 0o644


# --- disks ---


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A separate disk of 1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.name != "posix" or os.geteuid() != 0 or mount("-t", "tmpfs", "-o", "size=1M", "none", place):
        pytest.skip("mounting is not permitted here")
    yield place
    subprocess.run(["umount", place], check=True)


def mount(*words: object) -> int:
    try:
        return subprocess.run(["mount", *map(str, words)], capture_output=True, check=False).returncode
    except FileNotFoundError:
        return 1


def wide() -> hntk.Network:
    values = np.random.default_rng(0).normal(size=(4000, 100)).astype(np.float32)
    return hntk.Network((hntk.WeightMatrix(jnp.asarray(values)),), (hntk.activation("relu"),), (0.0,), None, None)


def test_a_full_disk_leaves_the_old_file(disk: Path) -> None:
    hntk.save(small(), disk / "net")
    before = (disk / "net").read_bytes()
    with pytest.raises(OSError, match=r"No space left.*free some space"):
        hntk.save(wide(), disk / "net")
    assert [p.name for p in disk.iterdir()] == ["net"]
    assert (disk / "net").read_bytes() == before
    # Fill the disk up to its last blocks.
    (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free - 2 * 4096))
    with pytest.raises(OSError, match="No space left"):
        hntk.save(classifier(widths=(300, 200)), disk / "net")
    assert sorted(p.name for p in disk.iterdir()) == ["filler", "net"]
    assert (disk / "net").read_bytes() == before


def test_a_disk_that_cannot_be_written_leaves_the_old_file(disk: Path) -> None:
    hntk.save(small(), disk / "net")
    before = (disk / "net").read_bytes()
    assert mount("-o", "remount,ro", disk) == 0
    with pytest.raises(OSError, match="Read-only file system"):
        hntk.save(whole(), disk / "net")
    assert [p.name for p in disk.iterdir()] == ["net"]
    assert (disk / "net").read_bytes() == before
    assert isinstance(hntk.load(disk / "net"), hntk.Classifier)


def test_places_that_are_no_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(OSError, match="Not a directory"):
        hntk.save(small(), tmp_path / "file" / "net")
    with pytest.raises(OSError, match="No such file"):
        hntk.save(small(), tmp_path / "none" / "net")
    with pytest.raises(OSError, match="name a file in it"):
        hntk.save(small(), tmp_path)
    with pytest.raises(hntk.FileError, match="name a file in it"):
        hntk.load(tmp_path)
    assert (tmp_path / "file").read_bytes() == b"mine"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


# --- files of the first version ---

X = np.array([[1, 2, 3, 4], [-1, 0.5, 0, 2], [0, 0, 1, 0]], np.float32) / 2
SCORES = [[0.2918693, 0.7081307], [0.4832191, 0.5167809], [0.8745311, 0.1254690]]
WHOLE_SCORES = [[3788192, 9190926], [6271757, 6707361], [8178877, 4800241]]
FEATURES = [
    [0.4165685, -0.3817817, -0.0272127],
    [0.2335381, -0.1808752, -0.0149038],
    [0.1405138, -0.0793517, -0.0140639],
]


def test_files_written_before_are_read() -> None:
    """These files declare types of labels as they were in memory: wider than the labels, or with swapped bytes."""
    folder = Path(__file__).parent / "written"
    made: Any = hntk.load(folder / "float.safetensors")
    np.testing.assert_allclose(made.scores(X), SCORES, atol=1e-6)
    assert made.classes.tolist() == ["left", "right"]
    assert (made.normalization.scale, made.statistics.n) == (2.0, 30)
    assert made.network.origin.original == ("relu", "tanh")
    made = hntk.load(folder / "integer.safetensors")
    assert made.scores(4 * X + 3).tolist() == WHOLE_SCORES
    assert (made.classes.tolist(), made.classes.dtype) == ([3, -7], np.int16)
    np.testing.assert_allclose(hntk.load(folder / "network.safetensors").features(X), FEATURES, atol=2e-6)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["float", "integer", "network"])
def test_files_are_still_written_as_before(name: str, tmp_path: Path) -> None:
    """All but the declared type of labels, which now is the smallest that holds them."""
    path = Path(__file__).parent / "written" / f"{name}.safetensors"
    made, packed = load_packed(path)
    hntk.save(made, tmp_path / "net", encoding=packed[0])
    before, after = container.read(path), container.read(tmp_path / "net")
    assert {n: (a.dtype, a.tolist()) for n, a in before[0].items()} == {
        n: (a.dtype, a.tolist()) for n, a in after[0].items()
    }
    expected = before[1] | {key: after[1][key] for key in ("classes_type",) if key in after[1]}
    assert after[1] == expected
    if name == "network":
        assert (tmp_path / "net").read_bytes() == path.read_bytes()
