"""The page beside other tools: its examples do what the formulas say, its numbers are current."""

import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.append(str(Path(__file__).parents[2]))  # for docs

from docs.code_lines import code_lines

import seewhy
from seewhy.attribution.method import REGISTRY
from seewhy.autodiff.rules.composites import COMPOSITES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "side_by_side.md").read_text()
EXAMPLES = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
ROWS = re.findall(r"^\| (`[^|]+`|this page) \| ([^|]+) \| (\d+) \|$", PAGE, re.MULTILINE)
PEERS = {"zennit": "zennit", "pytorch_grad_cam": "grad-cam"}  # folder: distribution
NOT_INSTALLED = {"torchray", "lucid"}  # read from their repositories, at the commits on the page


@pytest.fixture(scope="module")
def page() -> Iterator[dict[str, Any]]:
    """What the examples define; what they register is taken back."""
    seewhy.methods()  # all are registered from here on
    methods, composites = dict(REGISTRY), dict(COMPOSITES)
    found: dict[str, Any] = {"__name__": __name__}
    try:
        exec(EXAMPLES, found)
        yield found
    finally:
        for registry, before in ((REGISTRY, methods), (COMPOSITES, composites)):
            registry.clear()
            registry.update(before)


def activations(page: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """The features after relu2, as a leaf, and the logits made of them."""
    net = page["net"]
    features = net[:4](page["pictures"]).detach().requires_grad_()
    return features, net[4:](features)


def on_pixels(values: Tensor) -> Tensor:
    """Maps of the features, up-sampled to the pictures' 8 rows and columns."""
    return F.interpolate(values[:, None].detach(), (8, 8), mode="bilinear")[:, 0]


def shares(layer: nn.Module, x: Tensor) -> Tensor:
    """The contribution of each input (columns) to each output (rows), as a full matrix."""
    of_zero = layer(torch.zeros_like(x)[None])
    units = torch.eye(x.numel(), dtype=x.dtype).view(-1, *x.shape)
    return (layer(units) - of_zero).flatten(1).T * x.flatten()


def test_the_rule_hands_relevance_on_by_the_size_of_contributions(page: dict[str, Any]):
    found = page["relevance"]
    net = page["net"].double()
    try:
        for picture, heatmap in zip(page["pictures"].double(), found.heatmap, strict=True):
            first, second = net[:2](picture[None])[0], net[:4](picture[None])[0]
            r = shares(net.dense, second.flatten())[2]  # the bias keeps the rest of the logit
            for layer, x in ((net.conv2, first), (net.conv1, picture)):
                sizes = shares(layer, x).abs()
                r = r @ (sizes / sizes.sum(1, keepdim=True))
            expected = r.view_as(picture).sum(0).detach()
            torch.testing.assert_close(heatmap.double(), expected, rtol=1e-4, atol=1e-6)
    finally:
        net.float()
    assert found.residual is not None and float(found.residual.max()) < 1e-4


def test_the_method_is_its_formula(page: dict[str, Any]):
    features, logits = activations(page)
    (gradient,) = torch.autograd.grad(logits[:, 2].sum(), features)
    expected = on_pixels((features * gradient).sum(1))
    torch.testing.assert_close(page["linear"].heatmap, expected)
    assert "linear-approximation" in page["seewhy"].methods()


def test_the_target_is_its_formula(page: dict[str, Any]):
    features, logits = activations(page)
    vector = torch.linspace(-1, 1, 6)
    expected = 0.5 * logits[:, 2] - (features * vector[:, None, None]).sum((1, 2, 3))
    torch.testing.assert_close(page["towards"].score, expected.detach())
    assert bool(page["towards"].heatmap.any())


def test_a_new_kind_of_term_is_its_formula(page: dict[str, Any]):
    features, _ = activations(page)
    torch.testing.assert_close(page["excited"].score, features.detach().square().mean((1, 2, 3)))
    assert page["excited"].target_names == ["energy of relu2"] * 2
    doubled = page["seewhy"].explain(
        page["net"], page["pictures"], "gradient", 2 * page["Energy"]()
    )
    torch.testing.assert_close(doubled.heatmap, 2 * page["excited"].heatmap)


def test_grad_cam_is_its_formula(page: dict[str, Any]):
    features, logits = activations(page)
    (gradient,) = torch.autograd.grad(logits[:, 2].sum(), features)
    expected = on_pixels((gradient.mean((2, 3), keepdim=True) * features).sum(1).relu())
    assert bool(expected.any())
    torch.testing.assert_close(page["seen"].heatmap, expected)


def source_of(file: str) -> str:
    """The text of a file of ours, of an installed library, or of the page's examples."""
    if file == "this page":
        return EXAMPLES
    package, _, path = file.strip("`").partition("/")
    if package == "seewhy":
        return (ROOT / "src" / package / path).read_text()
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    version = importlib.metadata.version(PEERS[package])
    if f"{PEERS[package]} {version}" not in PAGE:
        pytest.skip(f"the page counts another version than {PEERS[package]} {version}")
    spec = importlib.util.find_spec(package)
    assert spec and spec.origin
    return (Path(spec.origin).parent / path).read_text()


@pytest.mark.parametrize(
    ("file", "part", "lines"),
    [row for row in ROWS if row[0].strip("`").partition("/")[0] not in NOT_INSTALLED],
)
def test_the_lines_of_code_are_those_of_the_files(file: str, part: str, lines: str):
    source = source_of(file)
    names = [""] if part == "all" else re.findall(r"`(\w+)`", part)
    assert sum(code_lines(source, name) for name in names) == int(lines)


def test_every_row_of_the_tables_is_read():
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    tables = sum(line.startswith("|---") for line in rows)
    assert len(ROWS) == len(rows) - 2 * tables > 0


def test_lines_of_code_leave_out_comments_blanks_and_docstrings():
    source = '''"""A module."""

import math  # counts

# does not


@cached
def area(
    r: float,
) -> float:
    """Two
    lines."""
    text = """counts

    all"""
    return math.pi * r**2
'''
    assert code_lines(source) == 9
    assert code_lines(source, "area") == 8
    with pytest.raises(ValueError, match="no class or function volume"):
        code_lines(source, "volume")
