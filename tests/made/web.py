"""A web server on 127.0.0.1 that serves a folder and misbehaves on demand."""

import contextlib
import hashlib
import http.server
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Site:
    """What a server does and what it saw.

    Attributes:
        faults: path -> answers of the coming requests, one each: a status (403, or (429,
            {"Retry-After": "3"})), `hang up` after half of what was asked for, `wrong byte` in the
            middle, or `ok`. When they are used up, all is well.
        ranges: whether Range is honoured.
        requests: (method, path, headers) in order.
        routes: path -> (status, headers, body), served instead of files. A body that is a function
            gives pieces, sent without a length until there are no more or nobody listens.
    """

    root: Path
    url: str = ""
    ranges: bool = True
    faults: dict[str, list] = field(default_factory=lambda: defaultdict(list))
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    routes: dict[str, tuple[int, dict[str, str], Any]] = field(default_factory=dict)

    def asked(self, path: str) -> list[dict[str, str]]:
        """Headers of the GET requests for a path."""
        return [
            headers for method, seen, headers in self.requests if seen == path and method == "GET"
        ]


@contextlib.contextmanager
def serving(root: Path) -> Iterator[Site]:
    """Serve `root` until the block ends."""
    site = Site(root)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            self._answer(body=True)

        def do_HEAD(self):
            self._answer(body=False)

        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._answer(body=True)

        def _reply(self, status, headers, content, body):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if callable(content):
                self.close_connection = True
                self.end_headers()
                with contextlib.suppress(OSError):
                    for piece in content():
                        self.wfile.write(piece)
                return
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def _answer(self, body):
            path = self.path.partition("?")[0]
            site.requests.append((self.command, path, dict(self.headers)))
            fault = site.faults[path].pop(0) if site.faults[path] else "ok"
            if isinstance(fault, int):
                fault = (fault, {})
            if isinstance(fault, tuple):
                self._reply(fault[0], fault[1], b"refused", body)
                return
            if path in site.routes:
                self._reply(*site.routes[path], body)
                return
            file = site.root / path.lstrip("/")
            if not file.is_file():
                self._reply(404, {}, b"not found", body)
                return
            content = file.read_bytes()
            etag = f'"{hashlib.md5(content).hexdigest()}"'
            if fault == "wrong byte":
                middle = len(content) // 2
                content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
            status, headers = 200, {"ETag": etag}
            wanted = self.headers.get("Range")
            if wanted and site.ranges and self.headers.get("If-Range", etag) == etag:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= len(content):
                    self._reply(416, {"Content-Range": f"bytes */{len(content)}"}, b"", body)
                    return
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
                status, content = 206, content[start:]
            headers["Content-Length"] = str(len(content))
            if fault == "hang up":
                self._reply(status, headers, content[: len(content) // 2], body)
                self.close_connection = True
                return
            self._reply(status, headers, content, body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
