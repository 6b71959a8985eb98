"""Peak activations of channels in any number of pictures, of which few are in memory."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.transforms.functional import to_pil_image

import seewhy
from networks import NETWORKS
from seewhy.activations.exemplars import exemplars_of, find_exemplars
from seewhy.support.settings import Settings

SPOTS = [(3, 20), (12, 5), (16, 16), (25, 9), (30, 30)]  # row and column


class Reds(nn.Module):
    """A network whose channels are the red and the green of a picture."""

    def __init__(self):
        super().__init__()
        self.maps = nn.Conv2d(3, 2, 1, bias=False)
        self.maps.weight.data = torch.eye(3)[:2, :, None, None].clone()
        self.after = nn.Identity()
        self.batches: list[int] = []

    def forward(self, x):
        self.batches.append(len(x))
        return self.after(self.maps(x)).mean((2, 3))


def spotted() -> torch.Tensor:
    """Grey pictures with one red spot each; the fourth is the brightest."""
    pixels = torch.full((5, 3, 32, 32), 0.2)
    for i, ((row, column), bright) in enumerate(zip(SPOTS, (0.6, 0.7, 0.5, 0.9, 0.8), strict=True)):
        pixels[i, 0, row, column] = bright
    return pixels


def check(exemplars, channel: int = 0) -> None:
    assert exemplars.picture[:, channel].tolist() == [3, 4, 1]
    torch.testing.assert_close(exemplars.activity[:, channel], torch.tensor([0.9, 0.8, 0.7]))
    expected = torch.tensor([SPOTS[i] for i in (3, 4, 1)])
    torch.testing.assert_close(exemplars.place[:, channel] * 32 - 0.5, expected.float())


def test_peaks_of_a_batch():
    model = seewhy.Model(Reds())
    batch = model.prepare(spotted())
    exemplars = exemplars_of(batch.pixels[:, :2], batch, 3)
    check(exemplars)
    assert exemplars.picture[:, 1].tolist() == [0, 1, 2], "of equal ones the first"
    assert len(exemplars_of(batch.pixels, batch, 9)) == 5


@pytest.mark.parametrize("as_", ["tensor", "batch", "list", "generator", "folder", "paths"])
@pytest.mark.parametrize("batch_size", [1, 2, None])
def test_pictures_of_every_kind_in_batches(as_: str, batch_size: int | None, tmp_path: Path):
    model = seewhy.Model(Reds())
    pixels = spotted()
    for i, one in enumerate(pixels):
        to_pil_image(one).save(tmp_path / f"{i}.png")
    things = {
        "tensor": pixels,
        "batch": model.prepare(pixels),
        "list": list(pixels),
        "generator": (one for one in pixels),
        "folder": str(tmp_path),
        "paths": sorted(tmp_path.iterdir()),
    }[as_]
    told = []
    model.layer_graph(pixels[:1])
    model.choose_memory_format(pixels)
    model.net.batches.clear()
    exemplars = find_exemplars(
        model, things, "maps", 3, Settings(most=batch_size), lambda *done: told.append(done)
    )
    assert exemplars.picture[:, 0].tolist() == [3, 4, 1]
    torch.testing.assert_close(
        exemplars.activity[:, 0], torch.tensor([0.9, 0.8, 0.7]), atol=3e-3, rtol=0
    )
    assert max(model.net.batches, default=0) <= (batch_size or 16)
    assert told[-1] == (5, 5)
    torch.testing.assert_close(exemplars.look(3).pixels, pixels[3:4], atol=3e-3, rtol=0)
    if as_ in ("folder", "paths"):
        assert [Path(one).name for one in exemplars.sources] == [f"{i}.png" for i in range(5)]


def test_the_forward_ends_at_the_layer():
    net = Reds()
    model = seewhy.Model(net)
    find_exemplars(model, spotted()[:1], "maps", 1, Settings())
    calls = []
    net.maps.register_forward_hook(lambda *_: calls.append("maps"))
    net.after.register_forward_hook(lambda *_: calls.append("after"))
    find_exemplars(model, spotted(), "maps", 3, Settings(most=2))
    assert calls == ["maps"] * 3


def test_pictures_of_many_sizes_where_the_model_takes_any():
    pictures = [one[:, : 32 - i, : 32 - i // 2] for i, one in enumerate(spotted())]
    pictures[4] = spotted()[4]
    model = seewhy.Model(Reds())
    exemplars = find_exemplars(model, pictures, "maps", 3, Settings())
    assert exemplars.picture[:, 0].tolist() == [3, 4, 1]
    row, column = SPOTS[3]
    expected = torch.tensor([(row + 0.5) / 29, (column + 0.5) / 31])
    torch.testing.assert_close(exemplars.place[0, 0], expected)


def test_what_cannot_be_read_is_left_out(tmp_path):
    to_pil_image(spotted()[3]).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no picture")
    to_pil_image(spotted()[4]).save(tmp_path / "c.png")
    model = seewhy.Model(Reds())
    exemplars = find_exemplars(model, tmp_path, "maps", 3, Settings())
    assert exemplars.picture[:, 0].tolist() == [0, 2]
    assert len(exemplars.left_out) == 1 and "b.png" in exemplars.left_out[0]
    with pytest.raises(seewhy.SeewhyError, match=r"none of 2 photographs can be read: .*b.png"):
        find_exemplars(model, [tmp_path / "b.png"] * 2, "maps", 3, Settings())
    with pytest.raises(seewhy.SeewhyError, match="not a picture"):
        find_exemplars(model, tmp_path / "b.png", "maps", 3, Settings())
    for nothing in ([], torch.zeros(0, 3, 8, 8)):
        with pytest.raises(seewhy.SeewhyError, match="no photographs"):
            find_exemplars(model, nothing, "maps", 3, Settings())


def test_the_precision_is_that_of_the_explanation():
    model = seewhy.Model(Reds())
    fast = find_exemplars(model, spotted(), "maps", 1, Settings(precision="fast"))
    assert float(fast.activity[0, 0]) == float(torch.tensor(0.9).bfloat16())


@pytest.mark.parametrize("network", ["vit", "convnext_like", "batch_norm"])
def test_no_trace_is_left_on_a_network(network: str, unchanged):
    case = NETWORKS[network]
    net = case.build()
    model = seewhy.Model(net)
    with unchanged(net):
        exemplars = find_exemplars(
            model, case.pixels(3), model.find_layer(case.pixels()), 2, Settings()
        )
    assert exemplars.activity.shape[0] == 2


def test_memory_that_runs_out_is_survived_and_reported():
    class Small(Reds):
        def forward(self, x):
            if len(x) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(x)

    exemplars = find_exemplars(seewhy.Model(Small()), spotted(), "maps", 3, Settings())
    check(exemplars)
    assert exemplars.notes == ("memory ran out at batches of 16; went on with 2",)
    assert find_exemplars(seewhy.Model(Reds()), spotted(), "maps", 3, Settings()).notes == ()
