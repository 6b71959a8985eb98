"""Damaged and forged picture files are read, or refused in one line."""

import io
import random
import struct
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from outcomes import memory_below, mutated, outcomes
from PIL import Image, features

from seewhy.errors import SeewhyError
from seewhy.images import load_picture
from seewhy.images.loading import MOST_PIXELS


@cache
def originals() -> tuple[bytes, ...]:
    """Valid files of each format, some with metadata, several frames or a palette."""
    colours = Image.fromarray(
        np.random.default_rng(0).integers(0, 255, (24, 20, 3), dtype=np.uint8)
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    variants = [
        (colours, "PNG", {"exif": exif}),
        (colours, "JPEG", {"exif": exif, "quality": 80, "comment": b"hello"}),
        (colours, "JPEG", {"progressive": True}),
        (colours, "GIF", {"save_all": True, "append_images": [colours.rotate(90)] * 3}),
        (colours, "PNG", {"save_all": True, "append_images": [colours.rotate(90)] * 3}),
        (colours, "TIFF", {"compression": "tiff_lzw"}),
        (colours, "TIFF", {"save_all": True, "append_images": [colours.rotate(90)] * 3}),
        (colours, "WEBP", {}),
        (colours, "BMP", {}),
        (colours, "PPM", {}),
        (colours, "TGA", {"compression": "tga_rle"}),
        (colours.convert("P"), "PNG", {"transparency": 3}),
        (colours.convert("RGBA"), "PNG", {}),
        (colours.convert("CMYK"), "JPEG", {}),
        (Image.fromarray(np.arange(480, dtype=np.uint16).reshape(24, 20)), "PNG", {}),
        (Image.fromarray(np.arange(480, dtype=np.float32).reshape(24, 20)), "TIFF", {}),
    ]
    if features.check("jpg_2000"):
        variants.append((colours, "JPEG2000", {}))
    if features.check("avif"):
        variants.append((colours, "AVIF", {}))
    files = []
    for image, kind, options in variants:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        files.append(buffer.getvalue())
    return tuple(files)


def sweep(numbers: range, folder: Path) -> None:
    file = folder / "picture"

    def read(number: int) -> None:
        generator = random.Random(number)
        file.write_bytes(mutated(originals()[number % len(originals())], generator))
        picture = load_picture(file)
        assert picture.size[0] * picture.size[1] <= MOST_PIXELS
        assert 0 <= float(picture.pixels.min()) <= float(picture.pixels.max()) <= 1

    with memory_below(3000):
        counts = outcomes(numbers, read)
    print(f"\n{len(numbers):,} pictures: {dict(counts)}")
    assert counts["accepted"] and counts["refused"]


def test_a_sample_of_damaged_pictures(tmp_path):
    sweep(range(200), tmp_path)


@pytest.mark.full
def test_many_damaged_pictures(tmp_path):
    sweep(range(200, 20_000), tmp_path)


def png(width: int, height: int, bits: int, colour: int, row: bytes) -> bytes:
    """A PNG of equal rows, which compresses to next to nothing."""
    compress, parts = zlib.compressobj(9), []
    for _ in range(height):
        parts.append(compress.compress(row))
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0),
        b"IDAT": b"".join(parts) + compress.flush(),
        b"IEND": b"",
    }
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_small_file_of_a_huge_picture(tmp_path):
    """Its size is looked at before it is decompressed."""
    side = 13_000
    (tmp_path / "huge.png").write_bytes(png(side, side, 16, 0, bytes(1 + 2 * side)))
    assert (tmp_path / "huge.png").stat().st_size < 500_000
    with memory_below(50), pytest.raises(SeewhyError, match="too large: 13000 x 13000 pixels"):
        load_picture(tmp_path / "huge.png")


def test_sixteen_bits_take_no_more_than_what_comes_of_them(tmp_path):
    side = 4000
    (tmp_path / "deep.png").write_bytes(png(side, side, 16, 0, bytes(1 + 2 * side)))
    with memory_below(int(side * side * 30 / 2**20)):  # 12 bytes a pixel are handed out
        assert load_picture(tmp_path / "deep.png").size == (side, side)


@pytest.mark.parametrize("kind", ["EPS", "PDF", "PCX", "SGI"])
def test_other_formats_are_not_opened(kind, tmp_path, monkeypatch):
    """Least of all PostScript, whose reader starts an interpreter."""
    import subprocess

    def started(*_args, **_keywords):
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", started)
    monkeypatch.setattr(subprocess, "check_call", started)
    image = Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8))
    image.save(tmp_path / "picture.jpg", kind)
    with pytest.raises(SeewhyError, match="is not a picture"):
        load_picture(tmp_path / "picture.jpg")
