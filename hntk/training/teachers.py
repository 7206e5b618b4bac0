"""Teachers: outputs of another model that a network is trained to follow.

A softmax compares logits. A teacher that is an array or a function is taken at its word. Scores of a classifier may be
in any unit, such as those of a regression on one-hot rows: they are multiplied by the number with which their
cross-entropy is least on the validation samples, or on the training samples if none are held out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jax import Array
from jaxtyping import Float, Real

from hntk._utils.arrays import brief, finite_array
from hntk.networks.integer_inputs import Rounded
from hntk.networks.integer_regressor import IntegerRegressor
from hntk.networks.models.reading import from_model, is_model
from hntk.training.kernel_teacher import kernel_outputs
from hntk.training.model_outputs import class_columns
from hntk.training.samples import TrainingData

KERNEL = "kernel"
# samples shown to a teacher at a time
BLOCK = 4096
# probabilities below are taken for this one
LEAST_PROBABILITY = 1e-7
# factors of scores that are tried, in units of one over their deviation, as powers of e
FACTORS = (-6.0, 6.0)
WANTED = (
    "teacher must be logits of shape (n, K), a function of raw samples that gives them, a classifier of hntk or "
    "scikit-learn, a model that hntk.from_model reads, or 'kernel'"
)


class TeacherSignal(NamedTuple):
    """Outputs of a teacher, as the loss takes them.

    Attributes
    ----------
    logits : (n, K) array or None
        Outputs for the training samples, where they are known beforehand.
    live : callable or None
        Maps raw samples of a batch to (batch, K) outputs inside a compiled step, where they are not.
    name : str or None
        What the teacher is, for the record; None without one.
    """

    logits: Float[np.ndarray, "n K"] | None = None
    live: Callable | None = None
    name: str | None = None


class Source(NamedTuple):
    """A teacher as a function.

    Attributes
    ----------
    outputs : callable
        Maps raw samples to (n, K) outputs, in the teacher's order of classes.
    classes : array or None
        Its labels, where it knows any.
    scored : bool
        Whether outputs are scores in an unknown unit.
    name : str
        What the teacher is.
    """

    outputs: Callable[[Any], Any]
    classes: Any
    scored: bool
    name: str


def teacher_signal(teacher: Any, data: TrainingData, *, augmented: bool) -> TeacherSignal:
    """Return what a training learns of its teacher.

    Parameters
    ----------
    teacher : array, callable, classifier, model, "kernel" or None
        Logits of all samples that were given, one column for each class in sorted order, or outputs in the units of
        the targets. Or a function of raw samples that gives those. Or what has ``scores``, ``decision_function``,
        ``predict_proba`` or, for a regression, ``predict``, such as a classifier of hntk or an estimator of
        scikit-learn; it is given raw samples. ``"kernel"`` is kernel ridge regression by the exact NTK of a ReLU
        network, see :mod:`hntk.training.kernel_teacher`. None for no teacher.
    data : TrainingData
        Samples of the training.
    augmented : bool
        Whether samples are augmented. A teacher that JAX can trace is then shown the augmented pixels, in every step;
        all augmentations of a sample share the outputs of the sample itself for other teachers, and where samples are
        no pixels.

    Returns
    -------
    TeacherSignal
        Its outputs; those of a regression are standardised like its targets.

    Raises
    ------
    ValueError
        If this is no teacher, it has other classes or outputs, or outputs that are not finite, or it fails on samples.
    """
    if teacher is None:
        return TeacherSignal()
    if isinstance(teacher, str):
        return TeacherSignal(_kernel_logits(teacher, data), name=KERNEL)
    source = _source(teacher)
    if source is None:
        return TeacherSignal(_given(teacher, data), name="logits")
    told = _shown(source, data.training.raw, data)
    factor = _factor(source, told, data) if source.scored and data.classes is not None else 1.0
    if augmented and not isinstance(data.inputs, Rounded):
        live = _live(source, factor, data)
        if live is not None:
            return TeacherSignal(live=live, name=source.name)
    return TeacherSignal(_standardised(told * factor, data), name=source.name)


def _kernel_logits(name: str, data: TrainingData) -> Float[np.ndarray, "n K"]:
    if name != KERNEL:
        raise ValueError(f"{WANTED}; got {name!r}.")
    told = kernel_outputs(data)
    factor = 1.0
    if data.classes is not None:
        parts = (told.held, data.held.targets) if len(told.held) else (told.training, data.training.targets)
        factor = calibrated_factor(*parts)
    return (told.training * factor).astype(np.float32)


def _source(teacher: Any) -> Source | None:
    """Return a teacher as a function; None if it is an array."""
    if is_model(teacher) and not hasattr(teacher, "predict"):
        teacher = from_model(teacher)
    name = type(teacher).__name__
    classes = getattr(teacher, "classes", getattr(teacher, "classes_", None))
    # whole scores of a regressor are in units of its own
    if hasattr(teacher, "scores") and not issubclass(type(teacher), IntegerRegressor):
        raw = getattr(teacher, "normalization", None) is not None
        return Source(lambda x: teacher.scores(x, raw=True) if raw else teacher.scores(x), classes, True, name)
    if hasattr(teacher, "predict_proba"):
        return Source(lambda x: np.log(np.maximum(teacher.predict_proba(x), LEAST_PROBABILITY)), classes, False, name)
    if hasattr(teacher, "decision_function"):
        return Source(lambda x: _two_columns(teacher.decision_function(x)), classes, True, name)
    if hasattr(teacher, "predict"):
        return Source(lambda x: np.reshape(teacher.predict(x), (len(x), -1)), None, False, name)
    return Source(teacher, None, False, getattr(teacher, "__name__", name)) if callable(teacher) else None


def _two_columns(decisions: Any) -> np.ndarray:
    """Return one column a class; estimators of two classes give the second one's alone."""
    values = np.asarray(decisions)
    return values if values.ndim == 2 else np.stack([np.zeros_like(values), values], axis=1)


def _given(teacher: Any, data: TrainingData) -> Float[np.ndarray, "n K"]:
    if not isinstance(teacher, np.ndarray | Array | list | tuple):
        raise ValueError(f"{WANTED}; got {brief(teacher)}.")
    given = finite_array(teacher, "teacher")
    if given.ndim != 2 or given.shape[1] != data.outputs or given.shape[0] <= data.kept.max():
        raise ValueError(
            f"teacher must have one row for each row of x and {data.outputs} columns, one for each class or target; "
            f"got {brief(teacher)}: give logits in the order of the sorted labels."
        )
    return _standardised(given[data.kept], data)


def _shown(source: Source, raw: Real[np.ndarray, "n p"], data: TrainingData) -> Float[np.ndarray, "n K"]:
    """Return a teacher's outputs for raw samples, in the order of the classes of the training."""
    columns = class_columns(source.classes, data, f"the teacher {source.name}")
    count = data.outputs if source.classes is None else np.size(source.classes)
    parts = []
    for start in range(0, len(raw), BLOCK):
        block = raw[start : start + BLOCK]
        try:
            told = np.asarray(source.outputs(block), np.float64)
        except Exception as error:  # a teacher may raise anything
            raise ValueError(
                f"the teacher {source.name} fails on samples of shape {block.shape} and type {block.dtype}: {error}. "
                "It is given raw samples: give a function of them, or its logits."
            ) from error
        if told.shape != (len(block), count):
            raise ValueError(
                f"the teacher {source.name} gives outputs of shape {told.shape} for {len(block)} samples, not "
                f"{(len(block), count)}: there must be one column for each class in sorted order, or target."
            )
        parts.append(told[:, columns])
    return finite_array(np.concatenate(parts), f"the outputs of the teacher {source.name}")


def _factor(source: Source, told: Float[np.ndarray, "n K"], data: TrainingData) -> float:
    if not len(data.held.targets):
        return calibrated_factor(told, data.training.targets)
    return calibrated_factor(_shown(source, data.held.raw, data), data.held.targets)


def calibrated_factor(scores: Float[np.ndarray, "n K"], targets: Any) -> float:
    """Return the positive number by which scores are to be multiplied for the least cross-entropy.

    Parameters
    ----------
    scores : (n, K) array
        Scores of samples.
    targets : (n,) array of int
        Their classes.

    Returns
    -------
    float
        From exp(−6) to exp(6) over the deviation of the scores within a sample.
    """
    unit = float(np.std(scores - scores.mean(axis=1, keepdims=True))) or 1.0
    own = np.arange(len(scores))

    def entropy(power: float) -> float:
        return -float(np.mean(scipy.special.log_softmax(scores * (np.exp(power) / unit), axis=1)[own, targets]))

    least: Any = scipy.optimize.minimize_scalar(entropy, bounds=FACTORS, method="bounded")
    return float(np.exp(least.x) / unit)


def _live(source: Source, factor: float, data: TrainingData) -> Callable[[Array], Array] | None:
    """Return the teacher as a function inside a compiled step; None if JAX cannot trace it."""
    columns = class_columns(source.classes, data, f"the teacher {source.name}")

    def told(raw: Array) -> Array:
        outputs = jnp.asarray(source.outputs(raw))[:, columns] * factor
        if data.centre is None or data.spread is None:
            return outputs.astype(jnp.float32)
        return ((outputs - data.centre) / data.spread).astype(jnp.float32)

    try:
        jax.eval_shape(told, jax.ShapeDtypeStruct((2, data.training.raw.shape[1]), jnp.float32))
    except Exception:  # NumPy's and others' functions refuse tracers with errors of many kinds
        return None
    return told


def _standardised(outputs: Float[np.ndarray, "n K"], data: TrainingData) -> Float[np.ndarray, "n K"]:
    if data.centre is not None and data.spread is not None:
        outputs = (outputs - data.centre) / data.spread
    return outputs.astype(np.float32)
