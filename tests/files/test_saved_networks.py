"""Networks and classifiers that are saved and loaded: the same scores, records and normalisation."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import hntk
from hntk.files import container

LAWS = ["gaussian", "int8_gaussian", "sparse_gaussian", "pruned_gaussian", "student_t", "bernoulli", "ternary"]
# A bound of the bytes of a file beside its arrays, which the memory experiment uses too.
HEADER = 2048


def classifier(
    law: str = "ternary", layers: object = None, sparsity: float = 0.5
) -> tuple[hntk.Classifier, np.ndarray]:
    data = hntk.reference_mixture(n=120, p=30, key=jax.random.key(0))
    acts = hntk.match(["relu"] * 2, 1.0, 4).activations if layers is None else layers
    net = hntk.draw_network(
        acts, [50, 40], 30, tau0=1.0, law=hntk.weight_law(law, sparsity=sparsity), key=jax.random.key(1)
    )  # type: ignore[arg-type]
    labels = np.where(data.labels == 0, "left", "right")
    return hntk.fit_ridge(net, data.x, labels, ridge=0.1), np.asarray(data.x)


@pytest.mark.often("gaussian", "int8_gaussian", "sparse_gaussian", "ternary")
@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
def test_a_loaded_classifier_scores_as_the_saved_one(law: str, tmp_path: Path) -> None:
    made, x = classifier(law)
    size = hntk.save(made, tmp_path / "net.safetensors")
    again = hntk.load(tmp_path / "net.safetensors")
    assert isinstance(again, hntk.Classifier)
    np.testing.assert_array_equal(again.scores(x), made.scores(x))
    assert again.predict(x).tolist() == made.predict(x).tolist()
    formula = hntk.storage(made.network, 2).smallest
    assert size == (tmp_path / "net.safetensors").stat().st_size
    assert formula < size < formula + HEADER


@pytest.mark.parametrize(
    "layers",
    [
        ["relu", "abs"],
        ["erf", "cos"],
        ["sin", "gaussian"],
        ["tanh", "gelu"],
        [hntk.activation("leaky_relu", slope=0.2), hntk.activation("polynomial", coefficients=[0.1, 1.0, 0.5])],
        ["sign", "step"],
    ],
    ids=lambda layers: "-".join(getattr(a, "name", a) for a in layers),
)
def test_every_activation_of_the_library_can_be_saved(layers: list, tmp_path: Path) -> None:
    made, x = classifier("gaussian", layers)
    hntk.save(made, tmp_path / "net.safetensors")
    again = hntk.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(again.scores(x), made.scores(x))  # type: ignore[union-attr]


def test_a_network_without_readout_keeps_the_one_its_ntk_sees(tmp_path: Path) -> None:
    made, x = classifier("gaussian", ["relu", "relu"])
    hntk.save(made.network, tmp_path / "net.safetensors")
    again = hntk.load(tmp_path / "net.safetensors")
    assert isinstance(again, hntk.Network)
    np.testing.assert_array_equal(hntk.empirical_kernels(again, x).ntk, hntk.empirical_kernels(made.network, x).ntk)
    hntk.save(made, tmp_path / "net.safetensors")
    with_readout = hntk.load(tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match="readout at initialisation"):
        hntk.empirical_kernels(with_readout.network, x)  # type: ignore[union-attr]


def test_the_normalisation_of_the_input_is_kept(tmp_path: Path) -> None:
    made, x = classifier()
    raw = 5.0 * x + 3.0
    normalization = hntk.Normalization(np.full(30, 3.0, np.float32), 5.0)
    known = hntk.Classifier(made.network, made.classes, made.weights, made.offset, normalization=normalization)
    hntk.save(known, tmp_path / "net.safetensors")
    again = hntk.load(tmp_path / "net.safetensors")
    assert isinstance(again, hntk.Classifier)
    assert again.normalization is not None
    np.testing.assert_allclose(again.scores(again.normalization(raw)), made.scores(x), atol=1e-5)


@pytest.mark.slow
def test_where_a_network_comes_from_is_kept(tmp_path: Path) -> None:
    data = hntk.reference_mixture(n=90, p=30, key=jax.random.key(0))
    x, labels = np.asarray(data.x), np.repeat(["a", "b", "c"], [20, 30, 40])
    net = hntk.compress(["relu", "abs"], [50, 40], x, levels=3, key=jax.random.key(1))
    fitted = hntk.fit_ridge(net, x, labels, ridge=0.1)
    statistics = fitted.statistics
    assert statistics is not None
    squares = np.sum(x.astype(np.float64) ** 2, axis=1)
    assert (statistics.n, statistics.p, statistics.class_counts) == (90, 30, (20, 30, 40))
    assert statistics.tau0**2 == pytest.approx(squares.mean())
    assert statistics.norm_deviation == pytest.approx(squares.std() / squares.mean())
    for made in (fitted, hntk.to_integers(fitted, x=x)):
        assert isinstance(made, hntk.Classifier | hntk.IntegerClassifier)
        for _ in range(2):
            made.save(tmp_path / "net.safetensors")
            made = hntk.load(tmp_path / "net.safetensors")
            assert isinstance(made, hntk.Classifier | hntk.IntegerClassifier)
            assert made.network.origin == net.match.record
            assert made.statistics == statistics
        shown = str(made.summary())
        assert "for relu, abs at tau_0" in shown
        assert "fitted on 90 samples of dimension 30, 20 to 40 a class" in shown
    softmax = hntk.fit_softmax(net, x, labels, schedule=hntk.Schedule(epochs=1, batch=30))
    assert softmax.statistics == statistics
    assert hntk.dense(["relu"], [20], x, key=jax.random.key(0)).origin is None


def test_a_function_of_the_users_own_cannot_be_saved(tmp_path: Path) -> None:
    made, _ = classifier("gaussian", [hntk.activation(jnp.tanh, name="mine"), "relu"])
    with pytest.raises(ValueError, match="register_activation"):
        hntk.save(made, tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, x = classifier()
    path = tmp_path / "net.safetensors"
    hntk.save(made, path)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            hntk.save(made, path)
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]
    np.testing.assert_array_equal(hntk.load(path).scores(x), made.scores(x))  # type: ignore[union-attr]


def test_files_that_are_not_ours_are_refused(tmp_path: Path) -> None:
    made, _ = classifier()
    path = tmp_path / "net.safetensors"
    hntk.save(made, path)
    whole = path.read_bytes()
    with pytest.raises(FileNotFoundError):
        hntk.load(tmp_path / "none.safetensors")
    for damaged in (whole[: len(whole) // 2], whole[:5], b"", b"\xff" * 100):
        path.write_bytes(damaged)
        with pytest.raises(hntk.FileError, match="hntk.save"):
            hntk.load(path)
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(hntk.FileError, match="hntk.save"):
        hntk.load(path)
    container.write(path, {"a": np.zeros(3)}, {"version": 99})
    with pytest.raises(hntk.FileError, match="version 99"):
        hntk.load(path)
    container.write(path, {"a": np.zeros(3)}, {"version": 1, "form": "float", "layers": [{}]})
    with pytest.raises(hntk.FileError, match="damaged"):
        hntk.load(path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(hntk.FileError, match="checksum"):
        hntk.load(path)
