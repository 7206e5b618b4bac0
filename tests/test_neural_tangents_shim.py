"""neural-tangents on the installed JAX, against formulas of our own."""

from __future__ import annotations

import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from hntk import neural_tangents_shim
from hntk.neural_tangents_shim import load

X = np.random.default_rng(0).standard_normal((8, 20))


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return result.stdout.strip()


def test_relu_and_erf_have_their_closed_forms() -> None:
    stax = load().stax
    gram = X @ X.T / 20
    size = np.sqrt(np.diag(gram))
    rho = np.clip(gram / np.outer(size, size), -1, 1)
    arc = np.outer(size, size) * (np.sqrt(1 - rho**2) + rho * (np.pi - np.arccos(rho))) / (2 * np.pi)
    relu = stax.serial(stax.Dense(1, 1.0, None), stax.Relu())[2](jnp.asarray(X), None, "nngp")
    np.testing.assert_allclose(relu, arc, atol=1e-7)
    free = 1 + 2 * np.diag(gram)
    erf = stax.serial(stax.Dense(1, 1.0, None), stax.Erf())[2](jnp.asarray(X), None, "nngp")
    np.testing.assert_allclose(erf, 2 / np.pi * np.arcsin(2 * gram / np.sqrt(np.outer(free, free))), atol=1e-12)


def test_batches_give_the_same_kernel() -> None:
    nt = load()
    kernel_fn = nt.stax.serial(nt.stax.Dense(1), nt.stax.Erf(), nt.stax.Dense(1))[2]
    batched = nt.batch(kernel_fn, batch_size=4, device_count=0)
    x = jnp.asarray(X)
    np.testing.assert_allclose(batched(x, None, "ntk"), kernel_fn(x, None, "ntk"), rtol=1e-12)


def test_predict_works() -> None:
    nt = load()
    kernel_fn = nt.stax.serial(nt.stax.Dense(1), nt.stax.Erf(), nt.stax.Dense(1))[2]
    kernel = kernel_fn(jnp.asarray(X), None, "ntk")
    predict = nt.predict.gradient_descent_mse(kernel, jnp.ones((8, 1)), diag_reg=1e-4)
    assert np.all(np.isfinite(predict(1.0, jnp.zeros((8, 1)), jnp.zeros((8, 1)), kernel)[0]))


def test_it_is_loaded_once_without_tensorflow_and_hntk_without_it() -> None:
    assert load() is load()
    code = (
        "import sys, hntk; assert 'neural_tangents' not in sys.modules\n"
        "import hntk.neural_tangents_shim as s; s.load()\n"
        "print('neural_tangents' in sys.modules, 'tensorflow' in sys.modules or 'tf2jax' in sys.modules)"
    )
    assert run(code) == "True False"


def test_a_failing_import_names_the_versions_that_work(monkeypatch: pytest.MonkeyPatch) -> None:
    load()
    monkeypatch.setitem(sys.modules, "neural_tangents", None)
    neural_tangents_shim.load.cache_clear()
    try:
        with pytest.raises(ImportError, match=rf"JAX {neural_tangents_shim.OLDEST_JAX} .*pip install"):
            load()
    finally:
        monkeypatch.undo()
        neural_tangents_shim.load.cache_clear()
        load()


def test_float32_theory_says_so() -> None:
    code = (
        "import warnings, hntk, jax\n"
        "x = hntk.reference_mixture(n=6, p=5, key=jax.random.key(0)).x\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    hntk.exact_kernels(x, ['relu'])\n"
        "print(any('jax_enable_x64' in str(w.message) for w in caught), jax.config.jax_enable_x64)"
    )
    assert run(code) == "True False"
