r"""Networks of hntk made of models that other frameworks have trained.

A layer of a model, $u = W_{\rm model}h + b_{\rm model}$, is $u = \sigma_wWh/\sqrt d + \sigma_bb$ with entries of W and
b of mean square 1: $\sigma_w$ is the root mean square of $\sqrt d\,W_{\rm model}$, and of $W_{\rm model}$ in the first
layer, which takes x and not $\sqrt p\,x$. The readout of $h_L/\sqrt{d_L}$ is $\sqrt{d_L}$ times the model's last layer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from math import sqrt
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy

from hntk._utils.arguments import as_instance
from hntk._utils.arrays import brief, finite_array
from hntk._utils.labels import label_array
from hntk.activations import Activation
from hntk.networks.classifier import Classifier
from hntk.networks.models import (
    equinox_modules,
    flax_linen,
    flax_nnx,
    keras_models,
    onnx_models,
    sklearn_mlps,
    torch_modules,
)
from hntk.networks.models.folding import FoldedModel, fold
from hntk.networks.models.recognition import is_sigmoid, recognise
from hntk.networks.models.records import Dense, Elementwise, refuse
from hntk.networks.models.source import Options, Source
from hntk.networks.network import Network
from hntk.theory.architecture import LayerScales
from hntk.weights.weight_matrix import WeightMatrix

Reader = Callable[[Any, Options], Source]
# Readers by the beginning of the module that a model's class, or a class that it extends, is defined in. Keras is
# first, as its models extend torch's modules where torch computes them.
READERS: dict[str, Reader] = {
    "keras": keras_models.read,
    "torch": torch_modules.read,
    "flax.linen": flax_linen.read,
    "flax.nnx": flax_nnx.read,
    "equinox": equinox_modules.read,
    "sklearn": sklearn_mlps.read,
    "onnx": onnx_models.read,
}
# functions at the end of models, of scores
LINKS: dict[str | None, Callable[[np.ndarray], np.ndarray]] = {
    None: np.asarray,
    "softmax": lambda scores: scipy.special.softmax(scores, axis=1),
    "log_softmax": lambda scores: scipy.special.log_softmax(scores, axis=1),
    "sigmoid": lambda scores: scipy.special.expit(scores),
}
# largest difference of outputs on samples, relative to the largest output, that float32 explains
ROUNDING = 1e-4


def from_model(
    model: Any,
    variables: Any = None,
    *,
    x: object = None,
    activations: Mapping[str, object] | None = None,
    classes: object = None,
    arguments: Mapping[str, object] | None = None,
) -> Classifier:
    """Read a trained model: its dense layers, biases and activations become a network with a readout.

    Models may be chains of dense layers and activations, from PyTorch (modules that torch.fx can follow), Flax linen,
    Flax NNX, Equinox, Keras (sequential and functional models), scikit-learn (``MLPClassifier`` and ``MLPRegressor``,
    alone or behind scalers in a pipeline) and ONNX. What a model computes is read, so that a forward function of its
    own does no harm. Batch normalisation in inference is folded into the dense layer before or behind it, dropout in
    inference is left out, and activations are recognised by their values. A softmax or sigmoid at the end is no part
    of the scores. Scores equal the model's to the rounding of float32.

    Parameters
    ----------
    model : module, model, estimator or path
        The model, in inference: a torch.nn.Module, flax.linen.Module, flax.nnx.Module, equinox.Module, keras.Model, an
        estimator of scikit-learn, an onnx.ModelProto or the path of an ONNX file.
    variables : pytree, optional
        Variables of a Flax linen module, or its parameters; the state of an Equinox module that has one.
    x : (n, ...) array, optional
        Samples as the model takes them. They give the shape of a sample where the model does not, and outputs of the
        model on them are compared with those of what was read.
    activations : mapping of str to activation, optional
        Activations for functions that hntk does not know, by the name that the error gives. Values are compared with
        the function's.
    classes : array of shape (K,), optional
        Labels in the order of the model's outputs. By default those that the model knows, or 0, …, K − 1.
    arguments : mapping of str to object, optional
        Further arguments of a Flax or Equinox model's forward function, such as ``{"train": False}``.

    Returns
    -------
    Classifier
        The network of the hidden layers with the model's last layer as its readout. Each output has its column of
        scores. A model with one output for two classes (a sigmoid at the end, or two labels) has the columns (0, z), z
        being the model's score, so that the largest score wins. A regressor's scores are its outputs, and its classes
        count them.

    Raises
    ------
    ImportError
        If a package is missing that reading the model needs.
    OSError
        If there is no such file.
    ValueError
        If the model is of another kind, or has a layer that cannot be read: a convolution, attention, layer
        normalisation, a residual connection, dropout or batch normalisation in training, an unknown activation,
        parameters that are not finite or do not fit. The message names the layer, and says what to do.

    Examples
    --------
    >>> import numpy as np, onnx, hntk
    >>> rng = np.random.default_rng(0)
    >>> shapes = {"W1": (20, 64), "b1": (64,), "W2": (64, 3)}
    >>> constants = [onnx.numpy_helper.from_array(rng.normal(size=s).astype("f"), n) for n, s in shapes.items()]
    >>> nodes = [("MatMul", ["x", "W1"]), ("Add", ["u", "b1"]), ("Relu", ["v"]), ("MatMul", ["h", "W2"])]
    >>> nodes = [onnx.helper.make_node(op, i, [o]) for (op, i), o in zip(nodes, "uvhy")]
    >>> ends = [onnx.helper.make_tensor_value_info(n, 1, ["n", d]) for n, d in (("x", 20), ("y", 3))]
    >>> model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "mlp", ends[:1], ends[1:], constants))
    >>> classifier = hntk.from_model(model, classes=["cat", "dog", "owl"])
    >>> classifier.network.architecture.depth, classifier.classes.tolist()
    (1, ['cat', 'dog', 'owl'])
    """
    reader, samples = _reader(model), None if x is None else _samples(x)
    given, more = (
        as_instance({} if part is None else part, name, Mapping, "a dictionary with names as its keys")
        for part, name in ((activations, "activations"), (arguments, "arguments"))
    )
    source = reader(model, Options(variables, samples, dict(more)))
    records, link = list(source.chain.records), source.chain.link
    if records and isinstance(records[-1], Elementwise) and is_sigmoid(records[-1]):
        records, link = records[:-1], "sigmoid"
    folded = fold(records)
    network = _network(folded, _activations(folded, given))
    weights, offset = sqrt(network.widths[-1]) * folded.weights, folded.offset
    labels, two = _labels(classes, source.classes, len(offset), link)
    if two:
        weights, offset = (np.concatenate([np.zeros_like(part), part], axis=-1) for part in (weights, offset))
    classifier = Classifier(network, labels, weights, offset)
    if samples is not None:
        _compare(classifier, source, samples, link, len(folded.offset))
    return classifier


def is_model(given: Any) -> bool:
    """Return whether an object is a model of a framework that :func:`from_model` knows."""
    return _package(given) is not None


def _package(model: Any) -> str | None:
    """Return the key of a model's reader, by the packages of its class and of the classes that it extends."""
    modules = [] if isinstance(model, type) else [f"{kind.__module__}." for kind in type(model).__mro__]
    return next((name for name in READERS if any(module.startswith(f"{name}.") for module in modules)), None)


def _reader(model: Any) -> Reader:
    package = "onnx" if isinstance(model, str | os.PathLike) else _package(model)
    if package is not None:
        return READERS[package]
    raise ValueError(
        "model must be a model of torch, Flax (linen or NNX), Equinox, Keras or scikit-learn, or an ONNX model or the "
        f"path of its file; got {brief(model)}."
    )


def _samples(x: object) -> np.ndarray:
    """Return samples of any shape, in float64."""
    samples = finite_array(x, "x")
    if samples.ndim < 2 or not samples.size:
        raise ValueError(f"x must be samples as the model takes them, one a row; got shape {samples.shape}.")
    return samples


def _activations(folded: FoldedModel, given: Mapping[str, object]) -> tuple[Activation, ...]:
    names = [function.name for _, function in folded.layers]
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ValueError(f"activations= names {unknown}, but the functions of the model are {names}.")
    return tuple(recognise(function, given) for _, function in folded.layers)


def _network(folded: FoldedModel, activations: tuple[Activation, ...]) -> Network:
    """Return the hidden layers with standard weights and biases, and their scales."""
    weights, biases, scales = [], [], []
    for number, (dense, _) in enumerate(folded.layers):
        factor = sqrt(dense.weights.shape[1]) if number else 1.0
        size, bias_std = factor * _rms(dense.weights), _rms(dense.bias)
        if not size:
            refuse(dense.name, "all its weights are 0", "leave out a layer that passes nothing on")
        values = _to_float32(dense, dense.weights)
        # the model's own numbers, which the scales turn into themselves
        weights.append(WeightMatrix(jnp.asarray(values, values.dtype), factor / size))
        biases.append(jnp.asarray(_to_float32(dense, dense.bias / bias_std)) if bias_std else None)
        scales.append(LayerScales(size, bias_std, 0.0))
    centres = (0.0,) * len(weights)
    return Network(tuple(weights), activations, centres, None, None, biases=tuple(biases), scales=tuple(scales))


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _to_float32(dense: Dense, values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        made = values.astype(np.float32)
    if not np.all(np.isfinite(made)):
        refuse(dense.name, "its parameters are beyond float32", "rescale them")
    return made


def _labels(given: object, known: object, outputs: int, link: str | None) -> tuple[np.ndarray, bool]:
    """Return a label for each column of scores, and whether one output stands for two classes."""
    chosen = known if given is None else given
    if chosen is None:
        two = outputs == 1 and link == "sigmoid"
        return np.arange(2 if two else outputs), two
    labels = label_array(chosen, name="classes")
    two = outputs == 1 and len(labels) == 2
    if len(labels) != (2 if two else outputs) or len(np.unique(labels)) != len(labels):
        raise ValueError(
            f"classes must be {outputs} different labels, one for each output of the model"
            f"{', or two for its one output' if outputs == 1 else ''}; got {brief(labels.tolist())}."
        )
    return labels, two


def _compare(classifier: Classifier, source: Source, x: np.ndarray, link: str | None, outputs: int) -> None:
    """Refuse what was read if its outputs on samples are not the model's."""
    try:
        expected = np.asarray(source.run(x), np.float64).reshape(len(x), -1)
    except Exception as error:  # a model may raise anything
        raise ValueError(f"the model fails on x: {error}. Give samples of the shape that it takes.") from error
    found = LINKS[link](np.asarray(classifier.scores(x.reshape(len(x), -1)), np.float64)[:, -outputs:])
    if found.shape != expected.shape:
        raise ValueError(f"the model gives outputs of shape {expected.shape} for x, but {found.shape} were read.")
    distance = float(np.max(np.abs(found - expected)) / (np.max(np.abs(expected)) + 1e-300))
    if not distance <= ROUNDING:
        raise ValueError(
            f"what was read differs from the model on x by {distance:.1e} of its largest output: the model computes "
            "something that its layers do not show. Put it in inference, or export it to ONNX and give that."
        )
