"""The process that decodes and codes for the service: what strangers send is never decoded in the service itself.

A line of JSON on standard input each, a line of JSON as answer. The first says folder, bytes of memory and of a file;
the next are requests: {"op": "add", ...} with the arguments of Store.add_stream and the digest of an upload, or
{"op": "plan", ...} with those of Planner.plan. It ends with its input, at whatever it is then.
"""

from __future__ import annotations

import json
import os
import queue
import resource
import sys
import threading
import traceback

from .answers import plan_json, version_json
from .errors import CenterError, one_error
from .planning import Planner
from .store import Store

ROOM = 3 << 30            # bytes of address space that the interpreter, its libraries and threads take themselves


def answer(store: Store, planner: Planner, request: dict) -> dict:
    """Raises CenterError."""
    op = request.pop("op")
    with one_error():
        if op == "plan":
            return plan_json(planner.plan(request.pop("want"), **request))
        digest = request.pop("object")
        version, new = store.add_stream(request.pop("name"), store.uploads.take(digest), **request)
        store.uploads.remove(digest)
        return {"version": version_json(version), "new": new}


def main() -> None:
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)                                       # whatever prints, prints to the log
    settings = json.loads(sys.stdin.readline())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for limit, most in ((resource.RLIMIT_AS, settings["memory"] + ROOM), (resource.RLIMIT_FSIZE, settings["file"])):
        hard = resource.getrlimit(limit)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (most, most))
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    store = Store(settings["store"], max_memory=settings["memory"])
    planner = Planner(store)
    while True:
        line = lines.get()
        try:
            reply = {"answer": answer(store, planner, json.loads(line))}
        except CenterError as error:
            reply = error.as_json()
        except Exception:
            traceback.print_exc()
            reply = CenterError("IO", "the service failed; its log says why").as_json()
        out.write(json.dumps(reply) + "\n")
        out.flush()


def _listen(lines: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)                                         # the service is gone
