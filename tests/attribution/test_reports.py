import base64
import dataclasses
import io
import re
from html.parser import HTMLParser

import pytest
import torch
from PIL import Image

from seewhy.attribution.report import report, report_html
from seewhy.errors import SeewhyError

VOID = {"meta", "img", "input", "br"}


class Page(HTMLParser):
    """Checks that tags are nested correctly, and collects the tags and the text."""

    def __init__(self, source: str):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data.replace("\N{NO-BREAK SPACE}", " ")

    def all(self, name: str) -> list[dict]:
        return [attributes for tag, attributes in self.tags if tag == name]


@pytest.fixture
def source(panel) -> str:
    return report_html([panel])


@pytest.fixture
def page(source) -> Page:
    return Page(source)


def test_the_page_loads_nothing_from_elsewhere(source, page):
    assert "http:" not in source
    assert "https:" not in source
    assert "//" not in re.sub(r"data:image/webp;base64,[\w+/=]+|// .*", "", source)
    assert all(image["src"].startswith("data:image/webp;base64,") for image in page.all("img"))
    assert not page.all("link")
    assert all("src" not in script for script in page.all("script"))


def test_hostile_names_stay_text(page):
    assert len(page.all("script")) == 1
    assert not page.all("i")
    assert not page.all("it")
    assert "<script>alert(1)</script>" in page.text
    assert "no <i>attention</i> layers" in page.text
    assert "What if <it> were hidden?" in page.text


def test_every_picture_and_method_has_its_card(page):
    cards = [tag for tag in page.all("section") if tag.get("class") == "card"]
    assert len(cards) == 4
    assert len(page.all("article")) == 2
    assert page.text.count("does not apply") == 2
    assert all(image["alt"] for image in page.all("img"))


def test_the_numbers_are_on_the_page(page):
    for part in (
        "0.844",
        "0.3 % of the score is missing",
        "features.3 (automatic)",
        "steps = 20",
        "torch 2.x",
    ):
        assert part in page.text
    assert "first of 12 frames" in page.text


def test_the_explained_class_is_listed_even_when_it_is_not_among_the_best(explanation):
    logits = torch.arange(9.0).expand(2, 9)
    many = dataclasses.replace(explanation, logits=logits, classes=None)
    text = Page(report_html([many])).text
    assert "class 0" in text
    assert "class 4" in text
    assert "class 3" not in text


def test_of_two_classes_with_one_name_only_the_explained_is_marked(explanation):
    twins = dataclasses.replace(explanation[0], classes=["crane", "crane", "other"])
    text = Page(report_html([twins])).text
    assert text.count("explained below") == 1


def test_each_question_has_its_place(questions):
    page = Page(report_html([questions]))
    text = " ".join(page.text.split())
    assert text.count("explained below") == 2
    assert "layer3<b>:17 explained below −5.25" in text
    assert "b>.png · layer3<b>:17" in text and "b>.png · <script>alert(1)</script>" in text
    assert "1 picture, 1 method" in text
    assert "nan" not in text


def test_broken_maps_say_so(broken):
    text = Page(report_html([broken])).text
    assert "13 values (6.8 %) are not finite" in text
    assert "every value is zero" in text


def test_the_frame_is_where_the_model_looks(source):
    assert "top: 10.000%;left: 11.667%;height: 75.000%;width: 66.667%;" in source


def test_tiny_pictures_are_stored_exactly(page, panel):
    from seewhy.attribution.drawing import draw
    from seewhy.attribution.families import in_turns

    overlay = next(i for i in page.all("img") if i.get("class") == "overlay")
    content = base64.b64decode(overlay["src"].partition(",")[2])
    stored = Image.open(io.BytesIO(content)).convert("RGB")
    want = (draw(in_turns(panel.explanations)[0]).overlay * 255).round().byte().permute(1, 2, 0)
    assert stored.tobytes() == want.numpy().tobytes()


def test_report_writes_what_report_html_says(panel, tmp_path):
    report([panel], tmp_path / "r.html", title="A & B")
    assert (tmp_path / "r.html").read_text() == report_html([panel], "A & B")
    assert "<h1>A &amp; B</h1>" in (tmp_path / "r.html").read_text()


def test_nothing_to_report(tmp_path):
    with pytest.raises(SeewhyError, match="at least one"):
        report([], tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []
