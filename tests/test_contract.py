"""What every attribution method promises, on every network: a new method is tested at once."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import seewhy
from networks import CLASSES, NETWORKS, Body, as_model
from pairs import FULL, MIXERS, NETWORKS_FOR_MODES, REPRESENTATIVES, sampled
from seewhy.attribution.explanation import Explanation
from seewhy.attribution.method import REGISTRY, Attribution
from seewhy.engine.recording import Request
from seewhy.errors import NotApplicable, UserCodeError

METHODS = sorted(seewhy.methods())

# Methods that run many forwards, with fewer of them.
QUICK = {
    "extremal-perturbation": {"steps": 8},
    "kernel-shap": {"samples": 48, "segments": 8},
    "lime": {"samples": 48},
    "meaningful-perturbation": {"steps": 8},
    "rise": {"masks": 48},
}
RANDOM = sorted(name for name, method in seewhy.methods().items() if method.random)

# A mask that is learned step by step magnifies rounding, at its edge most; and where channels
# nearly cancel, the map is small beside what it is a sum of.
TOLERANCE = {"extremal-perturbation": 0.05, "score-cam": 1e-3}

NO_RECTIFIER = {"vit", "vit_with_registers", "swin_like", "convnext_like"}
NO_GRID = {"perceptron", "no_modules"}
NO_LINEAR_HEAD_ON_MEANS = {
    "rectifier_after_the_last_module",
    "residual",
    "concatenation",
    "channel_shuffle",
    "squeeze_and_excite",
    "view_head",
    "hidden_layer",
    "users_hook",
    "vit",
    "vit_with_registers",
    "convnext_like",
}
# Attention inside windows is none that could be rolled out.
NO_ATTENTION = set(NETWORKS) - {"vit", "vit_with_registers"}

# Method -> the networks it has no meaning for. A method that is not listed yet may say so anywhere.
NOT_APPLICABLE = {
    "ablation-cam": NO_GRID,
    "attention-rollout": NO_ATTENTION,
    "cam": NO_GRID | NO_LINEAR_HEAD_ON_MEANS,
    "contrastive-excitation-backprop": NO_GRID | NO_RECTIFIER,
    "deconvnet": NO_RECTIFIER,
    "deep-lift": set(),
    "eigen-cam": NO_GRID,
    "excitation-backprop": NO_GRID | NO_RECTIFIER,
    "extremal-perturbation": set(),
    "fullgrad": set(),
    "grad-cam": NO_GRID,
    "grad-cam++": NO_GRID,
    "gradient": set(),
    "gradient-rollout": NO_ATTENTION,
    "guided-backprop": NO_RECTIFIER,
    "hires-cam": NO_GRID,
    "input-x-gradient": set(),
    "integrated-gradients": set(),
    "kernel-shap": set(),
    "layer-cam": NO_GRID,
    "lime": set(),
    "lrp": set(),
    "lrp-epsilon": set(),
    "lrp-epsilon-alpha2-beta1": set(),
    "lrp-epsilon-alpha2-beta1-flat": set(),
    "lrp-epsilon-gamma-box": set(),
    "lrp-epsilon-plus": set(),
    "lrp-epsilon-plus-flat": set(),
    "meaningful-perturbation": set(),
    "occlusion": set(),
    "rise": set(),
    "score-cam": NO_GRID,
    "smoothgrad": set(),
    "xgrad-cam": NO_GRID,
}

APPLICABLE = [(m, n) for m in METHODS for n in NETWORKS if n not in NOT_APPLICABLE.get(m, ())]

each_method = pytest.mark.parametrize("method", METHODS)
each_network = pytest.mark.parametrize("network", NETWORKS)
each_applicable = pytest.mark.parametrize(("method", "network"), sampled(APPLICABLE))
each_on_six = pytest.mark.parametrize(("method", "network"), sampled(APPLICABLE, ()))
each_not_applicable = pytest.mark.parametrize(
    ("method", "network"),
    sampled((m, n) for m in METHODS for n in sorted(NOT_APPLICABLE.get(m, ()))),
)


@cache
def undisturbed(method: str, network: str) -> Explanation | NotApplicable:
    """The explanation, or the reason why there is none, with nothing special going on."""
    case = NETWORKS[network]
    try:
        return seewhy.explain(case.model(), case.pixels(), quick(method))
    except NotApplicable as reason:
        return reason


def explanation(method: str, network: str) -> Explanation:
    """The explanation; a method that is not listed yet may say anywhere that it has no meaning."""
    found = undisturbed(method, network)
    if isinstance(found, NotApplicable):
        listed = network not in NOT_APPLICABLE.get(method, NETWORKS)
        assert not listed, f"{method} should apply to {network}: {found}"
        pytest.skip(f"not applicable: {found}")
    return found


def quick(method: str) -> seewhy.Method:
    """The method, with parameters that make it quick."""
    return seewhy.methods()[method](**QUICK.get(method, {}))


def usual(method: str) -> str:
    """A network that the method has a meaning for."""
    return next(n for n in ("batch_norm", "vit") if n not in NOT_APPLICABLE.get(method, ()))


def assert_same(a: Explanation, b: Explanation) -> None:
    """Bit for bit."""
    assert torch.equal(a.heatmap, b.heatmap)
    assert torch.equal(a.attribution, b.attribution)
    assert torch.equal(a.logits, b.logits)
    assert torch.equal(a.target, b.target)


def rounding(method: str) -> float:
    """How far apart maps may be, as a share of the largest value, that are the same."""
    return TOLERANCE.get(method, 1e-4)


def assert_close(a: Tensor, b: Tensor, tolerance: float = 1e-4) -> None:
    """To `tolerance` of the largest value of each picture."""
    scale = b.abs().flatten(1).amax(1).clamp_min(1e-12)
    difference = (a - b).abs().flatten(1).amax(1)
    assert bool((difference <= tolerance * scale).all()), (difference / scale).tolist()


@each_not_applicable
def test_says_in_a_line_where_it_has_no_meaning(method: str, network: str):
    found = undisturbed(method, network)
    assert isinstance(found, NotApplicable)
    assert "\n" not in str(found)
    assert len(str(found)) > 20


@each_applicable
def test_shapes_and_values(method: str, network: str):
    case, e = NETWORKS[network], explanation(method, network)
    pixels = case.pixels()
    assert e.heatmap.shape == (3, *case.shape[1:])
    assert e.attribution.ndim == 4 and len(e.attribution) == 3
    assert e.logits.shape == (3, CLASSES) and e.logits.dtype == torch.float32
    for values in (e.heatmap, e.attribution):
        assert values.dtype == torch.float32 and not values.requires_grad
        assert bool(values.isfinite().all())
        assert bool(values.any()), "all zero"
    if not e.signed:
        assert bool((e.heatmap >= 0).all())
    assert torch.equal(e.target, e.logits.argmax(1))
    assert torch.equal(e.batch.pixels, pixels)
    assert e.method == method and e.cost.forwards >= 1


@each_network
def test_logits_are_those_of_the_normalised_pixels(network: str):
    case = NETWORKS[network]
    net = case.build()
    for module in net.modules():
        module.training = False
    channels = case.shape[0]
    mean = torch.tensor([0.4, 0.5, 0.6][:channels]).view(1, -1, 1, 1)
    std = torch.tensor([0.2, 0.25, 0.3][:channels]).view(1, -1, 1, 1)
    dtype = next(net.parameters()).dtype
    with torch.no_grad():
        output = net(((case.pixels() - mean) / std).to(dtype))
    output = getattr(output, "logits", output)
    output = output["logits"] if isinstance(output, dict) else output
    output = output[0] if isinstance(output, tuple) else output
    assert_close(case.model()(case.pixels()), output)


@each_on_six
def test_same_map_whatever_the_state_of_things(method: str, network: str):
    """Training mode, frozen weights, pixels that ask for gradients, another global seed."""
    case, e = NETWORKS[network], explanation(method, network)
    net = case.build().requires_grad_(False)
    for module in net.modules():
        module.training = True
    pixels = case.pixels().requires_grad_()
    with torch.random.fork_rng():
        torch.manual_seed(12345)
        assert_same(seewhy.explain(as_model(net, case.shape[0]), pixels, quick(method)), e)
    assert pixels.grad is None and pixels.requires_grad
    assert torch.equal(pixels.detach(), case.pixels())


@pytest.mark.parametrize(
    ("method", "network"), sampled(((m, n) for m in RANDOM for n in NETWORKS), ())
)
def test_other_seed_other_map(method: str, network: str):
    case, e = NETWORKS[network], explanation(method, network)
    other = seewhy.explain(case.model(), case.pixels(), quick(method), seed=1)
    assert not torch.equal(other.heatmap, e.heatmap)
    assert (other.provenance.seed, e.provenance.seed) == (1, 0)


# How a method puts pictures together is its mechanism's, whatever the network.
@pytest.mark.parametrize(("method", "network"), sampled(APPLICABLE, MIXERS))
def test_batch_equals_singles(method: str, network: str):
    case, e = NETWORKS[network], explanation(method, network)
    model = case.model()
    for i, pixels in enumerate(case.pixels()):
        one = seewhy.explain(model, pixels[None], quick(method))
        assert torch.equal(one.target, e.target[i : i + 1])
        assert_close(one.heatmap, e.heatmap[i : i + 1], rounding(method))
        assert_close(one.attribution, e.attribution[i : i + 1], rounding(method))


@each_on_six
def test_batch_size_does_not_matter(method: str, network: str):
    case, e = NETWORKS[network], explanation(method, network)
    parts = seewhy.explain(case.model(), case.pixels(), quick(method), batch_size=2)
    assert_close(parts.heatmap, e.heatmap, rounding(method))
    assert_close(parts.logits, e.logits)
    assert len(parts.batch.pictures) == len(parts.batch.views) == 3


@pytest.mark.parametrize(
    ("method", "network"), sampled(((m, n) for m in METHODS for n in NETWORKS), ())
)
def test_leaves_no_trace(method: str, network: str, unchanged: Callable):
    case = NETWORKS[network]
    net = case.build()
    model = as_model(net, case.shape[0])
    for number, module in enumerate(net.modules()):
        module.training = number % 3 == 1
    first, *others = net.parameters()
    first.grad = torch.ones_like(first)
    for parameter in others[::2]:
        parameter.requires_grad_(False)
    with unchanged(net), suppress(NotApplicable):
        seewhy.explain(model, case.pixels(), quick(method))


MODES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("method", "network"), sampled(APPLICABLE, (), NETWORKS_FOR_MODES))
def test_the_callers_mode_does_not_reach_in(method: str, network: str, mode: str):
    case, e = NETWORKS[network], explanation(method, network)
    model = case.model()
    with MODES[mode]():
        assert_same(seewhy.explain(model, case.pixels(), quick(method)), e)


@each_method
def test_a_model_can_be_made_in_inference_mode(method: str):
    case = NETWORKS[usual(method)]
    net = case.build()
    with torch.inference_mode():
        e = seewhy.explain(as_model(net), case.pixels(), quick(method))
    assert_same(e, undisturbed(method, usual(method)))


@each_method
def test_a_network_made_in_inference_mode_works_or_says_why_not(method: str):
    case = NETWORKS[usual(method)]
    with torch.inference_mode():
        net = case.build()
    try:
        e = seewhy.explain(as_model(net), case.pixels(), quick(method))
    except seewhy.SeewhyError as error:
        assert "inference" in str(error) and "\n" not in str(error)
    else:
        assert_close(e.heatmap, undisturbed(method, usual(method)).heatmap, rounding(method))


@each_network
def test_a_panel_says_what_its_methods_say(network: str):
    case = NETWORKS[network]
    panel = seewhy.compare(case.model(), case.pixels(), [quick(m) for m in METHODS])
    alone = {method: undisturbed(method, network) for method in METHODS}
    refused = {name: str(e) for name, e in alone.items() if isinstance(e, NotApplicable)}
    assert dict(panel.skipped) == refused
    assert {e.method for e in panel} == set(METHODS) - set(refused)
    for e in panel:
        assert_close(e.heatmap, alone[e.method].heatmap, rounding(e.method))
        assert e.cost.forwards == alone[e.method].cost.forwards


@pytest.mark.parametrize(
    ("method", "network"),
    [(m, n) for m, n in APPLICABLE if n in ("batch_norm", "residual_in_place", "vit", "swin_like")],
)
def test_bfloat16_says_nearly_the_same(method: str, network: str):
    case, e = NETWORKS[network], explanation(method, network)
    fast = seewhy.explain(case.model(), case.pixels(), quick(method), e.target, precision="fast")
    assert fast.provenance.precision == "fast"
    assert not torch.equal(fast.logits, e.logits)
    alike = torch.corrcoef(torch.stack([fast.heatmap.flatten(), e.heatmap.flatten()]))[0, 1]
    assert alike > 0.9


TWINS = {
    "returns_dict": "reused_relu",
    "returns_tuple": "reused_relu",
    "returns_object": "reused_relu",
    "parametrised": "reused_relu",
    "checkpointed": "reused_relu",
    "rectifier_without_its_result": "functional_relu",
    "frozen": "batch_norm",
    "double": "batch_norm",
    "data_parallel": "batch_norm",
}


@pytest.mark.parametrize(("method", "network"), sampled((m, n) for m in METHODS for n in TWINS))
def test_networks_that_compute_the_same_have_the_same_maps(method: str, network: str):
    e, twin = explanation(method, network), explanation(method, TWINS[network])
    assert_close(e.logits, twin.logits)
    assert_close(e.heatmap, twin.heatmap, max(1e-3, rounding(method)))


# Exceptions


class Trap(nn.Module):
    """Raises at its n-th forward from now on, and after it."""

    def __init__(self, error: type[BaseException]):
        super().__init__()
        self.error, self.left = error, 10**9

    def __deepcopy__(self, memo: dict) -> "Trap":
        """A copy counts for the same trap."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        if vars(self)["left"] <= 0:
            raise self.error("sprung")
        vars(self)["left"] -= 1
        return x


# Any two of error, forward and use meet in one of the six with an even sum; the others are `full`.
SPRUNG = [
    pytest.param(
        (RuntimeError, KeyboardInterrupt)[e],
        after,
        bool(warm),
        id=f"{('later-use' if warm else 'first-use')}-{after}-{('error', 'interrupt')[e]}",
        marks=() if (e + a + warm) % 2 == 0 else FULL,
    )
    for e in (0, 1)
    for a, after in enumerate((0, 1, 3))
    for warm in (0, 1)
]


@each_method
@pytest.mark.parametrize(("error", "after", "warm"), SPRUNG)
def test_an_exception_in_the_network_leaves_no_trace(
    method: str, error: type[BaseException], after: int, warm: bool, unchanged: Callable
):
    case = NETWORKS[usual(method)]
    trap = Trap(error)
    net = nn.Sequential(case.build(), trap).train()
    model = as_model(net)
    if warm:
        seewhy.explain(model, case.pixels(), quick(method))
    trap.left = after
    reported = UserCodeError if error is RuntimeError else error
    raised = nullcontext() if _gets_through(model, method, trap, after) else pytest.raises(reported)
    with unchanged(net), raised:
        seewhy.explain(model, case.pixels(), quick(method), batch_size=1)


def _gets_through(model: seewhy.Model, method: str, trap: Trap, after: int) -> bool:
    """Whether the method needs no more forwards than that: counted on an equal model."""
    case = NETWORKS[usual(method)]
    counting = Trap(RuntimeError)
    twin = as_model(nn.Sequential(case.build(), counting))
    twin._memory_format, twin._layer_graphs = model._memory_format, dict(model._layer_graphs)
    before = counting.left
    seewhy.explain(twin, case.pixels(), quick(method), batch_size=1)
    return before - counting.left <= after


@pytest.fixture
def registry() -> Iterator[None]:
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


def failing_method(error: BaseException, when: str) -> type[seewhy.Method]:
    @dataclass(frozen=True)
    class Failing(seewhy.Method):
        """Fails."""

        name = "failing"
        question = "What if?"
        source = "this test"
        signed = True

        def requires(self, model, pixels):
            if when == "requests":
                raise error
            return [Request(), Request(model.find_layer(pixels))]

        def attribute(self, recording):
            recording.gradient()
            np.random.default_rng(0).random()
            raise error

    return Failing


@pytest.mark.parametrize("when", ["requests", "attribute"])
@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), NotApplicable("why not")])
def test_an_exception_in_a_method_leaves_no_trace(
    error: BaseException, when: str, registry: None, unchanged: Callable
):
    case = NETWORKS["dropout"]
    net = case.build()
    model = as_model(net)
    with unchanged(net), pytest.raises(type(error)):
        seewhy.explain(model, case.pixels(), failing_method(error, when))


def test_a_method_that_does_not_apply_is_skipped_with_its_reason(registry: None):
    case = NETWORKS["batch_norm"]
    failing_method(NotApplicable("why not"), "attribute")
    panel = seewhy.compare(case.model(), case.pixels(), ["gradient", "failing"])
    assert [e.method for e in panel] == ["gradient"]
    assert panel.skipped == (("failing", "why not"),)
    with pytest.raises(NotApplicable, match="why not"):
        panel["failing"]


@pytest.mark.parametrize("when", ["requests", "attribute"])
def test_a_method_that_fails_does_not_take_the_panel_with_it(when: str, registry: None):
    case = NETWORKS["batch_norm"]
    failing_method(ValueError("no\nway"), when)
    panel = seewhy.compare(case.model(), case.pixels(), ["gradient", "failing", "grad-cam"])
    assert [e.method for e in panel] == ["gradient", "grad-cam"]
    reason = "failed with ValueError: no way (run it alone for the traceback)"
    assert panel.skipped == (("failing", reason),)
    alone = seewhy.explain(case.model(), case.pixels(), "gradient")
    torch.testing.assert_close(panel["gradient"].heatmap, alone.heatmap)


def test_a_network_that_fails_is_told_as_it_fails():
    class Broken(torch.nn.Module):
        def forward(self, x):
            raise ZeroDivisionError("in the network")

    with pytest.raises(UserCodeError, match=r"Broken raised .* in the network in forward"):
        seewhy.compare(Broken(), torch.rand(1, 3, 8, 8), ["gradient", "rise"])


# The registry


def test_a_method_is_registered_by_defining_it(registry: None):
    @dataclass(frozen=True)
    class Brightness(seewhy.Method):
        """How bright each pixel is, times `factor`."""

        name = "brightness"
        question = "Where is it bright?"
        source = "this test"
        signed = False

        factor: float = 1.0

        def requires(self, model, pixels):
            return []

        def attribute(self, recording):
            values = self.factor * recording.pixels.detach().float()
            return Attribution(values, values.sum(1))

    assert seewhy.methods()["brightness"] is Brightness
    assert Brightness.summary() == "How bright each pixel is, times `factor`."
    pixels = torch.rand(2, 3, 8, 8)
    e = seewhy.explain(as_model(Body()), pixels, "brightness", factor=2.0)
    torch.testing.assert_close(e.heatmap, 2 * pixels.sum(1))
    assert e.provenance.parameters == {"factor": 2.0}
    assert e.provenance.seed is None


def test_the_registry_is_handed_out_as_a_copy():
    seewhy.methods().clear()
    assert sorted(seewhy.methods()) == METHODS


def test_every_mechanism_is_represented():
    assert set(REPRESENTATIVES.values()) <= set(METHODS)


@each_method
def test_a_method_describes_itself(method: str):
    cls = seewhy.methods()[method]
    assert cls.name == method == method.lower() and "_" not in method
    assert cls.question.endswith("?") and "\n" not in cls.question
    assert any(character.isdigit() for character in cls.source), "a source has a year"
    assert cls.summary()
    assert hash(cls()) == hash(cls())
    with pytest.raises(AttributeError):
        cls().name = "other"
    if cls.reads_layer:
        assert "layer" in cls().parameters
