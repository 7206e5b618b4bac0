"""Saved networks to and from the Hugging Face Hub.

What is pulled may be a stranger's: only files of the safetensors format are fetched, only hntk's own loader reads them
(:func:`hntk.load`), and no code of a repository is run.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hntk import __version__
from hntk._utils.arguments import as_count, as_instance, as_path
from hntk._utils.arrays import brief
from hntk._utils.extras import import_extra
from hntk.interchange.cards import FILE, model_card
from hntk.interchange.checks import SUFFIX, as_filename, as_repo_id, as_text
from hntk.interchange.hub_errors import PURPOSE, explained, hub_errors, unanswered
from hntk.networks.saveable import Saveable
from hntk.networks.saving import FileError, Saved, load, load_packed, save

MOST_BYTES = 2**30


def push_to_hub(
    network: Saveable | str | os.PathLike[str],
    repo_id: str,
    *,
    license: str | None = None,
    tags: Iterable[str] = (),
    scores: Mapping[str, float] | None = None,
    description: str = "",
    card: str | None = None,
    filename: str = FILE,
    private: bool | None = None,
    message: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Upload a saved network to the Hugging Face Hub, with a model card, in one commit.

    The repository is made if there is none. Its README.md is replaced by the card; earlier ones stay in its history.

    Parameters
    ----------
    network : Network, Classifier, IntegerNetwork, IntegerClassifier, IntegerRegressor or path
        What to upload, or a file that :func:`hntk.save` wrote, which is uploaded as it is once :func:`hntk.load` can
        read it.
    repo_id : str
        Owner and name of the repository, such as ``"me/mnist-49kb"``.
    license : str
        The Hub's name of the license, such as ``"apache-2.0"``; needed unless ``card`` is given.
    tags : iterable of str
        Tags of the generated card, see :func:`model_card`.
    scores : mapping of str to float, optional
        Measured scores on it.
    description : str
        Text that stands first on it.
    card : str, optional
        Text of README.md in place of the generated card.
    filename : str
        Name of the file in the repository; it ends in ``.safetensors``.
    private : bool, optional
        Whether a repository that is made is private; by default as the owner's settings say.
    message : str, optional
        Message of the commit.
    token : str, optional
        Access token with write permission; by default the one of HF_TOKEN or of ``hf auth login``.
    endpoint : str, optional
        Address of the Hub; by default the one of HF_ENDPOINT, or the public Hub.

    Returns
    -------
    str
        The commit, which ``pull_from_hub(repo_id, revision=…)`` pins.

    Raises
    ------
    ImportError
        If huggingface_hub is not installed.
    ValueError
        If this is no network, it cannot be saved, or an argument of the card is wrong. A damaged file is a
        :class:`hntk.FileError`.
    PermissionError
        If there is no token, or it may not write there.
    ConnectionError
        If the Hub cannot be reached, or answers with another error.
    """
    name = as_filename(filename)
    as_repo_id(repo_id)
    title = as_text(message, "message", "text", optional=True) or f"{name}, made with hntk {__version__}"
    api = _api(token, endpoint)
    with TemporaryDirectory() as folder:
        path = _file_of(network, Path(folder))
        if card is None:
            saved, encodings = load_packed(path)
            words: dict[str, Any] = {"license": license, "tags": tags, "scores": scores, "description": description}
            size = path.stat().st_size
            card = model_card(saved, repo_id, **words, filename=name, file_bytes=size, encodings=encodings)
        text = as_instance(card, "card", str, "the text of README.md").encode()
        with explained(api, f"{repo_id} cannot be written"):
            if not api.repo_exists(repo_id):
                api.create_repo(repo_id, private=private)
            return _commit(api, repo_id, {name: path, "README.md": text}, title)


def pull_from_hub(
    repo_id: str,
    revision: str | None = None,
    *,
    filename: str = FILE,
    most_bytes: int = MOST_BYTES,
    cache_dir: str | os.PathLike[str] | None = None,
    token: str | None = None,
    endpoint: str | None = None,
) -> Saved:
    """Download a network from the Hugging Face Hub and load it.

    Where the Hub cannot be reached, a file that was pulled before is read.

    Parameters
    ----------
    repo_id : str
        Owner and name of the repository, such as ``"me/mnist-49kb"``.
    revision : str, optional
        Commit, tag or branch; by default the newest state. A commit pins what is loaded.
    filename : str
        Name of the file in the repository; it ends in ``.safetensors``, as nothing else is read.
    most_bytes : int
        Size of a file that is downloaded at most.
    cache_dir : path, optional
        Folder of downloaded files; by default huggingface_hub's own.
    token : str, optional
        Access token for a private repository; by default the one of HF_TOKEN or of ``hf auth login``.
    endpoint : str, optional
        Address of the Hub; by default the one of HF_ENDPOINT, or the public Hub.

    Returns
    -------
    Network, Classifier, IntegerNetwork, IntegerClassifier or IntegerRegressor
        What was pushed.

    Raises
    ------
    ImportError
        If huggingface_hub is not installed.
    FileError
        If the file is damaged, or no network that :func:`hntk.save` wrote.
    ValueError
        If the file is larger than ``most_bytes``, or an argument is wrong.
    FileNotFoundError
        If there is no such repository, revision or file.
    PermissionError
        If the token may not read there.
    ConnectionError
        If the Hub cannot be reached and the file was not pulled before.
    """
    name, most, api = as_filename(filename), as_count(most_bytes, "most_bytes"), _api(token, endpoint)
    as_text(revision, "revision", "a commit, tag or branch", optional=True)
    cache = None if cache_dir is None else as_path(cache_dir, "cache_dir")
    where = f"{name} of {as_repo_id(repo_id)}" + ("" if revision is None else f" at {brief(revision)}")
    download: dict[str, Any] = {"revision": revision, "cache_dir": cache}
    with explained(api, f"{where} cannot be pulled"):
        try:
            listed = api.model_info(repo_id, revision=revision, files_metadata=True)
        except hub_errors().HfHubHTTPError:
            raise
        except unanswered():
            # a file that was pulled before needs no Hub
            path = api.hf_hub_download(repo_id, name, local_files_only=True, **download)
        else:
            _check_listed(listed, name, most, where)
            path = api.hf_hub_download(repo_id, name, **download)
    try:
        return load(path)
    except FileError as error:
        raise FileError(
            f"{where} cannot be loaded: {error} If it came through undamaged, ask its owner for a file that hntk.save "
            "wrote."
        ) from error


def _file_of(network: object, folder: Path) -> Path:
    """Return the path of a network's file, which is written unless there is one."""
    if not isinstance(network, str | os.PathLike):
        kind = "a network, a classifier, or the path of a file that hntk.save wrote"
        save(as_instance(network, "network", Saveable, kind), folder / FILE)
        return folder / FILE
    path = as_path(network, "network")
    load(path)
    return path


def _commit(api: Any, repo_id: str, files: Mapping[str, Path | bytes], message: str) -> str:
    """Upload files in one commit, and return its hash."""
    add = import_extra("huggingface_hub", "hub", PURPOSE).CommitOperationAdd
    return api.create_commit(repo_id, [add(name, part) for name, part in files.items()], commit_message=message).oid


def _api(token: str | None, endpoint: str | None) -> Any:
    hub = import_extra("huggingface_hub", "hub", PURPOSE)
    if not (token is None or (isinstance(token, str) and token.isascii() and token.isprintable() and token)):
        # a token is a secret, and no part of a message
        raise ValueError("token must be an access token of the Hub, or None for the one you signed in with.")
    address = as_text(endpoint, "endpoint", "the address of a Hub", optional=True)
    if address is not None and not (address.isprintable() and address.startswith(("https://", "http://"))):
        raise ValueError(f"endpoint must be an address that begins with https:// or http://, got {brief(endpoint)}.")
    return hub.HfApi(endpoint=endpoint, token=token, library_name="hntk", library_version=__version__)


def _check_listed(listed: Any, name: str, most: int, where: str) -> None:
    """Refuse a file that the repository does not have, or that is larger than a user wants."""
    sizes = {sibling.rfilename: sibling.size for sibling in listed.siblings or ()}
    if name not in sizes:
        networks = [file for file in sizes if file.endswith(SUFFIX)]
        there = f"one of {', '.join(networks)} with filename=" if networks else "a repository that push_to_hub wrote"
        raise FileNotFoundError(
            f"There is no {where}, which has {', '.join(sorted(sizes)) or 'no files'}: name {there}."
        )
    if (sizes[name] or 0) > most:
        raise ValueError(
            f"{where} takes {sizes[name]:,} bytes, more than most_bytes={most:,}: allow it with most_bytes=."
        )
