"""What constants keep is counted for the right picture, wherever a network puts that axis."""

import pytest
import torch
from torch import Tensor, nn

import seewhy
from networks import CLASSES, as_model

METHODS = ("lrp-epsilon", "fullgrad")


class Patches(nn.Module):
    """Patches folded into the batch, with as many rows in the next axis as there are pictures."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.randn(3, 16))
        self.inner, self.head = nn.Linear(16, 5), nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        x = x.view(b, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 1, 3, 5).reshape(-1, c, 16)
        x = self.inner(x + self.shift).relu()
        return self.head(x.reshape(b, -1, 5).mean(1))


class TokensFirst(nn.Module):
    """[tokens, pictures, channels], with a number of tokens that the pictures divide."""

    def __init__(self):
        super().__init__()
        self.embed, self.attention = nn.Linear(48, 8), nn.MultiheadAttention(8, 2)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, CLASSES)
        nn.init.normal_(self.attention.in_proj_bias)
        nn.init.normal_(self.norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(2, 3, 0, 1, 4, 5).reshape(9, len(x), 48)
        x = self.norm(self.embed(x))
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(x.relu().mean(0))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("network", [Patches, TokensFirst])
def test_a_batch_has_the_books_of_its_pictures(network: type[nn.Module], method: str):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, pixels = as_model(network().double()), torch.rand(3, 3, 12, 12)
    batch = seewhy.explain(model, pixels, method, [0, 3, 1])
    assert batch.residual is not None and float(batch.residual.max()) < 1e-3
    for i, target in enumerate([0, 3, 1]):
        alone = seewhy.explain(model, pixels[i : i + 1], method, target)
        torch.testing.assert_close(batch.residual[i], alone.residual[0], rtol=0, atol=1e-4)
        torch.testing.assert_close(batch.attribution[i], alone.attribution[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("pictures", [1, 3])
def test_a_second_look_costs_backwards_only_where_shapes_leave_a_choice(pictures: int):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, pixels = as_model(Patches().double()), torch.rand(pictures, 3, 12, 12)
    e = seewhy.explain(model, pixels, "lrp-epsilon", 1)
    assert e.cost.backwards == (1 if pictures == 1 else 1 + pictures)
    assert seewhy.explain(model, torch.rand(2, 3, 12, 12), "lrp-epsilon", 1).cost.backwards == 1
