"""Calls to the peer libraries, as their users write them, without in-place rectifiers."""

import warnings
from collections.abc import Callable, Mapping
from functools import partial

import torch
import zennit.composites
from captum import attr as captum
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, XGradCAM
from pytorch_grad_cam.base_cam import BaseCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.torchvision import ResNetCanonizer

SAMPLES, STEPS, NOISE = 25, 32, 0.15


def captum_calls(
    net: nn.Module, layer: nn.Module, x: Tensor, target: Tensor
) -> Mapping[str, Callable[[], Tensor]]:
    """Return captum's counterparts of our methods, by our names; captum has no CAM.

    Its batch sizes are limited to that of ours: unlimited ones need tens of gigabytes.
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
        "deep-lift": lambda: quiet(captum.DeepLift(net).attribute, x, None, target),
    }


def cam_calls(
    net: nn.Module, layer: nn.Module, x: Tensor, target: Tensor
) -> Mapping[str, Callable[[], Tensor]]:
    """Return pytorch-grad-cam's methods, by our names; its maps are scaled to [0, 1]."""
    targets = [ClassifierOutputTarget(int(t)) for t in target]

    def run(method: type[BaseCAM]) -> Tensor:
        with method(model=net, target_layers=[layer]) as cam:
            return torch.from_numpy(cam(input_tensor=x, targets=targets))

    methods = {
        "grad-cam": GradCAM,
        "grad-cam++": GradCAMPlusPlus,
        "xgrad-cam": XGradCAM,
        "hires-cam": HiResCAM,
        "layer-cam": LayerCAM,
    }
    return {name: partial(run, method) for name, method in methods.items()}


def zennit_calls(net: nn.Module, x: Tensor, target: Tensor) -> Mapping[str, Callable[[], Tensor]]:
    """Return zennit's composites, by our names, with the canonizer for the network."""
    resnet = any("BasicBlock" in type(m).__name__ or "Bottleneck" in type(m).__name__
                 for m in net.modules())  # fmt: skip
    canonizers = [ResNetCanonizer() if resnet else SequentialMergeBatchNorm()]
    low, high = torch.zeros_like(x), torch.ones_like(x)
    composites = {
        "lrp-epsilon-plus-flat": zennit.composites.EpsilonPlusFlat(canonizers=canonizers),
        "lrp-epsilon-gamma-box": zennit.composites.EpsilonGammaBox(
            low, high, canonizers=canonizers
        ),
    }

    def run(composite: zennit.core.Composite) -> Tensor:
        pixels = x.clone().requires_grad_()
        with composite.context(net) as modified:
            logits = modified(pixels)
            seed = torch.zeros_like(logits)
            rows = torch.arange(len(target))
            seed[rows, target] = logits[rows, target].detach()
            return torch.autograd.grad(logits, pixels, seed)[0]

    return {name: partial(run, composite) for name, composite in composites.items()}


def quiet(function: Callable[..., Tensor], *arguments: object) -> Tensor:
    """Call the function without captum's warning about hooks on the ReLUs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments)
