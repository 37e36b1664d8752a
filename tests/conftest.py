"""Fixtures for the whole suite."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real corpora and manifests, which stand beside the project and are no part of it."""
    folder = Path(__file__).resolve().parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the shared folder with real corpora at {folder}")
    return folder
