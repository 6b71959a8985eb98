"""The tool that draws families: what is in its pictures, its page on a photograph, its errors."""

import io
import re
import sys
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import to_pil_image

import seewhy
from seewhy.attribution.drawing import draw
from seewhy.attribution.explanation import Panel
from seewhy.scenes import examples, render

sys.path.append(str(Path(__file__).parents[2]))  # for docs

from docs.families import FAMILIES
from docs.figures import example, main
from docs.photo_page import section, words
from docs.sheet import DPI, GAP, HEADER, MARGIN, TILE, panel_png

from docs import figures

CHEAP = "gradient,cam,deconvnet"

OWN = """
import torch
from torch import nn
import seewhy

def smooth():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(4 * 30 * 30, 3))
    return seewhy.Model(net, size=32, classes=["ant", "bee", "<i>cat</i>"], name="smooth")
"""


@pytest.fixture(scope="module")
def panel() -> Panel:
    return seewhy.compare("scenes", example().pixels, CHEAP, "mug")


def tile(png: bytes, column: int) -> np.ndarray:
    """The tile of a picture of one line, 64 px: the middle dots of its pixels, in 0..255."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    side = round(TILE * DPI)
    left, top = round((MARGIN + column * (TILE + GAP)) * DPI), round(HEADER * DPI)
    step = side // 64
    shown = pixels[top : top + side, left : left + side]
    return shown[step // 2 :: step, step // 2 :: step].astype(int)


def eight(image: torch.Tensor) -> np.ndarray:
    return (image * 255).round().permute(1, 2, 0).numpy().astype(int)


def test_a_scene_is_drawn_with_its_mask_and_every_map(panel):
    scene = example()
    mask = scene.masks["object"][0]
    png = panel_png(panel, mask)
    assert np.abs(tile(png, 0) - eight(scene.pixels[0])).max() <= 1
    assert np.abs(tile(png, 1) - eight(mask.expand(3, -1, -1))).max() <= 1
    edge = torch.nn.functional.max_pool2d(mask[None], 5, 1, 2)[0] > 0
    edge &= torch.nn.functional.max_pool2d(1 - mask[None], 5, 1, 2)[0] > 0
    for column, explanation in enumerate(panel, start=2):
        difference = np.abs(tile(png, column) - eight(draw(explanation).overlay)).max(2)
        assert difference[~edge.numpy()].max() <= 1, explanation.method
        assert difference.max() > 50, "no outline is drawn"


def test_without_a_mask_there_is_no_tile_for_it_and_no_outline(panel):
    png = panel_png(panel)
    for column, explanation in enumerate(panel, start=1):
        assert np.abs(tile(png, column) - eight(draw(explanation).overlay)).max() <= 1
    wide, narrow = (
        Image.open(io.BytesIO(panel_png(panel, mask))).width
        for mask in (example().masks["object"][0], None)
    )
    assert wide - narrow == pytest.approx((TILE + GAP) * DPI, abs=1)


def test_the_picture_knows_its_methods(panel):
    assert Image.open(io.BytesIO(panel_png(panel))).info["Description"] == CHEAP


def test_every_family_that_can_be_shown_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "scene_png", lambda family: family.name.encode())
    written = list(figures.draw_scene(tmp_path))
    assert [p.stem for p in written] == [f.name for f in FAMILIES if f.shown]
    assert sorted(written) == sorted(tmp_path.iterdir())
    assert all(path.read_text() == path.stem for path in written)


@pytest.fixture
def photo(tmp_path, monkeypatch) -> Path:
    """A photograph with a name to be careful with, and a network of one's own, right here."""
    monkeypatch.chdir(tmp_path)
    Path("mynetwork.py").write_text(OWN)
    monkeypatch.delitem(sys.modules, "mynetwork", raising=False)
    path = tmp_path / "<b>dog&.png"
    to_pil_image(render(dict(examples())["star"], 40).pixels[0]).save(path)
    return path


def test_a_photograph_gets_pictures_and_a_page(photo, capsys):
    assert main(["--photo", photo.name, "-m", "mynetwork:smooth", "-o", "out/dog"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    written = sorted(Path("out/dog").iterdir())
    assert sorted(map(Path, told.out.splitlines())) == written
    names = {path.name for path in written}
    assert {"index.html", "gradients.png"} <= names
    assert "rectifiers.png" not in names  # a network without rectifiers has no such map
    page = Path("out/dog/index.html").read_text()
    assert "<b>dog" not in page and "&lt;b&gt;dog&amp;.png" in page
    assert "<i>cat" not in page
    for family in FAMILIES:
        for method in family.registered:
            assert f"<dt>{method}</dt>" in page
        if family.registered:
            assert family.title in page
    assert page.count("does not apply: ") >= 2
    assert "deconvnet changes the backward pass of ReLUs, and smooth has no ReLU" in page
    assert "Which pixels would change the score most if they changed a little?" in unescape(page)
    assert "max over channels of |d logit / d pixel|" in page
    assert "different baselines give" in page  # from the family's page


@pytest.mark.slow
def test_the_page_loads_nothing(photo, capsys):
    assert main(["--photo", photo.name, "-m", "mynetwork:smooth", "-o", "out"]) == 0
    page = Path("out/index.html").read_text()
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert any(a.startswith("data:image/webp") for a in addresses)
    assert all(a.startswith(("data:", "#")) for a in addresses)
    assert not re.search(r"url\(|@import|<script|<link", page)


@pytest.mark.slow
def test_another_class_gives_another_page(photo, capsys):
    for target in ("ant", "bee"):
        command = ["--photo", photo.name, "-m", "mynetwork:smooth", "--target", target]
        assert main([*command, "-o", target]) == 0
    pages = [Path(f"{target}/index.html").read_text() for target in ("ant", "bee")]
    explained = [re.search(r"The maps explain <b>(\w+) ", page) for page in pages]
    assert [found and found[1] for found in explained] == ["ant", "bee"]
    assert Path("ant/gradients.png").read_bytes() != Path("bee/gradients.png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--photo", "cat.png"], "cat.png"),
        (["--photo", "mynetwork.py"], "not a picture"),
        (["--photo", "PHOTO", "-m", "torchvision/resnet51"], "resnet50"),
        (["--photo", "PHOTO", "-m", "scenes", "-w", "absent.safetensors"], "absent.safetensors"),
        (["--photo", "PHOTO", "-m", "scenes", "--target", "mugg"], "did you mean mug"),
        (["--photo", "PHOTO", "-o", "mynetwork.py"], "cannot create the folder"),
        (["-m", "scenes"], "--photo"),
        (["--target", "mug"], "--photo"),
        (["--picture", "x"], "--picture"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(photo, arguments, says, capsys):
    before = sorted(Path().rglob("*.png")), sorted(p for p in Path().iterdir() if p.is_dir())
    assert main([photo.name if a == "PHOTO" else a for a in arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1 and says in told.err
    assert told.err.startswith("docs.figures: ")
    after = sorted(Path().rglob("*.png")), sorted(p for p in Path().iterdir() if p.is_dir())
    assert (before[0], [d for d in after[1] if d.name != "__pycache__"]) == (after[0], before[1])


def test_what_is_lifted_from_the_documentation():
    methods = seewhy.methods()
    layer_cam = words(methods["layer-cam"])
    assert layer_cam.formula.startswith("    relu(sum over channels k of relu(g_k) * A_k)")
    assert layer_cam.caution.startswith("It misleads where there is evidence against")
    assert "seewhy.explain" not in layer_cam.formula + layer_cam.caution
    excitation = words(methods["excitation-backprop"])  # two methods share a module
    assert excitation.formula.startswith(methods["excitation-backprop"].summary())
    assert "p_x = x * W+^T (p / (W+ x))" in excitation.formula
    for name, method in methods.items():
        assert words(method).formula.strip(), name
        assert "seewhy.explain" not in words(method).formula, name
    page = "# A\n\nq\n\n## B\n\none\n\ntwo\n\n## C\n"
    assert section(page, "B") == "one\n\ntwo"
    assert section(page, "D") == ""
