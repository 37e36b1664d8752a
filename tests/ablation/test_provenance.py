import subprocess

from ablation.provenance import PACKAGES, Provenance, git_commit


def git(folder, *words):
    identity = ["-c", "user.name=Someone", "-c", "user.email=someone@example.org"]
    done = subprocess.run(
        ["git", *identity, "-C", str(folder), *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_commit_is_told_and_whether_files_differ_from_it(tmp_path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "-m", "Begin")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_commit(tmp_path) == commit
    (tmp_path / "file").write_text("two")
    assert git_commit(tmp_path) == f"{commit}+changes"


def test_outside_a_checkout_there_is_no_commit(tmp_path):
    assert git_commit(tmp_path) == ""


def test_a_machine_without_git_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit(tmp_path) == ""


def test_the_versions_that_matter_are_told(tmp_path):
    versions = Provenance.here(tmp_path).versions
    assert set(versions) == {"python", *PACKAGES}
    assert versions["torch"].startswith("2.")
