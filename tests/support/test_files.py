import errno
import os
from pathlib import Path

import pytest

from seewhy.errors import SeewhyError
from seewhy.show import save
from seewhy.support.files import atomic_write, write_bytes


def test_a_failure_in_the_middle_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="midway"), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("midway")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_clear_error(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(SeewhyError, match="No space left"), atomic_write(path):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "a.txt"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_success_replaces_the_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_has_the_usual_rights(tmp_path):
    write_bytes(tmp_path / "a.bin", b"x")
    (tmp_path / "b.bin").write_bytes(b"x")
    assert (tmp_path / "a.bin").stat().st_mode == (tmp_path / "b.bin").stat().st_mode


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(SeewhyError, match="it is a folder"), atomic_write(tmp_path):
        pass


def test_an_encoder_that_fails_touches_nothing(explanation, tmp_path, monkeypatch):
    def fail(thing):
        raise RuntimeError("midway")

    path = tmp_path / "e.json"
    path.write_text("old")
    monkeypatch.setattr("seewhy.attribution.explanation_view.data", fail)
    with pytest.raises(RuntimeError, match="midway"):
        save(explanation, path)
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permissions"),
    ],
)
def test_the_message_says_what_to_do(code, advice, tmp_path):
    with pytest.raises(SeewhyError, match=advice), atomic_write(tmp_path / "a.txt"):
        raise OSError(code, os.strerror(code))


def test_a_folder_that_becomes_read_only_does_not_hide_the_error(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(SeewhyError, match="No space left"), atomic_write(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x" * 300, "File name too long; give it a shorter name"),
        ("x" * 300 + "/a.txt", "File name too long"),
        ("a\0b", "no file can have this name"),
        ("a\ud800", "no file can have this name"),
    ],
    ids=["long", "long folder", "null byte", "lone surrogate"],
)
def test_names_that_no_file_can_have(name, words, tmp_path):
    with pytest.raises(SeewhyError, match=words) as raised:
        write_bytes(tmp_path / name, b"")
    assert str(raised.value).isprintable()
    assert list(tmp_path.iterdir()) == []
