"""PyTorch: modules, read from the graph that torch.fx traces through their own forward functions."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from hntk.networks.models.chain import Chain, Value, normalised
from hntk.networks.models.records import POINTS, refuse
from hntk.networks.models.source import Options, Source, refuse_options, words

ARITHMETIC = {"add": "add", "sub": "sub", "subtract": "sub", "mul": "mul", "multiply": "mul", "div": "div"}
ARITHMETIC |= {"truediv": "div"}
UNCHANGED = words("contiguous detach clone float double squeeze")
FLATTENING = words("flatten view reshape")
SOFTMAX = frozenset(["softmax", "log_softmax"])
# activations of torch.nn that combine neurons
COMBINING = frozenset(["GLU", "MultiheadAttention", "Softmin", "Softmax2d"])
TRAINING = ("it is in training mode", "call model.eval()")


def read(model: Any, options: Options) -> Source:
    """Read a module of PyTorch.

    Parameters
    ----------
    model : torch.nn.Module
        The module; dropout and batch normalisation in evaluation mode.
    options : Options
        No variables.

    Returns
    -------
    Source
        The model.

    Raises
    ------
    ValueError
        If the module is no chain of dense layers, or torch.fx cannot follow its forward function.
    """
    # installed, as a module of it is given
    torch, fx = import_module("torch"), import_module("torch.fx")
    refuse_options(options, "a torch module")
    model = getattr(model, "_orig_mod", model)
    for name, module in model.named_modules():
        if any("Uninitialized" in type(part).__name__ for part in module.parameters(recurse=False)):
            refuse(name, "it has no parameters yet", "run the model on some samples once")
        if module._forward_hooks or module._forward_pre_hooks:
            refuse(name or type(model).__name__, "it has hooks, which may change what it computes", "remove them")
    try:
        graph = fx.Tracer().trace(model)
    except Exception as error:  # a module's own forward may raise anything
        raise ValueError(
            f"torch.fx cannot follow the forward function of {type(model).__name__}: {error}. Give a module without "
            "conditions on its input, or export it with torch.onnx.export and give the file."
        ) from error
    reading = _Graph(torch, model)
    return Source(reading.run(graph), reading.outputs)


class _Graph:
    """The reading of one graph, node by node."""

    def __init__(self, torch: Any, model: Any) -> None:
        self._torch, self._model, self.chain = torch, model, Chain()
        self._modules = dict(model.named_modules())
        self._readers: list[tuple[Any, Callable[[Value, str, Any], Value]]] = [
            (torch.nn.Linear, self._linear),
            (torch.nn.Identity, lambda value, name, module: value),
            (torch.nn.modules.dropout._DropoutNd, self._dropout),
            (torch.nn.modules.batchnorm._BatchNorm, self._batch_norm),
            (torch.nn.Flatten, lambda value, name, module: self._flat(value, name, module.start_dim)),
            (torch.nn.Softmax, lambda value, name, module: self._softmax(value, name, module.dim, "softmax")),
            (torch.nn.LogSoftmax, lambda value, name, module: self._softmax(value, name, module.dim, "log_softmax")),
        ]

    def run(self, graph: Any) -> Chain:
        """Return the chain of a graph."""
        values: dict[Any, Any] = {}
        for node in graph.nodes:
            given = self._torch.fx.node.map_arg((node.args, dict(node.kwargs)), values.__getitem__)
            args, kwargs = given
            if node.op == "placeholder":
                values[node] = self._placeholder(node, first=not values)
            elif node.op == "get_attr":
                values[node] = operator.attrgetter(node.target)(self._model)
            elif node.op == "call_module":
                values[node] = self._module(args[0], node.target)
            elif node.op == "output":
                return self._ended(args[0])
            else:
                values[node] = self._call(node, args, kwargs)
        raise ValueError("the model returns nothing.")

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """Return the model's outputs."""
        like = next(self._model.parameters(), self._torch.zeros(()))
        with self._torch.no_grad():
            return self._model(self._torch.tensor(x).to(like)).double().cpu().numpy()

    def _ended(self, output: Any) -> Chain:
        if not isinstance(output, Value):
            raise ValueError(f"the model returns {type(output).__name__}, not one array: give one that returns scores.")
        return self.chain.close(output)

    def _placeholder(self, node: Any, *, first: bool) -> Any:
        if first:
            return self.chain.input
        if not node.args:
            refuse(str(node.target), "it is a second input", "only models of one input can be read")
        return node.args[0]

    def _module(self, value: Any, name: str) -> Value:
        module = self._modules[name]
        if not isinstance(value, Value):
            refuse(name, "it does not take the model's input", "only chains can be read")
        for kind, reader in self._readers:
            if isinstance(module, kind):
                return reader(value, name, module)
        activation = type(module).__module__ == "torch.nn.modules.activation"
        if not activation or type(module).__name__ in COMBINING:
            refuse(name, f"it is a {type(module).__name__}", "only chains of dense layers can be read")
        if module.training and type(module).__name__ == "RReLU":
            refuse(name, *TRAINING)
        if sum(part.numel() for part in module.parameters()) > 1:
            refuse(name, "its function has other numbers for each neuron", "give one for all")
        function = copy.deepcopy(module).double()
        return self.chain.apply(name, lambda t: self._on_tensors(function, [t], {}), value)

    def _call(self, node: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Read a function or a method."""
        name = node.target if isinstance(node.target, str) else node.target.__name__
        name = name.rstrip("_") if not name.startswith("_") else name
        values = [part for part in (*args, *kwargs.values()) if isinstance(part, Value)]
        inside = [part for more in args if isinstance(more, list | tuple) for part in more]
        if any(isinstance(part, Value) for part in inside):
            refuse(node.name, f"it computes {name!r} of a list", "only chains of dense layers can be read")
        if not values:
            return self._without_input(node, args, kwargs)
        value, label = values[0], node.name
        if name in ("linear", "matmul") and isinstance(args[0], Value) and len(values) == 1:
            matrix = _numbers(args[1]) if name == "linear" else _numbers(args[1]).T
            bias = (args[2] if len(args) > 2 else kwargs.get("bias")) if name == "linear" else None
            return self.chain.dense(value, label, matrix, None if bias is None else _numbers(bias))
        if name in UNCHANGED:
            return value
        if name in FLATTENING:
            return self._flat(value, label, _flattened_from(name, args[1:], kwargs, self.chain.width))
        if name in ("dropout", "alpha_dropout"):
            training = args[2] if len(args) > 2 else kwargs.get("training", name == "dropout")
            return refuse(label, *TRAINING) if training else value
        if name in SOFTMAX:
            return self._softmax(value, label, args[1] if len(args) > 1 else kwargs.get("dim"), name)
        if name in ("getattr", "size", "dim"):
            return _SIZE
        return self._elementwise(node, name, args, kwargs)

    def _without_input(self, node: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        if any(part is _SIZE for part in (*args, *kwargs.values())):
            return _SIZE
        target = node.target
        return getattr(args[0], target)(*args[1:], **kwargs) if node.op == "call_method" else target(*args, **kwargs)

    def _elementwise(self, node: Any, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Value:
        values = [part for part in args if isinstance(part, Value)]
        tensors = [part for part in args if isinstance(part, self._torch.Tensor) and part.numel() > 1]
        if tensors and len(values) == 1 and name in ARITHMETIC and not kwargs:
            vector = np.squeeze(_numbers(tensors[0], node.name))
            behind = isinstance(args[1], Value)
            return self.chain.arithmetic(values[0], node.name, ARITHMETIC[name], vector, behind=behind)
        if tensors:
            refuse(node.name, "its function has other numbers for each neuron", "give one for all")
        function = node.target
        if isinstance(function, str):
            method = function
            function = lambda t, *rest, **named: getattr(t, method)(*rest, **named)  # noqa: E731

        def of_arrays(*arrays: np.ndarray) -> np.ndarray:
            queue = iter(arrays)
            return self._on_tensors(function, [next(queue) if isinstance(a, Value) else a for a in args], kwargs)

        if not _is_elementwise(of_arrays, len(values)):
            refuse(node.name, f"it computes {name!r}", "only chains of dense layers can be read")
        return self.chain.apply(node.name, of_arrays, *values)

    def _on_tensors(self, function: Callable, args: Sequence[Any], kwargs: dict[str, Any]) -> np.ndarray:
        """Return a function's values in float64; of copies, as a function may work in place."""
        torch = self._torch
        given = [
            torch.tensor(np.ascontiguousarray(a), dtype=torch.float64) if isinstance(a, np.ndarray) else a for a in args
        ]
        with torch.no_grad():
            return function(*given, **kwargs).numpy()

    def _linear(self, value: Value, name: str, module: Any) -> Value:
        bias = None if module.bias is None else _numbers(module.bias, name)
        return self.chain.dense(value, name, _numbers(module.weight, name), bias)

    def _dropout(self, value: Value, name: str, module: Any) -> Value:
        return refuse(name, *TRAINING) if module.training and module.p > 0 else value

    def _batch_norm(self, value: Value, name: str, module: Any) -> Value:
        if module.training or module.running_mean is None:
            refuse(name, "it normalises by the statistics of each batch", TRAINING[1])
        parts = (module.weight, module.bias, module.running_mean, module.running_var)
        numbers = [None if part is None else _numbers(part, name) for part in parts]
        return self.chain.affine(value, name, *normalised(numbers, module.eps))

    def _flat(self, value: Value, name: str, start: int) -> Value:
        if start != 1:
            refuse(name, "it mixes samples", "flatten from dimension 1 on")
        return value

    def _softmax(self, value: Value, name: str, dim: int | None, link: str) -> Value:
        if dim not in (None, 1, -1):
            refuse(name, f"it works along dimension {dim}", "use dim=-1")
        return self.chain.last(value, name, link)


# what stands for sizes of the input, which depend on the number of samples
_SIZE = object()


def _is_elementwise(function: Callable[..., np.ndarray], count: int) -> bool:
    """Return whether a function of as many arrays takes them number by number."""
    points = POINTS.reshape(-1, 5)
    try:
        whole = function(*(points,) * count)
        parts = [function(*(part,) * count) for part in (points[:3, 1:], points[::-1, ::-1])]
    except Exception:  # of any function there is
        return False
    expected = [whole[:3, 1:], whole[::-1, ::-1]] if whole.shape == points.shape else []
    return len(expected) == 2 and all(
        part.shape == same.shape and np.array_equal(part, same) for part, same in zip(parts, expected, strict=True)
    )


def _numbers(tensor: Any, name: str = "") -> np.ndarray:
    """Return a tensor's numbers, which must be of float32 or float64."""
    kind = str(getattr(tensor, "dtype", ""))
    if kind not in ("torch.float32", "torch.float64"):
        refuse(name, f"its parameters are of the type {kind}", "call model.float()")
    return tensor.detach().cpu().double().numpy()


def _flattened_from(name: str, sizes: Sequence[Any], kwargs: dict[str, Any], width: int) -> int:
    """Return the first dimension that is flattened: 1 where samples stay apart."""
    if name == "flatten":
        return sizes[0] if sizes else kwargs.get("start_dim", 0)
    shape = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], list | tuple) else sizes
    keeps = len(shape) == 2 and (shape[0] is _SIZE or shape[0] == -1) and (not width or shape[1] in (-1, width))
    return 1 if keeps and not (shape[0] == -1 and shape[1] == -1) else 0
