import time

import numpy as np
import pytest
import torch

from seewhy.errors import SeewhyError
from seewhy.scenes import (
    CLASSES,
    COLOURS,
    PARTS,
    TEXTURES,
    THINGS,
    Shortcut,
    examples,
    render,
    sample,
)
from seewhy.scenes.colours import colour_index, oklab, oklch

MARKS = Shortcut("mug", 0.5, leak=0.5)


def test_pictures_are_rgb_in_zero_to_one():
    scene = render(sample(12, 0, shortcut=MARKS))
    assert scene.pixels.shape == (12, 3, 64, 64) and scene.pixels.dtype == torch.float32
    assert scene.pixels.min() >= 0 and scene.pixels.max() <= 1
    assert scene.pixels.flatten(1).std(1).min() > 0.02  # none is blank
    assert torch.equal(scene.label, scene.factors.shape)


@pytest.mark.parametrize("size", [64, 33])
def test_a_picture_is_the_same_to_the_last_bit_alone_and_in_a_batch(size):
    factors = sample(70, 4, shortcut=MARKS)
    together = render(factors, size)
    for i in (0, 17, 69):
        alone = render(factors[i], size)
        assert torch.equal(together.pixels[i], alone.pixels[0])
        assert torch.equal(together.masks["object"][i], alone.masks["object"][0])


@pytest.mark.parametrize("size", [1, 2, 31, (17, 40), (50, 9), (1, 30)])
def test_any_size(size):
    scene = render(sample(3, 1), size)
    height, width = (size, size) if isinstance(size, int) else size
    assert scene.pixels.shape == (3, 3, height, width) and scene.pixels.isfinite().all()
    assert torch.allclose(sum(scene.masks.values()), torch.tensor(1.0), atol=1e-5)
    assert scene.boxes["wall"].shape == (3, 4)
    assert scene.concepts.maps["color"].shape == (3, height, width)


def test_no_pictures_at_all():
    scene = render(sample(0, 0), 16)
    assert scene.pixels.shape == (0, 3, 16, 16) and len(scene) == 0


@pytest.mark.parametrize("size", [0, (4, 0), -3])
def test_a_size_below_one_pixel_is_refused(size):
    with pytest.raises(SeewhyError, match="at least 1 pixel"):
        render(sample(1, 0), size)


def test_an_object_without_extent_is_refused():
    with pytest.raises(SeewhyError, match="object_scale must be positive, got -1"):
        render(sample(2, 0).replace(object_scale=torch.tensor([0.3, -1.0])))


def test_the_picture_does_not_depend_on_the_resolution():
    factors = sample(8, 5, shortcut=MARKS)
    coarse, fine = render(factors, 64), render(factors, 256)
    down = torch.nn.functional.avg_pool2d(fine.pixels, 4)
    assert (down - coarse.pixels).abs().mean() < 0.012
    mask = torch.nn.functional.avg_pool2d(fine.masks["object"], 4)
    assert (mask - coarse.masks["object"]).abs().mean() < 0.003


def test_a_wide_picture_holds_the_square_one():
    factors = sample(4, 6).replace(light_direction=0.0)
    square, wide = render(factors, 40), render(factors, (40, 60))
    assert torch.allclose(square.pixels, wide.pixels[..., 10:50], atol=1e-4)


def test_visible_masks_share_out_every_pixel():
    masks = render(sample(40, 7, shortcut=MARKS), 48).masks
    assert tuple(masks) == THINGS or set(masks) == set(THINGS)
    total = sum(masks.values())
    assert torch.allclose(total, torch.ones_like(total), atol=1e-5)
    assert all(mask.min() >= 0 and mask.max() <= 1 + 1e-6 for mask in masks.values())


def test_only_what_is_present_is_seen():
    factors = sample(40, 8, shortcut=MARKS)
    masks = render(factors, 48).masks
    for thing in ("window", "lamp", "rug", "table", "clutter", "mark", "object"):
        seen = masks[thing].flatten(1).amax(1)
        present = getattr(factors, thing)
        assert (seen[~present] == 0).all(), thing
        assert seen[present].float().mean() > 0.8, thing  # some are hidden by what is before them
    assert (masks["tree"][~factors.tree] == 0).all()


def test_the_object_is_always_seen_and_whole():
    factors = sample(200, 9, shortcut=MARKS)
    scene = render(factors)
    top, left, bottom, right = scene.boxes["object"].unbind(1)
    extent = torch.maximum(bottom - top, right - left) / 64
    assert ((extent - factors.object_scale).abs() < 0.08).all()
    assert (top > 0).all() and (left > 0).all() and (bottom < 64).all() and (right < 64).all()


def test_boxes_are_tight():
    scene = render(sample(20, 10), 40)
    for name, boxes in scene.boxes.items():
        for box, mask in zip(boxes.tolist(), scene.masks[name].numpy(), strict=True):
            rows, columns = np.nonzero(mask >= 0.5)
            if len(rows):
                assert box == [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1], name
            else:
                assert box == [0, 0, 0, 0], name


def test_parts_add_up_to_their_object():
    every = sample(len(CLASSES), 11).replace(shape=torch.arange(len(CLASSES)))
    scene = render(every, 64)
    for index, name in enumerate(CLASSES):
        parts = [scene.parts[f"{name} {part}"] for part in PARTS.get(name, ())]
        if parts:
            total = torch.stack([part[index] for part in parts]).sum(0)
            assert torch.allclose(total, scene.masks["object"][index], atol=1e-5)
            assert all(part[index].max() > 0.9 for part in parts)
            others = torch.arange(len(CLASSES)) != index
            assert all((part[others] == 0).all() for part in parts)


def test_concepts_say_what_the_masks_and_the_factors_say():
    factors = sample(30, 12)
    scene = render(factors)
    maps, names = scene.concepts.maps, scene.concepts.names
    for i in range(30):
        core = scene.masks["object"][i] > 0.5
        objects = {names["object"][k] for k in maps["object"][i][core].unique()}
        textures = {names["texture"][k] for k in maps["texture"][i][core].unique()}
        assert objects == {CLASSES[int(factors.shape[i])]}
        assert textures == {TEXTURES[int(factors.texture[i])]}
    floor = maps["object"] == names["object"].index("floor")
    assert torch.equal(floor, scene.masks["floor"] >= 0.5)
    assert all(m.max() < len(names[c]) and m.min() >= 0 for c, m in maps.items())
    assert maps["color"].min() >= 1


def test_colours_round_trip_and_prototypes_get_their_own_names():
    hue = torch.linspace(0, 0.95, 20)
    lab = oklab(oklch(0.7, 0.05, hue))[:, 0, 0]
    assert torch.allclose(lab[:, 0], torch.full((20,), 0.7, dtype=lab.dtype), atol=1e-4)
    assert torch.allclose(lab[:, 1:].norm(dim=1), torch.tensor(0.05).double(), atol=1e-4)
    prototypes = torch.tensor(list(COLOURS.values()))[:, :, None, None]
    assert colour_index(prototypes)[:, 0, 0].tolist() == list(range(1, len(COLOURS) + 1))


def test_colour_names_of_plain_objects_follow_their_hue():
    factors = sample(1, 0).replace(
        shape="ball", texture="plain", object_hue=0.72, light=0.7, object_scale=0.4, clutter=False
    )
    scene = render(factors)
    seen = scene.concepts.maps["color"][0][scene.masks["object"][0] > 0.9]
    assert scene.concepts.names["color"][int(seen.mode().values)] == "blue"


def test_examples_are_of_distinct_classes_and_show_their_object():
    gallery = examples()
    assert len(gallery) == 6 and len({int(f.shape) for _, f in gallery}) == 6
    for name, factors in gallery:
        assert CLASSES[int(factors.shape)] == name and len(factors) == 1 and not factors.mark
        assert render(factors).masks["object"].sum() > 100
    assert len(examples(10)) == 10
    for count in (0, 11):
        with pytest.raises(SeewhyError, match="1 to 10"):
            examples(count)


def test_rendering_is_quick():
    factors, threads = sample(128, 0), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = []
        for _ in range(3):
            started = time.perf_counter()
            render(factors)
            seconds.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    assert 128 / min(seconds) > 100  # several times as many on an idle core
