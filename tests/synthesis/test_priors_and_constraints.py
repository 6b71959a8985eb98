"""Penalties and constraints beside plain loops, and projections beside their definition."""

import numpy as np
import pytest
import torch
from skimage.restoration import denoise_tv_chambolle

from seewhy.synthesis.constraints import NormBall, VariationBall, WithinMask, variation
from seewhy.synthesis.penalties import AlphaNorm, Nearness, TotalVariation, penalty

ROWS = torch.arange(2)


def pictures(*size: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, *size, generator=generator, dtype=torch.double)


@pytest.mark.parametrize("beta", [1.0, 2.0, 3.0])
def test_total_variation_is_that_of_a_loop(beta):
    x = pictures(5, 7)
    for row in range(2):
        total = 0.0
        for i in range(4):
            for j in range(6):
                down = ((x[row, :, i + 1, j] - x[row, :, i, j]) ** 2).sum()
                across = ((x[row, :, i, j + 1] - x[row, :, i, j]) ** 2).sum()
                total += float(down + across) ** (beta / 2)
        found = TotalVariation(2.0, beta).of(x, ROWS)[row]
        assert float(found) == pytest.approx(2 * total / 24, rel=1e-4)


def test_norms_are_means():
    x, centre = pictures(4, 4), pictures(4, 4, seed=1)
    torch.testing.assert_close(
        AlphaNorm(3.0, 6).of(x, ROWS), 3 * ((2 * x - 1) ** 6).mean((1, 2, 3))
    )
    near = Nearness(centre, 2.0)
    torch.testing.assert_close(
        near.of(x[1:], torch.tensor([1])), 2 * ((x[1:] - centre[1:]) ** 2).mean((1, 2, 3))
    )
    both = penalty((AlphaNorm(1.0), near), x, ROWS)
    torch.testing.assert_close(both, AlphaNorm(1.0).of(x, ROWS) + near.of(x, ROWS))


def test_a_norm_ball_shrinks_to_its_surface_and_no_further():
    x, centre = pictures(6, 6), pictures(6, 6, seed=1)
    ball = NormBall(0.1, centre)
    found = ball.nearest(x, ROWS)
    distance = (found - centre).pow(2).mean((1, 2, 3)).sqrt()
    torch.testing.assert_close(distance, torch.full_like(distance, 0.1))
    torch.testing.assert_close(ball.nearest(found, ROWS), found)
    inside = centre + 0.01 * (x - centre)
    torch.testing.assert_close(ball.nearest(inside, ROWS), inside)


def test_outside_a_mask_nothing_changes():
    x, given = pictures(4, 4), pictures(4, 4, seed=1)
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1
    found = WithinMask(given, mask).nearest(x, ROWS)
    assert torch.equal(found[..., :2], x[..., :2]) and torch.equal(found[..., 2:], given[..., 2:])


def test_a_variation_ball_projects():
    """The nearest picture of the set: no other picture in it is closer."""
    x = pictures(12, 12)
    ball = VariationBall(0.15)
    found = ball.nearest(x, ROWS)
    assert bool((variation(found) <= 0.15 * 1.001).all())
    assert bool((variation(found) > 0.14).all()), "on the surface"
    distance = (found - x).pow(2).sum((1, 2, 3))
    for weight in np.linspace(0.05, 1.5, 15):  # denoised by another library, with many weights
        for row in range(2):
            other = denoise_tv_chambolle(
                x[row].numpy(), weight=weight, channel_axis=0, eps=1e-9, max_num_iter=500
            )
            other = torch.from_numpy(other)[None]
            if float(variation(other)[0]) <= 0.15:
                assert float((other - x[row]).pow(2).sum()) >= 0.995 * float(distance[row])
    flat = torch.full_like(x, 0.3)
    assert torch.equal(ball.nearest(flat, ROWS), flat)
