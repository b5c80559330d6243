"""refcodec digest: the digests by which models are known, of files and of streams."""

from __future__ import annotations

import json

import numpy as np

from refcodec import encode, load
from refcodec.cli.exit_codes import FORMAT, REJECTED


def test_files_and_streams_of_one_model_have_one_digest(files, run):
    run("decode", "m.omc", "-o", "m.npz")
    lines = run("digest", "m.safetensors", "m.npz", "m.omc").splitlines()
    digest = load("m.safetensors").digest().hex()
    assert lines == [f"{digest}  m.safetensors", f"{digest}  m.npz", f"{digest}  m.omc, model 0 ''"]


def test_an_update_names_what_it_needs(files, run):
    run("encode", "m2.safetensors", "-o", "u.omc", "--reference", "m.safetensors")
    assert f"needs {load('m.safetensors').digest().hex()} (reference 1)" in run("digest", "u.omc")
    assert json.loads(run("digest", "u.omc", "--json"))[0]["needs"] == [load("m.safetensors").digest().hex()]


def test_a_stream_of_several_models_has_several(files, run):
    run("encode", "m.safetensors", "m2.safetensors", "-o", "both.omc")
    found = json.loads(run("digest", "both.omc", "--json"))
    assert [(x["model"], x["name"]) for x in found] == [(0, "m"), (1, "m2")]
    assert [x["digest"] for x in found] == [load(f"{x['name']}.safetensors").digest().hex() for x in found]


def test_digests_of_tensors(files, run):
    of_file, of_stream = json.loads(run("digest", "m.safetensors", "m.omc", "--json", "--tensors"))
    own = [(a, b) for a, b in zip(of_file["tensors"], of_stream["tensors"], strict=True) if b["digest"]]
    assert own and all(a == b for a, b in own)
    assert [t["name"] for t in of_file["tensors"]] == [t.name for t in load("m.safetensors").tensors]
    assert of_file["tensors"][0]["digest"] == load("m.safetensors").tensors[0].digest().hex()[:16]
    first = own[0][0]
    assert f"    {first['digest']}  {first['name']}\n" in run("digest", "m.omc", "--tensors")


def test_tensors_are_listed_only_when_asked_for(files, run):
    assert "tensors" not in json.loads(run("digest", "m.omc", "--json"))[0]


def test_what_has_no_digest(files, run):
    (files / "text.txt").write_text("hello")
    (files / "cut.omc").write_bytes((files / "m.omc").read_bytes()[:60])
    run("digest", "text.txt", code=FORMAT)
    run("digest", "none.onnx", code=FORMAT)
    run("digest", "cut.omc", code=REJECTED)


def test_joined_tensors_have_no_digest_of_their_own(tmp_path, run):
    (tmp_path / "small.omc").write_bytes(encode({"a": np.int64(1), "b": np.int64(2)}))
    (found,) = json.loads(run("digest", tmp_path / "small.omc", "--tensors", "--json"))
    assert found["tensors"] == [{"name": "a", "digest": None}, {"name": "b", "digest": None}]
    assert "    -                 a\n" in run("digest", tmp_path / "small.omc", "--tensors")
