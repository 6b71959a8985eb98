"""`seewhy sufficiency`."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from terminal import files_in

import seewhy as library
from seewhy.evaluation.sufficiency_view import data

QUICK = "sufficiency dog.jpg --areas 0.1,0.3 --steps 3"


def test_a_figure_and_a_line_on_each_picture(here, seewhy):
    out = seewhy(QUICK).fine()
    assert files_in(here) == ["dog.jpg", "dog.sufficiency.png"]
    assert out.startswith("model     scenes\ndog.jpg: ")
    assert "10 % keep" in out and "30 % keep" in out and "enough for half" in out
    assert out.endswith("written   dog.sufficiency.png\n")


def test_it_is_what_the_same_calls_in_python_give(photos, seewhy):
    line = (
        "sufficiency photos --areas 0.2,0.4 --target mug --share 0.3 --steps 4 "
        "--batch-size 2 -o e.json --json"
    )
    said = json.loads(seewhy(line).fine())
    assert said.pop("file") == "e.json"
    assert json.loads(Path("e.json").read_text()) == said
    files = [f"photos/{file.name}" for file in sorted(photos.iterdir())]
    e = library.explain(
        "scenes", files, "extremal-perturbation", "mug", areas=(0.2, 0.4), steps=4, batch_size=2
    )
    assert data(library.sufficiency_curve("scenes", e, batch_size=2), 0.3) == said
    assert [one["target"] for one in said["pictures"]] == ["mug"] * 3


def test_as_published_in_bfloat16_and_quiet(here, seewhy):
    assert seewhy(f"{QUICK} --algorithm published --precision fast --quiet -o e.png").fine() == ""
    assert files_in(here) == ["dog.jpg", "e.png"]
    faithful, ours = (
        json.loads(seewhy(f"{QUICK} {option} --json -o e.json").fine())["pictures"][0]["kept"]
        for option in ("--algorithm published", "")
    )
    assert faithful != ours


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--areas 1.5", ["areas must be between 0 and 1", "1.5"]),
        ("--areas 0", ["areas must be between 0 and 1"]),
        ("--areas nan", ["areas must be numbers such as 0.05,0.1", "nan"]),
        ("--areas few", ["areas must be numbers such as 0.05,0.1", "few"]),
        ("--areas ,", ["areas must be between 0 and 1"]),
        ("--share 0", ["above 0 and at most 1", "0"]),
        ("--share 1.01", ["above 0 and at most 1", "1.01"]),
        ("--share nan", ["above 0 and at most 1"]),
        ("--share half", ["--share must be a number", "'half'"]),
        ("--target botle", ["unknown class 'botle'", "did you mean bottle"]),
        ("--target stages.1:3 --steps 100000", ["probability of a class"]),
        ("--target 99", ["99"]),
        ("--steps -1", ["steps must be at least 1", "-1"]),
        ("--steps many", ["--steps must be a whole number", "'many'"]),
        ("--batch-size 0", ["--batch-size must be at least 1", "0"]),
        ("--precision half", ["precision", "fast", "half"]),
        ("nowhere.jpg", ["no picture file nowhere.jpg"]),
        ("empty", ["empty holds no picture"]),
        ("-o out.gif", ["out.gif", ".png"]),
        ("-o nowhere/out.png", ["no folder nowhere"]),
        ("--model nosuch", ["nosuch"]),
    ],
)
def test_mistakes_end_in_one_line(line, words, here, seewhy):
    Path("empty").mkdir()
    Path("text.jpg").write_text("This is not a picture.")
    seewhy(f"sufficiency dog.jpg {line}").refused(*words)
    assert files_in(here) == ["dog.jpg", "text.jpg"]


def test_scores_that_are_no_probabilities_are_refused_at_once(here, seewhy, monkeypatch):
    monkeypatch.syspath_prepend(str(here))
    Path("scorer.py").write_text(
        "import seewhy\n"
        "def make():\n"
        "    return seewhy.Model(seewhy.open_model('scenes').net, size=64, outputs='scores')\n"
    )
    seewhy("sufficiency dog.jpg -m scorer:make --steps 100000").refused("probability of a class")


def test_ctrl_c_leaves_nothing_half_written(here):
    words = ["sufficiency", "dog.jpg", "--algorithm", "published", "--steps", "100000"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = subprocess.Popen(
        (sys.executable, "-m", "seewhy", *words),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        **streams,
    )
    time.sleep(6)  # it is loaded by then, or still loading: both end alike
    running.send_signal(signal.SIGINT)
    out, said = running.communicate(timeout=60)
    assert (running.returncode, out, said) == (130, "", "seewhy: interrupted\n")
    assert files_in(here) == ["dog.jpg"]
