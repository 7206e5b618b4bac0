"""Tests of the original network that a configuration describes, and of the engine in the keys of jobs."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import hntk
from experiments.memory import memory
from experiments.runner import keys
from experiments.runner.from_config import kernel_problem
from experiments.runner.networks import first_layers, network
from tests.support.command_line import composed


def test_a_plain_network_stays_a_list_and_any_other_is_described() -> None:
    assert [a.name for a in network(composed("+exp=gmm").net)] == ["relu"] * 3  # type: ignore[union-attr]
    he = hntk.Architecture(["relu"] * 3, 2**0.5, 0.1, centred=False)
    assert network(composed("+exp=gmm", "net=he").net) == he
    words = ("net.weight_std=[1,1.5,2]", "net.residual=0.5", "net.normalize=layer")
    scaled = network(composed("+exp=gmm", *words).net)
    assert scaled == hntk.Architecture(["relu"] * 3, [1, 1.5, 2], residual=0.5, normalize="layer")
    with pytest.raises(ValueError, match="bias_std must be one number, or 3 numbers"):
        network(composed("+exp=gmm", "net.bias_std=[1,2]").net)


def test_the_first_layers_have_the_kernels_of_the_whole_network_there() -> None:
    net = hntk.Architecture(["relu", "erf", "relu"], [1, 1.5, 2], [0.1, 0, 0.3], centred=False, normalize="layer")
    known = hntk.expansions(net, 0.9)
    assert hntk.expansions(first_layers(net, 2), 0.9).ck == known.ck[:3]


def test_the_classes_of_a_mixture_with_contrast_vary_along_other_coordinates() -> None:
    data, key = composed("+exp=architectures", "data.n=80", "data.p=40", "data.spread=0").data, jax.random.key(0)
    plain, apart = (kernel_problem(data, "population", key, contrast=c).population for c in (0.0, 0.5))
    assert plain is not None
    assert apart is not None
    np.testing.assert_allclose(plain.overlaps, 1.0)
    np.testing.assert_allclose(apart.overlaps, [[1.25, 0.75], [0.75, 1.25]])
    np.testing.assert_allclose(apart.traces, plain.traces)


def test_the_engine_is_a_part_of_a_job_s_key(monkeypatch: pytest.MonkeyPatch) -> None:
    native, other = (composed("+exp=gmm", *words) for words in ((), ("kernels=neural_tangents",)))
    assert keys.key_of(keys.resolved(native), None).request != keys.key_of(keys.resolved(other), None).request
    data = hntk.Dataset.__new__(hntk.Dataset)
    monkeypatch.setattr(memory, "data_read", lambda _: data)
    monkeypatch.setattr(memory.arms, "widths", lambda *_: (8,))
    monkeypatch.setattr(type(data), "p", 5, raising=False)
    object.__setattr__(data, "classes", (0, 1))
    found = [memory.identity(composed("+exp=memory", *words)) for words in ((), ("kernels=neural_tangents",))]
    assert found[1] == found[0] | {"kernels": {"engine": "neural_tangents"}}
    assert "kernels" not in found[0]
