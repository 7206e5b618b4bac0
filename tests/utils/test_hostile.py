"""Every public function against values that nobody should hand in: an error that helps, or a finite result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from tempfile import mkdtemp
from typing import Any
from zlib import crc32

import numpy as np
import pytest

import hntk
from hntk import asymptotics
from tests.support.hostile import FEATURES, KERNEL, KEY, LABELS, VALUES, N, P, X, verdict
from tests.support.onnx_chains import onnx_model

RELU = ["relu"]
COLUMN = np.linspace(1, 2, N)
SCHEDULE = hntk.Schedule(epochs=1, batch=4)


def nothing(array: np.ndarray) -> np.ndarray:
    return np.zeros(array.shape, bool)


@dataclass(frozen=True)
class Case:
    """A valid call, and what each of its arguments is for.

    Attributes
    ----------
    call : the function, or what gives a method.
    valid : arguments by name.
    kinds : of hostile values, by argument.
    allowed : numbers that are not finite and documented.
    documented : errors that are, beside those of values, types and memory.
    """

    call: Callable[..., Any]
    valid: Mapping[str, Any]
    kinds: Mapping[str, str]
    allowed: Callable[[np.ndarray], np.ndarray] = nothing
    documented: tuple[type, ...] = ()

    def __call__(self, **changes: Any) -> Any:
        return self.call(**{**self.valid, **changes})


@cache
def net() -> hntk.Network:
    return hntk.dense(RELU, [6], X, key=KEY)


@cache
def perceptron() -> Any:
    rng = np.random.default_rng(0)
    constants = {"W": rng.normal(size=(P, 6)), "V": rng.normal(size=(6, 2))}
    return onnx_model([("MatMul", ["x", "W"], "u"), ("Relu", ["u"], "h"), ("MatMul", ["h", "V"], "y")], constants, P, 2)


@cache
def ridge() -> hntk.RidgeClassifier:
    return hntk.fit_ridge(net(), X, LABELS, 0.1)


@cache
def equivalents() -> hntk.StructuredKernel:
    return hntk.equivalent_kernels(X, LABELS, RELU).ck


@cache
def regression() -> hntk.EquivalentRegression:
    return hntk.fit_equivalent(X, LABELS, RELU, ridge=0.1)


@cache
def kernel_regressor() -> hntk.KernelRegressor:
    return hntk.fit_kernel(X, COLUMN, RELU, ridge=0.1)  # type: ignore[return-value]


@cache
def matched() -> hntk.Match:
    return hntk.match(RELU, 1.0, 3)


@cache
def design() -> hntk.Design:
    return hntk.plan(RELU, X, LABELS, error=9.0, levels=[2], sparsities=[0.5])


@cache
def density() -> hntk.SpectralDensity:
    return hntk.spectral_density(KERNEL, probes=2, degree=3)


@cache
def law() -> asymptotics.MixtureLaw:
    return asymptotics.MixtureLaw.of(3 * np.eye(2, 40), [1.0, 1.2])


@cache
def limiting_kernel() -> asymptotics.LimitingKernel:
    return asymptotics.LimitingKernel.of(law(), 20, RELU)


@cache
def limit() -> asymptotics.LimitingDensity:
    return asymptotics.limiting_density(law(), 20, RELU)


@cache
def finite() -> asymptotics.FiniteSizeDensity:
    grid = np.linspace(0, 1, 5)
    return asymptotics.FiniteSizeDensity(grid, np.ones(5), grid)


@cache
def rows_file() -> str:
    path = f"{mkdtemp()}/rows.npy"
    np.save(path, X)
    return path


@cache
def archive() -> str:
    """A data set on the disk."""
    folder = mkdtemp()
    np.savez(f"{folder}/toy.npz", x_train=X, y_train=LABELS, x_test=X, y_test=LABELS)
    return folder


def of(make: Callable[[], Any], name: str) -> Callable[..., Any]:
    """A method of what is made when it is first called."""
    return lambda **arguments: getattr(make(), name)(**arguments)


def case(
    call: Callable[..., Any],
    allowed: Callable[[np.ndarray], np.ndarray] = nothing,
    documented: tuple[type, ...] = (),
    **arguments: Any,
) -> Case:
    """From argument=(valid value, kind of hostile values)."""
    valid = {name: value for name, (value, _) in arguments.items()}
    return Case(call, valid, {name: kind for name, (_, kind) in arguments.items()}, allowed, documented)


POPULATION = hntk.estimate_population(X, LABELS)
SAMPLES, CLASSES, NET = (X, "samples"), (LABELS, "labels"), (RELU, "activations")
SCALE, DIAGONAL, CALLBACK = (1.0, "real"), (2.0, "real"), (None, "callback")
EXACT = {"x": SAMPLES, "activations": NET, "tau0": SCALE, "kappa_sq": DIAGONAL, "tile": (5, "count")}
GRADIENTS = hntk.ConjugateGradients(pivots=3, log=None)
LIMIT = {"law": (law(), "object"), "n": (20, "count"), "net": NET, "kernel": ("ck", "choice"), "kappa_sq": DIAGONAL}

CASES = {
    "Population": case(hntk.Population, means=(np.zeros((1, P)), "samples"), traces=(np.ones(1), "numbers"),
                       overlaps=(np.ones((1, 1)), "kernel"), proportions=(np.ones(1), "numbers")),
    "QuadraticForms": case(hntk.QuadraticForms.of, x=SAMPLES, index=CLASSES, tau0=SCALE),
    "QuadraticForms.__call__": case(lambda x, index: regression().forms(x, index), x=SAMPLES, index=CLASSES),
    "Augmentation": case(
        hntk.Augmentation, shift=(1.0, "real"), rotation=(5.0, "real"), scale=(0.1, "real"), shear=(0.1, "real"),
        elastic=(1.0, "real"), elastic_sigma=(4.0, "real"), flip=(0.5, "real"), cutout=(3, "count"),
        cutout_probability=(0.5, "real"), noise=(1.0, "real"), dropout=(0.1, "real")),
    "Augmentation.digits": case(hntk.Augmentation.digits, strength=(1.0, "real")),
    "Schedule": case(hntk.Schedule, epochs=(1, "count"), batch=(1, "count"), patience=(1, "count"),
                     learning_rate=(0.1, "real"), weight_decay=(0.1, "real"), warmup=(0.5, "real")),
    "StructuredKernel": case(
        lambda **a: hntk.StructuredKernel(**a).eigvalsh(), x=SAMPLES, weight=(1.0, "real"),
        factor=(np.ones((N, 1)), "samples"), core=(np.ones((1, 1)), "kernel"), shift=(0.5, "real")),
    "StructuredKernel.matvec": case(of(equivalents, "matvec"), v=(COLUMN, "columns")),
    "StructuredKernel.eigh": case(of(equivalents, "eigh"), k=(1, "count")),
    "StructuredKernel.solve": case(of(equivalents, "solve"), y=(COLUMN, "columns"), ridge=(0.1, "real")),
    "StructuredKernel.log_determinant": case(of(equivalents, "log_determinant"), ridge=(0.1, "real")),
    "StructuredKernel.effective_dimension": case(of(equivalents, "effective_dimension"), ridge=(0.1, "real")),
    "StructuredKernel.inverse_diagonal": case(of(equivalents, "inverse_diagonal"), ridge=(0.1, "real")),
    "StructuredKernel.leave_one_out": case(
        of(equivalents, "leave_one_out"), y=(COLUMN, "columns"), ridge=(0.1, "real")),
    "StructuredKernel.leave_one_out_grid": case(of(equivalents, "leave_one_out_grid"), y=(COLUMN, "columns"),
                                                ridges=([0.1], "numbers")),
    "StructuredKernel.weights": case(of(equivalents, "weights"), v=(COLUMN, "columns")),
    "WeightLaw": case(
        lambda **a: hntk.WeightLaw(**a).fourth_moment, name=("ternary", "choice"), sparsity=(0.5, "real")),
    "WeightLaw of Student": case(lambda **a: hntk.WeightLaw("student_t", **a).fourth_moment, degrees=(5.0, "real")),
    "WeightLaw.draw": case(hntk.WeightLaw("ternary").draw, key=(KEY, "key"), shape=((2, 3), "widths")),
    "WeightLaw.draw in blocks": case(
        lambda **a: hntk.WeightLaw("orthogonal").draw(**a).values, key=(KEY, "key"), shape=((2, 3), "widths")),
    "WeightLaw in blocks": case(lambda **a: hntk.WeightLaw("orthogonal", **a).groups, sparsity=(0.5, "real"),
                                order=("random", "choice")),
    "train": case(
        lambda **a: hntk.train(**{"schedule": SCHEDULE, "start": "uniform", **a}), x=SAMPLES, y=CLASSES,
        widths=([6], "widths"), levels=(2, "count"), weights=("ternary", "choice"), sparsity=(0.5, "real"),
        key=(KEY, "key"), validation=(0.2, "real"), schedule=(SCHEDULE, "object"), augment=(None, "object"),
        teacher=(None, "object"), start=("uniform", "choice"), surrogate=(None, "object"), kilobytes=(None, "real"),
        distill=((0.5, 2.0), "object"), shape=(None, "object"), pool=(None, "object"), progress=CALLBACK),
    "train that keeps": case(
        lambda **a: hntk.train(X, LABELS, [6], levels=2, schedule=SCHEDULE, start="uniform", key=KEY, **a),
        checkpoint=(None, "path")),
    "training_statistics": case(
        lambda **a: [layer.kernel_distance for layer in hntk.training_statistics(**a).layers],
        network=(net(), "object"), x=SAMPLES, rows=(5, "count"), seed=(0, "seed")),
    "weight_law": case(hntk.weight_law, law=("ternary", "choice"), sparsity=(0.5, "real")),
    "activation": case(lambda which, tau: hntk.activation(which).moments(tau), which=("relu", "choice"), tau=SCALE),
    "activation with a slope": case(hntk.activation, which=("leaky_relu", "choice"), slope=(0.1, "real")),
    "activation of coefficients": case(lambda **a: hntk.activation("polynomial", **a).moments(1.0),
                                       coefficients=([0.0, 1.0], "numbers")),
    "activation of a function": case(lambda **a: hntk.activation(**a).moments(1.0), which=(np.tanh, "function"),
                                     breakpoints=([0.1, 0.2], "numbers")),
    "activation_names": case(hntk.activation_names),
    "Architecture": case(
        lambda **a: hntk.exact_kernels(X, hntk.Architecture(**a)), activations=NET, weight_std=SCALE,
        bias_std=(0.1, "real"), centred=(True, "choice"), residual=(0.5, "real"), normalize=("rms", "choice")),
    "Architecture, layer by layer": case(
        lambda **a: hntk.exact_kernels(X, hntk.Architecture(RELU * 2, **a), tau0=1.0),
        weight_std=([1.0, 2.0], "numbers"), bias_std=([0.0, 1.0], "numbers"), residual=([0.0, 1.0], "numbers")),
    "check": case(hntk.check, x=SAMPLES, labels=CLASSES, activations=NET),
    "coefficients": case(hntk.coefficients, activations=NET, tau0=SCALE),
    "compare_kernels": case(hntk.compare_kernels, reference=(KERNEL, "kernel"), other=(2 * KERNEL, "kernel"),
                            spikes=(2, "count")),
    "compress": case(
        lambda **a: hntk.compress(**{"levels": matched(), **a}).features(X), activations=NET, widths=([6], "widths"),
        x=SAMPLES, sparsity=(0.5, "real"), key=(KEY, "key"), tau0=SCALE),
    "compress, the match": case(
        lambda **a: hntk.compress(RELU, [6], X, key=KEY, **a).weights, levels=(3, "count"), method=("joint", "choice"),
        objective=("theory", "choice"), weights=("iid", "choice")),
    "Design.draw": case(lambda **a: design().draw(**a).weights, x=SAMPLES, key=(KEY, "key")),
    "dense": case(lambda **a: hntk.dense(**a).weights, activations=NET, widths=([6], "widths"), x=SAMPLES,
                  key=(KEY, "key"), law=("gaussian", "choice"), tau0=SCALE),
    "draw_network": case(lambda **a: hntk.draw_network(**a).weights, activations=NET, widths=([6], "widths"),
                         inputs=(P, "count"), tau0=SCALE, law=("gaussian", "choice"), key=(KEY, "key")),
    "Network.features": case(of(net, "features"), x=SAMPLES, batch=(5, "count"), layers=("all", "choice")),
    "Network.feature_batches": case(
        of(net, "feature_batches"), x=SAMPLES, batch=(5, "count"), layers=("last", "choice")),
    "empirical_kernels": case(hntk.empirical_kernels, network=(net(), "object"), x=SAMPLES, x2=SAMPLES),
    "empirical_kernels of a class": case(lambda output: hntk.empirical_kernels(ridge(), X, output=output),
                                         output=(1, "count")),
    "empirical_parts": case(hntk.empirical_parts, network=(net(), "object"), x=SAMPLES, x2=SAMPLES),
    "EmpiricalNTK": case(lambda v, **a: hntk.EmpiricalNTK(**a).matvec(v), network=(net(), "object"), x=SAMPLES,
                         v=(COLUMN, "columns")),
    "equivalent_kernels": case(
        lambda **a: hntk.equivalent_kernels(**a).ntk.to_dense(), x=SAMPLES, labels=CLASSES, activations=NET, tau0=SCALE,
        population=(POPULATION, "object"), kappa_sq=DIAGONAL, identity=("default", "choice"),
        centre=(True, "choice")),
    "estimate_population": case(hntk.estimate_population, x=SAMPLES, index=CLASSES),
    "exact_kernels": case(hntk.exact_kernels, **EXACT, x2=SAMPLES, progress=CALLBACK, engine=("native", "choice")),
    "exact_kernels by neural-tangents": case(
        lambda **a: hntk.exact_kernels(**a, engine="neural_tangents"), **EXACT, x2=SAMPLES, progress=CALLBACK),
    "centred_coefficients": case(lambda **a: hntk.centred_coefficients(**a).alpha, network=NET, tau0=SCALE),
    "expansions": case(
        lambda **a: hntk.expansions(**a).ck, network=NET, tau0=SCALE, centres=([0.1], "numbers")),
    "fit_equivalent": case(
        lambda **a: hntk.fit_equivalent(**a).linear, x=SAMPLES, labels=CLASSES, activations=NET,
        kernel=("ntk", "choice"), ridge=(0.1, "real"), tau0=SCALE, kappa_sq=DIAGONAL, normalization=(None, "object"),
        engine=("local", "choice"), progress=CALLBACK),
    "fit_equivalent of targets": case(
        lambda **a: hntk.fit_equivalent(X, activations=RELU, ridge=0.1, **a).linear, labels=(COLUMN, "columns"),
        groups=(LABELS, "labels")),
    "fit_kernel": case(
        lambda **a: hntk.fit_kernel(**a).dual, x=SAMPLES, y=CLASSES, architecture=NET, kernel=("ntk", "choice"),
        ridge=(0.1, "real"), intercept=(True, "object"), tau0=SCALE, kappa_sq=DIAGONAL, normalization=(None, "object"),
        engine=("local", "choice"), progress=CALLBACK),
    "fit_kernel that chooses": case(lambda **a: hntk.fit_kernel(X, y=LABELS, architecture=RELU, **a).dual,
                                    ridges=([0.1], "numbers")),
    "fit_kernel of targets": case(lambda **a: hntk.fit_kernel(X, architecture=RELU, ridge=0.1, **a).dual,
                                  y=(COLUMN, "columns")),
    "fit_kernel by conjugate gradients": case(
        lambda **a: hntk.fit_kernel(architecture=RELU, **{"solver": GRADIENTS} | a).dual, x=SAMPLES, y=CLASSES,
        ridge=(0.1, "real"), solver=(GRADIENTS, "object"), documented=(hntk.ConvergenceError,)),
    "ConjugateGradients": case(
        lambda **a: np.asarray(hntk.ConjugateGradients(**a).tolerance), tolerance=(1e-3, "real"),
        preconditioner=("auto", "choice"), pivots=(3, "count"), keep=("auto", "choice"),
        precision=("auto", "choice"), memory=(10**9, "count"), steps=(5, "count"), held_out=(0.1, "real"),
        seed=(0, "count"), log=CALLBACK),
    "KernelRegressor.variance": case(of(kernel_regressor, "variance"), x=SAMPLES),
    "KernelRegressor.predict": case(of(kernel_regressor, "predict"), x=SAMPLES),
    "KernelRegressor.r2": case(of(kernel_regressor, "r2"), x=SAMPLES, targets=(COLUMN, "columns")),
    "EquivalentRegression.scores": case(of(regression, "scores"), x=SAMPLES),
    "EquivalentRegression.accuracy": case(of(regression, "accuracy"), x=SAMPLES, labels=CLASSES),
    "fit_ridge": case(
        lambda **a: hntk.fit_ridge(**a).weights, network=(net(), "object"), x=SAMPLES, labels=CLASSES,
        ridge=(0.1, "real"), features=(FEATURES, "features"), normalization=(None, "object"), progress=CALLBACK,
        layers=("last", "choice")),
    "fit_ridge of targets": case(
        lambda **a: hntk.fit_ridge(net(), X, **a).weights, labels=(COLUMN, "columns"), validation_share=(0.2, "real")),
    "RidgeRegressor.mean_squared_error": case(
        lambda **a: hntk.fit_ridge(net(), X, COLUMN, 0.1).mean_squared_error(**a), x=SAMPLES,  # type: ignore[union-attr]
        targets=(COLUMN, "columns")),
    "fit_ridge that chooses": case(
        lambda **a: hntk.fit_ridge(net(), X, LABELS, **a).weights, validation_share=(0.2, "real"), seed=(0, "seed"),
        ridges=([0.1], "numbers")),
    "fit_equivalent that chooses": case(
        lambda **a: hntk.fit_equivalent(X, LABELS, RELU, **a).linear, ridges=([0.1], "numbers")),
    "Classifier.scores": case(of(ridge, "scores"), x=SAMPLES),
    "Classifier.scores_of": case(of(ridge, "scores_of"), features=(FEATURES, "features")),
    "Classifier.predict": case(of(ridge, "predict"), x=SAMPLES),
    "Classifier.accuracy": case(of(ridge, "accuracy"), x=SAMPLES, labels=CLASSES),
    "fit_softmax": case(
        lambda **a: hntk.fit_softmax(**a).weights, network=(net(), "object"), x=SAMPLES, labels=CLASSES,
        features=(FEATURES, "features"), schedule=(SCHEDULE, "object"), rates=([0.1], "numbers"),
        validation_share=(0.2, "real"), seed=(0, "seed"), normalization=(None, "object"), progress=CALLBACK,
        layers=("last", "choice")),
    "fit_softmax that keeps": case(
        lambda **a: hntk.fit_softmax(net(), X, LABELS, schedule=SCHEDULE, rates=[0.1], **a).weights,
        checkpoint=(None, "path")),
    "from_model": case(lambda **a: hntk.from_model(**a).weights, model=(perceptron(), "object"), x=SAMPLES,
                       activations=({}, "object"), classes=([0, 1], "labels"), variables=(None, "object"),
                       arguments=({}, "object"), documented=(FileNotFoundError, OSError)),
    "gaussian_mixture": case(
        hntk.gaussian_mixture, means=(np.zeros((2, 3)), "samples"), covariances=([1.0, 2.0], "numbers"),
                             n=(6, "count"), key=(KEY, "key"), proportions=([0.5, 0.5], "numbers"),
                             out=(None, "object")),
    "leading_eigenpairs": case(hntk.leading_eigenpairs, operator=(KERNEL, "kernel"), k=(2, "count"),
                               tolerance=(0.0, "real"), steps=(None, "count"), seed=(0, "seed"),
                               documented=(ArithmeticError,)),
    "open_rows": case(lambda **a: hntk.open_rows(**a)[:], paths=(rows_file(), "path")),
    "load_dataset": case(
        lambda **a: hntk.load_dataset(**{"folder": archive(), **a}).x_train, name=("toy", "path"),
        classes=([0, 1], "labels"),
        n_train=(4, "count"), n_test=(4, "count"), seed=(0, "seed"), normalize=("scale", "choice")),
    "load_dataset, the folder": case(hntk.load_dataset, name=("toy", "path"), folder=("/nowhere", "path"),
                                     documented=(FileNotFoundError,)),
    "match": case(
        lambda **a: hntk.match(**a).residuals, activations=NET, tau0=SCALE, levels=(3, "count"),
        depth=(None, "count"), kernel=("alpha", "choice"),
        method=("joint", "choice"), max_shift=(None, "bound"), objective=("theory", "choice")),
    "match of bits": case(lambda bits: hntk.match(RELU, 1.0, bits=bits).residuals, bits=(2, "count")),
    "match of data": case(lambda x: hntk.match(RELU, 1.0, 2, objective="data", x=x).residuals, x=(X, "samples")),
    "Match.final_shares": case(of(matched, "final_shares"), name=("alpha1", "choice")),
    "Match.ridge_for": case(of(matched, "ridge_for"), ridge=(9.0, "real")),
    "operator_norm": case(hntk.operator_norm, kernel=(KERNEL, "kernel")),
    "plan": case(
        lambda **a: hntk.plan(**a).account, activations=NET, x=SAMPLES, labels=CLASSES, error=(9.0, "real"),
        key=(KEY, "key"),
        levels=([2], "numbers"), sparsities=([0.5], "numbers"), weights=("iid", "choice")),
    "plan for a memory": case(
        lambda memory: hntk.plan(RELU, X, LABELS, memory=memory, levels=[2], sparsities=[0.5]).account,
                              memory=(10_000, "real")),
    "plan for an accuracy": case(lambda accuracy: hntk.plan(RELU, X, LABELS, accuracy=accuracy, levels=[2], key=KEY),
                                 accuracy=(0.1, "real")),
    "reference_mixture": case(hntk.reference_mixture, n=(6, "count"), p=(3, "count"), key=(KEY, "key"),
                              separation=(3.0, "real"), spread=(3.0, "real"), out=(None, "object")),
    "register_activation": case(
        lambda **a: hntk.register_activation(**a).moments(1.0), name=("relu", "text"),
        function=(np.tanh, "function"), breakpoints=([0.1], "numbers")),
    "share_bound": case(hntk.share_bound, levels=(2, "count"), direction=(0.0, "real")),
    "sharded_kernels": case(hntk.sharded_kernels, **EXACT, devices=(None, "object")),
    "spectral_density": case(
        hntk.spectral_density, operator=(KERNEL, "kernel"), probes=(2, "count"), degree=(3, "count"),
                             seed=(0, "seed"), progress=CALLBACK, allowed=np.isnan, documented=(ArithmeticError,)),
    "SpectralDensity.mean": case(of(density, "mean"), function=(np.exp, "function")),
    "SpectralDensity.moment": case(of(density, "moment"), order=(2, "count")),
    "SpectralDensity.log_determinant": case(of(density, "log_determinant"), ridge=(9.0, "real")),
    "SpectralDensity.cdf": case(of(density, "cdf"), t=(COLUMN, "points")),
    "SpectralDensity.density": case(of(density, "density"), t=(COLUMN, "points"), width=(0.1, "real")),
    "SpectralDensity.counts": case(of(density, "counts"), edges=(COLUMN, "points"), width=(0.1, "real")),
    "spectrum": case(hntk.spectrum, kernel=(KERNEL, "kernel"), k=(2, "count")),
    "Staircase": case(hntk.Staircase, thresholds=([0.1, 0.2], "numbers"), levels=([0.0, 1.0, 2.0], "numbers"),
                      name=("own", "text")),
    "staircase": case(hntk.staircase, thresholds=([0.1, 0.2], "numbers"), levels=([0.0, 1.0, 2.0], "numbers"),
                      name=("own", "text")),
    "Surrogate": case(lambda **a: hntk.Surrogate(**a)([0.0, 1.0]), shape=(hntk.activation("tanh"), "object"),
                      width=(1.5, "real"), height=(0.5, "real")),
    "calibrated_surrogates": case(hntk.calibrated_surrogates, network=NET, tau0=SCALE),
    "surrogate": case(lambda **a: hntk.surrogate(**a)([0.0, 1.0]), which=("clipped", "choice"), width=(1.5, "real"),
                      height=(0.5, "real")),
    "stax_kernel_fn": case(hntk.stax_kernel_fn, activations=NET, tau0=SCALE),
    "store_kernels": case(hntk.store_kernels, folder=("", "path"), **EXACT, x2=SAMPLES, dtype=("float64", "choice"),
                          engine=("local", "choice"), progress=CALLBACK),
    "storage": case(hntk.storage, network=(net(), "object"), classes=(2, "count"), layers=("all", "choice")),
    "arithmetic": case(hntk.arithmetic, network=(net(), "object"), classes=(2, "count"), input_bits=(8, "count"),
                       layers=("all", "choice")),
    "summarize": case(hntk.summarize, what=(net(), "object")),
    "MixtureLaw.of": case(asymptotics.MixtureLaw.of, means=(np.zeros((2, 3)), "samples"),
                          covariances=([1.0, 2.0], "numbers"), proportions=([0.5, 0.5], "numbers")),
    "MixtureLaw.spectral": case(
        asymptotics.MixtureLaw.spectral, eigenvalues=([1.0, 2.0], "numbers"), weights=([0.5, 0.5], "numbers"),
        measures=(np.ones((1, 1, 2)), "kernel"), dimension=(4, "count"), proportions=([1.0], "numbers"),
        overlaps=([[1.0]], "kernel"), norms=([1.0], "numbers")),
    "MixtureLaw.scaled": case(of(law, "scaled"), factor=(2.0, "real")),
    "KernelCoefficients": case(asymptotics.KernelCoefficients, gram=(1.0, "real"), norms=(1.0, "real"),
                               quadratic=(1.0, "real"), shift=(1.0, "real"), scale=(1.0, "real")),
    "kernel_coefficients": case(asymptotics.kernel_coefficients, net=NET, tau0=SCALE, kernel=("ntk", "choice"),
                                kappa_sq=DIAGONAL),
    "estimate_law": case(asymptotics.estimate_law, x=SAMPLES, labels=CLASSES),
    "LimitingKernel.of": case(asymptotics.LimitingKernel.of, **LIMIT),
    "LimitingKernel.ridge_regression": case(
        of(limiting_kernel, "ridge_regression"), ridge=(0.1, "real"), targets=(np.eye(2), "kernel"),
        offset=(np.zeros(2), "numbers"), allowed=np.isnan),
    "LimitingKernel.ridge_regression of linear targets": case(
        of(limiting_kernel, "ridge_regression"), ridge=(0.1, "real"), linear=(np.linspace(1, 2, 40), "columns"),
        noise=([0.1], "numbers"), allowed=np.isnan),
    "LimitingKernel.gradient_flow": case(of(limiting_kernel, "gradient_flow"), time=(1.0, "real"), allowed=np.isnan),
    "LimitingKernel.optimal_ridge": case(
        of(limiting_kernel, "optimal_ridge"), criterion=("squared", "choice"), rounds=(0, "count")),
    "limiting_density": case(asymptotics.limiting_density, **LIMIT),
    "LimitingDensity.density": case(of(limit, "density"), x=(COLUMN, "points")),
    "LimitingDensity.cdf": case(of(limit, "cdf"), x=(COLUMN, "points")),
    "LimitingDensity.moments": case(of(limit, "moments"), k=(2, "count")),
    "LimitingDensity.quantiles": case(of(limit, "quantiles"), shares=([0.1, 0.2], "numbers")),
    "finite_size_density": case(
        asymptotics.finite_size_density, **{**LIMIT, "n": (10**16, "count")}, documented=(ArithmeticError,)),
    "FiniteSizeDensity.density": case(of(finite, "density"), x=(COLUMN, "points")),
    "FiniteSizeDensity.cdf": case(of(finite, "cdf"), x=(COLUMN, "points")),
    "FiniteSizeDensity.quantiles": case(of(finite, "quantiles"), shares=([0.1, 0.2], "numbers")),
    "spikes": case(asymptotics.spikes, **LIMIT, allowed=np.isnan),
    "ridge_regression": case(asymptotics.ridge_regression, **LIMIT, ridge=(0.1, "real"),
                             targets=(np.eye(2), "kernel"), offset=(np.zeros(2), "numbers"), allowed=np.isnan),
    "gradient_flow": case(asymptotics.gradient_flow, **LIMIT, time=(1.0, "real"),
                          targets=(np.eye(2), "kernel"), offset=(np.zeros(2), "numbers"), allowed=np.isnan),
    "optimal_ridge": case(asymptotics.optimal_ridge, law=LIMIT["law"], n=LIMIT["n"], net=NET,
                          criterion=("squared", "choice"), rounds=(0, "count")),
    "RandomFeatures": case(asymptotics.RandomFeatures, law=(law(), "object"), n=(20, "count"),
                           net=(hntk.coefficients(RELU, 1.0), "object"), weights=("gaussian", "choice")),
    "kernel_error": case(asymptotics.kernel_error, activations=NET, widths=([6], "widths"), x=SAMPLES,
                         weights=("gaussian", "choice"), tau0=SCALE),
    "RandomFeatures.best": case(
        lambda widths: asymptotics.RandomFeatures(law(), 20, hntk.coefficients(RELU, 1.0)).best(widths),
        widths=([6], "widths")),
}  # fmt: skip
# what functions return, and enumerations of them: nobody makes one by hand
RETURNED = {
    "Activation", "Applicability", "Arithmetic", "Certificate", "Classifier", "Coefficients",
    "CompressedNetwork", "Convergence", "ConvergenceError",
    "DataFit", "DataStatistics", "Dataset", "Design", "Eigenpairs", "EquivalentClassifier", "EquivalentKernels",
    "EquivalentRegression", "EquivalentRegressor", "KernelClassifier",
    "KernelRegression", "KernelRegressor", "Regressor", "RidgeRegressor",
    "Expansion", "Expansions", "FileError", "Finding", "IntegerClassifier", "IntegerNetwork", "KernelComparison",
    "Kernels", "LayerScales", "LossAccount",
    "Match", "MatchError", "MatchRecord", "Mixture", "Moments", "Network", "NotIntegerError", "OrthogonalMatrix",
    "RidgeClassifier", "RowFiles",
    "SoftmaxClassifier", "SpectralDensity", "Spectrum", "Storage", "Summary", "TaskAccuracy",
    "TrainingError", "WeightMatrix", "FiniteSizeDensity", "FiniteWidth", "Learned", "LimitingDensity", "ScoreLaw",
    "Spike", "LayerStatistics", "TrainingStatistics",
}  # fmt: skip
# tested against hostile input by tests of their own: files, whole numbers, raw samples
ELSEWHERE = {"Normalization", "load", "on_grid", "save", "to_integers"}
ELSEWHERE |= {"IntegerRegressor", "NeuronSteps", "Pixels", "PooledPixels", "Rounded", "SpacedSteps", "Steps"}
ELSEWHERE |= {"TrainingRecord"}


# what another engine is given is checked as for our own
REPEATED = {("exact_kernels by neural-tangents", argument) for argument in ("x", "x2", "tau0", "kappa_sq", "tile")}
# an argument meets every third value of its kind each time, from another one on than its neighbour, and all nightly
PARTS = 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "argument", "part"),
    [
        pytest.param(name, argument, part, marks=pytest.mark.nightly if part or (name, argument) in REPEATED else ())
        for name, tried in CASES.items()
        for argument in tried.kinds
        for part in range(PARTS)
    ],
)
def test_a_hostile_value_is_refused_with_a_remedy_or_gives_a_finite_result(name: str, argument: str, part: int) -> None:
    tried = CASES[name]
    wrong = []
    first = (part + crc32(f"{name} {argument}".encode())) % PARTS
    for value in VALUES[tried.kinds[argument]][first::PARTS]:
        found = verdict(lambda value=value: tried(**{argument: value}), argument, tried.allowed, tried.documented)
        wrong += [] if found is None else [f"{argument}={value!r:.60}: {found}"]
    assert not wrong, "\n".join(wrong)


def test_every_public_name_is_tried() -> None:
    tried = {name.split(".")[0].split(" ")[0].rstrip(",") for name in CASES}
    public = {name for module in (hntk, asymptotics) for name in module.__all__} - {"asymptotics"}
    assert public <= tried | RETURNED | ELSEWHERE, sorted(public - tried - RETURNED - ELSEWHERE)
    assert not (ELSEWHERE | RETURNED) - public
