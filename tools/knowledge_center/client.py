"""The client: pulls and pushes models, resumes what was interrupted, and believes digests only."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import httpx

from refcodec import Config, Model, OmcError, decode, load, save

from .coding import coded, identity_of
from .errors import CODES, CenterError, one_error
from .objects import is_digest, sha256
from .store import check_name

ATTEMPTS = 8                # without a byte of progress
PAUSE = 0.1                 # seconds before the second attempt; doubled each time, up to
LONGEST_PAUSE = 5.0
TIMEOUT = httpx.Timeout(30.0, read=600.0)      # a plan may have to code a model first
REPLANS = 4                 # when objects turn out to be damaged
BLOCK = 1 << 18
STEPS_MAX = 64              # of a plan
OBJECT_BYTES = 1 << 36
ANSWER_BYTES = 1 << 26

Progress = Callable[[int, int, str], None]     # bytes done, in all, of what


class Client:
    """url: of the service.  attempts: in a row without progress.  token: for writing.  progress: as bytes move.

    Methods raise CenterError; what a broken connection left behind is used by the next call.
    """

    def __init__(self, url: str, *, attempts: int = ATTEMPTS, token: str | None = None, max_memory: int | None = None,
                 progress: Progress = lambda done, total, what: None):
        headers = {"accept-encoding": "identity"} | ({"authorization": f"Bearer {token}"} if token else {})
        try:
            self.http = httpx.Client(base_url=url, timeout=TIMEOUT, headers=headers)
        except (httpx.InvalidURL, ValueError) as error:
            raise CenterError("BAD_REQUEST", f"{url!r} is no address of a service: {error}") from None
        self.attempts, self.max_memory, self.progress = attempts, max_memory, progress

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.http.close()

    # Reading

    def versions(self) -> list[dict]:
        found = self._json("GET", "/versions")
        if not isinstance(found, list):
            raise self._strange()
        return [self._version(v) for v in found]

    def version(self, name: str) -> dict:
        return self._version(self._json("GET", f"/versions/{check_name(name)}"))

    def lineage(self) -> str:
        return self._answer("GET", "/lineage").text

    def plan(self, want: str, have: str = "", have_source: str | None = None, avoid: list[str] | None = None) -> dict:
        plan = self._json("POST", "/plan", json={"want": check_name(want), "have": have, "have_source": have_source,
                                                 "avoid": avoid or []})
        steps = plan.get("steps") if isinstance(plan, dict) else None
        if not isinstance(steps, list) or len(steps) > STEPS_MAX or not all(map(_is_step, steps)) \
                or type(plan.get("bytes")) is not int or type(plan.get("whole_bytes")) not in (int, type(None)):
            raise self._strange()
        self._version(plan.get("version"))
        return plan

    def _version(self, found: object) -> dict:
        """A version as the service describes it, or CenterError: nothing else of an answer is believed."""
        texts = ("name", "model_digest", "source_digest", "kind", "note", "created")
        if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in texts) \
                or type(found.get("bytes")) is not int or not is_digest(found["model_digest"]) \
                or not isinstance(found.get("parents"), list) or not all(isinstance(p, str) for p in found["parents"]):
            raise self._strange()
        return found

    def _strange(self) -> CenterError:
        return CenterError("TRANSFER", f"{self.http.base_url} did not answer as a knowledge center does")

    def pull(self, want: str, output: str, have: str | None = None) -> dict:
        """Writes a version to a file by way of the smallest chain, and returns the plan that was followed.

        have: model file that is here.  Parts are kept in OUTPUT.pull until the model is verified and written.
        """
        with one_error():
            base = load(have) if have else None
            known = identity_of(base) if base else None
            avoid: list[str] = []
            folder = output + ".pull"
            while True:
                digests = (known.model_digest, known.source_digest) if known else ("", None)
                plan = self.plan(want, *digests, avoid)
                try:
                    model = self._follow(plan, base, folder)
                    break
                except CenterError as error:
                    damaged = error.details.get("object")
                    if error.code != "DAMAGED" or damaged in avoid or len(avoid) >= REPLANS or not damaged:
                        raise
                    avoid.append(damaged)
            save(model, output)
            shutil.rmtree(folder, ignore_errors=True)
        return plan

    def _follow(self, plan: dict, base: Model | None, folder: str) -> Model:
        """Downloads and decodes the chain. Raises CenterError DAMAGED with the object that is wrong."""
        current = base
        for step in plan["steps"]:
            data = self.fetch(step["object"], step["size"], folder)
            try:
                current = decode(data, [current] if step["reference"] else [], max_memory=self.max_memory)
            except OmcError as error:
                if error.code == "RESOURCE_LIMIT":
                    raise
                raise CenterError("DAMAGED", f"object {step['object']}: {error}", object=step["object"]) from error
            if current.digest().hex() != step["result"]:
                raise CenterError("DAMAGED", f"object {step['object']} gives another model", object=step["object"])
        if current is None:
            raise self._strange()                                 # no step, to who has nothing
        found, wanted = identity_of(current), plan["version"]
        if (found.model_digest, found.source_digest) != (wanted["model_digest"], wanted["source_digest"]):
            raise CenterError("DIGEST_MISMATCH", f"what came is {found.model_digest}, not {wanted['model_digest']}")
        return current

    def fetch(self, digest: str, size: int, folder: str) -> bytes:
        """The bytes of an object, from where an earlier attempt ended. Raises CenterError DAMAGED, TRANSFER, TOO_LARGE.
        """
        if not is_digest(digest):                                 # it becomes a name of a file
            raise self._strange()
        if not 0 <= size <= OBJECT_BYTES:
            raise CenterError("TOO_LARGE", f"object {digest} has {size} bytes; {OBJECT_BYTES} are taken")
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, digest + ".part")
        self._patiently(lambda: self._receive(digest, path, size), lambda: _size(path))
        with open(path, "rb") as f:
            data = f.read()
        if sha256(data) != digest:
            os.remove(path)
            raise CenterError("DAMAGED", f"object {digest} arrived with another digest", object=digest)
        return data

    def _receive(self, digest: str, path: str, size: int) -> bool:
        """Asks for the rest of an object; True when it is all there."""
        have = _size(path)
        if have >= size:
            return True
        headers = {"range": f"bytes={have}-", "if-range": f'"{digest}"'} if have else {}
        with self.http.stream("GET", f"/objects/{digest}", headers=headers) as answer:
            if answer.status_code == 416:                         # the object is shorter than the plan says
                raise CenterError("DAMAGED", f"object {digest} ends before byte {have}", object=digest)
            if answer.status_code not in (200, 206):
                raise _error_of(answer.status_code, _body(answer))
            with open(path, "ab" if answer.status_code == 206 else "wb") as f:
                for block in answer.iter_raw():            # as it comes: what came before a cut is kept
                    f.write(block[: size - f.tell()])
                    self.progress(f.tell(), size, digest[:8])
                    if f.tell() >= size:                   # whatever else would come
                        break
                complete = "content-length" in answer.headers      # else a proxy may have cut it
        if complete and _size(path) < size:
            raise CenterError("DAMAGED", f"object {digest} ends at byte {_size(path)}, not at {size}", object=digest)
        return _size(path) >= size

    # Writing

    def push(self, name: str, path: str, *, have: str | None = None, parents: list[str] | None = None, note: str = "",
             config: Config | None = None) -> tuple[dict, bool, int]:
        """(version, True if it is new, bytes sent): a model file as a stream, an update of `have` if that is there.

        The center rebuilds the model and compares its digest with ours.  config: None for lossless.
        """
        with one_error():
            check_name(name)
            model, base = load(path), load(have) if have else None
            if (there := self._there(name, model, parents or [], config)) is not None:
                return there, False, 0
            if base and not self._has(base):
                base = None
            stream, back = coded(model, [base] if base else [], config)
            digest = sha256(stream)
            self.upload(digest, stream)
            asked = {"object": digest, "model_digest": back.digest().hex(), "parents": parents or [], "note": note}
            answer = self._answer("PUT", f"/versions/{name}", json=asked)
        return answer.json(), answer.status_code == 201, len(stream)

    def _there(self, name: str, model: Model, parents: list[str], config: Config | None) -> dict | None:
        """The version, if the center has it with this model. Raises CenterError CONFLICT if it has another one."""
        try:
            version = self.version(name)
        except CenterError as error:
            if error.code != "NOT_FOUND":
                raise
            return None
        found = identity_of(model)
        if config is not None and config.lossy or parents and sorted(parents) != sorted(version["parents"]):
            return None                                   # the center will say
        if (found.model_digest, found.source_digest) != (version["model_digest"], version["source_digest"]):
            raise CenterError("CONFLICT", f"version {name!r} exists and is another model ({version['model_digest']}); "
                              "choose another name")
        return version

    def _has(self, model: Model) -> bool:
        digest = model.digest().hex()
        return any(v["model_digest"] == digest for v in self.versions())

    def upload(self, digest: str, stream: bytes) -> None:
        """Sends the bytes that the center does not have yet. Raises CenterError TRANSFER."""
        arrived = 0

        def send() -> bool:
            nonlocal arrived
            answer = self.http.head(f"/uploads/{digest}")
            _check(answer)
            offset = answer.headers.get("upload-offset", "")
            if not re.fullmatch(r"\d{1,18}", offset, re.ASCII):
                raise self._strange()
            arrived = int(offset)
            if arrived > len(stream):                             # somebody else's mistake
                _check(self.http.delete(f"/uploads/{digest}"))
                return False
            if arrived < len(stream):
                headers = {"upload-offset": str(arrived), "content-length": str(len(stream) - arrived)}
                _check(self.http.patch(f"/uploads/{digest}", content=self._blocks(stream, arrived), headers=headers))
            return True

        self._patiently(send, lambda: arrived)

    def _blocks(self, stream: bytes, offset: int) -> Iterator[bytes]:
        for at in range(offset, len(stream), BLOCK):
            yield stream[at : at + BLOCK]
            self.progress(min(at + BLOCK, len(stream)), len(stream), "upload")

    # Connections

    def _json(self, method: str, path: str, **body):
        return self._answer(method, path, **body).json()

    def _answer(self, method: str, path: str, **body) -> Answer:
        found: list[Answer] = []

        def ask() -> bool:
            with self.http.stream(method, path, **body) as answer:
                data = _body(answer)
                if answer.status_code not in (200, 201):
                    raise _error_of(answer.status_code, data)
                found.append(Answer(answer.status_code, data, self._strange()))
            return True

        self._patiently(ask)
        return found[0]

    def _patiently(self, action: Callable[[], bool], done: Callable[[], int] = lambda: 0) -> None:
        """Repeats an action until it returns True; gives up when it fails too often without progress (done() grew)."""
        failures, before, reason = 0, done(), "incomplete"
        while True:
            try:
                if action():
                    return
            except (httpx.TransportError, CenterError) as error:
                if not _is_passing(error):
                    raise
                reason = str(error) or type(error).__name__
            failures, before = (0, done()) if done() > before else (failures + 1, before)
            if failures >= self.attempts:
                raise CenterError("TRANSFER", f"{failures} attempts to reach {self.http.base_url} failed ({reason}); "
                                  "the same command goes on where this one ended")
            time.sleep(min(LONGEST_PAUSE, PAUSE * 2 ** max(0, failures - 1)) * random.uniform(0.5, 1))


def _is_passing(error: Exception) -> bool:
    """True for what another attempt may mend: a lost connection, a busy service, an upload that is elsewhere."""
    if isinstance(error, CenterError):
        return error.code == "BUSY" or error.code == "CONFLICT" and "offset" in error.details
    return True


@dataclass
class Answer:
    """What a service said. strange: the error where that is not what a center says."""

    status_code: int
    body: bytes
    strange: CenterError

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self):
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise self.strange from None


def _body(answer: httpx.Response) -> bytes:
    """The body of an answer, of at most ANSWER_BYTES. Raises CenterError TRANSFER."""
    data = bytearray()
    for piece in answer.iter_raw():
        data += piece
        if len(data) > ANSWER_BYTES:
            raise CenterError("TOO_LARGE", f"the service answers with more than {ANSWER_BYTES} bytes")
    return bytes(data)


def _check(answer: httpx.Response) -> None:
    """Raises the CenterError that an answer carries."""
    if answer.status_code not in (200, 201, 204):
        raise _error_of(answer.status_code, answer.content[:ANSWER_BYTES])


def _error_of(status: int, body: bytes) -> CenterError:
    """The CenterError that a refusal carries; of its details only those that are used here."""
    code, message, details = "BUSY" if status in (429, 502, 503, 504) else "TRANSFER", f"HTTP {status}", {}
    try:
        error = json.loads(body)["error"]
        found, message = error["code"], str(error["message"])[:1000]
        code = found if isinstance(found, str) and found in CODES else "TRANSFER"
        if is_digest(error.get("object")):
            details["object"] = error["object"]
        if type(error.get("offset")) is int:
            details["offset"] = error["offset"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    return CenterError(code, message, **details)


def _is_step(step: object) -> bool:
    return (isinstance(step, dict) and is_digest(step.get("object")) and is_digest(step.get("result"))
            and (step.get("reference") in ("", None) or is_digest(step["reference"]))
            and type(step.get("size")) is int)


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0
