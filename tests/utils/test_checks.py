"""What users hand in: taken in every form that is numbers, refused with the remedy in every other."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse import csr_array, csr_matrix

import hntk
from hntk._utils.arrays import check_memory_map, real_array
from hntk._utils.rows import as_rows, as_samples, rms_norm, row_blocks

X = np.random.default_rng(0).normal(size=(30, 4))
X[3, 1] = X[20, 2] = 3.0
LABELS = np.arange(30) % 2


class Frame:
    """As much of a data frame as NumPy asks for."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.values, dtype)


@pytest.mark.parametrize("form", [
    np.ndarray.tolist, lambda x: tuple(map(tuple, x)), lambda x: x.astype(object), lambda x: x.astype(">f8"),
    lambda x: x.astype(np.longdouble), jnp.asarray, np.ma.masked_array, Frame, lambda x: Frame(x.astype(object)),
    lambda x: np.array([[Decimal(float(v)) for v in row] for row in x]),
    lambda x: np.array([[Fraction(float(v)) for v in row] for row in x]),
], ids=range(11))  # fmt: skip
@pytest.mark.parametrize("take", [as_samples, as_rows])
def test_numbers_are_taken_in_every_form(form: Any, take: Any) -> None:
    np.testing.assert_array_equal(np.asarray(take(form(X)), float), X)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int64", "float16", "bfloat16", "float32"])
@pytest.mark.parametrize("take", [as_samples, as_rows])
def test_every_type_of_number_is_computed_with_as_it_is(dtype: str, take: Any) -> None:
    given = np.array([[1, 0], [1, 1], [0, 1]]).astype(jnp.dtype(dtype))
    for array in (given, jnp.asarray(given)):
        taken = take(array)
        np.testing.assert_array_equal(np.asarray(taken, float), np.asarray(given, float))
        assert rms_norm(taken) == pytest.approx((4 / 3) ** 0.5)


@pytest.mark.parametrize(("given", "said"), [
    (np.ma.masked_array(X, mask=X > 2.9), "masked in 2 of 120 places: fill them, or drop"),
    ([np.ma.masked_array(row, mask=row > 2.9) for row in X], "masked in 2 of 120 places"),
    (csr_array(X), r"give x\.toarray\(\)"), (csr_matrix(X), r"give x\.toarray\(\)"),
    (np.where(X > 2.9, None, X), "type NoneType, which are no real numbers"), ([["1.5", "2"]], "real numbers"),
    (np.array([["1.5", 2.0]], object), "type str"), (X + 0j, "real numbers, got dtype complex128"),
    (np.zeros((3, 0)), "none empty"), (X[0], r"one sample give x\[None, :\]"),
    (X[..., None], r"x\.reshape\(len\(x\), -1\)"),
    (np.float64(1), r"shape \(\)"), ([[1.0], [1.0, 2.0]], "array of numbers"), ([[10**400, 1]], "beyond what float64"),
    (np.full((2, 2), np.datetime64("2020")), "real numbers"), (jax.random.split(jax.random.key(0)), "real numbers"),
    (X * 1e200, "whose squares overflow in float64, in 30 of its 30 rows: rescale"),
    (np.where(X > 2.9, np.inf, X), "NaN or infinite values in 2 of its 30 rows: clean or drop"),
])  # fmt: skip
@pytest.mark.parametrize("take", [as_samples, as_rows])
def test_what_is_no_sample_is_refused_with_the_remedy(given: Any, said: str, take: Any) -> None:
    with pytest.raises(ValueError, match=said):
        take(given)


@pytest.mark.parametrize("bad", [np.ones(5), np.ones((0, 3)), np.where(np.eye(30, 4) > 0, np.nan, X), [["a"]]])
def test_bad_samples_are_refused_everywhere(bad: object) -> None:
    for use in (
        lambda: hntk.exact_kernels(bad, ["relu"]),
        lambda: hntk.equivalent_kernels(bad, LABELS, ["relu"]),
        lambda: hntk.compress(["relu"], [8], bad, key=jax.random.key(0)),
        lambda: hntk.dense(["relu"], [8], bad, key=jax.random.key(0)),
    ):
        with pytest.raises(ValueError, match=r"shape|NaN|numbers"):
            use()


@pytest.mark.filterwarnings("ignore:samples have the root mean square norm")
def test_samples_beyond_float32_are_refused_where_float32_is_computed_in() -> None:
    """Their scores were NaN, and the first class was predicted for all."""
    net = hntk.dense(["relu"], [8], X, key=jax.random.key(0))
    fitted = hntk.fit_ridge(net, X, LABELS, 0.1)
    large = X * 1e30
    assert np.all(np.isfinite(as_samples(large)))
    for call in (fitted.scores, fitted.predict, net.features, lambda x: hntk.fit_ridge(net, x, LABELS)):
        with pytest.raises(ValueError, match=r"squares overflow in float32, in 30 of its 30 rows: rescale"):
            call(large)
    before = jax.config.jax_enable_x64  # type: ignore[attr-defined]
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(ValueError, match="squares overflow in float32"):
            as_samples(large)
        with pytest.warns(UserWarning, match="float32"), pytest.raises(ValueError, match="float32 holds the powers of"):
            hntk.exact_kernels(X * 1e-20, ["relu"])
    finally:
        jax.config.update("jax_enable_x64", before)


def test_scales_that_nothing_can_be_computed_at_are_refused() -> None:
    for factor in (1e-170, 5e-324):
        with pytest.raises(ValueError, match="whose square underflows: rescale"):
            hntk.exact_kernels(X * factor, ["relu"])
    with pytest.raises(ValueError, match="out of scale"):
        hntk.coefficients(["relu"], 1e-80)
    for small in (1e-3, 1e-30):
        kernels = hntk.exact_kernels(X * small, ["relu"]), hntk.exact_kernels(X, ["relu"])
        np.testing.assert_allclose(kernels[0].ntk / small**2, kernels[1].ntk, rtol=1e-9)


@pytest.mark.parametrize("kappa_sq", [-5.0, -1e-300, np.nan, np.inf, "1", True])
def test_a_declared_diagonal_is_a_number(kappa_sq: Any, tmp_path: Path) -> None:
    law = hntk.asymptotics.MixtureLaw.of(np.eye(2, 10), [1.0, 1.0])
    for call in (
        lambda: hntk.exact_kernels(X, ["sign"], kappa_sq=kappa_sq),
        lambda: hntk.sharded_kernels(X, ["sign"], kappa_sq=kappa_sq),
        lambda: hntk.store_kernels(tmp_path, X, ["sign"], kappa_sq=kappa_sq),
        lambda: hntk.equivalent_kernels(X, LABELS, ["sign"], kappa_sq=kappa_sq),
        lambda: hntk.fit_equivalent(X, LABELS, ["sign"], kappa_sq=kappa_sq),
        lambda: hntk.asymptotics.kernel_coefficients(["sign"], 1.0, kernel="ntk", kappa_sq=kappa_sq),
        lambda: hntk.asymptotics.spikes(law, 10, ["sign"], kernel="ntk", kappa_sq=kappa_sq),
    ):
        with pytest.raises(ValueError, match=r"kappa_sq must be a non-negative finite number \(the NTK's diagonal\)"):
            call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ridge", [np.nan, np.inf, -0.5, "0.1", True, [0.1]])
def test_a_ridge_of_a_regression_is_a_number(ridge: Any) -> None:
    with pytest.raises(ValueError, match=r"ridge must be a non-negative finite number"):
        hntk.fit_equivalent(X, LABELS, ["relu"], ridge=ridge)


@pytest.mark.parametrize("tau0", [1e300, np.nan, 0.0, -1.0, np.inf, "1", True])
def test_a_scale_is_a_positive_number_within_float64(tau0: Any, tmp_path: Path) -> None:
    for call in (
        lambda: hntk.exact_kernels(X, ["relu"], tau0=tau0),
        lambda: hntk.store_kernels(tmp_path, X, ["relu"], tau0=tau0),
        lambda: hntk.dense(["relu"], [3], X, tau0=tau0, key=jax.random.key(0)),
        lambda: hntk.fit_equivalent(X, LABELS, ["relu"], tau0=tau0),
        lambda: hntk.equivalent_kernels(X, LABELS, ["relu"], tau0=tau0),
        lambda: hntk.match(["relu"], tau0),
    ):
        with pytest.raises(ValueError, match="tau0"):
            call()


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


# A memory map whose file is cut while it is read, which kills a process that reads on.
SHRINKING = """
import os, sys
import numpy as np, jax
jax.config.update("jax_enable_x64", True)
import hntk
from hntk._utils import rows
rows.BLOCK = 8 * 40 * 1000
path = sys.argv[1]
x = np.lib.format.open_memmap(path, "w+", np.float32, (20000, 40))
x[:] = np.random.default_rng(0).normal(size=x.shape) / 40**0.5
x.flush()
x = np.load(path, mmap_mode="r")
def cut(done):
    os.truncate(path, 100_000)
try:
    hntk.fit_equivalent(x[::2] if len(sys.argv) > 2 else x, np.arange(20000 // (len(sys.argv) - 1)) % 2, ["relu"],
                        progress=cut)
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize("view", [[], ["view"]])
def test_a_memory_map_that_shrinks_is_said(tmp_path: Path, view: list[str]) -> None:
    root = Path(hntk.__file__).parents[1]
    command = [sys.executable, "-c", SHRINKING, str(tmp_path / "x.npy"), *view]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=300)
    assert done.returncode == 0, f"killed by signal {-done.returncode}"
    assert "has become shorter while it is used: 100,000 bytes of 3,200,128 are left" in done.stdout


def test_memory_maps_that_are_whole_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, X)
    x = np.load(path, mmap_mode="r")
    for whole in (x, x[3:9], np.asarray(x)[::2], x.T, np.asarray(x[1:])):
        check_memory_map(whole)
    assert isinstance(real_array(x), np.memmap)
    assert isinstance(as_rows(x), np.memmap)
    path.write_bytes(path.read_bytes()[:200])
    for cut in (x, x[3:9], np.asarray(x)[::2], x.T, np.asarray(x[1:])):
        with pytest.raises(ValueError, match="has become shorter"):
            check_memory_map(cut)
        with pytest.raises(ValueError, match="has become shorter"):
            list(row_blocks(cut))
    for call in (lambda: as_samples(x), lambda: as_rows(x), lambda: rms_norm(x)):
        with pytest.raises(ValueError, match="has become shorter"):
            call()
