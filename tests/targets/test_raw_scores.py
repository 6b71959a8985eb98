"""Models whose outputs are not logits: scores are shown unchanged, and called scores."""

import json
import re
from pathlib import Path

import pytest
import torch

import seewhy
from seewhy.attribution.explanation import joined
from seewhy.attribution.explanation_text import caption
from seewhy.attribution.explanation_view import readable
from seewhy.show import load

PICTURES = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(2))
SCORES = torch.tensor([[40.0, -3.0, 7.5], [0.2, 0.7, 0.1]])  # independent of the content


@pytest.fixture(scope="module")
def explanation() -> seewhy.Explanation:
    bright = PICTURES.mean((1, 2, 3))

    def score(pixels: torch.Tensor) -> torch.Tensor:
        which = (pixels.mean((1, 2, 3))[:, None] - bright).abs().argmin(1)
        return SCORES[which] + pixels[:, :, :8].mean((2, 3)) - PICTURES[which, :, :8].mean((2, 3))

    model = seewhy.black_box(score, classes=["ant", "bee", "cat"], name="oracle")
    return seewhy.explain(model, PICTURES, "occlusion", [0, 2], window=8, stride=8)


def test_no_probability_is_claimed(explanation):
    assert explanation.raw and bool(explanation.probabilities.isnan().all())
    torch.testing.assert_close(explanation.class_scores, SCORES)
    assert [[name for name, _ in row] for row in explanation.top(2)] == [
        ["ant", "cat"],
        ["bee", "ant"],
    ]
    assert explanation.top(1)[0][0][1] == pytest.approx(40.0)
    assert joined(list(explanation)).raw and explanation[0].raw


def test_a_network_puts_out_logits_unless_it_is_said_otherwise():
    model = seewhy.open_model("scenes")
    assert not seewhy.explain(model, PICTURES, "gradient").raw
    as_scores = seewhy.Model(model.net, outputs="scores")
    said = seewhy.explain(as_scores, PICTURES, "gradient")
    assert said.raw and bool(said.probabilities.isnan().all())


def test_words_speak_of_scores(explanation):
    for text in (explanation.summary(), repr(explanation), caption(explanation)):
        assert "probability" not in text and "nan" not in text
    assert "ant, score 40\n" in explanation.summary()
    assert "cat, score 0.1\n" in explanation.summary()
    assert caption(explanation).startswith("ant = 40 · occlusion")


def test_figures_and_reports_show_the_scores(explanation, tmp_path):
    drawn = explanation.show()
    texts = [text.get_text() for axes in drawn.axes for text in axes.texts]
    assert "ant = 40" in texts and "bee = 0.7" in texts and "highest score" in texts
    assert "explained: cat = 0.1" in "\n".join(texts) and "predicted" not in texts
    page = explanation.save(tmp_path / "e.html").read_text()
    rows = re.findall(r'row">(\w+).*?<td class="share">(.*?)</td>.*?number">(.*?)</td>', page, re.S)
    assert [(name, value) for name, _, value in rows][:3] == [
        ("ant", "40"),
        ("cat", "7.5"),
        ("bee", "−3"),
    ]
    assert not any(bar for _, bar, _ in rows), "a score is not a probability"
    assert page.count("explained below") == 2
    assert explanation.save(tmp_path / "e.png").stat().st_size > 5_000


def test_one_score_alone_is_not_the_highest(explanation):
    model = seewhy.black_box(lambda pixels: pixels.mean((1, 2, 3)))
    drawn = seewhy.explain(model, PICTURES[:1], "occlusion", window=8, stride=8).show()
    texts = [text.get_text() for axes in drawn.axes for text in axes.texts]
    assert "score" in texts and any(text.startswith("class 0 = 0.") for text in texts)


def test_json_has_scores(explanation):
    values = readable(explanation)
    assert values["outputs"] == "scores"
    first = values["pictures"][0]
    assert first["probability"] is None and first["score"] == pytest.approx(40)
    assert first["top"][0] == {"name": "ant", "score": pytest.approx(40)}
    json.dumps(values, allow_nan=False)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_it_is_still_known_after_saving_and_loading(explanation, suffix, tmp_path):
    again = load(explanation.save(tmp_path / f"e{suffix}"))
    assert again.raw and again.summary() == explanation.summary()
    panel = load(seewhy.Panel((explanation,)).save(tmp_path / f"p{suffix}"))
    assert panel.explanations[0].raw


def test_archives_from_before_are_of_logits(explanation, monkeypatch, tmp_path):
    from seewhy.attribution import archive

    def without(one):
        return {k: v for k, v in metadata(one).items() if k != "outputs"}

    metadata = archive._metadata
    monkeypatch.setattr(archive, "_metadata", without)
    assert not load(explanation.save(tmp_path / "e.npz")).raw


def test_a_response_curve_is_about_probabilities(explanation):
    net = seewhy.open_model("scenes").net
    model = seewhy.Model(net, outputs="scores")
    said = seewhy.explain(model, PICTURES[:1], "extremal-perturbation", steps=2)
    with pytest.raises(seewhy.NotApplicable, match="probability of a class"):
        seewhy.sufficiency_curve(model, said)


def test_on_the_command_line(tmp_path, monkeypatch, capsys):
    from torchvision.transforms.functional import to_pil_image

    from seewhy.cli import main

    monkeypatch.chdir(tmp_path)
    to_pil_image(PICTURES[0]).save("dog.png")
    Path("oracle.py").write_text(
        "import seewhy\n"
        "def make():\n"
        "    return seewhy.black_box(lambda p: 50 * p.mean((2, 3)), name='oracle')\n"
    )
    for words, said in (
        (["explain", "dog.png", "--method", "occlusion", "-o", "e.png"], "target    class "),
        (["compare", "dog.png", "--methods", "occlusion", "-o", "r.html"], "dog.png: class "),
    ):
        with pytest.raises(SystemExit) as left:
            main([*words, "-m", "oracle:make"])
        out = capsys.readouterr().out
        assert left.value.code == 0 and said in out
        assert ", score 2" in out and "probability" not in out


def test_an_unknown_kind_of_outputs_is_refused():
    with pytest.raises(seewhy.SeewhyError, match="unknown kind of outputs 'score'; did you mean"):
        seewhy.Model(torch.nn.Identity(), outputs="score")
