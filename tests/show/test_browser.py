"""The report in a browser: it loads no other files, has no errors, and its switches work."""

import shutil

import pytest

from seewhy.attribution.explanation import Panel
from seewhy.attribution.report import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, panel, tmp_path):
    """Open the report in a window of some width; fails on console errors and other requests."""
    path = tmp_path / "report.html"
    report([panel], path)
    troubles, pages = [], []

    def open_at(width: int, dark: bool = False):
        page = browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        page.on("console", lambda m: troubles.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on(
            "request",
            lambda r: None if r.url.startswith(("file:", "data:")) else troubles.append(r.url),
        )
        page.goto(path.as_uri())
        pages.append(page)
        return page

    yield open_at
    for page in pages:
        page.close()
    assert not troubles


@pytest.mark.parametrize("width", [320, 380, 1300])
def test_no_page_scrolls_sideways(visit, width):
    page = visit(width)
    page.locator("details").first.evaluate("d => d.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_every_choice_stands_beside_its_words_on_a_telephone(visit):
    labels = visit(360).locator(".switch label")
    for i in range(labels.count()):
        lines = labels.nth(i).evaluate("l => l.getBoundingClientRect().height")
        assert lines < 30


def test_further_methods_are_there_on_demand_and_without_a_script(browser, panel, tmp_path):
    many = Panel(panel.explanations * 3, panel.skipped)
    report([many], tmp_path / "many.html")
    page = browser.new_page(java_script_enabled=False)
    page.goto((tmp_path / "many.html").as_uri())
    first = page.locator("article").first
    hidden = first.locator(".more .card")
    assert first.locator(".first .card").count() == 3 and hidden.count() == 3
    assert not hidden.first.is_visible()
    first.locator(".more > summary").click()
    assert hidden.first.is_visible()
    page.close()


def test_the_switch_shows_maps_alone_and_the_picture(visit):
    page = visit(1300)
    overlay, alone = page.locator(".stage .overlay").first, page.locator(".stage .map").first
    assert overlay.is_visible() and not alone.is_visible()
    page.locator("#show-map").check()
    assert alone.is_visible()
    page.locator("#show-picture").check()
    assert not alone.is_visible() and not overlay.is_visible()


def test_a_card_switches_alone_by_keyboard(visit):
    page = visit(1300)
    stages = page.locator(".stage")
    stages.first.focus()
    page.keyboard.press("Enter")
    assert stages.nth(0).locator(".map").is_visible()
    assert not stages.nth(1).locator(".map").is_visible()


def test_dark_and_light_differ(visit):
    def paper(page):
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    assert paper(visit(800)) != paper(visit(800, dark=True))
