"""Image classifiers of transformers, from folders that the tests write, without network access."""

import numpy as np
import pytest
import torch
from PIL import Image

from seewhy.errors import SeewhyError
from seewhy.sources import open_model

transformers = pytest.importorskip("transformers")

NAMES = {0: "cat", 1: "dog", 2: "bird"}


def picture() -> Image.Image:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 255, (9, 13, 3), dtype="uint8"))
    return small.resize((260, 180), Image.Resampling.BICUBIC)


def vit_config():
    return transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        id2label=NAMES,
    )


def resnet():
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", id2label=NAMES
    )
    torch.manual_seed(0)
    return transformers.ResNetForImageClassification(config).eval()


@pytest.fixture
def vit_folder(tmp_path):
    torch.manual_seed(0)
    folder = tmp_path / "tiny-vit"
    transformers.ViTForImageClassification(vit_config()).save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def rescaled_to_minus_one():
    return transformers.EfficientNetImageProcessor(
        size={"height": 64, "width": 64}, rescale_factor=1 / 127.5, rescale_offset=True
    )


PROCESSORS = {
    "exact": lambda: transformers.ViTImageProcessor(size={"height": 48, "width": 64}),
    "convnext": lambda: transformers.ConvNextImageProcessor(size={"shortest_edge": 64}),
    "convnext-384": lambda: transformers.ConvNextImageProcessor(size={"shortest_edge": 384}),
    "efficientnet": rescaled_to_minus_one,
    "crop": lambda: transformers.BitImageProcessor(
        size={"shortest_edge": 64}, crop_size={"height": 56, "width": 56}
    ),
    "exact-then-crop": lambda: transformers.DeiTImageProcessor(
        size={"height": 64, "width": 64}, crop_size={"height": 56, "width": 56}
    ),
}


@pytest.mark.parametrize("kind", PROCESSORS)
def test_preprocessing_and_logits_are_its_own(tmp_path, kind):
    net, processor = resnet(), PROCESSORS[kind]()
    net.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    model = open_model(f"hf/{tmp_path}")
    assert model.classes == ["cat", "dog", "bird"]
    with torch.no_grad():
        expected = net(processor(picture(), return_tensors="pt")["pixel_values"]).logits
        logits = model(model.prepare(picture()).pixels)
    spread = expected.abs().max().item()
    torch.testing.assert_close(logits, expected, atol=0.005 * spread, rtol=0)


def test_a_processor_that_does_something_else_is_refused(tmp_path):
    resnet().save_pretrained(tmp_path)
    transformers.MobileViTImageProcessor(  # swaps red and blue
        size={"shortest_edge": 64}, crop_size={"height": 56, "width": 56}
    ).save_pretrained(tmp_path)
    with pytest.raises(SeewhyError, match="in a way that seewhy does not know"):
        open_model(f"hf/{tmp_path}")


def test_half_precision_weights_compute_in_full(tmp_path):
    net = resnet().half()
    net.save_pretrained(tmp_path)
    PROCESSORS["crop"]().save_pretrained(tmp_path)
    for weights in (None, "random"):
        model = open_model(f"hf/{tmp_path}", weights)
        assert {p.dtype for p in model.net.parameters()} == {torch.float32}


def test_random_weights_need_no_weights_file(vit_folder):
    (vit_folder / "model.safetensors").unlink()
    model = open_model(f"hf/{vit_folder}", "random")
    again = open_model(f"hf/{vit_folder}", "random")
    assert model.name.endswith("(random weights)")
    for a, b in zip(model.net.parameters(), again.net.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_file_of_weights_with_another_head(vit_folder, tmp_path):
    config = vit_config()
    config.num_labels = 5
    net = transformers.ViTForImageClassification(config)
    torch.save({"state_dict": net.state_dict()}, tmp_path / "five.pt")
    model = open_model(f"hf/{vit_folder}", tmp_path / "five.pt")
    assert model.classes is None
    assert torch.equal(model.net.classifier.weight, net.classifier.weight)
    assert model(model.prepare(picture()).pixels).shape == (1, 5)


def test_a_model_without_a_trained_head_is_refused_quietly(vit_folder, tmp_path, capfd):
    folder = tmp_path / "headless"
    transformers.ViTModel(vit_config()).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_bytes(
        (vit_folder / "preprocessor_config.json").read_bytes()
    )
    capfd.readouterr()
    with pytest.raises(SeewhyError, match=r"no trained image classifier: 2 tensors are missing"):
        open_model(f"hf/{folder}")
    assert capfd.readouterr().err == ""


def test_code_beside_the_weights_is_never_run(vit_folder, tmp_path):
    import json

    ran = tmp_path / "ran"
    config = json.loads((vit_folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config"}
    config["model_type"] = "unheard-of"
    (vit_folder / "config.json").write_text(json.dumps(config))
    (vit_folder / "evil.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    with pytest.raises(SeewhyError, match="configuration of hf/"):
        open_model(f"hf/{vit_folder}")
    assert not ran.exists()


@pytest.mark.parametrize("absent", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_an_incomplete_folder_is_named(vit_folder, absent):
    (vit_folder / absent).unlink()
    with pytest.raises(SeewhyError) as error:
        open_model(f"hf/{vit_folder}")
    assert str(vit_folder) in str(error.value)
    assert "\n" not in str(error.value)
    assert "save_pretrained" in str(error.value)


def test_a_folder_that_is_not_there_names_the_nearest(vit_folder):
    with pytest.raises(SeewhyError, match=r"did you mean tiny-vit\?"):
        open_model(f"hf/{vit_folder.parent}/tiny-vti")
    with pytest.raises(SeewhyError, match="must be followed by"):
        open_model("hf/")


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch):
    def offline(*_args, **_kwargs):
        raise OSError("We couldn't connect\nto the hub")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", offline)
    with pytest.raises(SeewhyError) as error:
        open_model("hf/owner/name")
    assert "couldn't connect to the hub" in str(error.value)
    assert "\n" not in str(error.value)


def test_without_transformers_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SeewhyError, match=r"pip install seewhy\[transformers\]"):
        open_model("hf/owner/name")
