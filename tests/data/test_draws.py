"""Draws: the same numbers whatever precision JAX is set to, and by every kind of key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np
import pytest

import hntk

# sha256 of 7 x 5 values drawn with key 3, as they are with float64 switched on
DRAWN = {
    "gaussian": "7b8b308d3ed03898",
    "ternary": "80347e3e8429952d",
    "bernoulli": "a150afa89a846b9c",
    "int8_gaussian": "a821dc90f58b2a25",
    "sparse_gaussian": "7e83446493f86fe3",
    "pruned_gaussian": "d6c129fe65764cec",
    "student_t": "12f664d4c25c6940",
}
MIXTURE = [0.9157079202659149, -0.1902443666880492, -0.0003526355728052602, -0.2766686991598366, 0.31414793479766906]
INTO_FLOAT64 = [1.4041932199176819, 0.22812489569885333, 0.06940468857039511, 0.12765468511823613, 0.10104048986616153]
INTO_FLOAT32 = [1.688104271888733, 0.016045495867729187, 1.0915502309799194, 0.3106500208377838, -0.346100389957428]


@contextmanager
def precision(double: bool) -> Iterator[None]:
    """JAX's setting, as a program makes it."""
    before = jax.config.jax_enable_x64  # type: ignore[attr-defined]
    jax.config.update("jax_enable_x64", double)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


@pytest.fixture(params=[True, False], ids=["float64", "float32"])
def double(request: pytest.FixtureRequest) -> Iterator[bool]:
    with precision(request.param):
        yield request.param


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("law", DRAWN)
def test_weights_are_those_recorded(law: str) -> None:
    values = np.asarray(hntk.weight_law(law).draw(jax.random.key(3), (7, 5)).values)
    assert values.dtype == (np.int8 if law in ("ternary", "bernoulli", "int8_gaussian") else np.float32)
    # logarithms and roots may differ by their last bit from one processor to another
    if law == "student_t":
        np.testing.assert_allclose(values[0], [-2.865819, -2.3269923, -0.5407747, -2.2162285, 0.29545158], rtol=1e-6)
    else:
        assert hashlib.sha256(values.tobytes()).hexdigest()[:16] == DRAWN[law]


def test_a_mixture_is_the_one_recorded(double: bool) -> None:
    key = jax.random.key(3)
    data = hntk.reference_mixture(n=6, p=5, key=key)
    assert data.x.dtype == (np.float64 if double else np.float32)
    np.testing.assert_allclose(data.x[0], MIXTURE, rtol=1e-12 if double else 1e-6)
    for dtype, expected in ((np.float64, INTO_FLOAT64), (np.float32, INTO_FLOAT32)):
        out = np.zeros((6, 5), dtype)
        hntk.reference_mixture(n=6, p=5, key=key, out=out)
        np.testing.assert_allclose(out[0], expected, rtol=1e-12 if dtype is np.float64 else 1e-6)


@pytest.mark.slow
def test_a_network_is_one_of_its_key_alone() -> None:
    drawn = []
    for double in (True, False):
        with precision(double):
            x = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
            key = jax.random.key(5)
            net = hntk.dense(["relu", "erf"], [16, 8], x, key=key, law=hntk.WeightLaw("ternary", sparsity=0.6))
            drawn.append([np.asarray(w.values) for w in net.weights] + [np.asarray(net.readout), net.features(x)])
    for first, second in zip(*drawn, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-6)


@pytest.mark.usefixtures("double")
def test_older_keys_draw_what_they_always_drew() -> None:
    expected = np.asarray(hntk.weight_law("ternary").draw(jax.random.key(3), (7, 5)).values)
    for key in (jax.random.PRNGKey(3), np.asarray(jax.random.PRNGKey(3))):
        assert np.array_equal(hntk.weight_law("ternary").draw(key, (7, 5)).values, expected)
        assert hntk.draw_network(["relu"], 4, 3, tau0=1.0, key=key).widths == (4,)


@pytest.mark.parametrize("key", [0, np.int64(3), np.arange(2), None, jax.random.split(jax.random.key(0)), "key"])
def test_what_is_no_key_is_refused(key: object) -> None:
    calls = (
        lambda: hntk.weight_law("gaussian").draw(key, (2, 2)),  # type: ignore[arg-type]
        lambda: hntk.draw_network(["relu"], [4], 3, tau0=1.0, key=key),  # type: ignore[arg-type]
        lambda: hntk.reference_mixture(n=4, p=3, key=key),  # type: ignore[arg-type]
    )
    for call in calls:
        with pytest.raises(ValueError, match=r"one random key|jax\.random\.key\(0\)"):
            call()


def test_one_width_is_the_width_of_every_layer() -> None:
    net = hntk.draw_network(["relu", "erf"], 5, 3, tau0=1.0, key=jax.random.key(0))
    assert net.widths == (5, 5)


def test_what_cannot_fit_is_refused_before_it_is_drawn() -> None:
    x = np.ones((4, 3))
    key = jax.random.key(0)
    calls = (
        lambda: hntk.draw_network(["relu"], [10**12], 3, tau0=1.0, key=key),
        lambda: hntk.draw_network(["relu"], [3], 10**12, tau0=1.0, key=key),
        lambda: hntk.dense(["relu"] * 2, [10**6, 10**6], x, key=key, law="ternary"),
        lambda: hntk.compress(["relu"], [10**12], x, levels=3, key=key),
        lambda: hntk.weight_law("gaussian").draw(key, (10**6, 10**6)),
        lambda: hntk.reference_mixture(n=10**12, p=3, key=key),
        lambda: hntk.reference_mixture(n=10, p=10**12, key=key),
        lambda: hntk.spectral_density(np.eye(70), probes=10**12),
        lambda: hntk.StructuredKernel(
            np.broadcast_to(1.0, (10**6, 2)), 1.0, np.broadcast_to(1.0, (10**6, 1)), np.eye(1), 1.0
        ).to_dense(),
    )
    for call in calls:
        with pytest.raises(MemoryError, match=r"would take [\d,.]+ GB and [\d,.]+ GB of memory are free"):
            call()


def test_features_that_cannot_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.ones((100, 3))
    net = hntk.dense(["relu"], [50], x, key=jax.random.key(0))
    monkeypatch.setattr("hntk._utils.memory.SMALL", 0)
    monkeypatch.setattr("hntk._utils.memory.available_memory", lambda: 30_000)
    with pytest.raises(MemoryError, match="feature_batches"):
        net.features(x)
    with pytest.raises(MemoryError, match=r"batch=\."):
        net.feature_batches(np.ones((1000, 3)))
    assert sum(len(part) for part in net.feature_batches(x, batch=10)) == 100
    with pytest.raises(MemoryError, match="empirical_kernels keeps their sum"):
        hntk.empirical_parts(net, x)
