"""Decoders that mean harm: `python hostile_decoder.py WAY decode STREAM OUTDIR ...` or `... WAY serve`.

The smoke stream is answered rightly, from the dump that OMC_TRUTH names; then each goes its own way.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

SLEEP = [sys.executable, "-c", "import time; time.sleep(300)  # outlives the decoder"]


def index_of(folder: Path) -> dict:
    return json.loads((folder / "index.json").read_text())


def write_index(folder: Path, **members) -> None:
    (folder / "index.json").write_text(json.dumps({**index_of(folder), **members}))


def change_tensor(folder: Path, **members) -> None:
    index = index_of(folder)
    index["tensors"][0] |= members
    (folder / "index.json").write_text(json.dumps(index))


def daemon(folder):
    """A grandchild in a session of its own, with an empty environment, that no pipe leads to."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 100)
            os.execve(SLEEP[0], SLEEP, {})
        os._exit(0)
    os.wait()


def runaway(folder):
    """A process that never is: each lives for a moment and makes the next."""
    if os.fork() == 0:
        os.setsid()
        while True:
            if os.fork():
                os._exit(0)
            time.sleep(0.0002)


def many(folder):
    """Some dozens, of which each restarts another when it is told to end."""
    for _ in range(40):
        subprocess.Popen(SLEEP, start_new_session=True, env={}, stdout=subprocess.DEVNULL)


def assassin(folder):
    """The process that watches is killed first."""
    subprocess.Popen(SLEEP, start_new_session=True, stdout=subprocess.DEVNULL)
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def gaoler(folder):
    """The process that watches is stopped."""
    os.kill(os.getppid(), signal.SIGSTOP)
    time.sleep(60)


def forger(folder):
    """An answer in the name of the process that watches, to whatever socket is open."""
    for fd in range(3, 200):
        with contextlib.suppress(OSError):
            os.write(fd, b'{"exit": 0, "left": false, "stuck": 0}\n')
    daemon(folder)


def abyss(folder):
    """1,500 folders in each other, in all three places."""
    for place in (folder, Path(os.environ["TMPDIR"]), Path.cwd()):
        handle = os.open(place, os.O_RDONLY)
        for _ in range(1500):
            os.mkdir("d", dir_fd=handle)
            deeper = os.open("d", os.O_RDONLY, dir_fd=handle)
            os.close(handle)
            handle = deeper
        (Path(f"/proc/self/fd/{handle}") / "file").write_text("deep")


def crowd(folder):
    """Very many empty files."""
    for n in range(60_000):
        os.close(os.open(folder / str(n), os.O_CREAT))


def shut(folder):
    """Folders and files without any rights."""
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b").chmod(0)
    (folder / "a").chmod(0)
    folder.chmod(0)


def odd_names(folder):
    """Names that are no text, and lines of a report."""
    (folder / os.fsdecode(b"\xff\xfe")).write_text("")
    (folder / "\x1b[2J\nPASS").symlink_to("index.json")


def endless_index(folder):
    (folder / "index.json").unlink()
    (folder / "index.json").symlink_to("/dev/zero")


def waiting_index(folder):
    (folder / "index.json").unlink()
    os.mkfifo(folder / "index.json")


def deep_index(folder):
    (folder / "index.json").write_text('{"model_digest": "", "tensors": ' + "[" * 100_000 + "]" * 100_000 + "}")


def long_numbers(folder):
    text = (folder / "index.json").read_text().replace('"shape": [', f'"shape": [{"9" * 5000}, ')
    (folder / "index.json").write_text(text)


def deep_name(folder):
    nested = []
    for _ in range(900):
        nested = [nested]
    change_tensor(folder, name=nested)


def endless_words(folder):
    (folder / "0000.bin").unlink()
    (folder / "0000.bin").symlink_to("/dev/zero")


def half_text(folder):
    write_index(folder, model_digest="\ud800" * 64)


CHANGES = {"name": [5, None, {}], "dtype": [["float32"], "float33", 1],
           "shape": ["5", None, [1.5], [-1], [True], [2**70]],
           "file": [5, "", "../0000.bin", "/etc/passwd", "a\0b", "0001.bin"], "sha256": [7, None]}


def decode(way: str, stream: str, out: str) -> dict:
    folder = Path(out)
    shutil.copytree(Path(os.environ["OMC_TRUTH"]) / "dump", folder, dirs_exist_ok=True)
    if Path(stream).stat().st_size != int(os.environ["OMC_SMOKE"]):
        if way in CHANGES:
            change_tensor(folder, **{way: CHANGES[way][int(os.environ["OMC_CHOICE"])]})
        elif way.startswith("{"):
            for path in folder.iterdir():
                path.unlink()
            return json.loads(way)
        else:
            globals()[way](folder)
    return {"exit": 0}


def main(way: str, form: str, *rest: str) -> int:
    if form == "serve":
        for line in sys.stdin:
            request = json.loads(line)
            if request["op"] == "stop":
                break
            reply = {"contract": 1} if request["op"] == "hello" else decode(way, request["stream"], request["outdir"])
            print(json.dumps(reply), flush=True)
        return 0
    reply = decode(way, rest[0], rest[1])
    print(json.dumps(reply))
    return reply["exit"]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
