"""Errors of huggingface_hub as Python's own, with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hntk._utils.arrays import brief
from hntk._utils.extras import import_extra

PURPOSE = "The Hugging Face Hub"
TOKEN = "give token=, set HF_TOKEN, or sign in with 'hf auth login'"


def hub_errors() -> Any:
    """Return huggingface_hub's module of errors."""
    return import_extra("huggingface_hub.errors", "hub", PURPOSE)


def unanswered() -> tuple[type[Exception], ...]:
    """Return the errors of a Hub that gives no answer: its answers are errors of their own."""
    # HTTP errors of the library that huggingface_hub uses, which has been another in each of its major versions
    return (*hub_errors().HfHubHTTPError.__bases__, OSError)


@contextmanager
def explained(api: Any, what: str) -> Iterator[None]:
    """Turn errors of huggingface_hub into Python's, with what to do."""
    errors = hub_errors()
    try:
        yield
    except errors.GatedRepoError as error:
        raise PermissionError(f"{what}: its owner asks for consent on its page first. Then {TOKEN}.") from error
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"{what}: there is no such repository, or it is private. Check the name, or {TOKEN}."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(f"{what}: there is no such revision. Give a commit, tag or branch of it.") from error
    except errors.LocalEntryNotFoundError as error:
        raise ConnectionError(f"{_offline(api, what, error)} A file that was pulled before would do too.") from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise PermissionError(f"{what}: a token with permission is needed. Please {TOKEN}.") from error
        raise ConnectionError(
            f"{what}: the Hub answers with status {status} ({error.server_message}). Try again later."
        ) from error
    except FileNotFoundError:
        raise
    except RuntimeError as error:
        raise ConnectionError(f"{what}: the upload broke off ({error}). Try again later.") from error
    except unanswered() as error:
        raise ConnectionError(_offline(api, what, error)) from error


def _offline(api: Any, what: str, error: Exception) -> str:
    remedy = "Connect, or pass the file on by other means: hntk.load reads it."
    return f"{what}: {api.endpoint} cannot be reached ({brief(str(error))}). {remedy}"
