"""What produced a result: the commit, and the versions that matter."""

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("torch", "torchaudio", "transformers", "ray", "mlflow", "numpy", "scikit-learn")


@dataclass(frozen=True, slots=True)
class Provenance:
    """What produced the results: the commit, and the versions that matter."""

    git_commit: str
    versions: Mapping[str, str]

    @classmethod
    def here(cls, folder: Path) -> "Provenance":
        """Of the checkout in `folder`, '' where it is none; '+changes' where files differ."""
        return cls(
            git_commit(folder),
            {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        )


def git_commit(folder: Path) -> str:
    """The checkout's commit, with '+changes' where files differ from it; '' outside a checkout."""

    def git(*words: str) -> str:
        try:
            asked = subprocess.run(
                ["git", "-C", str(folder), *words], capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            return ""
        return asked.stdout.strip() if asked.returncode == 0 else ""

    commit = git("rev-parse", "HEAD")
    return f"{commit}+changes" if commit and git("status", "--porcelain", "-uno") else commit
