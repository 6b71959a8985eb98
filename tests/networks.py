"""Many small networks, each with something in it that trips up tools like this one."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.checkpoint import checkpoint

import seewhy
from seewhy.images import Batch, Picture, Preparation, View

CLASSES = 5


@dataclass(frozen=True)
class Network:
    """A named factory: the same weights every time."""

    name: str
    factory: Callable[[], nn.Module]
    shape: tuple[int, int, int]

    def build(self) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(7)
            return self.factory().eval()

    def model(self) -> seewhy.Model:
        return as_model(self.build(), self.shape[0])

    def pixels(self, batch: int = 3) -> Tensor:
        generator = torch.Generator().manual_seed(11)
        return torch.rand(batch, *self.shape, generator=generator)


NETWORKS: dict[str, Network] = {}


def network(shape: tuple[int, int, int] = (3, 24, 24)) -> Callable:
    def register(factory: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        name = factory.__name__
        NETWORKS[name] = Network(name, factory, shape)
        return factory

    return register


def as_model(net: nn.Module, channels: int = 3) -> seewhy.Model:
    """A model that normalises, so that forgetting to would show."""
    mean, std = [0.4, 0.5, 0.6][:channels], [0.2, 0.25, 0.3][:channels]
    return seewhy.Model(net, mean=mean, std=std, preparation=Preparation(channels=channels))


def raw_batch(pixels: Tensor) -> Batch:
    """A batch of any values, past the check that pictures are in [0, 1]."""
    height, width = pixels.shape[-2:]
    picture = Picture(torch.zeros(3, height, width), "array")
    count = len(pixels)
    return Batch(pixels, (picture,) * count, (View.identity(height, width),) * count)


def normed(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation with running statistics that do something."""
    norm = nn.BatchNorm2d(channels)
    nn.init.normal_(norm.running_mean, 0.0, 0.2)
    nn.init.uniform_(norm.running_var, 0.5, 1.5)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.normal_(norm.bias, 0.0, 0.2)
    return norm


def head(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES))


class Body(nn.Module):
    """Two convolutions and a linear head; subclasses say what lies between."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor):
        return self.decide(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        return self.relu(self.second(self.relu(self.first(x))))

    def decide(self, x: Tensor):
        return self.fc(x.mean((2, 3)))


# Rectifiers


@network()
def in_place_relu() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True),
        nn.Conv2d(6, 8, 3), nn.ReLU(inplace=True),
        head(8),
    )  # fmt: skip


@network()
def functional_relu() -> nn.Module:
    class FunctionalReLU(Body):
        def features(self, x: Tensor) -> Tensor:
            x = F.relu(self.first(x))
            return torch.relu_(self.second(x))

    return FunctionalReLU()


@network()
def reused_relu() -> nn.Module:
    return Body()


@network()
def rectifier_after_the_last_module() -> nn.Module:
    class Late(Body):
        def decide(self, x: Tensor) -> Tensor:
            return super().decide(F.relu(x - 0.05))

    return Late()


@network()
def rectifier_without_its_result() -> nn.Module:
    class Ignoring(Body):
        def features(self, x: Tensor) -> Tensor:
            x = self.first(x)
            x.relu_()
            x = self.second(x)
            x.clamp_(min=0)
            return x

    return Ignoring()


# Normalisation, skips, branches


@network()
def batch_norm() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False), normed(6), nn.ReLU(inplace=True),
        nn.Conv2d(6, 8, 3, stride=2, bias=False), normed(8), nn.ReLU(inplace=True),
        head(8),
    )  # fmt: skip


@network()
def residual() -> nn.Module:
    class Residual(Body):
        def __init__(self):
            super().__init__()
            self.norm = normed(8)
            self.block = nn.Conv2d(8, 8, 3, padding=1)

        def features(self, x: Tensor) -> Tensor:
            x = super().features(x)
            return F.relu(x + self.norm(self.block(x)))

    return Residual()


@network()
def residual_in_place() -> nn.Module:
    class ResidualInPlace(Body):
        def __init__(self):
            super().__init__()
            self.norm = normed(8)
            self.block = nn.Conv2d(8, 8, 3, padding=1)
            self.relu = nn.ReLU(inplace=True)

        def features(self, x: Tensor) -> Tensor:
            x = super().features(x)
            out = self.norm(self.block(x))
            out += x
            return self.relu(out)

    return ResidualInPlace()


@network()
def concatenation() -> nn.Module:
    class Concatenation(Body):
        def __init__(self):
            super().__init__()
            self.norm = normed(6)
            self.second = nn.Conv2d(6, 2, 3, padding=1)

        def features(self, x: Tensor) -> Tensor:
            maps = [self.first(x)]
            maps.append(self.second(F.relu(self.norm(maps[0]), inplace=True)))
            return F.relu(torch.cat(maps, 1), inplace=True)

    return Concatenation()


@network()
def depthwise() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), nn.ReLU6(inplace=True),
        nn.Conv2d(6, 6, 3, groups=6), normed(6), nn.ReLU6(),
        nn.Conv2d(6, 8, 1), normed(8), nn.ReLU6(inplace=True),
        head(8),
    )  # fmt: skip


@network()
def dilated() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, dilation=2, padding=2), nn.ReLU(), head(8))


@network()
def grouped() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3, groups=2), nn.ReLU(), head(8)
    )


@network()
def channel_shuffle() -> nn.Module:
    class Shuffle(Body):
        def features(self, x: Tensor) -> Tensor:
            x = super().features(x)
            b, c, h, w = x.shape
            return x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)

    return Shuffle()


@network()
def pools() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3), nn.ReLU(), nn.AvgPool2d(2),
        head(8),
    )  # fmt: skip


@network()
def squeeze_and_excite() -> nn.Module:
    class SqueezeAndExcite(Body):
        def __init__(self):
            super().__init__()
            self.gate = nn.Sequential(
                nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), nn.ReLU(),
                nn.Conv2d(4, 8, 1), nn.Hardsigmoid(),
            )  # fmt: skip

        def features(self, x: Tensor) -> Tensor:
            x = F.hardswish(super().features(x))
            return x * self.gate(x)

    return SqueezeAndExcite()


@network()
def parametrised() -> nn.Module:
    net = Body()
    weight_norm(net.first)
    return net


@network()
def checkpointed() -> nn.Module:
    class Checkpointed(Body):
        def features(self, x: Tensor) -> Tensor:
            return checkpoint(super().features, x, use_reentrant=False)

    return Checkpointed()


# Heads and shapes


@network()
def view_head() -> nn.Module:
    class ViewHead(Body):
        """`view` across channels: fails on channels-last maps."""

        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8 * 12 * 12, CLASSES)

        def decide(self, x: Tensor) -> Tensor:
            return self.fc(x.view(len(x), -1))

    return ViewHead()


@network()
def folded_channels() -> nn.Module:
    class FoldedChannels(Body):
        """`view` across batch and channels: on channels-last maps, fails from two pictures on."""

        def decide(self, x: Tensor) -> Tensor:
            b, c, h, w = x.shape
            return self.fc(x.view(b * c, h * w).mean(1).view(b, c))

    return FoldedChannels()


@network()
def hidden_layer() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, CLASSES),
    )  # fmt: skip


@network()
def class_maps() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Dropout(), nn.Conv2d(6, CLASSES, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


@network()
def perceptron() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 24, 8), nn.ReLU(), nn.Linear(8, CLASSES))


@network()
def no_modules() -> nn.Module:
    class NoModules(nn.Module):
        def __init__(self):
            super().__init__()
            self.kernel = nn.Parameter(torch.randn(8, 3, 3, 3) / 5)
            self.weight = nn.Parameter(torch.randn(CLASSES, 8))

        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(x, self.kernel).relu().mean((2, 3)) @ self.weight.T

    return NoModules()


@network((1, 24, 26))  # no activation is so small that LRP-epsilon amplifies its rounding
def grey() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), head(8))


@network((3, 33, 47))
def odd_size() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), normed(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU(), head(8),
    )  # fmt: skip


@network()
def dropout() -> nn.Module:
    """In training mode, all but one module: every forward would differ."""

    class Dropout(Body):
        def __init__(self):
            super().__init__()
            self.norm = normed(8)
            self.drop = nn.Dropout2d(0.5)

        def decide(self, x: Tensor) -> Tensor:
            x = F.dropout(self.drop(self.norm(x)), 0.5, self.training)
            return super().decide(x)

    class Training(Dropout):
        def eval(self) -> nn.Module:
            self.train()
            self.second.eval()
            return self

    return Training()


@network()
def returns_dict() -> nn.Module:
    class ReturnsDict(Body):
        def decide(self, x: Tensor):
            return {"features": x, "logits": super().decide(x)}

    return ReturnsDict()


@network()
def returns_tuple() -> nn.Module:
    class ReturnsTuple(Body):
        def decide(self, x: Tensor):
            return super().decide(x), x

    return ReturnsTuple()


@network()
def returns_object() -> nn.Module:
    @dataclass
    class Output:
        features: Tensor
        logits: Tensor

    class ReturnsObject(Body):
        def decide(self, x: Tensor):
            return Output(x, super().decide(x))

    return ReturnsObject()


@network()
def frozen() -> nn.Module:
    return batch_norm().requires_grad_(False)


@network()
def double() -> nn.Module:
    return batch_norm().double()


@network()
def data_parallel() -> nn.Module:
    return nn.DataParallel(batch_norm())


@network()
def users_hook() -> nn.Module:
    net = Body()
    net.first.register_forward_hook(lambda module, args, output: output * 2)
    net.fc.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    return net


# Transformers and their kin


class Attention(nn.Module):
    def __init__(self, width: int, heads: int = 2):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(*qkv.unbind(0))
        return self.proj(x.transpose(1, 2).reshape(b, n, c))


class OwnAttention(nn.Module):
    """The torch module, which returns a tuple."""

    def __init__(self, width: int):
        super().__init__()
        self.mha = nn.MultiheadAttention(width, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.mha(x, x, x, need_weights=False)[0]


class Block(nn.Module):
    def __init__(self, width: int, attention: nn.Module):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), attention
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 16), nn.GELU(), nn.Linear(16, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Patches of 6 pixels after `prefix` tokens, of which the first one decides."""

    def __init__(self, attention: Callable[[int], nn.Module], prefix: int = 1, width: int = 8):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 6, 6)
        self.tokens = nn.Parameter(torch.randn(1, prefix, width))
        self.positions = nn.Parameter(torch.randn(1, prefix + 16, width))
        self.blocks = nn.Sequential(*(Block(width, attention(width)) for _ in range(2)))
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.tokens.expand(len(x), -1, -1), x], 1) + self.positions
        return self.fc(self.norm(self.blocks(x))[:, 0])


@network()
def vit() -> nn.Module:
    return ViT(OwnAttention)


@network()
def vit_with_registers() -> nn.Module:
    return ViT(Attention, prefix=3)


class SwinBlock(nn.Module):
    """Attention inside windows of 2x2 cells; the windows lie in the batch."""

    def __init__(self, width: int):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), Attention(width)

    def forward(self, x: Tensor) -> Tensor:
        b, h, w, c = x.shape
        windows = self.norm1(x).view(b, h // 2, 2, w // 2, 2, c).transpose(2, 3)
        attended = self.attn(windows.reshape(-1, 4, c))
        attended = attended.view(b, h // 2, w // 2, 2, 2, c).transpose(2, 3)
        return x + attended.reshape(b, h, w, c)


@network()
def swin_like() -> nn.Module:
    """Maps are [batch, height, width, channels] throughout."""

    class SwinLike(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, 12, 4, 4)
            self.blocks = nn.Sequential(SwinBlock(12), SwinBlock(12))
            self.norm = nn.LayerNorm(12)
            self.fc = nn.Linear(12, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(self.blocks(self.patches(x).permute(0, 2, 3, 1)))
            return self.fc(x.mean((1, 2)))

    return SwinLike()


@network()
def convnext_like() -> nn.Module:
    class ConvNeXtLike(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 4, 4)
            self.spatial = nn.Conv2d(8, 8, 3, padding=1, groups=8)
            self.norm = nn.LayerNorm(8)
            self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
            self.last_norm = nn.LayerNorm(8)
            self.fc = nn.Linear(8, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            mixed = self.norm(self.spatial(x).permute(0, 2, 3, 1))
            x = x + self.mlp(mixed).permute(0, 3, 1, 2)
            return self.fc(self.last_norm(x.mean((2, 3))))

    return ConvNeXtLike()
