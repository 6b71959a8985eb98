"""Networks with other inputs and outputs than one picture and class logits."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import seewhy
from seewhy import SeewhyError
from seewhy.models.adapter import Adapter

PIXELS = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))
PLAIN = {"mean": 0.0, "std": 1.0}


class Body(nn.Module):
    """Convolutions, batch normalisation and a head; subclasses say what goes in and comes out."""

    def __init__(self, channels: int = 3, classes: int = 4):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.conv1, self.bn1 = nn.Conv2d(channels, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)
            self.conv2 = nn.Conv2d(8, 6, 3, padding=1)
            self.fc = nn.Linear(6, classes)
            self.bn1.running_mean.uniform_(-0.1, 0.1)
        self.eval()

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.bn1(self.conv1(x)))))

    def head(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).mean((2, 3)))

    def forward(self, x: Tensor):
        return self.head(x)


class WithMetadata(Body):
    def forward(self, x: Tensor, age: Tensor, scale: float = 1.0):
        return self.head(x) * age * scale


class TextFirst(Body):
    def forward(self, input_ids: Tensor, pixel_values: Tensor):
        return self.head(pixel_values) @ self.fc.weight[:, :4] * input_ids.sum()


@dataclass
class Found:
    boxes: Tensor
    kinds: Tensor


class SeveralOutputs(Body):
    def __init__(self, form: str):
        super().__init__()
        self.form = form

    def forward(self, x: Tensor):
        logits = self.head(x)
        first = torch.zeros(len(x), 7)
        match self.form:
            case "tuple":
                return first, logits
            case "mapping":
                return {"boxes": first, "kinds": logits}
            case "dataclass":
                return Found(first, logits)
            case _:
                return SimpleNamespace(boxes=first, kinds=logits)


class Ending(Body):
    def __init__(self, end: Callable[[Tensor], Tensor], classes: int = 4):
        super().__init__(classes=classes)
        self.end = end

    def forward(self, x: Tensor):
        return self.end(self.head(x))


class Segmenting(Body):
    def __init__(self, stride: bool = False):
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor):
        maps = self.fc(self.features(x).movedim(1, -1)).movedim(-1, 1)
        return {"out": maps if self.stride else F.interpolate(maps, x.shape[-2:], mode="bilinear")}


def own(net: nn.Module, *others) -> Callable[[Tensor], Tensor]:
    """The gradient of the largest logit by autograd alone."""

    def gradient(call: Callable[[Tensor], Tensor]) -> Tensor:
        pixels = PIXELS.clone().requires_grad_()
        (found,) = torch.autograd.grad(call(pixels).amax(1).sum(), pixels)
        return found

    return gradient


# Further inputs


@pytest.mark.parametrize("inputs", [{"age": torch.tensor([[2.0]])}, (torch.tensor([[2.0]]),)])
def test_other_inputs_are_held_fixed(inputs):
    net = WithMetadata()
    model = seewhy.Model(net, inputs=inputs, **PLAIN)
    e = seewhy.explain(model, PIXELS, "gradient")
    expected = own(net)(lambda x: net(x, torch.tensor([[2.0]])))
    torch.testing.assert_close(e.attribution, expected, rtol=1e-4, atol=1e-6)
    assert "conv1" in model.layer_graph(PIXELS).layers, "layers keep their names"


@pytest.mark.parametrize("method", ["grad-cam", "lrp-epsilon", "deep-lift", "occlusion", "rise"])
def test_every_kind_of_method_runs_with_other_inputs(method: str):
    model = seewhy.Model(WithMetadata(), inputs={"age": torch.tensor([[1.0]])}, **PLAIN)
    options = {"masks": 8} if method == "rise" else {}
    e = seewhy.explain(model, PIXELS, method, **options)
    plain = seewhy.explain(seewhy.Model(Body(), **PLAIN), PIXELS, method, **options)
    torch.testing.assert_close(e.heatmap, plain.heatmap, rtol=1e-3, atol=1e-5)


def test_the_picture_goes_to_the_argument_of_its_name():
    ids = torch.tensor([1, 2])
    net = TextFirst(classes=6)
    found = seewhy.Model(net, inputs={"input_ids": ids}, **PLAIN)(PIXELS)
    torch.testing.assert_close(found, net(ids, PIXELS))
    named = seewhy.Model(net, inputs={"input_ids": ids}, picture="pixel_values", **PLAIN)
    torch.testing.assert_close(named(PIXELS), found)


def test_a_missing_input_is_named():
    with pytest.raises(SeewhyError, match=r"WithMetadata needs further inputs \(age\); give them"):
        seewhy.explain(seewhy.Model(WithMetadata(), **PLAIN), PIXELS, "gradient")


def test_the_network_is_left_as_it_was():
    net = WithMetadata().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    model = seewhy.Model(net, inputs={"age": torch.tensor([[1.0]])}, **PLAIN)
    seewhy.explain(model, PIXELS, "grad-cam")
    assert net.training and net.conv1.training and list(net._modules) == list(Body()._modules)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.requires_grad for p in net.parameters())


def test_batch_normalisation_is_folded_inside_an_adapter():
    from seewhy.engine.inference import prepare
    from seewhy.models.session import borrowed

    model = seewhy.Model(WithMetadata(), inputs={"age": torch.tensor([[1.0]])}, **PLAIN)
    with borrowed(model.net):
        assert prepare(model, PIXELS).folded == 1


# Outputs


@pytest.mark.parametrize(
    ("form", "output"),
    [
        ("tuple", 1),
        ("mapping", "kinds"),
        ("dataclass", "kinds"),
        ("object", "kinds"),
        ("tuple", lambda outputs: outputs[1]),
    ],
)
def test_one_output_is_chosen(form: str, output):
    net = SeveralOutputs(form)
    model = seewhy.Model(net, output=output, **PLAIN)
    torch.testing.assert_close(model(PIXELS), net.head(PIXELS))
    e = seewhy.explain(model, PIXELS, "gradient")
    torch.testing.assert_close(e.attribution, own(net)(net.head), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("form", "output", "words"),
    [
        ("mapping", "kind", "did you mean kinds"),
        ("tuple", 2, "2 outputs"),
        ("dataclass", "scores", "boxes, kinds"),
        ("mapping", None, "output="),
    ],
)
def test_what_there_is_not_is_named(form: str, output, words: str):
    with pytest.raises(SeewhyError, match=words):
        seewhy.Model(SeveralOutputs(form), output=output, **PLAIN)(PIXELS)


def by_hand(logits: Tensor) -> Tensor:
    return logits.exp() / logits.exp().sum(1, keepdim=True)


@pytest.mark.parametrize(
    ("end", "kind", "probability"),
    [
        (lambda z: z, "logits", lambda z: z.softmax(1)),
        (lambda z: z.softmax(1), "logits", lambda z: z.softmax(1)),
        (lambda z: z.sigmoid(), "multi-label", torch.sigmoid),
        (by_hand, "probabilities", by_hand),
    ],
)
def test_the_kind_of_outputs_is_found_out(end, kind: str, probability):
    net = Ending(end)
    e = seewhy.explain(seewhy.Model(net, **PLAIN), PIXELS, "gradient", 1)
    assert e.outputs == kind
    torch.testing.assert_close(e.class_scores, probability(net.head(PIXELS)).detach())
    wanted = end if kind == "probabilities" else (lambda z: z)
    pixels = PIXELS.clone().requires_grad_()
    (expected,) = torch.autograd.grad(wanted(net.head(pixels))[:, 1].sum(), pixels)
    torch.testing.assert_close(e.attribution, expected, rtol=1e-4, atol=1e-6)


def test_a_probability_is_explained_if_asked_for():
    net = Ending(lambda z: z.softmax(1))
    model = seewhy.Model(net, outputs="probabilities", **PLAIN)
    e = seewhy.explain(model, PIXELS, "gradient", 1)
    pixels = PIXELS.clone().requires_grad_()
    (expected,) = torch.autograd.grad(net(pixels)[:, 1].sum(), pixels)
    torch.testing.assert_close(e.attribution, expected, rtol=1e-4, atol=1e-6)


def test_a_multi_label_network_is_declared():
    net = Body()
    e = seewhy.explain(seewhy.Model(net, outputs="multi-label", **PLAIN), PIXELS, "gradient", 1)
    torch.testing.assert_close(e.probabilities, net(PIXELS)[:, 1].sigmoid().detach())
    assert e.save.__self__ is e and "multi-label" in str(e.to_dict())


def test_a_network_without_a_classifier_has_features():
    net = Body()
    net.num_classes = 0
    with pytest.raises(SeewhyError, match="no classifier"):
        seewhy.explain(seewhy.Model(net, **PLAIN), PIXELS, "gradient")
    tower = seewhy.Model(net, outputs="features", **PLAIN)
    text = torch.tensor([0.5, -1.0, 0.0, 2.0])
    e = seewhy.explain(tower, PIXELS, "gradient", seewhy.direction("output", text, "a mug"))
    pixels = PIXELS.clone().requires_grad_()
    (expected,) = torch.autograd.grad((net(pixels) @ text).sum(), pixels)
    torch.testing.assert_close(e.attribution, expected, rtol=1e-4, atol=1e-6)
    assert e.target_names == ["a mug", "a mug"]


# Segmentation


@pytest.mark.parametrize("small", [False, True])
def test_a_class_is_explained_where_it_is_predicted(small: bool):
    net = Segmenting(small)
    model = seewhy.Model(net, outputs="segmentation", classes=list("abcd"), **PLAIN)
    e = seewhy.explain(model, PIXELS, "gradient")
    pixels = PIXELS.clone().requires_grad_()
    maps = F.interpolate(net(pixels)["out"], (24, 24), mode="bilinear")
    labels = maps.argmax(1)
    scores = []
    for picture in range(2):
        best = int(labels[picture].flatten().bincount().argmax())
        scores.append((maps[picture, best] * (labels[picture] == best)).sum())
        assert e.target_names[picture].startswith("abcd"[best])
    (expected,) = torch.autograd.grad(sum(scores), pixels)
    torch.testing.assert_close(e.attribution, expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(e.score, torch.stack(scores).detach(), rtol=1e-4, atol=1e-4)


def test_a_class_at_a_pixel_in_a_region_and_under_a_mask():
    net = Segmenting()
    model = seewhy.Model(net, outputs="segmentation", classes=list("abcd"), **PLAIN)
    maps = net(PIXELS)["out"].detach()[0, 2]
    mask = np.zeros((24, 24), bool)
    mask[3:7, 8:9] = True
    for target, expected in [
        ("c@3,8", maps[3, 8]),
        ("c@3:7,8:9", maps[3:7, 8:9].sum()),
        ("output:2@3,8", maps[3, 8]),
        (seewhy.region("output:2", mask), maps[3:7, 8:9].sum()),
    ]:
        e = seewhy.explain(model, PIXELS[:1], "gradient", target)
        torch.testing.assert_close(e.score[0], expected, rtol=1e-4, atol=1e-5)


def test_a_map_of_classes_is_named():
    with pytest.raises(SeewhyError, match="outputs='segmentation'"):
        seewhy.Model(Segmenting(), **PLAIN)(PIXELS)


# Detection


class Detecting(Body):
    """One box for each picture, that of its brightest quarter, as torchvision's detectors say."""

    def forward(self, pictures: list[Tensor]):
        found = []
        for picture in pictures:
            scores = self.head(picture[None])[0].softmax(0)
            boxes = torch.tensor([[0.0, 0.0, 12.0, 12.0], [6.0, 6.0, 24.0, 24.0]])
            found.append({"boxes": boxes, "labels": torch.tensor([1, 2]), "scores": scores[1:3]})
        return found


def test_a_box_is_explained_by_its_gradient():
    net = Detecting()
    model = seewhy.detector(net, (6, 6, 24, 24), 2, name="detector")
    e = seewhy.explain(model, PIXELS, "gradient")
    pixels = PIXELS.clone().requires_grad_()
    score = net.head(pixels).softmax(1)[:, 2]
    (expected,) = torch.autograd.grad(score.sum(), pixels)
    torch.testing.assert_close(e.score, score.detach())
    torch.testing.assert_close(e.attribution, expected, rtol=1e-4, atol=1e-6)
    assert seewhy.explain(model, PIXELS[:1], "grad-cam").provenance.layer == "conv2"
    hidden = seewhy.explain(model, PIXELS[:1], "occlusion", window=8, stride=8)
    black = seewhy.black_box(seewhy.detection_score(net, (6, 6, 24, 24), 2))
    theirs = seewhy.explain(black, PIXELS[:1], "occlusion", window=8, stride=8)
    torch.testing.assert_close(hidden.heatmap, theirs.heatmap, rtol=1e-3, atol=1e-5)


# Channels


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 13])
@pytest.mark.parametrize("as_array", [False, True])
def test_any_number_of_channels(channels: int, as_array: bool):
    net = Body(channels)
    data = torch.rand(channels, 20, 26, generator=torch.Generator().manual_seed(0))
    model = seewhy.Model(net, mean=[0.4] * channels, std=[0.2] * channels, size=(16, 20))
    given = data.permute(1, 2, 0).numpy() if as_array and channels > 1 else data
    e = seewhy.explain(model, given, "input-x-gradient")
    assert e.attribution.shape == (1, channels, 16, 20)
    assert e.batch.pictures[0].pixels.shape == (3, 20, 26)
    assert e.show() is not None
    quick = "gradient,grad-cam,lrp-epsilon-gamma-box,occlusion,rise,lime"
    options = [seewhy.methods()[name] for name in quick.split(",")]
    panel = seewhy.compare(model, data, options)
    assert len(panel) == 6 and not panel.skipped


def test_a_photograph_is_no_satellite_picture():
    model = seewhy.Model(Body(5), mean=[0.4] * 5, std=[0.2] * 5)
    with pytest.raises(SeewhyError, match=r"5 channels.*tensor \[5, height, width\]"):
        seewhy.explain(model, torch.rand(3, 20, 20), "gradient")


def test_a_network_with_other_channels_says_so():
    with pytest.raises(SeewhyError, match=r"takes 5 channels, not 3; give seewhy.Model"):
        seewhy.explain(seewhy.Model(Body(5), **PLAIN), PIXELS, "gradient")


def test_volumes_are_refused():
    net = nn.Sequential(nn.Conv3d(3, 4, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(SeewhyError, match="takes volumes or videos"):
        seewhy.explain(seewhy.Model(net, **PLAIN), PIXELS, "gradient")


# What is recorded about preprocessing


def test_what_is_not_known_is_said():
    e = seewhy.explain(Body(), PIXELS, "gradient")
    assert any("nothing is known about the normalisation" in note for note in e.notes)
    assert "nothing is known" in e.summary()
    assert not seewhy.explain(seewhy.Model(Body(), **PLAIN), PIXELS, "gradient").notes


def test_timms_record_is_used():
    net = Body()
    net.pretrained_cfg = {
        "input_size": (3, 32, 32), "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6),
        "crop_pct": 0.8, "interpolation": "bicubic", "label_names": list("abcd"),
    }  # fmt: skip
    model = seewhy.Model(net)
    assert model.preparation == seewhy.Preparation((32, 32), 40, 3, "bicubic")
    assert model.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert model.classes == list("abcd") and "timm" in model.assumed[0]
    assert seewhy.Model(net, mean=0.5, std=0.5).mean.flatten().tolist() == [0.5] * 3
    assert seewhy.Model(net, size=24).preparation.size == (24, 24)


def test_presets_and_resizes():
    from torchvision.models import ResNet50_Weights

    model = seewhy.Model(Body(), preparation=ResNet50_Weights.DEFAULT.transforms())
    assert model.preparation.size == (224, 224) and model.preparation.resize == 232
    assert model.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert seewhy.Model(Body(), size=224, resize=256).preparation.resize == 256
    with pytest.raises(SeewhyError, match="preparation must be"):
        seewhy.Model(Body(), preparation="resnet50")


def test_transformers_say_what_their_outputs_are():
    net = Body()
    net.config = SimpleNamespace(
        id2label={0: "a", 1: "b", 2: "c", 3: "d"}, num_labels=4,
        problem_type="multi_label_classification",
    )  # fmt: skip
    model = seewhy.Model(net, **PLAIN)
    assert model.outputs == "multi-label" and model.classes == list("abcd")


def test_an_adapter_stands_for_its_network():
    net = Body()
    adapter = Adapter(net, choice=lambda y: y)
    assert dict(adapter.named_parameters()).keys() == dict(net.named_parameters()).keys()
    assert adapter.get_submodule("conv1") is net.conv1
    assert next(iter(adapter.modules())) is net
