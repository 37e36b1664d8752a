"""A local server that plays tricks, one for each request, and then behaves."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What is served, how, and what was asked for."""

    body: bytes
    url: str = ""
    tricks: deque["Trick"] = field(default_factory=deque)  # for the next requests, in order
    ranges: list[str | None] = field(default_factory=list)  # of all requests so far


@dataclass
class Request:
    """One request to answer."""

    handler: BaseHTTPRequestHandler
    body: bytes
    start: int

    def send(self, status: int, headers: dict[str, str], content: bytes = b"") -> None:
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name, value)
        self.handler.end_headers()
        self.handler.wfile.write(content)

    def head(self) -> tuple[int, dict[str, str]]:
        """The honest status and headers."""
        size = len(self.body)
        if not self.start:
            return 200, {"Content-Length": str(size)}
        span = f"bytes {self.start}-{size - 1}/{size}"
        return 206, {"Content-Length": str(size - self.start), "Content-Range": span}


Trick = Callable[[Request], None]


def behave(request: Request) -> None:
    request.send(*request.head(), request.body[request.start :])


def break_off(after: int) -> Trick:
    """Promise all of it and send so many bytes."""
    return lambda request: request.send(
        *request.head(), request.body[request.start : request.start + after]
    )


def ignore_range(request: Request) -> None:
    request.send(200, {"Content-Length": str(len(request.body))}, request.body)


def say_length(length: int) -> Trick:
    return lambda request: request.send(200, {"Content-Length": str(length)}, request.body)


def say_span(span: str) -> Trick:
    return lambda request: request.send(206, {"Content-Range": span}, request.body[request.start :])


def say_nothing_and_send(content: bytes) -> Trick:
    """No length: the end of the connection is the end of the file."""
    return lambda request: request.send(200, {}, content)


def answer(status: int, **headers: str) -> Trick:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: request.send(status, {"Content-Length": "0", **named})


def hang_up(request: Request) -> None:
    """Close the connection without a word."""


@contextmanager
def serve(body: bytes) -> Iterator[Site]:
    site = Site(body)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            span = self.headers.get("Range")
            site.ranges.append(span)
            start = int(span.removeprefix("bytes=").removesuffix("-")) if span else 0
            trick = site.tricks.popleft() if site.tricks else behave
            with suppress(BrokenPipeError, ConnectionResetError):  # the client has seen enough
                trick(Request(self, site.body, start))
            self.close_connection = True

        def log_message(self, format: str, *arguments: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_port}/archive.zip"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
