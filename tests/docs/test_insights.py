"""The claims about extremal perturbations that the pages make, on fewer scenes."""

import pytest
from docs.measures import energy_inside
from torchvision.utils import save_image

import seewhy
from docs import insights
from seewhy.perturbation.smooth import hardened
from seewhy.scenes import CLASSES, Scene, render, sample


@pytest.fixture(scope="module")
def model() -> seewhy.Model:
    return seewhy.open_model("scenes")


@pytest.fixture(scope="module")
def scene() -> Scene:
    return render(sample(12, seed=insights.SEED), insights.SIZE)


@pytest.mark.slow
def test_what_is_preserved_lies_on_the_object_more_than_the_gradient_does(model, scene):
    target = scene.label.tolist()
    e = seewhy.explain(model, scene.pixels, insights.NAME, target, areas=(0.1,))
    mask = scene.masks["object"]
    inside = insights._inside(hardened(e.attribution[:, 0], 0.1), mask).mean()
    gradient = seewhy.explain(model, scene.pixels, "gradient", target).heatmap
    assert float(inside) > 1.4 * float(energy_inside(gradient, mask).mean())


@pytest.mark.slow
def test_where_the_mark_decides_the_mask_finds_it():
    cheat = seewhy.open_model("scenes-shortcut")
    pixels, mark = insights.decided_by_the_mark(cheat, sample(20, seed=insights.SEED))
    assert len(pixels) > 5
    target = CLASSES.index(insights.MARKED)
    e = seewhy.explain(cheat, pixels, insights.NAME, target, areas=(0.02,), steps=60)
    found = insights._inside(mark, hardened(e.attribution[:, 0], 0.02)) > 0.5
    assert float(found.float().mean()) >= 0.9


def test_the_object_suffices_and_two_say_more_than_one(model, scene):
    lines = "".join([*insights.alone(model, scene), *insights.two_objects(model, 6)])
    assert "the object alone | 100 %" in lines and "than either alone in 100 %" in lines


@pytest.mark.slow
def test_photographs_and_their_channels(tmp_path, capsys):
    for i, pixels in enumerate(render(sample(2, seed=3), 64).pixels):
        save_image(pixels, tmp_path / f"{i}.png")
    assert insights.main(["--photos", str(tmp_path), "-m", "scenes", "--layer", "stages.1"]) == 0
    table = capsys.readouterr().out
    assert "| 100 | 1.00 | | |" in table and "| 20 % (13) |" in table
    assert insights.main(["--photos", str(tmp_path / "no"), "-m", "scenes"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
