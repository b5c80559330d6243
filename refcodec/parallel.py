"""Independent pieces in threads, in order, with a bound on the memory in flight."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
IN_FLIGHT = 64 << 20      # bytes of tensors that may always be in flight together

_pools: dict[int, ThreadPoolExecutor] = {}         # by their threads; kept, for each costs as much as a small tensor
_pools_lock = threading.Lock()


def processors() -> int:
    """How many processors this process may use: what `threads` is where nothing is said."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:                         # a system that does not tell
        return os.cpu_count() or 1


def _forget_pools() -> None:
    # A process that was forked has none of the threads.
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pools)


def _pool(threads: int) -> ThreadPoolExecutor:
    with _pools_lock:
        if threads not in _pools:
            _pools[threads] = ThreadPoolExecutor(threads, "refcodec")
        return _pools[threads]


def in_order(work: Callable[[Item], Result], items: Sequence[Item], sizes: Sequence[int], threads: int, *,
             needs: Sequence[int] = (), room: Callable[[], int] = lambda: 1 << 62) -> Iterator[Result]:
    """work(item) for each item, results in order; up to `threads` at a time while their sizes stay below a bound.

    needs: bytes that each takes while it is worked on, which together stay below room(); one item alone is never held
    back. A result counts until it is asked for.
    """
    if threads <= 1:
        yield from map(work, items)
        return
    bound = max([IN_FLIGHT, *sizes])
    waiting: deque[tuple[Future[Result], int, int]] = deque()
    flying = taken = 0
    pool = _pool(threads)
    try:
        for item, size, need in zip(items, sizes, needs or [0] * len(items)):
            while waiting and (flying + size > bound or taken + need > room() or len(waiting) >= 4 * threads):
                future, done, free = waiting.popleft()
                yield future.result()
                flying, taken = flying - done, taken - free
            waiting.append((pool.submit(work, item), size, need))
            flying, taken = flying + size, taken + need
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        for future, _, _ in waiting:             # after an error, or where no more results are asked for
            future.cancel()
        for future, _, _ in waiting:
            if not future.cancelled():
                future.exception()


def run_all(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> list[Result]:
    """work(item) for each item, in threads; the results in order. Of several errors the first item's is raised.

    The caller takes items, too, and waits for those alone that others have begun; so work may itself call this, however
    many threads are busy.
    """
    items = list(items)
    if threads <= 1 or len(items) <= 1:
        return [work(item) for item in items]
    results: dict[int, Result] = {}
    errors: dict[int, BaseException] = {}
    left, lock = iter(enumerate(items)), threading.Lock()

    def take() -> None:
        while True:
            with lock:
                found = None if errors else next(left, None)
            if found is None:
                return
            i, item = found
            try:
                results[i] = work(item)
            except BaseException as error:
                errors[i] = error

    helpers = [_pool(threads).submit(take) for _ in range(min(threads, len(items)) - 1)]
    take()
    for helper in helpers:
        if not helper.cancel():
            helper.result()
    if errors:
        raise errors[min(errors)]
    return [results[i] for i in range(len(items))]
