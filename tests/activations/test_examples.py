"""Examples over the range of a unit, and the receptive field that their crops show."""

import pytest
import torch
from torch import nn
from torchvision.utils import save_image

import seewhy
from networks import NETWORKS
from seewhy.activations.receptive_field import receptive_field
from seewhy.errors import SeewhyError
from seewhy.scenes import render, sample


@pytest.fixture(scope="module")
def model() -> seewhy.Model:
    return seewhy.open_model("scenes")


@pytest.fixture(scope="module")
def rooms(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("rooms")
    for number, pixels in enumerate(render(sample(20, seed=5), 64).pixels):
        save_image(pixels, folder / f"{number:02}.png")
    (folder / "bad.png").write_text("no picture")
    return str(folder)


def test_the_order_is_that_of_a_loop(model, rooms):
    result = seewhy.examples(model, "stages.1:3", rooms, each=2, quantiles=[0.5], batch_size=3)
    peaks = {}
    for number in range(20):
        pixels = seewhy.load_picture(f"{rooms}/{number:02}.png").pixels[None]
        maps = seewhy.capture(model, pixels, ["stages.1"])["stages.1"]
        peaks[f"{number:02}.png"] = float(maps[0, 3].max())
    order = sorted(peaks, key=lambda name: -peaks[name])
    assert [source.rsplit("/", 1)[-1] for source in result.sources] == order
    torch.testing.assert_close(
        result.activation, torch.tensor([peaks[name] for name in order]), rtol=1e-4, atol=1e-5
    )
    assert result.groups == ("most active", "50% quantile", "least active")
    assert result.shown == ((0, 1), (9, 10), (18, 19))
    assert "bad.png" in result.left_out[0]
    assert result.crops.shape == (6, 3, 128, 128)


def test_a_crop_shows_what_the_unit_responded_to():
    """The unit finds a bright dot of one pixel; the crop is around it."""

    class Dots(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 1, 3, padding=1, bias=False)
            self.layer.weight.data.fill_(1)
            self.head = nn.Linear(1, 2)

        def forward(self, x):
            return self.head(self.layer(x).relu().mean((2, 3)))

    picture = torch.zeros(3, 96, 96)
    picture[:, 70, 20] = 1
    result = seewhy.examples(
        seewhy.Model(Dots(), mean=0, std=1), "layer:0", picture[None], each=1, quantiles=[]
    )
    assert result.field == (3, 3) and float(result.activation[0]) == pytest.approx(3)
    crop = result.crops[0].mean(0)
    row, column = divmod(int(crop.argmax()), 128)
    assert abs(row - 64) < 10 and abs(column - 64) < 10


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([nn.Conv2d(3, 4, 5, padding=2)], 5),
        ([nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)], 5),
        ([nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 4, 3, dilation=2)], 11),
        ([nn.Conv2d(3, 4, 7, stride=4), nn.MaxPool2d(3, 2), nn.Conv2d(4, 4, 1)], 15),
    ],
)
def test_the_receptive_field_is_that_of_the_formula(layers, expected):
    torch.manual_seed(0)
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    model = seewhy.Model(net, mean=0.5, std=0.5)
    assert receptive_field(model, str(len(layers) - 1), (64, 64)) == (expected, expected)


def test_attention_sees_the_whole_picture():
    case = next(c for name, c in NETWORKS.items() if "vit" in name)
    model = case.model()
    layer = model.find_layer(case.pixels(1))
    assert receptive_field(model, layer, case.shape[1:]) == case.shape[1:]


@pytest.mark.parametrize(
    ("unit", "settings", "says"),
    [
        ("stages.1", {}, "name a whole channel"),
        ("stages.1:3@2,2", {}, "name a whole channel"),
        ("stages.1:900", {}, "channels, counted from 0"),
        ("nowhere:3", {}, "unknown layer"),
        ("stages.1:3", {"each": 0}, "each must be"),
        ("stages.1:3", {"quantiles": [1.5]}, "quantiles must be"),
    ],
)
def test_bad_input_is_one_line(model, rooms, unit, settings, says):
    with pytest.raises(SeewhyError, match=says):
        seewhy.examples(model, unit, rooms, **settings)
