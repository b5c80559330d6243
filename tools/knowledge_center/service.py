"""The HTTP service: a Starlette application over one store.

GET  /health                      {"status": "ok", "versions": n}
GET  /versions, /versions/NAME    what there is, with lineage and digests
GET  /lineage                     the tree as text
POST /plan                        {"want": NAME, "have": digest, "have_source": digest, "avoid": [objects]} -> the chain
GET  /objects/DIGEST              a stream; Range, ETag, If-Range, If-None-Match
HEAD, PATCH, DELETE /uploads/DIGEST   resumable upload of a stream: Upload-Offset says where it goes on
PUT  /versions/NAME               {"object": digest of an upload, "model_digest": digest, "parents": [names]}

Models are coded and decoded in processes of their own (workers.py), with limits of time and memory; file work runs in
threads: the event loop only passes bytes on. Who sends or takes too little is cut (connections.py).
"""

from __future__ import annotations

import functools
import hmac
import json
import re
import time
from collections.abc import AsyncIterator, Callable

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from .answers import plan_json, version_json
from .errors import CenterError, one_error
from .lineage import tree
from .objects import SUFFIX, is_digest
from .planning import Planner
from .store import Store
from .workers import Workers

JSON_BYTES = 1 << 16
UPLOAD_BYTES = 4 << 30
UPLOADS = 4                 # times UPLOAD_BYTES, of all unfinished uploads together
APPEND_BYTES = 1 << 20
WORKERS = 2
SECONDS = 120.0             # to decode what was sent
PLAN_SECONDS = 900.0        # to code an update of models that are stored
MEMORY = 4 << 30
FILE_BYTES = 1 << 33        # at least, that a process may write: the index and streams
BODY_SECONDS = 10.0         # without a byte of a body; and for a whole body of JSON
SLOWEST = 4096              # bytes a second of an upload, on average
AVOID = 64                  # objects that one request may call damaged
RANGE = re.compile(r"bytes=(\d{1,18})?-(\d{1,18})?", re.ASCII)


class Service:
    """Handlers over a store.

    upload_bytes: most bytes of one upload; all unfinished ones together may have four times as many.  workers:
    processes that code, and as many that decode what is sent.  seconds, memory: that each of these may take for one
    request.  token: what writers must send as 'Authorization: Bearer TOKEN'.  open: without a token anyone may write;
    else nobody.
    """

    def __init__(self, store: Store, *, upload_bytes: int = UPLOAD_BYTES, workers: int = WORKERS,
                 token: str | None = None, open: bool = False, seconds: float = SECONDS, memory: int = MEMORY):
        self.store, self.planner = store, Planner(store)
        self.upload_bytes, self.token, self.open = upload_bytes, token, open
        make = functools.partial(Workers, store.folder, workers, memory=memory, file=max(FILE_BYTES, 2 * upload_bytes))
        self.planning, self.adding = make(seconds=PLAN_SECONDS), make(seconds=seconds)
        self._limits: dict[Workers, anyio.CapacityLimiter] = {}
        self._count = workers

    def app(self) -> Starlette:
        routes = [Route("/health", self.health), Route("/versions", self.versions), Route("/lineage", self.lineage),
                  Route("/versions/{name}", self.version), Route("/versions/{name}", self.add, methods=["PUT"]),
                  Route("/plan", self.plan, methods=["POST"]), Route("/objects/{digest}", self.object),
                  Route("/uploads/{digest}", self.upload_offset, methods=["HEAD"]),
                  Route("/uploads/{digest}", self.upload, methods=["PATCH"]),
                  Route("/uploads/{digest}", self.upload_forget, methods=["DELETE"])]
        handlers = {CenterError: refuse, HTTPException: refuse_http, Exception: fail}
        return Starlette(routes=routes, exception_handlers=handlers)

    async def working(self, workers: Workers, **request) -> dict:
        """The answer of a process; as many requests at a time as there are processes, the others wait."""
        limit = self._limits.setdefault(workers, anyio.CapacityLimiter(self._count))
        return await anyio.to_thread.run_sync(functools.partial(workers.call, **request), limiter=limit,
                                              abandon_on_cancel=True)

    def close(self) -> None:
        """Kill the processes that work for it."""
        self.planning.close()
        self.adding.close()

    def may_write(self, request: Request) -> None:
        sent = request.headers.get("authorization", "").encode()
        if self.token is None and not self.open:
            raise CenterError("FORBIDDEN", "this service takes no models: it was started without a token, and not open")
        if self.token is not None and not hmac.compare_digest(sent, f"Bearer {self.token}".encode()):
            raise CenterError("FORBIDDEN", "this service takes models from those who send its token")

    # Reading

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", "versions": len(await reading(self.store.index.versions))})

    async def versions(self, request: Request) -> Response:
        return JSONResponse([version_json(v) for v in await reading(self.store.index.versions)])

    async def version(self, request: Request) -> Response:
        return JSONResponse(version_json(await reading(self.store.version, request.path_params["name"])))

    async def lineage(self, request: Request) -> Response:
        return PlainTextResponse("\n".join(await reading(tree, self.store)) + "\n")

    async def plan(self, request: Request) -> Response:
        asked = await json_body(request)
        want, have, source, avoid = (asked.get(key) for key in ("want", "have", "have_source", "avoid"))
        have, avoid = "" if have is None else have, [] if avoid is None else avoid
        if have != "" and not is_digest(have) or not isinstance(source, str | None):
            raise CenterError("BAD_REQUEST", "'have' and 'have_source' are digests of 64 lower-case hexadecimal digits")
        if not isinstance(avoid, list) or len(avoid) > AVOID or not all(map(is_digest, avoid)):
            raise CenterError("BAD_REQUEST", f"'avoid' is a list of at most {AVOID} digests of objects")
        if not avoid and (plan := await reading(self.planner.settled, want, have, source)) is not None:
            return JSONResponse(plan_json(plan))
        return JSONResponse(await self.working(self.planning, op="plan", want=want, have=have, have_source=source,
                                               avoid=avoid))

    async def object(self, request: Request) -> Response:
        digest = request.path_params["digest"].removesuffix(SUFFIX)
        if not is_digest(digest) or not await reading(self.store.index.is_object, digest):
            raise CenterError("NOT_FOUND", "there is no such object")
        size = await reading(self.store.objects.size, digest)
        if size is None:
            await reading(self.store.index.set_damaged, digest)
            raise CenterError("DAMAGED", f"object {digest} is missing; ask for another plan", object=digest)
        tag = f'"{digest}"'
        headers = {"etag": tag, "accept-ranges": "bytes", "cache-control": "public, max-age=31536000, immutable"}
        if tag in [t.strip() for t in request.headers.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers=headers)
        start, end = 0, size
        asked = request.headers.get("range")
        if asked and request.headers.get("if-range", tag) == tag:
            part = wanted_range(asked, size)
            if part == ():
                return Response(status_code=416, headers={**headers, "content-range": f"bytes */{size}"})
            start, end = part or (0, size)
        whole = (start, end) == (0, size)
        headers["content-length"] = str(end - start)
        if not whole:
            headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
        body = b"" if request.method == "HEAD" else self.store.objects.pieces(digest, start, end)
        make = Response if request.method == "HEAD" else StreamingResponse      # the latter iterates in a thread
        return make(body, 200 if whole else 206, headers, "application/octet-stream")

    # Writing

    async def upload_offset(self, request: Request) -> Response:
        offset = await reading(self.store.uploads.offset, request.path_params["digest"])
        return Response(headers={"upload-offset": str(offset), "cache-control": "no-store"})

    async def upload(self, request: Request) -> Response:
        """Appends the body; what arrived before a connection broke stays, and the next request goes on there."""
        self.may_write(request)
        digest, uploads = request.path_params["digest"], self.store.uploads
        offset = request.headers.get("upload-offset", "")
        if not re.fullmatch(r"\d{1,18}", offset, re.ASCII):
            raise CenterError("BAD_REQUEST", "Upload-Offset is the number of the byte at which the body begins")
        position, length = int(offset), request.headers.get("content-length", "0")
        if position + int(length if re.fullmatch(r"\d{1,18}", length, re.ASCII) else 0) > self.upload_bytes:
            await reading(uploads.remove, digest)
            raise CenterError("TOO_LARGE", f"an upload may have {self.upload_bytes} bytes")
        left = UPLOADS * self.upload_bytes - await reading(uploads.total)
        async for data in in_blocks(request):
            if position + len(data) > self.upload_bytes:
                await reading(uploads.remove, digest)
                raise CenterError("TOO_LARGE", f"an upload may have {self.upload_bytes} bytes")
            if (left := left - len(data)) < 0:
                raise CenterError("FULL", "unfinished uploads take all the room that they may have; try again later")
            await reading(uploads.append, digest, position, data)
            position += len(data)
        return Response(status_code=204, headers={"upload-offset": str(position)})

    async def upload_forget(self, request: Request) -> Response:
        self.may_write(request)
        await reading(self.store.uploads.remove, request.path_params["digest"])
        return Response(status_code=204)

    async def add(self, request: Request) -> Response:
        self.may_write(request)
        name, asked = request.path_params["name"], await json_body(request)
        digest, model, parents = asked.get("object"), asked.get("model_digest"), asked.get("parents", [])
        if not is_digest(digest) or not is_digest(model):
            raise CenterError("BAD_REQUEST", "'object' and 'model_digest' are 64 lower-case hexadecimal digits each")
        if not isinstance(parents, list) or len(parents) > AVOID or not all(isinstance(p, str) for p in parents):
            raise CenterError("BAD_REQUEST", f"'parents' is a list of at most {AVOID} names")
        done = await self.working(self.adding, op="add", name=name, object=digest, model_digest=model, parents=parents,
                                  note=str(asked.get("note") or "")[:1000])
        return JSONResponse(done["version"], 201 if done["new"] else 200)


async def reading(function: Callable, *args):
    """Runs what waits for a disk or the index in a thread, with the errors of this package."""
    def run():
        with one_error():
            return function(*args)
    return await anyio.to_thread.run_sync(run)


async def pieces_of(request: Request, seconds: float) -> AsyncIterator[bytes]:
    """The body as it comes. Raises CenterError SLOW where nothing came for so long; ClientDisconnect."""
    body = request.stream()
    while True:
        try:
            with anyio.fail_after(seconds):
                data = await anext(body, None)
        except TimeoutError:
            raise CenterError("SLOW", f"nothing came for {seconds:g} s") from None
        if data is None:
            return
        yield data


async def in_blocks(request: Request) -> AsyncIterator[bytes]:
    """The body in blocks of about a megabyte; where the sender vanishes, or is too slow, what came until then."""
    block, begin, total = bytearray(), time.monotonic(), 0
    try:
        async for data in pieces_of(request, BODY_SECONDS):
            block += data
            total += len(data)
            if len(block) >= APPEND_BYTES:
                yield bytes(block)
                block.clear()
            if time.monotonic() - begin > BODY_SECONDS + total / SLOWEST:
                break
    except ClientDisconnect:
        pass
    except CenterError as error:
        if error.code != "SLOW":
            raise
    if block:
        yield bytes(block)


async def json_body(request: Request) -> dict:
    """The body as a JSON object of at most JSON_BYTES. Raises CenterError BAD_REQUEST, TOO_LARGE, SLOW."""
    body, ends = bytearray(), time.monotonic() + BODY_SECONDS
    async for data in pieces_of(request, BODY_SECONDS):
        body += data
        if len(body) > JSON_BYTES:
            raise CenterError("TOO_LARGE", f"a request may have {JSON_BYTES} bytes of JSON")
        if time.monotonic() > ends:
            raise CenterError("SLOW", f"a request has {BODY_SECONDS:g} s")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise CenterError("BAD_REQUEST", "the body is no JSON object")
    return found


def wanted_range(header: str, size: int) -> tuple[int, int] | tuple[()] | None:
    """(first byte, after the last) of a Range header; () if no byte of it is there; None: not one range, to be ignored.

    RFC 9110, 14.2: a server may ignore the header, and does where it is malformed or asks for several ranges.
    """
    found = RANGE.fullmatch(header.strip())
    if not found or not any(found.groups()):
        return None
    first, last = found.groups()
    if first is None:
        return (max(0, size - int(last)), size) if int(last) and size else ()
    if last is not None and int(last) < int(first):
        return None
    return (int(first), min(size, int(last) + 1 if last else size)) if int(first) < size else ()


async def refuse(request: Request, error: CenterError) -> Response:
    return JSONResponse(error.as_json(), error.status)


async def refuse_http(request: Request, error: HTTPException) -> Response:
    code = {404: "NOT_FOUND"}.get(error.status_code, "BAD_REQUEST")
    return JSONResponse(CenterError(code, error.detail).as_json(), error.status_code, error.headers)


async def fail(request: Request, error: Exception) -> Response:
    return JSONResponse(CenterError("IO", "the service failed; its log says why").as_json(), 500)
