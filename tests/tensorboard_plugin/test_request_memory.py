"""The memory limit of concurrent requests."""

import threading
import time

from filtertrack.tensorboard_plugin.request_memory import MemoryBudget


def test_requests_are_admitted_in_order(until):
    """A large request is not overtaken by later small ones; all together stay within the limit."""
    budget = MemoryBudget(100, timeout=30)
    taken, most, order = 0, 0, []
    lock = threading.Lock()

    def take(size):
        nonlocal taken, most
        with budget.reserve(size):
            with lock:
                order.append(size)
                taken += min(size, 100)
                most = max(most, taken)
            time.sleep(0.02)
            with lock:
                taken -= min(size, 100)

    sizes = [60, 1000, 30, 30, 30, 30, 30]
    threads = [threading.Thread(target=take, args=[size]) for size in sizes]
    with budget.reserve(100):
        for count, thread in enumerate(threads, start=1):
            thread.start()
            until(lambda: len(budget._queue) == count, "the request in the queue")  # noqa: B023
    for thread in threads:
        thread.join()
    assert order == sizes
    assert most == 100
