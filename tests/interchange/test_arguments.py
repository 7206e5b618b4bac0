"""Odd values in place of every argument of the interchange: errors that help, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hntk.interchange import export_forward, from_onnx, import_forward, model_card, pull_from_hub, push_to_hub
from tests.support.hostile import REMEDY
from tests.support.hub_stand_in import TOKEN, hub_stand_in
from tests.support.neuron_classifiers import neuron_sample

MADE = neuron_sample(1).classifier
ODD = (3, b"x", [3], float("nan"), object(), {"a": object()}, np.ones(3), "\0")
CARD = {"network": MADE, "repo_id": "me/net", "license": "mit"}
PUSH = {**CARD, "token": TOKEN}

WORDS = ("network", "repo_id", "license", "tags", "scores", "description", "filename")
PULLED = ("repo_id", "revision", "filename", "most_bytes", "cache_dir", "token", "endpoint")
CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any], tuple[str, ...]]] = {
    "model_card": (model_card, CARD, (*WORDS, "file_bytes", "encodings")),
    "push_to_hub": (push_to_hub, PUSH, (*WORDS, "card", "message", "token", "endpoint")),
    "pull_from_hub": (pull_from_hub, {"repo_id": "me/net"}, PULLED),
    "export_forward": (export_forward, {"network": MADE}, ("network", "batch", "platforms")),
    "import_forward": (import_forward, {}, ("data",)),
    "from_onnx": (from_onnx, {}, ("model",)),
}
# values that are right in their place
RIGHT = {("file_bytes", 0), ("most_bytes", 0), ("batch", 0), ("card", 7)}


@pytest.mark.parametrize("name", CALLS)
def test_odd_arguments_are_refused_with_a_remedy(name: str) -> None:
    call, valid, arguments = CALLS[name]
    with hub_stand_in() as hub:
        more = {"endpoint": hub.address} if name.endswith("_hub") else {}
        for argument in arguments:
            for number, odd in enumerate(ODD):
                if (argument, number) in RIGHT:
                    continue
                with pytest.raises((ValueError, FileNotFoundError)) as raised:
                    call(**{**valid, **more, argument: odd})
                assert REMEDY.search(str(raised.value)), f"{argument}={odd!r}: {raised.value}"
        assert hub.requests == []
