"""A loopback server that speaks the Hugging Face Hub as far as the copy of the votes uses it.

The real huggingface_hub talks to it: repositories, trees, downloads, preupload and commits of
datasets, of files that are not large, and a branch's history squashed. What it answers follows what
the client reads and the Hub's documentation; it was not recorded from the Hub.

    with running_hub() as hub:
        HubDataset(..., endpoint=hub.url)
        hub.until(lambda: hub.votes())     # waits for a change, never for a time
        hub.answers = refuse(503)          # every request, until it is None again
        with hub.held("commit"): ...       # such requests wait until the block ends
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Json = dict[str, Any]

TOKEN = "hf_testTokenThatNobodyMayLog"
DATASET = "someone/arena-votes"


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int = 200
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)


Answers = Callable[[str, str], Reply | None]


def refuse(status: int, word: str = "", message: str = "no") -> Answers:
    """Refuses every request whose path has the word."""

    def answer(_method: str, path: str) -> Reply | None:
        return Reply(status, {"error": message}) if word in path else None

    return answer


@dataclass
class Repo:
    """A dataset: its files at every commit, oldest first."""

    private: bool
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)
    made: int = 0

    def commit(self, files: dict[str, bytes]) -> str:
        self.made += 1
        sha = hashlib.sha1(repr((self.made, sorted(files))).encode()).hexdigest()  # noqa: S324
        self.commits.append((sha, files))
        return sha

    def at(self, revision: str) -> tuple[str, dict[str, bytes]]:
        """The commit of that name; KeyError if there is none."""
        return self.commits[-1] if revision == "main" else next_of(self.commits, revision)


def next_of(commits: list[tuple[str, dict[str, bytes]]], sha: str) -> tuple[str, dict[str, bytes]]:
    for commit in commits:
        if commit[0] == sha:
            return commit
    raise KeyError(sha)


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324


class Hub:
    """The server's state; every method may be called from any thread."""

    def __init__(self) -> None:
        self.url = ""
        self.repos: dict[str, Repo] = {}
        self.answers: Answers | None = None
        self.requests: list[tuple[str, str]] = []
        self.received: list[bytes] = []
        self.page = 1000
        self._holds: dict[str, threading.Event] = {}
        self.changed = threading.Condition()

    # --- for tests -----------------------------------------------------------------------------

    def until(self, true: Callable[[], object], seconds: float = 30.0) -> None:
        """Waits until it is true; looks after every request, and often between them.

        Raises:
            TimeoutError: it never was.
        """
        end = time.monotonic() + seconds
        with self.changed:
            while not true():
                if time.monotonic() > end:
                    raise TimeoutError([f"{m} {p}" for m, p in self.requests[-10:]])
                self.changed.wait(0.01)

    @contextmanager
    def held(self, word: str) -> Iterator[None]:
        """Requests whose path has the word get no answer before the block ends."""
        self._holds[word] = threading.Event()
        try:
            yield
        finally:
            self._holds.pop(word).set()

    def count(self, word: str) -> int:
        """How many requests had the word in their path."""
        return sum(word in path for _, path in self.requests)

    @property
    def repo(self) -> Repo:
        return self.repos[DATASET]

    def files(self) -> dict[str, bytes]:
        """What the dataset holds now."""
        return self.repo.at("main")[1] if DATASET in self.repos else {}

    def put(self, name: str, content: bytes) -> None:
        """Another writer's commit of that file."""
        repo = self.repos.setdefault(DATASET, Repo(private=True))
        with self.changed:
            repo.commit({**(repo.commits[-1][1] if repo.commits else {}), name: content})
            self.changed.notify_all()

    def lines(self, kind: str) -> list[Json]:
        """The records of that kind, of all files."""
        found: list[Json] = []
        for name, content in self.files().items():
            if name.startswith("data/"):
                lines = content.decode(errors="replace").split("\n")
                ours = [x for x in lines if x.startswith(f'{{"kind":"{kind}"') and x.endswith("}")]
                found += [json.loads(line)["record"] for line in ours]
        return found

    def votes(self) -> set[str]:
        """The battles whose vote has been acknowledged."""
        return {record["battle_id"] for record in self.lines("vote")}

    def battles(self) -> set[str]:
        """The battles that have been acknowledged."""
        return {record["id"] for record in self.lines("battle")}

    # --- for the handler -----------------------------------------------------------------------

    def wait_if_held(self, path: str) -> None:
        for word, event in list(self._holds.items()):
            if word in path:
                event.wait(60)

    def answer(self, method: str, path: str, query: Json, body: bytes) -> Reply:
        parts = path.strip("/").split("/")
        for route in (self._create, self._dataset, self._resolve, self._other):
            reply = route(method, parts, query, body)
            if reply is not None:
                return reply
        return Reply(404, {"error": "no such endpoint"})

    def _create(self, _method: str, parts: list[str], _query: Json, body: bytes) -> Reply | None:
        if parts != ["api", "repos", "create"]:
            return None
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        found = {"url": f"{self.url}/datasets/{name}"}
        if name in self.repos:
            return Reply(409, found | {"error": "You already created this dataset repo"})
        repo = self.repos[name] = Repo(private=asked.get("visibility") == "private")
        repo.commit({".gitattributes": b"*.parquet filter=lfs\n"})
        return Reply(200, found)

    def _dataset(self, _method: str, parts: list[str], query: Json, body: bytes) -> Reply | None:
        if parts[:2] != ["api", "datasets"] or len(parts) < 4:
            return None
        name, action, revision = "/".join(parts[2:4]), parts[4:5], unquote("".join(parts[5:6]))
        repo = self.repos.get(name)
        if repo is None:
            return Reply(404, {"error": "not found"}, {"X-Error-Code": "RepoNotFound"})
        if not action or action == ["revision"]:
            sha, files = repo.at(revision or "main")
            siblings = [{"rfilename": path} for path in files]
            return Reply(
                200, {"id": name, "sha": sha, "private": repo.private, "siblings": siblings}
            )
        do = {
            "tree": self._tree, "preupload": self._preupload, "commit": self._commit,
            "super-squash": self._squash,
        }[action[0]]  # fmt: skip
        return do(repo, revision, query, body)

    def _squash(self, repo: Repo, revision: str, _query: Json, body: bytes) -> Reply:
        if revision != "main":
            return Reply(404, {"error": "no branch"}, {"X-Error-Code": "RevisionNotFound"})
        assert json.loads(body)["message"]
        files = repo.at("main")[1]
        repo.commits.clear()
        repo.commit(files)
        return Reply(200)

    def _tree(self, repo: Repo, revision: str, query: Json, _body: bytes) -> Reply:
        sha, files = repo.at(revision)
        start = int(query.get("cursor", ["0"])[0])
        names = sorted(files)[start : start + self.page]
        found = [self._entry(path, files[path]) for path in names]
        headers = {}
        if start + self.page < len(files):
            url = f"{self.url}/api/datasets/{DATASET}/tree/{sha}?recursive=true"
            headers["Link"] = f'<{url}&cursor={start + self.page}>; rel="next"'
        return Reply(200, found, headers)

    def _entry(self, path: str, content: bytes) -> Json:
        return {"type": "file", "oid": git_oid(content), "size": len(content), "path": path}

    def _preupload(self, repo: Repo, revision: str, _query: Json, body: bytes) -> Reply:
        _, files = repo.at(revision)
        found = []
        for asked in json.loads(body)["files"]:
            info = {"path": asked["path"], "uploadMode": "regular", "shouldIgnore": False}
            if asked["path"] in files:
                info["oid"] = git_oid(files[asked["path"]])
            found.append(info)
        return Reply(200, {"files": found})

    def _commit(self, repo: Repo, _revision: str, _query: Json, body: bytes) -> Reply:
        head, files = repo.at("main")[0], dict(repo.at("main")[1])
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if value.get("parentCommit", head) != head:
                return Reply(412, {"error": "A commit has happened since. Please refresh."})
            if item["key"] == "deletedFile":
                del files[value["path"]]
            elif item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
                self.received.append(files[value["path"]])
        sha = repo.commit(files)
        url = f"{self.url}/datasets/{DATASET}/commit/{sha}"
        return Reply(200, {"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""})

    def _resolve(self, _method: str, parts: list[str], _query: Json, _body: bytes) -> Reply | None:
        if parts[0] != "datasets" or parts[3:4] != ["resolve"]:
            return None
        repo, path = self.repos["/".join(parts[1:3])], "/".join(parts[5:])
        sha, files = repo.at(parts[4])
        if path not in files:
            return Reply(404, {"error": "no file"}, {"X-Error-Code": "EntryNotFound"})
        content = files[path]
        headers = {"X-Repo-Commit": sha, "ETag": f'"{git_oid(content)}"'}
        return Reply(200, content, headers)

    def _other(self, _method: str, parts: list[str], _query: Json, _body: bytes) -> Reply | None:
        if parts == ["api", "validate-yaml"]:
            return Reply(200, {"errors": [], "warnings": []})
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def _serve(self) -> None:
        body = self._body()
        address = urlsplit(self.path)
        hub = self.hub
        with hub.changed:
            hub.requests.append((self.command, address.path))
            head = "".join(f"{k}: {v}\n" for k, v in self.headers.items() if k != "authorization")
            hub.received += [self.path.encode(), head.encode(), body]
            hub.changed.notify_all()
        hub.wait_if_held(address.path)
        with hub.changed:
            reply = hub.answers(self.command, address.path) if hub.answers else None
            if reply is None:
                reply = self._unless_known()
            if reply is None:
                query = parse_qs(address.query)
                reply = hub.answer(self.command, address.path, query, body)
        self._send(reply)
        with hub.changed:
            hub.changed.notify_all()

    def _unless_known(self) -> Reply | None:
        if self.headers.get("authorization") == f"Bearer {TOKEN}":
            return None
        return Reply(401, {"error": "Invalid credentials in Authorization header"})

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _send(self, reply: Reply) -> None:
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        try:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
        except ConnectionError:  # the client has been killed, or has given up
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = _serve  # noqa: N815 - the base class's names


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Ends the connections that clients keep for their next request."""
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed in the middle is part of the tests."""
        import sys

        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def running_hub() -> Iterator[Hub]:
    """The server in a thread of its own."""
    hub = Hub()
    with serving(hub):
        yield hub


@contextmanager
def serving(hub: Hub, port: int = 0) -> Iterator[None]:
    """Serves it; again at the same port, as after an outage."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = _Server(("127.0.0.1", port), handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="hub-server")
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(timeout=10)
        server.server_close()
        server.hang_up()
