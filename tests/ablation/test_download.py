"""Downloads from a local server that breaks off, lies and refuses."""

import fcntl
import hashlib
import random
from itertools import repeat

import pytest

from ablation.download import DownloadError, Remote, download
from tests.ablation.unreliable_server import (
    answer,
    break_off,
    hang_up,
    ignore_range,
    say_length,
    say_nothing_and_send,
    say_span,
    serve,
)

BODY = random.Random(1).randbytes(3_000_000)
SIZE = len(BODY)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def site():
    with serve(BODY) as serving:
        yield serving


class Fetch:
    """One download and all that it said, waited and reported."""

    def __init__(self, site, folder):
        self.site, self.path = site, folder / "archive.zip"
        self.part = folder / "archive.zip.part"
        self.said, self.waited, self.progress = [], [], []

    def __call__(self, waits_s=(1, 2, 4), **changes):
        remote = {"url": self.site.url, "size_bytes": SIZE, "md5": hashlib.md5(BODY).hexdigest()}
        download(
            Remote(**remote | changes),
            self.path,
            say=self.said.append,
            on_progress=lambda *numbers: self.progress.append(numbers),
            waits_s=waits_s,
            sleep=self.waited.append,
        )


@pytest.fixture
def fetch(site, tmp_path):
    return Fetch(site, tmp_path / "data")


def test_a_file_arrives_whole_and_leaves_no_part(fetch, site):
    fetch()
    assert fetch.path.read_bytes() == BODY
    assert [path.name for path in fetch.path.parent.iterdir()] == ["archive.zip"]
    assert site.ranges == [None]
    assert fetch.progress[-1] == (SIZE, SIZE)
    assert fetch.progress == sorted(fetch.progress)
    assert (fetch.said, fetch.waited) == ([], [])


def test_a_broken_connection_goes_on_where_it_broke(fetch, site):
    site.tricks.extend([break_off(1000), hang_up, break_off(5)])
    fetch()
    assert fetch.path.read_bytes() == BODY
    assert site.ranges == [None, "bytes=1000-", "bytes=1000-", "bytes=1005-"]
    assert fetch.waited == [1, 2, 4]
    assert fetch.said[0] == (
        "the connection ended early; 0.0 MB of 3.0 MB are here. Attempt 2 of 4 in 1 s"
    )


def test_attempts_are_bounded_and_the_next_start_goes_on(fetch, site):
    site.tricks.extend([break_off(1000), *repeat(hang_up, 3)])
    with pytest.raises(
        DownloadError, match=r"given up after 4 attempts. 0.0 MB of 3.0 MB are here, in"
    ):
        fetch()
    assert fetch.part.read_bytes() == BODY[:1000]
    assert not fetch.path.exists()
    fetch()
    assert fetch.path.read_bytes() == BODY
    assert site.ranges[-1] == "bytes=1000-"
    assert "going on at 0.0 MB of 3.0 MB" in fetch.said


def test_attempts_that_bring_much_are_not_counted(fetch, site):
    site.tricks.extend([break_off(1_100_000), break_off(1_100_000)])
    fetch(waits_s=(1,))
    assert fetch.path.read_bytes() == BODY
    assert fetch.waited == [1, 1]


def test_a_server_that_cannot_go_on_starts_over(fetch, site):
    site.tricks.extend([break_off(2000), ignore_range])
    fetch()
    assert fetch.path.read_bytes() == BODY
    assert "the server can't go on at 0.0 MB and sends all of it again" in fetch.said


def test_a_server_that_starts_over_and_breaks_off_forever_is_given_up(fetch, site):
    def half(request):
        request.send(200, {"Content-Length": str(SIZE)}, BODY[: SIZE // 2])

    site.tricks.extend(repeat(half, 20))
    with pytest.raises(DownloadError, match="given up after"):
        fetch()
    assert len(site.ranges) <= 5  # the first half is progress once


@pytest.mark.parametrize("length", [SIZE - 1, SIZE + 1, 0])
def test_another_length_than_published_is_refused(fetch, site, length):
    site.tricks.append(say_length(length))
    with pytest.raises(DownloadError, match=f"must be {SIZE} bytes, the server says {length}$"):
        fetch()
    assert fetch.waited == []


def test_more_than_published_is_refused_without_a_length_too(fetch, site):
    site.tricks.append(say_nothing_and_send(BODY + b"!"))
    with pytest.raises(DownloadError, match=f"must be {SIZE} bytes, the server sends more$"):
        fetch()
    assert not fetch.path.exists()
    assert fetch.part.stat().st_size == SIZE


def test_no_length_at_all_will_do(fetch, site):
    site.tricks.extend([say_nothing_and_send(BODY[:99]), say_nothing_and_send(BODY)])
    fetch()
    assert fetch.path.read_bytes() == BODY


@pytest.mark.parametrize(
    "span", [f"bytes 0-{SIZE - 1}/{SIZE}", f"bytes 10-{SIZE - 1}/{SIZE + 5}", "pages 1-2/3"]
)
def test_another_part_than_asked_for_is_refused(fetch, site, span):
    site.tricks.extend([break_off(10), say_span(span)])
    with pytest.raises(DownloadError) as caught:
        fetch()
    assert str(caught.value) == (
        f"{site.url}: must go on with bytes 10-{SIZE - 1}/{SIZE}, the server says {span}"
    )
    assert fetch.part.read_bytes() == BODY[:10]


def test_a_wrong_checksum_is_said_and_the_file_is_kept_aside(fetch, site):
    site.body = BODY[:-1] + bytes([BODY[-1] ^ 1])
    found = hashlib.md5(site.body).hexdigest()
    with pytest.raises(DownloadError) as caught:
        fetch()
    aside = fetch.path.with_name(f"archive.zip.wrong-{found[:8]}")
    assert f"found {found}; what arrived is kept as {aside}" in str(caught.value)
    assert [path.name for path in fetch.path.parent.iterdir()] == [aside.name]
    site.body = BODY
    fetch()
    assert fetch.path.read_bytes() == BODY
    assert aside.exists()


def test_a_part_of_another_file_does_not_survive(fetch, site):
    fetch.path.parent.mkdir()
    fetch.part.write_bytes(b"something else")
    with pytest.raises(DownloadError, match="must have the MD5 checksum"):
        fetch()
    fetch()
    assert fetch.path.read_bytes() == BODY


@pytest.mark.parametrize("size", [SIZE, SIZE + 7])
def test_a_part_that_is_no_shorter_than_the_file_is_only_checked(fetch, site, size):
    fetch.path.parent.mkdir()
    fetch.part.write_bytes((BODY + bytes(7))[:size])
    if size == SIZE:
        fetch()
    else:
        with pytest.raises(DownloadError, match="must have the MD5 checksum"):
            fetch()
    assert site.ranges == []


@pytest.mark.parametrize("status", [403, 404, 410, 416, 204])
def test_a_refusal_is_final(fetch, site, status):
    site.tricks.append(answer(status))
    with pytest.raises(DownloadError, match=rf"must answer with .*{status}"):
        fetch()
    assert fetch.waited == []


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(fetch, site, status):
    site.tricks.append(answer(status))
    fetch()
    assert fetch.path.read_bytes() == BODY
    assert fetch.waited == [1]
    assert f"the server answers HTTP {status}" in fetch.said[0]


def test_a_server_that_stays_busy_is_given_up(fetch, site):
    site.tricks.extend(repeat(answer(500), 9))
    with pytest.raises(DownloadError, match=r"HTTP 500 .* given up after 4 attempts"):
        fetch()
    assert len(site.ranges) == 4


@pytest.mark.parametrize(("asked", "waited"), [("7", 7), ("0", 1), ("9999", 120), ("soon", 1)])
def test_a_server_may_ask_for_patience_within_bounds(fetch, site, asked, waited):
    site.tricks.append(answer(503, Retry_After=asked))
    fetch()
    assert fetch.waited == [waited]


def test_a_redirection_is_followed_with_the_range(fetch, site):
    site.tricks.extend([break_off(10), answer(302, Location="/elsewhere")])
    fetch()
    assert fetch.path.read_bytes() == BODY
    assert site.ranges == [None, "bytes=10-", "bytes=10-"]


def test_redirections_in_a_circle_are_final(fetch, site):
    site.tricks.extend(repeat(answer(302, Location="/archive.zip"), 99))
    with pytest.raises(DownloadError, match=r"found HTTP 302 .*infinite loop"):
        fetch()
    assert len(site.ranges) < 15


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://127.0.0.1/"])
def test_a_redirection_out_of_the_web_is_refused(fetch, site, location):
    site.tricks.append(answer(302, Location=location))
    with pytest.raises(DownloadError, match="found HTTP 302"):
        fetch()


def test_a_closed_door_is_knocked_at_again(fetch, site):
    with serve(b"") as gone:
        url = gone.url
    with pytest.raises(DownloadError, match=r"no connection: .*given up after 2 attempts"):
        fetch(waits_s=(3,), url=url)
    assert fetch.waited == [3]


def test_two_downloads_of_one_file_do_not_meet(fetch, site):
    fetch.path.parent.mkdir()
    with open(fetch.part, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="must be free, found another fetch at work on it"):
            fetch()
    assert site.ranges == []
    fetch()
