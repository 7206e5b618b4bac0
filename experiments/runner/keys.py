"""What decides a job's result, and the hashes by which results that were kept are found again.

A key has two parts. The first stands for what was asked: the settings that matter, every array of the data set that is
loaded, and the precision of JAX. The second stands for the code: all sources of hntk and of the experiments, and the
versions of the packages that compute. It is not finer, such as the modules that one experiment imports: nearly all of
them have a part in some number, a list kept by hand would be wrong one day, and then results of other code would pass
for those of this code. Where a change is known not to matter, ``sweep.older_code=true`` accepts what is there.

The kind of device is no part of it, as nodes of one sweep may differ: versions.json tells it, and the report compares.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

if TYPE_CHECKING:
    import hntk
    from experiments.runner.catalog import Entry
    from experiments.runner.config import Config

# what does not change a job's result
IMMATERIAL = ("wandb", "sweep")
# random numbers, arithmetic, optimisers and the kernels compared with are theirs
COMPUTING = ("jax", "jaxlib", "numpy", "scipy", "optax", "neural-tangents")
ASKED, CODE = 16, 12


@dataclass(frozen=True)
class Key:
    """The hashes of a job, with what they are hashes of.

    Attributes
    ----------
    asked : hash of settings, data and precision.
    code : hash of sources and versions.
    made_by : all of it, to be kept beside the result.
    """

    asked: str
    code: str
    made_by: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.asked}-{self.code}"


def key_of(cfg: Config, entry: Entry) -> Key:
    """Return the key of a job, for which the data set it reads is loaded.

    Raises
    ------
    OSError, ValueError
        If the data set is not there or does not fit the configuration.
    """
    import jax

    settings = getattr(entry.module, "identity", resolved)(cfg)
    data = getattr(entry.module, "data_read", dataset_read)(cfg)
    asked = {
        "settings": settings,
        "data": None if data is None else data_digest(data),
        "x64": bool(jax.config.jax_enable_x64),  # type: ignore[attr-defined]
    }
    return Key(_hash(asked, ASKED), code_hash(), {**asked, "code": code()})


def resolved(cfg: Config) -> dict[str, Any]:
    """Return the configuration as plain values, without what does not change the result."""
    plain: Any = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[arg-type]
    return {k: v for k, v in plain.items() if k not in IMMATERIAL}


def dataset_read(cfg: Config) -> hntk.Dataset | None:
    """Return the data set that an experiment reads; None for a mixture, which settings and code decide."""
    from experiments.runner.setting import dataset

    return dataset(cfg.data, cfg.seed) if cfg.data.kind == "dataset" else None


@lru_cache(maxsize=1)
def data_digest(data: hntk.Dataset) -> str:
    """Return the hash of all arrays of a data set and of how they were normalised, once for an object."""
    from hntk._utils.digest import array_digest

    arrays = (data.x_train, data.y_train, data.x_test, data.y_test, data.classes, data.centre, data.whitening)
    told = (list(data.image_shape or ()), float(data.scale), data.pixels, data.unit_norm)
    return _hash([array_digest(*arrays), *told], 64)


@lru_cache(maxsize=1)
def code() -> dict[str, Any]:
    """Return the hash of the sources, and the versions of the packages that compute."""
    import hntk
    from hntk._utils.digest import source_digest

    folders = (Path(str(hntk.__file__)).parent, Path(__file__).parents[1])
    return {"sources": source_digest(*folders), "packages": {name: version(name) for name in COMPUTING}}


def code_hash() -> str:
    """Return the part of every key that stands for the code."""
    return _hash(code(), CODE)


def version(name: str) -> str | None:
    """Return the version of a package that is installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _hash(told: object, digits: int) -> str:
    text = json.dumps(told, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
