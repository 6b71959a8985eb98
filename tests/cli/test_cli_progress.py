"""The progress bar is for people at a terminal only."""

import sys

import pytest

import seewhy.cli.progress as module


@pytest.mark.parametrize(
    ("quiet", "terminal", "drawn"),
    [(False, True, True), (True, True, False), (False, False, False)],
)
def test_who_sees_a_bar(quiet, terminal, drawn, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setattr(module, "PATIENCE", -1)
    monkeypatch.setenv("TERM", "xterm-256color")
    with module.progress(quiet) as tell:
        tell("grad-cam", 0.5)
    shown = capsys.readouterr()
    assert ("grad-cam" in shown.err) == drawn
    assert shown.out == ""


def test_short_work_stays_silent(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with module.progress(False) as tell:
        tell("grad-cam", 0.5)
        tell("grad-cam", 1.0)
    assert capsys.readouterr().err == ""


def test_the_bar_goes_when_the_work_fails(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(module, "PATIENCE", -1)
    before = sys.stdout, sys.stderr
    with pytest.raises(KeyboardInterrupt), module.progress(False) as tell:
        tell("grad-cam", 0.5)
        raise KeyboardInterrupt
    assert (sys.stdout, sys.stderr) == before
