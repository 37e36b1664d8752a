"""The next batch is made while a GPU is at work on the one before."""

from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

from core.batches import Batch

Item = TypeVar("Item")


@contextmanager
def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Iterator[Batch]]:
    """Batches on a device, in their order; for a GPU from pinned memory and one ahead.

    What draws the batches draws the same numbers in the same order either way: one thread alone
    makes them, one after another, and none beyond the last.
    """
    if device.type != "cuda":
        yield (batch.to(device) for batch in batches)
        return
    ahead = prefetched(batch.pin() for batch in batches)
    try:
        yield (batch.to(device) for batch in ahead)
    finally:
        ahead.close()


def prefetched(items: Iterable[Item]) -> Generator[Item, None, None]:
    """The same items, each made in a thread while its reader has the one before.

    What making one raises is raised here in its place. Closed early, it waits for the one item that
    is being made and leaves no thread.
    """
    end = object()
    source = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        coming = pool.submit(next, source, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, source, end)
            yield item  # type: ignore[misc]  # `end` left the loop
