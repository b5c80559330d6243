"""Decoders that lie, each in its own way: `python liar.py LIE decode STREAM OUTDIR ...` or `... LIE serve`.

They know the right answers: the folder named by OMC_TRUTH holds, by the SHA-256 of a stream, reply.json and the dump.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
import signal
import sys
import time
from pathlib import Path


def honest(stream: str, folder: str, references: list[str]) -> dict:
    truth = Path(os.environ["OMC_TRUTH"]) / hashlib.sha256(Path(stream).read_bytes()).hexdigest()
    shutil.copytree(truth / "dump", folder, dirs_exist_ok=True)
    return json.loads((truth / "reply.json").read_text())


def _index(folder: str) -> dict:
    return json.loads((Path(folder) / "index.json").read_text())


def _seal(folder: str, index: dict) -> None:
    for t in index["tensors"]:
        t["sha256"] = hashlib.sha256((Path(folder) / t["file"]).read_bytes()).hexdigest()
    (Path(folder) / "index.json").write_text(json.dumps(index))


def accept_all(stream, folder, references):
    """Exit 0 and an empty model whatever comes."""
    reply = honest(stream, folder, references)
    if reply["exit"]:
        (Path(folder) / "index.json").write_text(json.dumps({"model_digest": "0" * 64, "tensors": []}))
    return {"exit": 0}


def reject_all(stream, folder, references):
    """A clean rejection of everything, but the smoke stream."""
    if Path(stream).stat().st_size < 200:
        return honest(stream, folder, references)
    return {"exit": 10, "code": "ENTROPY_END", "unit": 0, "bit": 0}


def one_bit(stream, folder, references):
    """One bit of the last element of the last tensor, its index sealed again."""
    reply = honest(stream, folder, references)
    if reply["exit"] == 0 and len(_index(folder)["tensors"]) > 1:
        index = _index(folder)
        path = Path(folder) / index["tensors"][-1]["file"]
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        _seal(folder, index)
    return reply


def first_only(stream, folder, references):
    """The first tensor is right, the others are zeros."""
    reply = honest(stream, folder, references)
    if reply["exit"] == 0:
        index = _index(folder)
        for t in index["tensors"][1:]:
            path = Path(folder) / t["file"]
            path.write_bytes(bytes(path.stat().st_size))
        _seal(folder, index)
    return reply


def trusting(stream, folder, references):
    """Digests are not looked at: what breaks only them is accepted."""
    reply = honest(stream, folder, references)
    if reply.get("code") == "DIGEST_MISMATCH":
        (Path(folder) / "index.json").write_text(json.dumps({"model_digest": "0" * 64, "tensors": []}))
        return {"exit": 0}
    return reply


def wrong_code(stream, folder, references):
    """One code for all that is invalid."""
    reply = honest(stream, folder, references)
    return {"exit": 10, "code": "TRUNCATED"} if reply["exit"] == 10 else reply


def no_record(stream, folder, references):
    """A rejection without saying why."""
    reply = honest(stream, folder, references)
    return {"exit": 10} if reply["exit"] == 10 else reply


def exception(stream, folder, references):
    """An uncaught exception for all that is invalid: no rejection."""
    reply = honest(stream, folder, references)
    if reply["exit"] == 10:
        raise ValueError("a bug")
    return reply


def crash(stream, folder, references):
    """A signal, after right output."""
    reply = honest(stream, folder, references)
    if Path(stream).stat().st_size > 200 or reply["exit"]:
        os.kill(os.getpid(), signal.SIGSEGV)
    return reply


def hang(stream, folder, references):
    """No end, with a child that holds the pipes."""
    if Path(stream).stat().st_size > 200:
        if os.fork() == 0:
            time.sleep(600)
        time.sleep(600)
    return honest(stream, folder, references)


def silent(stream, folder, references):
    """Exit 0 without any output."""
    return {"exit": 0}


def elsewhere(stream, folder, references):
    """A file beside its folder."""
    reply = honest(stream, folder, references)
    (Path(folder).parent / "leak").write_text("x")
    return reply


def outside(stream, folder, references):
    """A link in the dump to a file that is not there."""
    reply = honest(stream, folder, references)
    if reply["exit"] == 0:
        index = _index(folder)
        index["tensors"][0]["file"] = "../stream.omc"
        (Path(folder) / "index.json").write_text(json.dumps(index))
    return reply


def rewrites(stream, folder, references):
    """The stream itself is changed."""
    reply = honest(stream, folder, references)
    Path(stream).write_bytes(b"gone")
    return reply


def leftovers(stream, folder, references):
    """A dump beside a rejection."""
    reply = honest(stream, folder, references)
    if reply["exit"] == 10:
        (Path(folder) / "index.json").write_text("{}")
    return reply


def memory(stream, folder, references):
    """All the memory there is."""
    if Path(stream).stat().st_size > 200:
        hoard = [mmap.mmap(-1, 1 << 30) for _ in range(1 << 8)]
        return {"exit": len(hoard)}
    return honest(stream, folder, references)


def unsupported(stream, folder, references):
    """Nothing but the smallest streams is supported."""
    if Path(stream).stat().st_size > 200:
        return {"exit": 11, "feature": "everything"}
    return honest(stream, folder, references)


def survivor(stream, folder, references):
    """Right, but a child in a session of its own lives on."""
    reply = honest(stream, folder, references)
    if Path(stream).stat().st_size > 200 and os.fork() == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for handle in range(3):
            os.dup2(null, handle)
        time.sleep(60)
        os._exit(0)
    return reply


def disk(stream, folder, references):
    """Right, and the disk is filled beside it, in files below each limit of size."""
    reply = honest(stream, folder, references)
    if Path(stream).stat().st_size > 200:
        for i in range(1 << 12):
            (Path(os.environ["TMPDIR"]) / str(i)).write_bytes(b"x" * (1 << 24))
    return reply


def large_file(stream, folder, references):
    """One file without end, in place of the first tensor."""
    reply = honest(stream, folder, references)
    if Path(stream).stat().st_size > 200 and reply["exit"] == 0:
        with open(Path(folder) / "0000.bin", "wb") as file:
            for _ in range(1 << 12):
                file.write(b"x" * (1 << 24))
    return reply


def loud(stream, folder, references):
    """Gigabytes on standard output."""
    if Path(stream).stat().st_size > 200:
        for _ in range(1 << 12):
            sys.stdout.write("x" * (1 << 20) + "\n")
    return honest(stream, folder, references)


def talkative(stream, folder, references):
    """A line too many, as a debug print would be."""
    reply = honest(stream, folder, references)
    if reply["exit"]:
        print("rejecting", flush=True)
    return reply


def linked(stream, folder, references):
    """The words of a tensor are a link to a file elsewhere."""
    reply = honest(stream, folder, references)
    if Path(stream).stat().st_size > 200 and reply["exit"] == 0:
        words = Path(folder) / "0000.bin"
        kept = Path(os.environ["TMPDIR"]) / "words"
        shutil.move(words, kept)
        words.symlink_to(kept)
    return reply


def pipe(stream, folder, references):
    """The index is a pipe that nobody writes to: who reads it waits forever."""
    reply = honest(stream, folder, references)
    if Path(stream).stat().st_size > 200 and reply["exit"] == 0:
        (Path(folder) / "index.json").unlink()
        os.mkfifo(Path(folder) / "index.json")
    return reply


def swapped(stream, folder, references):
    """OUTDIR itself is a link to another folder."""
    reply = honest(stream, folder, references)
    if Path(stream).stat().st_size > 200:
        kept = Path(os.environ["TMPDIR"]) / "out"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.move(folder, kept)
        Path(folder).symlink_to(kept)
    return reply


def sparse(stream, folder, references):
    """A tensor's file of 128 MiB, nearly all of it a hole."""
    reply = honest(stream, folder, references)
    if Path(stream).stat().st_size > 200 and reply["exit"] == 0:
        os.truncate(Path(folder) / "0000.bin", 1 << 27)
    return reply


def locked(stream, folder, references):
    """OUTDIR is left without any rights."""
    reply = honest(stream, folder, references)
    if Path(stream).stat().st_size > 200 and reply["exit"] == 0:
        (Path(folder) / "index.json").unlink()
        os.chmod(folder, 0)
    return reply


def nested(stream, folder, references):
    """An index that a recursive parser chokes on."""
    reply = honest(stream, folder, references)
    if Path(stream).stat().st_size > 200 and reply["exit"] == 0:
        (Path(folder) / "index.json").write_text('{"model_digest": "", "tensors": ' + "[" * 200_000)
    return reply


def meddler(stream, folder, references):
    """The suite itself is changed, its time of change set back: named by OMC_VICTIM."""
    reply = honest(stream, folder, references)
    victim = Path(os.environ["OMC_VICTIM"])
    status = victim.stat()
    victim.write_bytes(victim.read_bytes().replace(b"smoke", b"smoky"))
    os.utime(victim, ns=(status.st_atime_ns, status.st_mtime_ns))
    return reply


def last_model_only(stream, folder, references):
    """The last model of a stream whatever model is asked for: its --model is not looked at."""
    return honest(stream, folder, references)


def stateful(stream, folder, references):
    """Right for the first stream of a process, wrong from then on."""
    stateful.runs = getattr(stateful, "runs", 0) + 1
    return honest(stream, folder, references) if stateful.runs < 2 else {"exit": 10, "code": "ORDER"}


def no_bfloat16(stream, folder, references):
    """One bit of each tensor of that type."""
    reply = honest(stream, folder, references)
    if reply["exit"] == 0:
        index = _index(folder)
        for path in [Path(folder) / t["file"] for t in index["tensors"] if t["dtype"] == "bfloat16"]:
            data = bytearray(path.read_bytes())
            data[-1:] = [b ^ 1 for b in data[-1:]]
            path.write_bytes(data)
        _seal(folder, index)
    return reply


def chosen(stream, folder, references):
    """Wrong for the streams whose digests the file 'chosen' beside the right answers lists."""
    digest = hashlib.sha256(Path(stream).read_bytes()).hexdigest()
    wrong = digest in (Path(os.environ["OMC_TRUTH"]) / "chosen").read_text().split()
    return {"exit": 10, "code": "ORDER"} if wrong else honest(stream, folder, references)


# Right once per stream, but no server as the contract wants one: what each does on `serve`.

def no_server(*_):
    """A command line that knows no 'serve'."""
    sys.exit("usage: liar decode STREAM OUTDIR")


def hanging_server(*_):
    """No answer, ever."""
    time.sleep(600)


def dying_server(*_):
    """The end after the first request."""
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)


def greeting_server(*_):
    """Words before the reply."""
    print("loading the model", flush=True)
    _serve(honest)


def chatting_server(*_):
    """Words after the reply."""
    for _ in sys.stdin:
        print('{"contract": 1, "name": "chatting"}\nthat was hello', flush=True)


def shouting_server(*_):
    """Lines without end."""
    while True:
        print("x" * 4000)


def later_server(*_):
    """A contract of the future."""
    for _ in sys.stdin:
        print('{"contract": 2, "name": "later", "version": "9"}', flush=True)


def _serve(decode) -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if request["op"] == "stop":
            break
        reply = {"contract": 1} if request["op"] == "hello" else decode(request["stream"], request["outdir"],
                                                                        request["references"])
        print(json.dumps(reply), flush=True)


def main() -> int:
    lie, form, *arguments = sys.argv[1:]
    decode = globals()[lie]
    if lie.endswith("_server"):
        if form == "serve":
            decode()
        decode = honest
    if form == "serve":
        _serve(decode)
        return 0
    options = list(zip(arguments[2::2], arguments[3::2]))
    reply = decode(arguments[0], arguments[1], [value for name, value in options if name == "--reference"])
    code = reply.pop("exit")
    if code and reply:
        print(json.dumps(reply))
    return code


if __name__ == "__main__":
    sys.exit(main())
