"""The experiments' command lines in the pages of the documentation: their settings exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from experiments.runner import catalog
from experiments.runner.command_line import as_sweep, expand_tiny
from experiments.runner.composition import check
from experiments.runner.refusals import SettingError

ROOT = Path(__file__).parents[2]
RUN = "python -m experiments.run"
PAGES = sorted(page for page in (ROOT / "docs").rglob("*.md") if "auto_tutorials" not in page.parts)
# what stands for a folder, a file, or the settings of another line
PLACES = re.compile(r"\b(PATH|FILE|KERNELS|FOLDER)\b")


def commands(text: str) -> list[list[str]]:
    """Return the words of every command line, in fences and within sentences, that asks for an experiment."""
    text = text.replace("\\\n", " ")
    fenced = re.findall(r"^```\w*\n(.*?)^```$", text, re.M | re.S)
    lines = [line for fence in fenced for line in fence.splitlines()]
    sentences = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    lines += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", sentences)]
    words = [shlex.split(line)[3:] for line in lines if line.startswith(RUN)]
    return [each for each in words if any("exp=" in word for word in each) and "$G" not in each]


def checked(words: list[str]) -> None:
    """Refuse a command line with a setting that there is not, or with values that it may not have."""
    settings, _ = expand_tiny(as_sweep([word for word in words if word not in ("--cfg", "job")]))
    multirun = "-m" in settings
    check([PLACES.sub("somewhere", word) for word in settings if word != "-m"], multirun=multirun)


@pytest.fixture(autouse=True)
def _settings() -> None:
    catalog.register()


@pytest.mark.slow
def test_the_commands_of_the_tutorials_have_settings_that_exist() -> None:
    """Every arm of a sweep over arms is composed, which takes long: here the first stands for all."""
    words = commands((ROOT / "docs/tutorials/sweeps.md").read_text(encoding="utf-8"))
    assert len(words) >= 6
    for each in words:
        checked([*each, "arm=dense"] if "+exp=memory" in each else each)


@pytest.mark.nightly
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_every_page_have_settings_that_exist(page: Path) -> None:
    for each in commands(page.read_text(encoding="utf-8")):
        checked(each)


@pytest.mark.parametrize(
    "text",
    [
        f"```\n{RUN} +exp=gmm sed=1\n```\n", f"see `{RUN}\n+exp=gmm sed=1`.",
        f"```\n{RUN} -m \\\n    +exp=gmm sed=1\n```\n", f"```\n{RUN} +exp=gmm seed=0,1\n```\n",
    ],
)  # fmt: skip
def test_a_command_that_would_be_refused_is_found(text: str) -> None:
    (words,) = commands(text)
    with pytest.raises(SettingError):
        checked(words)
