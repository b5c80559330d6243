"""What the knowledge center's service answers: ranges, hostile requests, streams that lie."""

from __future__ import annotations

import json
import socket

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from helpers.center import filled, small
from helpers.serving import Serving, ask

from refcodec import encode
from tools.knowledge_center import Store
from tools.knowledge_center.objects import sha256
from tools.knowledge_center.service import wanted_range


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return filled(tmp_path_factory.mktemp("center"))


@pytest.fixture(scope="module")
def serving(store):
    with Serving(store, workers=2, upload_bytes=1 << 20) as found:
        yield found


# The protocol

def test_ranges(store, serving):
    found = store.index.edges()[0].object
    data = store.objects.read(found)
    size = len(data)
    for asked, first, last in (("0-0", 0, 1), ("5-9", 5, 10), (f"{size - 1}-", size - 1, size), ("-7", size - 7, size),
                               (f"-{size * 2}", 0, size), (f"10-{10**17}", 10, size)):
        status, headers, body = ask(serving, "GET", f"/objects/{found}", range=f"bytes={asked}")
        assert body == data[first:last], asked
        assert headers["etag"] == f'"{found}"', asked
        assert status == 206 and headers["content-range"] == f"bytes {first}-{last - 1}/{size}" or (first,
                                                                                                    last) == (0, size)
    for asked in (f"{size}-", f"{10**17}-", "-0"):
        status, headers, _ = ask(serving, "GET", f"/objects/{found}", range=f"bytes={asked}")
        assert status == 416
        assert headers["content-range"] == f"bytes */{size}"
    for asked in ("bytes=9-5", "bytes=-", "bytes=a-b", "bytes=1-2,4-5", "lines=1-2", "bytes=-1-2",
                  "bytes=" + "9" * 400, "x" * 3000):
        status, _, body = ask(serving, "GET", f"/objects/{found}", range=asked)
        assert status == 200, asked
        assert body == data, asked
    assert ask(serving, "GET", f"/objects/{found}.omc", range="bytes=3-4", if_range=f'"{found}"')[2] == data[3:5]
    assert ask(serving, "GET", f"/objects/{found}", range="bytes=3-4", if_range='"other"')[2] == data
    assert ask(serving, "GET", f"/objects/{found}", if_none_match=f'"x", "{found}"')[0] == 304
    status, headers, body = ask(serving, "HEAD", f"/objects/{found}")
    assert (status, headers["content-length"], body) == (200, str(size), b"")


@pytest.mark.parametrize(("header", "size", "expected"), [
    ("bytes=0-", 0, ()), ("bytes=-5", 0, ()), ("bytes=0-0", 1, (0, 1)), ("bytes=1-", 1, ()), ("bytes=\u0663-", 9, None),
])
def test_ranges_of_small_objects(header, size, expected):
    assert wanted_range(header, size) == expected


def test_hostile_requests(store, serving):
    """Each gets a 4xx with a code, nothing is written, and the service lives."""
    before = (store.objects.all(), [v.name for v in store.index.versions()])
    good = "0" * 64
    bad_paths = [
        "/objects/../../index.sqlite", "/objects/%2e%2e%2f%2e%2e%2findex.sqlite", "/objects/" + "A" * 64, "/objects/x",
        f"/objects/{good}", "/versions/..%2f..%2fetc", "/versions/%00", "/versions/" + "a" * 5000, "/versions/%ff%fe",
        "/etc/passwd", "//", "/objects/%c3%a9"
    ]
    for path in bad_paths:
        status, _, body = ask(serving, "GET", path)
        assert status in (400, 404), path
        assert json.loads(body)["error"]["code"] in ("BAD_REQUEST", "NOT_FOUND"), path
    plans = [b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xff\xfe", b"[" * 60_000, b'{"want": 5}', b'{"want": null}',
             b'{"want": "../x"}', b'{"want": "base", "have": "../x"}',
             b'{"want": "base", "have": 7}', b'{"want": "base", "have": {}}',
             b'{"want": "base", "avoid": ["../../x"]}', b'{"want": "base", "avoid": "x"}',
             b'{"want": "base", "have_source": []}',
             json.dumps({"want": "base", "avoid": [good] * 65}).encode(),
             b'{"want": "base", "have": "' + good.encode() + b'x"}']
    for body in plans:
        status, _, answer = ask(serving, "POST", "/plan", body)
        assert status == 400, body[:60]
        assert json.loads(answer)["error"]["code"] == "BAD_REQUEST", body[:60]
    assert ask(serving, "POST", "/plan", b'{"want": "' + b"a" * 70_000 + b'"}')[0] == 413
    assert ask(serving, "DELETE", "/versions/base")[0] == 405
    for digest_ in ("x", "../../index.sqlite", good[:-1]):
        assert ask(serving, "PATCH", f"/uploads/{digest_}", b"data", upload_offset="0")[0] in (400, 404)
    for offset in ("", "-1", "x", "1e3", "9" * 30, "\u0661"):
        assert ask(serving, "PATCH", f"/uploads/{good}", b"data",
                   upload_offset=offset.encode().decode("latin-1"))[0] == 400
    assert ask(serving, "PATCH", f"/uploads/{good}", b"data", upload_offset="5")[0] == 409
    assert ask(serving, "PATCH", f"/uploads/{good}", bytes((1 << 20) + 1), upload_offset="0")[0] == 413
    assert store.uploads.offset(good) == 0
    for name, body in (("new", {"object": good}), ("new", {"object": "x", "model_digest": good}),
                       ("new", {"object": good, "model_digest": good,
                                "parents": "base"}), ("..", {}), ("new", {"object": [1], "model_digest": {}})):
        assert ask(serving, "PUT", f"/versions/{name}", json.dumps(body).encode())[0] in (400, 404)
    assert ask(serving, "PUT", "/versions/new", json.dumps({"object": good, "model_digest": good}).encode())[0] == 404
    with socket.create_connection(("127.0.0.1", serving.port)) as raw:             # a header that never ends
        try:
            raw.sendall(b"GET /health HTTP/1.1\r\nx: " + b"a" * 400_000)
            answer = raw.recv(100)
        except ConnectionError:
            answer = b""
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    for junk in (b"\0" * 100, b"GET\r\n\r\n", b"POST /plan HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", serving.port)) as raw:
            raw.sendall(junk)
            assert raw.recv(100).startswith(b"HTTP/1.1 4")
    assert ask(serving, "GET", "/health")[0] == 200
    assert (store.objects.all(), [v.name for v in store.index.versions()]) == before
    assert store.uploads.old(-1) == []


def test_streams_that_lie(store, serving):
    """An upload whose bytes, model or references are not what was said is refused, and leaves nothing."""
    before = store.objects.all()
    good, model = encode(small(5)), small(5).digest().hex()
    orphan = encode(small(7, small(6)), references=[small(6)])
    cases = [(good, sha256(good), "0" * 64, 422, "DIGEST_MISMATCH"), (good, sha256(b""), model, 422, "DIGEST_MISMATCH"),
             (b"junk", sha256(b"junk"), model, 422, "BAD_STREAM"),
             (good[:-9], sha256(good[:-9]), model, 422, "BAD_STREAM"),
             (orphan, sha256(orphan), model, 404, "NOT_FOUND")]
    for data, name, said, status, code in cases:
        assert ask(serving, "PATCH", f"/uploads/{name}", data, upload_offset="0")[0] == 204
        body = json.dumps({"object": name, "model_digest": said}).encode()
        got, _, answer = ask(serving, "PUT", "/versions/liar", body)
        assert got == status, answer
        assert json.loads(answer)["error"]["code"] == code, answer
        ask(serving, "DELETE", f"/uploads/{name}")
    assert store.objects.all() == before
    assert store.index.version("liar") is None
