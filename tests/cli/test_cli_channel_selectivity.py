"""`seewhy channel-selectivity`."""

import json
from pathlib import Path

import pytest
from terminal import files_in

import seewhy as library
from seewhy.evaluation.selectivity_view import data


def test_a_figure_and_a_line_on_each_method(here, seewhy):
    out = seewhy(
        "channel-selectivity dog.jpg --layer stages.1 --methods gradient,deconvnet,cam"
    ).fine()
    assert files_in(here) == ["dog.channel-selectivity.png", "dog.jpg"]
    for part in ("stages.1 of scenes", "most active", "gradient ", "deconvnet ", "left out cam"):
        assert part in out
    assert out.endswith("written   dog.channel-selectivity.png\n")


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("dog.jpg photos/a.jpg photos/b.png", "dog-and-2-more"),
        ("photos", "photos"),
        ("photos/../photos/", "photos"),
    ],
)
def test_the_file_is_named_by_pictures_and_command(asked, name, photos, seewhy):
    line = f"channel-selectivity {asked} --layer stages.1 --methods gradient"
    before = files_in(photos.parent)
    seewhy(line).fine()
    (new,) = set(files_in(photos.parent)) - set(before)
    assert new == f"{name}.channel-selectivity.png"


def test_earlier_figures_in_a_folder_are_no_pictures(here, seewhy):
    line = "channel-selectivity . --layer stages.1 --methods gradient --json"
    first, second = (json.loads(seewhy(line).fine()) for _ in range(2))
    assert first == second
    assert len(files_in(here)) == 2


def test_it_is_what_the_same_call_in_python_gives(here, seewhy):
    line = (
        "channel-selectivity dog.jpg --layer stages.1 --methods gradient --by mean --seed 3 "
        "-o c.json --json"
    )
    said = json.loads(seewhy(line).fine())
    assert said.pop("file") == "c.json"
    assert json.loads(Path("c.json").read_text()) == said
    found = library.channel_selectivity(
        "scenes", "dog.jpg", "gradient", "stages.1", by="mean", seed=3
    )
    assert data(found) == said
    assert files_in(here) == ["c.json", "dog.jpg"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--layer stagess", ["unknown layer 'stagess'", "did you mean stages"]),
        ("--layer head", ["rows, columns and at least 3 channels", "seewhy layers"]),
        ("--layer stages:3", ["write stages, not stages:3"]),
        ("--methods gradeint", ["unknown method 'gradeint'", "gradient"]),
        ("--by median", ["--by must be max or mean, not 'median'", "did you mean mean?"]),
        ("--seed -1", ["seed"]),
        ("-o out.gif", ["out.gif", ".png"]),
        ("-o nowhere/out.png", ["no folder nowhere"]),
    ],
)
def test_mistakes_end_in_one_line(line, words, here, seewhy):
    seewhy(f"channel-selectivity dog.jpg {line}").refused(*words)
    assert files_in(here) == ["dog.jpg"]
