"""Networks that do unusual things in their forward: right answers, or one line that says why."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import seewhy
from networks import Body
from seewhy.errors import NotApplicable, SeewhyError

PIXELS = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(4))


def seeded(net: type[nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return net().eval()


class Squeezing(Body):
    def decide(self, x: Tensor) -> Tensor:
        return super().decide(x).squeeze()


@pytest.mark.parametrize("method", ["gradient", "grad-cam"])
def test_logits_that_are_squeezed(method: str):
    model = seewhy.Model(seeded(Squeezing))
    batch = seewhy.explain(model, PIXELS, method, 2)
    single = seewhy.explain(model, PIXELS[:1], method, 2)
    assert single.logits.shape == (1, 5)
    torch.testing.assert_close(single.heatmap, batch.heatmap[:1])


class Alias(nn.Module):
    """`keep` hands on its input, which is then changed in place."""

    def __init__(self):
        super().__init__()
        self.conv, self.keep = nn.Conv2d(3, 4, 3, padding=1), nn.Identity()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        kept = self.keep(x)
        self.act(x)
        return (x + 2 * kept).mean((2, 3))


@pytest.mark.parametrize("layer", ["keep", "act", "conv"])
def test_reading_a_layer_does_not_change_the_logits(layer: str):
    net = seeded(Alias)
    e = seewhy.explain(net, PIXELS, "grad-cam", layer=layer, relu=False)
    torch.testing.assert_close(e.logits, net(PIXELS))


class PerPicture(Body):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([super(PerPicture, self).forward(one[None]) for one in x])


def test_a_network_that_runs_pictures_one_by_one():
    net = seeded(PerPicture)
    with pytest.raises(SeewhyError, match="whole batch"):
        seewhy.explain(net, PIXELS, "grad-cam")
    with pytest.raises(SeewhyError, match="whole batch"):
        seewhy.capture(seewhy.Model(net), PIXELS, ["second"])
    assert seewhy.explain(net, PIXELS[:1], "grad-cam").heatmap.shape == (1, 16, 16)
    assert seewhy.explain(net, PIXELS, "gradient").heatmap.shape == (3, 16, 16)


class SideBranch(nn.Module):
    """A rectifier that the picture does not go through, as in Swin V2's position bias."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Parameter(torch.randn(5)), nn.Conv2d(3, 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.head(x)).mean((2, 3)) + F.relu(self.table)


@pytest.mark.parametrize("together", [[], ["gradient"]], ids=["alone", "with-gradient"])
def test_rectifiers_that_the_picture_does_not_pass_do_not_count(together: list[str]):
    panel = seewhy.compare(seeded(SideBranch), PIXELS, ["guided-backprop", "deconvnet", *together])
    assert [name for name, _ in panel.skipped] == ["guided-backprop", "deconvnet"]


class Differentiating(nn.Module):
    """Its logits hold a gradient: the tape must keep the second order."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x if x.requires_grad else x.requires_grad_()
            energy = F.relu(self.conv(x)).pow(2).sum()
            (slope,) = torch.autograd.grad(energy, x, create_graph=True)
        return slope.pow(2).mean((2, 3))


def test_a_network_that_differentiates_inside():
    net = seeded(Differentiating)
    alone = seewhy.explain(net, PIXELS, "gradient").heatmap
    beside = seewhy.compare(net, PIXELS, ["gradient", "guided-backprop"])["gradient"].heatmap
    assert alone.any()
    torch.testing.assert_close(alone, beside)


class Strided(nn.Module):
    """Reads memory as it lies: channels-last would silently give other logits."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return torch.as_strided(y, (len(y), 5), (y[0].numel(), 1))


def test_a_network_that_reads_memory_as_it_lies():
    net = seeded(Strided)
    torch.testing.assert_close(seewhy.Model(net)(PIXELS), net(PIXELS))


class Counting(Body):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("last", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        self.last = x.mean().detach()[None]
        return super().forward(x)


def test_buffers_that_the_forward_writes_are_put_back():
    net = seeded(Counting)
    seewhy.compare(net, PIXELS, ["gradient", "grad-cam"])
    assert net.count == 0 and net.last == 0


def test_threads_take_turns():
    net = Body().train()
    model = seewhy.Model(net)
    expected = seewhy.explain(model, PIXELS, "grad-cam").heatmap
    found: list[Tensor] = []
    state = {name: value.clone() for name, value in net.state_dict().items()}

    def work() -> None:
        for _ in range(5):
            seewhy.explain(model, PIXELS, "gradient")
            found.append(seewhy.explain(model, PIXELS, "grad-cam").heatmap)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 15
    for heatmap in found:
        torch.testing.assert_close(heatmap, expected)
    assert all(module.training for module in net.modules())
    assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())


def test_nested_edits_end_in_order():
    model = seewhy.Model(seeded(Body))
    edits = [seewhy.ablate(), seewhy.add(1.0), seewhy.ablate()]
    with seewhy.edited(model, {"second": edits[0]}), seewhy.edited(model, {"second": edits[1]}):
        outer = model(PIXELS)
        with seewhy.edited(model, {"second": edits[2]}):
            model(PIXELS)
        torch.testing.assert_close(model(PIXELS), outer)
    with seewhy.edited(model, {"second": seewhy.replace(1.0)}):
        torch.testing.assert_close(model(PIXELS), outer)


def test_edits_are_part_of_the_provenance():
    model = seewhy.Model(seeded(Body))
    with seewhy.edited(model, {"second:2": seewhy.ablate()}):
        assert seewhy.explain(model, PIXELS, "gradient").provenance.edits == ("second:2",)
    assert seewhy.explain(model, PIXELS, "gradient").provenance.edits == ()


class OneLogit(Body):
    def decide(self, x: Tensor) -> Tensor:
        return super().decide(x)[:, :1]


def test_a_single_logit_is_a_probability_by_the_sigmoid():
    e = seewhy.explain(seeded(OneLogit), PIXELS, "gradient")
    torch.testing.assert_close(e.probabilities, e.logits[:, 0].sigmoid())
    assert e.top()[0] == [("class 0", pytest.approx(float(e.probabilities[0])))]


def test_no_class_names_at_all():
    model = seewhy.Model(seeded(Body), classes=[])
    with pytest.raises(SeewhyError, match="no class names"):
        seewhy.explain(model, PIXELS, "gradient", "cat")


class MaxHead(nn.Module):
    """Ends in max pooling, with a bias next to which every map is small."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 6, 3), nn.Linear(6, 5)
        nn.init.constant_(self.fc.bias, 2000.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.conv(x)).amax((2, 3)))


def test_cam_is_not_fooled_by_a_large_bias():
    with pytest.raises(NotApplicable):
        seewhy.explain(seeded(MaxHead), PIXELS, "cam")


def test_the_panel_says_what_is_shared():
    panel = seewhy.compare(seeded(Body), PIXELS, ["gradient", "input-x-gradient", "grad-cam"])
    first, second, third = (e.cost for e in panel)
    assert (first.forwards, first.backwards, first.shared) == (1, 1, 1)
    # The gradients at the pixels and at the layer come from one backward.
    assert (second.backwards, second.shared) == (1, 2)
    assert (third.backwards, third.shared) == (1, 2)
