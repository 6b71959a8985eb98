"""Names and texts from strangers, in everything that shows them: visible, whole, never obeyed."""

import dataclasses
import io
import json
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

import seewhy.cli.progress as progress_module
from seewhy.attribution.explanation import Explanation, Panel
from seewhy.attribution.report import report_html
from seewhy.cli.printing import JsonList, say, say_json, warn
from seewhy.errors import SeewhyError
from seewhy.models.model import Model
from seewhy.results.base import _json
from seewhy.show.figure_grid import FigureGrid, clip, write_below, write_title
from seewhy.show.glyphs import drawable
from seewhy.show.pixel_grid import PixelGrid
from seewhy.show.rendering import image_bytes, notebook, page
from seewhy.show.text import joined
from seewhy.support.printable import printable

ENCODINGS = ("utf-8", "ascii", "latin-1", "utf-16", "cp1252", "shift_jis")
PARTS = (
    *("\x1b[31m", "\x1b]0;title\x07", "\x9b2J", "\r", "\n", "\t", "\0", "\x7f", "\b" * 3),
    *("\u202e", "\u2066", "\u200f", "\u2028", "\ufeff", "\uffff", "\u0600"),
    *("\ud800", "\udcff", "\ud83d", "\udc15"),
    *("<script>alert(1)</script>", "</pre>", '" onload="x', "'", "&lt;", "-->", "]]>", "<!--"),
    *("[red]", "[/]", "[link=x]", "$x^2$", "$", r"\frac", "%s", "%", "{}", "{0.real}", "{{ 1 }}"),
    *("犬", "🐕", "👩\u200d🔬", "é", "e\u0301", "عربي", "\\", "/", "..", "C:", "a" * 255, " ", "−"),
)  # fmt: skip
NAMES = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=60),
    st.lists(st.sampled_from(PARTS), max_size=8).map("".join),
)
SETTINGS = settings(
    deadline=None,
    derandomize=True,  # the same cases every time
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]
    report_multiple_bugs=False,
)
OBEYED = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
COUNTS = [200, pytest.param(20_000, marks=pytest.mark.full)]
FEWER = [10, pytest.param(500, marks=pytest.mark.full)]


def fuzz(count: int, check: Callable[[str], None]) -> None:
    """Run the check on `count` names."""
    settings(SETTINGS, max_examples=count)(given(NAMES)(check))()


def assert_visible(text: str) -> None:
    """Nothing in the text is obeyed by a terminal, reorders it, or cannot be encoded."""
    assert not (found := OBEYED.search(text.replace("\n", ""))), repr(found)
    assert printable(text, keep="\n") == text
    text.encode()


def in_json(name: str) -> str:
    """The name as any JSON gives it back: two surrogates that form a pair are one character."""
    return name.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@pytest.mark.parametrize("count", COUNTS)
def test_texts(count):
    def check(name: str) -> None:
        assert_visible(printable(name))
        assert "\n" not in printable(name)
        if name.isascii() and name.isprintable():
            assert printable(name) == name
        assert_visible(joined(["a", name, "b"]))
        assert joined(["a", name, "b"]).count("\n") == 2
        for error in (SeewhyError(name), SeewhyError(f"no file {name}; name another")):
            assert not OBEYED.search(str(error))
        content = _json({name: [name]})
        assert_visible(content.decode())
        assert json.loads(content) == {in_json(name): [in_json(name)]}

    fuzz(count, check)


@pytest.mark.parametrize("count", COUNTS)
def test_standard_output_in_any_encoding(count, monkeypatch):
    """Text can be read, and JSON gives the same values back, lone surrogates included."""
    encoding = "utf-8"

    def printed(show: Callable[[], object]) -> str:
        raw = io.BytesIO()
        # As the command line sets it up.
        stream = io.TextIOWrapper(raw, encoding, errors="backslashreplace", newline="")
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            patch.setattr(sys, "stderr", stream)
            show()
        stream.flush()
        return raw.getvalue().decode(encoding)

    def items(name: str) -> None:
        listed = JsonList()
        for item in ({name: name}, name, [name]):
            listed.add(item)
        listed.close()

    def check(name: str) -> None:
        nonlocal encoding
        encoding = ENCODINGS[len(name) % len(ENCODINGS)]
        text = printed(lambda: say(f"picture {name}"))
        assert_visible(text)
        assert text.endswith("\n")
        text = printed(lambda: warn(f"skipped {name}"))
        assert_visible(text)
        assert text.startswith("seewhy: skipped") and text.count("\n") == 1
        text = printed(lambda: say_json({name: [name, 1]}))
        assert_visible(text)
        same = in_json(name)
        assert json.loads(text) == {same: [same, 1]}
        text = printed(lambda: items(name))
        assert_visible(text)
        assert json.loads(text) == [{same: same}, same, [same]]

    fuzz(count, check)


class Tags(HTMLParser):
    """The elements of a page with the names of their attributes, and its text."""

    def __init__(self, content: str):
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.text = ""
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def dot() -> Image.Image:
    return Image.new("RGB", (1, 1))


@dataclasses.dataclass(frozen=True)
class Named:
    """A value whose parts bear the name."""

    text: str
    values: dict[str, list[str | list[str]]]


@pytest.mark.parametrize("count", COUNTS)
def test_pages_and_notebooks(count, dot):
    def parts(name: str) -> tuple[str, str]:
        named = Named(name, {name: [name, [name]]})
        return page(name, dot, f"{name}\n{name}"), notebook(named, dot, name)

    expected = [Tags(content).tags for content in parts("dog")]

    def check(name: str) -> None:
        for content, tags in zip(parts(name), expected, strict=True):
            assert_visible(content)
            read = Tags(content)
            assert read.tags == tags
            assert printable(name, keep="\n") in read.text

    fuzz(count, check)


def renamed(explanation: Explanation, name: str) -> Explanation:
    """The explanation with everything that has a name named so."""
    first, second = explanation.batch.pictures
    pictures = (dataclasses.replace(first, source=name, notes=(name,)), second)
    return dataclasses.replace(
        explanation,
        batch=dataclasses.replace(explanation.batch, pictures=pictures),
        classes=(name, "cat", "dog"),
        notes=(name,),
        provenance=dataclasses.replace(explanation.provenance, model=name, layer=name),
    )


class Label(str):
    """A string of another type, as NumPy and data frames have them."""


def named_model(name: str) -> Model:
    return Model(nn.Conv2d(3, 2, 1), mean=0.0, std=1.0, name=name)


@pytest.mark.parametrize("count", FEWER)
def test_reports_and_summaries(count, explanation):
    expected = Tags(report_html([renamed(explanation, "dog")])).tags
    lines = renamed(explanation, "dog").summary().count("\n")

    def check(name: str) -> None:
        name = Label(name + "x")  # empty names are shown otherwise
        result = renamed(explanation, name)
        content = report_html([result])
        assert_visible(content)
        assert Tags(content).tags == expected
        assert_visible(result.summary())
        assert result.summary().count("\n") == lines
        for shown in (repr(result), repr(Panel((result,))), repr(named_model(name))):
            assert_visible(shown)
            assert "\n" not in shown

    fuzz(count, check)


@pytest.mark.parametrize("count", COUNTS)
def test_texts_of_figures_are_drawn_without_a_warning(count):
    def check(name: str) -> None:
        assert_visible(drawable(name))
        assert "\n" not in clip(name, 34) and len(clip(name, 34)) <= 34

    fuzz(count, check)


@pytest.mark.parametrize("count", FEWER)
def test_figures(count):
    def check(name: str) -> None:
        grid = FigureGrid(1, [0.4], 0.2, 1)
        axes = grid.axes(0, 0, 0.0, 0.2)
        axes.set_axis_off()
        write_title(axes, name, name)
        write_below(axes, name)
        grid.write_caption([name])
        for suffix in (".svg", ".png", ".pdf"):
            content = image_bytes(grid.figure, suffix, dpi=20)  # warnings are errors
            if suffix == ".svg":
                ElementTree.fromstring(content)
        drawn = PixelGrid(1, [0.4], 0.2, 1)
        drawn.write_caption([name])

    fuzz(count, check)


class Terminal(io.StringIO):
    """A stream that looks like a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("count", COUNTS)
def test_the_progress_bar(count, monkeypatch):
    """Markup in names is shown and not followed; all terminal escapes are the bar's own."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(progress_module, "PATIENCE", -1)
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "800"}.items():
        monkeypatch.setenv(name, value)
    bars: list[str] = []

    def check(name: str) -> None:
        screen.seek(0)
        screen.truncate()
        with progress_module.progress(quiet=False) as tell:
            tell(f"grad-cam, {name}.", 0.5)
        bars.append(screen.getvalue())
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", bars[-1])
        assert not OBEYED.search(re.sub("[\r\n]", "", shown)), repr(shown)
        if len(name) < 60:
            assert f"grad-cam, {printable(name)}." in shown

    fuzz(min(count, 2_000), check)


def test_the_suite_sees_what_is_not_escaped(monkeypatch):
    """A sink that passes a name on fails the checks."""
    monkeypatch.setattr("seewhy.show.text.printable", lambda text, keep="": text)
    with pytest.raises(AssertionError):
        test_texts(50)
