"""Work in threads: results in order, the first item's error, threads that are kept and cannot wait for each other."""

from __future__ import annotations

import threading
import time

import pytest

from refcodec.parallel import in_order, processors, run_all


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_are_in_order(threads):
    assert run_all(lambda x: x * x, range(50), threads) == [x * x for x in range(50)]
    assert list(in_order(lambda x: x * x, range(50), [1 << 22] * 50, threads)) == [x * x for x in range(50)]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_first_items_error_is_raised(threads):
    def work(x: int) -> int:
        if x in (3, 4, 9):
            time.sleep(0.02 if x == 3 else 0)       # the error of a later item comes first
            raise ValueError(x)
        return x

    for run in (run_all, lambda work, items, n: list(in_order(work, items, [1] * len(items), n))):
        with pytest.raises(ValueError, match="3"):
            run(work, range(12), threads)


@pytest.mark.parametrize("threads", [2, 3])
def test_work_within_work_does_not_wait_for_itself(threads):
    def outer(x: int) -> int:
        return sum(run_all(lambda y: sum(run_all(lambda z: x * y * z, range(4), threads)), range(4), threads))

    assert list(in_order(outer, range(20), [1] * 20, threads)) == [36 * x for x in range(20)]


def test_no_more_threads_than_asked_for_which_are_kept():
    seen: set[str] = set()
    for _ in range(30):
        run_all(lambda x: seen.add(threading.current_thread().name) or time.sleep(0.001), range(8), 3)
    assert len(seen - {threading.current_thread().name}) <= 3


def test_nothing_is_left_running_when_no_more_is_asked_for():
    begun: list[int] = []
    results = in_order(lambda x: begun.append(x) or time.sleep(0.005), range(1000), [1] * 1000, 2)
    next(results)
    results.close()
    count = len(begun)
    time.sleep(0.03)
    assert len(begun) == count < 100


def test_processors_are_counted():
    assert processors() >= 1
