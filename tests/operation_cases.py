"""Torch operations that a vision network can contain, each in a network small enough to check.

The network is a convolution, the operation, and a dense layer, without biases and in float64:

    score = sum over i of w_i operation(conv(x))_i

so that what LRP has to answer is known for most of them: with z = conv(x) and the score's gradient
g at z, the relevance of z is

    "gradient"   z g                      linear operations, and others homogeneous of degree one
    "half"       z g / 2                  homogeneous of degree two: products of two activations
    "each"       w (f(z) - f(0))          functions of one number, element by element

and constants keep what the operation puts out for z = 0 (affine operations, functions of one number
that are finite there), or nothing. Functions such as softmax have no such answer; there the books
have to balance, and no more.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True)
class Case:
    """One operation on z, [2, 8, 6, 6].

    - `share`: how the relevance of z is known, see above; "" where it is not.
    - `affine`: constants keep what comes out for z = 0. - `positive`: z is above zero.
    """

    name: str
    operation: Callable[[Tensor], Tensor]
    share: str = ""
    affine: bool = False
    positive: bool = False


class Between(nn.Module):
    """A convolution, the operation, and a dense layer, without biases."""

    def __init__(self, case: Case):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3, bias=False).double()
        weight = torch.randn(8, 3, 3, 3, generator=generator, dtype=torch.double) / 3
        self.conv.weight.data = weight.abs() if case.positive else weight
        self.operation = case.operation
        with torch.no_grad():
            outputs = self.operation(torch.ones(1, 8, 6, 6).double()).numel()
        self.head = nn.Linear(outputs, 3, bias=False).double()
        self.head.weight.data = torch.randn(3, outputs, generator=generator, dtype=torch.double)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.conv(x))

    def after(self, z: Tensor) -> Tensor:
        return self.head(self.operation(z).flatten(1))


def pixels() -> Tensor:
    """Two pictures, [2, 3, 8, 8]; float32, as pictures are, so that nothing is rounded."""
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()


def fixed(*shape: int) -> Tensor:
    """Numbers of both signs that do not depend on the picture."""
    return torch.sin(1 + torch.arange(math.prod(shape), dtype=torch.double)).view(shape)


def made(build: Callable[[], nn.Module]) -> nn.Module:
    """A module with the same random parameters every time, biases too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        module = build().double().eval()
        for name, parameter in module.named_parameters():
            if "bias" in name:
                nn.init.normal_(parameter, std=0.3)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_()
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)
    return module


class Tokens(nn.Module):
    """A module that reads sequences, here 36 tokens of 8 numbers; its first output."""

    def __init__(self, module: nn.Module, times: int = 1):
        super().__init__()
        self.module, self.times = module, times

    def forward(self, z: Tensor) -> Tensor:
        tokens = z.flatten(2).transpose(1, 2)
        output = self.module(*[tokens] * self.times)
        return output[0] if isinstance(output, tuple) else output


def _written(z: Tensor) -> Tensor:
    z = z * 1
    z[:, :2] = fixed(2, 6, 6)
    return z


def _written_by_index(z: Tensor) -> Tensor:
    z = z * 1
    z[:, torch.tensor([0, 3])] = 0.7
    return z


def _written_into_a_constant(z: Tensor) -> Tensor:
    canvas = fixed(1, 8, 8, 8).repeat(len(z), 1, 1, 1)
    canvas[:, :, 1:-1, 1:-1] = z
    return canvas


def _copied_into_a_constant(z: Tensor) -> Tensor:
    canvas = fixed(1, 8, 8, 8).repeat(len(z), 1, 1, 1)
    canvas[:, :, 1:-1, 1:-1].copy_(z)
    return canvas


def _unpooled(z: Tensor) -> Tensor:
    values, indices = F.max_pool2d(z, 2, return_indices=True)
    return F.max_unpool2d(values, indices, 2)


def _attention(z: Tensor, **options: object) -> Tensor:
    tokens = z.flatten(2).transpose(1, 2)
    return F.scaled_dot_product_attention(tokens, tokens, tokens, **options)  # type: ignore[arg-type]


def _grid(z: Tensor) -> Tensor:
    turned = torch.tensor([[0.8, -0.3, 0.1], [0.3, 0.8, 0.0]]).double().expand(len(z), 2, 3)
    return F.affine_grid(turned, list(z.shape), align_corners=False)


def _transformed(z: Tensor) -> Tensor:
    """A spatial transformer, whose grid depends on the picture."""
    moved = torch.eye(2, 3).double() + 0.1 * z.mean((2, 3))[:, :6].view(-1, 2, 3)
    return F.grid_sample(z, F.affine_grid(moved, list(z.shape), align_corners=False),
                         align_corners=False)  # fmt: skip


def _cut(z: Tensor) -> Tensor:
    return z.masked_fill(z < 0, 0.0)


MASK = fixed(6, 6) > 0
ROWS = torch.tensor([5, 0, 0, 3])
ALL = {
    "Activations": [
        Case("relu", F.relu, "each"),
        Case("relu6", lambda z: F.relu6(3 * z), "each"),
        Case("hardtanh", F.hardtanh, "each"),
        Case("clamp", lambda z: z.clamp(-0.5, 0.8), "each"),
        Case("clamp_min", lambda z: z.clamp_min(0.2), "each"),
        Case("clamp_max", lambda z: z.clamp_max(0.2), "each"),
        Case("clamp, constant tensors", lambda z: torch.clamp(z, -fixed(6, 6).abs(), MASK * 1.0)),
        Case("clamp, bound from the picture", lambda z: torch.clamp(z, max=z.mean((2, 3), True))),
        Case("threshold", lambda z: F.threshold(z, 0.1, 0.05), "each"),
        Case("leaky_relu", F.leaky_relu, "each"),
        Case("prelu", lambda z: F.prelu(z, fixed(8)), "each"),
        Case("rrelu, evaluation", made(nn.RReLU), "each"),
        Case("elu", F.elu, "each"),
        Case("selu", F.selu, "each"),
        Case("celu", lambda z: F.celu(z, 0.7), "each"),
        Case("gelu", F.gelu, "each"),
        Case("gelu, tanh", lambda z: F.gelu(z, approximate="tanh"), "each"),
        Case("silu", F.silu, "each"),
        Case("mish", F.mish, "each"),
        Case("hardswish", F.hardswish, "each"),
        Case("hardsigmoid", F.hardsigmoid, "each"),
        Case("sigmoid", torch.sigmoid, "each"),
        Case("special.expit", torch.special.expit),
        Case("tanh", torch.tanh, "each"),
        Case("softplus", F.softplus, "each"),
        Case("softsign", F.softsign, "each"),
        Case("logsigmoid", F.logsigmoid, "each"),
        Case("tanhshrink", F.tanhshrink, "each"),
        Case("softshrink", lambda z: F.softshrink(z, 0.1), "each"),
        Case("hardshrink", lambda z: F.hardshrink(z, 0.1), "each"),
        Case("glu", lambda z: F.glu(z, 1)),
        Case("x * sigmoid(x)", lambda z: z * z.sigmoid(), "each"),
        Case("softmax", lambda z: F.softmax(z, 1)),
        Case("Softmax2d", made(nn.Softmax2d)),
        Case("softmin", lambda z: F.softmin(z, 1)),
        Case("log_softmax", lambda z: F.log_softmax(z, 1)),
        Case("logsumexp", lambda z: z.logsumexp((2, 3))),
        Case("logaddexp", lambda z: torch.logaddexp(z[:, :4], z[:, 4:])),
        Case("where(x > 0, x, 0.1 x)", lambda z: torch.where(z > 0, z, 0.1 * z), "each"),
        Case("where(x > 0, x, exp(x) - 1)", lambda z: torch.where(z > 0, z, z.exp() - 1)),
        Case("x * (x > 0)", lambda z: z * (z > 0), "each"),
        Case("masked_fill(x < 0, 0)", _cut, "each"),
    ],
    "One number at a time": [
        Case("abs", torch.abs, "each"),
        Case("neg", torch.neg, "each"),
        Case("square", torch.square, "each"),
        Case("pow 3", lambda z: z**3, "each"),
        Case("pow 0.5", lambda z: z**0.5, "each", positive=True),
        Case("pow, exponent from the picture", lambda z: z ** z.mean((2, 3), True), positive=True),
        Case("float_power", lambda z: torch.float_power(z, 2)),
        Case("sqrt", torch.sqrt, "each", positive=True),
        Case("rsqrt", torch.rsqrt, "each", positive=True),
        Case("reciprocal", torch.reciprocal, "each", positive=True),
        Case("1 / x", lambda z: 1 / z, "each", positive=True),
        Case("exp", torch.exp, "each"),
        Case("2 ** x", lambda z: 2**z, "each"),
        Case("expm1", torch.expm1, "each"),
        Case("log", torch.log, "each", positive=True),
        Case("log1p", torch.log1p, "each", positive=True),
        Case("log2", torch.log2, "each", positive=True),
        Case("sin", torch.sin, "each"),
        Case("atan", torch.atan, "each"),
        Case("erf", torch.erf, "each"),
        Case("sinc", torch.sinc),
        Case("logit", lambda z: torch.logit(z.sigmoid() * 0.9)),
        Case("sign", torch.sign),
        Case("round", torch.round),
        Case("floor", torch.floor),
        Case("remainder", lambda z: torch.remainder(z, 0.7)),
        Case("trunc", torch.trunc),
        Case("nan_to_num", torch.nan_to_num, "gradient"),
    ],
    "Sums, products and quotients": [
        Case("x + constant", lambda z: z + fixed(6, 6), "gradient", affine=True),
        Case("constant - x", lambda z: 1 - z, "gradient", affine=True),
        Case("x + x", lambda z: z + 0.5 * z.flip(3), "gradient"),
        Case("x * constant", lambda z: z * fixed(6, 6), "gradient"),
        Case("x / constant", lambda z: z / (2 + fixed(6, 6)), "gradient"),
        Case("x * y", lambda z: z[:, :4] * z[:, 4:], "half"),
        Case("x * y * z", lambda z: z[:, :2] * z[:, 2:4] * z[:, 4:6]),
        Case("x / y", lambda z: z[:, :4] / z[:, 4:], positive=True),
        Case("addcmul", lambda z: torch.addcmul(z, z.flip(3), z, value=0.5)),
        Case(
            "addcmul of constants",
            lambda z: torch.addcmul(fixed(6, 6), z, fixed(6, 6)),
            "gradient",
            affine=True,
        ),
        Case("addcdiv", lambda z: torch.addcdiv(z, z.flip(3), z, value=0.5), positive=True),
        Case(
            "lerp, constant end", lambda z: torch.lerp(z, fixed(6, 6), 0.3), "gradient", affine=True
        ),
        Case(
            "lerp, weight from the picture",
            lambda z: torch.lerp(z[:, :4], z[:, 4:], z[:, :4].sigmoid()),
        ),
        Case("matmul", lambda z: z @ z.mT, "half"),
        Case("matmul by a constant", lambda z: z @ fixed(6, 4), "gradient"),
        Case("constant matmul", lambda z: fixed(4, 6) @ z, "gradient"),
        Case("bmm", lambda z: torch.bmm(z[:, 0], z[:, 1]), "half"),
        Case(
            "mv",
            lambda z: torch.stack([torch.mv(one, fixed(36)) for one in z.flatten(2)]),
            "gradient",
        ),
        Case("outer", lambda z: torch.stack([torch.outer(a[0, 0], a[1, 1]) for a in z]), "half"),
        Case("inner", lambda z: torch.inner(z[:, 0], fixed(4, 6)), "gradient"),
        Case("kron", lambda z: torch.stack([torch.kron(a[0], a[1, :2, :2]) for a in z])),
        Case(
            "addmm",
            lambda z: torch.addmm(fixed(5), z.flatten(1), fixed(288, 5)),
            "gradient",
            affine=True,
        ),
        Case(
            "addmm, alpha and beta",
            lambda z: torch.addmm(fixed(2, 5)[:1], z.flatten(1), fixed(288, 5), beta=0.5, alpha=2),
            "gradient",
            affine=True,
        ),
        Case(
            "addmv",
            lambda z: torch.addmv(fixed(1), z.flatten(1), fixed(288))[:, None],
            "gradient",
            affine=True,
        ),
        Case("baddbmm", lambda z: torch.baddbmm(z[:, 2], z[:, 0], z[:, 1])),
        Case(
            "baddbmm of constants",
            lambda z: torch.baddbmm(fixed(6, 6), z[:, 0], fixed(1, 6, 6).expand(len(z), 6, 6)),
            "gradient",
            affine=True,
        ),
        Case(
            "addbmm of constants",
            lambda z: torch.addbmm(fixed(5), z.flatten(2).transpose(0, 1), fixed(8, 36, 5)),
            "gradient",
            affine=True,
        ),
        Case("einsum", lambda z: torch.einsum("nchw,ncvw->nhv", z, z), "half"),
        Case(
            "einsum by a constant",
            lambda z: torch.einsum("nchw,cd->ndhw", z, fixed(8, 3)),
            "gradient",
        ),
        Case("einsum of three", lambda z: torch.einsum("nchw,nchw,nchw->nc", z, z, z)),
        Case("tensordot", lambda z: torch.tensordot(z, fixed(8, 5), ([1], [0])), "gradient"),
        Case("prod", lambda z: z[..., :3].prod(-1)),
        Case("cumprod", lambda z: z.cumprod(3)),
        Case("cross", lambda z: torch.linalg.cross(z[:, :3], z[:, 3:6], dim=1), "half"),
        Case(
            "Bilinear", lambda z: F.bilinear(z.flatten(2), z.flatten(2), fixed(3, 36, 36)), "half"
        ),
        Case(
            "Bilinear with a constant",
            lambda z: F.bilinear(
                z.flatten(2), fixed(1, 8, 4).expand(len(z), 8, 4), fixed(3, 36, 4), fixed(3)
            ),
            "gradient",
            affine=True,
        ),
        Case("cosine_similarity", lambda z: F.cosine_similarity(z[:, :4], z[:, 4:])),
        Case("pairwise_distance", lambda z: F.pairwise_distance(z[:, 0], z[:, 1], eps=0)),
        Case("cdist", lambda z: torch.cdist(z[:, 0], fixed(4, 6))),
        Case("det", lambda z: torch.linalg.det(z)),
        Case("inverse", lambda z: torch.linalg.inv(z + 9 * torch.eye(6).double())),
    ],
    "Reductions, extrema and order": [
        Case("sum", lambda z: z.sum((2, 3)), "gradient"),
        Case("mean", lambda z: z.mean(1), "gradient"),
        Case("cumsum", lambda z: z.cumsum(2), "gradient"),
        Case("var", lambda z: z.var((2, 3)), "half"),
        Case("std", lambda z: z.std((2, 3)), "gradient"),
        Case("var_mean", lambda z: torch.cat(torch.var_mean(z, (2, 3)), 1)),
        Case("norm", lambda z: z.norm(dim=1), "gradient"),
        Case("norm, p = 1", lambda z: z.norm(1, dim=1), "gradient"),
        Case("norm, p = 3", lambda z: torch.linalg.vector_norm(z, 3, 1), "gradient"),
        Case("norm, p = infinity", lambda z: torch.linalg.vector_norm(z, math.inf, 1), "gradient"),
        Case("normalize", lambda z: F.normalize(z, dim=1)),
        Case("renorm", lambda z: torch.renorm(z, 2, 1, 1.0)),
        Case("maximum", lambda z: torch.maximum(z[:, :4], z[:, 4:]), "gradient"),
        Case("maximum with a constant", lambda z: torch.maximum(z, fixed(6, 6)), "each"),
        Case("minimum", lambda z: torch.minimum(z[:, :4], z[:, 4:]), "gradient"),
        Case("fmax", lambda z: torch.fmax(z[:, :4], z[:, 4:]), "gradient"),
        Case("max", lambda z: z.max(1).values, "gradient"),
        Case("amax", lambda z: z.amax((2, 3)), "gradient"),
        Case("amin", lambda z: z.amin(1), "gradient"),
        Case("median", lambda z: z.flatten(2).median(2).values, "gradient"),
        Case("kthvalue", lambda z: z.flatten(2).kthvalue(5).values, "gradient"),
        Case("mode", lambda z: z.flatten(2).mode(2).values, "gradient"),
        Case("quantile", lambda z: z.flatten(2).quantile(0.3, 2), "gradient"),
        Case("sort", lambda z: z.sort(1).values, "gradient"),
        Case("topk", lambda z: z.flatten(2).topk(4).values, "gradient"),
        Case("cummax", lambda z: z.cummax(2).values, "gradient"),
        Case("x[argmax]", lambda z: z.gather(1, z.argmax(1, keepdim=True)), "gradient"),
        Case("logcumsumexp", lambda z: z.logcumsumexp(2)),
        Case("trace", lambda z: torch.stack([a[0].trace() for a in z])[:, None], "gradient"),
    ],
    "Constants written in, masks and selections": [
        Case(
            "where(mask, x, constant)", lambda z: torch.where(MASK, z, 0.4), "gradient", affine=True
        ),
        Case("masked_fill", lambda z: z.masked_fill(MASK, -0.4), "gradient", affine=True),
        Case("masked_fill_", lambda z: (z * 1).masked_fill_(MASK, -0.4), "gradient", affine=True),
        Case(
            "masked_scatter",
            lambda z: z.masked_scatter(MASK, fixed(1, 8 * int(MASK.sum())).expand(len(z), -1)),
            "gradient",
            affine=True,
        ),
        Case("masked_select", lambda z: torch.stack([a[:, MASK] for a in z]), "gradient"),
        Case("x[:, :2] = constant", _written, "gradient", affine=True),
        Case("x[:, index] = number", _written_by_index, "gradient", affine=True),
        Case("constant[...] = x", _written_into_a_constant, "gradient", affine=True),
        Case("constant.copy_(x)", _copied_into_a_constant, "gradient", affine=True),
        Case("pad, zeros", lambda z: F.pad(z, (1, 2, 0, 1)), "gradient"),
        Case("pad, value", lambda z: F.pad(z, (1, 2, 0, 1), value=0.7), "gradient", affine=True),
        Case("pad, reflect", lambda z: F.pad(z, (1, 2, 0, 1), mode="reflect"), "gradient"),
        Case("pad, replicate", lambda z: F.pad(z, (1, 2, 0, 1), mode="replicate"), "gradient"),
        Case("pad, circular", lambda z: F.pad(z, (1, 2, 0, 1), mode="circular"), "gradient"),
        Case(
            "cat with a constant",
            lambda z: torch.cat([z, fixed(1, 2, 6, 6).expand(len(z), 2, 6, 6)], 1),
            "gradient",
            affine=True,
        ),
        Case(
            "stack with a constant",
            lambda z: torch.stack([z[:, 0], fixed(1, 6, 6).expand(len(z), 6, 6)], 1),
            "gradient",
            affine=True,
        ),
        Case(
            "hstack with a constant",
            lambda z: torch.hstack([z, fixed(1, 2, 6, 6).expand(len(z), 2, 6, 6)]),
            "gradient",
            affine=True,
        ),
        Case("index_select", lambda z: z.index_select(2, ROWS), "gradient"),
        Case("index_fill", lambda z: z.index_fill(2, ROWS, 0.3), "gradient", affine=True),
        Case(
            "index_copy",
            lambda z: z.index_copy(2, ROWS[2:], fixed(1, 8, 2, 6).expand(len(z), 8, 2, 6)),
            "gradient",
            affine=True,
        ),
        Case(
            "index_add",
            lambda z: z.index_add(2, ROWS, fixed(1, 8, 4, 6).expand(len(z), 8, 4, 6)),
            "gradient",
            affine=True,
        ),
        Case(
            "index_put",
            lambda z: z.index_put((torch.arange(len(z))[:, None], ROWS[None]), fixed(6, 6)),
            "gradient",
            affine=True,
        ),
        Case(
            "gather",
            lambda z: z.gather(2, ROWS.view(1, 1, 4, 1).expand(len(z), 8, 4, 6)),
            "gradient",
        ),
        Case("take_along_dim", lambda z: z.take_along_dim(ROWS.view(1, 1, 4, 1), 2), "gradient"),
        Case(
            "scatter of a constant",
            lambda z: z.scatter(2, ROWS[:2].view(1, 1, 2, 1).expand(len(z), 8, 2, 6), 0.3),
            "gradient",
            affine=True,
        ),
        Case(
            "scatter_add",
            lambda z: (
                fixed(1, 8, 6, 6)
                .repeat(len(z), 1, 1, 1)
                .scatter_add(2, ROWS.view(1, 1, 4, 1).expand(len(z), 8, 4, 6), z[:, :, :4])
            ),
            "gradient",
            affine=True,
        ),
        Case(
            "scatter_reduce, amax",
            lambda z: z.scatter_reduce(
                2, ROWS.view(1, 1, 4, 1).expand(len(z), 8, 4, 6), z[:, :, :4], "amax"
            ),
        ),
        Case(
            "embedding of constants",
            lambda z: z.flatten(2).mT + F.embedding(ROWS[:1], fixed(6, 8)),
            "gradient",
            affine=True,
        ),
        Case("tril", lambda z: z.tril(), "gradient"),
        Case("roll", lambda z: z.roll(2, 3), "gradient"),
        Case("flip", lambda z: z.flip(2), "gradient"),
        Case("repeat_interleave", lambda z: z.repeat_interleave(2, 1), "gradient"),
        Case("dropout, evaluation", made(nn.Dropout), "gradient"),
        Case("detach of a factor", lambda z: z * z.detach().sigmoid(), "gradient"),
    ],
    "Resampling and pooling": [
        Case("unfold", lambda z: F.unfold(z, 3, padding=1), "gradient"),
        Case("fold", lambda z: F.fold(z.reshape(len(z), 32, 9), 4, 2), "gradient"),
        Case("pixel_shuffle", lambda z: F.pixel_shuffle(z, 2), "gradient"),
        Case("pixel_unshuffle", lambda z: F.pixel_unshuffle(z, 2), "gradient"),
        Case("channel_shuffle", lambda z: F.channel_shuffle(z, 4), "gradient"),
        *[
            Case(
                f"interpolate, {mode}",
                lambda z, mode=mode: F.interpolate(z, (9, 4), mode=mode),
                "gradient",
            )
            for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area")
        ],
        Case(
            "interpolate, antialias",
            lambda z: F.interpolate(z, (4, 4), mode="bilinear", antialias=True),
            "gradient",
        ),
        Case("grid_sample", lambda z: F.grid_sample(z, _grid(z), align_corners=False), "gradient"),
        Case(
            "grid_sample, border",
            lambda z: F.grid_sample(z, _grid(z), padding_mode="border", align_corners=False),
            "gradient",
        ),
        Case("grid_sample, grid from the picture", _transformed),
        Case("avg_pool2d", lambda z: F.avg_pool2d(z, 3, 2, 1), "gradient"),
        Case("adaptive_avg_pool2d", lambda z: F.adaptive_avg_pool2d(z, 4), "gradient"),
        Case("max_pool2d", lambda z: F.max_pool2d(z, 3, 2, 1), "gradient"),
        Case(
            "max_pool2d, indices",
            lambda z: F.max_pool2d(z, 3, 2, 1, return_indices=True)[0],
            "gradient",
        ),
        Case("adaptive_max_pool2d", lambda z: F.adaptive_max_pool2d(z, 4), "gradient"),
        Case(
            "fractional_max_pool2d",
            lambda z: F.fractional_max_pool2d(
                z, 2, output_size=4, _random_samples=torch.full((2, 8, 2), 0.4).double()[: len(z)]
            ),
            "gradient",
        ),
        Case("max_unpool2d", _unpooled, "gradient"),
        Case("lp_pool2d", lambda z: F.lp_pool2d(z, 2, 2), "gradient", positive=True),
        Case("lp_pool2d, p = 3", lambda z: F.lp_pool2d(z, 3.0, 2), "gradient", positive=True),
    ],
    "Layers with weights": [
        Case("conv2d", made(lambda: nn.Conv2d(8, 4, 3, padding=1, bias=False)), "gradient"),
        Case("conv2d, bias", made(lambda: nn.Conv2d(8, 4, 3, padding=1)), affine=True),
        Case(
            "conv2d, groups, dilation",
            made(lambda: nn.Conv2d(8, 4, 3, padding=2, dilation=2, groups=4)),
            affine=True,
        ),
        Case(
            "conv2d, reflect",
            made(lambda: nn.Conv2d(8, 4, 3, padding=1, padding_mode="reflect")),
            affine=True,
        ),
        Case("conv1d", lambda z: F.conv1d(z.flatten(2), fixed(4, 8, 3), fixed(4)), affine=True),
        Case("conv3d", lambda z: F.conv3d(z[:, None], fixed(4, 1, 3, 3, 3), fixed(4)), affine=True),
        Case(
            "conv_transpose2d",
            made(lambda: nn.ConvTranspose2d(8, 4, 3, stride=2, groups=2)),
            affine=True,
        ),
        Case(
            "weight from the picture",
            lambda z: F.conv2d(
                z.reshape(1, -1, 6, 6),
                z[:, :4, :3, :3].reshape(-1, 1, 3, 3).repeat(2, 1, 1, 1),
                groups=8 * len(z),
            ).reshape(len(z), -1),
        ),
        Case("linear", made(lambda: nn.Linear(6, 4)), affine=True),
        Case(
            "weight_norm",
            made(lambda: parametrizations.weight_norm(nn.Conv2d(8, 4, 3))),
            affine=True,
        ),
        Case(
            "spectral_norm",
            made(lambda: parametrizations.spectral_norm(nn.Conv2d(8, 4, 3))),
            affine=True,
        ),
        Case("batch_norm", made(lambda: nn.BatchNorm2d(8)), affine=True),
        Case(
            "batch_norm of a sum",
            lambda z: F.batch_norm(z + z.flip(3), fixed(8), 1 + fixed(8) ** 2, fixed(8), fixed(8)),
            "gradient",
            affine=True,
        ),
        Case("batch_norm of the batch", lambda z: F.batch_norm(z, None, None, training=True)),
        Case("layer_norm", lambda z: F.layer_norm(z, (6, 6), fixed(6, 6), fixed(6, 6))),
        Case("group_norm", made(lambda: nn.GroupNorm(4, 8))),
        Case("instance_norm", made(lambda: nn.InstanceNorm2d(8))),
        Case("rms_norm", lambda z: F.rms_norm(z, (6, 6))),
        Case("local_response_norm", lambda z: F.local_response_norm(z, 3)),
        Case("RNN", Tokens(made(lambda: nn.RNN(8, 5, batch_first=True)))),
        Case("LSTM", Tokens(made(lambda: nn.LSTM(8, 5, batch_first=True)))),
        Case("GRU", Tokens(made(lambda: nn.GRU(8, 5, batch_first=True)))),
        Case(
            "MultiheadAttention",
            Tokens(made(lambda: nn.MultiheadAttention(8, 2, batch_first=True)), 3),
        ),
        Case(
            "TransformerEncoderLayer",
            Tokens(made(lambda: nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True))),
        ),
        Case("scaled_dot_product_attention", _attention),
        Case("scaled_dot_product_attention, causal", lambda z: _attention(z, is_causal=True)),
        Case(
            "checkpoint", lambda z: checkpoint(lambda a: F.elu(a), z, use_reentrant=False), "each"
        ),
    ],
    "Fourier transforms and complex numbers": [
        Case(
            "ifft2(filter fft2)",
            lambda z: torch.fft.ifft2(torch.fft.fft2(z) * fixed(6, 6)).real,
            "gradient",
        ),
        Case(
            "irfft2(rfft2)",
            lambda z: torch.fft.irfft2(torch.fft.rfft2(z)[..., :3], s=(6, 4)),
            "gradient",
        ),
        Case("abs(rfft2)", lambda z: torch.fft.rfft2(z).abs(), "gradient"),
        Case("abs(rfft2) squared", lambda z: torch.fft.rfft2(z).abs() ** 2, "half"),
        Case("angle(rfft2)", lambda z: torch.fft.rfft2(z + 0.1).angle()),
        Case(
            "complex product",
            lambda z: (torch.view_as_complex(z.unflatten(3, (3, 2)).contiguous()) ** 2).real,
            "half",
        ),
        Case("exp(i x)", lambda z: torch.exp(1j * z).real),
        Case("polar", lambda z: torch.polar(z[:, :4].exp(), z[:, 4:]).imag),
    ],
}
CASES = {case.name: case for cases in ALL.values() for case in cases}
