"""The site builds without a warning, its tutorials run, and no link on it is broken."""

import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    for needed in ("sphinx", "furo", "myst_nb", "ipykernel"):
        pytest.importorskip(needed)
    folder = tmp_path_factory.mktemp("site")
    options = ["-W", "--keep-going", "-q", "-D", f"nb_execution_cache_path={folder / 'notebooks'}"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, ROOT / "docs", folder / "html"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_every_tutorial_shows_pictures(site):
    tutorials = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
    assert tutorials
    for tutorial in tutorials:
        page = (site / "tutorials" / f"{tutorial.stem}.html").read_text()
        assert page.count('src="data:image/png') >= 2, tutorial.name
        assert "Traceback" not in page, tutorial.name


def test_links_lead_somewhere(site):
    pages = {path.resolve(): path.read_text() for path in site.rglob("*.html")}
    ids = {path: set(re.findall(r'id="([^"]+)"', page)) for path, page in pages.items()}
    broken = set()
    for path, page in pages.items():
        for written in re.findall(r'<a [^>]*href="([^"]+)"', page):
            link = urlsplit(unescape(written))
            if link.scheme or link.path.endswith("#"):
                continue
            goal = (path.parent / unquote(link.path)).resolve() if link.path else path
            anchor = unquote(link.fragment)
            if not goal.exists() or (anchor and goal in ids and anchor not in ids[goal]):
                broken.add((path.name, written))
    assert not broken


def test_lists_of_docstrings_are_lists(site):
    page = (site / "api" / "explaining.html").read_text()
    assert re.search(r"<li><p><code[^>]*>(<span[^>]*>)?model", page)
    assert "<p>- " not in page
