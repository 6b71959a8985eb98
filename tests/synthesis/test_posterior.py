"""Langevin sampling beside posteriors in closed form, and on a real decoder of faces."""

import importlib.util
import os

import pytest
import torch
from torch import Tensor, nn

import seewhy
from seewhy.errors import SeewhyError
from seewhy.synthesis.generator_prior import GeneratorPrior
from seewhy.synthesis.langevin import sample
from seewhy.synthesis.posterior import sample_posterior
from seewhy.synthesis.posterior_view import verdict

REAL = os.environ.get("SEEWHY_REAL")


def test_samples_have_the_moments_of_a_normal_density():
    """Correlated, of unequal scales, and with a mean that is not zero."""
    torch.manual_seed(0)
    root = torch.tensor([[1.0, 0, 0], [0.8, 0.5, 0], [-0.3, 0.2, 0.7]]).double()
    covariance, mean = root @ root.T, torch.tensor([1.0, -2, 0.5]).double()
    precision = torch.linalg.inv(covariance)

    def log_density(z: Tensor) -> Tensor:
        return -((z - mean) @ precision * (z - mean)).sum(1) / 2

    start = torch.zeros(8, 3).double()
    found = sample(log_density, start, range(8), warm_up=500, count=1500, every=2, step=0.1)
    everything = found.samples.flatten(0, 1)
    torch.testing.assert_close(everything.mean(0), mean, rtol=0, atol=0.13)
    torch.testing.assert_close(torch.cov(everything.T), covariance, rtol=0.1, atol=0.06)
    assert bool(((found.accepted > 0.4) & (found.accepted < 0.75)).all())


def test_a_density_that_is_not_normal():
    """An exponential of |z|, whose variance is 2: a step without the Metropolis test misses it."""
    found = sample(
        lambda z: -z.abs().sum(1), torch.zeros(16, 1).double(), range(16),
        warm_up=500, count=1500, every=3, step=1.0,
    )  # fmt: skip
    assert float(found.samples.var()) == pytest.approx(2, rel=0.1)


def test_a_chain_does_not_depend_on_the_others():
    def log_density(z: Tensor) -> Tensor:
        return -(z**4).sum(1)

    settings = {"warm_up": 20, "count": 5, "step": 0.05}
    start = torch.randn(3, 2)
    together = sample(log_density, start, [1, 2, 3], **settings)
    alone = sample(log_density, start[1:2], [2], **settings)
    torch.testing.assert_close(together.samples[:, 1:2], alone.samples)


class Linear(nn.Module):
    """Reads three numbers of each picture, linearly."""

    def __init__(self, directions: Tensor):
        super().__init__()
        self.layer = nn.Linear(directions.shape[1], len(directions), bias=False)
        self.layer.weight.data = directions

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))


@pytest.fixture
def linear() -> tuple[seewhy.Model, GeneratorPrior, Tensor]:
    """A linear network and a linear generator: all posteriors are normal."""
    torch.manual_seed(1)
    net = Linear(torch.randn(2, 48))
    generator = nn.Sequential(nn.Linear(4, 48, bias=False), nn.Unflatten(1, (3, 4, 4)))
    generator[0].weight.data *= 0.1
    model = seewhy.Model(net, mean=0.5, std=1.0)
    return model, GeneratorPrior(generator, (4,)), net.layer.weight.detach()


def test_the_posterior_of_a_linear_network(linear):
    """z | y is normal: precision I + s M^T M, mean s (precision)^-1 M^T y, with y = M z + 0."""
    model, prior, directions = linear
    matrix = directions @ (prior.net[0].weight.detach() / 2)  # pictures are (made + 1) / 2
    code = torch.tensor([[0.5, -1.0, 0.3, 0.8]])
    with torch.no_grad():
        picture = prior.picture([code], (3, 4, 4))
    y = matrix @ code[0]
    noise = 0.5
    strength = 2 / noise**2 / float(y.pow(2).sum())
    precision = torch.eye(4) + strength * matrix.T @ matrix
    mean = strength * torch.linalg.solve(precision, matrix.T @ y)
    result = sample_posterior(
        model, picture, "layer", prior, noise=noise, chains=8, samples=400, warm_up=400, every=5
    )
    codes = result.codes.flatten(0, 1)
    torch.testing.assert_close(codes.mean(0), mean, rtol=0, atol=0.12)
    torch.testing.assert_close(torch.cov(codes.T), torch.linalg.inv(precision), rtol=0, atol=0.15)
    assert result.mixing < 1.1 and "mixed" in verdict(result)
    assert result.samples.shape == (8, 400, 3, 4, 4)


def test_a_target_shifts_the_codes(linear):
    """p(z) ~ exp(w z / T - z^2 / 2) is normal around w / T."""
    model, prior, directions = linear
    row = (directions @ (prior.net[0].weight.detach() / 2))[0]
    result = sample_posterior(
        seewhy.Model(model.net, mean=0.5, std=1.0, preparation=seewhy.Preparation((4, 4))),
        None, None, prior, target=0, noise=0.5, chains=6, samples=300, warm_up=300, every=5,
    )  # fmt: skip
    torch.testing.assert_close(result.codes.flatten(0, 1).mean(0), row / 0.5, rtol=0, atol=0.15)


def test_the_networks_are_left_as_they_were(linear, unchanged):
    model, prior, _ = linear
    model.net.train()
    picture = torch.rand(1, 3, 4, 4)
    with unchanged(model.net), unchanged(prior.net):
        sample_posterior(model, picture, "layer", prior, chains=1, samples=1, warm_up=1)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"noise": 0}, "noise must be above 0"),
        ({"chains": 0}, "chains must be"),
        ({"samples": 1.5}, "samples must be"),
        ({"warm_up": -1}, "warm_up must be"),
        ({"target": 0}, "either a picture and a layer, or a target"),
        ({"layer": None}, "name the layer"),
        ({"layer": "nothing"}, "unknown layer"),
    ],
)
def test_bad_input_is_one_line(linear, settings, says):
    model, prior, _ = linear
    layer = settings.pop("layer", "layer")
    with pytest.raises(SeewhyError, match=says):
        sample_posterior(model, torch.rand(1, 3, 4, 4), layer, prior, **settings)


@pytest.fixture
def real():
    if not REAL:
        pytest.skip("set SEEWHY_REAL to the folder with the real networks")
    spec = importlib.util.spec_from_file_location("faces", f"{REAL}/models/networks.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


class Encoder(nn.Module):
    """The means of the codes that an autoencoder gives pictures."""

    def __init__(self, autoencoder: nn.Module):
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, x: Tensor) -> Tensor:
        return self.autoencoder.encode(x)[0]


def test_faces_of_a_real_decoder(real):
    """With more noise in the representation, more faces fit; with little, the face comes back."""
    vae = real.vae()
    prior = GeneratorPrior(vae, (10,), low=0, high=1, method="decode")
    model = seewhy.Model(Encoder(vae), mean=0, std=1, preparation=seewhy.Preparation((64, 64)))
    code = torch.randn(1, 10, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        face = vae.decode(code)
    sharp, vague = (
        sample_posterior(
            model, face, "autoencoder.encoder.conv2", prior, noise=noise, chains=3, samples=8,
            warm_up=300, every=5,
        )
        for noise in (0.05, 1.0)
    )  # fmt: skip
    assert float(sharp.spread.mean()) < 0.5 * float(vague.spread.mean())
    near = float((sharp.samples.mean((0, 1)) - face[0]).pow(2).mean())
    assert near < 0.3 * float((vague.samples - face).pow(2).mean())
    assert float(sharp.accepted.min()) > 0.2


def test_a_real_gan_paints_what_a_network_wants(real):
    """An older face than random codes give, for the network that guesses ages."""

    class Age(nn.Module):
        def __init__(self):
            super().__init__()
            self.attributes = real.FaceAttributes()

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([self.attributes(x)["age"], self.attributes(x)["male"]], 1)

    gan = real.dcgan()
    model = seewhy.Model(
        Age(), mean=0, std=1, preparation=seewhy.Preparation((64, 64)), outputs="scores"
    )
    prior = GeneratorPrior(gan, (100, 1, 1), prior=5.0, rate=0.1)
    older = seewhy.visualize(
        model, 0, size=64, parametrisation=prior, transforms="none", steps=40, restarts=4
    )
    first = seewhy.visualize(
        model, 0, size=64, parametrisation=prior, transforms="none", steps=1, restarts=4
    )
    assert float(older.score.mean()) > float(first.score.mean()) + 5
