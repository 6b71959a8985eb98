from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

import seewhy
from networks import NETWORKS, Body
from seewhy.attribution.methods.gradient_sums import summed_gradient
from seewhy.autodiff.rules import DECONVNET, GRADIENT, GUIDED
from seewhy.engine.recording import INPUT, Request, recorded
from seewhy.errors import SeewhyError
from seewhy.support.settings import Settings


def test_values_and_gradients_at_several_places_from_one_forward():
    torch.manual_seed(0)
    net, pixels = Body().eval(), torch.rand(2, 3, 16, 16)
    model = seewhy.Model(net)
    requests = [Request(), Request("second"), Request("relu#0"), Request(INPUT, GUIDED)]
    x = pixels.clone().requires_grad_()
    first = F.relu(net.first(x))
    second = net.second(first)
    logits = net.fc(F.relu(second).mean((2, 3)))
    score = logits[0, 1] + logits[1, 4]
    expected = torch.autograd.grad(score, [x, second, first])
    with recorded(model, pixels, requests, [1, 4], Settings()) as recording:
        for at, gradient in zip((INPUT, "second", "relu#0"), expected, strict=True):
            torch.testing.assert_close(recording.gradient(at), gradient)
        torch.testing.assert_close(recording.activation("second"), second.detach())
        torch.testing.assert_close(recording.activation("relu#0"), first.detach())
        assert recording.score.tolist() == pytest.approx([logits[0, 1].item(), logits[1, 4].item()])
        assert not torch.equal(recording.gradient(INPUT, GUIDED), recording.gradient())
        assert recording.cost.forwards == 1
        assert recording.target.tolist() == [1, 4]


def test_without_the_input_the_graph_begins_at_the_shallowest_layer():
    net, pixels = NETWORKS["pools"].build(), NETWORKS["pools"].pixels()
    model = seewhy.Model(net)
    model.layer_graph(pixels)
    asked: dict[str, bool] = {}
    for name in ("0", "3", "5"):
        net.get_submodule(name).register_forward_hook(
            lambda module, args, output, name=name: asked.update({name: output.requires_grad})
        )
    with recorded(model, pixels, [Request("3")], None, Settings()) as recording:
        assert asked == {"0": False, "3": False, "5": True}
        assert recording.gradient("3").any()


def test_rules_apply_to_the_pull_that_names_them():
    net, pixels = Body().eval(), torch.rand(2, 3, 16, 16)
    model = seewhy.Model(net)
    alone = {}
    for rules in (GRADIENT, GUIDED, DECONVNET):
        with recorded(model, pixels, [Request(INPUT, rules)], 1, Settings()) as recording:
            alone[rules] = recording.gradient(INPUT, rules)
    requests = [Request(INPUT, rules) for rules in (DECONVNET, GRADIENT, GUIDED)]
    with recorded(model, pixels, requests, 1, Settings()) as recording:
        for rules, expected in alone.items():
            torch.testing.assert_close(recording.gradient(INPUT, rules), expected)
    assert not torch.equal(alone[GUIDED], alone[DECONVNET])


@pytest.mark.parametrize("most", [1, 2, 3, 4, 7, 100])
def test_a_sum_of_gradients_does_not_depend_on_how_it_is_batched(most: int):
    net, pixels = NETWORKS["batch_norm"].build().double(), torch.rand(2, 3, 24, 24).double()
    model = seewhy.Model(net)
    weights = torch.tensor([0.5, -1.0, 2.0, 0.25, 1.0])

    def point(k: int):
        return pixels * (k / 5)

    expected = torch.zeros_like(pixels)
    for k, weight in enumerate(weights):
        x = point(k).requires_grad_()
        logits = net(x)
        expected += weight * torch.autograd.grad(logits[0, 2] + logits[1, 0], x)[0]
    told: list[tuple[int, int]] = []
    settings = Settings(most=most, progress=lambda done, of: told.append((done, of)))
    with recorded(model, pixels, [], [2, 0], settings) as recording:
        torch.testing.assert_close(summed_gradient(recording, point, weights), expected)
        assert recording.cost.backwards == 5 and recording.cost.forwards == pytest.approx(6)
    assert told[-1] == (5, 5)


def test_the_network_is_given_back(unchanged: Callable):
    case = NETWORKS["dropout"]
    net, pixels = case.build(), case.pixels()
    with unchanged(net):
        with recorded(
            seewhy.Model(net), pixels, [Request("second")], None, Settings()
        ) as recording:
            recording.gradient("second")
        refused = pytest.raises(SeewhyError, match="out of range")
        with refused, recorded(seewhy.Model(net), pixels, [Request("second")], 99, Settings()):
            pass


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"precision": "half"}, "'full' or 'fast'"), ({"most": 0}, "at least one picture")],
)
def test_settings_are_checked(arguments: dict, words: str):
    with pytest.raises(SeewhyError, match=words):
        Settings(**arguments)
