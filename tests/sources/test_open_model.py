"""Every source opens a model with the same outputs as the original network."""

import json
import os
import sys
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

from seewhy.errors import SeewhyError, Unknown
from seewhy.images import Preparation
from seewhy.models.model import Model
from seewhy.sources import available, open_model

REAL = os.environ.get("SEEWHY_REAL")


def picture() -> Image.Image:
    y, x = np.mgrid[0:1:120j, 0:1:160j]
    return Image.fromarray((255 * np.stack([y, x, (x + y) / 2], -1)).astype("uint8"))


def one_line(error: pytest.ExceptionInfo[SeewhyError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_random_weights_are_seeded_said_and_leave_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = open_model("torchvision/squeezenet1_1", "random")
    assert torch.equal(torch.rand(3), expected)
    second = open_model("torchvision/squeezenet1_1", "random")
    for a, b in zip(first.net.parameters(), second.net.parameters(), strict=True):
        assert torch.equal(a, b)
    assert first.name == "torchvision/squeezenet1_1 (random weights)"
    assert not first.net.training


def test_torchvision_preprocessing_and_logits_are_its_own():
    model = open_model("torchvision/resnet18", "random")
    preset = torchvision.models.get_model_weights("resnet18").DEFAULT
    assert model.preparation == Preparation((224, 224), 256)
    assert model.classes == preset.meta["categories"]
    with torch.no_grad():
        expected = model.net(preset.transforms()(picture())[None])
        logits = model(model.prepare(picture()).pixels)
    torch.testing.assert_close(logits, expected, atol=0.02, rtol=0)


@pytest.mark.parametrize("name", ["resnet50", "convnext_tiny", "swin_v2_t", "maxvit_t", "vit_h_14"])
def test_torchvision_preparations_agree_with_the_presets(name):
    from seewhy.images import as_picture
    from seewhy.sources.torchvision import architecture

    known = architecture(name)
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    pixels, _ = known.preparation(as_picture(picture()))
    mean, std = (torch.tensor(v)[:, None, None] for v in (known.mean, known.std))
    torch.testing.assert_close((pixels - mean) / std, preset(picture()), atol=0.02, rtol=0)


def test_every_torchvision_classifier_has_a_preparation_and_names():
    from seewhy.sources.torchvision import architecture, names

    for name in names():
        known = architecture(name)
        assert known.preparation.size is not None
        assert known.classes is not None
        assert len(known.classes) == known.count == 1000


@pytest.mark.parametrize(
    ("name", "auxiliary"), [("googlenet", "aux1."), ("inception_v3", "AuxLog")]
)
def test_auxiliary_heads_in_a_file_are_dropped(tmp_path, name, auxiliary):
    trained = torchvision.models.get_model(
        name, weights=None, aux_logits=True, init_weights=False, transform_input=True
    )
    assert any(key.startswith(auxiliary) for key in trained.state_dict())
    file = tmp_path / f"{name}.safetensors"
    save_file(trained.state_dict(), file)
    model = open_model(f"torchvision/{name}", file)
    pixels = model.prepare(picture()).pixels
    normal = (pixels - model.mean) / model.std
    with torch.no_grad():
        torch.testing.assert_close(model(pixels), trained.eval()(normal), atol=1e-4, rtol=1e-4)


def test_old_densenet_names_are_understood(tmp_path):
    import re

    net = torchvision.models.densenet121(num_classes=1000)
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key): tensor
        for key, tensor in net.state_dict().items()
    }
    assert old.keys() != net.state_dict().keys()
    torch.save(old, tmp_path / "densenet.pth")
    model = open_model("torchvision/densenet121", tmp_path / "densenet.pth")
    for key, tensor in model.net.state_dict().items():
        assert torch.equal(tensor, net.state_dict()[key])


def test_without_a_network_the_url_and_the_way_out_are_named(monkeypatch):
    def unreachable(*_args, **_kwargs):
        raise urllib.error.URLError("name not known")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    with pytest.raises(SeewhyError) as error:
        open_model("torchvision/squeezenet1_1")
    text = one_line(error)
    assert "https://download.pytorch.org/models/squeezenet1_1" in text
    assert "--weights FILE" in text and "random" in text


def test_published_weights_are_loaded_when_they_can_be_downloaded(monkeypatch):
    published = torchvision.models.squeezenet1_1().state_dict()
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_a, **_k: published)
    model = open_model("torchvision/squeezenet1_1")
    assert model.name == "torchvision/squeezenet1_1"
    for key, tensor in model.net.state_dict().items():
        assert torch.equal(tensor, published[key])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("torchvision/resnet5", "did you mean torchvision/resnet50"),
        ("torchvision/fasterrcnn_resnet50_fpn", "is not an image classifier"),
        ("torchvision/deeplabv3_resnet50", "is not an image classifier"),
        ("torchvison/resnet50", "torchvision/resnet50"),
        ("resnet50", "/resnet50"),
        ("scene", "scenes"),
        ("", "names start with torchvision/"),
        ("weights.safetensors", "is a file of weights, not a model"),
        ("runs/best.pth", "with weights=best.pth"),
    ],
)
def test_an_unknown_model_names_the_nearest(name, says):
    with pytest.raises(SeewhyError) as error:
        open_model(name)
    assert says in one_line(error)


def test_available_lists_names_that_open_takes():
    assert "torchvision/resnet50" in available("torchvision")
    assert "torchvision/fasterrcnn_resnet50_fpn" not in available("torchvision/")
    everything = available()
    assert set(available("torchvision")) | {"scenes", "scenes-shortcut", "scenes-vit"} <= set(
        everything
    )
    assert available("hf") == []
    with pytest.raises(Unknown, match="did you mean torchvision"):
        available("torchvison")


class TestTimm:
    @pytest.fixture(autouse=True)
    def _timm(self):
        pytest.importorskip("timm")

    @pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "mobilenetv3_small_050"])
    def test_preprocessing_and_logits_are_its_own(self, name):
        import timm

        model = open_model(f"timm/{name}", "random")
        config = timm.data.resolve_model_data_config(model.net)
        with torch.no_grad():
            expected = model.net(timm.data.create_transform(**config)(picture())[None])
            logits = model(model.prepare(picture()).pixels)
        torch.testing.assert_close(logits, expected, atol=0.02, rtol=0.01)
        assert model.classes is not None
        assert model.classes[0].startswith("tench")

    def test_a_tag_chooses_the_preprocessing(self):
        from seewhy.sources.timm import architecture

        assert architecture("resnet18.tv_in1k").preparation.interpolation == "bilinear"
        assert architecture("resnet18.a1_in1k").preparation.interpolation == "bicubic"

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("timm/resnet81", "did you mean timm/resnet"),
            ("timm/resnet18.bogus", "did you mean timm/resnet18."),
            ("timm/vit_base_patch16_siglip_224", "has no classifier"),
        ],
    )
    def test_an_unknown_name_offers_the_nearest(self, name, says):
        with pytest.raises(SeewhyError) as error:
            open_model(name, "random")
        assert says in one_line(error)

    def test_without_a_network_the_way_out_is_named(self, monkeypatch):
        import timm

        real = timm.create_model

        def offline(name, pretrained=False, **options):
            if pretrained:
                raise OSError("could not\nconnect")
            return real(name, **options)

        monkeypatch.setattr(timm, "create_model", offline)
        with pytest.raises(SeewhyError, match=r"could not connect\); pass --weights FILE"):
            open_model("timm/resnet18")

    def test_without_timm_the_extra_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "timm", None)
        with pytest.raises(SeewhyError, match=r"pip install seewhy\[timm\]"):
            open_model("timm/resnet18")
        assert not any(name.startswith("timm/") for name in available())


@pytest.mark.parametrize("name", ["scenes", "scenes-shortcut", "scenes-vit"])
def test_bundled_models_open_with_their_card(name):
    from seewhy import zoo

    net, card = zoo.load(name)
    model = open_model(name)
    assert model.name == name
    assert model.classes == list(card["classes"])
    pixels = model.prepare(picture()).pixels
    assert pixels.shape[2:] == model.preparation.size
    normal = (pixels - model.mean) / model.std
    with torch.no_grad():
        torch.testing.assert_close(model(pixels), net.eval()(normal), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["scenes", "scenes-vit"])
def test_a_bundled_model_with_random_weights_differs_from_the_trained_one(name):
    trained, fresh = open_model(name), open_model(name, "random")
    pairs = zip(trained.net.parameters(), fresh.net.parameters(), strict=True)
    assert not any(torch.equal(a, b) for a, b in pairs if a.ndim > 1)
    assert fresh.name == f"{name} (random weights)"
    with pytest.raises(SeewhyError, match="cannot be rebuilt for 2 classes"):
        open_model(name, "random", classes=["a", "b"])


OWN = """
import torch
from torch import nn
from seewhy import Model

def make():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    return net

def wrapped():
    return Model(make(), mean=(0.5,) * 3, std=(0.5,) * 3, classes=["cat", "dog"], name="mine")

def broken():
    raise ValueError("no luck\\ntoday")

def leaves():
    raise SystemExit(3)

def number():
    return 7

net = make()
"""


class TestOwn:
    @pytest.fixture(autouse=True)
    def _module(self, tmp_path, monkeypatch):
        (tmp_path / "mine_for_seewhy.py").write_text(OWN)
        (tmp_path / "needs_more.py").write_text("import absent_package_for_seewhy\n")
        (tmp_path / "wrong_syntax.py").write_text("def (:\n")
        monkeypatch.chdir(tmp_path)
        yield
        sys.modules.pop("mine_for_seewhy", None)

    def test_a_module_becomes_a_model(self):
        before = list(sys.path)
        model = open_model("mine_for_seewhy:make", classes=["cat", "dog"])
        assert sys.path == before
        assert model.name == "mine_for_seewhy:make"
        assert model.classes == ["cat", "dog"]
        assert model(model.prepare(picture()).pixels).shape == (1, 2)

    def test_a_model_stays_as_it_is(self):
        model = open_model("mine_for_seewhy:wrapped")
        assert (model.name, model.classes) == ("mine", ["cat", "dog"])

    def test_weights_are_put_in(self, tmp_path):
        net = open_model("mine_for_seewhy:make").net
        state = {f"module.{k}": torch.zeros_like(v) for k, v in net.state_dict().items()}
        torch.save(state, tmp_path / "zeros.pt")
        model = open_model("mine_for_seewhy:make", tmp_path / "zeros.pt")
        assert all((parameter == 0).all() for parameter in model.net.parameters())

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("mine_for_seewhy:mak", "did you mean make"),
            ("mine_for_seewy:make", "no module mine_for_seewy"),
            ("mine_for_seewhy.deeper:make", "no module mine_for_seewhy.deeper"),
            ("needs_more:make", "No module named 'absent_package_for_seewhy'"),
            ("wrong_syntax:make", "importing wrong_syntax raised SyntaxError"),
            ("mine_for_seewhy:broken", "raised ValueError: no luck today in broken ("),
            ("mine_for_seewhy:leaves", "raised SystemExit: 3 in leaves ("),
            ("mine_for_seewhy:number", "returned int; expected a torch.nn.Module"),
            ("mine_for_seewhy:net", "is a Sequential, not a function"),
            ("mine_for_seewhy:", "expected package.module:function"),
            (":make", "expected package.module:function"),
        ],
    )
    def test_what_goes_wrong_is_said(self, name, says):
        with pytest.raises(SeewhyError) as error:
            open_model(name)
        assert says in one_line(error)

    def test_random_weights_make_no_sense(self):
        with pytest.raises(SeewhyError, match="creates its own weights"):
            open_model("mine_for_seewhy:make", "random")


@pytest.mark.skipif(not REAL, reason="SEEWHY_REAL names no folder of real models and photos")
def test_real_photos_are_classified_right():
    real = Path(REAL or "")
    file = real / "models" / "squeezenet1_1_imagenet_fp16.safetensors"
    model = open_model("torchvision/squeezenet1_1", file)
    assert isinstance(model, Model)
    assert next(model.net.parameters()).dtype == torch.float32
    entries = json.loads((real / "images" / "imagenet_classes.json").read_text())
    index_of = {entry["wnid"]: int(index) for index, entry in entries.items()}
    photos = sorted((real / "images" / "imagenet").glob("*.jpg"))[::12]
    labels = torch.tensor([index_of[photo.name.split("_")[0]] for photo in photos])
    with torch.no_grad():
        logits = model(model.prepare(photos).pixels)
    assert len(photos) >= 40
    top1 = (logits.argmax(1) == labels).float().mean().item()
    top5 = (logits.topk(5).indices == labels[:, None]).any(1).float().mean().item()
    assert top1 >= 0.5  # 61 % on all; two standard errors at 42 photos are 15 %
    assert top5 >= 0.72
    assert model.classes is not None
    assert model.classes[index_of["n01440764"]] == entries["0"]["name"]
