"""The knowledge center's client against servers that lie: no file elsewhere, no size unbounded, no traceback."""

from __future__ import annotations

import http.server
import json
import os
import threading

import pytest

pytest.importorskip("httpx")

from helpers.center import cli_lines

from tools.knowledge_center import CenterError
from tools.knowledge_center import client as module
from tools.knowledge_center.client import Client

GOOD = {"name": "v", "model_digest": "a" * 64, "source_digest": "", "bytes": 5, "kind": "lossless", "note": "",
        "created": "now", "parents": []}
STEP = {"object": "b" * 64, "size": 5, "reference": "", "result": "a" * 64}
PLAN = {"version": GOOD, "have": "", "known": False, "bytes": 5, "whole_bytes": None, "steps": [STEP]}
LIES = [None, True, -1, 2**80, 1.5, "", "../../x", "/etc/passwd", "\x1b[2J", [], {}, [[]], "a" * 63 + "\n"]


@pytest.fixture
def server():
    """A server whose answers the test sets: (status, headers, body), or a function of the request that gives them."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_any(self):
            self.rfile.read(int(self.headers.get("content-length", 0)))
            status, headers, body = found.answer(self) if callable(found.answer) else found.answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                for piece in [body] if isinstance(body, bytes) else body:
                    self.wfile.write(piece)
            except OSError:
                pass

        do_GET = do_POST = do_PUT = do_HEAD = do_PATCH = do_DELETE = do_any

        def log_message(self, *_):
            pass

    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.answer = 200, {}, b""
    found.url = f"http://127.0.0.1:{found.server_port}"
    thread = threading.Thread(target=found.serve_forever, args=(0.02,))
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def says(value: object, status: int = 200) -> tuple:
    return status, {}, json.dumps(value).encode()


def test_names_of_objects_are_digests(server, tmp_path):
    """What once planted and deleted files outside the folder."""
    (tmp_path / "precious.part").write_text("precious")
    for name in ("../precious", str(tmp_path / "precious"), "..", "a/b", "A" * 64, 5, None, ["x"]):
        server.answer = says({**PLAN, "steps": [{**STEP, "object": name}]})
        with Client(server.url, attempts=1) as client, pytest.raises(CenterError):
            client.pull("v", str(tmp_path / "out.npz"))
        with Client(server.url, attempts=1) as client, pytest.raises(CenterError):
            client.fetch(name, 5, str(tmp_path / "folder"))
    assert (tmp_path / "precious.part").read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["precious.part"]


@pytest.mark.parametrize("lie", LIES, ids=repr)
def test_lies_in_plans_and_versions(lie, server, tmp_path):
    answers = [lie, *({**PLAN, name: lie} for name in PLAN),
               *({**PLAN, "version": {**GOOD, name: lie}} for name in GOOD),
               *({**PLAN, "steps": [{**STEP, name: lie}]} for name in STEP), {**PLAN, "steps": [lie]},
               {**PLAN, "steps": [STEP] * 65}]
    with Client(server.url, attempts=1) as client:
        for answer in answers:
            server.answer = says(answer)
            with pytest.raises(CenterError):
                client.pull("v", str(tmp_path / "out.npz"))
        for answer in [lie, [lie], [{**GOOD, "name": lie}], [{**GOOD, "parents": [5]}]]:
            server.answer = says(answer)
            try:
                client.versions()
            except CenterError as error:
                assert str(error)
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize("lie", LIES, ids=repr)
def test_lies_in_errors(lie, server):
    with Client(server.url, attempts=1) as client:
        for error in (lie, {"error": lie}, {"error": {"code": lie, "message": "x"}},
                      {"error": {"code": "NOT_FOUND", "message": lie}},
                      {"error": {"code": "NOT_FOUND", "message": "x", "self": 1, "object": lie, "offset": lie}}):
            for status in (400, 404, 500, 302, 199 + 5):
                server.answer = says(error, status)
                with pytest.raises(CenterError):
                    client.versions()


@pytest.mark.parametrize("offset", ["x", "-1", "1e3", "9" * 30, "", "\xb2"])
def test_lies_about_uploads(offset, server):
    server.answer = 200, {"upload-offset": offset}, b""
    with Client(server.url, attempts=1) as client, pytest.raises(CenterError):
        client.upload("a" * 64, b"12345")


def test_answers_without_end(server, monkeypatch, tmp_path):
    def endless():
        while True:
            yield bytes(1 << 16)

    monkeypatch.setattr(module, "ANSWER_BYTES", 1 << 20)
    for status in (200, 404):
        server.answer = lambda _, status=status: (status, {}, endless())
        with Client(server.url, attempts=1) as client, pytest.raises(CenterError):
            client.versions()
    server.answer = lambda _: (200, {}, endless())
    with Client(server.url, attempts=1) as client, pytest.raises(CenterError):
        client.fetch("a" * 64, 1000, str(tmp_path / "f"))            # never more than the plan says
    assert not os.listdir(tmp_path / "f")
    with Client(server.url, attempts=1) as client, pytest.raises(CenterError, match="TOO_LARGE"):
        client.fetch("a" * 64, 1 << 60, str(tmp_path / "f"))


def test_deep_and_odd_json(server):
    for body in (b"[" * 100_000, b"\xff", b"9" * 5000, b"NaN", b'"\\ud800"'):
        server.answer = 200, {}, body
        with Client(server.url, attempts=1) as client, pytest.raises(CenterError):
            client.versions()


def test_terminals_get_no_orders(server):
    server.answer = says([{**GOOD, "name": "\x1b[2J\nroot ", "created": "\x9b31m", "parents": ["\u202e"]}])
    (line,) = cli_lines("remote", server.url)
    assert line.isprintable()
    server.answer = says({"error": {"code": "NOT_FOUND", "message": "\x1b]0;owned\x07\nall is well"}}, 404)
    (line,) = cli_lines("remote", server.url, code=3)
    assert line.isprintable()
