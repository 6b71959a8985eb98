import tempfile
from pathlib import Path

import pytest

from seewhy.support import crash_report
from seewhy.support.crash_report import write_crash_report
from seewhy.version import __version__


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_a_report_holds_the_traceback_the_versions_and_the_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = write_crash_report(raised(ValueError("\x1b[31mno\ud800" + "y" * 10**6)), ["a b", "-m"])
    assert path is not None and path.parent == tmp_path
    assert path.stat().st_mode & 0o077 == 0, "others can read the report"
    text = path.read_text(encoding="utf-8")
    for part in (__version__, "torch ", "'a b' '-m'", "in raised", r"ValueError: \x1b[31mno\ud800"):
        assert part in text
    assert len(text) < 10**4


@pytest.mark.parametrize("error", [Unprintable(), RecursionError("deep"), KeyboardInterrupt()])
def test_a_report_is_written_about_any_error(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert write_crash_report(error, []) is not None
    assert write_crash_report(error, []) != write_crash_report(error, [])


def test_a_report_that_cannot_be_written_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert write_crash_report(ValueError("no"), []) is None
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(crash_report, "_text", lambda *_: 1 / 0)
    assert write_crash_report(ValueError("no"), []) is None
