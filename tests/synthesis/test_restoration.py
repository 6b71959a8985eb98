"""Restoration with an untrained network: what it may change, when it stops, and what it gains."""

import pytest
import torch
import torch.nn.functional as F
from skimage.restoration import inpaint_biharmonic
from torch import nn
from torchvision.utils import save_image

import seewhy
from seewhy.errors import SeewhyError
from seewhy.scenes import examples, render
from seewhy.synthesis.deep_image_prior import DeepImagePrior
from seewhy.synthesis.hole_filling import more_hidden
from seewhy.synthesis.restoration import _Stopping
from seewhy.synthesis.smooth_fill import smooth_fill

SMALL = DeepImagePrior(channels=(8, 16), skips=8, inputs=8)


@pytest.fixture(scope="module")
def room() -> torch.Tensor:
    return render(examples(1)[0][1], 48).pixels[0]


@pytest.fixture(scope="module")
def hole() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(1, 48, 48, generator=generator) < 0.4).float()


def error(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).pow(2).mean())


@pytest.mark.parametrize("from_visible", [True, False])
def test_holes_are_filled_better_than_by_the_mean_and_the_rest_is_untouched(
    room, hole, from_visible
):
    settings = {"steps": 150, "prior": SMALL, "from_visible": from_visible}
    result = seewhy.inpaint(room, hole, **settings)
    visible = (hole == 0).expand_as(room)
    assert torch.equal(result.restored[visible], room[visible])
    mean = (room * (1 - hole)).sum((1, 2), keepdim=True) / (1 - hole).sum()
    filled = torch.where(hole > 0, mean, room)
    assert error(result.restored, room) < 0.3 * error(filled, room)
    assert torch.equal(result.restored, seewhy.inpaint(room, hole, **settings).restored)
    assert bool((result.given[~visible] == 0.5).all())


def test_a_smooth_fill_is_that_of_scikit_image(room, hole):
    """The same minimum but at the border, where scikit-image uses other differences."""
    ours = smooth_fill(room[None], 1 - hole[None], 200)[0]
    theirs = inpaint_biharmonic(
        (room * (1 - hole)).permute(1, 2, 0).numpy(), hole[0].numpy() > 0, channel_axis=-1
    )
    inside = (slice(None), slice(6, -6), slice(6, -6))
    theirs = torch.from_numpy(theirs).permute(2, 0, 1).float()
    apart = (ours - theirs)[inside].abs()
    assert float(apart.mean()) < 1e-3 and float(apart.max()) < 0.1
    scale = (theirs - room)[inside].abs().mean()
    assert float(apart.mean()) < 0.1 * float(scale)
    torch.testing.assert_close(ours * (1 - hole), room * (1 - hole))


def test_what_is_learned_adds_to_a_smooth_fill():
    """A texture of stripes: smooth fills blur it, the network sees how it goes on."""
    at = torch.arange(64).float()
    stripes = (0.5 + 0.4 * torch.sin(1.3 * at[:, None] + 0.9 * at)).expand(3, -1, -1)
    generator = torch.Generator().manual_seed(2)
    hole = (torch.rand(1, 64, 64, generator=generator) < 0.5).float()
    made = seewhy.inpaint(stripes, hole, steps=150).restored
    smooth = smooth_fill(stripes[None], 1 - hole[None])[0]
    assert error(made, stripes) < 0.5 * error(smooth, stripes)


def test_hidden_pixels_do_not_matter(room, hole):
    """Whatever lies under the mask, the result is the same."""
    other = torch.where(hole > 0, torch.rand_like(room), room)
    settings = {"steps": 5, "prior": SMALL}
    one, two = (seewhy.inpaint(picture, hole, **settings) for picture in (room, other))
    torch.testing.assert_close(one.restored, two.restored)


def test_noise_is_removed_before_it_is_fitted(room):
    noisy = (
        room + 0.12 * torch.randn(room.shape, generator=torch.Generator().manual_seed(1))
    ).clamp(0, 1)
    result = seewhy.denoise(noisy, steps=500, prior=DeepImagePrior(channels=(16, 32), rate=0.02))
    assert error(result.restored, room) < 0.5 * error(noisy, room)
    assert 0 < result.best <= len(result.loss)


def test_an_enlarged_picture_is_the_given_one_again_when_reduced(room):
    small = F.interpolate(room[None], (24, 24), mode="bicubic", antialias=True)[0].clamp(0, 1)
    result = seewhy.upscale(small, 2, steps=600, prior=DeepImagePrior(channels=(16, 32)))
    assert result.restored.shape == (3, 48, 48)
    again = F.interpolate(result.restored[None], (24, 24), mode="bicubic", antialias=True)[0]
    assert error(again, small) < 2e-3
    nearest = F.interpolate(small[None], (48, 48))[0]
    assert error(result.restored, room) < error(nearest, room)


def test_the_network_is_a_plain_one():
    """The rows of a batch, run as grouped convolutions, beside torch's modules one by one."""
    prior, size = DeepImagePrior(channels=(4,), skips=2, inputs=3), (3, 8, 8)
    parameters = prior.start(size, [1, 2])
    made = prior.picture(parameters, size)
    for row in range(2):
        weights = iter(p[row] for p in parameters)

        def block(x, kernel, stride=1, weights=weights):
            weight, bias, scale, shift = (next(weights) for _ in range(4))
            x = F.pad(x, (kernel // 2,) * 4, mode="reflect") if kernel > 1 else x
            x = F.conv2d(x, weight, bias, stride)
            norm = nn.BatchNorm2d(len(scale))
            norm.weight.data, norm.bias.data = scale, shift
            return F.leaky_relu(norm(x), 0.2)

        x = prior.noise(size)
        skip = block(x, 1)
        x = block(block(x, 3, 2), 3)
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = torch.cat([x, skip], 1)
        norm = nn.BatchNorm2d(6)
        norm.weight.data, norm.bias.data = next(weights), next(weights)
        x = block(block(norm(x), 3), 1)
        x = F.conv2d(x, next(weights), next(weights)).sigmoid()
        torch.testing.assert_close(made[row : row + 1], x, rtol=1e-4, atol=1e-5)


def test_more_is_hidden_in_the_shape_of_the_mask():
    hidden = torch.zeros(1, 1, 32, 32)
    hidden[..., 4:8, 4:20] = 1
    generator = torch.Generator().manual_seed(0)
    more = more_hidden(hidden, generator)
    assert float(more.sum()) == float(hidden.sum()) and not torch.equal(more, hidden)
    many = more_hidden(torch.ones(1, 1, 64, 64), generator)
    assert float(many.mean()) == pytest.approx(0.3, abs=0.03)


def test_the_stop_is_where_the_last_outputs_vary_least():
    stop, ended = _Stopping(), 0
    generator = torch.Generator().manual_seed(0)
    for step in range(4, 4000, 4):
        size = 0.01 + abs(step - 800) / 2000  # quiet around step 800
        made = size * torch.randn(1, 3, 8, 8, generator=generator)
        if stop.after(step, made, torch.full_like(made, step)):
            ended = step
            break
    assert 780 <= stop.step <= 900 and ended == stop.step + 200
    assert float(stop.picture[0, 0, 0, 0]) == stop.step


def test_a_large_picture_is_reduced_with_a_note(room, tmp_path):
    save_image(F.interpolate(room[None], (96, 60)), tmp_path / "a.png")
    mask = torch.zeros(1, 96, 60)
    mask[:, 40:50, 20:30] = 1
    save_image(mask, tmp_path / "m.png")
    result = seewhy.inpaint(
        tmp_path / "a.png", tmp_path / "m.png", longest=48, steps=2, prior=SMALL
    )
    assert result.restored.shape == (3, 48, 30) and "reduced from 96 x 60" in result.notes[0]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda x: seewhy.inpaint(x, torch.zeros(1, 48, 48)), "hides nothing"),
        (lambda x: seewhy.inpaint(x, torch.ones(1, 48, 48)), "hides everything"),
        (lambda x: seewhy.inpaint(x, torch.ones(1, 40, 48)), "make them equal"),
        (lambda x: seewhy.inpaint(x, "nowhere.png"), "nowhere.png"),
        (lambda x: seewhy.denoise(x, steps=0), "steps must be"),
        (lambda x: seewhy.denoise(x, seed=-1), "the seed must be"),
        (lambda x: seewhy.denoise(x, longest=2), "longest must be"),
        (lambda x: seewhy.upscale(x, 1), "the factor must be"),
        (lambda x: seewhy.upscale(x, 20), "allow more with longest"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(room, call, says):
    with pytest.raises(SeewhyError, match=says):
        call(room)
