import pytest
from PIL import Image

from seewhy.scenes.__main__ import main


def test_a_contact_sheet_is_written_whole(tmp_path, capsys):
    path = tmp_path / "sheet.png"
    main(["--contact-sheet", str(path), "--count", "5", "--size", "32", "--columns", "3"])
    with Image.open(path) as sheet:
        assert sheet.size == (3 * 36, 2 * 50)
        assert len(sheet.getcolors(10**6)) > 100
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]
    assert "5 scenes" in capsys.readouterr().out


def test_speed_is_printed_for_both(capsys):
    main(["--speed", "--size", "8"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all("pictures of 8 px per second" in line for line in lines)


@pytest.mark.parametrize(("arguments", "says"), [
    ([], "nothing to do"),
    (["--contact-sheet", "missing/sheet.png"], "missing"),
    (["--speed", "--size", "0"], "at least 1 pixel"),
])  # fmt: skip
def test_bad_requests_end_with_one_line(arguments, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert says in capsys.readouterr().err.splitlines()[-1]
