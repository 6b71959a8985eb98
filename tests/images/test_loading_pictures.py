"""Files of every kind that Pillow reads become upright, opaque sRGB in [0, 1]."""

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from seewhy.errors import SeewhyError
from seewhy.images import find_pictures, load_picture

EXIF_ORIENTATION = 0x0112


def gradient(height: int = 12, width: int = 20) -> Image.Image:
    """A picture without symmetry: red grows downwards, green to the right."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(
        np.stack([y * 255 // height, x * 255 // width, 0 * x + 40], -1).astype("uint8")
    )


def as_floats(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image, dtype="float64") / 255).movedim(-1, 0).float()


def message(error: pytest.ExceptionInfo[SeewhyError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_every_camera_rotation_is_undone(tmp_path, orientation, suffix):
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = gradient(64, 96)
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    file = tmp_path / f"turned.{suffix}"
    stored.save(file, exif=exif)
    picture = load_picture(file)
    assert picture.size == (64, 96)
    tolerance = 0.05 if suffix == "jpg" else 1e-6
    torch.testing.assert_close(picture.pixels, as_floats(upright), atol=tolerance, rtol=0)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "LAB"])
def test_every_colour_mode_becomes_rgb(tmp_path, mode):
    image = (
        gradient().convert(mode) if mode != "LAB" else Image.new("LAB", (20, 12), (53, 208, 195))
    )
    file = tmp_path / "picture.tif"
    image.save(file)
    picture = load_picture(file)
    expected = as_floats(image.convert("RGB"))
    torch.testing.assert_close(picture.pixels, expected, atol=1e-6, rtol=0)
    assert picture.pixels.dtype == torch.float32
    assert picture.source == str(file)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_grey_keeps_its_range(tmp_path, suffix):
    values = np.linspace(0, 65535, 240).reshape(12, 20).astype("uint16")
    file = tmp_path / f"deep.{suffix}"
    Image.fromarray(values).save(file)
    picture = load_picture(file)
    expected = torch.from_numpy(values / 65535).float().expand(3, -1, -1)
    torch.testing.assert_close(picture.pixels, expected, atol=1e-6, rtol=0)


def test_16_bit_rgb_png_is_read(tmp_path):
    values = np.linspace(0, 65535, 4 * 5 * 3).reshape(4, 5, 3).astype(">u2")

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    rows = b"".join(b"\0" + row.tobytes() for row in values)
    file = tmp_path / "deep.png"
    file.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 4, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    expected = torch.from_numpy(values.astype("float32") / 65535).movedim(-1, 0)
    torch.testing.assert_close(load_picture(file).pixels, expected, atol=1 / 255, rtol=0)


def test_floats_in_a_tiff(tmp_path):
    values = np.linspace(0, 1, 240).reshape(12, 20).astype("float32")
    Image.fromarray(values).save(tmp_path / "unit.tif")
    Image.fromarray(values * 80 - 20).save(tmp_path / "wide.tif")
    unit, wide = load_picture(tmp_path / "unit.tif"), load_picture(tmp_path / "wide.tif")
    torch.testing.assert_close(unit.pixels[0], torch.from_numpy(values))
    torch.testing.assert_close(wide.pixels, unit.pixels)
    assert unit.notes == ()
    assert wide.notes == ("values from -20 to 60 scaled to [0, 1]",)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_laid_on_white_and_noted(tmp_path, mode):
    image = gradient().convert(mode)
    image.putalpha(Image.linear_gradient("L").resize((20, 12)))
    image.save(tmp_path / "glass.png")
    picture = load_picture(tmp_path / "glass.png")
    white = Image.new("RGBA", image.size, "white")
    expected = as_floats(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"))
    torch.testing.assert_close(picture.pixels, expected, atol=1.5 / 255, rtol=0)
    assert picture.notes == ("transparent parts blended with white",)


def test_a_transparent_palette_colour_is_laid_on_white(tmp_path):
    image = Image.new("P", (4, 2), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((0, 0), 1)
    image.save(tmp_path / "palette.png", transparency=0)
    picture = load_picture(tmp_path / "palette.png")
    assert picture.pixels[:, 0, 0].tolist() == [0, 0, 1]
    assert picture.pixels[:, 1, 3].tolist() == [1, 1, 1]
    assert picture.notes == ("transparent parts blended with white",)


def test_an_opaque_alpha_channel_is_not_worth_a_note(tmp_path):
    gradient().convert("RGBA").save(tmp_path / "opaque.png")
    assert load_picture(tmp_path / "opaque.png").notes == ()


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_of_several_frames_the_first_is_taken(tmp_path, suffix):
    frames = [Image.new("RGB", (16, 10), colour) for colour in ("red", "lime", "blue")]
    exact = {"lossless": True} if suffix == "webp" else {}
    file = tmp_path / f"film.{suffix}"
    frames[0].save(file, save_all=True, append_images=frames[1:], **exact)
    picture = load_picture(file)
    assert picture.notes == ("first of 3 frames",)
    assert picture.pixels[:, 5, 5].tolist() == [1, 0, 0]


def swapped_channels_profile() -> bytes:
    """sRGB with red and green primaries exchanged: reading it as sRGB is plainly wrong."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    data = data.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    named = bytes(data).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
    return named.replace(b"sRGB built-in", b"swap built-in")


def test_an_embedded_colour_profile_is_applied(tmp_path):
    Image.new("RGB", (4, 4), (255, 0, 0)).save(
        tmp_path / "wide.png", icc_profile=swapped_channels_profile()
    )
    picture = load_picture(tmp_path / "wide.png")
    torch.testing.assert_close(
        picture.pixels[:, 0, 0], torch.tensor([0.0, 1.0, 0.0]), atol=0.01, rtol=0
    )
    assert "sRGB" in picture.notes[0]
    assert picture.notes[0].startswith("converted from")


def test_a_profile_keeps_transparency(tmp_path):
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(
        tmp_path / "wide.png", icc_profile=swapped_channels_profile()
    )
    picture = load_picture(tmp_path / "wide.png")
    assert picture.pixels.min() == 1
    assert picture.notes[-1] == "transparent parts blended with white"


def test_an_srgb_profile_changes_nothing(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    gradient().save(tmp_path / "usual.png", icc_profile=profile)
    picture = load_picture(tmp_path / "usual.png")
    torch.testing.assert_close(picture.pixels, as_floats(gradient()), atol=1e-6, rtol=0)
    assert picture.notes == ()


def test_a_broken_profile_is_ignored_with_a_note(tmp_path):
    gradient().save(tmp_path / "odd.png", icc_profile=b"not a profile")
    picture = load_picture(tmp_path / "odd.png")
    torch.testing.assert_close(picture.pixels, as_floats(gradient()), atol=1e-6, rtol=0)
    assert picture.notes == ("colour profile unreadable: ignored",)


def test_one_pixel(tmp_path):
    Image.new("RGB", (1, 1), (255, 0, 51)).save(tmp_path / "dot.png")
    assert load_picture(tmp_path / "dot.png").pixels.flatten().tolist() == pytest.approx(
        [1, 0, 0.2]
    )


def test_a_missing_file_names_its_neighbours(tmp_path):
    gradient().save(tmp_path / "dog.jpg")
    with pytest.raises(SeewhyError) as error:
        load_picture(tmp_path / "dig.jpg")
    assert message(error) == f"no picture file {tmp_path / 'dig.jpg'}; did you mean dog.jpg?"


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(SeewhyError) as error:
        load_picture(tmp_path / "nowhere" / "dog.jpg")
    assert f"there is no folder {tmp_path / 'nowhere'}" in message(error)


def test_a_folder_is_not_a_picture(tmp_path):
    gradient().save(tmp_path / "dog.jpg")
    with pytest.raises(SeewhyError) as error:
        load_picture(tmp_path)
    assert "is a folder; give a picture file" in message(error)
    assert "dog.jpg" in message(error)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty (0 bytes)"),
        (b"hello, I am text\n" * 9, "is not a picture Pillow can read"),
        (b"\x89PNG\r\n\x1a\n", "is not a picture Pillow can read"),
    ],
)
def test_files_that_are_no_pictures(tmp_path, content, says):
    file = tmp_path / "text.jpg"
    file.write_bytes(content)
    with pytest.raises(SeewhyError) as error:
        load_picture(file)
    assert says in message(error)
    assert str(file) in message(error)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "tif", "bmp"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_file_is_refused(tmp_path, suffix, share):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype="uint8")
    buffer = io.BytesIO()
    image = Image.fromarray(noise)
    image.save(buffer, {"jpg": "jpeg", "tif": "tiff"}.get(suffix, suffix))
    file = tmp_path / f"part.{suffix}"
    file.write_bytes(buffer.getvalue()[: int(len(buffer.getvalue()) * share)])
    with pytest.raises(SeewhyError) as error:
        load_picture(file)
    assert str(file) in message(error)
    assert "is truncated" in message(error) or "not a picture" in message(error)


def test_a_truncated_jpeg_says_truncated(tmp_path):
    file = tmp_path / "part.jpg"
    gradient(200, 200).save(file)
    file.write_bytes(file.read_bytes()[:900])
    with pytest.raises(SeewhyError, match=r"part\.jpg is truncated"):
        load_picture(file)


@pytest.mark.parametrize(("limit", "refused"), [(100, True), (200, False)])
def test_a_decompression_bomb_is_refused_and_no_warning_leaks(
    tmp_path, monkeypatch, limit, refused
):
    gradient(15, 20).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if not refused:
            assert load_picture(tmp_path / "huge.png").size == (15, 20)
            return
        with pytest.raises(SeewhyError, match=r"huge\.png is too large"):
            load_picture(tmp_path / "huge.png")


def test_an_unreadable_file_is_named(tmp_path, monkeypatch):
    file = tmp_path / "secret.png"
    gradient().save(file)

    def denied(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(Image, "open", denied)
    with pytest.raises(SeewhyError) as error:
        load_picture(file)
    assert message(error) == f"no permission to read {file}; change its permissions"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_an_unreadable_folder_is_named(tmp_path):
    gradient().save(tmp_path / "dog.png")
    tmp_path.chmod(0)
    try:
        with pytest.raises(SeewhyError, match="no permission to read"):
            load_picture(tmp_path / "dog.png")
    finally:
        tmp_path.chmod(0o700)


def test_an_address_is_not_a_file():
    with pytest.raises(SeewhyError, match="is a web address; download"):
        load_picture("https://example.org/dog.jpg")


@pytest.mark.parametrize("name", ["a\0b.jpg", "x" * 5000 + ".jpg", ""])
def test_names_no_file_can_have(name):
    with pytest.raises(SeewhyError) as error:
        load_picture(name)
    assert message(error)


def test_damaged_bytes_never_end_in_a_foreign_error(tmp_path):
    rng = np.random.default_rng(1)
    noise = Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype="uint8"))
    for suffix in ("jpg", "png", "gif", "webp", "tif"):
        file = tmp_path / f"whole.{suffix}"
        noise.save(file)
        whole = file.read_bytes()
        for trial in range(25):
            damaged = bytearray(whole)
            for at in rng.integers(0, len(whole), 6):
                damaged[at] = rng.integers(0, 256)
            broken = tmp_path / f"{trial}.{suffix}"
            broken.write_bytes(bytes(damaged))
            try:
                pixels = load_picture(broken).pixels
            except SeewhyError as error:
                assert str(broken) in str(error)
                assert "\n" not in str(error)
            else:
                assert pixels.min() >= 0 and pixels.max() <= 1


def test_find_pictures_expands_folders_in_order(tmp_path):
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    for name in ("b.JPG", "a.png", ".hidden.png", "notes.txt", "below/c.png"):
        (folder / name).write_bytes(b"x")
    single = tmp_path / "single.dat"
    single.write_bytes(b"x")
    assert find_pictures(str(single)) == find_pictures(single) == [single]
    assert find_pictures([single, folder]) == [single, folder / "a.png", folder / "b.JPG"]


@pytest.mark.parametrize(
    ("name", "says"),
    [("empty", "empty holds no picture"), ("sinle.png", "did you mean single.png?")],
)
def test_find_pictures_says_what_is_missing(tmp_path, name, says):
    (tmp_path / "empty").mkdir()
    (tmp_path / "single.png").write_bytes(b"x")
    with pytest.raises(SeewhyError) as error:
        find_pictures([tmp_path / name])
    assert says in message(error)


def test_a_path_may_be_a_string_or_a_path(tmp_path):
    gradient().save(tmp_path / "dog.png")
    first, second = load_picture(tmp_path / "dog.png"), load_picture(str(tmp_path / "dog.png"))
    assert torch.equal(first.pixels, second.pixels)
    assert Path(first.source) == Path(second.source)
