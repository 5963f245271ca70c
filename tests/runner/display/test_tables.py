"""Tables of text: aligned off a terminal, drawn on one, and what users wrote is never read as markup."""

import io
import re
import sys

import pytest

from runner.display.tables import Section, print_tables, write_tables
from runner.terminal import on_terminal, print_line

BRACKETS = Section("sizes [a]", [["[b]name[/b]", "size"], ["[/dim]", "[64, 64]"], ["[red]x", "7"]], right_columns=(1,))
BARE = Section("", [["[link=x]", "1"], ["b", "22"]], has_heading=False)


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()]


def test_text_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_tables([BRACKETS, Section("", []), BARE], [("folder", "[out]"), ("best", "b=[1]")])
    assert printed(capsys) == [
        "sizes [a]",
        "  [b]name[/b]      size",
        "  [/dim]       [64, 64]",
        "  [red]x              7",
        "",
        "[link=x]  1",
        "b         22",
        "folder  [out]",
        "best    b=[1]",
    ]
    assert f"{BRACKETS}".endswith("7\n")


def test_a_terminal_gets_tables_and_lines_that_can_be_copied(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_terminal(monkeypatch)
    long = "titrate architecture.widths=[64,64] " + "x" * 40
    print_tables([BRACKETS, Section("", []), BARE], [("folder", "[out]"), ("best", long)])
    assert printed(capsys) == [
        "sizes [a]",
        "┏━━━━━━━━━━━━━┳━━━━━━━━━━┓",
        "┃ [b]name[/b] ┃     size ┃",
        "┡━━━━━━━━━━━━━╇━━━━━━━━━━┩",
        "│ [/dim]      │ [64, 64] │",
        "│ [red]x      │        7 │",
        "└─────────────┴──────────┘",
        "",
        "┌──────────┬────┐",
        "│ [link=x] │ 1  │",
        "│ b        │ 22 │",
        "└──────────┴────┘",
        "folder  [out]",
        f"best    {long}",
    ]


def test_a_cell_too_long_for_the_terminal_is_broken_and_not_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_terminal(monkeypatch)
    print_tables([Section("", [["folder", "n"], ["0123456789" * 6, "3"]])])
    cells = [line.split("│")[1].strip() for line in printed(capsys) if line.startswith("│")]
    assert "".join(cells) == "0123456789" * 6


def test_a_reader_that_is_gone_stops_nothing_but_who_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    print_tables([BARE])
    with pytest.raises(BrokenPipeError):
        write_tables([BARE])


class Mute:
    """What some programs put in the place of standard output: it knows how to write, and no more."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None: ...


def test_there_may_be_no_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert not on_terminal()
    print_line("nobody reads this")
    print_tables([BRACKETS], [("folder", "out")])


def test_any_object_may_stand_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    mute = Mute()
    monkeypatch.setattr(sys, "stdout", mute)
    assert not on_terminal()
    print_line("… 日")
    print_tables([], [("folder", "out")])
    assert mute.text == "… 日\nfolder  out\n"


def test_it_may_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    assert not on_terminal()
    print_line("nobody reads this")
    print_tables([BRACKETS])


def test_a_character_that_it_lacks_is_written_as_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
    print_line("… ä")
    assert written.getvalue() == b"\\u2026 \\xe4\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert not on_terminal(), "a bar can't be drawn there"
