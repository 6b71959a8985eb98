"""The peers' calls, as their users write them, on a network without in-place rectifiers."""

import warnings
from collections.abc import Callable, Mapping

import torch
from captum import attr as captum
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

SAMPLES, STEPS, NOISE = 25, 32, 0.15


def captum_calls(
    net: nn.Module, layer: nn.Module, x: Tensor, target: Tensor
) -> Mapping[str, Callable[[], Tensor]]:
    """captum's counterparts of our methods, by our names; it has no CAM.

    Its batches are bounded at as many pictures as ours: unbounded ones need tens of gigabytes.
    """
    x = x.clone().requires_grad_()
    noise = {"nt_samples": SAMPLES, "nt_samples_batch_size": 1, "stdevs": NOISE}
    steps = {"n_steps": STEPS, "internal_batch_size": len(x)}
    return {
        "gradient": lambda: captum.Saliency(net).attribute(x, target, abs=False),
        "input-x-gradient": lambda: captum.InputXGradient(net).attribute(x, target),
        "smoothgrad": lambda: captum.NoiseTunnel(captum.Saliency(net)).attribute(
            x, target=target, abs=False, nt_type="smoothgrad", **noise
        ),
        "integrated-gradients": lambda: captum.IntegratedGradients(net).attribute(
            x, target=target, **steps
        ),
        "deconvnet": lambda: quiet(captum.Deconvolution(net).attribute, x, target),
        "guided-backprop": lambda: quiet(captum.GuidedBackprop(net).attribute, x, target),
        "grad-cam": lambda: captum.LayerGradCam(net, layer).attribute(x, target),
    }


def grad_cam(net: nn.Module, layer: nn.Module, x: Tensor, target: Tensor) -> Callable[[], Tensor]:
    """pytorch-grad-cam's Grad-CAM; its maps are scaled to [0, 1]."""
    targets = [ClassifierOutputTarget(int(t)) for t in target]

    def run() -> Tensor:
        with GradCAM(model=net, target_layers=[layer]) as cam:
            return torch.from_numpy(cam(input_tensor=x, targets=targets))

    return run


def quiet(function: Callable[..., Tensor], *arguments: object) -> Tensor:
    """Call without captum's warning that it sets hooks on the rectifiers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments)
