"""Networks to a stand-in for the Hugging Face Hub and back."""

from __future__ import annotations

import pickle
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import yaml
from huggingface_hub import constants as hub_constants

import hntk
from hntk.interchange import model_card, pull_from_hub, push_to_hub
from tests.support.hub_stand_in import TOKEN, StandIn, hub_stand_in
from tests.support.neuron_classifiers import neuron_sample
from tests.support.random_classifiers import Sample, random_sample

NAME = "me/small-net"
SAMPLE: Sample = random_sample(5)
FILE = "network.safetensors"
OWN_CARD = "---\nlicense: mit\n---\nMine.\n"
# huggingface_hub's own uploads
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    """Return a stand-in that is the public Hub as far as huggingface_hub knows, for a user without a token."""
    with hub_stand_in() as state:
        monkeypatch.delenv("HF_TOKEN", raising=False)
        for name, value in {
            **address(state.address),
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_CACHE": str(tmp_path / "cache"),
            "HF_TOKEN_PATH": str(tmp_path / "token"),
        }.items():
            monkeypatch.setattr(hub_constants, name, value, raising=False)
        yield state


def address(endpoint: str) -> dict[str, str]:
    """Return what huggingface_hub would have read of HF_ENDPOINT."""
    return {"ENDPOINT": endpoint, "HUGGINGFACE_CO_URL_TEMPLATE": endpoint + "/{repo_id}/resolve/{revision}/{filename}"}


def metadata(card: str) -> dict[str, Any]:
    """Return the YAML of a card."""
    return yaml.safe_load(card.split("---\n")[1])


def assert_same_file(one: Any, other: Any) -> None:
    """Expect the same arrays and metadata."""
    (arrays, table), (more_arrays, more_table) = one.to_arrays(), other.to_arrays()
    assert table == more_table
    assert arrays.keys() == more_arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, more_arrays[name], strict=True)


def test_what_is_pulled_is_what_was_pushed_and_a_commit_pins_it(hub: StandIn) -> None:
    first = push_to_hub(SAMPLE.classifier, NAME, license="mit", token=TOKEN)
    other = random_sample(9).classifier
    second = push_to_hub(other, NAME, license="mit", token=TOKEN, message="another")
    assert first != second
    pulled = pull_from_hub(NAME, revision=first)
    assert_same_file(pulled, SAMPLE.classifier)
    np.testing.assert_array_equal(pulled.scores(SAMPLE.raw), SAMPLE.scores)  # type: ignore[union-attr]
    assert_same_file(pull_from_hub(NAME), other)


def test_a_file_is_uploaded_as_it_is(hub: StandIn, tmp_path: Path) -> None:
    hntk.save(SAMPLE.classifier, tmp_path / "mine.safetensors", encoding="bits2")
    push_to_hub(tmp_path / "mine.safetensors", NAME, card=OWN_CARD, token=TOKEN, filename="v2/it.safetensors")
    files = hub.repositories[NAME].commits[-1][1]
    assert files["v2/it.safetensors"] == (tmp_path / "mine.safetensors").read_bytes()
    assert files["README.md"] == OWN_CARD.encode()
    assert_same_file(pull_from_hub(NAME, filename="v2/it.safetensors"), SAMPLE.classifier)


def test_the_card_tells_what_the_network_is_and_its_lines_load_it(hub: StandIn) -> None:
    net = hntk.compress(["relu"] * 2, [24, 16], np.random.default_rng(0).normal(size=(60, 12)), levels=4,
                        key=jax.random.key(0))  # fmt: skip
    x, labels = np.random.default_rng(1).normal(size=(60, 12)), np.arange(60) % 3
    made = hntk.to_integers(hntk.fit_ridge(net, x, labels, 0.1), x=x)
    push_to_hub(made, NAME, license="apache-2.0", tags=["tiny"], scores={"a|b": 0.5}, token=TOKEN)
    files = hub.repositories[NAME].commits[-1][1]
    card = files["README.md"].decode()
    table = metadata(card)
    assert (table["library_name"], table["license"]) == ("hntk", "apache-2.0")
    assert {"hntk", "ternary-weights", "integer-only", "tiny"} <= set(table["tags"])
    own = table["hntk"]
    assert (own["kind"], own["inputs"], own["widths"], own["levels"]) == ("IntegerClassifier", 12, [24, 16], [4, 4])
    assert own["file_bytes"] == len(files[FILE])
    assert own["architecture"] == "fully connected"
    assert "2 hidden layers of widths 24 and 16, ternary weights, activations: staircases of 4 levels" in card
    assert own["match"]["original"] == ["relu", "relu"]
    (result,) = table["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == 0.5
    assert "| a\\|b | 0.5 |" in card
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert code is not None
    assert len(code[1].splitlines()) == 3
    names: dict[str, Any] = {"raw": x}
    exec(code[1], names)
    np.testing.assert_array_equal(names["labels"], made.predict(x))  # type: ignore[union-attr]


def test_cards_of_other_kinds_and_without_a_score() -> None:
    x = np.random.default_rng(0).normal(size=(40, 6))
    net = hntk.dense(["tanh"], [8], x, key=jax.random.key(0))
    for made, kind in ((net, "Network"), (hntk.fit_ridge(net, x, np.arange(40) % 2, 0.1), "Classifier")):
        card = model_card(made, NAME, license="mit", description="Mine.")
        table = metadata(card)
        assert table["hntk"]["kind"] == kind
        assert "model-index" not in table
        assert "no measured score" in card
        assert "\nMine.\n" in card
    branched = hntk.Architecture(["relu"] * 2, residual=0.5, bias_std=0.1)
    made = hntk.draw_network(branched, [6] * 2, 6, tau0=1.0, law="ternary", key=jax.random.key(0))
    table = metadata(model_card(made, NAME, license="mit"))["hntk"]
    assert table["widths"] == [6, 6]
    assert "residual" in table["architecture"]
    integers = neuron_sample(1).classifier
    regressor = hntk.IntegerRegressor(integers.network, integers.readout, integers.offset, 0.5)
    table = metadata(model_card(regressor, NAME, license="mit", scores={"test": -0.5}))
    assert table["model-index"][0]["results"][0]["metrics"][0] == {"type": "r_squared", "value": -0.5}
    assert metadata(model_card(integers.network, NAME, license="mit"))["hntk"]["kind"] == "IntegerNetwork"


def test_labels_stay_within_their_fence() -> None:
    classifier = SAMPLE.classifier
    labels = np.array([f"```\n# {k}\x1b[31m\u202e" for k in range(classifier.readout.shape[0])])
    hostile = hntk.IntegerClassifier(classifier.network, classifier.readout, classifier.offset, labels, 1.0)
    card = model_card(hostile, NAME, license="mit")
    fenced = re.search(r"^(`{4,})text\n(.*?)^\1$", card, re.DOTALL | re.MULTILINE)
    assert fenced is not None
    assert "```\n" in fenced[2]
    assert not re.search("[\x1b\u202e]", card)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"repo_id": "me/none"}, FileNotFoundError, "no such repository"),
        ({"revision": "v9"}, FileNotFoundError, "no such revision"),
        ({"filename": "other.safetensors"}, FileNotFoundError, "which has README.md, .*network.safetensors"),
        ({"filename": "model.bin"}, ValueError, "never unpickles"),
        ({"most_bytes": 10}, ValueError, "more than most_bytes=10"),
        ({"most_bytes": 0}, ValueError, "most_bytes must be a positive whole number"),
        ({"repo_id": "a/b/c"}, ValueError, "a/b/c"),
        ({"repo_id": "me/empty"}, FileNotFoundError, "a repository that push_to_hub wrote"),
    ],
)
def test_what_cannot_be_pulled_is_said(hub: StandIn, arguments: Any, error: type, words: str) -> None:
    hub.put(NAME, {"README.md": b"", FILE: b"0" * 20})
    hub.put("me/empty", {"pytorch_model.bin": b""})
    with pytest.raises(error, match=words):
        pull_from_hub(**{"repo_id": NAME, **arguments})


class _Harmful:
    def __reduce__(self) -> Any:
        return warnings.warn, ("a pickle was loaded",)


def test_damaged_files_and_pickles_are_refused(hub: StandIn, tmp_path: Path) -> None:
    hntk.save(SAMPLE.classifier, tmp_path / FILE)
    data = bytearray((tmp_path / FILE).read_bytes())
    data[-1] ^= 1
    for harmful in (bytes(data), bytes(data[:-9]), pickle.dumps(_Harmful()), b""):
        hub.put("me/harmful", {FILE: harmful})
        with pytest.raises(hntk.FileError, match="of me/harmful cannot be loaded"):
            pull_from_hub("me/harmful")


def test_nothing_is_uploaded_that_cannot_be_loaded_or_without_a_license(hub: StandIn, tmp_path: Path) -> None:
    (tmp_path / "no.safetensors").write_bytes(b"hello, this is no network")
    with pytest.raises(hntk.FileError):
        push_to_hub(tmp_path / "no.safetensors", NAME, license="mit", token=TOKEN)
    for wrong, words in (
        ({}, "license must be"),
        ({"license": "MIT License"}, "license must be"),
        ({"license": "mit", "scores": {"test": 1.2}}, "from 0 to 1"),
        ({"license": "mit", "scores": [0.9]}, "names of data"),
        ({"license": "mit", "tags": [3]}, "tags must be words"),
        ({"license": "mit", "filename": "net.pkl"}, "never unpickles"),
        ({"card": 3}, "card must be the text"),
    ):
        with pytest.raises(ValueError, match=words):
            push_to_hub(SAMPLE.classifier, NAME, token=TOKEN, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="network must be"):
        push_to_hub(3, NAME, license="mit", token=TOKEN)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="predicts nothing"):
        push_to_hub(SAMPLE.classifier.network, NAME, license="mit", scores={"test": 0.5}, token=TOKEN)
    assert NAME not in hub.repositories


def test_a_token_is_asked_for(hub: StandIn) -> None:
    with pytest.raises(PermissionError, match="set HF_TOKEN"):
        push_to_hub(SAMPLE.classifier, NAME, license="mit")
    assert NAME not in hub.repositories
    push_to_hub(SAMPLE.classifier, NAME, license="mit", private=True, token=TOKEN)
    with pytest.raises(FileNotFoundError, match="or it is private.*HF_TOKEN"):
        pull_from_hub(NAME)
    with pytest.raises(PermissionError, match="set HF_TOKEN"):
        push_to_hub(SAMPLE.classifier, NAME, license="mit", token="hf_wrong")
    assert_same_file(pull_from_hub(NAME, token=TOKEN), SAMPLE.classifier)


def test_without_a_connection_only_what_was_pulled_before_is_there(
    monkeypatch: pytest.MonkeyPatch, hub: StandIn
) -> None:
    push_to_hub(SAMPLE.classifier, NAME, license="mit", token=TOKEN)
    pull_from_hub(NAME)
    # a port that nothing listens at
    for name, value in address("http://127.0.0.1:9").items():
        monkeypatch.setattr(hub_constants, name, value)
    assert_same_file(pull_from_hub(NAME), SAMPLE.classifier)
    with pytest.raises(ConnectionError, match=r"127.0.0.1:9 cannot be reached.*pulled before would do"):
        pull_from_hub("me/never")
    with pytest.raises(ConnectionError, match=r"127.0.0.1:9 cannot be reached"):
        push_to_hub(SAMPLE.classifier, NAME, license="mit", token=TOKEN)


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (lambda: pull_from_hub(NAME), lambda: push_to_hub(SAMPLE.classifier, NAME, license="mit"),
                 lambda: model_card(SAMPLE.classifier, NAME, license="mit")):  # fmt: skip
        with pytest.raises(ImportError, match=r"hntk\[hub\]"):
            call()
