"""neural-tangents, mended: it loads, leaves JAX alone and gives the numbers of closed formulas."""

import subprocess
import sys

import jax
import numpy as np
import pytest

import hntk
from hntk.kernels._neural_tangents import NEWEST_JAX, OLDEST_JAX, load

nt = load()
RTOL = 1e-7  # ten roots of float64's epsilon are 1.5e-7


def points(n: int, dimension: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dimension))


def one_hidden_layer(activation, width: int = 1):
    return nt.stax.serial(nt.stax.Dense(width), activation, nt.stax.Dense(1))


def relu_kernels(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Conjugate and tangent kernel by the arc-cosine formulas of Cho and Saul (2009)."""
    k = x @ y.T / x.shape[1]
    norms = np.sqrt(np.outer((x**2).mean(1), (y**2).mean(1)))
    angle = np.arccos(np.clip(k / norms, -1, 1))
    nngp = norms * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
    return nngp, nngp + k * (np.pi - angle) / (2 * np.pi)


def erf_kernels(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Conjugate and tangent kernel by the arc-sine formula of Williams (1997) and its derivative."""
    k = x @ y.T / x.shape[1]
    scales = np.outer(1 + 2 * (x**2).mean(1), 1 + 2 * (y**2).mean(1))
    nngp = 2 / np.pi * np.arcsin(2 * k / np.sqrt(scales))
    return nngp, nngp + k * 4 / np.pi / np.sqrt(scales - 4 * k**2)


CLOSED_FORMS = {"Relu": relu_kernels, "Erf": erf_kernels}


@pytest.mark.slow
@pytest.mark.parametrize("name", CLOSED_FORMS)
@pytest.mark.parametrize("batch_size", [None, 2])
def test_kernels_agree_with_closed_forms(name: str, batch_size: int | None) -> None:
    x, y = points(6), points(4, seed=1)
    _, _, kernel_fn = one_hidden_layer(getattr(nt.stax, name)())
    if batch_size is not None:
        kernel_fn = nt.batch(kernel_fn, batch_size=batch_size)
    kernels = jax.jit(lambda x, y: kernel_fn(x, y, ("nngp", "ntk")))(x, y)
    for kernel, expected in zip(kernels, CLOSED_FORMS[name](x, y), strict=True):
        np.testing.assert_allclose(kernel, expected, rtol=RTOL)


def test_the_closed_forms_tell_activations_apart() -> None:
    x, y = points(6), points(4, seed=1)
    kernel = jax.jit(lambda *both: one_hidden_layer(nt.stax.Relu())[2](*both, "nngp"))(x, y)
    assert np.abs(kernel - erf_kernels(x, y)[0]).max() > 0.1


def test_a_layer_can_be_given_its_kernel_maps() -> None:
    """The square of a centred Gaussian pair: E[u²v²] = ab + 2c², E[2u 2v] = 4c."""
    square = nt.stax.Elementwise(lambda x: x**2, lambda c, a, b: a * b + 2 * c**2, lambda c, a, b: 4 * c)
    x, y = points(6), points(4, seed=1)
    k, a, b = x @ y.T / x.shape[1], (x**2).mean(1)[:, None], (y**2).mean(1)
    nngp, ntk = jax.jit(lambda *both: one_hidden_layer(square)[2](*both, ("nngp", "ntk")))(x, y)
    np.testing.assert_allclose(nngp, a * b + 2 * k**2, rtol=RTOL)
    np.testing.assert_allclose(ntk, a * b + 2 * k**2 + 4 * k**2, rtol=RTOL)


@pytest.mark.filterwarnings("ignore:size requires ndarray:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:shape requires ndarray:DeprecationWarning")
@pytest.mark.parametrize("implementation", ["JACOBIAN_CONTRACTION", "NTK_VECTOR_PRODUCTS"])
def test_empirical_kernel_of_a_linear_net(implementation: str) -> None:
    """Without hidden layers the tangent kernel is that of the inputs, whatever the weights."""
    init_fn, apply_fn, _ = nt.stax.Dense(1)
    _, params = init_fn(jax.random.key(0), (-1, 5))
    x, y = points(6), points(4, seed=1)
    kernel_fn = nt.empirical_ntk_fn(apply_fn, implementation=nt.NtkImplementation[implementation])
    np.testing.assert_allclose(jax.jit(kernel_fn)(x, y, params), x @ y.T / 5, rtol=RTOL)


@pytest.mark.slow
def test_training_to_the_end_is_kernel_regression() -> None:
    x, y, labels = points(6), points(4, seed=1), points(6, 1, seed=2)
    _, _, kernel_fn = one_hidden_layer(nt.stax.Erf())
    train, test = jax.jit(lambda x, y: (kernel_fn(x, None, "ntk"), kernel_fn(y, x, "ntk")))(x, y)
    predict = nt.predict.gradient_descent_mse(train, labels)
    at_start = np.zeros((6, 1)), np.zeros((4, 1))
    _, in_between = predict(3.0, *at_start, test)
    _, at_end = predict(None, *at_start, test)
    assert np.isfinite(in_between).all()
    np.testing.assert_allclose(at_end, test @ np.linalg.solve(train, labels), rtol=1e-6)


def test_largest_learning_rate() -> None:
    kernel = one_hidden_layer(nt.stax.Erf())[2](points(6), None, "ntk")
    expected = 2 * 6 / np.linalg.eigvalsh(kernel)[-1]
    np.testing.assert_allclose(nt.predict.max_learning_rate(kernel), expected, rtol=1e-6)


def test_loading_twice_gives_the_same() -> None:
    assert load() is nt
    load.cache_clear()
    assert load() is nt


def test_a_missing_package_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neural_tangents", None)
    load.cache_clear()
    with pytest.raises(ImportError, match=r"needs neural_tangents: .*pip install 'hntk\[neural-tangents\]'"):
        hntk.stax_kernel_fn(["relu"], tau0=1.0)


def test_the_error_of_another_jax_names_versions_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax.interpreters.ad", None)
    load.cache_clear()
    with pytest.raises(ImportError) as caught:
        load()
    remedy = f"pip install 'jax>={OLDEST_JAX},<={NEWEST_JAX}' 'hntk[neural-tangents]'"
    for words in (jax.__version__, remedy):
        assert words in str(caught.value)


FRESH = """
import sys, jax, jax.core, jax.interpreters.ad
def seen(): return [set(vars(m)) for m in (jax.core, jax.interpreters.ad)] + ["jax.util" in sys.modules]
before = seen()
import hntk
assert "neural_tangents" not in sys.modules, "hntk imports neural-tangents"
from hntk.kernels._neural_tangents import load
assert "neural_tangents" not in sys.modules, "the module loads before it is asked to"
nt = load()
assert nt.stax.Erf and nt.predict.gradient_descent_mse
assert not {"tensorflow", "tf2jax"} & set(sys.modules), "TensorFlow"
assert jax.numpy.ones(1).dtype == "float32", "x64 is on"
if tuple(map(int, jax.__version__.split(".")[:2])) >= (0, 8):
    assert seen() == before, "JAX is not as it was"
"""


@pytest.mark.slow
def test_in_a_fresh_process_nothing_else_is_touched() -> None:
    result = subprocess.run([sys.executable, "-W", "error", "-c", FRESH], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert not result.stderr
