"""SceneViT: a small vision transformer whose class token is read by one linear layer.

After Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021, arXiv 2010.11929. Patches
are embedded by three strided convolutions instead of one (Xiao et al., "Early convolutions help
transformers see better", NeurIPS 2021, arXiv 2106.14881), so that few pictures suffice to train.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

SIDE = 64  # pixels; position embeddings belong to one size


class Attention(nn.Module):
    """Every token asks every token: softmax(q k^T / sqrt(d)) v in several heads."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "b tokens c"]) -> Float[Tensor, "b tokens c"]:
        """The values that each token gathered."""
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        gathered = scaled_dot_product_attention(query, key, value)
        return self.proj(gathered.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and a perceptron, each added to what it reads."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Float[Tensor, "b tokens c"]) -> Float[Tensor, "b tokens c"]:
        """The tokens after this block."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class SceneViT(nn.Module):
    """Normalised pictures of 64 px in, logits out; a class token, then 8 x 8 patches.

    `widths` are the channels of the convolutions; the last is the width of the tokens.
    """

    def __init__(
        self,
        classes: int = 10,
        widths: Sequence[int] = (24, 48, 96),
        depth: int = 4,
        heads: int = 4,
    ):
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in zip((3, *widths), widths[:-1], strict=False):
            layers.append(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False))
            layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        width = widths[-1]
        self.patches = nn.Sequential(*layers, nn.Conv2d(widths[-2], width, 3, stride=2, padding=1))
        tokens = 1 + (SIDE // 2 ** len(widths)) ** 2
        self.class_token = nn.Parameter(torch.empty(1, 1, width))
        self.positions = nn.Parameter(torch.empty(1, tokens, width))
        self.reset_parameters()
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def reset_parameters(self) -> None:
        """What belongs to no layer, as before training."""
        nn.init.zeros_(self.class_token)
        nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(self, x: Float[Tensor, "b 3 64 64"]) -> Float[Tensor, "b classes"]:
        """The logits of pictures that are already normalised."""
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), patches], 1) + self.positions
        return self.head(self.norm(self.blocks(tokens))[:, 0])
