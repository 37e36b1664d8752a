"""From a published archive to a corpus folder, or to words about where to apply."""

import fcntl
import hashlib
import io
import json
import random
import wave
from dataclasses import replace
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from rich.console import Console

from ablation import fetch as fetching
from ablation.check import check_corpus
from ablation.download import DownloadError, Remote
from ablation.fetch import ARCHIVE_NAME, CLIPS, FetchError, LicenceError, fetch_ravdess, verb
from ablation.unpack import UnpackError
from core.corpora.catalog import CORPORA
from tests.ablation.unreliable_server import answer, break_off, hang_up, serve


def clip(seed: int) -> bytes:
    """A whole WAV of a hundredth of a second."""
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setparams((1, 2, 16_000, 160, "NONE", ""))
        file.writeframes(random.Random(seed).randbytes(320))
    return written.getvalue()


def pack(contents: dict[str, bytes]) -> bytes:
    written = io.BytesIO()
    with ZipFile(written, "w", ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return written.getvalue()


@pytest.fixture(scope="module")
def release():
    """All 1 440 clips, each with a sound of its own."""
    return {path: clip(seed) for seed, path in enumerate(sorted(CLIPS.values()))}


@pytest.fixture(scope="module")
def archive(release):
    return pack(release)


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("SER_DATA", raising=False)


class Fetch:
    def __init__(self, site):
        self.site = site
        self.shown = io.StringIO()

    def __call__(self, data, accept_licence=True):
        self.shown.seek(0)
        self.shown.truncate()
        return fetch_ravdess(
            data,
            Console(file=self.shown, width=300),
            accept_licence=accept_licence,
            archive=self.remote,
            waits_s=(0, 0),
        )

    @property
    def remote(self):
        body = self.site.body
        return Remote(url=self.site.url, size_bytes=len(body), md5=hashlib.md5(body).hexdigest())

    @property
    def text(self):
        return self.shown.getvalue()


@pytest.fixture
def fetch(archive):
    with serve(archive) as site:
        yield Fetch(site)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_ravdess_arrives_through_a_bad_connection_and_checks_clean(fetch, tmp_path):
    data = tmp_path / "data"
    fetch.site.tricks.extend([break_off(50_000), answer(503)])
    assert fetch(data) == data / "ravdess"
    assert fetch.site.ranges == [None, "bytes=50000-", "bytes=50000-"]
    report = check_corpus(CORPORA["ravdess"], data / "ravdess", workers=2, limit=5)
    assert report.problems == ()
    assert names_in(data) == [ARCHIVE_NAME, "ravdess"]
    assert "CC BY-NC-SA 4.0" in fetch.text
    assert "100 % of 0." in fetch.text
    assert f"{data / 'ravdess'}: RAVDESS, 1440 clips" in fetch.text

    assert fetch(data) == data / "ravdess"
    assert fetch(data / "ravdess", accept_licence=False) == data / "ravdess"
    assert "complete; nothing to download" in fetch.text
    assert len(fetch.site.ranges) == 3


def test_nothing_is_loaded_before_the_licence_is_accepted(fetch, tmp_path):
    with pytest.raises(LicenceError, match="must be accepted with --accept-licence"):
        fetch(tmp_path / "data", accept_licence=False)
    assert "https://creativecommons.org/licenses/by-nc-sa/4.0/" in fetch.text
    assert fetch.site.ranges == []
    assert not (tmp_path / "data").exists()


def test_what_broke_off_for_good_is_used_by_the_next_start(fetch, tmp_path):
    fetch.site.tricks.extend([break_off(1000), hang_up, hang_up])
    with pytest.raises(DownloadError, match="the same command goes on from there"):
        fetch(tmp_path)
    assert names_in(tmp_path) == [f"{ARCHIVE_NAME}.part"]
    assert fetch(tmp_path) == tmp_path / "ravdess"
    assert fetch.site.ranges[-1] == "bytes=1000-"


def test_an_archive_that_was_put_there_by_hand_is_used(fetch, tmp_path, archive):
    (tmp_path / ARCHIVE_NAME).write_bytes(archive)
    assert fetch(tmp_path / "RAVDESS") == tmp_path / "RAVDESS"
    assert fetch.site.ranges == []
    assert f"{tmp_path / ARCHIVE_NAME} is here already" in fetch.text


@pytest.mark.parametrize("flaw", ["bytes, found", "MD5 checksum"])
def test_an_archive_that_is_not_the_published_one_is_not_unpacked(fetch, tmp_path, archive, flaw):
    other = archive[:-1] if flaw.startswith("bytes") else archive[:-1] + b"?"
    (tmp_path / ARCHIVE_NAME).write_bytes(other)
    with pytest.raises(DownloadError, match=f"must have .*{flaw}.*move it away"):
        fetch(tmp_path)
    assert names_in(tmp_path) == [ARCHIVE_NAME]


def test_a_wrong_checksum_leaves_no_corpus(fetch, tmp_path):
    remote = replace(fetch.remote, md5="0" * 32)
    with pytest.raises(DownloadError, match="must have the MD5 checksum 00000000"):
        fetch_ravdess(tmp_path, Console(file=io.StringIO()), accept_licence=True, archive=remote)
    assert names_in(tmp_path) == [f"{ARCHIVE_NAME}.wrong-{fetch.remote.md5[:8]}"]


def test_a_hostile_archive_leaves_no_trace(fetch, tmp_path, release):
    name = "03-01-01-01-01-01-01.wav"
    fetch.site.body = pack({f"../../{name}": release[f"Actor_01/{name}"]})
    with pytest.raises(UnpackError, match="must be a path inside the folder"):
        fetch(tmp_path / "data")
    assert names_in(tmp_path) == ["data"]
    assert names_in(tmp_path / "data") == [ARCHIVE_NAME]


def test_an_archive_of_something_else_is_no_corpus(fetch, tmp_path):
    fetch.site.body = pack({"inner.zip": pack({"a": b"b"}), "README": b"read me"})
    with pytest.raises(FetchError, match=r"must hold RAVDESS' speech, found: .* is not RAVDESS"):
        fetch(tmp_path)
    assert "2 other files are left in the archive: 'inner.zip', 'README'" in fetch.text
    assert names_in(tmp_path) == [ARCHIVE_NAME]


def test_an_archive_with_damaged_audio_is_no_corpus(fetch, tmp_path, release):
    some = {path: release[path] for path in sorted(release)[:60]}
    some["Actor_01/03-01-01-01-01-01-01.wav"] = b"RIFF, not really"
    fetch.site.body = pack(some)
    with pytest.raises(FetchError) as caught:
        fetch(tmp_path)
    assert "must hold RAVDESS' speech as published; found:" in str(caught.value)
    assert names_in(tmp_path) == [ARCHIVE_NAME]


def plant(release, folder, number):
    for path in sorted(release)[:number]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(release[path])


@pytest.mark.parametrize("given", [".", "ravdess"])
def test_a_corpus_with_gaps_is_not_written_over(fetch, tmp_path, release, given):
    plant(release, tmp_path / "ravdess", 59)
    with pytest.raises(FetchError) as caught:
        fetch(tmp_path / given)
    assert "must be absent or empty to take RAVDESS, nothing was downloaded" in str(caught.value)
    assert "found RAVDESS, not as published:\n  03-01-08-02-02-02-01: its" in str(caught.value)
    assert fetch.site.ranges == []


def test_other_files_are_not_written_over(fetch, tmp_path):
    (tmp_path / "ravdess").mkdir()
    (tmp_path / "ravdess" / "notes.txt").write_text("mine")
    with pytest.raises(FetchError, match=r"must be absent or empty .* found other files"):
        fetch(tmp_path)
    assert fetch.site.ranges == []


def test_a_part_of_the_corpus_under_another_name_does_not_stand_in_the_way(
    fetch, tmp_path, release
):
    plant(release, tmp_path / "ravdess48k", 20)
    assert fetch(tmp_path) == tmp_path / "ravdess"
    assert f"{tmp_path / 'ravdess48k'} holds RAVDESS, not as published" in fetch.text


def test_two_fetches_do_not_meet(fetch, tmp_path, archive):
    (tmp_path / ARCHIVE_NAME).write_bytes(archive)
    with open(tmp_path / ARCHIVE_NAME, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="found another fetch at work on it"):
            fetch(tmp_path)


def test_the_command_tells_by_its_status(fetch, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fetching, "RAVDESS_ARCHIVE", fetch.remote)
    assert verb(["ravdess", "--data", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert "CC BY-NC-SA 4.0" in out
    assert "must be accepted with --accept-licence" in err
    fetch.site.tricks.append(answer(404))
    assert verb(["ravdess", "--data", str(tmp_path), "--accept-licence"]) == 1
    assert "found HTTP 404" in capsys.readouterr().err
    monkeypatch.setenv("SER_DATA", str(tmp_path))
    assert verb(["ravdess", "--accept-license"]) == 0
    assert "RAVDESS, 1440 clips" in capsys.readouterr().out
    assert verb(["ravdess"]) == 0


def test_ravdess_needs_a_folder(capsys):
    assert verb(["ravdess", "--accept-licence"]) == 2
    assert "must be given with --data DIR or SER_DATA" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("iemocap", "https://sail.usc.edu/iemocap/iemocap_release.htm"),
        ("msp_improv", "https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Improv.html"),
        ("savee", "http://kahlan.eps.surrey.ac.uk/savee/"),
    ],
)
def test_the_others_say_where_to_apply_and_what_to_put_where(name, address, capsys, tmp_path):
    assert verb([name, "--data", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert address in out
    assert f"into {tmp_path / name}" in out
    assert f"python runner.py check {name} --data {tmp_path}" in out
    assert verb([name]) == 0
    assert f"into DIR/{name}" in capsys.readouterr().out
    assert verb([name, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["corpus"], told["folder"]) == (name, None)
    assert address in told["where_to_get"]


def test_the_published_archive_is_asked_for_by_its_own_address():
    assert fetching.RAVDESS_ARCHIVE.url == (
        "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip?download=1"
    )
    assert len(CLIPS) == 1440
