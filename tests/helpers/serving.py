"""The knowledge center's service on a port, a proxy that cuts connections, and one plain request."""

from __future__ import annotations

import http.client
import random
import socket
import threading
import time
from typing import Self

from tools.knowledge_center import Store
from tools.knowledge_center.connections import Server
from tools.knowledge_center.service import Service


class Serving:
    """A service on a free port of the loopback, in a thread of its own."""

    def __init__(self, store: Store, **options):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        service = Service(store, **({} if "token" in options else {"open": True}) | options)
        self.server = Server(service, log_config=None, log_level="critical", backlog=512)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})

    def __enter__(self) -> Self:
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_) -> None:
        self.server.should_exit = True
        self.thread.join(30)
        assert not self.thread.is_alive()


class CuttingProxy:
    """Passes bytes on to a port, and cuts each connection after so many, either way; after some it takes no more.

    cut: how many were.
    """

    def __init__(self, port: int, least: int, most: int, seed: int = 0, connections: int = 1 << 30):
        self.connections = connections
        self.port, self.random, self.least, self.most, self.cut = port, random.Random(seed), least, most, 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            self.connections -= 1
            if self.connections < 0:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self.port))
            left = [self.random.randint(self.least, self.most)]
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(a, b, left), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, left: list[int]) -> None:
        try:
            while left[0] > 0 and (data := source.recv(min(8192, left[0]))):
                sink.sendall(data)
                left[0] -= len(data)
            self.cut += left[0] <= 0
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()


def ask(serving: Serving, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict, bytes]:
    """(status, headers, body) of one plain request."""
    connection = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=30)
    connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    connection.close()
    return found
