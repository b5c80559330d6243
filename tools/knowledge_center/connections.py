"""Connections of the service: those that send or take nothing are closed, and there is always room for one more."""

from __future__ import annotations

import ipaddress
import logging
import resource
import time
from collections.abc import Collection

import anyio
import uvicorn
from starlette.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from .errors import CenterError, escaped

HEADER_SECONDS = 10.0            # from a connection to the end of its first request's header
KEEP_SECONDS = 5                 # from an answer to the next request's header
WRITE_SECONDS = 30.0             # in which a receiver has to take 48 kB
CLOSE_SECONDS = 3.0              # in which it has to take what is left
LOOK_SECONDS = 1.0
HEADER_BYTES = 1 << 14
THREADS = 16                     # that read; each has the index open, which takes three descriptors
BACKLOG = 64                     # connections that may be taken at a time, before the first of them is looked at
OTHER_FILES = 4 * THREADS + BACKLOG + 32      # descriptors that are kept for the index, new connections and processes
MOST = 4096                      # connections
LOCAL = ("localhost",)


class Connection(H11Protocol):
    """Looks at itself every second; who waits for too long is cut."""

    def connection_made(self, transport) -> None:
        super().connection_made(transport)
        self.since, self.paused, self.closing = time.monotonic(), None, None
        make_room(self)
        self.look = self.loop.call_later(LOOK_SECONDS, self._look)

    def connection_lost(self, exc) -> None:
        self.look.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self.paused = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        self.paused = None
        super().resume_writing()

    @property
    def worth(self) -> tuple[int, float]:
        """The least goes first: who has asked nothing yet, then who asks nothing now, each the oldest first."""
        return 0 if self.cycle is None else 1 if self.cycle.response_complete else 2, self.since

    def _look(self) -> None:
        now = time.monotonic()
        if self.transport.is_closing() and self.closing is None:
            self.closing = now
        if (self.cycle is None and now > self.since + HEADER_SECONDS
                or self.paused is not None and now > self.paused + WRITE_SECONDS
                or self.closing is not None and now > self.closing + CLOSE_SECONDS):
            self.transport.abort()
            return
        self.look = self.loop.call_later(LOOK_SECONDS, self._look)


def most_connections() -> int:
    """As many as descriptors allow, each with one for what it reads; they are taken up to what the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MOST + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MOST if soft == resource.RLIM_INFINITY else max(8, min(MOST, (soft - OTHER_FILES) // 2))


def make_room(new: Connection) -> None:
    """Cuts the connection that is worth least, where there are more than there may be."""
    if len(new.connections) > new.config.most_connections:
        others = [c for c in new.connections if c is not new and not c.transport.is_closing()]
        if others:
            min(others, key=lambda c: c.worth).transport.abort()


class Hosts:
    """An application that answers only to names of its own, so that no page of a browser reaches it by another.

    An address is no name: whoever uses it means this machine.
    """

    def __init__(self, app, names: Collection[str]):
        self.app, self.names = app, {name.lower().rstrip(".") for name in (*LOCAL, *names)}

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "http":
            found = [value for name, value in scope["headers"] if name == b"host"]
            if len(found) != 1 or not self.is_own(found[0].decode("latin-1")):
                error = CenterError("BAD_HOST", "this service has another name; serve --name NAME adds one")
                await JSONResponse(error.as_json(), error.status)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def is_own(self, host: str) -> bool:
        name, colon, port = host.rpartition(":")
        if not colon or host.endswith("]"):
            name, port = host, ""
        if not (port == "" or port.isascii() and port.isdigit()):
            return False
        try:
            ipaddress.ip_address(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
        except ValueError:
            return name.lower().rstrip(".") in self.names
        return True


class Escaping(logging.Formatter):
    """A log in which no text from the network makes lines of its own, or moves the cursor."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(escaped(line) for line in super().format(record).split("\n"))

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = escaped(record.message)
        return super().formatMessage(record)


LOG = {"version": 1, "disable_existing_loggers": False,
       "formatters": {"plain": {"()": Escaping, "fmt": "%(asctime)s %(levelname)s %(message)s"}},
       "handlers": {"log": {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stderr"}},
       "loggers": {"uvicorn": {"handlers": ["log"], "level": "INFO", "propagate": False}}}


class Server(uvicorn.Server):
    """Serves a Service. options: of uvicorn.Config. Ends within seconds: what works for it is killed first."""

    def __init__(self, service, names: Collection[str] = (), **options):
        config = uvicorn.Config(Hosts(service.app(), names), **({
            "http": Connection, "ws": "none", "timeout_keep_alive": KEEP_SECONDS, "access_log": False,
            "h11_max_incomplete_event_size": HEADER_BYTES, "timeout_graceful_shutdown": 2, "server_header": False,
            "log_config": LOG, "lifespan": "off", "backlog": BACKLOG} | options))
        config.most_connections = most_connections()
        super().__init__(config)
        self.service = service

    async def startup(self, sockets=None) -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        await super().startup(sockets)

    async def shutdown(self, sockets=None) -> None:
        self.service.close()
        await super().shutdown(sockets)
