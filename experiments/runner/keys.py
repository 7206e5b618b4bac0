"""The key of a job: a hash of everything that decides its result, by which a kept result is found again.

A key has two parts. The first stands for the request: the settings that matter, every array of the data set, and the
precision of JAX. The second stands for the code: all sources of hntk and of the experiments, and the versions of the
packages that compute. The code counts as a whole, because nearly all modules contribute to some number, and a list of
those that do, kept by hand, would sooner or later let results of other code pass for results of this code. Where a
change is known not to matter, ``sweep.older_code=true`` accepts older results.

The kind of device is not part of the key, as nodes of one sweep may differ; versions.json records it, and the report
compares it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

if TYPE_CHECKING:
    import hntk
    from experiments.runner.config import Config

# config groups that do not change a job's result
IMMATERIAL = ("wandb", "sweep")
# packages on which random numbers, arithmetic, optimisers and the kernels compared with depend
COMPUTING = ("jax", "jaxlib", "numpy", "scipy", "optax", "neural-tangents")
# hexadecimal digits of the two parts
REQUEST_DIGITS, CODE_DIGITS = 16, 12


@dataclass(frozen=True)
class Key:
    """The key of a job.

    Attributes
    ----------
    request : str
        Hash of settings, data and precision.
    code : str
        Hash of sources and versions.
    contents : dict
        Everything that was hashed, to be kept beside the result.
    """

    request: str
    code: str
    contents: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.request}-{self.code}"


def key_of(settings: Mapping[str, Any], data: hntk.Dataset | None) -> Key:
    """Return the key of a job with these settings that reads this data set, if any."""
    import jax

    request = {
        "settings": settings,
        "data": None if data is None else data_digest(data),
        "x64": bool(jax.config.jax_enable_x64),  # type: ignore[attr-defined]
    }
    return Key(_hash(request, REQUEST_DIGITS), code_hash(), {**request, "code": code()})


def resolved(cfg: Config) -> dict[str, Any]:
    """Return the configuration as plain values, without the groups that do not change the result."""
    plain: Any = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[arg-type]
    return {group: values for group, values in plain.items() if group not in IMMATERIAL}


@lru_cache(maxsize=1)
def data_digest(data: hntk.Dataset) -> str:
    """Return a hash of all arrays of a data set and of their normalisation; it is computed once per object."""
    from hntk._utils.digest import array_digest

    arrays = (data.x_train, data.y_train, data.x_test, data.y_test, data.classes, data.centre, data.whitening)
    normalization = (list(data.image_shape or ()), float(data.scale), data.pixels, data.unit_norm)
    return _hash([array_digest(*arrays), *normalization], 64)


@lru_cache(maxsize=1)
def code() -> dict[str, Any]:
    """Return the hash of the sources, and the versions of the packages that compute."""
    import hntk
    from hntk._utils.digest import source_digest

    folders = (Path(str(hntk.__file__)).parent, Path(__file__).parents[1])
    return {"sources": source_digest(*folders), "packages": {name: version(name) for name in COMPUTING}}


def code_hash() -> str:
    """Return the part of every key that stands for the code."""
    return _hash(code(), CODE_DIGITS)


def version(name: str) -> str | None:
    """Return the version of an installed package, or None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _hash(value: object, digits: int) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
