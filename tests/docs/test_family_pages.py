"""Every method is on a page of a family, with a current picture and table, and examples run."""

import io
import re
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat
from torchvision.transforms.functional import to_pil_image

import seewhy
from seewhy.cli import main as command_line
from seewhy.scenes import examples, render

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))  # for docs

from docs.families import FAMILIES, PAGES, Family  # noqa: E402
from docs.figures import PICTURES, scene_png  # noqa: E402
from docs.measures import BLOCK  # noqa: E402

OURS = {name for name, m in seewhy.methods().items() if m.__module__.startswith("seewhy.")}
ALL_PAGES = sorted(PAGES.glob("*.md"))
INDEX = (PAGES / "README.md").read_text()

OPTIMISED = ("perturbation", "masks")  # families whose maps take several seconds
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
each_page = pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.stem)


def test_every_method_belongs_to_one_family():
    listed = [name for family in FAMILIES for name in family.methods]
    assert len(listed) == len(set(listed))
    swept = {name for name in OURS if seewhy.methods()[name].in_sweeps}
    assert set(listed) >= swept, "name the new method in docs/families.py"


@each_family
def test_the_page_names_every_method_and_says_when_it_misleads(family: Family):
    page = family.page.read_text()
    assert page.startswith(f"# {family.title}\n")
    for method in family.registered:
        assert re.search(rf"(?<![\w-]){re.escape(method)}(?![\w+-])", page), method
    assert "\n## Formula" in page and "\n## When it misleads\n" in page
    assert ("does not have these methods yet" in page) == (not family.registered)
    assert ("No bundled network" in page) == bool(family.registered and not family.shown)


@each_family
def test_the_index_leads_to_the_family(family: Family):
    rows = re.findall(rf"^\|.*\({family.name}\.md\).*$", INDEX, flags=re.MULTILINE)
    assert rows
    for row in rows:
        assert ("(not there yet)" in row) == (not family.registered), row


@each_family
def test_the_page_has_a_picture_if_there_is_something_to_show(family: Family):
    picture = PICTURES / f"{family.name}.png"
    embedded = f"](../images/attribution/{family.name}.png)" in family.page.read_text()
    same = picture.is_file() == embedded == family.shown
    assert same, "run python -m docs.figures, and see the page"


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(f, id=f.name, marks=[pytest.mark.slow] if f.name in OPTIMISED else [])
        for f in FAMILIES
        if f.shown
    ],
)
def test_the_picture_is_what_is_drawn_today(family: Family):
    """Rounding differs between machines; a method or a layer that changed is seen."""
    content = (PICTURES / f"{family.name}.png").read_bytes()
    assert len(content) < 400_000
    there, today = (Image.open(io.BytesIO(png)) for png in (content, scene_png(family)))
    assert there.info["Description"] == ",".join(family.registered), "run python -m docs.figures"
    assert there.size == today.size, "run python -m docs.figures"
    apart = ImageChops.difference(there.convert("RGB"), today.convert("RGB"))
    assert max(ImageStat.Stat(apart).mean) < 0.5, "run python -m docs.figures, and see the page"


def test_the_tables_list_the_methods_that_are_there():
    expected = {f.name: f.registered for f in FAMILIES if f.shown and f.registered}
    expected["all"] = [m for f in FAMILIES if f.shown and f.model == "scenes" for m in f.registered]
    tables = [found for page in ALL_PAGES for found in BLOCK.finditer(page.read_text())]
    assert sorted(found[2] for found in tables) == sorted(expected)
    for found in tables:
        rows = re.findall(r"^\| `(.+?)` \|", found[0], flags=re.MULTILINE)
        assert rows == ["flat", *expected[found[2]]], f"{found[2]}: run python -m docs.measures"


@each_page
def test_links_lead_somewhere(page: Path):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    assert links or page.stem != "README"
    for link in links:
        generated = link == "../methods.md"
        assert generated or (page.parent / link).is_file(), link


@each_page
def test_the_section_on_what_misleads_can_be_lifted_out(page: Path):
    section = page.read_text().partition("## When it misleads")[2].partition("\n## ")[0]
    assert "](" not in section, "links would break beside a photograph"


@pytest.fixture
def room(tmp_path, monkeypatch) -> None:
    """A folder with room.png, the scene of the pages."""
    monkeypatch.chdir(tmp_path)
    to_pil_image(render(dict(examples())["mug"], 128).pixels[0]).save("room.png")


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(code, id=page.stem)
        for page in ALL_PAGES
        for code in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    ],
)
def test_the_examples_run(code: str, room, capsys):
    exec(code, {})


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(line, id=f"{page.stem}-{number}")
        for page in ALL_PAGES
        for code in re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.DOTALL)
        for number, line in enumerate(code.splitlines())
        if line.startswith("seewhy ")
    ],
)
def test_the_commands_run(line: str, room, capsys):
    with pytest.raises(SystemExit) as ended:
        command_line(line.split()[1:])
    assert ended.value.code == 0, capsys.readouterr().err
