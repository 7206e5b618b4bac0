"""Load neural-tangents 0.6.5, its last release, on the JAX of today and without TensorFlow.

It was written for JAX 0.4.25, and three things have moved since:

* five classes of ``jax.core``, two helpers of ``jax.util`` and one primitive of ``jax.interpreters.ad``, all of which
  it imports, have gone elsewhere or away;
* its package imports ``neural_tangents.experimental``, which needs tf2jax and with it TensorFlow (600 MB, 9 s);
* ``predict.max_learning_rate`` gives ``scipy.linalg.eigvalsh`` the keyword ``eigvals``, which SciPy 1.14 dropped.

The names are needed only while the package is being imported: `load` lends those that are missing, made of public
names of JAX, and takes them back, so that JAX stays as it was. An empty module stands in for the experimental part.

All of it then works but the ``NtkImplementation`` ``STRUCTURED_DERIVATIVES`` and ``AUTO``, which walk the insides of an
older JAX, and ``jit``, ``vmap`` and ``grad`` through ``predict``, which JAX refuses since 0.4.36.
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
import scipy.linalg

#: First and last JAX on which `load` was tried (0.5.3, 0.6.2, 0.7.2, 0.10.2, 0.12.0.1), with equal numbers on all.
OLDEST_JAX, NEWEST_JAX = "0.5.3", "0.12.0.1"

_REMEDY = (
    f"install it beside one of these: pip install 'jax>={OLDEST_JAX},<={NEWEST_JAX}' frozendict && "
    "pip install --no-deps neural-tangents==0.6.5 (in a checkout of hntk: make setup)"
)
_EXPERIMENTAL = "neural_tangents.experimental"


@functools.cache
def load() -> types.ModuleType:
    """Import neural-tangents.

    Returns
    -------
    ModuleType
        ``neural_tangents``, with ``stax`` and ``predict``: the same object at every call.

    Raises
    ------
    ImportError
        If it is missing or does not import. The message names the versions of JAX that work and the remedy.

    Examples
    --------
    >>> stax = load().stax
    >>> init_fn, apply_fn, kernel_fn = stax.serial(stax.Dense(64), stax.Erf(), stax.Dense(1))

    """
    try:
        with warnings.catch_warnings():
            # JAX says that the names which neural-tangents imports will go: that is what this module is for.
            warnings.filterwarnings("ignore", r"jax\.\w+\.|safe_(map|zip) was|jax\.util", DeprecationWarning)
            with _missing_names_lent():
                module = importlib.import_module("neural_tangents")
    except (ImportError, AttributeError, TypeError) as error:
        sys.modules.pop(_EXPERIMENTAL, None)
        raise ImportError(
            f"neural-tangents 0.6.5 does not import on JAX {jax.__version__} ({error}). It works on JAX {OLDEST_JAX} "
            f"to {NEWEST_JAX}; {_REMEDY}"
        ) from error
    _mend_max_learning_rate(module)
    return module


@contextlib.contextmanager
def _missing_names_lent() -> Iterator[None]:
    """Give JAX, for the length of the block, those names neural-tangents imports that this version of JAX lacks."""
    core = jax.extend.core
    names = {f"jax.core.{name}": getattr(core, name) for name in ("Jaxpr", "JaxprEqn", "Literal", "Primitive", "Var")}
    names["jax.util.safe_map"] = lambda function, *columns: [function(*row) for row in zip(*columns, strict=True)]
    names["jax.util.safe_zip"] = lambda *columns: list(zip(*columns, strict=True))
    names["jax.interpreters.ad.zeros_like_p"] = core.Primitive("zeros_like")  # a key of tables of rules, never met

    sys.modules.setdefault(_EXPERIMENTAL, types.ModuleType(_EXPERIMENTAL, "Left out by hntk: it needs TensorFlow."))
    with contextlib.ExitStack() as taking_back:
        if importlib.util.find_spec("jax.util") is None:
            sys.modules["jax.util"] = types.ModuleType("jax.util")
            taking_back.callback(sys.modules.pop, "jax.util")
        for path, value in names.items():
            owner, _, name = path.rpartition(".")
            module = importlib.import_module(owner)
            if not hasattr(module, name):
                setattr(module, name, value)
                taking_back.callback(delattr, module, name)
        yield


def _mend_max_learning_rate(module: types.ModuleType) -> None:
    """Let ``predict.max_learning_rate`` ask for the last eigenvalue in the way the installed SciPy understands."""
    if "eigvals" in inspect.signature(scipy.linalg.eigvalsh).parameters:
        return

    def eigvalsh(matrix: Any, eigvals: tuple[int, int]) -> Any:
        return scipy.linalg.eigvalsh(matrix, subset_by_index=eigvals)

    predict: Any = sys.modules[module.predict.max_learning_rate.__module__]
    predict.sp = types.SimpleNamespace(linalg=types.SimpleNamespace(eigvalsh=eigvalsh))
