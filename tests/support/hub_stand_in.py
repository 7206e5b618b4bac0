"""A stand-in for the Hugging Face Hub: an HTTP server that keeps repositories in memory.

It answers the requests that huggingface_hub makes to create a repository, commit files to it and download them, in the
way of large files (Git LFS) for all that are no text, as the Hub does.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_stand_in"


@dataclass
class Repository:
    """Commits of a repository, the newest last: hash, and files by name."""

    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)
    private: bool = False

    def commit(self, files: dict[str, bytes]) -> str:
        """Add files, and return the hash."""
        now = {**(self.commits[-1][1] if self.commits else {}), **files}
        name = sha1(repr((len(self.commits), sorted(now.items()))).encode()).hexdigest()
        self.commits.append((name, now))
        return name

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Return the commit of a revision."""
        if revision == "main":
            return self.commits[-1]
        return next((commit for commit in self.commits if commit[0] == revision), None)


@dataclass
class StandIn:
    """The server's address, its repositories by name, and what was asked of it."""

    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    large: dict[str, bytes] = field(default_factory=dict)

    def put(self, name: str, files: dict[str, bytes]) -> str:
        """Put files into a repository that anybody may read, and return the commit."""
        return self.repositories.setdefault(name, Repository()).commit(files)


@contextmanager
def hub_stand_in() -> Iterator[StandIn]:
    """Run a stand-in on this machine."""
    state = StandIn()
    handler = type("Handler", (_Handler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        state.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """Answers of the server; class attribute ``state`` holds what it knows."""

    state: StandIn

    def log_message(self, *args: object) -> None:
        """Print nothing."""

    def do_POST(self) -> None:
        body, path = self._begin()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._json({"error": "Invalid credentials in Authorization header"}, 401)
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            known, made = name in self.state.repositories, self.state.repositories.setdefault(name, Repository())
            made.private = made.private or asked.get("visibility") == "private" or bool(asked.get("private"))
            self._json({"url": f"{self.state.address}/{name}"}, 409 if known else 200)
        elif path == "/api/validate-yaml":
            valid = json.loads(body)["content"].startswith("---\n")
            missing = {"message": "empty or missing yaml metadata in repo card"}
            self._json({"errors": [], "warnings": [] if valid else [missing]})
        elif match := re.fullmatch(r"/api/models/(.+)/preupload/main", path):
            files = json.loads(body)["files"]
            text = {name: "regular" if name.endswith(".md") else "lfs" for name in (file["path"] for file in files)}
            self._json({"files": [{"path": n, "uploadMode": mode, "shouldIgnore": False} for n, mode in text.items()]})
        elif path.endswith(".git/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            upload = {"upload": {"href": f"{self.state.address}/large"}}
            self._json({"transfer": "basic", "objects": [{**one, "actions": upload} for one in objects]})
        elif match := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            name = self.state.put(match[1], self._committed(body))
            self._json({"commitUrl": f"{self.state.address}/{match[1]}/commit/{name}", "commitOid": name})
        else:
            self._json({"error": f"the stand-in does not know POST {path}"}, 501)

    def do_PUT(self) -> None:
        body, _ = self._begin()
        self.state.large[sha256(body).hexdigest()] = body
        self._json({})

    def do_GET(self) -> None:
        _, path = self._begin()
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            self._info(match[1], match[2] or "main")
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(*match.groups())
        else:
            self._json({"error": f"the stand-in does not know GET {path}"}, 501)

    do_HEAD = do_GET

    def _begin(self) -> tuple[bytes, str]:
        path = unquote(urlsplit(self.path).path)
        self.state.requests.append(f"{self.command} {path}")
        return self.rfile.read(int(self.headers.get("Content-Length", 0))), path

    def _committed(self, body: bytes) -> dict[str, bytes]:
        """Return the files of a commit."""
        files = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.state.large[value["oid"]]
        return files

    def _readable(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Return a commit, or answer with an error."""
        known = self.state.repositories.get(name)
        if known is None or (known.private and self.headers.get("Authorization") != f"Bearer {TOKEN}"):
            self._json({"error": "Repository not found"}, 401, {"X-Error-Code": "RepoNotFound"})
            return None
        commit = known.at(revision)
        if commit is None:
            self._json({"error": f"Invalid rev id: {revision}"}, 404, {"X-Error-Code": "RevisionNotFound"})
        return commit

    def _info(self, name: str, revision: str) -> None:
        commit = self._readable(name, revision)
        if commit is not None:
            siblings = [{"rfilename": file, "size": len(data)} for file, data in commit[1].items()]
            self._json({"_id": name, "id": name, "sha": commit[0], "siblings": siblings})

    def _file(self, name: str, revision: str, file: str) -> None:
        commit = self._readable(name, revision)
        if commit is None:
            return
        if file not in commit[1]:
            self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            return
        data, headers = commit[1][file], {"X-Repo-Commit": commit[0]}
        self._send(
            data, 200, {**headers, "ETag": f'"{sha256(data).hexdigest()}"', "Content-Type": "application/binary"}
        )

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        more = {"X-Error-Message": value["error"]} if status >= 400 and "error" in value else {}
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json", **more, **(headers or {})})

    def _send(self, data: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
