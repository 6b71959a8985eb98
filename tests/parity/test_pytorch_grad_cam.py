"""pytorch-grad-cam's Grad-CAM of the same function is ours, before it rescales it."""

import warnings
from collections.abc import Callable

import pytest
import torch

import seewhy

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the import alone
    library = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget


def test_grad_cam(subject, close: Callable):
    targets = [ClassifierOutputTarget(index) for index in subject.target]
    layer = subject.foreign_layer
    with library.GradCAM(model=subject.foreign, target_layers=[layer]) as grad_cam:
        grad_cam(input_tensor=subject.exact, targets=targets)
        (activations,) = grad_cam.activations_and_grads.activations
        (gradients,) = grad_cam.activations_and_grads.gradients
        theirs = grad_cam.get_cam_image(
            subject.exact, layer, targets, activations.numpy(), gradients.numpy()
        )
    ours = seewhy.explain(
        subject.model, subject.pixels, "grad-cam", subject.target, layer=subject.layer
    )
    close(ours.attribution.sum(1), torch.from_numpy(theirs))
