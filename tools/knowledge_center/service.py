"""The HTTP service: a Starlette application over one store.

GET  /health                      {"status": "ok", "versions": n}
GET  /versions, /versions/NAME    what there is, with lineage and digests
GET  /lineage                     the tree as text
POST /plan                        {"want": NAME, "have": digest, "have_source": digest, "avoid": [objects]} -> the chain
GET  /objects/DIGEST              a stream; Range, ETag, If-Range, If-None-Match
HEAD, PATCH, DELETE /uploads/DIGEST   resumable upload of a stream: Upload-Offset says where it goes on
PUT  /versions/NAME               {"object": digest of an upload, "model_digest": digest, "parents": [names]}

Work on models runs in a few threads of its own, file work in others: the event loop only passes bytes on.
"""

from __future__ import annotations

import functools
import hmac
import json
import re
from collections.abc import AsyncIterator, Callable

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from .errors import CenterError, one_error
from .index import Version
from .lineage import tree
from .objects import SUFFIX, is_digest
from .planning import Plan, Planner
from .store import Store

JSON_BYTES = 1 << 16
UPLOAD_BYTES = 4 << 30
APPEND_BYTES = 1 << 20
WORKERS = 2
AVOID = 64                  # objects that one request may call damaged
RANGE = re.compile(r"bytes=(\d{1,18})?-(\d{1,18})?", re.ASCII)


class Service:
    """Handlers over a store.

    upload_bytes: most bytes of one upload.  workers: threads that code and decode.  token: what writers must send as
    'Authorization: Bearer TOKEN', None if anyone may write.
    """

    def __init__(self, store: Store, *, upload_bytes: int = UPLOAD_BYTES, workers: int = WORKERS,
                 token: str | None = None):
        self.store, self.planner = store, Planner(store)
        self.upload_bytes, self.workers, self.token = upload_bytes, workers, token
        self._working: anyio.CapacityLimiter | None = None       # made inside the event loop

    def app(self) -> Starlette:
        routes = [Route("/health", self.health), Route("/versions", self.versions), Route("/lineage", self.lineage),
                  Route("/versions/{name}", self.version), Route("/versions/{name}", self.add, methods=["PUT"]),
                  Route("/plan", self.plan, methods=["POST"]), Route("/objects/{digest}", self.object),
                  Route("/uploads/{digest}", self.upload_offset, methods=["HEAD"]),
                  Route("/uploads/{digest}", self.upload, methods=["PATCH"]),
                  Route("/uploads/{digest}", self.upload_forget, methods=["DELETE"])]
        handlers = {CenterError: refuse, HTTPException: refuse_http, Exception: fail}
        return Starlette(routes=routes, exception_handlers=handlers)

    async def working(self, function: Callable, *args, **keywords):
        """Runs what codes or decodes, as many at a time as there are workers."""
        self._working = self._working or anyio.CapacityLimiter(self.workers)
        return await anyio.to_thread.run_sync(functools.partial(function, *args, **keywords), limiter=self._working)

    def may_write(self, request: Request) -> None:
        sent = request.headers.get("authorization", "").encode()
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
        return JSONResponse(plan_json(await self.working(self.planner.plan, want, have, source, avoid=avoid)))

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
        position = int(offset)
        async for data in in_blocks(request):
            if position + len(data) > self.upload_bytes:
                await reading(uploads.remove, digest)
                raise CenterError("TOO_LARGE", f"an upload may have {self.upload_bytes} bytes")
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
        version, new = await self.working(self._add, name, digest, model, parents, str(asked.get("note") or "")[:1000])
        return JSONResponse(version_json(version), 201 if new else 200)

    def _add(self, name: str, digest: str, model: str, parents: list[str], note: str) -> tuple[Version, bool]:
        with one_error():
            arrived = self.store.uploads.offset(digest) or not self.store.index.is_object(digest)
            stream = self.store.uploads.take(digest) if arrived else self.store.objects.read(digest)    # asked again
        added = self.store.add_stream(name, stream, parents=parents, model_digest=model, note=note)
        self.store.uploads.remove(digest)
        return added


async def reading(function: Callable, *args):
    """Runs what waits for a disk or the index in a thread, with the errors of this package."""
    def run():
        with one_error():
            return function(*args)
    return await anyio.to_thread.run_sync(run)


async def in_blocks(request: Request) -> AsyncIterator[bytes]:
    """The body in blocks of about a megabyte; where the sender vanishes, what came until then."""
    block = bytearray()
    try:
        async for data in request.stream():
            block += data
            if len(block) >= APPEND_BYTES:
                yield bytes(block)
                block.clear()
    except ClientDisconnect:
        pass
    if block:
        yield bytes(block)


async def json_body(request: Request) -> dict:
    """The body as a JSON object of at most JSON_BYTES. Raises CenterError BAD_REQUEST, TOO_LARGE."""
    body = bytearray()
    async for data in request.stream():
        body += data
        if len(body) > JSON_BYTES:
            raise CenterError("TOO_LARGE", f"a request may have {JSON_BYTES} bytes of JSON")
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


def version_json(v: Version) -> dict:
    return {"name": v.name, "model_digest": v.model_digest, "source_digest": v.source_digest, "bytes": v.bytes,
            "kind": v.kind, "note": v.note, "created": v.created, "parents": list(v.parents)}


def plan_json(plan: Plan) -> dict:
    return {"version": version_json(plan.version), "have": plan.have, "known": plan.known, "bytes": plan.bytes,
            "whole_bytes": plan.whole_bytes,
            "steps": [{"object": e.object, "size": e.size, "reference": e.reference, "result": e.result}
                      for e in plan.steps]}


async def refuse(request: Request, error: CenterError) -> Response:
    return JSONResponse(error.as_json(), error.status)


async def refuse_http(request: Request, error: HTTPException) -> Response:
    code = {404: "NOT_FOUND"}.get(error.status_code, "BAD_REQUEST")
    return JSONResponse(CenterError(code, error.detail).as_json(), error.status_code, error.headers)


async def fail(request: Request, error: Exception) -> Response:
    return JSONResponse(CenterError("IO", "the service failed; its log says why").as_json(), 500)
