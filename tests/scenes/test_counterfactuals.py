import pytest
import torch

from seewhy.errors import Unknown
from seewhy.scenes import REMOVABLE, Shortcut, render, sample, with_factor, without

MARKS = Shortcut("mug", 0.5, leak=0.5)


def reach(scene, thing):
    """The pixels that a thing or its shadow touches."""
    touched = scene.masks[thing] > 0
    if thing in scene.shadows:
        touched |= scene.shadows[thing] > 0
    return touched | (scene.masks["tree"] > 0) if thing == "window" else touched


@pytest.mark.parametrize("size", [64, 37])
@pytest.mark.parametrize("thing", REMOVABLE)
def test_taking_a_thing_away_changes_only_what_it_touches(thing, size):
    factors = sample(32, 0, shortcut=MARKS)
    before, after = render(factors, size), render(without(factors, thing), size)
    changed = (before.pixels != after.pixels).any(1)
    assert not (changed & ~reach(before, thing)).any()
    assert changed.any()  # it was there in some of them
    assert (after.masks[thing] == 0).all()
    was_there = getattr(factors, thing)
    assert torch.equal(before.pixels[~was_there], after.pixels[~was_there])


@pytest.mark.parametrize("thing", ["lamp", "object", "table"])
def test_a_thing_put_back_gives_the_same_picture(thing):
    factors = sample(20, 1)
    back = without(factors, thing).replace(**{thing: getattr(factors, thing)})
    assert torch.equal(render(back).pixels, render(factors).pixels)


def test_only_the_object_changes_with_its_hue_texture_and_shape():
    factors = sample(40, 2)
    before = render(factors)
    for changed in (factors.replace(object_hue=0.3), factors.replace(texture="dots")):
        after = render(changed)
        outside = before.masks["object"] == 0
        assert torch.equal(*(s.pixels.movedim(1, -1)[outside] for s in (before, after)))
        assert all(torch.equal(before.masks[k], after.masks[k]) for k in before.masks)
    after = render(factors.replace(shape="star"))
    outside = (before.masks["object"] == 0) & (after.masks["object"] == 0)
    assert torch.equal(*(s.pixels.movedim(1, -1)[outside] for s in (before, after)))


@pytest.mark.parametrize("name", ["light", "light_direction", "tint"])
def test_light_colours_the_room_but_moves_nothing(name):
    factors = sample(10, 3)
    before, after = render(factors), render(with_factor(factors, name, 0.123))
    assert (before.pixels != after.pixels).any()
    assert all(torch.equal(before.masks[k], after.masks[k]) for k in before.masks)


def test_more_light_is_brighter_everywhere():
    factors = sample(10, 4)
    dim, bright = (render(factors.replace(light=level)).pixels for level in (0.0, 1.0))
    assert (bright >= dim).all() and (bright.mean() - dim.mean()) > 0.1


@pytest.mark.parametrize(("name", "thing"), [("wall_hue", "wall"), ("floor_hue", "floor")])
def test_a_surface_changes_alone(name, thing):
    factors = sample(20, 5)
    before, after = render(factors), render(with_factor(factors, name, 0.2))
    changed = (before.pixels != after.pixels).any(1)
    assert changed.any() and not (changed & (before.masks[thing] == 0)).any()


def test_a_removed_object_has_no_class():
    factors = sample(5, 6)
    assert render(without(factors, "object")).label.tolist() == [-1] * 5


def test_what_can_not_be_taken_away_is_said():
    with pytest.raises(Unknown, match="did you mean lamp"):
        without(sample(1, 0), "lmap")
    with pytest.raises(Unknown, match="one of window"):
        without(sample(1, 0), "wall")
    with pytest.raises(Unknown, match="did you mean light"):
        with_factor(sample(1, 0), "ligth", 1)
