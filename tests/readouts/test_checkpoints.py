"""Checkpoints: trainings go on as if nothing had happened, and never from another training's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from hntk.readouts.training import Epoch, train
from tests.support.trainings import SCHEDULE, blobs, loss, run, scores, start

OTHERS: dict[str, dict[str, Any]] = {
    "training samples": {"x": lambda x: x.at[0, 0].add(1e-3)},
    "training labels": {"y": lambda y: y.at[0].set(1 - y[0])},
    "held-out samples": {"x_held": lambda x: -x},
    "held-out labels": {"y_held": lambda y: 1 - y},
}


def test_an_interrupted_training_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = run(blobs())

    def stop(epoch: Epoch) -> None:
        if epoch.epoch == 5:
            raise KeyboardInterrupt

    path = tmp_path / "training.npz"
    with pytest.raises(KeyboardInterrupt):
        run(blobs(), checkpoint=path, progress=stop)
    seen: list[Epoch] = []
    resumed = run(blobs(), checkpoint=path, progress=seen.append)
    assert seen[0].epoch == 6
    assert resumed.history == whole.history
    for a, b in zip(jax.tree.leaves(resumed.parameters), jax.tree.leaves(whole.parameters), strict=True):
        np.testing.assert_array_equal(a, b)
    # what is finished is not trained again
    assert run(blobs(), checkpoint=path, progress=lambda _: pytest.fail("trained again")).history == whole.history
    assert not list(tmp_path.glob(".*"))


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "training.npz"
    run(blobs(), checkpoint=path)
    for samples, schedule in ((blobs(), replace(SCHEDULE, learning_rate=2e-2)), (blobs(n=700), SCHEDULE)):
        with pytest.raises(ValueError, match="another training"):
            run(samples, schedule, checkpoint=path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="delete it"):
        run(blobs(), checkpoint=path)


def other_scores(parameters: dict[str, Any], x: jax.Array) -> jax.Array:
    return -scores(parameters, x)


@pytest.mark.parametrize("part", [*OTHERS, "start", "loss, scores or projection", "key", "precision", "version of"])
def test_a_checkpoint_of_the_same_shapes_and_another_training_is_refused(
    tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was once taken up again, with the result of other data."""
    path, few = tmp_path / "training.npz", replace(SCHEDULE, epochs=2)
    run(blobs(), few, checkpoint=path)
    samples = blobs()
    changes = {name: change(getattr(samples, name)) for name, change in OTHERS.get(part, {}).items()}
    key, begin, told = jax.random.key(3), start(), scores
    if part == "start":
        # the same sum of sizes
        begin = begin | {"w": begin["w"].at[0, 0].set(1e-3), "b": begin["b"]}
        run(blobs(), few, checkpoint=tmp_path / "moved.npz", parameters=begin)
        path, begin = tmp_path / "moved.npz", start() | {"w": start()["w"].at[0, 0].set(-1e-3)}
    if part.startswith("loss"):
        told = other_scores
    if part == "key":
        key = jax.random.key(3, impl="rbg")
    if part.startswith("version"):
        monkeypatch.setattr("hntk.readouts.checkpoints.source_digest", lambda *places: "another")
    jax.config.update("jax_enable_x64", part != "precision")
    try:
        with pytest.raises(ValueError, match=rf"another training \(other .*{part}"):
            train(loss, told, begin, samples._replace(**changes), few, key, checkpoint=path)
    finally:
        jax.config.update("jax_enable_x64", True)


def test_a_projection_and_what_a_loss_carries_belong_to_a_checkpoint(tmp_path: Path) -> None:
    few = replace(SCHEDULE, epochs=1)

    def carrying(weight: float) -> Any:
        return lambda parameters, x, y: weight * loss(parameters, x, y)

    path = tmp_path / "carrying.npz"
    train(carrying(1.0), scores, start(), blobs(), few, jax.random.key(3), checkpoint=path)
    train(carrying(1.0), scores, start(), blobs(), few, jax.random.key(3), checkpoint=path)
    for other, project in ((carrying(2.0), None), (carrying(1.0), lambda p: p)):
        with pytest.raises(ValueError, match="other loss, scores or projection"):
            train(other, scores, start(), blobs(), few, jax.random.key(3), project=project, checkpoint=path)


def test_files_that_are_no_checkpoint_are_said(tmp_path: Path) -> None:
    path, few = tmp_path / "training.npz", replace(SCHEDULE, epochs=1)
    run(blobs(), few, checkpoint=path)
    whole = path.read_bytes()
    with np.load(path) as kept:
        parts = {name: kept[name] for name in kept.files}
    foreign = tmp_path / "foreign.npz"
    for content in (b"", whole[:-1], whole[: len(whole) // 2], b"text", b"PK\x05\x06" + bytes(18)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="delete it"):
            run(blobs(), few, checkpoint=path)
    for name in ("identity", "history", "validation", "leaf0"):
        np.savez(foreign, **{kept: part for kept, part in parts.items() if kept != name})
        with pytest.raises(ValueError, match="delete it|no checkpoint"):
            run(blobs(), few, checkpoint=foreign)
    for change in ({"leaf0": np.zeros((7, 7))}, {"history": np.zeros(3)}, {"identity": np.array("{")}):
        np.savez(foreign, **{**parts, **change})
        with pytest.raises(ValueError, match="delete it|no checkpoint"):
            run(blobs(), few, checkpoint=foreign)
    with pytest.raises(ValueError, match="delete it"):
        run(blobs(), few, checkpoint=tmp_path)
