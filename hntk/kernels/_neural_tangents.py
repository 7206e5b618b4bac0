"""Import of neural-tangents 0.6.5, its last release, on current versions of JAX and without TensorFlow.

It was written for JAX 0.4.25. Three things have changed since:

* five classes of ``jax.core``, two helpers of ``jax.util`` and one primitive of ``jax.interpreters.ad``, all of which
  it imports, were moved or removed;
* its package imports ``neural_tangents.experimental``, which needs tf2jax and with it TensorFlow (600 MB, 9 s);
* ``predict.max_learning_rate`` gives ``scipy.linalg.eigvalsh`` the keyword ``eigvals``, which SciPy 1.14 removed.

The names are needed only while the package is being imported. `load` adds the missing ones, made of public names of
JAX, and removes them afterwards, so that JAX stays as it was. An empty module takes the experimental part's place.

Everything then works except the ``NtkImplementation`` ``STRUCTURED_DERIVATIVES`` and ``AUTO``, which use internals of
an older JAX, and ``jit``, ``vmap`` and ``grad`` through ``predict``, which JAX refuses since 0.4.36.
"""

import contextlib
import functools
import importlib
import importlib.util
import inspect
import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import jax.extend.core
import scipy

from hntk._utils.extras import import_extra

# first and last JAX on which `load` was tried (0.5.3, 0.6.2, 0.7.2, 0.10.2, 0.12.0.1), with equal numbers on all
OLDEST_JAX, NEWEST_JAX = "0.5.3", "0.12.0.1"

_EXPERIMENTAL = "neural_tangents.experimental"
# what asks for the extra, for the message where it is missing
_PURPOSE = "stax_kernel_fn, like engine='neural_tangents',"


@functools.cache
def load() -> types.ModuleType:
    """Import neural-tangents.

    Returns
    -------
    ModuleType
        ``neural_tangents``, with ``stax`` and ``predict``. It is the same object at every call.

    Raises
    ------
    ImportError
        If it is not installed, or does not import. The message names the extra, or the versions of JAX that work.

    Examples
    --------
    >>> stax = load().stax
    >>> init_fn, apply_fn, kernel_fn = stax.serial(stax.Dense(64), stax.Erf(), stax.Dense(1))
    """
    try:
        with warnings.catch_warnings():
            # JAX warns that names which neural-tangents imports will be removed
            warnings.filterwarnings("ignore", r"jax\.\w+\.|safe_(map|zip) was|jax\.util", DeprecationWarning)
            with _missing_names_added():
                module = import_extra("neural_tangents", "neural-tangents", _PURPOSE)
    except (ImportError, AttributeError, TypeError) as error:
        sys.modules.pop(_EXPERIMENTAL, None)
        if isinstance(error.__cause__, ModuleNotFoundError):
            raise  # it is not installed, and the message says how to
        raise ImportError(
            f"neural-tangents 0.6.5 does not import on JAX {jax.__version__} ({error}). It works on JAX {OLDEST_JAX} "
            f"to {NEWEST_JAX}: python -m pip install 'jax>={OLDEST_JAX},<={NEWEST_JAX}' 'hntk[neural-tangents]'."
        ) from error
    _mend_max_learning_rate(module)
    return module


@contextlib.contextmanager
def _missing_names_added() -> Iterator[None]:
    """Add to JAX, inside the block, the names that neural-tangents imports and this version of JAX lacks."""
    core = jax.extend.core
    names = {f"jax.core.{name}": getattr(core, name) for name in ("Jaxpr", "JaxprEqn", "Literal", "Primitive", "Var")}
    names["jax.util.safe_map"] = lambda function, *columns: [function(*row) for row in zip(*columns, strict=True)]
    names["jax.util.safe_zip"] = lambda *columns: list(zip(*columns, strict=True))
    names["jax.interpreters.ad.zeros_like_p"] = core.Primitive("zeros_like")  # a key of tables that nothing looks up

    sys.modules.setdefault(_EXPERIMENTAL, types.ModuleType(_EXPERIMENTAL, "Left out by hntk: it needs TensorFlow."))
    with contextlib.ExitStack() as removal:
        if importlib.util.find_spec("jax.util") is None:
            sys.modules["jax.util"] = types.ModuleType("jax.util")
            removal.callback(sys.modules.pop, "jax.util")
        for path, value in names.items():
            owner, _, name = path.rpartition(".")
            module = importlib.import_module(owner)
            if not hasattr(module, name):
                setattr(module, name, value)
                removal.callback(delattr, module, name)
        yield


def _mend_max_learning_rate(module: types.ModuleType) -> None:
    """Give ``predict.max_learning_rate`` an ``eigvalsh`` that takes its keyword ``eigvals`` on every SciPy."""
    if "eigvals" in inspect.signature(scipy.linalg.eigvalsh).parameters:
        return

    def eigvalsh(matrix: Any, eigvals: tuple[int, int]) -> Any:
        return scipy.linalg.eigvalsh(matrix, subset_by_index=eigvals)

    predict: Any = sys.modules[module.predict.max_learning_rate.__module__]
    predict.sp = types.SimpleNamespace(linalg=types.SimpleNamespace(eigvalsh=eigvalsh))
