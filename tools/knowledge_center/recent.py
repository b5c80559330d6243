"""Models that were rebuilt a moment ago, kept in memory within a limit of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict

from refcodec import Model


class Recent:
    """Model number to model; the longest unused ones are forgotten when more than `limit` bytes are kept."""

    def __init__(self, limit: int):
        self.limit = limit
        self._models: OrderedDict[int, tuple[int, Model]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, number: int) -> Model | None:
        with self._lock:
            if number not in self._models:
                return None
            self._models.move_to_end(number)
            return self._models[number][1]

    def put(self, number: int, model: Model) -> None:
        size = sum(t.nbytes for t in model.tensors)
        with self._lock:
            if number in self._models or size > self.limit:
                return
            self._models[number] = size, model
            self._bytes += size
            while self._bytes > self.limit:
                _, (freed, _) = self._models.popitem(last=False)
                self._bytes -= freed

    def clear(self) -> None:
        with self._lock:
            self._models.clear()
            self._bytes = 0
