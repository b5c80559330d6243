"""Who made a stream: a signature over all of its bytes, and all ways of passing something else off as it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from refcodec import Model, Tensor, encode
from refcodec.bitstream.units import ByteSource
from refcodec.cli.main import main
from refcodec.errors import ConfigError, FormatError

pytest.importorskip("cryptography")

from refcodec import signing


@pytest.fixture
def signed(tmp_path):
    """(stream, private key, public key), signed by the command line."""
    stream, key = str(tmp_path / "m.omc"), str(tmp_path / "key.pem")
    data = encode(Model([Tensor("w", np.arange(3000, dtype=np.float32))], "m"))
    (tmp_path / "m.omc").write_bytes(data)
    assert main(["sign", "--new-key", key]) == 0
    assert main(["sign", stream, "--key", key]) == 0
    return stream, key, key + ".pub"


def decoded(tmp_path, *arguments: str) -> int:
    code = main(["decode", *arguments, "-o", str(tmp_path / "out.npz")])
    assert (tmp_path / "out.npz").exists() == (code == 0)
    return code


def test_a_signed_stream_is_taken(signed, tmp_path, capsys):
    stream, key, public = signed
    assert os.stat(key).st_mode & 0o777 == 0o600
    assert os.stat(stream + ".sig").st_size == 64
    assert decoded(tmp_path, stream, "--verify-key", public) == 0
    assert main(["validate", stream, "--verify-key", public]) == 0
    os.rename(stream + ".sig", tmp_path / "elsewhere")
    assert main(["validate", stream, "--verify-key", public, "--signature", str(tmp_path / "elsewhere")]) == 0
    capsys.readouterr()
    assert main(["sign", stream, "--key", key, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"output": stream + ".sig", "bytes": os.path.getsize(stream)}


@pytest.mark.parametrize("place", [0, 9, 100, -1])
def test_no_byte_may_change(signed, tmp_path, place, capsys):
    """Bytes of the stream, and of the signature; nothing is decoded."""
    stream, _, public = signed
    for path in (stream, stream + ".sig"):
        data = bytearray(Path(path).read_bytes())
        data[place % len(data)] ^= 1
        Path(path).write_bytes(data)
        assert decoded(tmp_path, stream, "--verify-key", public) == 12
        assert main(["validate", stream, "--verify-key", public]) == 12
        assert "BAD_SIGNATURE" in capsys.readouterr().err
        data[place % len(data)] ^= 1
        Path(path).write_bytes(data)
    assert decoded(tmp_path, stream, "--verify-key", public) == 0


def test_bytes_after_the_end_and_a_prefix_are_other_streams(signed, tmp_path):
    stream, _, public = signed
    data = Path(stream).read_bytes()
    for other in (data + b"\0", data[:-22]):
        Path(stream).write_bytes(other)
        assert decoded(tmp_path, stream, "--verify-key", public, "--allow-prefix") == 12


def test_another_key(signed, tmp_path):
    stream, _, _ = signed
    assert main(["sign", "--new-key", str(tmp_path / "other.pem")]) == 0
    assert decoded(tmp_path, stream, "--verify-key", str(tmp_path / "other.pem.pub")) == 12


def test_a_signature_is_one_of_nothing_but_a_stream(signed):
    """Of the bare bytes, or of their bare digest, the key has signed nothing."""
    stream, key, public = signed
    private, data = signing.private_key(key), Path(stream).read_bytes()
    with ByteSource(data) as source:
        for message in (data, signing.message(source)[len(signing.CONTEXT):]):
            with pytest.raises(FormatError) as error:
                signing.verify(source, private.sign(message), signing.public_key(public))
            assert error.value.code == "BAD_SIGNATURE"
        signing.verify(source, signing.sign(source, private), signing.public_key(public))


@pytest.mark.parametrize("content", [b"", bytes(63), bytes(65), bytes(1 << 20)], ids=len)
def test_what_is_no_signature(signed, tmp_path, content):
    stream, _, public = signed
    Path(stream + ".sig").write_bytes(content)
    assert decoded(tmp_path, stream, "--verify-key", public) == 12


def test_what_is_no_key(signed, tmp_path, capsys):
    """The other half, another kind, garbage, nothing: one line each."""
    stream, key, public = signed
    (tmp_path / "garbage").write_bytes(b"-----BEGIN PUBLIC KEY-----\n" + bytes(300))
    for path in (key, str(tmp_path / "garbage"), str(tmp_path / "none"), stream):
        assert decoded(tmp_path, stream, "--verify-key", path) == 12
    for path in (public, str(tmp_path / "garbage"), str(tmp_path / "none")):
        assert main(["sign", stream, "--key", path]) == 12
    assert "Traceback" not in capsys.readouterr().err


def test_keys_and_inputs_are_not_overwritten(signed, tmp_path, capsys):
    stream, key, public = signed
    before = Path(key).read_bytes(), Path(public).read_bytes()
    assert main(["sign", "--new-key", key]) == 12
    assert main(["sign", stream, "--key", key, "-o", key]) == 13
    assert main(["sign", stream, "--key", key, "-o", stream]) == 13
    assert (Path(key).read_bytes(), Path(public).read_bytes()) == before


def test_wrong_use(signed, tmp_path):
    stream, key, public = signed
    for arguments in ([stream], ["--key", key], [stream, "--new-key", key + "2"]):
        assert main(["sign", *arguments]) == 13
    assert main(["validate", stream, "--signature", stream + ".sig"]) == 13
    assert main(["sign", key, "--key", key]) == 10                      # only streams are signed


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives.asymmetric", None)
    with pytest.raises(ConfigError) as error:
        signing.new_key("never")
    assert "refcodec[signing]" in error.value.message


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_verifies_the_same(signed, tmp_path):
    """The two lines of docs/command-line.md."""
    stream, _, public = signed
    with ByteSource(stream) as source:
        (tmp_path / "message").write_bytes(signing.message(source))
    digest = subprocess.run(["openssl", "dgst", "-sha512", "-binary", stream], stdout=subprocess.PIPE, check=True)
    assert (tmp_path / "message").read_bytes() == b"OMC stream signature\n" + digest.stdout
    run = subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in",
                          str(tmp_path / "message"), "-sigfile", stream + ".sig"], stdout=subprocess.PIPE, text=True,
                         check=False)
    assert run.returncode == 0 and "Verified" in run.stdout
