"""A Hub on loopback: the part of its HTTP API that the Hugging Face clients call when they push and load.

Real clients talk to it by `HF_ENDPOINT`. A call that it does not know is answered with 501 and makes `with Hub()` fail
at its end, naming the call: nothing passes because nobody looked. Xet is off (`clients_environment`).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import yaml
from aiohttp import web

KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}
STORED_AS_LFS = (".safetensors", ".parquet", ".bin", ".pt", ".arrow", ".png", ".zip")
TIME = "2026-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class File:
    """A file of a commit; `lfs` ones are pointers into the store of large files."""

    content: bytes
    lfs: bool

    @property
    def blob_id(self) -> str:
        """What git calls it: of a large file, the id of its pointer."""
        content = self.content
        if self.lfs:
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(content)}\n"
            content = pointer.encode()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.blob_id


@dataclass
class Repository:
    """Commits in order; each holds all its files by path."""

    kind: str
    id: str
    private: bool
    sdk: str | None = None
    variables: dict[str, str] = field(default_factory=dict)
    commits: list[tuple[str, str, dict[str, File]]] = field(default_factory=list)

    def commit(self, title: str, files: dict[str, File]) -> str:
        seed = f"{self.kind} {self.id} {len(self.commits)} {title} {sorted((p, f.etag) for p, f in files.items())}"
        self.commits.append((hashlib.sha1(seed.encode()).hexdigest(), title, files))
        return self.head

    @property
    def head(self) -> str:
        return self.commits[-1][0]

    @property
    def files(self) -> dict[str, File]:
        return self.commits[-1][2]

    def at(self, revision: str) -> tuple[str, dict[str, File]]:
        """Commit id and files at a branch name or commit id."""
        for oid, _, files in reversed(self.commits):
            if revision in ("main", oid):
                return oid, files
        raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")


class HubError(Exception):
    """Answered as the Hub does, by status and `X-Error-Code`."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code

    def response(self) -> web.Response:
        headers = {"X-Error-Code": self.code, "X-Error-Message": str(self)}
        return web.json_response({"error": str(self)}, status=self.status, headers=headers)


class Hub:
    """
    The server, in a thread of its own: `with Hub() as hub: … hub.url …`.

    Attributes:
        url: its address, for `HF_ENDPOINT`.
        token: the one token that may write and see what is private; belongs to the organisation `org`.
        repositories: by kind (`model`, `dataset`, `space`) and id.
        large_files: content by sha256, as uploaded; a repository may hold none of it yet.
        calls: what was called, `(name, path)`, in order.
        unknown: the calls that it did not know.
    """

    def __init__(self) -> None:
        self.token = "hf_" + "loopback" * 4  # put together here: scanners take whole tokens for real ones
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.large_files: dict[str, bytes] = {}
        self.calls: list[tuple[str, str]] = []
        self.unknown: list[str] = []
        self.held = threading.Event()
        self._hold: tuple[str, str] | None = None
        self._started = threading.Event()

    def __enter__(self) -> Hub:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._started.wait(10), "the Hub on loopback did not start"
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        if kind is None:
            assert not self.unknown, f"calls the Hub on loopback does not know: {self.unknown}"

    def clients_environment(self, home: Path, *, token: bool = True) -> dict[str, str]:
        """Environment for a fresh process whose clients talk to this Hub and to nothing else."""
        unset = ("PYTHONPATH", "HF_TOKEN", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE")
        environment = {name: value for name, value in os.environ.items() if name not in unset}
        environment |= {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "FALSE",  # evaluate counts downloads on another server
            "OMP_NUM_THREADS": "1",
        }
        return environment | ({"HF_TOKEN": self.token} if token else {})

    def hold(self, name: str | None, below: str = "/") -> None:
        """Let calls of this name, `below` a path, wait unanswered and without effect until `hold(None)`; `held` tells
        of the first."""
        self.held.clear()
        self._hold = name and (name, below)

    def count(self, name: str) -> int:
        """How often a call was made."""
        return sum(called == name for called, _ in self.calls)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run())

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        application = web.Application(middlewares=[self._answer], client_max_size=2**30)
        repository = "/api/{kind:models|datasets|spaces}/{org}/{name}"
        plain = "/{org:(?!api|datasets|spaces)[^/]+}/{name}"
        for method, path, handler in (
            ("POST", "/api/repos/create", self.create_repo),
            ("POST", "/api/validate-yaml", self.validate_yaml),
            ("GET", "/api/agent-harnesses", self.agent_harnesses),
            ("GET", repository, self.repo_info),
            ("GET", repository + "/revision/{revision}", self.repo_info),
            ("GET", repository + "/tree/{revision}", self.tree),
            ("GET", repository + "/tree/{revision}/{path:.+}", self.tree),
            ("POST", repository + "/paths-info/{revision}", self.paths_info),
            ("POST", repository + "/preupload/{revision}", self.preupload),
            ("POST", repository + "/commit/{revision}", self.commit),
            ("POST", "/api/spaces/{org}/{name}/variables", self.space_variable),
            ("POST", plain + ".git/info/lfs/objects/batch", self.lfs_batch),
            ("POST", "/{kind:datasets|spaces}/{org}/{name}.git/info/lfs/objects/batch", self.lfs_batch),
            ("PUT", "/large/{oid}", self.lfs_upload),
            ("POST", "/large/{oid}/verify", self.lfs_verify),
            ("GET", "/large/{oid}", self.lfs_download),
            ("GET", plain + "/resolve/{revision}/{path:.+}", self.resolve),
            ("GET", "/{kind:datasets|spaces}/{org}/{name}/resolve/{revision}/{path:.+}", self.resolve),
        ):
            application.router.add_route(method, path, handler)
            if method == "GET":
                application.router.add_route("HEAD", path, handler)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self._started.set()
        await self._stop.wait()
        self._hold = None
        await runner.cleanup()

    @web.middleware
    async def _answer(self, request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            name = request.match_info.handler.__name__ if request.match_info.http_exception is None else None
            if name is None:
                self.unknown.append(f"{request.method} {request.path_qs}")
                return web.json_response({"error": "the Hub on loopback does not know this call"}, status=501)
            self.calls.append((name, request.path))
            await request.read()
            held = self._hold
            if held and held[0] == name and request.path.startswith(held[1]):
                self.held.set()
                while self._hold == held:
                    await asyncio.sleep(0.01)
                if request.transport is None or request.transport.is_closing():
                    return web.Response(status=499)  # the caller was killed meanwhile: as if it had never called
            return await handler(request)
        except HubError as error:
            return error.response()

    # who asks, and for what

    def _may_write(self, request: web.Request) -> bool:
        return request.headers.get("Authorization") == f"Bearer {self.token}"

    def _repository(self, request: web.Request, *, write: bool = False) -> Repository:
        kind = KINDS[request.match_info.get("kind", "models")]
        name = f"{request.match_info['org']}/{request.match_info['name']}"
        repository = self.repositories.get((kind, name))
        if repository is None or (repository.private and not self._may_write(request)):
            status = 404 if self._may_write(request) else 401  # strangers are not told which
            raise HubError(status, "RepoNotFound", "Repository not found")
        if write and not self._may_write(request):
            raise HubError(403, "Forbidden", "this token may not write")
        return repository

    def _revision(self, request: web.Request) -> str:
        return unquote(request.match_info.get("revision", "main"))

    # writing

    async def create_repo(self, request: web.Request) -> web.Response:
        if not self._may_write(request):
            raise HubError(401, "Unauthorized", "Invalid credentials in Authorization header")
        wish = await request.json()
        kind, name = wish.get("type", "model"), f"{wish['organization']}/{wish['name']}"
        url = f"{self.url}/{'' if kind == 'model' else kind + 's/'}{name}"
        if (kind, name) in self.repositories:
            return web.json_response({"error": "You already created this repo", "url": url}, status=409)
        if wish["organization"] != "org":
            raise HubError(403, "Forbidden", f"no rights to create in {wish['organization']}")
        if kind == "space" and wish.get("sdk") not in ("gradio", "docker", "static"):
            raise HubError(400, "BadRequest", f"sdk {wish.get('sdk')!r}")
        made = Repository(kind, name, wish.get("visibility") == "private", wish.get("sdk"))
        made.commit("initial commit", {".gitattributes": File(b"*.safetensors filter=lfs\n", lfs=False)})
        self.repositories[kind, name] = made
        return web.json_response({"url": url, "id": name, "name": name})

    async def validate_yaml(self, request: web.Request) -> web.Response:
        """Far less than the real one: the block must be a mapping, a licence a string, tags strings."""
        content = (await request.json())["content"]
        errors = []
        block = content.split("\n---", 1)[0].removeprefix("---\n") if content.startswith("---\n") else ""
        try:
            data = yaml.safe_load(block) or {}
            if not isinstance(data, dict):
                errors.append("metadata is no mapping")
            elif not isinstance(data.get("license", ""), str):
                errors.append('"license" must be a string')
            elif not all(isinstance(tag, str) for tag in data.get("tags", [])):
                errors.append('"tags" must be strings')
        except yaml.YAMLError as error:
            errors.append(str(error))
        answer = {"errors": [{"message": message} for message in errors], "warnings": []}
        return web.json_response(answer, status=400 if errors else 200)

    async def preupload(self, request: web.Request) -> web.Response:
        repository = self._repository(request, write=True)
        _, present = repository.at(self._revision(request))
        answers = []
        for wish in (await request.json())["files"]:
            binary = b"\0" in base64.b64decode(wish["sample"])
            large = wish["path"].endswith(STORED_AS_LFS) or binary or wish["size"] > 10 * 2**20
            before = present.get(wish["path"])
            answers.append(
                {"path": wish["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
                | ({"oid": before.etag} if before else {})
            )
        return web.json_response({"files": answers})

    async def lfs_batch(self, request: web.Request) -> web.Response:
        self._repository(request, write=True)
        wish = json.loads(await request.read())
        objects = []
        for wanted in wish["objects"]:
            answer = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.large_files:
                href = f"{self.url}/large/{wanted['oid']}"
                answer["actions"] = {"upload": {"href": href}, "verify": {"href": href + "/verify"}}
            objects.append(answer)
        return web.json_response({"transfer": "basic", "objects": objects})

    async def lfs_upload(self, request: web.Request) -> web.Response:
        content = await request.read()
        oid = request.match_info["oid"]
        if hashlib.sha256(content).hexdigest() != oid:
            raise HubError(400, "BadRequest", "content does not have the announced sha256")
        self.large_files[oid] = content
        return web.Response()

    async def lfs_verify(self, request: web.Request) -> web.Response:
        told = await request.json()
        content = self.large_files.get(told["oid"])
        if content is None or len(content) != told["size"]:
            raise HubError(404, "NotFound", "not uploaded")
        return web.json_response({})

    async def commit(self, request: web.Request) -> web.Response:
        repository = self._repository(request, write=True)
        head, present = repository.at(self._revision(request))
        files, title = dict(present), None
        for line in (await request.read()).splitlines():
            item = json.loads(line)
            value = item["value"]
            match item["key"]:
                case "header":
                    title = value["summary"]
                    if value.get("parentCommit") not in (None, head):
                        raise HubError(412, "PreconditionFailed", "A commit has happened since")
                case "file":
                    files[value["path"]] = File(base64.b64decode(value["content"]), lfs=False)
                case "lfsFile":
                    if value["oid"] not in self.large_files:
                        raise HubError(400, "BadRequest", f"large file {value['oid']} was never uploaded")
                    files[value["path"]] = File(self.large_files[value["oid"]], lfs=True)
                case "deletedFile":
                    if files.pop(value["path"], None) is None:
                        raise HubError(404, "EntryNotFound", "A file with this name doesn't exist")
                case other:
                    self.unknown.append(f"commit operation {other}")
                    raise HubError(501, "NotImplemented", f"commit operation {other}")
        assert title, "a commit without a header"
        oid = repository.commit(title, files)
        answer = {"success": True, "commitOid": oid, "commitUrl": f"{self.url}/{repository.id}/commit/{oid}"}
        return web.json_response(answer)

    async def space_variable(self, request: web.Request) -> web.Response:
        repository = self.repositories.get(("space", f"{request.match_info['org']}/{request.match_info['name']}"))
        if repository is None or not self._may_write(request):
            raise HubError(404, "RepoNotFound", "Repository not found")
        wish = await request.json()
        repository.variables[wish["key"]] = wish["value"]
        answer = {key: {"value": value, "updatedAt": TIME} for key, value in repository.variables.items()}
        return web.json_response(answer)

    # reading

    async def agent_harnesses(self, request: web.Request) -> web.Response:
        """The clients look up which agent they run in; this Hub knows none."""
        return web.json_response({})

    async def repo_info(self, request: web.Request) -> web.Response:
        repository = self._repository(request)
        oid, files = repository.at(self._revision(request))
        answer = {
            "_id": hashlib.sha1(repository.id.encode()).hexdigest()[:24],
            "id": repository.id,
            "author": repository.id.split("/")[0],
            "sha": oid,
            "private": repository.private,
            "gated": False,
            "disabled": False,
            "lastModified": TIME,
            "createdAt": TIME,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [{"rfilename": path} for path in sorted(files)],
        }
        if repository.kind == "space":
            answer["sdk"] = repository.sdk
        return web.json_response(answer)

    @staticmethod
    def _entry(path: str, file: File) -> dict[str, Any]:
        entry = {"type": "file", "path": path, "oid": file.blob_id, "size": len(file.content)}
        if file.lfs:
            entry["lfs"] = {"oid": file.sha256, "size": len(file.content), "pointerSize": 134}
        return entry

    @staticmethod
    def _folders(files: dict[str, File]) -> dict[str, dict[str, Any]]:
        names = {str(parent) for path in files for parent in PurePosixPath(path).parents} - {"."}
        return {
            name: {"type": "directory", "path": name, "oid": hashlib.sha1(name.encode()).hexdigest(), "size": 0}
            for name in names
        }

    async def tree(self, request: web.Request) -> web.Response:
        _, files = self._repository(request).at(self._revision(request))
        at = PurePosixPath(request.match_info.get("path", "."))
        entries = self._folders(files) | {path: self._entry(path, file) for path, file in files.items()}
        recursive = request.query.get("recursive", "false").lower() in ("true", "1")
        inside = [
            entry
            for path, entry in sorted(entries.items())
            if at in PurePosixPath(path).parents and (recursive or PurePosixPath(path).parent == at)
        ]
        if not inside and str(at) != ".":
            raise HubError(404, "EntryNotFound", f"{at} does not exist")
        return web.json_response(inside)

    async def paths_info(self, request: web.Request) -> web.Response:
        _, files = self._repository(request).at(self._revision(request))
        if request.content_type == "application/json":
            paths = (await request.json())["paths"]
        else:
            paths = (await request.post()).getall("paths", [])
        folders = self._folders(files)
        found = [self._entry(path, files[path]) for path in paths if path in files]
        return web.json_response(found + [folders[path] for path in paths if path in folders])

    async def resolve(self, request: web.Request) -> web.Response:
        oid, files = self._repository(request).at(self._revision(request))
        path = request.match_info["path"]
        if path not in files:
            raise HubError(404, "EntryNotFound", f"{path} does not exist in this revision")
        file = files[path]
        headers = {"X-Repo-Commit": oid, "ETag": f'"{file.blob_id}"', "Accept-Ranges": "bytes"}
        if not file.lfs:
            return _content(request, file.content, headers)
        headers |= {"X-Linked-Size": str(len(file.content)), "X-Linked-ETag": f'"{file.sha256}"'}
        # Another host name, as a CDN has: clients follow redirects within one host by themselves.
        headers["Location"] = f"{self.url.replace('127.0.0.1', 'localhost')}/large/{file.sha256}"
        return web.Response(status=302, headers=headers)

    async def lfs_download(self, request: web.Request) -> web.Response:
        content = self.large_files.get(request.match_info["oid"])
        if content is None:
            raise HubError(404, "NotFound", "no such large file")
        return _content(request, content, {"ETag": f'"{request.match_info["oid"]}"', "Accept-Ranges": "bytes"})


def _content(request: web.Request, content: bytes, headers: dict[str, str]) -> web.Response:
    """A whole file, or the asked range of it."""
    wanted = request.http_range
    if wanted.start is None and wanted.stop is None:
        return web.Response(body=content, headers=headers)
    start, stop, _ = wanted.indices(len(content))
    if start >= stop:
        headers |= {"Content-Range": f"bytes */{len(content)}"}
        return web.Response(status=416, headers=headers)
    headers |= {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}
    return web.Response(status=206, body=content[start:stop], headers=headers)
