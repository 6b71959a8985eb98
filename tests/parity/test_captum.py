"""captum's attributions of the same function are ours."""

import warnings
from collections.abc import Callable

import pytest

import seewhy

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the import alone
    attr = pytest.importorskip("captum.attr")

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
