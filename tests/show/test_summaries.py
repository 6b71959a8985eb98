import dataclasses

import pytest

from seewhy.attribution.explanation import Cost
from seewhy.attribution.explanation_text import caption, cost_text, source_name, summary
from seewhy.show.text import number, percent


def test_summary_says_what_where_and_at_what_cost(explanation):
    text = summary(explanation)
    assert text == explanation.summary()
    for part in (
        "tabby, probability 0.844",
        "integrated-gradients at features.3 (automatic) · small/net",
        "% for, ",
        "from the left",
        "of the picture",
        "0.3 % of the score is missing from the sum of the map",
        "20 % of the score is missing from the sum of the map",
        "20 forwards, 20 backwards · 1 of them shared · 0.5 s",
        "the reference is a black picture",
    ):
        assert part in text


def test_what_is_no_class_has_a_score_and_no_probability(questions):
    text = summary(questions)
    assert "target    <script>alert(1)</script>, probability 0.042" in text
    assert "target    layer3<b>:17, score −5.25" in text
    assert "nan" not in text
    assert caption(questions, 1).startswith("layer3<b>:17 = −5.25 · integrated-gradients")


def test_summary_does_not_hide_a_broken_map(broken):
    text = summary(broken)
    assert "13 values (6.8 %) are not finite" in text
    assert "every value is zero" in text
    assert "nowhere" in text


def test_caption_is_one_line(explanation):
    asked = dataclasses.replace(explanation.provenance, layer_chosen=False)
    asked = dataclasses.replace(explanation, provenance=asked)
    assert caption(explanation) == (
        "tabby 0.84 · integrated-gradients at features.3 (automatic) · small/net"
    )
    assert "features.3 (given)" in caption(asked)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (0.0001, "< 0.1 %"),
        (0.003, "0.3 %"),
        (0.412, "41 %"),
        (0.995, "99.5 %"),
        (1.0, "100 %"),
        (float("nan"), "not a number"),
    ],
)
def test_percent(share, text):
    assert percent(share) == text


def test_number_has_a_minus_sign_and_no_negative_zero():
    assert [number(v) for v in (-0.0, -1.23456, 1e-9)] == ["0", "−1.23", "1e-09".replace("-", "−")]


def test_cost_counts_one_and_many():
    assert cost_text(Cost(1.0, 0.0)) == "1 forward, 0 backwards"
    assert cost_text(Cost(1200.0, 1.0, 2.0)) == "1,200 forwards, 1 backward · 2 s"


def test_source_name_hides_the_folders(explanation):
    assert source_name(explanation, 0) == "b>.png"
    assert source_name(explanation, 1) == "array"
