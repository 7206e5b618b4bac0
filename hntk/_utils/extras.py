"""Import packages that only a part of the library needs, where that part is used."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def import_extra(module: str, extra: str, purpose: str) -> ModuleType:
    """Import a module that an extra of hntk installs.

    Parameters
    ----------
    module : str
        Name of the module, such as ``"onnx"``.
    extra : str
        Name of the extra in ``pip install 'hntk[extra]'``.
    purpose : str
        What needs it, as the beginning of a sentence: "Writing ONNX files".

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    ImportError
        If the package is not installed; the message names the extra.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        # A package that is installed and misses another module is a different defect.
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        name = module.split(".")[0]
        raise ImportError(f"{purpose} needs {name}: python -m pip install 'hntk[{extra}]'.", name=name) from error
