"""SceneViT: a small vision transformer with a linear classifier on the class token.

After Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021, arXiv 2010.11929. Patches
are embedded by three strided convolutions instead of one (Xiao et al., "Early convolutions help
transformers see better", NeurIPS 2021, arXiv 2106.14881), so that few training pictures suffice.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

SIDE = 64  # pixels; the position embeddings fix the picture size


class Attention(nn.Module):
    """Multi-head self-attention: softmax(q k^T / sqrt(d)) v."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "b tokens c"]) -> Float[Tensor, "b tokens c"]:
        """Return the projected attention output of every token."""
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = scaled_dot_product_attention(query, key, value)
        return self.proj(attended.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A pre-norm transformer block: attention and an MLP, each with a residual connection."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Float[Tensor, "b tokens c"]) -> Float[Tensor, "b tokens c"]:
        """Return the tokens after this block."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class SceneViT(nn.Module):
    """A transformer that maps normalised pictures of 64 px to logits.

    Its tokens are a class token and 8 x 8 patches. `widths` are the channels of the convolutions;
    the last one is the token width.
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
        """Initialise the class token and the position embeddings."""
        nn.init.zeros_(self.class_token)
        nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(self, x: Float[Tensor, "b 3 64 64"]) -> Float[Tensor, "b classes"]:
        """Return the logits of normalised pictures."""
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), patches], 1) + self.positions
        return self.head(self.norm(self.blocks(tokens))[:, 0])
