"""A hub on loopback for the hub's own library: repositories in memory, and faults on demand.

    with Hub() as hub:
        hub.add("org/repo", {"model.safetensors": body})
        hub.faults.append(cut(1000))            the next download of a file breaks after 1000 bytes

It answers what `huggingface_hub` asks: HEAD and GET of resolve/ with X-Repo-Commit, ETag and the linked headers, the
redirect of large files to another host (which must never see a token), ranges, info and tree of a repository, and what
an upload needs.
"""

import base64
import contextlib
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LARGE = 1000
"""Files of so many bytes lie in the large file store, and are found by a redirect."""


@dataclass
class Fault:
    """What goes wrong, once: with the question ("HEAD") or with the download ("GET")."""

    name: str
    method: str = "GET"
    status: int = 0
    after: int = 0
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    parts: tuple[bytes, ...] = ()


def cut(after):
    """The connection is closed after so many bytes."""
    return Fault("cut", after=after)


def answers(status, method="GET", **headers):
    """The server answers with a status, such as 503."""
    return Fault("answers", method=method, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})


def wrong_bytes():
    """Bytes of the right number, but others."""
    return Fault("wrong")


def endless():
    """Bytes without a stated length that never end."""
    return Fault("endless")


def stalled(after, seconds):
    """So many bytes, then none for so many seconds."""
    return Fault("stalled", after=after, seconds=seconds)


def dripping(seconds):
    """A byte now and then, for so many seconds."""
    return Fault("dripping", seconds=seconds)


def slow(seconds):
    """The server waits before it answers."""
    return Fault("slow", method="HEAD", seconds=seconds)


def raw(method, *parts, seconds=0.0):
    """The server sends these bytes instead of an answer, waits between them, and closes the connection."""
    return Fault(f"raw {method}", method=method, parts=parts, seconds=seconds)


@dataclass
class Repo:
    """One revision of a repository, which is its branch `main`."""

    files: dict[str, bytes]
    private: bool = False
    gated: bool = False

    @property
    def commit(self):
        text = "".join(f"{name}{hashlib.sha1(body).hexdigest()}" for name, body in sorted(self.files.items()))
        return hashlib.sha1(text.encode()).hexdigest()


@dataclass
class Request:
    """What was asked: method, path, the first byte wanted, the bytes that were sent, and the host and token."""

    method: str
    path: str
    first: int
    host: str
    token: str
    sent: int = 0


class Hub:
    """The server; `endpoint` is what HF_ENDPOINT would name."""

    def __init__(self):
        self.repos = {}
        self.large = {}
        self.faults = []
        self.requests = []
        self.ranges = True
        self.etag_of = {}
        self.api = None
        self.stop = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self.stop.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self):
        return self._server.server_address[1]

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def add(self, repo, files, **kind):
        """Make a repository, or give it these files; return its commit."""
        self.repos[repo] = Repo(dict(files), **kind)
        for body in files.values():
            self.large[hashlib.sha256(body).hexdigest()] = body
        return self.repos[repo].commit

    def downloads(self):
        """Return the requests that fetched a file's bytes."""
        return [each for each in self.requests if each.method == "GET" and each.path.startswith("/store/")]

    def fault(self, method):
        """Return the fault that is due for a request, taking it from the list."""
        for each in self.faults:
            if each.method == method:
                self.faults.remove(each)
                return each
        return None


def etag(body):
    """Return the hub's etag of a file."""
    if len(body) >= LARGE:
        return hashlib.sha256(body).hexdigest()
    return hashlib.sha1(f"blob {len(body)}\0".encode() + body).hexdigest()


def _handler(hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *given):
            pass

        def handle_one_request(self):
            with contextlib.suppress(ConnectionError):
                super().handle_one_request()

        def do_HEAD(self):
            self._file("HEAD")

        def do_GET(self):
            path = unquote(urlsplit(self.path).path)
            if path.startswith("/store/"):
                self._store(path.removeprefix("/store/"))
            elif path.startswith("/api/models/"):
                self._api(path.removeprefix("/api/models/"))
            else:
                self._file("GET")

        def do_POST(self):
            self._note("POST", 0)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = unquote(urlsplit(self.path).path)
            if path == "/api/repos/create":
                asked = json.loads(body)
                name = "/".join(filter(None, (asked.get("organization") or "me", asked["name"])))
                if not self.headers.get("Authorization"):
                    return self._error(401, "Unauthorized")
                if name in hub.repos:
                    return self._json({"error": "it is there", "url": f"{hub.endpoint}/{name}"}, 409)
                hub.add(name, {}, private=bool(asked.get("private")) or asked.get("visibility") == "private")
                return self._json({"url": f"{hub.endpoint}/{name}", "id": name, "name": name})
            if path == "/api/validate-yaml":
                return self._json({"errors": [], "warnings": []})
            if match := re.fullmatch(r"/api/models/(.+)/preupload/\w+", path):
                files = json.loads(body)["files"]
                mode = ["lfs" if each["size"] >= LARGE else "regular" for each in files]
                answer = [
                    {"path": each["path"], "uploadMode": mode, "shouldIgnore": False}
                    for each, mode in zip(files, mode, strict=True)
                ]
                return self._json({"files": answer})
            if match := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
                objects = [
                    {**each, "actions": {"upload": {"href": f"{hub.endpoint}/upload/{each['oid']}"}}}
                    for each in json.loads(body)["objects"]
                ]
                return self._json({"transfer": "basic", "objects": objects})
            if match := re.fullmatch(r"/api/models/(.+)/commit/\w+", path):
                repo = hub.repos[match[1]]
                for line in map(json.loads, body.splitlines()):
                    value = line["value"]
                    if line["key"] == "file":
                        repo.files[value["path"]] = base64.b64decode(value["content"])
                    elif line["key"] == "lfsFile":
                        repo.files[value["path"]] = hub.large[value["oid"]]
                url = f"{hub.endpoint}/{match[1]}/commit/{repo.commit}"
                return self._json({"success": True, "commitOid": repo.commit, "commitUrl": url})
            return self._error(404, "not found")

        def do_PUT(self):
            self._note("PUT", 0)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            hub.large[hashlib.sha256(body).hexdigest()] = body
            self._send(200, {}, b"")

        def _note(self, method, first):
            host, token = self.headers.get("Host", ""), self.headers.get("Authorization", "")
            asked = Request(method, self.path, first, host.split(":")[0], token)
            hub.requests.append(asked)
            return asked

        def _repo(self, name):
            """Return the repository, or answer why not."""
            repo = hub.repos.get(name)
            token = self.headers.get("Authorization")
            if repo is None or (repo.private and not token):
                return self._error(401, "Repository not found")
            if repo.gated and not token:
                return self._error(403, "Access is restricted", X_Error_Code="GatedRepo")
            return repo

        def _file(self, method):
            self._note(method, 0)
            match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", unquote(urlsplit(self.path).path))
            if not match:
                return self._error(404, "not found")
            fault = hub.fault("HEAD") if method == "HEAD" else None
            if fault and fault.parts:
                return self._raw(fault)
            if fault and fault.seconds:
                threading.Event().wait(fault.seconds)  # tests take the waiting out of time.sleep
            elif fault:
                return self._error(fault.status, "trouble", **fault.headers)
            repo = self._repo(match[1])
            if repo is None:
                return None
            if match[2] not in ("main", repo.commit):
                return self._error(404, "no such revision", X_Error_Code="RevisionNotFound")
            if match[3] not in repo.files:
                commit = {"X_Repo_Commit": repo.commit}
                return self._error(404, "no such file", X_Error_Code="EntryNotFound", **commit)
            body = repo.files[match[3]]
            name = hub.etag_of.get(match[3], etag(body))
            headers = {"X-Repo-Commit": repo.commit, "ETag": f'"{name}"', "Accept-Ranges": "bytes"}
            if len(body) < LARGE:
                return self._send(200, headers, body, head=method == "HEAD")
            headers |= {"X-Linked-ETag": f'"{name}"', "X-Linked-Size": str(len(body)), "ETag": '"of-the-redirect"'}
            headers["Location"] = f"http://localhost:{hub.port}/store/{hashlib.sha256(body).hexdigest()}"
            return self._send(302, headers, b"")

        def _store(self, name):
            body = hub.large[name]
            first = int(re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))[1])
            first = first if hub.ranges else 0
            asked = self._note("GET", first)
            fault = hub.fault("GET")
            if fault and fault.parts:
                return self._raw(fault)
            if fault and fault.status:
                return self._error(fault.status, "trouble", **fault.headers)
            if first >= len(body):
                return self._error(416, "no such range")
            if fault and fault.name in ("endless", "stalled", "dripping"):
                return self._odd_body(fault, body[first:], first, len(body))
            part, whole = body[first:], "Range" not in self.headers or not hub.ranges
            if fault and fault.name == "wrong":
                part = bytes(value ^ 0xFF for value in part)
            sent = part[: fault.after] if fault and fault.name == "cut" else part
            headers = {} if whole else {"Content-Range": f"bytes {first}-{len(body) - 1}/{len(body)}"}
            self.send_response(200 if whole else 206)
            for key, value in (headers | {"Content-Length": str(len(part))}).items():
                self.send_header(key, value)
            self.end_headers()
            asked.sent = len(sent)
            self.wfile.write(sent)
            if len(sent) < len(part):
                self.close_connection = True
            return None

        def _raw(self, fault):
            self.close_connection = True
            for part in fault.parts:
                self.wfile.write(part)
                if hub.stop.wait(fault.seconds):
                    break

        def _odd_body(self, fault, part, first, size):
            self.send_response(206 if first else 200)
            if first:
                self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
            if fault.name != "endless":
                self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            self.close_connection = True
            if fault.name == "endless":
                while not hub.stop.is_set():
                    self.wfile.write(bytes(1 << 16))
            elif fault.name == "stalled":
                self.wfile.write(part[: fault.after])
                hub.stop.wait(fault.seconds)
            else:
                for value in part[: int(fault.seconds / 0.05)]:
                    self.wfile.write(bytes([value]))
                    hub.stop.wait(0.05)

        def _api(self, rest):
            self._note("GET", 0)
            fault = hub.fault("API")
            if fault:
                return self._raw(fault)
            if hub.api is not None:
                return self._send(200, {"Content-Type": "text/html"}, hub.api)
            match = re.fullmatch(r"([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?(?:/.*)?", rest)
            repo = self._repo(match[1])
            if repo is None:
                return None
            if match[3] not in (None, "main", repo.commit):
                return self._error(404, "no such revision", X_Error_Code="RevisionNotFound")
            files = [
                {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
                | ({"lfs": {"oid": etag(body), "size": len(body), "pointerSize": 134}} if len(body) >= LARGE else {})
                for name, body in repo.files.items()
            ]
            if match[2] == "tree":
                return self._json(files)
            siblings = [{"rfilename": each["path"]} for each in files]
            return self._json({"id": match[1], "modelId": match[1], "sha": repo.commit, "siblings": siblings})

        def _json(self, value, status=200):
            self._send(status, {"Content-Type": "application/json"}, json.dumps(value).encode())

        def _error(self, status, message, **headers):
            named = {key.replace("_", "-"): value for key, value in headers.items()}
            body = json.dumps({"error": message}).encode()
            self._send(status, {"X-Error-Message": message, **named}, body, head=self.command == "HEAD")

        def _send(self, status, headers, body, *, head=False):
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if not head:
                self.wfile.write(body)

    return Handler
