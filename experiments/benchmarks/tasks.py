"""A process of its own that does one task again and again, so that its time and its memory are nobody else's.

``python -m experiments.benchmarks.tasks TASK OPTIONS`` (options as JSON) makes the task ready, with everything
compiled, and then writes its memory before there was anything to compute; it answers the lines ``run`` (seconds of one
more run), ``peak`` (most bytes beyond that memory since it was ready) and ``save PATH`` (the results, as npy). Times
and bytes are those of the accelerator where JAX finds one.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.runner.child_process import restart_peak, status_bytes

Result = Sequence[Any]
RIDGE = 1e-3
TASKS: dict[str, Callable[..., Callable[[], Result]]] = {}


def task(make: Callable[..., Callable[[], Result]]) -> Callable[..., Callable[[], Result]]:
    """Something to measure, by its name: from options to a function that runs it once."""
    TASKS[make.__name__] = make
    return make


def main(name: str, options: str) -> None:
    """Serve until the standard input ends."""
    from jax import numpy as jnp

    jnp.zeros(1).block_until_ready()
    once = TASKS[name](**json.loads(options))
    finish(once())
    gc.collect()
    before, peak = memory()
    restart_peak()
    print(before, flush=True)
    result: Result = ()
    for line in sys.stdin:
        word, *rest = line.split(maxsplit=1)
        if word == "run":
            result = ()
            start = time.perf_counter()
            result = finish(once())
            print(time.perf_counter() - start, flush=True)
        elif word == "peak":
            _, peak = memory()
            print(0 if peak is None or before is None else peak - before, flush=True)
        else:
            np.save(rest[0].strip(), np.stack([np.asarray(r) for r in result]))
            print(1, flush=True)


def finish(result: Result) -> Result:
    """Results that are there, not only promised."""
    for r in result:
        if hasattr(r, "block_until_ready"):
            r.block_until_ready()
    return result


def memory() -> tuple[int | None, int | None]:
    """(now, most) bytes: of the accelerator, or of this process."""
    import jax

    told = jax.local_devices()[0].memory_stats() if jax.default_backend() != "cpu" else None
    if told:
        return told["bytes_in_use"], told["peak_bytes_in_use"]
    return status_bytes(os.getpid(), "VmRSS"), status_bytes(os.getpid(), "VmHWM")


def samples(n: int, p: int, seed: int = 0) -> np.ndarray:
    """(n, p) float32, of norm about 1."""
    drawn = np.random.default_rng(seed).standard_normal((n, p), dtype=np.float32)
    return drawn / np.float32(np.sqrt(p))


def layers(activation: str, levels: int | None, depth: int) -> list:
    """One activation, or a staircase of so many levels, in every layer."""
    import hntk

    if levels is None:
        return [activation] * depth
    return [hntk.staircase(np.linspace(-1.5, 1.5, levels - 1), np.linspace(-1.0, 1.0, levels))] * depth


# what the machine can do


@task
def copy(size: int) -> Callable[[], Result]:
    """So many bytes of float32, each written and another read."""
    import jax
    from jax import numpy as jnp

    memory = [jnp.zeros(size // 4, jnp.float32)]
    # into memory that is there: what has to be found first is slower
    add = jax.jit(lambda x: x + 1, donate_argnums=0)

    def once() -> Result:
        memory[0] = add(memory[0])
        return memory

    return once


@task
def multiply(size: int) -> Callable[[], Result]:
    """A product of two square float32 matrices, which takes 2 size³ operations."""
    import jax
    from jax import numpy as jnp

    x = jnp.ones((size, size), jnp.float32)
    with jax.default_matmul_precision("highest"):
        product = jax.jit(lambda x: x @ x).lower(x).compile()
    return lambda: (product(x),)


# exact kernels


@task
def exact(n: int, p: int, depth: int, activation: str, levels: int | None = None) -> Callable[[], Result]:
    """Hntk's."""
    import hntk

    x, net = samples(n, p), layers(activation, levels, depth)
    kappa_sq = 1.0 if levels else None
    return lambda: hntk.exact_kernels(x, net, tau0=1.0, kappa_sq=kappa_sq)


@task
def neural_tangents(n: int, p: int, depth: int, activation: str, batch: int) -> Callable[[], Result]:
    """neural-tangents', whole (batch 0) or with nt.batch."""
    import jax
    from jax import numpy as jnp

    from hntk.kernels._neural_tangents import load

    nt: Any = load()
    layer = {
        "relu": nt.stax.Relu,
        "erf": nt.stax.Erf,
        "tanh": lambda: nt.stax.ElementwiseNumerical(jnp.tanh, deg=25),
    }[activation]
    stack: list[Any] = []
    for _ in range(depth):
        stack += [nt.stax.Dense(1, W_std=1.0, b_std=None), layer()]
    kernel = nt.stax.serial(*stack, nt.stax.Dense(1, W_std=1.0, b_std=None))[2]
    x = jnp.asarray(samples(n, p) * np.float32(np.sqrt(p)))
    if batch:
        batched = nt.batch(kernel, batch_size=batch)
        return lambda: batched(x, None, ("nngp", "ntk"))
    whole = jax.jit(lambda x: kernel(x, None, ("nngp", "ntk")))
    return lambda: whole(x)


# regressions


def _labelled(n: int, p: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes a = 0, 1 of mean 3 e_a."""
    x, labels = samples(n, p, seed), np.arange(n) % 2
    x[np.arange(n), labels] += np.float32(3 / np.sqrt(p))
    return x, labels


@task
def equivalent_regression(n: int, p: int, depth: int, new: int) -> Callable[[], Result]:
    """hntk's, with the equivalent NTK of ReLU and the ridge chosen."""
    import hntk

    (x, labels), (x_new, _) = _labelled(n, p, 0), _labelled(new, p, 1)
    return lambda: (hntk.fit_equivalent(x, labels, ["relu"] * depth).predict(x_new),)


@task
def exact_regression(n: int, p: int, depth: int, new: int) -> Callable[[], Result]:
    """With hntk's exact NTK and its ridge regression by Cholesky factors."""
    import hntk
    from hntk.readouts.kernel_ridge import solve_ridge

    (x, labels), (x_new, _) = _labelled(n, p, 0), _labelled(new, p, 1)
    targets, net = np.eye(2, dtype=np.float32)[labels], ["relu"] * depth

    def once() -> Result:
        kernel = np.array(hntk.exact_kernels(x, net, tau0=1.0).ntk)
        dual = solve_ridge(kernel, targets, RIDGE, overwrite=True)
        across = np.asarray(hntk.exact_kernels(x_new, net, x2=x, tau0=1.0).ntk)
        return (np.argmax(across @ dual, axis=1),)

    return once


@task
def scikit_learn(n: int, p: int, depth: int, new: int) -> Callable[[], Result]:
    """Its kernel ridge regression with a Gaussian kernel, which has no depth."""
    from sklearn.kernel_ridge import KernelRidge

    (x, labels), (x_new, _) = _labelled(n, p, 0), _labelled(new, p, 1)
    targets = np.eye(2, dtype=np.float32)[labels]
    model = KernelRidge(alpha=RIDGE, kernel="rbf", gamma=0.5)  # type: ignore[arg-type]
    return lambda: (np.argmax(model.fit(x, targets).predict(x_new), axis=1),)


# NTKs of drawn networks


def _drawn(p: int, width: int, depth: int) -> Any:
    import jax

    import hntk

    return hntk.draw_network(["relu"] * depth, [width] * depth, p, tau0=1.0, key=jax.random.key(1))


@task
def empirical(n: int, p: int, width: int, depth: int) -> Callable[[], Result]:
    """The NTK of a drawn ReLU network, layer by layer."""
    import hntk

    net, x = _drawn(p, width, depth), samples(n, p)
    return lambda: (hntk.empirical_kernels(net, x).ntk,)


@task
def empirical_products(n: int, p: int, width: int, depth: int) -> Callable[[], Result]:
    """One product of the same with a vector, without the matrix."""
    from jax import numpy as jnp

    import hntk

    net, x = _drawn(p, width, depth), jnp.asarray(samples(n, p))
    ntk, v = hntk.EmpiricalNTK(net, x), jnp.ones(n, jnp.float32)
    return lambda: (ntk.matvec(v),)


@task
def empirical_neural_tangents(n: int, p: int, width: int, depth: int, implementation: str) -> Callable[[], Result]:
    """The same matrix by one of neural-tangents' implementations, compiled."""
    import jax
    from jax import numpy as jnp

    from hntk.kernels._neural_tangents import load

    nt: Any = load()
    net, x = _drawn(p, width, depth), jnp.asarray(samples(n, p))
    parameters = [*(w.dense() for w in net.weights), net.readout]
    root = np.float32(np.sqrt(width))

    def apply(parameters: list, x: Any) -> Any:
        h = x
        for (_, fan_in, sigma, m), w in zip(net.layers(), parameters[:-1], strict=True):
            h = (sigma(h @ w.T * fan_in) - m).astype(jnp.float32)
        return (h @ parameters[-1] / root)[:, None]

    kernel = jax.jit(
        nt.empirical_ntk_fn(apply, implementation=nt.NtkImplementation[implementation], vmap_axes=0),
        static_argnums=1,
    )
    return lambda: (kernel(x, None, parameters),)


# matches


@task
def match(activation: str, depth: int, levels: int, method: str) -> Callable[[], Result]:
    """Hntk's solver; every run is of another scale, so that nothing found before is found again."""
    from itertools import count

    import hntk

    scales = (1.0 + 0.013 * i for i in count())
    return lambda: (hntk.match([activation] * depth, next(scales), levels, method=method).relative_shift,)  # type: ignore[arg-type]


@task
def least_squares(activation: str, depth: int, levels: int, restarts: int) -> Callable[[], Result]:
    """Restarted least squares, as in the authors' code but in units of τ and with exact gradients."""
    from itertools import count

    import hntk
    from experiments.kernels.solver import Problem, restarted

    scales, layer = (1.0 + 0.013 * i for i in count()), hntk.activation(activation)

    def once() -> Result:
        problem = Problem("planted", (layer,) * depth, next(scales), levels)
        found = restarted(problem, [restarts], 0, scaled=True)[0]
        return found.shift, found.miss

    return once


if __name__ == "__main__":
    main(*sys.argv[1:])
