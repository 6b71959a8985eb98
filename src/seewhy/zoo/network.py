"""SceneNet: a small residual network with average pooling and one linear layer at the end.

After He et al., "Deep residual learning for image recognition", CVPR 2016, arXiv 1512.03385.
The logits are a linear function of the average of the last feature map, so class activation
mapping (Zhou et al., CVPR 2016, arXiv 1512.04150) is exact: the logit of a class is the mean of its
map plus the bias.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn


class Block(nn.Module):
    """Two 3x3 convolutions with batch normalisation, added to their input."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        """Return the block's output, after its last ReLU."""
        residual = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(residual + self.shortcut(x))


class SceneNet(nn.Module):
    """A network that maps normalised pictures to logits.

    The last feature map of a 64 px picture is 8 x 8. Any size of at least 8 px works, because the
    network is convolutional up to the average pooling.
    """

    def __init__(self, classes: int = 10, widths: Sequence[int] = (24, 48, 96), depth: int = 2):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        stages, inputs = [], widths[0]
        for stage, width in enumerate(widths):
            blocks = [Block(inputs, width, stride=1 if stage == 0 else 2)]
            blocks += [Block(width, width) for _ in range(depth - 1)]
            stages.append(nn.Sequential(*blocks))
            inputs = width
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(widths[-1], classes)

    def features(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h8 w8"]:
        """Return the last feature map, whose sides are an eighth of the picture's."""
        return self.stages(self.stem(x))

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        """Return the logits of normalised pictures."""
        return self.head(self.pool(self.features(x)).flatten(1))
