"""Programs of JAX followed operation by operation.

Operations that take no sample are evaluated. Those that do must be products with matrices, functions of single numbers,
and changes of shape that keep each sample's numbers in order. Layers are named by their parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hntk.networks.models.chain import Chain, Value
from hntk.networks.models.records import refuse
from hntk.networks.models.source import words

BATCH = 2
ELEMENTWISE = words(
    "abs add and atan2 cbrt ceil clamp cos cosh div eq erf erf_inv erfc exp exp2 expm1 floor ge gt integer_pow "
    "is_finite le log log1p logistic lt max min mul ne neg not or pow rem round rsqrt select_n sign sin sinh sqrt "
    "square sub tan tanh"
)
SHAPES = words("reshape squeeze broadcast_in_dim expand_dims copy stop_gradient")
# operations that run a program within the program, which they keep under one of two names
CALLS = words("jit pjit closed_call core_call custom_jvp_call custom_vjp_call remat remat2 checkpoint")
PROGRAMS = ("jaxpr", "call_jaxpr")
SOFTMAX = {"softmax": jax.nn.softmax, "log_softmax": jax.nn.log_softmax}
WHY_NOT = {
    "conv_general_dilated": ("it is a convolution", "only dense layers can be read"),
    "reduce": (
        "it combines samples or neurons, as layer normalisation does and batch normalisation in training",
        "put the model in inference (model.eval(), use_running_average=True, deterministic=True); layer normalisation "
        "cannot be read",
    ),
    "convert_element_type": ("it computes in a type other than float32 and float64", "give a model of float32"),
    "random": (
        "it draws random numbers, as dropout does in training",
        "put the model in inference: model.eval(), deterministic=True or eqx.nn.inference_mode(model)",
    ),
    "dot_general": (
        "it multiplies two functions of the input, as attention does, or acts on the last axis of a larger array",
        "only dense layers that take (n, p) samples can be read",
    ),
}


@dataclass(frozen=True)
class Tail:
    """Numbers behind the first operation that combines neurons, for one random argument: softmax is known by them.

    Attributes
    ----------
    array : array
        The numbers.
    """

    array: Any


@dataclass(frozen=True)
class Known:
    """Numbers that depend on parameters alone.

    Attributes
    ----------
    array : array
        The numbers.
    name : str
        Path of the parameter; empty for other numbers.
    random : bool
        Whether random numbers have a part in them.
    """

    array: Any
    name: str = ""
    random: bool = False


class Program:
    """The reading of one program, operation by operation."""

    def __init__(self, batched: bool) -> None:
        self.chain, self._batched = Chain(of_jax=True), batched
        # name of the last layer with parameters, and of the function that is being followed
        self._last, self._called = "the input", ""
        # the value that the first operation that combines neurons has, an argument for it, and that operation's name
        self._combined: Value | None = None
        self._sample: Any = None
        self._combining = ""

    def run(self, program: Any, consts: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
        """Return what the program's outputs are, given its constants and arguments."""
        values: dict[Any, Any] = dict(zip(program.constvars, consts, strict=True))
        values |= dict(zip(program.invars, arguments, strict=True))

        def value_of(part: Any) -> Any:
            return Known(part.val) if hasattr(part, "val") else values[part]

        for operation in program.eqns:
            given = [value_of(part) for part in operation.invars]
            values.update(zip(operation.outvars, self._outputs(operation, given), strict=True))
        return [value_of(part) for part in program.outvars]

    def _outputs(self, operation: Any, given: list[Any]) -> Sequence[Any]:
        name, params = operation.primitive.name, operation.params
        if name in CALLS:
            return self._called_outputs(operation, given)
        if all(isinstance(value, Known) for value in given):
            return _evaluated(operation, given)
        if any(isinstance(value, Known) and value.random for value in given):
            refuse(self._name(operation, "dropout", given), *WHY_NOT["random"])
        if any(isinstance(value, Tail) for value in given):
            return self._behind(operation, given)
        if name == "dot_general":
            return [self._product(operation, given)]
        if name in ELEMENTWISE:
            return [self._elementwise(operation, given)]
        if name in SHAPES or (name == "convert_element_type" and _keeps_precision(params["new_dtype"])):
            return [self._shaped(operation, given)]
        if "reduce" in name and self.chain.width:
            return self._combine(operation, given)
        key = next((key for key in WHY_NOT if name.startswith(key)), None)
        reason, remedy = WHY_NOT.get(key or "", (f"it computes {name!r}", "only chains of dense layers can be read"))
        return refuse(self._name(operation, name, given), reason, remedy)

    def _called_outputs(self, operation: Any, given: list[Any]) -> Sequence[Any]:
        """Follow a program within the program."""
        called, outer = str(operation.params.get("name", "")), self._called
        inner = next(operation.params[key] for key in PROGRAMS if key in operation.params)
        consts = [Known(const) for const in getattr(inner, "consts", ())]
        self._called = outer or called
        outputs = self.run(getattr(inner, "jaxpr", inner), consts, given)
        self._called = outer
        return outputs

    def _combine(self, operation: Any, given: list[Any]) -> Sequence[Any]:
        """Begin to compute what the model ends in on a random argument."""
        place, self._combined = next((n, value) for n, value in enumerate(given) if isinstance(value, Value))
        shape = operation.invars[place].aval.shape
        self._sample = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
        self._combining = self._name(operation, operation.primitive.name)
        return self._behind(operation, given)

    def _behind(self, operation: Any, given: list[Any]) -> Sequence[Any]:
        """Compute an operation behind one that combines neurons."""
        arrays = []
        for part, value in zip(operation.invars, given, strict=True):
            if isinstance(value, Known) and value.name and " behind " in self._combining:
                self._combining = self._name(operation, "", given)
            if isinstance(value, Value):
                assert self._combined is not None
                if value.argument != self._combined.argument:
                    refuse(self._combining, *WHY_NOT["reduce"])
                array = jnp.reshape(value.function(self._sample), part.aval.shape)
            else:
                array = value.array
            arrays.append(jnp.asarray(array, part.aval.dtype))
        try:
            outputs = operation.primitive.bind(*arrays, **operation.params)
        except Exception:  # of any operation there is
            refuse(self._combining, *WHY_NOT["reduce"])
        return [Tail(array) for array in (outputs if operation.primitive.multiple_results else [outputs])]

    def softmax(self, output: Tail) -> Value:
        """Return the scores whose softmax, or its logarithm, is the model's output.

        Raises
        ------
        ValueError
            If the output is neither of the two.
        """
        assert self._combined is not None
        scores = self._combined.function(self._sample)
        for name, function in SOFTMAX.items():
            expected = function(scores, axis=-1)
            same = output.array.size == expected.size
            if same and np.allclose(np.ravel(output.array), np.ravel(expected), rtol=1e-4, atol=1e-5):
                return self.chain.last(self._combined, self._combining, name)
        return refuse(self._combining, *WHY_NOT["reduce"])

    def _product(self, operation: Any, given: list[Any]) -> Value:
        """Read a product of samples with a matrix."""
        (left, right), batch = operation.params["dimension_numbers"]
        at = 0 if isinstance(given[0], Value) else 1
        value, other = given[at], given[1 - at]
        shape, contracted, rows = operation.invars[at].aval.shape, (left, right)[at], (left, right)[1 - at]
        flat = np.prod(shape[:-1]) == (BATCH if self._batched else 1) and tuple(contracted) == (len(shape) - 1,)
        if not isinstance(other, Known) or np.ndim(other.array) != 2 or not flat or any(batch):
            refuse(self._name(operation, "dot_general", given), *WHY_NOT["dot_general"])
        if self._batched and at == 1:
            refuse(self._name(operation, "dot_general", given), *WHY_NOT["dot_general"])
        matrix = np.asarray(other.array)
        name = self._name(operation, "dense", given)
        return self.chain.dense(value, name, matrix.T if rows[0] == 0 else matrix)

    def _elementwise(self, operation: Any, given: list[Any]) -> Any:
        name = operation.primitive.name
        values = [value for value in given if isinstance(value, Value)]
        others = [(place, value) for place, value in enumerate(given) if isinstance(value, Known)]
        parts = [(place, self._vector(value.array), value.name) for place, value in others]
        if name in ("add", "sub", "mul", "div") and len(values) == 1 and np.ndim(others[0][1].array):
            place, vector, _ = parts[0]
            label = self._name(operation, name, given)
            return self.chain.arithmetic(values[0], label, name, vector, behind=place == 0)
        numbers = {place: _one_number(part) for place, part, _ in parts}
        if any(number is None for number in numbers.values()):
            refuse(
                self._name(operation, name, given), "its function has other numbers for each neuron", "give one for all"
            )

        def function(*arrays: Any) -> Any:
            queue, like = iter(arrays), next((a for a in arrays if is_real(a)), jnp.zeros(jnp.shape(arrays[0])))
            full = [_as_type(numbers[place], like) if place in numbers else next(queue) for place in range(len(given))]
            return operation.primitive.bind(*(_cast(part, like) for part in full), **operation.params)

        return self.chain.apply(self._name(operation, name, given), function, *values)

    def _vector(self, array: Any) -> np.ndarray:
        """Return parameters as one number a neuron, or one for all; those of all samples must be the same."""
        numbers = np.asarray(array)
        if self._batched and numbers.ndim > 1 and len(numbers) in (1, BATCH) and np.all(numbers == numbers[:1]):
            numbers = numbers[0]
        return numbers.reshape(-1)

    def _shaped(self, operation: Any, given: list[Any]) -> Value:
        """Read a change of shape, which must keep samples apart and their numbers in order."""
        (value,) = (part for part in given if isinstance(part, Value))
        before, after = operation.invars[0].aval.shape, operation.outvars[0].aval.shape
        kept = not self._batched or not before or (after and before[0] == after[0])
        if np.prod(before) != np.prod(after) or not kept:
            refuse(
                self._name(operation, operation.primitive.name, given),
                f"it makes {after} of an array of shape {before}",
                "only samples can be flattened",
            )
        return value

    def _name(self, operation: Any, fallback: str, given: Sequence[Any] = ()) -> str:
        """Return a layer's name: that of its parameters, or of the function and the layer before it."""
        paths = [value.name for value in given if isinstance(value, Known) and value.name]
        if paths:
            self._last = (paths[0].rpartition(".")[0] or paths[0]).removesuffix(".rngs")
            return self._last
        return f"{self._called or fallback} behind {self._last}"


def _evaluated(operation: Any, given: list[Any]) -> list[Known]:
    outputs = operation.primitive.bind(*(value.array for value in given), **operation.params)
    name = next((value.name for value in given if value.name), "")
    random = operation.primitive.name.startswith("random") or any(value.random for value in given)
    return [Known(array, name, random) for array in (outputs if operation.primitive.multiple_results else [outputs])]


def _one_number(part: np.ndarray) -> Any:
    return part[0] if part.size and np.all(part == part[0]) else None


def is_real(array: Any) -> bool:
    """Return whether an array holds real numbers."""
    return jnp.issubdtype(getattr(array, "dtype", None) or jnp.result_type(array), jnp.floating)


def _as_type(number: Any, like: Any) -> Any:
    """Return a number as an array of the shape of another, and of its type where it is real."""
    return jnp.full(jnp.shape(like), number, jnp.result_type(like) if is_real(number) else None)


def _cast(part: Any, like: Any) -> Any:
    return part.astype(jnp.result_type(like)) if is_real(part) else part


def _keeps_precision(dtype: Any) -> bool:
    return np.dtype(dtype) in (np.float32, np.float64)
