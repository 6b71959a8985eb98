"""The command line in this process, and a folder to run it in."""

import io
import shlex
from pathlib import Path

import pytest
from PIL import Image
from terminal import Result, Seewhy
from torchvision.transforms.functional import to_pil_image

from seewhy.cli import main
from seewhy.scenes import render
from seewhy.scenes.examples import examples


@pytest.fixture
def seewhy(capsys: pytest.CaptureFixture[str]) -> Seewhy:
    """`seewhy("explain dog.jpg")` as typed into a shell."""

    def run(line: str) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(shlex.split(line))
        captured = capsys.readouterr()
        return Result(int(left.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def scene() -> Image.Image:
    """A picture that the bundled model knows."""
    _, factors = examples()[0]
    return to_pil_image(render(factors, 96).pixels[0])


@pytest.fixture
def here(tmp_path: Path, scene: Image.Image, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new current folder with dog.jpg in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    scene.save("dog.jpg", quality=95)
    return tmp_path


@pytest.fixture
def photos(here: Path, scene: Image.Image) -> Path:
    """A folder of three pictures."""
    folder = here / "photos"
    folder.mkdir()
    for i, name in enumerate(("a.jpg", "b.png", "c.webp")):
        scene.rotate(20 * i).save(folder / name)
    return folder


@pytest.fixture
def jpeg(scene: Image.Image) -> bytes:
    """The bytes of a sound JPEG."""
    buffer = io.BytesIO()
    scene.save(buffer, "jpeg")
    return buffer.getvalue()
