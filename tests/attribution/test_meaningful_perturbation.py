"""Meaningful perturbation against a plain loop, and both games on a scene."""

import torch
import torch.nn.functional as F

import seewhy
from networks import NETWORKS, as_model
from seewhy.scenes import examples, render


def test_it_is_the_plain_loop_of_the_formula():
    model = as_model(NETWORKS["batch_norm"].build().double())
    pixels = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    steps, rate = 12, 0.1
    e = seewhy.explain(
        model, pixels, "meaningful-perturbation", target=2, baseline="black", steps=steps, jitter=2,
        seed=5,
    )  # fmt: skip
    shifts = torch.randint(5, (steps, 2), generator=torch.Generator().manual_seed(5)) - 2
    m = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    mean, square = torch.zeros(2, 3, 3, dtype=torch.float64)
    for t in range(steps):
        mask = F.interpolate(m[None, None], (24, 24), mode="bilinear")[0, 0]
        seen = (pixels.double() * mask).roll(shifts[t].tolist(), (-2, -1))
        rough = ((m[1:] - m[:-1]).abs() ** 3).sum() + ((m[:, 1:] - m[:, :-1]).abs() ** 3).sum()
        loss = model(seen).softmax(1)[0, 2] + 0.3 * (1 - m).mean() + 0.3 * rough / 9
        (g,) = torch.autograd.grad(loss, m)
        before = m.detach().clone()
        mean, square = 0.9 * mean + 0.1 * g, 0.99 * square + 0.01 * g**2
        n = t + 1
        change = (mean / (1 - 0.9**n)) / ((square / (1 - 0.99**n)).sqrt() + 1e-5)
        m = (before - rate * 0.1 ** (t / steps) * change).clamp(0, 1).requires_grad_()
    expected = 1 - F.interpolate(before[None, None], (24, 24), mode="bilinear")[0, 0]
    assert float(expected.std()) > 1e-4 and float(expected.mean()) < 0.6
    assert float((e.heatmap[0].double() - expected).abs().max()) < 1e-4


def test_both_games_find_the_object():
    scene = render(dict(examples())["mug"], 64)
    model = seewhy.open_model("scenes")
    for game in ("delete", "preserve"):
        e = seewhy.explain(model, scene.pixels, "meaningful-perturbation", "mug", game=game)
        inside = scene.masks["object"].reshape(1, 64, 64).float()
        share = float((e.heatmap * inside).sum() / e.heatmap.sum())
        assert share > 2 * float(inside.mean())


def test_masks_of_a_half_precision_network_are_learned_in_full():
    case = NETWORKS["batch_norm"]
    e = seewhy.explain(
        as_model(case.build().half()), case.pixels(), "meaningful-perturbation", steps=4
    )
    assert bool((e.heatmap.half().float() != e.heatmap).any())
