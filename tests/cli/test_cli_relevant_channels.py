"""`seewhy relevant-channels`."""

import json
from pathlib import Path

import pytest
from terminal import files_in

import seewhy as library
from seewhy.concepts.relevance_view import data

QUICK = "relevant-channels dog.jpg --layer stages.1 --count 2"


def test_a_figure_and_a_summary(here, seewhy):
    out = seewhy(QUICK).fine()
    assert files_in(here) == ["dog.jpg", "dog.relevant-channels.png"]
    assert "stages.1" in out
    assert out.endswith("written   dog.relevant-channels.png\n")


def test_it_is_what_the_same_call_in_python_gives(here, seewhy):
    said = json.loads(seewhy(f"{QUICK} --target mug -o c.json --json").fine())
    assert said.pop("file") == "c.json"
    assert json.loads(Path("c.json").read_text()) == said
    found = library.relevant_channels("scenes", "dog.jpg", "stages.1", "mug", count=2)
    assert data(found) == said


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--layer stagess", ["unknown layer 'stagess'", "did you mean stages"]),
        ("--target botle", ["unknown class 'botle'", "did you mean bottle"]),
        ("--method lrp-epsilo", ["unknown method 'lrp-epsilo'", "lrp-epsilon"]),
        ("-o out.gif", ["out.gif", ".png"]),
        ("-o nowhere/out.png", ["no folder nowhere"]),
    ],
)
def test_mistakes_end_in_one_line(line, words, here, seewhy):
    seewhy(f"relevant-channels dog.jpg {line}").refused(*words)
    assert files_in(here) == ["dog.jpg"]
