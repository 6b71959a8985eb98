"""Closed, full and abandoned streams: the work is finished, or the exit status says it is not."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from terminal import files_in

from seewhy.cli import main

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
FULL = os.strerror(errno.ENOSPC)
FINISHED = ["a.grad-cam.png", "b.grad-cam.png", "c.grad-cam.png"]


class Failing(io.RawIOBase):
    """A file that fails after a number of bytes, as a pipe without a reader or a full disk does."""

    def __init__(self, code: int, after: int = 0):
        self.code, self.left = code, after
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, content) -> int:
        if not self.code:  # the test is over; what is still buffered goes nowhere
            return len(content)
        if self.left <= 0:
            raise OSError(self.code, os.strerror(self.code))
        part = bytes(content[: self.left])
        self.left -= len(part)
        self.content += part
        return len(part)


def stream(code: int, after: int = 0) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(Failing(code, after)), "utf-8")


@pytest.fixture
def run(monkeypatch, here):
    """Run a command with these streams and return its status and what it says on the others."""

    def running(line: str, **streams: io.TextIOWrapper | None) -> tuple[int, str, str]:
        heard = {"stdout": io.StringIO(), "stderr": io.StringIO()}
        with monkeypatch.context() as patch:
            for name, value in (heard | streams).items():
                patch.setattr(sys, name, value)
            before = sys.stdout, sys.stderr
            with pytest.raises(SystemExit) as left:
                main(line.split())
            assert (sys.stdout, sys.stderr) == before
        for broken in streams.values():
            if broken is not None:
                broken.buffer.raw.code = 0  # type: ignore[attr-defined]
                broken.close()
        return int(left.value.code or 0), heard["stdout"].getvalue(), heard["stderr"].getvalue()

    return running


@pytest.mark.parametrize("after", [0, 30], ids=["at once", "after some text"])
def test_a_reader_that_leaves_does_not_cancel_the_files(after, run, photos):
    assert run("explain photos -o out", stdout=stream(errno.EPIPE, after)) == (0, "", "")
    assert [name for name in files_in(Path("out")) if name.endswith(".png")] == FINISHED


@pytest.mark.parametrize("line", ["methods", "--help", "explain dog.jpg --json", "methods --json"])
def test_a_reader_that_leaves_when_only_text_was_asked_for(line, run):
    assert run(line, stdout=stream(errno.EPIPE)) == (141, "", "")


def test_a_full_disk_under_standard_output(run, photos):
    """Files elsewhere are written; the status says that the text is not whole."""
    status, _, said = run("explain photos -o out", stdout=stream(errno.ENOSPC, 30))
    assert (status, said) == (2, f"seewhy: cannot write to standard output: {FULL}\n")
    assert [name for name in files_in(Path("out")) if name.endswith(".png")] == FINISHED


@pytest.mark.parametrize("line", ["--version", "--help", "methods", "explain dog.jpg --json"])
@pytest.mark.parametrize("closed", [False, True], ids=["full", "closed"])
def test_what_cannot_be_printed_is_a_status(line, closed, run):
    status, _, said = run(line, stdout=None if closed else stream(errno.ENOSPC))
    reason = "it is closed" if closed else FULL
    assert (status, said) == (2, f"seewhy: cannot write to standard output: {reason}\n")


@pytest.mark.parametrize("closed", [False, True], ids=["full", "closed"])
def test_standard_error_that_cannot_be_written(closed, run):
    """What is for standard error never goes to standard output."""
    broken = None if closed else stream(errno.ENOSPC)
    assert run("explain none.jpg", stderr=broken) == (2, "", "")
    status, said, _ = run("explain dog.jpg -q", stderr=broken)
    assert (status, said) == (0, "")
    assert Path("dog.grad-cam.png").is_file()


@pytest.mark.parametrize("width", ["0", "1", "2", "-5", "x", "9" * 30])
def test_help_on_any_width(width, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", width)
    status, said, _ = run("explain --help")
    assert status == 0 and "--output" in said
    assert os.environ["COLUMNS"] == width


class Typing(io.StringIO):
    """Standard input that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stdin", "words"), [(None, "closed"), (Typing(), "terminal")], ids=["closed", "terminal"]
)
def test_standard_input_without_a_picture(stdin, words, here, seewhy, monkeypatch):
    monkeypatch.setattr(sys, "stdin", stdin)
    seewhy("explain -").refused(f"standard input is {'a ' if stdin else ''}{words}", "file")


SHELL = [  # with real streams; each with its status and what the other stream says
    ("--version > /dev/full", 2, f"seewhy: cannot write to standard output: {FULL}"),
    ("--help >&-", 2, "seewhy: cannot write to standard output: it is closed"),
    ("expain 2> /dev/full", 2, ""),
    ("expain 2>&-", 2, ""),
]
EVERY = [
    *((f"{command} > /dev/full", 2, FULL) for command in ("--help", "methods", "methods --json")),
    *((f"{command} >&-", 2, "it is closed") for command in ("--version", "methods --json")),
    ("methods | true; test ${PIPESTATUS[0]} = 0 -o ${PIPESTATUS[0]} = 141", 0, ""),
    ("explain dog.jpg b.jpg -o out | true; exit ${PIPESTATUS[0]}", 0, ""),
    ("explain dog.jpg b.jpg -o out <&-", 0, ""),
    ("explain dog.jpg > /dev/full", 2, FULL),
    ("explain none.jpg > /dev/full 2>&1", 2, ""),
    ("explain - < /dev/null", 2, "standard input is empty"),
    ("explain - <&-", 2, "standard input is closed"),
    ("layers > /dev/full 2>&-", 2, ""),
]
VARIABLES = [
    *({"PYTHONIOENCODING": name} for name in ("ascii", "utf-16", "latin-1", "utf-8:strict")),
    *({"COLUMNS": value} for value in ("0", "1", "2", "x")),
    *({"LC_ALL": name} for name in ("C", "POSIX", "tr_TR.UTF-8", "xx_YY")),
    *({"TERM": name} for name in ("", "dumb", "unheard-of")),
    {"NO_COLOR": "1"},
    {"PYTHONOPTIMIZE": "2"},
    {"PYTHONWARNINGS": "error"},
    {"PYTHONUTF8": "0", "LC_ALL": "C"},
    {"TMPDIR": "/proc/none"},
    {"HOME": "/proc/none"},
    {"HOME": ""},
]


def shell(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `seewhy` with the rest of a line, in bash."""
    command = f"'{sys.executable}' -m seewhy {line}"
    return subprocess.run(
        ("bash", "-c", command),
        capture_output=True, text=True, errors="replace", timeout=120, env=ENVIRONMENT | variables,
    )  # fmt: skip


@pytest.mark.parametrize(("line", "status", "words"), SHELL, ids=[line for line, *_ in SHELL])
def test_real_streams(line, status, words, here):
    done = shell(line)
    assert (done.returncode, done.stdout + done.stderr) == (status, f"{words}\n" if words else "")


@pytest.mark.full
@pytest.mark.parametrize(("line", "status", "words"), EVERY, ids=[line for line, *_ in EVERY])
def test_every_real_stream(line, status, words, here):
    Path("b.jpg").write_bytes(Path("dog.jpg").read_bytes())
    done = shell(line)
    assert done.returncode == status, done
    assert words in done.stderr and done.stderr.count("\n") <= 1


@pytest.mark.full
@pytest.mark.parametrize("variables", VARIABLES, ids=str)
def test_every_environment(variables, here):
    """JSON is valid in the encoding of the stream, help ends, a picture is explained."""
    name = "Glühwürmchen 犬.jpg"
    Path("dog.jpg").rename(name)
    encoding = variables.get("PYTHONIOENCODING", "utf-8").partition(":")[0]
    assert shell("explain --help", **variables).returncode == 0
    done = shell(f"explain '{name}' --json -o dog.png > said", **variables)
    # The shell itself warns of a locale that this system does not have.
    ours = [line for line in done.stderr.splitlines() if not line.startswith("bash: warning")]
    assert done.returncode == 0
    if "HOME" not in variables:  # matplotlib says that it has no place for its cache
        assert ours == []
    (said,) = json.loads(Path("said").read_bytes().decode(encoding))
    assert said["file"] == "dog.png"
    assert said["pictures"][0]["source"] == name
    done = shell("compare *.jpg --methods gradient -o dog.svg", **variables)
    assert done.returncode == 0
    if "HOME" not in variables:
        assert all(line.startswith("bash: warning") for line in done.stderr.splitlines())


@pytest.mark.full
def test_a_working_folder_that_is_gone(here):
    gone = f"mkdir gone; cd gone; rmdir ../gone; '{sys.executable}' -m seewhy explain dog.jpg"
    done = subprocess.run(("bash", "-c", gone), capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 2
    assert done.stderr.startswith("seewhy: the current folder has been deleted")
    assert done.stderr.count("\n") == 1


SLOW = """
import time
from torch import nn

class Slow(nn.Sequential):
    def forward(self, pixels):
        time.sleep(0.5)
        return super().forward(pixels)

def make():
    return Slow(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
"""


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.full)],
    ids=lambda number: number.name,
)
def test_a_signal_keeps_what_is_finished_and_leaves_no_half_file(number, photos):
    Path("slow.py").write_text(SLOW)
    words = ["explain", "photos", "-o", "out", "-m", "slow:make", "--batch-size", "1"]
    running = subprocess.Popen(
        (sys.executable, "-m", "seewhy", *words),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    end = time.monotonic() + 60
    while not Path("out/a.grad-cam.png").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    running.send_signal(number)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 128 + number
    assert said.startswith("seewhy: terminated; ") and "--resume" in said
    assert said.count("\n") == 1
    assert not [name for name in files_in(Path("out")) if name.endswith(".tmp")]


@pytest.mark.full
def test_nohup_is_respected(photos):
    """A run that ignores the end of its terminal goes on."""
    Path("slow.py").write_text(SLOW)
    line = "explain photos -o out -m slow:make -q & sleep 6; kill -HUP $!; wait $!"
    done = subprocess.run(
        ("bash", "-c", f"trap '' HUP; '{sys.executable}' -m seewhy {line}"),
        capture_output=True, text=True, env=ENVIRONMENT, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
