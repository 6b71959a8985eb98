"""Prepared pictures agree with torchvision's presets; maps find their way back."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import v2 as transforms

from seewhy.errors import SeewhyError, Unknown
from seewhy.images import Batch, Picture, Preparation, View, as_picture, prepare
from seewhy.images.preparing import check_extent


def photo(height: int, width: int, seed: int = 0) -> Image.Image:
    """Smooth colours and some noise, so that both aliasing and shifts show."""
    noise = np.random.default_rng(seed).random((height, width, 3))
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(y / 9) + np.cos(x / 7), np.sin(x / 5), np.cos(y / 11)], -1)
    return Image.fromarray(
        (255 * (0.5 + 0.2 * waves + 0.2 * (noise - 0.5)).clip(0, 1)).astype("uint8")
    )


SIZES = [(300, 400), (401, 299), (257, 256), (256, 257), (97, 333), (500, 61), (1, 1), (224, 224)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("resize", "crop"), [(256, (224, 224)), (231, (224, 201)), (64, (64, 64))])
@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
def test_short_side_and_centre_crop_agree_with_torchvision(size, resize, crop, kernel):
    image = photo(*size)
    reference = transforms.Compose(
        [
            transforms.Resize(resize, interpolation=InterpolationMode(kernel)),
            transforms.CenterCrop(crop),
            transforms.PILToTensor(),
        ]
    )(image)
    pixels, view = Preparation(crop, resize, interpolation=kernel)(as_picture(image))
    # Pillow also rounds between its two passes, and cuts off what bicubic overshoots there.
    tolerance = 2.5 if kernel == "bicubic" else 1.5
    torch.testing.assert_close(pixels, reference / 255, atol=tolerance / 255, rtol=0)
    assert view.size == crop
    assert view.original == size


@pytest.mark.parametrize("size", [(300, 400), (401, 299), (20, 30)])
def test_exact_resize_agrees_with_torchvision(size):
    image = photo(*size)
    reference = transforms.PILToTensor()(transforms.Resize((50, 70))(image)) / 255
    whole, view = Preparation((50, 70))(as_picture(image))
    torch.testing.assert_close(whole, reference, atol=1.5 / 255, rtol=0)
    assert view.box == (0, 0, *size)
    resized, _ = Preparation(resize=(50, 70))(as_picture(image))
    assert torch.equal(resized, whole)
    cropped, _ = Preparation((40, 51), resize=(50, 70))(as_picture(image))
    torch.testing.assert_close(
        cropped, transforms.CenterCrop((40, 51))(reference), atol=1.5 / 255, rtol=0
    )


def test_nearest_agrees_with_pillow():
    image = photo(31, 47)
    pixels, _ = Preparation((17, 60), interpolation="nearest")(as_picture(image))
    reference = np.asarray(image.resize((60, 17), Image.Resampling.NEAREST)) / 255
    torch.testing.assert_close(pixels, torch.from_numpy(reference).movedim(-1, 0).float())


def test_grey_is_the_luma_of_itu_r_601():
    image = photo(20, 30)
    pixels, _ = Preparation(channels=1)(as_picture(image))
    assert pixels.shape == (1, 20, 30)
    reference = torch.from_numpy(np.asarray(image.convert("L")) / 255)
    torch.testing.assert_close(pixels[0], reference.float(), atol=1 / 255, rtol=0)


def test_without_size_a_picture_stays_as_it_is():
    picture = as_picture(photo(20, 30))
    pixels, view = Preparation()(picture)
    assert torch.equal(pixels, picture.pixels)
    assert view == View((20, 30), (0.0, 0.0, 20.0, 30.0), (20, 30))


@pytest.mark.parametrize("size", [(300, 400), (401, 299), (100, 90), (40, 56)])
@pytest.mark.parametrize("where", [(0.5, 0.5), (0.4, 0.6), (0.62, 0.45)])
def test_a_bright_spot_returns_to_its_place(size, where):
    height, width = size
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    centre = where[0] * height, where[1] * width
    spot = torch.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * (height / 20) ** 2))
    pixels, view = Preparation((224, 224), resize=256)(as_picture(spot))
    back = view.to_original(pixels[0])
    assert back.shape == size
    seen = back.nan_to_num(0)
    found = (seen * y).sum() / seen.sum(), (seen * x).sum() / seen.sum()
    assert found == pytest.approx(centre, abs=1.0)
    peak = divmod(int(seen.argmax()), width)
    assert peak == pytest.approx(centre, abs=1.5)


def test_to_original_agrees_with_bilinear_interpolation_written_out():
    torch.manual_seed(0)
    heatmap = torch.rand(3, 4, dtype=torch.float64)
    view = View((10, 14), (1.5, 2.25, 7.0, 9.0), (6, 8))
    back = view.to_original(heatmap)
    for row in range(10):
        for column in range(14):
            y, x = (row + 0.5 - 1.5) / 7.0, (column + 0.5 - 2.25) / 9.0
            if not (0 <= y <= 1 and 0 <= x <= 1):
                assert back[row, column].isnan()
                continue
            v, u = min(max(y * 3 - 0.5, 0), 2), min(max(x * 4 - 0.5, 0), 3)
            top, left = min(int(v), 1), min(int(u), 2)
            b, r = v - top, u - left
            expected = (1 - b) * ((1 - r) * heatmap[top, left] + r * heatmap[top, left + 1])
            expected += b * ((1 - r) * heatmap[top + 1, left] + r * heatmap[top + 1, left + 1])
            assert back[row, column].item() == pytest.approx(expected.item(), abs=1e-12)


def test_to_original_loses_nothing_on_a_small_picture():
    heatmap = torch.zeros(224, 224)
    heatmap[100, 131] = 1
    back = View((8, 8), (0.0, 0.0, 8.0, 8.0), (224, 224)).to_original(heatmap)
    assert back.sum().item() == pytest.approx((8 / 224) ** 2, rel=0.05)
    assert divmod(int(back.argmax()), 8) == (3, 4)


def test_to_original_keeps_constants_and_marks_what_the_model_did_not_see():
    _, view = Preparation((224, 224), resize=256)(as_picture(photo(300, 400)))
    back = view.to_original(torch.full((7, 7), 2.5))
    seen = back[~back.isnan()]
    torch.testing.assert_close(seen, torch.full_like(seen, 2.5))
    inside = (~back.isnan()).sum().item()
    assert inside == pytest.approx(view.box[2] * view.box[3], rel=0.02)
    assert back[0, 0].isnan()


def test_to_original_is_on_every_pixel_when_the_model_saw_the_whole_picture():
    _, view = Preparation((64, 64))(as_picture(photo(301, 77)))
    assert not view.to_original(torch.rand(64, 64)).isnan().any()


@pytest.mark.parametrize(
    "thing",
    [
        np.full((4, 5), 51, "uint8"),
        np.full((4, 5, 1), 51, "uint8"),
        np.full((4, 5, 3), 0.2),
        np.full((4, 5, 3), 0.2, ">f4"),
        np.full((4, 5, 3), 0.2, np.longdouble),
        np.full((4, 5, 3), 13107, "uint16"),
        np.full((4, 5, 3), 13107, ">u2"),
        np.full((4, 10, 3), 0.2)[:, ::-2],
        np.concatenate([np.full((4, 5, 3), 51), np.full((4, 5, 1), 255)], -1).astype("uint8"),
        torch.full((4, 5), 0.2),
        torch.full((1, 4, 5), 0.2, dtype=torch.float64),
        torch.full((3, 4, 5), 51, dtype=torch.uint8),
        torch.full((3, 4, 5), 0.2, requires_grad=True),
        torch.full((3, 4, 5), 0.2, dtype=torch.float16),
        Image.new("RGB", (5, 4), (51, 51, 51)),
        Image.new("L", (5, 4), 51),
        Picture(torch.full((3, 4, 5), 0.2), "array"),
    ],
    ids=lambda thing: f"{type(thing).__name__}-{getattr(thing, 'dtype', '')}",
)
def test_a_picture_from_anything(thing):
    picture = as_picture(thing)
    assert picture.pixels.dtype == torch.float32
    assert not picture.pixels.requires_grad
    assert picture.source == "array"
    torch.testing.assert_close(picture.pixels, torch.full((3, 4, 5), 0.2), atol=2e-4, rtol=0)


def test_boolean_masks_are_black_and_white():
    mask = np.eye(3, dtype=bool)
    assert torch.equal(as_picture(mask).pixels[1], torch.eye(3))


@pytest.mark.parametrize(
    ("thing", "says"),
    [
        (torch.randn(3, 32, 32), "looks like it was already normalised; give RGB in [0, 1]"),
        (np.full((4, 4, 3), 200.0), "from 200 to 200: looks like 0 to 255"),
        (np.full((4, 4, 3), np.nan), "NaN or infinite"),
        (torch.full((4, 4), torch.inf), "NaN or infinite"),
        (np.zeros((4, 4, 3), int), "int64 values; give uint8"),
        (np.zeros((4, 4, 3), complex), "give uint8 in 0..255 or floats"),
        (np.array([["a", "b"]]), "give uint8 in 0..255 or floats"),
        (np.zeros((3, 32, 32)), "looks like channels first"),
        (torch.zeros(32, 32, 3), "looks like channels last"),
        (torch.zeros(5), "expected a tensor of height, width"),
        (torch.zeros(1, 3, 4, 4), "got (1, 3, 4, 4)"),
        (np.zeros((0, 4, 3)), "expected an array of height, width"),
        (torch.zeros(7, 9, 9), "got (7, 9, 9)"),
        (3.5, "got float"),
        (None, "got NoneType"),
    ],
)
def test_what_is_no_picture_says_what_came(thing, says):
    with pytest.raises(SeewhyError) as error:
        as_picture(thing)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_pillow_image_is_turned_upright_and_left_alone():
    image = photo(10, 20)
    image.getexif()[0x0112] = 6
    assert as_picture(image).size == (20, 10)
    assert image.size == (20, 10)  # width, height: as it was


def test_a_batch_keeps_the_order(tmp_path):
    images = [photo(40 + 3 * i, 60 - 2 * i, seed=i) for i in range(4)]
    images[1].save(tmp_path / "one.png")
    images[2].save(tmp_path / "two.png")
    things = [images[0], tmp_path / "one.png", str(tmp_path / "two.png"), np.asarray(images[3])]
    preparation = Preparation((32, 32), resize=36)
    batch = prepare(things, preparation)
    assert len(batch) == 4
    assert batch.pixels.dtype == torch.float32
    for index, image in enumerate(images):
        alone = prepare(image, preparation)
        assert torch.equal(batch.pixels[index], alone.pixels[0])
        assert batch.views[index] == alone.views[0]
    assert [p.source for p in batch.pictures][1] == str(tmp_path / "one.png")


def test_an_iterator_of_pictures_is_a_batch():
    assert len(prepare((photo(9, 9, seed) for seed in range(3)), Preparation())) == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8])
def test_a_batch_that_fits_is_used_as_it_is(dtype):
    pixels = torch.rand(2, 3, 8, 9)
    ready = (pixels * 255).to(torch.uint8) if dtype == torch.uint8 else pixels.to(dtype)
    for preparation in (Preparation((8, 9), resize=100), Preparation()):
        batch = prepare(ready, preparation)
        torch.testing.assert_close(batch.pixels, pixels, atol=1 / 255, rtol=0)
        assert batch.views == (View.identity(8, 9),) * 2
        assert torch.equal(batch.pictures[1].pixels, batch.pixels[1])


def test_a_grey_batch_that_fits_stays_grey():
    batch = prepare(torch.rand(2, 1, 8, 8), Preparation((8, 8), channels=1))
    assert batch.pixels.shape == (2, 1, 8, 8)
    assert batch.pictures[0].pixels.shape == (3, 8, 8)


@pytest.mark.parametrize(
    "things",
    [
        torch.rand(2, 3, 20, 30),
        torch.rand(2, 1, 16, 16),
        np.random.default_rng(0).random((2, 20, 30, 3)),
    ],
)
def test_a_batch_that_does_not_fit_is_prepared_one_by_one(things):
    batch = prepare(things, Preparation((16, 16)))
    assert batch.pixels.shape == (2, 3, 16, 16)
    torch.testing.assert_close(batch.pixels[1], prepare(things[1], Preparation((16, 16))).pixels[0])


@pytest.mark.parametrize(
    ("things", "says"),
    [
        ([], "no picture given"),
        (torch.zeros(0, 3, 4, 4), "no picture given"),
        ([photo(4, 5), photo(6, 5)], "4 x 5 (array), 6 x 5 (array)"),
        (torch.randn(2, 3, 9, 9), "already normalised"),
        (7, "got int"),
    ],
)
def test_prepare_says_what_is_wrong(things, says):
    with pytest.raises(SeewhyError) as error:
        prepare(things, Preparation())
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_very_long_picture_is_refused_before_memory_is_spent():
    strip = torch.zeros(3, 1, 10_000)
    with pytest.raises(SeewhyError, match="too elongated"):
        prepare(strip, Preparation((224, 224), resize=256))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"size": (0, 4)}, "size must be (height, width)"),
        ({"resize": 0}, "or a short side in whole pixels, at least 1; got 0"),
        ({"size": (224, 224), "resize": 200}, "resize must be at least size"),
        ({"size": (224, 224), "resize": (300, 200)}, "resize must be at least size"),
        ({"channels": 0}, "got 0"),
        ({"channels": "rgb"}, "got 'rgb'"),
    ],
)
def test_impossible_preparations_are_refused(arguments, says):
    with pytest.raises(SeewhyError) as error:
        Preparation(**arguments)
    assert says in str(error.value)


@pytest.mark.parametrize("value", [224, "224", (4, 4.5), (4,), (4, 4, 4), [4, 4]])
def test_what_is_no_height_and_width_is_refused(value):
    with pytest.raises(SeewhyError, match=r"size must be \(height, width\)"):
        check_extent("size", value, integer_too=False)


def test_an_unknown_interpolation_names_the_nearest():
    with pytest.raises(Unknown, match="did you mean bilinear"):
        Preparation(interpolation="bilinea")


def test_batch_and_picture_compare_by_identity():
    batch = prepare(photo(4, 4), Preparation())
    assert isinstance(batch, Batch)
    assert batch == batch and batch.pictures[0] != prepare(photo(4, 4), Preparation()).pictures[0]
