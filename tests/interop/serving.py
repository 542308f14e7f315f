"""A server of one file on this machine, with the faults that a download meets."""

import contextlib
import http.server
import threading
from collections.abc import Iterator


class Served(http.server.ThreadingHTTPServer):
    """What it serves, how it misbehaves, and what it was asked."""

    content = b""
    ranges = True
    """Whether it sends parts; if not, all of it, whatever part it is asked for."""
    drops: list[int]
    """After so many bytes an answer breaks off, one entry an answer."""
    status = 200
    kind = "application/octet-stream"
    tag = '"first"'
    target = ""
    shift: int | None = 0
    """By how much a part begins elsewhere than asked for; None: it does not say where."""
    most = 0
    """Bytes of a part at most; 0: all the rest."""
    unasked = False
    """Whether it answers with a part when all was asked for."""
    told = True
    """Whether it says the length of an answer."""
    asked: list[dict[str, str]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/weights.pth"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Served

    def do_GET(self) -> None:
        server = self.server
        server.asked.append({name.lower(): value for name, value in self.headers.items()})
        if server.target:
            self.send_response(302)
            self.send_header("Location", server.target)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if server.status != 200:
            self.send_error(server.status)
            return
        body, first = server.content, 0
        asked = self.headers.get("Range", "")
        same = self.headers.get("If-Range", server.tag) == server.tag
        if asked and server.ranges and same:
            first = int(asked.removeprefix("bytes=").removesuffix("-"))
            if first >= len(body):
                self.send_error(416)
                return
            first += server.shift or 0
            body = body[: first + server.most] if server.most else body
            self.send_response(206)
            if server.shift is not None:
                where = f"bytes {first}-{len(body) - 1}/{len(server.content)}"
                self.send_header("Content-Range", where)
        elif server.unasked:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes 0-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Type", server.kind)
        if server.told:
            self.send_header("Content-Length", str(len(body) - first))
        if server.tag:
            self.send_header("ETag", server.tag)
        self.end_headers()
        body = body[first:]
        self.wfile.write(body[: server.drops.pop(0)] if server.drops else body)

    def log_message(self, *what: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(content: bytes) -> Iterator[Served]:
    """Serve `content` until the end of the block."""
    with Served(("127.0.0.1", 0), _Handler) as server:
        server.content, server.drops, server.asked = content, [], []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
