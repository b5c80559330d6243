"""Independent pieces in threads, in order, with a bound on the memory in flight."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
IN_FLIGHT = 64 << 20      # bytes of tensors that may always be in flight together


def in_order(work: Callable[[Item], Result], items: Sequence[Item], sizes: Sequence[int], threads: int
             ) -> Iterator[Result]:
    """work(item) for each item, results in order; up to `threads` at a time while their sizes stay below a bound."""
    if threads <= 1:
        yield from map(work, items)
        return
    budget = max([IN_FLIGHT, *sizes])
    waiting: deque[tuple[Future[Result], int]] = deque()
    flying = 0
    pool = ThreadPoolExecutor(threads)
    try:
        for item, size in zip(items, sizes):
            while waiting and (flying + size > budget or len(waiting) >= 4 * threads):
                future, done = waiting.popleft()
                yield future.result()
                flying -= done
            waiting.append((pool.submit(work, item), size))
            flying += size
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        pool.shutdown(cancel_futures=True)       # after an error, or where no more results are asked for


def run_all(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> list[Result]:
    """work(item) for each item, in threads; the results in order."""
    items = list(items)
    if threads <= 1 or len(items) <= 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(threads, len(items))) as pool:
        return list(pool.map(work, items))
