"""Copies and pickles of everything that is exported: the same results, without what was kept to be fast."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk
from hntk import asymptotics
from hntk.activations import registry
from hntk.activations.quadrature import QuadratureActivation
from tests.support.architectures import INPUTS, classifier, raw_samples, whole_classifier

WIDTHS = (20, 9)
BYTES = np.array([[0, 3, 9, 255]], np.uint8)


@lru_cache
def data() -> tuple[np.ndarray, np.ndarray]:
    made = hntk.reference_mixture(n=60, p=INPUTS, key=jax.random.key(0))
    return np.asarray(made.x), np.asarray(made.labels)


@lru_cache
def law() -> asymptotics.MixtureLaw:
    return asymptotics.estimate_law(*data())


def tanh_net() -> hntk.Network:
    """Of activations whose functions cannot be pickled."""
    return hntk.draw_network(["tanh", "gelu"], WIDTHS, INPUTS, tau0=1.0, key=jax.random.key(1))


@lru_cache
def small_match() -> hntk.Match:
    return hntk.match(["relu"], 1.0, 3)


def compressed() -> hntk.CompressedNetwork:
    return hntk.compress(["relu"], [9], data()[0], small_match(), key=jax.random.key(1))


def softmax() -> hntk.SoftmaxClassifier:
    return hntk.fit_softmax(tanh_net(), *data(), schedule=hntk.Schedule(epochs=1, batch=30))


def scores(made: Any) -> Any:
    return made.scores(data()[0])


def targets() -> np.ndarray:
    return data()[0] @ np.linspace(-1, 1, 2 * INPUTS).reshape(INPUTS, 2)


def predictions(made: Any) -> Any:
    return made.predict(data()[0])


def whole_scores(made: Any) -> Any:
    return made.scores(raw_samples(whole_classifier(widths=WIDTHS)))


def features(made: Any) -> Any:
    return made.features(data()[0])


def levels(made: Any) -> Any:
    return next(made.feature_batches(raw_samples(whole_classifier(widths=WIDTHS))))


def everything(made: Any) -> Any:
    """What a record shows, and all numbers of one that is a pytree."""
    leaves = [leaf for leaf in jax.tree.leaves(made) if isinstance(leaf, np.ndarray | jax.Array)]
    return np.array([repr(made), *(repr(np.asarray(leaf).tolist()) for leaf in leaves)])


def leaves(made: Any) -> Any:
    """Every number of a pytree."""
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(made)])


def regressor() -> hntk.IntegerRegressor:
    made = whole_classifier(widths=WIDTHS)
    return hntk.IntegerRegressor(made.network, made.readout, made.offset, 0.1)


def kernels() -> hntk.EquivalentKernels:
    return hntk.equivalent_kernels(*data(), ["relu"])


def structured(made: Any) -> Any:
    return np.concatenate([made.eigvalsh(), made.solve(np.ones(made.shape[0]), 0.1), [made.log_determinant(0.5)]])


def drawn(made: hntk.WeightLaw) -> Any:
    return made.draw(jax.random.key(0), (3, 4)).values


def density(made: Any) -> Any:
    return made.density(np.linspace(0, 3, 20))


# of every exported class: how one is made, and what is asked of it
CASES: dict[type, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    hntk.Network: (tanh_net, features),
    hntk.CompressedNetwork: (compressed, features),
    hntk.Classifier: (lambda: hntk.Classifier(tanh_net(), np.arange(2), np.ones((9, 2)), np.ones(2)), scores),
    hntk.RidgeClassifier: (lambda: classifier(widths=WIDTHS), scores),
    hntk.SoftmaxClassifier: (softmax, scores),
    hntk.IntegerNetwork: (lambda: whole_classifier(widths=WIDTHS).network, levels),
    hntk.IntegerClassifier: (lambda: whole_classifier(widths=WIDTHS), whole_scores),
    hntk.IntegerRegressor: (regressor, whole_scores),
    hntk.Steps: (lambda: hntk.Steps((0, 3), (1, 2, 5)), lambda m: m(jnp.arange(-1, 5))),
    hntk.NeuronSteps: (
        lambda: hntk.NeuronSteps(np.array([[0, 3], [1, 1]], np.int32), (1, 2, 5)),
        lambda m: m(jnp.arange(-2, 4).reshape(3, 2)),
    ),
    hntk.SpacedSteps: (
        lambda: hntk.SpacedSteps(np.array([3, 5], np.uint8), np.array([1, -2], np.int16), 1, 2, (1, 2, 5)),
        lambda m: m(jnp.arange(-2, 4).reshape(3, 2)),
    ),
    hntk.Pixels: (lambda: hntk.Pixels(2, np.arange(4, dtype=np.uint8)), lambda m: m(BYTES)),
    hntk.PooledPixels: (lambda: hntk.PooledPixels((2, 2), (1, 2)), lambda m: m(BYTES)),
    hntk.Rounded: (lambda: hntk.Rounded(np.ones(4, np.float32), 0.5, 9), lambda m: m(BYTES)),
    hntk.TrainingRecord: (lambda: hntk.TrainingRecord("match", 9, 8, 0.9, 60_000), everything),
    hntk.Match: (small_match, lambda m: everything((m.certificate, m))),
    hntk.Certificate: (lambda: small_match().certificate, everything),
    hntk.MatchRecord: (lambda: small_match().record, everything),
    hntk.DataStatistics: (lambda: classifier(widths=WIDTHS).statistics, everything),
    hntk.EmpiricalNTK: (lambda: hntk.EmpiricalNTK(tanh_net(), data()[0][:9]), lambda m: m.diagonal()),
    hntk.EquivalentKernels: (kernels, lambda m: structured(m.ck)),
    hntk.StructuredKernel: (lambda: kernels().ck, structured),
    hntk.EquivalentClassifier: (lambda: hntk.fit_equivalent(*data(), ["relu"], ridge=0.1), scores),
    hntk.EquivalentRegressor: (lambda: hntk.fit_equivalent(data()[0], targets(), ["relu"], ridge=0.1), predictions),
    hntk.KernelClassifier: (lambda: hntk.fit_kernel(*data(), ["relu"], ridge=0.1), scores),
    hntk.KernelRegressor: (lambda: hntk.fit_kernel(data()[0], targets(), ["relu"], ridge=0.1), predictions),
    hntk.Regressor: (lambda: hntk.Regressor(tanh_net(), np.ones((9, 2)), np.ones(2)), predictions),
    hntk.RidgeRegressor: (lambda: hntk.fit_ridge(tanh_net(), data()[0], targets()), predictions),
    hntk.Population: (lambda: hntk.estimate_population(*data()), everything),
    hntk.Coefficients: (lambda: hntk.coefficients(["relu"], 1.0), everything),
    hntk.Expansions: (lambda: hntk.expansions(hntk.Architecture(["tanh"], centred=False), 1.0), everything),
    hntk.Expansion: (lambda: hntk.expansions(["tanh"], 1.0).ck[-1], everything),
    hntk.LayerScales: (lambda: hntk.LayerScales(1.4, 0.1, 0.5), everything),
    hntk.Moments: (lambda: hntk.activation("tanh").moments(1.0), everything),
    hntk.Staircase: (lambda: hntk.staircase([0.0], [0.0, 1.0]), lambda m: m(np.linspace(-1, 1, 9))),
    hntk.Surrogate: (lambda: hntk.surrogate("clipped", width=1.5), lambda m: m(np.linspace(-2, 2, 9))),
    hntk.WeightLaw: (lambda: hntk.weight_law("ternary"), drawn),
    hntk.WeightMatrix: (lambda: tanh_net().weights[0], lambda m: m.dense()),
    hntk.OrthogonalMatrix: (
        lambda: hntk.weight_law("orthogonal").draw(jax.random.key(0), (6, 5)), lambda m: m.dense(),
    ),
    hntk.Normalization: (lambda: hntk.Normalization(np.ones(INPUTS, np.float32), 2.0), lambda m: m(data()[0])),
    hntk.Mixture: (lambda: hntk.reference_mixture(n=60, p=INPUTS, key=jax.random.key(0)), everything),
    hntk.Kernels: (lambda: hntk.exact_kernels(data()[0][:5], ["erf"]), lambda m: m.ck),
    hntk.Eigenpairs: (lambda: hntk.leading_eigenpairs(np.diag(np.arange(9.0)), 2), everything),
    hntk.SpectralDensity: (lambda: hntk.spectral_density(np.diag(np.arange(9.0)), probes=1, degree=5), everything),
    hntk.KernelComparison: (lambda: hntk.compare_kernels(np.eye(9), 2 * np.eye(9)), everything),
    hntk.Spectrum: (lambda: hntk.spectrum(np.eye(9), 2), everything),
    hntk.Applicability: (lambda: hntk.check(*data()), everything),
    hntk.Finding: (lambda: hntk.check(*data()).findings[0], everything),
    hntk.Storage: (lambda: hntk.storage(tanh_net(), 2), everything),
    hntk.Arithmetic: (lambda: hntk.arithmetic(tanh_net(), 2), everything),
    hntk.Summary: (lambda: tanh_net().summary(), everything),
    hntk.Augmentation: (hntk.Augmentation.digits, everything),
    hntk.Schedule: (lambda: hntk.Schedule(epochs=1), everything),
    hntk.Architecture: (
        lambda: hntk.Architecture(["tanh"], 2.0, 0.1, False, 0.5, "rms"),
        lambda net: hntk.exact_kernels(data()[0], net).ck,
    ),
    hntk.TaskAccuracy: (lambda: hntk.TaskAccuracy(0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 3), everything),
    asymptotics.LimitingKernel: (
        lambda: asymptotics.LimitingKernel.of(law(), 60, ["relu"]), lambda m: leaves(m.ridge_regression(0.1))
    ),
    asymptotics.MixtureLaw: (law, leaves),
    asymptotics.KernelCoefficients: (lambda: asymptotics.kernel_coefficients(["relu"], 1.0), everything),
    asymptotics.LimitingDensity: (lambda: asymptotics.limiting_density(law(), 60, ["relu"]), density),
    asymptotics.Learned: (lambda: asymptotics.ridge_regression(law(), 60, ["relu"], 0.1), leaves),
}  # fmt: skip
# made by what takes long, or holds others of the list
# bases without an instance of their own
OTHERS = {"EquivalentRegression", "KernelRegression", "ConjugateGradients", "Convergence", "RowFiles"}
OTHERS |= {"Activation", "Dataset", "Design", "LossAccount", "QuadraticForms", "DataFit"}
OTHERS |= {
    "FiniteSizeDensity",
    "FiniteWidth",
    "RandomFeatures",
    "ScoreLaw",
    "Spike",
    "LayerStatistics",
    "TrainingStatistics",
}


def pickled(made: Any) -> Any:
    return pickle.loads(pickle.dumps(made))


def through_joblib(made: Any) -> Any:
    joblib = pytest.importorskip("joblib")
    stream = io.BytesIO()
    joblib.dump(made, stream)
    stream.seek(0)
    return joblib.load(stream)


WAYS = [pickled, copy.copy, copy.deepcopy, through_joblib]


def test_every_exported_class_is_here() -> None:
    exported = [getattr(module, name) for module in (hntk, asymptotics) for name in module.__all__]
    classes = {c for c in exported if inspect.isclass(c) and not issubclass(c, Exception)}
    assert {c.__name__ for c in classes - CASES.keys()} == OTHERS


@pytest.mark.slow
@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_copies_give_the_same_before_and_after_use(kind: type) -> None:
    make, use = CASES[kind]
    made = make()
    assert type(made) is kind
    fresh = [way(made) for way in WAYS]
    expected = np.asarray(use(made))
    used = [way(made) for way in WAYS]
    for again in [*fresh, *used, pickled(used[0])]:
        assert type(again) is kind
        np.testing.assert_array_equal(np.asarray(use(again)), expected)


@pytest.mark.parametrize(
    "kind", [k for k in CASES if k is not hntk.EmpiricalNTK], ids=lambda kind: kind.__name__
)  # fmt: skip
def test_pickles_hold_no_caches(kind: type) -> None:
    make, use = CASES[kind]
    made = copy.copy(make())
    size = len(pickle.dumps(made))
    use(made)
    assert len(pickle.dumps(made)) <= size + 200


@pytest.mark.slow
def test_a_pickle_is_about_as_large_as_the_weights() -> None:
    net = hntk.draw_network(["relu", "relu"], [500, 400], 300, tau0=1.0, law="ternary", key=jax.random.key(0))
    net.features(np.ones((3, 300)))
    size = sum(w.values.nbytes for w in net.weights) + 4 * 400
    assert size < len(pickle.dumps(net)) < size + 5000


def test_functions_of_the_users_own_go_by_themselves_or_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    own = hntk.activation(softsign, name="soft")
    assert pickled(own) == own
    assert copy.deepcopy(hntk.activation(lambda t: jnp.sin(t), name="local")).name == "local"
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(hntk.activation(lambda t: jnp.sin(t), name="local"))
    monkeypatch.setattr("hntk.activations.registry._BUILDERS", dict(registry._BUILDERS))
    named = hntk.register_activation("named", lambda t: jnp.sin(t))
    assert pickled(named) is named
    # another function of a name that is known is not that one
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(hntk.activation(lambda t: jnp.cos(t), name="named"))
    for name in hntk.activation_names():
        if name not in ("staircase", "polynomial"):
            assert pickled(hntk.activation(name)) == hntk.activation(name)
    assert isinstance(pickled(hntk.activation("gelu")), QuadratureActivation)


def softsign(t: Any) -> Any:
    return t / jnp.sqrt(1 + t * t)
