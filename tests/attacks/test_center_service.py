"""The knowledge center's service: slow clients, hostile uploads, names of others, texts that move cursors."""

from __future__ import annotations

import http.client
import json
import logging
import os
import signal
import socket
import subprocess
import time

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("httpx")

import attack_center
from helpers.center import refused, small
from helpers.serving import Serving, ask

from refcodec import Model, Tensor, encode, save
from tools.knowledge_center import CenterError, Store, connections
from tools.knowledge_center.client import Client
from tools.knowledge_center.errors import escaped
from tools.knowledge_center.objects import sha256
from tools.knowledge_center.service import Service
from tools.knowledge_center.workers import Workers


def test_honest_clients_are_served_under_attack():
    """More slow clients than the service has descriptors, and uploads that take as long as they may."""
    found = attack_center.run(clients=200, seconds=4, uploaders=2, honest_clients=2, descriptors=256)
    assert found["faults"] == []
    assert found["health"]["count"] > 1
    assert found["pull"]["count"] > 1
    assert found["connections_cut"] > 20
    assert found["exit"] in (0, -signal.SIGTERM)


@pytest.fixture
def store(tmp_path):
    found = Store.create(tmp_path / "store")
    found.add("base", small(0))
    return found


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET /health HTTP/1.1\r\nHost: localhost\r\n",
                                  b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
                                  b"POST /plan HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"])
def test_who_sends_nothing_more_is_cut(sent, store, monkeypatch):
    for name in ("HEADER_SECONDS", "CLOSE_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(connections, name, 0.2)
    monkeypatch.setattr("tools.knowledge_center.service.BODY_SECONDS", 0.2)
    with Serving(store) as serving, socket.create_connection(("127.0.0.1", serving.port), 20) as client:
        serving.server.config.timeout_keep_alive = 0.2
        client.sendall(sent)
        answer = b""
        while data := client.recv(1 << 12):              # until the service ends it
            answer += data
    assert not answer or answer.startswith(b"HTTP/1.1 ")


def test_who_takes_nothing_is_cut(store, monkeypatch):
    for name in ("WRITE_SECONDS", "CLOSE_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(connections, name, 0.2)
    store.add("big", Model([Tensor("w", np.random.default_rng(1).standard_normal((1500, 1500)).astype(np.float32))]))
    big = max(store.index.edges(), key=lambda e: e.size).object
    with Serving(store) as serving, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", serving.port))
        client.sendall(f"GET /objects/{big} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        while not serving.server.server_state.connections:
            time.sleep(0.01)
        while serving.server.server_state.connections:
            time.sleep(0.01)


def test_uploads_that_take_too_long_or_too_much_are_killed(store, tmp_path):
    bomb = attack_center.costly()
    store.uploads.append(sha256(bomb), 0, bomb)
    request = {"op": "add", "name": "x", "object": sha256(bomb), "model_digest": "0" * 64, "parents": [], "note": ""}
    for limits in ({"seconds": 0.2, "memory": 1 << 33}, {"seconds": 60, "memory": 1 << 20}):
        workers = Workers(store.folder, 1, file=1 << 30, **limits)
        try:
            with pytest.raises(CenterError) as error:
                workers.call(**request)
            assert error.value.code in ("BAD_STREAM", "NOT_FOUND")
        finally:
            workers.close()
        assert not workers._running


def test_work_goes_on_when_a_process_was_killed(store):
    workers = Workers(store.folder, 1, seconds=60, memory=1 << 30, file=1 << 30)
    try:
        for _ in range(2):
            plan = workers.call(op="plan", want="base", have="", have_source=None, avoid=[])
            assert plan["version"]["name"] == "base"
            (worker,) = workers._running
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
    finally:
        workers.close()


@pytest.mark.parametrize("host, status", [
    ("localhost", 200), ("LOCALHOST:80", 200), ("127.0.0.1:8711", 200), ("[::1]:5", 200), ("192.168.1.7", 200),
    ("evil.example", 421), ("localhost.evil.example", 421), ("evil.example:127", 421), ("", 421), ("localhost:x", 421),
    ("127.0.0.1.evil.example", 421), ("localhost@evil.example", 421)])
def test_names_of_others(host, status, store):
    with Serving(store) as serving:
        assert ask(serving, "GET", "/health", Host=host)[0] == status


def test_names_of_its_own():
    hosts = connections.Hosts(None, ["Center.Example."])
    assert hosts.is_own("center.example:80")
    assert not hosts.is_own("other.example")


def test_nobody_writes_unless_that_is_said(store):
    with Serving(store, token=None) as serving:
        for method, path in (("PATCH", "/uploads/" + "a" * 64), ("DELETE", "/uploads/" + "a" * 64),
                             ("PUT", "/versions/x")):
            status, _, body = ask(serving, method, path, b"{}", upload_offset="0")
            assert status == 403
            assert json.loads(body)["error"]["code"] == "FORBIDDEN"
        assert ask(serving, "POST", "/plan", b'{"want": "base"}')[0] == 200


def test_sizes_are_bounded_before_they_are_read(store):
    with Serving(store, upload_bytes=1000, open=True) as serving:
        for length in ("1001", "9" * 18):
            connection = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=20)
            connection.putrequest("PATCH", "/uploads/" + "a" * 64)
            connection.putheader("Content-Length", length)
            connection.putheader("Upload-Offset", "0")
            connection.endheaders()                      # and nothing of the body
            assert connection.getresponse().status == 413
            connection.close()
        for n in range(4):
            assert ask(serving, "PATCH", f"/uploads/{n:064x}", bytes(1000), upload_offset="0")[0] == 204
        assert ask(serving, "PATCH", f"/uploads/{5:064x}", bytes(1000), upload_offset="0")[0] == 507


def test_texts_from_the_network_move_no_cursor(store):
    record = logging.LogRecord("x", logging.INFO, "f", 1, "%s", ("\x1b[2J\nINFO forged\r\u202e",), None)
    assert connections.Escaping("%(message)s").format(record) == "\\x1b[2J\\nINFO forged\\r\\u202e"
    assert escaped("é ok") == "é ok"
    store.add("noted", small(3), note="\x1b]0;title\x07")
    assert store.version("noted").note


def test_it_ends_at_once_while_it_decodes(store, tmp_path):
    """SIGTERM, or the loss of the service, ends the processes that work for it."""
    process, port = attack_center.started(store.folder, None)
    try:
        stream = attack_center.costly()
        with Client(f"http://127.0.0.1:{port}") as client:
            client.upload(sha256(stream), stream)
        asked = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        asked.request("PUT", "/versions/x", json.dumps({"object": sha256(stream), "model_digest": "0" * 64}))
        while not (found := children(process.pid)):
            time.sleep(0.01)
        process.terminate()
        process.wait(30)
        asked.close()
        assert not [pid for pid in found if os.path.exists(f"/proc/{pid}/exe")]
    finally:
        process.kill()
        process.wait()


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def test_streams_of_the_center_itself_still_come_out(store, tmp_path):
    save(small(0), tmp_path / "base.npz")
    save(small(1, small(0)), tmp_path / "next.npz")
    with Serving(store) as serving, Client(serving.url) as client:
        assert client.push("next", str(tmp_path / "next.npz"), have=str(tmp_path / "base.npz"))[1]
        client.pull("next", str(tmp_path / "back.npz"), str(tmp_path / "base.npz"))
        with refused("BAD_STREAM"):
            bad = encode(small(5))[:-30] + bytes(30)
            client.upload(sha256(bad), bad)
            client._answer("PUT", "/versions/bad", json={"object": sha256(bad), "model_digest": "0" * 64})
    assert isinstance(Service(store).planning, Workers)
