"""Every family of timm's networks is read correctly, or a method refuses and says why.

A few families run every time, all of them under `-m slow`. The checks, and how networks are chosen
and prepared: benchmarks/networks.
"""

import sys
from pathlib import Path

import pytest

pytest.importorskip("timm", reason="timm is not installed; pip install seewhy[timm]")
sys.path.append(str(Path(__file__).parents[2]))  # for benchmarks

from benchmarks.networks import choosing
from benchmarks.networks.page import PAGE, page
from benchmarks.networks.sweep import checked, read, wrong

# Residual and reparametrised convolutions, gates, fused norms, windows and grids, tokens: families
# whose smallest variant is tiny.
EVERY_TIME = ("byobnet", "convnext", "efficientnet", "maxxvit", "resnet", "vision_transformer")
RECORDED = {row["family"]: row for row in read()}

pytestmark = pytest.mark.filterwarnings("ignore")  # timm's own


@pytest.mark.parametrize("family", EVERY_TIME)
def test_a_family_is_read_correctly(family: str):
    assert wrong(checked(choosing.built(RECORDED[family]["variant"], family))) == []


@pytest.mark.slow
@pytest.mark.parametrize("family", choosing.families())
def test_every_family_is_read_correctly(family: str):
    """Also that the table has the variant that the rule chooses."""
    subject = choosing.chosen(family)
    assert wrong(checked(subject)) == []
    assert RECORDED[family]["variant"] == subject.variant


def test_nothing_in_the_table_is_wrong():
    assert len(RECORDED) > 90
    assert [line for row in RECORDED.values() for line in wrong(row)] == []


def test_the_page_is_that_of_the_results():
    assert PAGE.read_text() == page(read()), "run python -m benchmarks.networks"
