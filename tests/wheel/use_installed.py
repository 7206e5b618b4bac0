"""Use an installed hntk as a newcomer would, in an environment without any extra."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from pathlib import Path

# installed by an extra alone, or not at all
ABSENT = (
    "experiments",
    "huggingface_hub",
    "hydra",
    "wandb",
    "matplotlib",
    "rich",
    "requests",
    "neural_tangents",
    "onnx",
    "tensorflow",
)


def main() -> None:
    """Solve, draw, fit, save, load and export; what needs an extra names it."""
    import jax
    import numpy as np

    jax.config.update("jax_enable_x64", True)
    import hntk
    import hntk.deploy
    import hntk.interchange

    installed = Path(str(importlib.metadata.distribution("hntk").locate_file("hntk")))
    assert Path(str(hntk.__file__)).is_relative_to(installed), f"{hntk.__file__} was imported"
    for module in ABSENT:
        assert importlib.util.find_spec(module) is None, f"{module} was installed"

    drawn = hntk.reference_mixture(n=200, p=60, key=jax.random.key(0))
    network = hntk.compress(["relu", "relu"], [128, 64], drawn.x, key=jax.random.key(1))
    classifier = hntk.fit_ridge(network, drawn.x, drawn.labels)
    written = classifier.save("classifier.safetensors")
    loaded = hntk.load("classifier.safetensors")
    assert np.array_equal(classifier.predict(drawn.x), loaded.predict(drawn.x))  # type: ignore[union-attr]
    assert "hntk[hub]" in refused(lambda: hntk.interchange.pull_from_hub("me/net"))
    assert "hntk[export]" in refused(lambda: hntk.interchange.export_forward(network))
    program = hntk.deploy.to_c(hntk.to_integers(loaded, x=drawn.x))  # type: ignore[arg-type]
    assert "predict" in program.source
    assert "hntk[export]" in refused(lambda: hntk.deploy.to_onnx(loaded))  # type: ignore[attr-defined]
    assert "hntk[neural-tangents]" in refused(lambda: hntk.stax_kernel_fn(["relu"], tau0=1.0))
    assert "hntk[plot]" in refused(lambda: importlib.import_module("hntk.plot"))
    print(f"an installed hntk solves, draws, fits, saves ({written:,} bytes), loads and exports")


def refused(call: Callable[[], object]) -> str:
    """Return the message of the ImportError that a call raises."""
    try:
        call()
    except ImportError as error:
        return str(error)
    raise AssertionError("a missing extra was not noticed")


if __name__ == "__main__":
    main()
