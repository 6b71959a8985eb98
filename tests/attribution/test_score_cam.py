"""Score-CAM against a float64 loop over channels, and against pytorch-grad-cam."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import seewhy
from networks import NETWORKS, as_model, normed
from seewhy.attribution.methods.score_cam import MapMasks
from seewhy.errors import SeewhyError

MEAN = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1).double()


def stretched(map_: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    if map_.min() == map_.max():
        return torch.zeros(size, dtype=map_.dtype)
    whole = F.interpolate(map_[None, None], size, mode="bilinear", align_corners=align_corners)
    return ((whole - whole.min()) / (whole.max() - whole.min()))[0, 0]


def slowly(
    model: seewhy.Model, layer: str, pixels: Tensor, target: int, probability: bool, corners: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return one picture's maps, the score of each masked picture, and that of the mean colour."""
    maps = seewhy.capture(model, pixels[None], [layer])[layer][0]

    def score(masked: Tensor) -> Tensor:
        logits = model(masked)[0]
        return (logits.softmax(0) if probability else logits)[target].detach()

    size = (pixels.shape[1], pixels.shape[2])
    scores = []
    for map_ in maps:
        mask = stretched(map_, size, corners)
        scores.append(score(mask * pixels[None] + (1 - mask) * MEAN))
    return maps, torch.stack(scores), score(MEAN.expand(1, 3, *size))


@pytest.mark.parametrize("weighting", ["score", "increase", "softmax"])
@pytest.mark.parametrize("score", ["probability", "logit"])
@pytest.mark.parametrize(
    ("network", "layer"), [("batch_norm", "5"), ("odd_size", "5"), ("hidden_layer", "0")]
)
def test_weights_are_scores_of_masked_pictures(
    network: str, layer: str, score: str, weighting: str
):
    case = NETWORKS[network]
    net, pixels = case.build().double(), case.pixels().double()
    e = seewhy.explain(
        as_model(net), pixels, "score-cam", [0, 4, 2],
        layer=layer, score=score, weighting=weighting, relu=False,
    )  # fmt: skip
    for i, target in enumerate([0, 4, 2]):
        maps, scores, hidden = slowly(
            as_model(net), layer, pixels[i], target, score == "probability", False
        )
        weights = {
            "score": scores,
            "increase": scores - hidden,
            "softmax": scores.exp() / scores.exp().sum(),
        }[weighting]
        expected = torch.stack([w * a for w, a in zip(weights, maps, strict=True)])
        torch.testing.assert_close(e.attribution[i].double(), expected, rtol=1e-4, atol=1e-7)


class HalfDead(nn.Module):
    """A network with channels that are zero, constant, or zero only for dark pictures."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.dead = nn.Hardtanh(-100, 100)
        self.fc = nn.Linear(6, 5)
        with torch.no_grad():
            self.conv.weight[:2] = 0
            self.conv.bias[0], self.conv.bias[1] = -1.0, 0.7

    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv(x).relu()
        bright = (x.mean((1, 2, 3), keepdim=True) > 0).to(maps)
        maps = self.dead(torch.cat([maps[:, :2], maps[:, 2:3] * bright, maps[:, 3:]], 1))
        return self.fc(maps.mean((2, 3)))


def half_dead() -> tuple[nn.Module, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        net, pixels = HalfDead().double().eval(), torch.rand(2, 3, 12, 12).double()
    pixels[1] *= 0.3
    return net, pixels


def test_maps_that_show_nothing_share_a_forward():
    net, pixels = half_dead()
    model = as_model(net)
    e = seewhy.explain(model, pixels, "score-cam", 1, layer="dead", relu=False)
    for i, alive in enumerate([4, 3]):
        maps, scores, _ = slowly(model, "dead", pixels[i], 1, True, False)
        assert int(((maps.amax((1, 2)) - maps.amin((1, 2))) > 0).sum()) == alive
        expected = scores[:, None, None] * maps
        torch.testing.assert_close(e.attribution[i].double(), expected, rtol=1e-4, atol=1e-7)
        one = seewhy.explain(model, pixels[i, None], "score-cam", 1, layer="dead")
        # The recorded pass, one that hides everything, and one per live channel; batches are full,
        # so nothing else is run.
        assert one.cost.forwards == 2 + alive


def test_masks_are_stretched_and_the_first_hides_everything():
    maps = torch.rand(2, 5, 4, 4, generator=torch.Generator().manual_seed(0)) - 0.5
    maps[0, 3], maps[1, :2] = 0.0, 3.0
    masks = MapMasks(maps, (9, 9), False)
    assert masks.needed.tolist() == [5, 4] and masks.count == 5
    whole = masks.of(range(5))
    assert bool((whole[:, 0] == 0).all()) and bool((whole[1, 4] == 0).all())
    for picture, alive in enumerate([[0, 1, 2, 4], [2, 3, 4]]):
        for n, channel in enumerate(alive, start=1):
            torch.testing.assert_close(
                whole[picture, n, 0], stretched(maps[picture, channel], (9, 9), False)
            )
    torch.testing.assert_close(masks.of(range(2, 4)), whole[:, 2:4])


def test_several_questions_cost_one_pass():
    case = NETWORKS["batch_norm"]
    e = seewhy.explain(case.model(), case.pixels(), "score-cam", seewhy.each(0, 1))
    for i, target in enumerate([0, 1]):
        one = seewhy.explain(case.model(), case.pixels(), "score-cam", target)
        torch.testing.assert_close(e.heatmap[3 * i : 3 * i + 3], one.heatmap)
    assert e.cost.shared >= e.cost.forwards / 2


def test_as_pytorch_grad_cam_has_it():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library = pytest.importorskip("pytorch_grad_cam")
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = nn.Sequential(
            nn.Conv2d(3, 12, 5, 2), normed(12), nn.ReLU(), nn.Conv2d(12, 10, 3), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(40, 5),
        ).double().eval()  # fmt: skip
        pixels = torch.rand(2, 3, 32, 40).double()
    model = as_model(net)
    normal = model.normalised(pixels)
    targets = [ClassifierOutputTarget(3), ClassifierOutputTarget(1)]
    with library.ScoreCAM(model=net, target_layers=[net[4]]) as cam:
        (activations,) = [net[:5](normal).detach()]
        theirs = cam.get_cam_image(normal, net[4], targets, activations.numpy(), None)
    ours = seewhy.explain(
        model, pixels, "score-cam", [3, 1],
        layer="4", score="logit", weighting="softmax", align_corners=True,
    )  # fmt: skip
    torch.testing.assert_close(
        ours.attribution.sum(1).double(), torch.from_numpy(theirs).double(), rtol=1e-4, atol=1e-6
    )


def test_unknown_weightings_are_refused():
    with pytest.raises(SeewhyError, match="weighting"):
        seewhy.explain(as_model(nn.Conv2d(3, 5, 1)), torch.rand(1, 3, 8, 8), "score-cam",
                       weighting="scores")  # fmt: skip
