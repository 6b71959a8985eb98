"""Activation maximisation beside other tools: picture-steps a second, and the activation reached.

    SEEWHY_REAL=FOLDER python -m benchmarks.visualization_speed [--channels 8] [--steps 64]

The same network (SqueezeNet), layer, size and number of steps for each, in one process:

    seewhy   `seewhy.visualize`, all channels in one batch, with its evidence
    lucent   its documented recipe as a plain loop, one channel at a time: Fourier coefficients in
             decorrelated colours, pad, jitter, random scale and rotation, jitter, Adam .05
    horama   `horama.fourier` (PyPI) at its defaults, one channel at a time: 6 crops a step

lucent itself does not run with today's kornia. The activation is the mean of the channel under the
transforms of `seewhy.synthesis.evidence`, which none of the three uses. Prints a line of JSON.
"""

import argparse
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision.transforms.functional as TF
from torch import Tensor

import seewhy
from benchmarks.visualizations import squeezenet
from seewhy.synthesis.colours import CORRELATION
from seewhy.synthesis.evidence import scores_of, unseen_views
from seewhy.synthesis.objective import Objective
from seewhy.targets.terms import unit

LAYER, SIDE = "features.8", 128
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def lucent(net: torch.nn.Module, channel: int, steps: int) -> Tensor:
    """Return the picture of lucent's recipe, [1, 3, h, w] in [0, 1]."""
    rows, columns = torch.fft.fftfreq(SIDE)[:, None], torch.fft.fftfreq(SIDE)[: SIDE // 2 + 1]
    frequency = (rows**2 + columns**2).sqrt().clamp_min(1 / SIDE)
    spectrum = (0.01 * torch.randn(1, 3, SIDE, SIDE // 2 + 1, 2)).requires_grad_()
    optimiser = torch.optim.Adam([spectrum], lr=0.05)
    found: list[Tensor] = []
    handle = net.get_submodule(LAYER).register_forward_hook(lambda *a: found.append(a[2]))

    def picture() -> Tensor:
        scaled = torch.view_as_complex(spectrum) / frequency
        waves = torch.fft.irfft2(scaled, s=(SIDE, SIDE), norm="ortho") / 4
        return torch.einsum("bchw,dc->bdhw", waves, CORRELATION).sigmoid()

    for _ in range(steps):
        optimiser.zero_grad()
        view = F.pad(picture(), (12,) * 4, value=0.5)
        view = _jittered(view, 8)
        scale = random.choice([1 + (i - 5) / 50 for i in range(11)])
        view = F.interpolate(view, scale_factor=scale, mode="bilinear", align_corners=False)
        view = TF.rotate(
            view, random.choice([*range(-10, 11), *[0] * 5]), TF.InterpolationMode.BILINEAR
        )
        view = _jittered(view, 4)
        view = F.interpolate(view, (SIDE, SIDE), mode="bilinear", align_corners=False)
        net((view - MEAN) / STD)
        (-found.pop()[:, channel].mean()).backward()
        optimiser.step()
    handle.remove()
    return picture().detach()


def _jittered(view: Tensor, by: int) -> Tensor:
    top, left = random.randrange(by), random.randrange(by)
    return view[..., top : view.shape[2] - by + top, left : view.shape[3] - by + left]


def horama(net: torch.nn.Module, channel: int, steps: int) -> Tensor:
    """Return Horama's picture, [1, 3, h, w] in [0, 1]."""
    from horama import fourier

    found: list[Tensor] = []
    handle = net.get_submodule(LAYER).register_forward_hook(lambda *a: found.append(a[2]))

    def objective(images: Tensor) -> Tensor:
        net(images)
        return found.pop()[:, channel].mean()

    image, _ = fourier(
        objective, total_steps=steps, image_size=SIDE, model_input_size=SIDE, device="cpu"
    )
    handle.remove()
    return (image.detach()[None] * STD + MEAN).clamp(0, 1)


def main() -> None:
    """Time all three and print what each reached."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--steps", type=int, default=64)
    arguments = parser.parse_args()
    model = squeezenet(Path(os.environ["SEEWHY_REAL"]))
    net = model.net.eval()
    for parameter in net.parameters():
        parameter.requires_grad_(requires_grad=False)
    generator = torch.Generator().manual_seed(1)
    count = model.layer_graph().layer(LAYER).channels
    channels = torch.randperm(count, generator=generator)[: arguments.channels].tolist()
    targets = [unit(f"{LAYER}:{channel}") for channel in channels]
    torch.manual_seed(0)
    random.seed(0)

    def ours() -> Tensor:
        return seewhy.visualize(
            model, [str(target) for target in targets], size=SIDE, steps=arguments.steps
        ).pictures

    def each(make: Callable[[torch.nn.Module, int, int], Tensor]) -> Callable[[], Tensor]:
        return lambda: torch.cat([make(net, channel, arguments.steps) for channel in channels])

    objective = Objective(model, targets, torch.full((1, 3, SIDE, SIDE), 0.5))
    said: dict[str, dict[str, float]] = {}
    scores: dict[str, Tensor] = {}
    for name, run in (("seewhy", ours), ("lucent", each(lucent)), ("horama", each(horama))):
        start = time.perf_counter()
        pictures = run()
        seconds = time.perf_counter() - start
        views = unseen_views(pictures)
        scores[name] = torch.stack([scores_of(model, objective, view) for view in views]).mean(0)
        made = len(channels) * arguments.steps
        said[name] = {"seconds": round(seconds, 1), "picture_steps": round(made / seconds, 1)}
    for name in ("lucent", "horama"):
        said[name]["times_as_fast"] = round(
            said["seewhy"]["picture_steps"] / said[name]["picture_steps"], 2
        )
        said[name]["our_activation_over_theirs"] = round(
            float((scores["seewhy"] / scores[name].clamp_min(1e-6)).median()), 2
        )
        said[name]["ours_is_higher_in"] = int((scores["seewhy"] >= scores[name]).sum())
    settings = {"layer": LAYER, "side": SIDE, "threads": torch.get_num_threads()}
    print(json.dumps(vars(arguments) | settings | said))


if __name__ == "__main__":
    main()
