"""`seewhy methods`, `models`, `layers`, and the pages of help."""

import json
from pathlib import Path

import pytest

from seewhy import __version__, methods, open_model
from seewhy.cli.app import app

COMMANDS = (
    "explain",
    "compare",
    "methods",
    "models",
    "layers",
    "check",
    "sufficiency",
    "channel-selectivity",
    "extremal-channels",
    "relevant-channels",
    "demo",
)
INTERNAL = ("set_", "format_", "as_json", "--empty", "--no-", "default: ()", "default: False")


def test_every_method_is_listed_with_its_question(seewhy):
    out = seewhy("methods").fine()
    for name, method in methods().items():
        assert any(
            line.split()[:1] == [name] and method.question in line for line in out.split("\n")
        )
    assert all(len(line) <= 100 for line in out.splitlines())


@pytest.mark.parametrize("name", methods())
def test_a_method_is_described_with_its_hyperparameters(name, seewhy):
    out = seewhy(f"methods {name}").fine()
    method = methods()[name]
    assert method.question in out and method.source in out
    (described,) = json.loads(seewhy(f"methods {name} --json").fine())
    for parameter, default in described["parameters"].items():
        (line,) = [row for row in out.splitlines() if row.startswith(f"{parameter} ")]
        assert default in line
        assert len(line) > len(f"{parameter} {default}") + 10, "it says what it means"
    assert "one of ." not in out and "<class" not in out


def test_models_by_the_start_of_their_name(seewhy):
    names = seewhy("models").fine().splitlines()
    assert {"scenes", "torchvision/resnet50"} <= set(names)
    some = seewhy("models torchvision/resnet").fine().splitlines()
    assert some == [name for name in names if name.startswith("torchvision/resnet")]
    assert json.loads(seewhy("models torchvision/resnet --json").fine()) == some


def test_a_model_is_described_with_its_classes(seewhy):
    out = seewhy("models scenes").fine()
    for index, name in enumerate(open_model("scenes").classes or []):
        assert f"{index}  {name}" in out
    told = json.loads(seewhy("models torchvision/resnet50 --json").fine())
    assert told["class_count"] == len(told["classes"]) == 1000
    assert told["size"] == [224, 224]
    assert told["classes"][1] == "goldfish"


@pytest.mark.parametrize("line", ["layers", "layers scenes", "layers -m scenes"])
def test_the_found_layer_is_starred(line, seewhy):
    starred = [row for row in seewhy(line).fine().splitlines() if row.startswith("*")]
    assert [row.split()[1] for row in starred] == ["stages"]


def test_layers_as_json(seewhy):
    rows = json.loads(seewhy("layers --json").fine())
    assert [row["name"] for row in rows if row["chosen"]] == ["stages"]
    assert all(row["output"] and row["calls"] >= 1 for row in rows)


def test_layers_of_a_vision_transformer_have_a_token_grid(seewhy):
    pytest.importorskip("timm")
    out = seewhy("layers timm/vit_tiny_patch16_224 -w random").fine()
    (row,) = [row for row in out.splitlines() if row.startswith("*")]
    assert "blocks.11.norm1" in row and "14x14" in row


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--help",
        "-h",
        *(f"{c} --help" for c in COMMANDS),
    ],
)
def test_help_reads_well(line, seewhy, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    out = seewhy(line).fine()
    assert "Usage: seewhy" in out
    assert max(map(len, out.splitlines())) <= 100
    for internal in INTERNAL:
        assert internal not in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(command):
    for argument in app[command].assemble_argument_collection(parse_docstring=True):
        if argument.names != ("*",):  # a dataclass, whose fields follow
            assert (argument.parameter.help or "").endswith("."), argument.names


def test_the_version(seewhy):
    assert seewhy("--version").fine().strip() == __version__


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("expain dog.jpg", ["unknown command 'expain'", "did you mean explain?"]),
        ("frobnicate", ["unknown command", "explain, compare, methods"]),
        ("--frobnicate", ["unknown option --frobnicate", "seewhy --help"]),
        ("explain", ["explain needs PICTURES", "seewhy explain --help"]),
        ("compare -q", ["compare needs PICTURES", "seewhy compare --help"]),
        ("explain dog.jpg --metod cam", ["unknown option --metod", "did you mean --method?"]),
        ("explain dog.jpg --frobnicate", ["unknown option --frobnicate", "seewhy explain --help"]),
        ("explain dog.jpg -o", ["-o needs a value"]),
        ("explain dog.jpg --set", ["--set needs a value"]),
        ("explain dog.jpg --json=maybe", ["--json", "'maybe'"]),
        ("explain dog.jpg --method cam --method cam", ["--method is given more than once"]),
        ("explain dog.jpg -qx", ["unknown option -x"]),
        ("methods cam gradient", ["unexpected argument 'gradient'", "methods --help"]),
        ("layers --target 3", ["unknown option --target"]),
    ],
)
def test_a_mistyped_command_ends_in_one_line(line, words, here, seewhy):
    result = seewhy(line)
    result.refused(*words)
    assert "set_" not in result.err and "╭" not in result.err
    assert [file.name for file in Path().iterdir()] == ["dog.jpg"]


def test_completion_is_installed_for_a_shell(here, seewhy, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    out = seewhy("--install-completion --shell bash").fine()
    (script,) = [
        file
        for file in here.rglob("*")
        if file.is_file() and file.name != "dog.jpg" and "seewhy" in file.name
    ]
    assert "channel-selectivity" in script.read_text() and str(script) in out
