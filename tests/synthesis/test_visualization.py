"""Visualisations: what they find, what they say, and what they refuse."""

import pytest
import torch
from torch import nn

import seewhy
from seewhy.errors import SeewhyError
from seewhy.scenes import CLASSES, examples, render
from seewhy.synthesis.evidence import Natural, natural_scores, seen_as_class, unseen_views
from seewhy.synthesis.objective import Objective
from seewhy.synthesis.penalties import TotalVariation
from seewhy.synthesis.statistics import agreement, unlike_photographs
from seewhy.synthesis.transforms import Transforms
from seewhy.synthesis.visualization import beside_photographs, joined, visualize
from seewhy.synthesis.visualization_view import verdict
from seewhy.targets.representations import cosine, energy
from seewhy.targets.terms import between, direction, logit, unit

QUICK = {"steps": 40, "size": 64}


@pytest.fixture(scope="module")
def model() -> seewhy.Model:
    return seewhy.open_model("scenes")


@pytest.fixture(scope="module")
def rooms(tmp_path_factory) -> str:
    from torchvision.utils import save_image

    folder = tmp_path_factory.mktemp("rooms")
    for name, factors in examples(5):
        save_image(render(factors, 64).pixels, folder / f"{name}.png")
    (folder / "bad.png").write_text("no picture")
    return str(folder)


def test_units_are_activated_more_than_by_any_room(model, rooms):
    names = [f"stages.2:{channel}" for channel in (0, 3, 8)]
    result = visualize(model, names, images=rooms, **QUICK)
    assert result.targets == tuple(names) and len(result) == 3
    assert result.exceeds is not None and float(result.exceeds.min()) == 1
    assert result.natural is not None and "bad.png" in result.natural.left_out[0]
    assert "more than all 5 photographs" in verdict(result, 0)
    later = beside_photographs(visualize(model, names, **QUICK), model, names, rooms)
    torch.testing.assert_close(later.natural.scores, result.natural.scores)


def test_a_class_is_seen_in_its_picture_by_another_network_too(model):
    judge = seewhy.open_model("scenes-vit")
    result = visualize(model, list(CLASSES[:3]), judge=judge, **QUICK)
    assert result.targets == CLASSES[:3]
    assert result.seen == (True, True, True)
    assert result.judged is not None and len(result.judged) == 3
    assert "scenes-vit" in verdict(result, 0)


VECTOR = torch.randn(128, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "target",
    [
        "stages.2:3 - 0.5*stages.2:4",
        "stages.2:3@2,2",
        "- stages.2:3",
        "energy of stages.1",
        energy("stages.2"),
        direction("stages.2", VECTOR),
        cosine("stages.2", VECTOR),
        logit(CLASSES[1]) - 0.1 * unit("stages.2:3"),
    ],
    ids=str,
)
def test_every_kind_of_target_rises(model, target):
    plain = visualize(model, target, steps=1, size=64)
    longer = visualize(model, target, **QUICK)
    assert float(longer.unseen[0]) > float(plain.unseen[0])


def test_interpolation_goes_from_one_unit_to_the_other(model):
    steps = between("stages.2:3", "stages.2:8", 3)
    result = visualize(model, steps, **QUICK)
    objective = Objective(
        model, [unit("stages.2:3"), unit("stages.2:8")], torch.full((1, 3, 64, 64), 0.5)
    )
    table = objective.table(result.pictures)
    assert float(table[0, 0]) > float(table[2, 0]) and float(table[2, 1]) > float(table[0, 1])


def test_restarts_differ_and_diversity_makes_them_differ_more(model):
    one = visualize(model, "stages.2:3", restarts=3, **QUICK)
    diverse = visualize(model, "stages.2:3", restarts=3, diversity=300.0, **QUICK)
    assert len(set(one.seeds)) == 3 and not torch.equal(one.pictures[0], one.pictures[1])

    def alike(result) -> float:
        maps = seewhy.capture(model, result.pictures, ["stages.2"])["stages.2"].flatten(2)
        styles = nn.functional.normalize((maps @ maps.mT).flatten(1), dim=1)
        return float((styles @ styles.T).sum() - 3) / 6

    assert alike(diverse) < alike(one)


def test_transparency_leaves_out_what_does_not_matter(model):
    result = visualize(model, "stages.2:3@3,3", transparent=True, **QUICK)
    assert result.transparent and result.pictures.shape == (1, 4, 64, 64)
    assert float(result.pictures.min()) >= 0


def test_a_photograph_is_accentuated_and_stays_near(model):
    room = render(examples(1)[0][1], 64).pixels
    result = visualize(model, "stages.2:3", start=room, nearness=3e4, steps=20, size=64)
    free = visualize(model, "stages.2:3", start=room, steps=20, size=64)
    distance = [float((r.pictures - room).pow(2).mean()) for r in (result, free)]
    objective = Objective(model, [unit("stages.2:3")], room)
    before = float(objective.table(room)[0, 0])
    assert distance[0] < 0.5 * distance[1]
    assert before < float(result.score[0])


def test_the_settings_matter(model):
    one = visualize(model, "stages.2:3", seed=1, **QUICK)
    assert torch.equal(one.pictures, visualize(model, "stages.2:3", seed=1, **QUICK).pictures)
    for settings in (
        {"seed": 2},
        {"seed": 1, "parametrisation": "phase"},
        {"seed": 1, "transforms": "crops"},
        {"seed": 1, "transforms": Transforms()},
        {"seed": 1, "penalties": [TotalVariation(50.0)]},
    ):
        other = visualize(model, "stages.2:3", **settings, **QUICK)
        assert not torch.allclose(other.pictures, one.pictures, atol=1e-3)


def test_parts_become_one_result(model):
    parts = [visualize(model, name, **QUICK) for name in ("stages.2:3", CLASSES[0])]
    whole = joined(parts)
    assert whole.targets == ("stages.2:3", CLASSES[0])
    assert whole.seen == (None, parts[1].seen[0])
    torch.testing.assert_close(whole.pictures[1], parts[1].pictures[0])


# Evidence


def test_natural_scores_are_those_of_each_photograph(model, rooms):
    objective = Objective(
        model, [unit("stages.2:3"), logit(0), unit("stages.2:8")], torch.full((1, 3, 64, 64), 0.5)
    )
    natural = natural_scores(model, objective, rooms, (64, 64))
    assert len(natural) == 5 and len(natural.left_out) == 1
    for number, source in enumerate(natural.sources):
        pixels = seewhy.load_picture(source).pixels[None]
        maps = seewhy.capture(model, pixels, ["stages.2"])["stages.2"]
        expected = [float(maps[0, 3].sum()), float(model(pixels)[0, 0]), float(maps[0, 8].sum())]
        torch.testing.assert_close(
            natural.scores[number], torch.tensor(expected), rtol=1e-3, atol=1e-3
        )


def test_shares_and_ranks():
    natural = Natural(torch.tensor([[1.0, 5], [2, 6], [3, 7], [4, 8]]), ("a", "b", "c", "d"))
    assert natural.share_below(torch.tensor([2.5, 9.0])).tolist() == [0.5, 1]
    assert natural.best(0, 2) == [3, 2]


def test_statistics_beside_a_loop(model):
    photographs = torch.cat([render(f, 64).pixels for _, f in examples(4)])
    pictures = torch.cat([photographs[:1], torch.rand(1, 3, 64, 64)])
    found = unlike_photographs(model, "stages.1", pictures, photographs)

    def sorted_(x):
        maps = seewhy.capture(model, x[None], ["stages.1"])["stages.1"][0]
        return torch.stack([channel.flatten().sort().values for channel in maps])

    natural = [sorted_(x) for x in photographs]
    mean = sum(natural) / 4
    usual = torch.stack([(n - mean).abs().mean() for n in natural]).median()
    for row in range(2):
        expected = (sorted_(pictures[row]) - mean).abs().mean() / usual
        assert float(found[row]) == pytest.approx(float(expected), rel=1e-3)
    assert float(found[1]) > 1.5 > float(found[0])


def test_agreement_of_seeds(model):
    same = torch.rand(1, 3, 64, 64)
    pictures = torch.cat([same, same, torch.rand(1, 3, 64, 64)])
    found = agreement(model, "stages.1", pictures, ("a", "a", "b"))
    assert found[:2].tolist() == pytest.approx([1, 1], abs=1e-5) and bool(found[2].isnan())
    result = visualize(model, "stages.2:3", restarts=2, **QUICK)
    assert "with other seeds" in verdict(result, 0)


def test_another_networks_classes_are_not_ours(model):
    other = seewhy.Model(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 2)), mean=0, std=1)
    assert seen_as_class(other, [torch.rand(1, 3, 64, 64)], [logit(CLASSES[0])]) is None


def test_a_network_without_rows_and_columns(rooms):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 8), nn.Tanh(), nn.Linear(8, 2))
    model = seewhy.Model(net, mean=0.5, std=0.5, preparation=seewhy.Preparation((16, 16)))
    result = visualize(model, [0, 1], restarts=2, images=rooms, steps=5)
    assert result.agreement is not None and bool(result.agreement.isfinite().all())
    assert result.unlike is not None and bool(result.unlike.isfinite().all())


def test_unseen_views_are_the_same_for_all_pictures():
    pictures = torch.rand(1, 3, 32, 32).expand(2, -1, -1, -1)
    for view in unseen_views(pictures):
        torch.testing.assert_close(view[0], view[1])


# Refusals


@pytest.mark.parametrize(
    ("target", "settings", "says"),
    [
        (None, {}, "name a target"),
        ([], {}, "no target given"),
        ("predicted class", {}, "cannot be visualised"),
        ("stages.9:3", {}, "unknown class or unit"),
        ("stages.2:999", {}, "channels, counted from 0"),
        ("stages.2:3", {"size": 4}, "at least 8 pixels"),
        ("stages.2:3", {"restarts": 0}, "restarts must be"),
        ("stages.2:3", {"seed": -1}, "the seed must be"),
        ("stages.2:3", {"transforms": "strange"}, "unknown set of transforms"),
        ("stages.2:3", {"images": "nowhere"}, "nowhere"),
        ("mug", {"diversity": 1.0}, "name a unit, not a class"),
        ("stages.2:3", {"parametrisation": "phase", "start": torch.rand(1, 3, 64, 64)},
         "cannot start from a picture"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(model, target, settings, says):
    with pytest.raises(SeewhyError, match=says) as refused:
        visualize(model, target, **{"steps": 2, "size": 64, **settings})
    assert "\n" not in str(refused.value)
