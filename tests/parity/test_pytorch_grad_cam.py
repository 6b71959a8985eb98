"""pytorch-grad-cam's maps of the same function are ours, before it rescales them."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import seewhy

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the import alone
    library = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget


def targets(subject: Any) -> list:
    return [ClassifierOutputTarget(index) for index in subject.target]


def their_map(cam: type, subject: Any, unit: float = 1.0) -> Tensor:
    """What `cam` makes of activation and gradient, the first measured in units of `unit`."""
    layer = subject.foreign_layer
    with cam(model=subject.foreign, target_layers=[layer]) as method:
        method.uses_gradients = True  # also for Eigen-CAM, which ignores what it is given
        method(input_tensor=subject.exact, targets=targets(subject))
        (activations,) = method.activations_and_grads.activations
        (gradients,) = method.activations_and_grads.gradients
        theirs = method.get_cam_image(
            subject.exact,
            layer,
            targets(subject),
            activations.numpy() / unit,
            gradients.numpy() * unit,
            eigen_smooth=False,
        )
    return torch.from_numpy(theirs)


@pytest.mark.parametrize(
    ("name", "cam"),
    [
        ("grad-cam", "GradCAM"),
        ("xgrad-cam", "XGradCAM"),
        ("hires-cam", "HiResCAM"),
        ("layer-cam", "LayerCAM"),
    ],
)
def test_gradient_cams(subject, close: Callable, name: str, cam: str):
    theirs = their_map(getattr(library, cam), subject)
    ours = seewhy.explain(subject.model, subject.pixels, name, subject.target, layer=subject.layer)
    close(ours.attribution.sum(1), theirs)


def test_grad_cam_plus_plus(subject, close: Callable):
    """Their 1e-6 in the denominator is not small beside squared gradients: in small units it is.

    The product of activation and gradient, and with it the map, does not depend on the unit.
    """
    theirs = their_map(library.GradCAMPlusPlus, subject, unit=1e6)
    ours = seewhy.explain(
        subject.model, subject.pixels, "grad-cam++", subject.target, layer=subject.layer
    )
    close(ours.attribution.sum(1), theirs)


def test_eigen_cam(subject, close: Callable):
    """They centre the maps, and leave the sign to chance."""
    theirs = their_map(library.EigenCAM, subject)
    ours = seewhy.explain(
        subject.model, subject.pixels, "eigen-cam", layer=subject.layer, centred=True
    )
    ours = ours.attribution.sum(1)
    sign = (ours * theirs).sum((1, 2), keepdim=True).sign()
    close(ours, theirs * sign)


def test_fullgrad(subject, close: Callable):
    """Of normalised pixels, as theirs is; they scale each channel.

    They add 1e-7 to the range by which they divide: not small beside the shares of the logit, so
    they explain a large multiple of it.
    """
    pixels = ((subject.exact - subject.foreign.mean) / subject.foreign.std).detach()
    large = [lambda logits, index=index: 1e6 * logits[index] for index in subject.target]
    maps: list[Tensor] = []
    with library.FullGrad(model=subject.foreign.net, target_layers=[]) as method:
        method.aggregate_multi_layers = lambda found: maps.append(torch.from_numpy(found[:, 0]))
        method(input_tensor=pixels, targets=large)
    ours = seewhy.explain(
        subject.model, subject.pixels, "fullgrad", subject.target, rescale="channel"
    )
    close(ours.heatmap, maps[0])
