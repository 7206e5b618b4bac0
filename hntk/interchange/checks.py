"""Check what users say of repositories and cards; every message says what to give."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from hntk._utils.arrays import brief

SUFFIX = ".safetensors"


def as_text(value: Any, name: str, what: str, *, optional: bool = False) -> Any:
    """Return text without NUL characters; None too, where it is optional.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    if not (isinstance(value, str) and "\0" not in value) and not (optional and value is None):
        raise ValueError(f"{name} must be {what}, got {brief(value)}.")
    return value


def as_words(values: Any, name: str, *, empty: bool = True) -> list[str]:
    """Return words as a list; one word is a list of itself.

    Raises
    ------
    ValueError
        If they are no words, or none where there must be one.
    """
    listed = isinstance(values, Iterable) and not isinstance(values, Mapping)
    given: list[Any] = [values] if isinstance(values, str) else list(values) if listed else [None]
    if not all(isinstance(word, str) and word.strip() and "\0" not in word for word in given):
        raise ValueError(f"{name} must be words, such as ['one', 'another'], got {brief(values)}.")
    if not given and not empty:
        raise ValueError(f"{name} is empty: give one word or more.")
    return given


def as_repo_id(value: Any) -> str:
    """Return the name of a repository.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not isinstance(value, str) or not re.fullmatch(r"([A-Za-z0-9_.\-]+/)?[A-Za-z0-9_.\-]+", value):
        raise ValueError(f"repo_id must be a repository's owner and name, such as 'me/my-net', got {brief(value)}.")
    return value


def as_filename(value: Any) -> str:
    """Return the name of a file that may be fetched or stored.

    Raises
    ------
    ValueError
        If it is no name of a safetensors file in a repository.
    """
    path = value.split("/") if isinstance(value, str) else []
    if (
        not path
        or not path[-1].endswith(SUFFIX)
        or {"", ".", ".."} & set(path)
        or not re.fullmatch(r"[\w.\-/ ]+", value)
    ):
        raise ValueError(
            f"filename must end in {SUFFIX} and lie in the repository, got {brief(value)}: hntk reads files that "
            "hntk.save wrote, and never unpickles anything."
        )
    return value


def as_license(name: Any) -> str:
    """Return the Hub's name of a license.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9][a-z0-9.\-]*", name):
        raise ValueError(
            f"license must be the Hub's name of one, such as 'apache-2.0', 'mit' or 'other', got {brief(name)}: "
            "whoever publishes a network says what others may do with it."
        )
    return name
