"""What a user can get wrong ends in one line that names the way out, and leaves nothing behind."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from terminal import files_in

from seewhy import zoo

WEIGHTS = Path(zoo.__file__).parent / "scenes.safetensors"

WORDS = [  # each with what the line must say
    # pictures
    ("explain dig.jpg", ["no picture file dig.jpg", "did you mean dog.jpg?"]),
    ("explain nowhere/dog.jpg", ["no folder nowhere"]),
    ("explain https://example.org/dog.jpg", ["address", "download"]),
    ("explain text.jpg", ["text.jpg", "not a picture"]),
    ("explain truncated.jpg", ["truncated.jpg", "truncated or damaged"]),
    ("explain empty.jpg", ["empty.jpg is empty"]),
    ("explain nothing", ["nothing holds no picture"]),
    ("compare text.jpg", ["text.jpg", "not a picture"]),
    ("compare truncated.jpg", ["truncated.jpg", "truncated or damaged"]),
    # names
    ("explain dog.jpg -m scene", ["unknown model 'scene'", "did you mean scenes"]),
    ("explain dog.jpg -m torchvision/resnet5", ["torchvision/resnet50"]),
    ("explain dog.jpg -m torchvison/resnet50", ["unknown model", "torchvision/resnet50"]),
    ("explain dog.jpg -m timm/resnet1", ["timm/resnet1", "timm/resnet18"]),
    ("explain dog.jpg -m no_such_module:make", ["no module no_such_module"]),
    ("explain dog.jpg --method gradcam", ["unknown method 'gradcam'", "grad-cam"]),
    ("compare dog.jpg --methods cam,gradcam", ["unknown method 'gradcam'", "grad-cam"]),
    ("compare dog.jpg --methods ,", ["no methods named", "all"]),
    ("explain dog.jpg --layer stagess", ["unknown layer 'stagess'", "did you mean stages"]),
    ("explain dog.jpg --layer head", ["head", "no rows and columns", "stages"]),
    ("explain dog.jpg --layer 'a b@'", ["address", "such as"]),
    ("explain dog.jpg --method gradient --layer stages", ["gradient reads no layer", "grad-cam"]),
    ("explain dog.jpg --layer a --set layer=b", ["given twice"]),
    ("compare dog.jpg --methods gradient --layer stages", ["gradient", "omit --layer"]),
    ("explain dog.jpg -t botle", ["unknown class 'botle'", "did you mean bottle"]),
    ("explain dog.jpg -t 10", ["class 10 is out of range", "0 to 9"]),
    ("explain dog.jpg -t=-1", ["class -1 is out of range", "0 to 9"]),
    ("explain dog.jpg -m untrained:make -t dog", ["no class names", "index"]),
    ("explain dog.jpg -t stages.1:999", ["stages.1:999", "channels, counted from 0"]),
    ("explain dog.jpg -t stage.1:3", ["unknown class or unit 'stage.1:3'", "stages.1:3"]),
    ("explain dog.jpg -t stages.1:3 --layer stages", ["does not depend on stages", "shallower"]),
    ("explain dog.jpg --against mug", ["--against needs a --target"]),
    ("explain dog.jpg -t mug --against mgu", ["unknown class 'mgu'", "did you mean mug"]),
    ("explain dog.jpg -t mug --against mug", ["mug − mug is zero"]),
    # hyperparameters and numbers
    ("explain dog.jpg --set relu", ["--set must be name=value", "'relu'"]),
    ("explain dog.jpg --set rleu=true", ["unknown parameter of grad-cam", "did you mean relu?"]),
    ("explain dog.jpg --set relu=yes", ["relu must be true or false", "'yes'"]),
    ("explain dog.jpg --method smoothgrad --set samples=1.5", ["an integer", "not 1.5"]),
    ("explain dog.jpg --method smoothgrad --set samples=0", ["samples must be at least 1"]),
    ("explain dog.jpg --method smoothgrad --set noise=much", ["noise must be a number", "'much'"]),
    ("explain dog.jpg --method gradient --set reduction=mxa", ["'mxa'", "did you mean max?"]),
    ("explain dog.jpg --batch-size 0", ["--batch-size must be at least 1", "0"]),
    ("explain dog.jpg --batch-size=-4", ["--batch-size must be at least 1", "-4"]),
    ("explain dog.jpg --batch-size many", ["--batch-size must be a whole number", "'many'"]),
    ("explain dog.jpg --seed x", ["--seed must be a whole number", "'x'", "explain --help"]),
    ("explain dog.jpg --seed 99999999999999999999", ["--seed must be from 0 to"]),
    ("explain dog.jpg --precision half", ["precision", "fast", "half"]),
    ("explain dog.jpg --device gpu", ["unknown device 'gpu'", "cpu"]),
    ("explain dog.jpg --device cpu:x", ["unknown device 'cpu:x'", "cpu"]),
    # weights and class names
    ("explain dog.jpg -w none.pt", ["no weights file none.pt"]),
    ("explain dog.jpg -w text.jpg", ["text.jpg", "no weights"]),
    ("explain dog.jpg -w code.pt", ["would run code", "system", ".safetensors"]),
    ("explain dog.jpg -w nan.safetensors", ["NaN", "head"]),
    ("explain dog.jpg -w truncated.safetensors", ["truncated.safetensors is truncated"]),
    ("explain dog.jpg -w other.safetensors", ["other.safetensors does not fit scenes", "missing"]),
    ("explain dog.jpg -m other.safetensors", ["a file of weights, not a model", "weights="]),
    ("explain dog.jpg --classes none.txt", ["none.txt"]),
    ("explain dog.jpg --classes three.txt", ["10 classes", "3 class names"]),
    ("explain dog.jpg --classes dog.jpg", ["dog.jpg is not UTF-8 text"]),
    ("layers -m scene", ["unknown model 'scene'"]),
    ("layers scenes -m scenes-shortcut", ["two models", "scenes-shortcut"]),
    ("methods gradcam", ["unknown method 'gradcam'", "grad-cam"]),
    ("models torchvison/", ["unknown source", "torchvision"]),
    ("models torchvision/resnett", ["unknown model", "torchvision/resnet"]),
    # where results go
    ("explain dog.jpg -o dog.bmp", ["dog.bmp", ".png"]),
    ("explain dog.jpg -o dog.jsn", ["dog.jsn", "did you mean .json?"]),
    ("explain dog.jpg -o dog", ["must end in", ".png"]),
    ("explain dog.jpg -o nowhere/dog.png", ["nowhere/dog.png", "no folder nowhere"]),
    ("explain dog.jpg -o text.jpg/dog.png", ["text.jpg/dog.png", "no folder text.jpg"]),
    ("explain dog.jpg empty.jpg -o text.jpg/out", ["text.jpg/out", "folder"]),
    ("explain dog.jpg text.jpg -o all.png", ["all.png", "name a folder"]),
    ("explain dog.jpg --format bmp", ["--format must be one of png", "'bmp'"]),
    ("explain dog.jpg --json --resume", ["--resume needs files", "--output"]),
    ("compare dog.jpg -o report.gif", ["report.gif", ".html"]),
    ("compare dog.jpg -o nowhere/report.html", ["no folder nowhere"]),
    ("compare dog.jpg -o nothing.htm", ["must end in", ".html"]),
    ("demo -o text.jpg", ["text.jpg", "folder"]),
    ("demo -o text.jpg/demo", ["text.jpg/demo", "folder"]),
]


@pytest.fixture
def mistakes(here, jpeg):
    """Files that are not what their names say."""
    Path("text.jpg").write_text("This is not a picture.")
    Path("truncated.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    Path("empty.jpg").touch()
    Path("nothing").mkdir()
    Path("three.txt").write_text("one\ntwo\nthree\n")
    Path("untrained.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    )
    Path("code.pt").write_bytes(pickle.dumps({"weight": Runs()}, protocol=2))
    state = load_file(WEIGHTS)
    save_file(
        state | {"head.bias": torch.full_like(state["head.bias"], torch.nan)}, "nan.safetensors"
    )
    Path("truncated.safetensors").write_bytes(WEIGHTS.read_bytes()[:5000])
    save_file({"conv1.weight": torch.zeros(3, 3)}, "other.safetensors")
    return here


class Runs:
    """A pickle of it would make a file."""

    def __reduce__(self):
        return os.system, ("touch it-ran",)


@pytest.mark.parametrize(("line", "words"), WORDS, ids=[line for line, _ in WORDS])
def test_a_mistake_ends_in_one_line(line, words, mistakes, seewhy):
    before = files_in(mistakes)
    seewhy(line).refused(*words)
    left = [file for file in files_in(mistakes) if "__pycache__" not in file]
    assert left == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_a_device_that_is_not_there(here, seewhy):
    seewhy("explain dog.jpg --device cuda").refused("cuda", "use cpu")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody can write to")
@pytest.mark.parametrize("command", ["explain dog.jpg", "compare dog.jpg"])
def test_a_folder_that_cannot_be_written_to(command, here, seewhy):
    seewhy(f"{command} -o /proc/dog.png").refused("cannot write /proc/dog.png", "permissions")


def test_a_folder_without_the_right_to_write(here, seewhy):
    locked = here / "locked"
    locked.mkdir(mode=0o500)
    if os.access(locked, os.W_OK):
        pytest.skip("this user may write everywhere")
    seewhy("explain dog.jpg -o locked/dog.png").refused("locked/dog.png", "permissions")


def test_a_disk_that_fills_up_leaves_nothing(here, seewhy, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    seewhy("explain dog.jpg").refused("No space left on device", "dog.grad-cam.png")
    assert files_in(here) == ["dog.jpg"]


def test_the_file_that_was_there_stays_when_the_run_fails(here, seewhy):
    Path("dog.grad-cam.png").write_text("an older one")
    seewhy("explain dog.jpg --layer head").refused("head")
    assert Path("dog.grad-cam.png").read_text() == "an older one"


def test_weights_of_a_diverged_network_of_ones_own(here, seewhy):
    Path("diverged.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
        "    nn.init.constant_(net[0].weight, float('nan'))\n"
        "    return net\n"
    )
    seewhy("explain dog.jpg -m diverged:make").refused("NaN", "0.weight")


def test_debug_shows_where_an_error_came_from(here):
    from seewhy.cli import main
    from seewhy.errors import SeewhyError

    with pytest.raises(SeewhyError, match="no picture file"):
        main(["explain", "none.jpg", "--debug"])


def test_a_bug_is_owned_up_to_without_a_traceback(here, seewhy, monkeypatch):
    def buggy(*_):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("seewhy.cli.jobs.names_in", buggy)
    result = seewhy("explain dog.jpg")
    assert result.status == 1
    assert len(result.lines) == 1
    assert "ZeroDivisionError" in result.err and "please report it, and attach" in result.err
    report = Path(result.err.split("attach ")[1].strip())
    assert "ZeroDivisionError" in report.read_text()
    report.unlink()


def test_errors_are_one_line_with_json_too(here, seewhy):
    seewhy("explain dog.jpg --json -m nope").refused("unknown model")


def test_an_output_folder_that_nothing_went_into_goes_again(seewhy, photos):
    seewhy("explain photos -o new/deep -m torchvision/resnet5O")
    assert not (photos.parent / "new" / "deep").exists()
