"""One file over HTTP: resumed where it broke off, under its name only when it is verified."""

import fcntl
import hashlib
import re
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

TIMEOUT_S = 30.0  # O: without a byte
WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # O: before each further attempt
LONGEST_WAIT_S = 120.0  # O: whatever a server asks for
PROGRESS_BYTES = 1 << 20  # O: an attempt that brought so much starts the count anew
CHUNK_BYTES = 1 << 18  # O
PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
AGENT = "ser-ablation/0.1"

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A published file."""

    url: str
    size_bytes: int
    md5: str


class DownloadError(ValueError):
    """A file that can't be had as it was published."""


class _PassingError(Exception):
    """What may be gone at the next attempt."""

    def __init__(self, text: str, wait_s: float = 0.0) -> None:
        self.wait_s = wait_s  # that the server asks for
        super().__init__(text)


def download(
    remote: Remote,
    path: Path,
    *,
    say: Callable[[str], None],
    on_progress: Progress | None = None,
    waits_s: Sequence[float] = WAITS_S,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Bring a file to `path`; what has arrived so far lies in `<path>.part` and is used again.

    Args:
        say: Told of every attempt that failed and what follows.
        on_progress: Called with the bytes that are here and their number.
        waits_s: Seconds before each further attempt; their number bounds the attempts.
    Raises:
        DownloadError: the server refuses, sends another file, or keeps breaking off; what it sent
            is kept, under a name of its own where the checksum is wrong.
        OSError: the file can't be written.
    """
    part = path.with_name(f"{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(part, "ab") as file, exclusive(file, part):
        if file.tell():
            say(f"going on at {megabytes(file.tell())} of {megabytes(remote.size_bytes)}")
        _receive(remote, file, part, say, on_progress, waits_s, sleep)
        file.flush()
        found = md5_of(part)
        if found != remote.md5:
            aside = path.with_name(f"{path.name}.wrong-{found[:8]}")
            part.rename(aside)
            raise DownloadError(
                f"{remote.url}: must have the MD5 checksum {remote.md5}, found {found}; what "
                f"arrived is kept as {aside}, the same command starts anew"
            )
        part.rename(path)


@contextmanager
def exclusive(file: BinaryIO, path: Path) -> Iterator[None]:
    """Hold an open file against other processes.

    Raises:
        DownloadError: another one holds it.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DownloadError(f"{path}: must be free, found another fetch at work on it") from None
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def md5_of(path: Path) -> str:
    """The checksum that archives publish; against accidents, not against forgers."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def megabytes(number: int) -> str:
    """Bytes as people read them."""
    return f"{number / 1e6:.1f} MB"


def _receive(
    remote: Remote,
    file: BinaryIO,
    part: Path,
    say: Callable[[str], None],
    on_progress: Progress | None,
    waits_s: Sequence[float],
    sleep: Callable[[float], None],
) -> None:
    """Append to a part until it has its full length, through as many attempts as are allowed."""
    furthest, failures = file.tell(), 0
    while file.tell() < remote.size_bytes:
        try:
            for chunk in _chunks(remote, file, say):
                file.write(chunk)
                if file.tell() > remote.size_bytes:
                    file.truncate(remote.size_bytes)  # the next command checks what is here
                    raise DownloadError(
                        f"{remote.url}: must be {remote.size_bytes} bytes, the server sends more"
                    )
                if on_progress:
                    on_progress(file.tell(), remote.size_bytes)
        except _PassingError as error:
            here = file.tell()
            if here - furthest >= PROGRESS_BYTES:
                failures = 0
            furthest = max(furthest, here)
            kept = f"{megabytes(here)} of {megabytes(remote.size_bytes)} are here"
            if failures == len(waits_s):
                file.flush()
                raise DownloadError(
                    f"{remote.url}: {error}; given up after {failures + 1} attempts. {kept}, in "
                    f"{part}; the same command goes on from there"
                ) from None
            wait_s = max(waits_s[failures], min(error.wait_s, LONGEST_WAIT_S))
            failures += 1
            say(f"{error}; {kept}. Attempt {failures + 1} of {len(waits_s) + 1} in {wait_s:g} s")
            sleep(wait_s)


def _chunks(remote: Remote, file: BinaryIO, say: Callable[[str], None]) -> Iterator[bytes]:
    """Ask for what is missing and yield it; cuts the file where the server starts over."""
    start = file.tell()
    with _open(remote, start) as response:
        if response.status == 200 and start:
            say(f"the server can't go on at {megabytes(start)} and sends all of it again")
            file.truncate(0)
            file.seek(0)
        while True:
            try:
                chunk = response.read1(CHUNK_BYTES)
            except (HTTPException, OSError) as error:
                raise _PassingError(f"the connection broke: {_words(error)}") from None
            if not chunk:
                break
            yield chunk
    if file.tell() < remote.size_bytes:
        raise _PassingError("the connection ended early")


def _open(remote: Remote, start: int) -> HTTPResponse:
    """Get an answer that begins at `start`, or at 0 where the server can't do that."""
    headers = {"User-Agent": AGENT} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response: HTTPResponse = urlopen(Request(remote.url, headers=headers), timeout=TIMEOUT_S)
    except HTTPError as error:
        with error:
            found = f"HTTP {error.code} {_words(error.reason)}"
            if error.code in PASSING_STATUSES:
                raise _PassingError(
                    f"the server answers {found}", _wait_s(error.headers.get("Retry-After"))
                ) from None
            raise DownloadError(f"{remote.url}: must answer with the file, found {found}") from None
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            text = f"{remote.url}: its certificate must hold, found: {error.reason.verify_message}"
            raise DownloadError(text) from None
        raise _PassingError(f"no connection: {_words(error.reason)}") from None
    except (HTTPException, OSError) as error:
        raise _PassingError(f"no answer: {_words(error)}") from None
    if flaw := _flaw(remote, response, start):
        response.close()
        raise DownloadError(f"{remote.url}: {flaw}")
    return response


def _flaw(remote: Remote, response: HTTPResponse, start: int) -> str:
    """Say why an answer is not the file that was published, as far as its header tells."""
    if remote.url.startswith("https:") and not response.url.startswith("https:"):
        return f"must stay on https, found a redirection to {response.url}"
    size = remote.size_bytes
    match response.status:
        case 200:
            length = response.headers.get("Content-Length")
            if length not in (None, str(size)):
                return f"must be {size} bytes, the server says {length}"
        case 206:
            span = response.headers.get("Content-Range", "nothing")
            if not re.fullmatch(rf"bytes {start}-{size - 1}/(?:{size}|\*)", span):
                return f"must go on with bytes {start}-{size - 1}/{size}, the server says {span}"
        case status:
            return f"must answer with HTTP 200 or 206, found {status}"
    return ""


def _wait_s(retry_after: str | None) -> float:
    """Seconds that a server asks for; dates are not read."""
    return float(retry_after) if retry_after and retry_after.isdecimal() else 0.0


def _words(reason: object) -> str:
    """An error on one line; some have no text of their own."""
    return " ".join(str(reason).split()) or type(reason).__name__
