"""The installed command as a real process: streams, signals, pipes and terminals."""

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from terminal import files_in

from seewhy.version import __version__

SEEWHY = (sys.executable, "-m", "seewhy")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}  # several tests share the cores
SLOW = """
import time
import torch
from torch import nn

class Slow(nn.Sequential):
    def forward(self, pixels):
        time.sleep(0.6)
        return super().forward(pixels)

def make():
    torch.manual_seed(0)
    return Slow(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
"""
SLOWLY = ("explain", "photos", "-o", "out", "-m", "slow:make", "--batch-size", "1")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (*SEEWHY, *words), capture_output=True, text=True, timeout=120, env=ENVIRONMENT
    )


@pytest.fixture
def slow(photos) -> None:
    """A network that takes its time over each of three pictures."""
    Path("slow.py").write_text(SLOW)


def test_results_go_to_standard_output_and_the_rest_to_standard_error(photos):
    (photos / "bad.jpg").write_text("not a picture")
    done = run("explain", "photos", "--json", "-o", "out")
    assert done.returncode == 2
    assert [Path(one["file"]).name for one in json.loads(done.stdout)] == [
        "a.grad-cam.png",
        "b.grad-cam.png",
        "c.grad-cam.png",
    ]
    (line,) = done.stderr.splitlines()
    assert line.startswith("seewhy: skipped: photos/bad.jpg")


def test_an_error_is_one_line_and_a_status(here):
    done = run("explain", "dog.jpg", "--layer", "stagess")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("seewhy: unknown layer") and done.stderr.count("\n") == 1


def test_a_reader_that_is_gone_is_no_error_but_a_status(here):
    """The pipe is closed before the first word."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        (*SEEWHY, "methods"), stdout=writing, stderr=subprocess.PIPE, env=ENVIRONMENT, timeout=120
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_start_loads_no_more_than_it_needs(here):
    """What draws, renders pages or opens other models' files costs time at every start."""
    code = (
        "import sys, atexit, seewhy.cli\n"
        "atexit.register(lambda: print(*{name.split('.')[0] for name in sys.modules}))\n"
        "seewhy.cli.main(['explain', 'dog.jpg', '-q', '-o', 'dog.npz'])"
    )
    done = subprocess.run(
        (sys.executable, "-c", code), capture_output=True, text=True, timeout=120, env=ENVIRONMENT
    )
    assert (done.returncode, done.stderr) == (0, "")
    loaded = set(done.stdout.split())
    assert "torchvision" in loaded
    heavy = {"matplotlib", "jinja2", "rich", "timm", "transformers", "scipy", "pandas"}
    assert not loaded & heavy


READERS = [
    ("explain - -o out.json", "out.json"),
    ("explain - --method gradient", "stdin.gradient.png"),
    ("compare - --methods gradient -o out.json", "out.json"),
    ("sufficiency - --areas 0.1 --steps 1", "stdin.sufficiency.png"),
    ("channel-selectivity - --methods gradient", "stdin.channel-selectivity.png"),
    ("relevant-channels - --count 1", "stdin.relevant-channels.png"),
    ("extremal-channels - --steps 1", "stdin.extremal-channels.png"),
]


@pytest.fixture
def standard_input(monkeypatch):
    """`standard_input(content)` is what the next command reads there."""

    def becomes(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return becomes


@pytest.mark.parametrize(("line", "file"), READERS, ids=[line for line, _ in READERS])
def test_a_picture_from_standard_input(line, file, here, jpeg, standard_input, seewhy):
    standard_input(jpeg)
    assert file in seewhy(line).fine()
    assert files_in(here) == sorted(["dog.jpg", file])


@pytest.mark.parametrize("line", [line for line, _ in READERS])
def test_standard_input_that_is_no_picture(line, here, jpeg, standard_input, seewhy):
    for content, words in (
        (b"", ["standard input is empty"]),
        (b"text", ["standard input is not a picture"]),
        (jpeg[: len(jpeg) // 2], ["standard input is truncated"]),
    ):
        standard_input(content)
        seewhy(line).refused(*words)
    assert files_in(here) == ["dog.jpg"]


def test_standard_input_through_a_pipe_is_the_same_as_the_file(here):
    piped, read = (
        subprocess.run(
            (*SEEWHY, "explain", name, "--json"),
            input=Path("dog.jpg").read_bytes(), capture_output=True, env=ENVIRONMENT, timeout=120,
        )
        for name in ("-", "dog.jpg")
    )  # fmt: skip
    assert (piped.returncode, piped.stderr) == (0, b"")
    named = piped.stdout.replace(b"standard input", b"dog.jpg")
    ((from_pipe,), (from_file,)) = (json.loads(out) for out in (named, read.stdout))
    assert from_pipe.pop("provenance")["method"] == from_file.pop("provenance")["method"]
    seconds = [one.pop("cost")["seconds"] for one in (from_pipe, from_file)]  # differ by chance
    assert min(seconds) > 0
    assert from_pipe == from_file


@pytest.mark.parametrize("word", ["--version", "--help", "-h", "", "expain"])
def test_help_and_version_come_without_torch(word):
    code = (
        "import sys, atexit, seewhy.cli\n"
        "atexit.register(lambda: print('modules', *sys.modules))\n"
        f"seewhy.cli.main({[word] if word else []})"
    )
    done = subprocess.run(
        (sys.executable, "-c", code), capture_output=True, text=True, timeout=120, env=ENVIRONMENT
    )
    said, _, loaded = done.stdout.partition("modules ")
    assert done.returncode == (2 if word == "expain" else 0)
    assert said if word != "expain" else "did you mean explain?" in done.stderr
    assert "seewhy.cli" in loaded.split()
    assert not {"torch", "torchvision", "numpy", "PIL"} & set(loaded.split())


def test_a_terminal_that_knows_only_ascii(here):
    Path("dog.jpg").rename("Glühwürmchen.jpg")
    words = (*SEEWHY, "explain", "Glühwürmchen.jpg")
    ascii_only = ENVIRONMENT | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(words, capture_output=True, timeout=120, env=ascii_only)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Gl\\xfchw" in done.stdout
    assert files_in(here) == ["Glühwürmchen.grad-cam.png", "Glühwürmchen.jpg"]


def test_ctrl_c_keeps_what_is_finished_and_resume_goes_on(slow):
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = subprocess.Popen((*SEEWHY, *SLOWLY), env=ENVIRONMENT, **streams)
    first = Path("out/a.grad-cam.png")
    wait_for(first.exists)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    finished = files_in(Path("out"))
    assert 1 <= len(finished) < 3
    assert all(name.endswith(".grad-cam.png") for name in finished), "no temporary files"
    assert said == (
        f"seewhy: interrupted; {len(finished)} of 3 pictures are finished; "
        "add --resume to continue\n"
    )
    written = first.stat().st_mtime_ns

    done = run(*SLOWLY, "--resume")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{len(finished)} of 3 pictures were done before")
    assert files_in(Path("out")) == [f"{name}.grad-cam.png" for name in "abc"]
    assert first.stat().st_mtime_ns == written


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


@pytest.mark.parametrize("stdout_is_a_file", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_bar_comes_on_long_work_and_goes(stdout_is_a_file, slow):
    screen, out = on_a_terminal(SLOWLY, stdout_is_a_file)
    assert "grad-cam, picture 2 of 3" in screen
    assert screen.count("━") > 10
    assert "\x1b[2K" in screen, "the bar's line is wiped"
    summaries = out if stdout_is_a_file else screen
    assert summaries.count("written   out/") == 3
    if stdout_is_a_file:
        assert "written" not in screen and "━" not in out


def on_a_terminal(words: tuple[str, ...], stdout_is_a_file: bool) -> tuple[str, str]:
    """What the command shows on a terminal, and what it writes into a file for its output."""
    ours, theirs = pty.openpty()
    file = Path("stdout.txt")
    environment = ENVIRONMENT | {"TERM": "xterm-256color", "COLUMNS": "100"}
    with file.open("w") as into:
        running = subprocess.Popen(
            (*SEEWHY, *words),
            stdin=theirs,
            stdout=into if stdout_is_a_file else theirs,
            stderr=theirs,
            env=environment,
        )
    os.close(theirs)
    screen = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        screen += chunk
    os.close(ours)
    assert running.wait(60) == 0
    return screen.decode(), file.read_text()


def test_the_version_needs_no_torch():
    code = (
        "import sys; from seewhy.cli import main\n"
        "try: main(['--version'])\n"
        "finally: print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.split() == [__version__, "False"], run.stderr
