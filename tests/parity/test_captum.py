"""captum's attributions of the same function are ours."""

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import seewhy
from networks import normed
from seewhy.autodiff.rules import composites, linear
from seewhy.engine.recording import INPUT, Request, recorded
from seewhy.perturbation.baselines import baseline
from seewhy.support.settings import Settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the import alone
    attr = pytest.importorskip("captum.attr")
    rules = pytest.importorskip("captum.attr._utils.lrp_rules")

# captum says so every time that it sets its hooks or asks for the gradient of an input.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU activations:UserWarning"),
    pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require grad:UserWarning"),
    pytest.mark.filterwarnings("ignore:Setting forward, backward hooks:UserWarning"),
]


def test_gradient(subject, close: Callable):
    ours = seewhy.explain(subject.model, subject.pixels, "gradient", subject.target)
    saliency = attr.Saliency(subject.foreign)
    theirs = saliency.attribute(subject.exact, subject.target, abs=False)
    close(ours.attribution, theirs)
    close(ours.heatmap, theirs.abs().amax(1))


def test_input_x_gradient_from_black(subject, close: Callable):
    """captum has no baseline there: it compares with pixels of zero."""
    ours = seewhy.explain(
        subject.model, subject.pixels, "input-x-gradient", subject.target, baseline="black"
    )
    theirs = attr.InputXGradient(subject.foreign).attribute(subject.exact, subject.target)
    close(ours.attribution, theirs)


def test_input_x_gradient_on_normalised_pixels(subject, close: Callable):
    """Our default baseline is the zero of the normalised pixels."""
    ours = seewhy.explain(subject.model, subject.pixels, "input-x-gradient", subject.target)
    normalised = (subject.exact - subject.foreign.mean) / subject.foreign.std
    theirs = attr.InputXGradient(subject.foreign.net).attribute(normalised, subject.target)
    close(ours.attribution, theirs)


@pytest.mark.parametrize("steps", [3, 12])
def test_integrated_gradients(subject, close: Callable, steps: int):
    ours = seewhy.explain(
        subject.model, subject.pixels, "integrated-gradients", subject.target, steps=steps
    )
    theirs, delta = attr.IntegratedGradients(subject.foreign).attribute(
        subject.exact,
        subject.baseline,
        subject.target,
        n_steps=steps,
        method="gausslegendre",
        internal_batch_size=16,
        return_convergence_delta=True,
    )
    close(ours.attribution, theirs)
    values = subject.foreign(subject.exact).detach().gather(1, ours.target[:, None])[:, 0]
    at_start = subject.foreign(subject.baseline).detach().gather(1, ours.target[:, None])[:, 0]
    rise = values - at_start
    assert ours.residual is not None
    assert ours.residual.tolist() == pytest.approx((delta / rise).abs().tolist(), abs=1e-3)


def test_guided_backprop(subject, close: Callable):
    ours = seewhy.explain(subject.model, subject.pixels, "guided-backprop", subject.target)
    theirs = attr.GuidedBackprop(subject.foreign).attribute(subject.exact, subject.target)
    close(ours.attribution, theirs)


def test_deconvnet(subject, close: Callable):
    ours = seewhy.explain(subject.model, subject.pixels, "deconvnet", subject.target)
    theirs = attr.Deconvolution(subject.foreign).attribute(subject.exact, subject.target)
    close(ours.attribution, theirs)


def test_grad_cam(subject, close: Callable):
    ours = seewhy.explain(subject.model, subject.pixels, "grad-cam", subject.target, relu=False)
    assert ours.provenance.layer == subject.layer and ours.provenance.layer_chosen
    grad_cam = attr.LayerGradCam(subject.foreign, subject.foreign_layer)
    theirs = grad_cam.attribute(subject.exact, subject.target, attr_dim_summation=False)
    close(ours.attribution, theirs)


# LRP: captum asks for modules, each with the rule that it is given


def rectified(seed: int, bias: bool = True) -> nn.Sequential:
    """Convolutions, rectifiers, pools and dense layers, one after the other, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, bias=bias), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, stride=2, bias=bias), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
            nn.Linear(32, 12), nn.ReLU(), nn.Linear(12, 5),
        ).double().eval()  # fmt: skip


def pictures(seed: int) -> Tensor:
    """Two fixed pictures: with an epsilon of 1e-9, denominators near zero amplify rounding."""
    return torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(seed))


def their_lrp(net: nn.Sequential, rule: Callable, pixels: Tensor, target: list[int]) -> Tensor:
    net = copy.deepcopy(net)
    for module in net:
        if isinstance(module, nn.Conv2d):
            module.rule = rule()
        elif not isinstance(module, nn.ReLU):
            module.rule = rules.EpsilonRule(1e-9)
    return attr.LRP(net).attribute(pixels.double(), target)


def zero_to_one(net: nn.Module) -> seewhy.Model:
    """Pixels as they are: no channel is negative."""
    return seewhy.Model(net, mean=[0.0] * 3, std=[1.0] * 3)


@pytest.mark.parametrize("seed", range(3))
def test_lrp_epsilon(seed: int, close: Callable):
    net, pixels, target = rectified(seed), pictures(seed), [1, 4]
    ours = seewhy.explain(zero_to_one(net), pixels, "lrp-epsilon", target, epsilon=1e-9)
    close(ours.attribution, their_lrp(net, lambda: rules.EpsilonRule(1e-9), pixels, target))


# Where inputs are not negative, rectifiers follow, and convolutions have no bias, two more of
# captum's rules are ours: it does not treat a bias as one more weight.


@pytest.mark.parametrize("seed", range(3))
def test_lrp_gamma(seed: int, close: Callable):
    net, pixels, target = rectified(seed, bias=False), pictures(seed), [1, 4]
    gamma = composites.composite(
        "gamma for convolutions",
        [
            (composites.is_convolution, linear.gamma(0.25, 1e-9)),
            (composites.always, linear.epsilon(1e-9)),
        ],
    )
    requests = [Request(INPUT, gamma)]
    with recorded(zero_to_one(net), pixels, requests, target, Settings()) as recording:
        ours, _ = recording.relevance(INPUT, gamma)
    close(ours.float(), their_lrp(net, lambda: rules.GammaRule(0.25), pixels, target))


@pytest.mark.parametrize("seed", range(3))
def test_lrp_z_plus(seed: int, close: Callable):
    net, pixels, target = rectified(seed, bias=False), pictures(seed), [1, 4]
    ours = seewhy.explain(zero_to_one(net), pixels, "lrp-epsilon-plus", target, epsilon=1e-9)
    close(ours.attribution, their_lrp(net, rules.Alpha1_Beta0_Rule, pixels, target))


# DeepLIFT. captum has its own rule for a maximum pool only where no rectifier stands right before
# it, and only where windows do not overlap; elsewhere its contributions do not add up.


class Residual(nn.Module):
    """A block whose rectifiers are used once and not in place."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1, self.norm2 = normed(channels), normed(channels)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu2(self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x))))) + x)


def head(inputs: int) -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(inputs, 12), nn.ReLU(), nn.Linear(12, 5)]


FOR_DEEP_LIFT: dict[str, Callable[[], list[nn.Module]]] = {
    "small": lambda: [
        nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(648, 4), nn.ReLU(),
    ],
    "vgg-like": lambda: [
        nn.Conv2d(3, 6, 3, padding=1), normed(6), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1), normed(8), nn.ReLU(), nn.AvgPool2d(2), *head(200),
    ],
    "resnet-like": lambda: [
        nn.Conv2d(3, 6, 5, 2), normed(6), nn.ReLU(), Residual(6), Residual(6),
        nn.AdaptiveAvgPool2d(2), *head(24),
    ],
    "maximum pools": lambda: [
        nn.Conv2d(3, 6, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(2), *head(32),
    ],
    "other activations": lambda: [
        nn.Conv2d(3, 6, 3), nn.Tanh(), nn.Conv2d(6, 6, 3, 2), nn.Sigmoid(), nn.Conv2d(6, 6, 3),
        nn.Softplus(), nn.Conv2d(6, 6, 3), nn.ELU(), nn.AdaptiveAvgPool2d(2), nn.LeakyReLU(),
        *head(24),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", FOR_DEEP_LIFT)
def test_deep_lift(name: str, close: Callable):
    """The reference is the blurred picture: flat ones leave open where a maximum was."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        net = nn.Sequential(*FOR_DEEP_LIFT[name]()).double().eval()
        pixels, target = torch.rand(2, 3, 20, 20).double(), [1, 3]
    model = zero_to_one(net)
    ours = seewhy.explain(model, pixels, "deep-lift", target, baseline="blur")
    theirs, missing = attr.DeepLift(net).attribute(
        pixels, baseline("blur", model, pixels), target, return_convergence_delta=True
    )
    assert float(missing.abs().max()) < 1e-6  # captum is right here
    close(ours.attribution, theirs)
    assert float(ours.residual.max()) < 1e-10
