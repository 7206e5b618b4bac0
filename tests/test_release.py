"""What a release says of itself, in all places alike."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

import hntk

ROOT = Path(__file__).parents[1]
RELEASE = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})$", re.MULTILINE)
of_the_repository = pytest.mark.skipif(
    not (ROOT / ".github").exists(), reason="an sdist holds no settings of the place that the repository lies in"
)
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def text(name: str) -> str:
    """Return a file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def project() -> dict[str, Any]:
    """Return the project's metadata."""
    return tomllib.loads(text("pyproject.toml"))["project"]


def test_the_version_is_the_same_everywhere() -> None:
    citation, newest = yaml.safe_load(text("CITATION.cff")), RELEASE.findall(text("CHANGELOG.md"))[0]
    assert project()["version"] == hntk.__version__ == citation["version"] == newest[0]
    assert str(citation["date-released"]) == newest[1]
    assert citation["license"] == project()["license"]


def test_the_changelog_is_in_order() -> None:
    changelog = text("CHANGELOG.md")
    headings = re.findall(r"^## (.*)$", changelog, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    releases = RELEASE.findall(changelog)
    assert len(releases) == len(headings) - 1
    versions = [tuple(map(int, version.split("."))) for version, _ in releases]
    assert versions == sorted(versions, reverse=True)
    dates = [date.fromisoformat(day) for _, day in releases]
    assert dates == sorted(dates, reverse=True)
    assert set(re.findall(r"^### (.*)$", changelog, re.MULTILINE)) <= KINDS


@of_the_repository
def test_a_release_is_built_of_the_tag_of_its_version() -> None:
    workflow = yaml.safe_load(text(".github/workflows/release.yaml"))
    # YAML 1.1 reads the word on as true
    assert workflow[True]["push"]["tags"] == ["v*"]
    publishing = workflow["jobs"]["publish"]
    # a token of one job, for the package index alone
    assert publishing["permissions"] == {"id-token": "write"}
    assert workflow["permissions"] == {"contents": "read"}
    assert publishing["needs"] == "build"


@of_the_repository
def test_all_addresses_of_the_project_are_under_one_name() -> None:
    urls = project()["urls"]
    assert set(urls) == {"Homepage", "Documentation", "Source", "Changelog", "Issues"}
    home = urls["Homepage"]
    assert urls["Source"] == home
    assert urls["Issues"] == f"{home}/issues"
    assert urls["Changelog"].startswith(f"{home}/blob/main/CHANGELOG.md")
    owner, name = home.removeprefix("https://github.com/").split("/")
    assert urls["Documentation"] == f"https://{owner}.github.io/{name}"
    assert yaml.safe_load(text("CITATION.cff"))["repository-code"] == home
    assert f"{home}/security/advisories/new" in text("SECURITY.md")
    assert f"{home}/security/advisories/new" in text(".github/ISSUE_TEMPLATE/config.yaml")


@of_the_repository
def test_templates_are_forms_that_name_what_is_needed() -> None:
    forms = [path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yaml") if path.name != "config.yaml"]
    assert len(forms) >= 3
    for path in forms:
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert {"name", "description", "body"} <= form.keys()
        fields = [field for field in form["body"] if field["type"] != "markdown"]
        assert len({field["id"] for field in fields}) == len(fields) > 0
        assert any(field.get("validations", {}).get("required") for field in fields)
