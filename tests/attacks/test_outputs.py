"""Outputs: what is no file is written into, rights stay, links of others are refused, leftovers are removed."""

from __future__ import annotations

import os
import pathlib
import resource
import signal
import stat
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from helpers.processes import environment

from refcodec import Model, Tensor, encode, load, save
from refcodec.cli.main import main
from refcodec.errors import FormatError
from refcodec.files import MARK, Partial, atomic_file

LIMITS = resource.getrlimit(resource.RLIMIT_FSIZE)
MODEL = Model([Tensor("w", np.arange(2000, dtype=np.float32))])


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with m.npz, m.safetensors and m.omc, in which commands run."""
    for name in ("m.npz", "m.safetensors"):
        save(MODEL, tmp_path / name)
    (tmp_path / "m.omc").write_bytes(encode(load(tmp_path / "m.safetensors")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def received(pipe: str, *line: str) -> bytes:
    """What a command writes into a pipe."""
    got = []
    reader = threading.Thread(target=lambda: got.append(pathlib.Path(pipe).read_bytes()))
    reader.start()
    code = main([*line, "-o", pipe])
    reader.join()
    assert not code
    return got[0]


def test_pipes_are_written_into(files):
    os.mkfifo("pipe")
    os.mkfifo("pipe.safetensors")
    os.mkfifo("pipe.npz")
    assert received("pipe", "encode", "m.safetensors") == (files / "m.omc").read_bytes()
    assert received("pipe.safetensors", "decode", "m.omc") == (files / "m.safetensors").read_bytes()
    (files / "back.npz").write_bytes(received("pipe.npz", "decode", "m.omc"))
    assert np.array_equal(load(files / "back.npz")["w"].array, MODEL["w"].array)
    assert all(stat.S_ISFIFO(os.lstat(name).st_mode) for name in ("pipe", "pipe.safetensors", "pipe.npz"))


def test_a_pipe_gets_nothing_of_a_damaged_stream(files, capsys):
    data = bytearray((files / "m.omc").read_bytes())
    data[-60] ^= 4
    (files / "bad.omc").write_bytes(data)
    os.mkfifo("pipe.npz")
    assert main(["decode", "bad.omc", "-o", "pipe.npz"])              # ends, though nobody reads
    assert "DIGEST_MISMATCH" in capsys.readouterr().err


def test_devices_are_written_into(files):
    device = os.lstat("/dev/null")
    assert not main(["encode", "m.npz", "-o", "/dev/null"])
    (files / "null.npz").symlink_to("/dev/null")
    assert not main(["decode", "m.omc", "-o", "null.npz"])
    assert (os.lstat("/dev/null").st_ino, os.lstat("/dev/null").st_mode) == (device.st_ino, device.st_mode)
    assert (files / "null.npz").is_symlink()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_full_device_is_named(files, capsys):
    assert main(["encode", "m.npz", "-o", "/dev/full"])
    assert "/dev/full: No space left" in capsys.readouterr().err
    (files / "full.npz").symlink_to("/dev/full")
    assert main(["decode", "m.omc", "-o", "full.npz"])
    assert "full.npz" in capsys.readouterr().err


def test_standard_output_is_a_place(files):
    code = "import sys; from refcodec.cli.main import main; sys.exit(main(['encode', 'm.npz', '-o', '/dev/stdout']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment(), check=True)
    assert done.stdout.startswith(encode(load("m.npz")))


@pytest.mark.parametrize("line", [("encode", "m.npz", "-o", "out.omc"), ("decode", "m.omc", "-o", "out.npz"),
                                  ("decode", "m.omc", "-o", "out.safetensors"), ("decode", "m.omc", "-o", "out.npy"),
                                  ("transcode", "m.omc", "--entropy", "bins", "-o", "out.omc")])
def test_rights_stay(files, line):
    out = files / line[-1]
    for mode in (0o600, 0o640, 0o444):
        out.unlink(missing_ok=True)
        out.write_bytes(b"")
        out.chmod(mode)
        assert not main([*line])
        assert stat.S_IMODE(out.stat().st_mode) == mode
        assert out.stat().st_size
    out.unlink()
    mask = os.umask(0o027)
    try:
        assert not main([*line])
    finally:
        os.umask(mask)
    assert stat.S_IMODE(out.stat().st_mode) == 0o640


def test_a_private_file_is_never_open_to_others(files):
    (files / "out").write_bytes(b"")
    (files / "out").chmod(0o600)
    with atomic_file("out") as f:
        f.write(b"secret")
        (beside,) = files.glob(f".out.*{MARK}")
        assert stat.S_IMODE(beside.stat().st_mode) == 0o600


def test_a_link_stays_and_leads_to_the_new_file(files):
    (files / "real.omc").write_bytes(b"")
    (files / "link.omc").symlink_to("real.omc")
    assert not main(["encode", "m.npz", "-o", "link.omc"])
    assert (files / "link.omc").is_symlink()
    assert (files / "real.omc").stat().st_size


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_a_link_of_another_user_is_refused(files):
    (files / "precious").write_text("precious")
    (files / "link.omc").symlink_to("precious")
    os.chown("link.omc", 12345, 12345, follow_symlinks=False)
    with pytest.raises(FormatError, match="another user"):
        Partial("link.omc")
    assert (files / "precious").read_text() == "precious"


def test_errors_name_the_file_that_was_asked_for(files, capsys):
    (files / "loop").symlink_to("loop")
    for output in ("missing/x.omc", "loop", "n" * 256, "m.npz/x.omc"):
        assert main(["encode", "m.npz", "-o", output])
        assert output in capsys.readouterr().err


def test_a_full_disk_is_named(files, capsys):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, LIMITS[1]))
    try:
        for line in (["encode", "m.npz", "-o", "x.omc"], ["decode", "m.omc", "-o", "x.npz"]):
            assert main(line)
            assert line[-1] in capsys.readouterr().err
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, LIMITS)
    assert sorted(p.name for p in files.iterdir()) == ["m.npz", "m.omc", "m.safetensors"]


KILLED = """
import sys, time
from refcodec.files import Partial
partial = Partial(sys.argv[1], folder=sys.argv[2] == "folder")
print(partial.path, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_process_left_is_removed_and_nothing_else(files, kind):
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(files / "big.out"), kind], stdout=subprocess.PIPE,
                             text=True, env=environment())
    left = pathlib.Path(child.stdout.readline().strip())
    assert left.name.startswith(".big.out.")
    assert left.name.endswith(MARK)
    mine = files / ".big.out.0123456789abcdef.part"
    mine.write_text("a user's own")
    with atomic_file("other") as f:
        f.write(b"x")
    assert left.exists()                                   # its process lives, and holds the lock
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    with atomic_file("other") as f:
        f.write(b"x")
    assert not left.exists()
    assert mine.read_text() == "a user's own"


def test_many_at_a_time_in_one_folder(files):
    """Cleaning never takes what another thread is just making."""
    faults = []

    def work(k):
        try:
            for n in range(40):
                with atomic_file(f"f{k}") as f:
                    f.write(b"%d" % n)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not faults
    assert all((files / f"f{k}").read_bytes() == b"39" for k in range(6))
    assert not list(files.glob(f".*{MARK}"))


def test_a_killed_command_leaves_no_half_output(files):
    code = ("import sys, time; from refcodec.files import atomic_file\n"
            "with atomic_file('out.omc') as f:\n f.write(bytes(1 << 20)); f.flush(); print('ready', flush=True)\n"
            " time.sleep(600)")
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment())
    child.stdout.readline()
    child.terminate()
    child.wait()
    child.stdout.close()
    time.sleep(0.01)
    assert not (files / "out.omc").exists()
    assert not main(["encode", "m.npz", "-o", "out.omc"])
    assert not list(files.glob(f".*{MARK}"))
