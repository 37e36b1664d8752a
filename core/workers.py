"""Work on many items beside one another, its results in the items' order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    prepare: Callable[[], Any] | None = None,
) -> Iterator[tuple[Item, Result]]:
    """Each item with its result; at most twice as many results as workers wait to be taken.

    Args:
        work: Runs in threads; what it raises is raised here, in its item's place.
        prepare: Called once in each thread, before its first item.
    """
    with ThreadPoolExecutor(workers, initializer=prepare) as pool:
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        try:
            for item in items:
                if len(waiting) == 2 * workers:
                    first, future = waiting.popleft()
                    yield first, future.result()
                waiting.append((item, pool.submit(work, item)))
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
