"""Descriptions of networks: what they take, what they refuse, and how they show themselves."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import hntk
from hntk.theory.architecture import Architecture, as_activations, as_architecture


def test_one_number_serves_for_all_layers_and_a_list_for_one_each() -> None:
    net = Architecture(["relu", "erf"], weight_std=[1.5, np.float32(2.0)], bias_std=0.1, residual=np.array([0, 0.5]))
    assert net.weight_std == (1.5, 2.0)
    assert net.bias_std == (0.1, 0.1)
    assert net.scales[1] == (2.0, 0.1, 0.5)
    assert net.scales[1].residual == 0.5
    assert [layer.name for layer in net.layers] == ["relu", "erf"]
    assert net.depth == 2
    assert all(type(number) is float for row in net.scales for number in row)


def test_a_list_is_the_plain_network() -> None:
    net = as_architecture(["relu", hntk.activation("erf")])
    assert net == Architecture(("relu", "erf"))
    assert net.is_plain
    assert as_architecture(net) is net
    changed = [{"weight_std": 2.0}, {"bias_std": [0, 0.1]}, {"centred": False}, {"residual": 1}, {"normalize": "rms"}]
    for change in changed:
        assert not Architecture(["relu", "erf"], **change).is_plain


def test_equal_networks_compare_hash_and_pickle_alike() -> None:
    net = Architecture(["relu"] * 2, weight_std=2**0.5, centred=np.False_)  # type: ignore[arg-type]
    again = Architecture(as_activations(["relu"] * 2), weight_std=(2**0.5,) * 2, centred=False)
    assert net == again == pickle.loads(pickle.dumps(net))
    assert len({net, again, as_architecture(["relu"] * 2)}) == 2


def test_a_repr_shows_what_is_not_plain() -> None:
    assert repr(as_architecture(["relu", "erf"])) == "Architecture(['relu', 'erf'])"
    net = Architecture(["relu"] * 2, weight_std=2**0.5, bias_std=[0, 0.1], centred=False, residual=1, normalize="rms")
    shown = "weight_std=1.41421, bias_std=[0, 0.1], centred=False, residual=1, normalize='rms'"
    assert repr(net) == f"Architecture(['relu', 'relu'], {shown})"
    deep = Architecture(["relu"], implicit=np.True_, input_std=0.5)  # type: ignore[arg-type]
    assert repr(deep) == "Architecture(['relu'], implicit=True, input_std=0.5)"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"activations": []}, "needs at least one layer"),
        ({"activations": "relu"}, r"\['relu'\] \* 3"),
        ({"activations": ["rellu"]}, "relu"),
        ({"activations": 3}, "must be a list"),
        ({"weight_std": 0.0}, "weight_std must be a positive finite number"),
        ({"weight_std": -1.0}, "weight_std must be a positive finite number"),
        ({"weight_std": np.inf}, "weight_std must be a positive finite number"),
        ({"weight_std": [1.0, np.nan]}, "every number of weight_std must be a positive"),
        ({"weight_std": [1.0]}, "one number, or 2 numbers, one per layer; got 1"),
        ({"weight_std": np.ones((2, 2))}, "weight_std must be a positive finite number"),
        ({"weight_std": True}, "weight_std must be a positive finite number"),
        ({"weight_std": "2"}, "weight_std must be a positive finite number"),
        ({"bias_std": -0.1}, "bias_std must be a non-negative finite number"),
        ({"bias_std": [0.1, True]}, "every number of bias_std must be a non-negative"),
        ({"bias_std": [0.1] * 3}, "one number, or 2 numbers, one per layer; got 3"),
        ({"residual": -1}, "residual must be a non-negative finite number"),
        ({"residual": np.inf}, "residual must be a non-negative finite number"),
        ({"residual": None}, "residual must be a non-negative finite number"),
        ({"centred": 1}, "centred must be True or False"),
        ({"normalize": "batch"}, "normalize must be 'rms' or 'layer'"),
        ({"normalize": True}, "normalize must be 'rms' or 'layer'"),
        ({"implicit": "yes"}, "implicit must be True or False"),
        ({"implicit": True}, "repeats one layer, got 2 activations: give one, or implicit=False"),
        ({"activations": ["relu"], "implicit": True, "residual": 0.5}, "no residual branch.*leave residual"),
        ({"activations": ["relu"], "implicit": True, "normalize": "rms"}, "no residual branch and no normalisation"),
        ({"activations": ["sign"], "implicit": True}, "sign does not settle.*without jumps, such as 'relu'"),
        ({"input_std": 0.5}, "input_std = 0.5 is for implicit=True; the first number of weight_std"),
        ({"activations": ["relu"], "implicit": True, "input_std": 0.0}, "input_std must be a positive finite number"),
    ],
)
def test_wrong_descriptions_are_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture(**{"activations": ["relu"] * 2, **wrong})
