"""Random transforms beside torchvision's, each picture's from a stream of its own."""

import pytest
import torch
import torchvision.transforms.functional as TF

from seewhy.errors import SeewhyError
from seewhy.synthesis.transforms import CROPS, NONE, ROBUST, Transforms


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def picture(height: int = 24, width: int = 32) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_nothing_changes_by_default():
    x = picture()
    assert NONE(x, generators(0)) is x
    torch.testing.assert_close(Transforms(jitter=0, noise=0)(x, generators(0)), x)


@pytest.mark.parametrize("seed", range(4))
def test_jitter_shifts_by_whole_pixels(seed):
    x = picture()
    view = Transforms(jitter=3)(x, generators(seed))
    shifts = [(i, j) for i in range(-3, 4) for j in range(-3, 4)]
    filled = {(i, j): TF.affine(x, 0, [j, i], 1, [0, 0], fill=[0.5]) for i, j in shifts}
    apart = {shift: float((view - other).abs().max()) for shift, other in filled.items()}
    assert min(apart.values()) < 1e-5


def test_rotation_and_scale_keep_angles_in_wide_pictures():
    """A square of another aspect ratio would be sheared."""
    x = torch.full((1, 1, 64, 128), 0.5)
    x[..., 24:40, 56:72] = 1
    turned = Transforms(rotation=45)
    for seed in range(200):  # look for a rotation close to 45 degrees
        g = generators(seed)[0]
        if float(torch.rand(1, 5, generator=g)[0, 1]) > 0.99:
            break
    view = turned(x, generators(seed))[0, 0] - 0.5
    rows, columns = (view > 0.25).nonzero().T
    height, width = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
    assert abs(height - width) <= 1 and 20 <= height <= 24  # a diamond of diagonal 16 sqrt 2
    assert float(view.sum()) == pytest.approx(128, rel=0.03)


@pytest.mark.parametrize("transforms", [ROBUST, CROPS, Transforms(noise=0.1)])
def test_a_picture_is_transformed_alike_alone_and_in_a_batch(transforms):
    x = picture().expand(3, -1, -1, -1)
    together = transforms(x, generators(5, 6, 7)).view(transforms.views, 3, 3, 24, 32)
    alone = transforms(x[:1], generators(6))
    torch.testing.assert_close(together[:, 1], alone.view(transforms.views, 3, 24, 32))
    assert not torch.equal(together[:, 0], together[:, 2])


def test_crops_are_parts_of_the_picture():
    ramp = torch.linspace(0, 1, 32).expand(1, 1, 24, 32)
    views = Transforms(crops=20, smallest=0.25, largest=0.25)(ramp, generators(0))
    assert views.shape == (20, 1, 24, 32)
    widths = views[:, 0, 12].amax(1) - views[:, 0, 12].amin(1)
    torch.testing.assert_close(widths, torch.full((20,), 0.25), atol=0.02, rtol=0)
    assert float(views.std(0).mean()) > 0.05


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"jitter": -1}, "jitter must be 0 or more"),
        ({"rotation": float("nan")}, "rotation must be"),
        ({"scale": 1}, "scale must be from 0 to below 1"),
        ({"crops": 2, "smallest": 0.5, "largest": 0.2}, "smallest <= largest"),
        ({"crops": 1.5}, "crops must be a whole number"),
    ],
)
def test_bad_settings(settings, says):
    with pytest.raises(SeewhyError, match=says):
        Transforms(**settings)
