"""Fixtures for the whole suite."""

import os
import signal
from pathlib import Path

import pytest

# Before torch starts its threads. The tensors of tests are too small for two, and where other work
# fills the machine, threads that wait for one another take ten times as long as one does.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell without job control has what it puts in the background ignore SIGINT, and so would all
# that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real corpora and manifests, which stand beside the project and are no part of it."""
    folder = Path(__file__).resolve().parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the shared folder with real corpora at {folder}")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: else it keeps one of two workers at work when all else is done."""
    items.sort(key=lambda item: item.path.name != "test_chaos.py")
