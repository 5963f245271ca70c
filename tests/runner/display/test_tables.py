"""Tables of text: aligned, no wider than a terminal; brackets in cells are not markup."""

import io
import re
import sys

import pytest

from runner.display.tables import MAX_ROWS, Section, print_tables, shorten_section, write_tables
from runner.terminal import on_terminal, print_line

ROWS = [["[b]name[/b]", "size"], ["[/dim]", "[64, 64]"], ["[red]x", "7"]]
WITH_HEADING = Section("sizes [a]", ROWS, right_columns=(1,))
WITHOUT_HEADING = Section("", [["[link=x]", "1"], ["b", "22"]], has_heading=False)


def set_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")


def read_output(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()]


@pytest.mark.parametrize("is_on_terminal", [False, True])
def test_columns_are_aligned(
    is_on_terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_on_terminal:
        set_terminal(monkeypatch)
    long = "titrate architecture.widths=[64,64] " + "x" * 40
    print_tables([WITH_HEADING, Section("", []), WITHOUT_HEADING], [("folder", "[out]"), ("best", long)])
    assert read_output(capsys) == [
        "sizes [a]",
        "  [b]name[/b]      size",
        "  [/dim]       [64, 64]",
        "  [red]x              7",
        "",
        "[link=x]  1",
        "b         22",
        "folder  [out]",
        f"best    {long}",
    ]
    assert f"{WITH_HEADING}".endswith("7\n")


def test_a_cell_too_long_for_the_terminal_is_wrapped_and_not_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_terminal(monkeypatch)
    print_tables([Section("", [["folder", "n"], ["0123456789" * 6, "3"]])])
    _, *lines = read_output(capsys)
    assert "".join(line.split()[0] for line in lines) == "0123456789" * 6


METRICS = [["split", "price/loss", "price/r2", "city_name"], ["test", "0.5", "-0.0023208", "0.1 to 0.2"]]


@pytest.mark.parametrize(
    ("columns", "section", "expected"),
    [
        (
            38,
            Section("", METRICS),
            ["split  price/  price/r2    city_name", "       loss", "test   0.5     -0.0023208  0.1 to 0.2"],
        ),
        (
            24,
            Section("", METRICS, right_columns=(2,)),
            [
                *("split  price/    price/r2  city_", "       loss                name"),
                *("test   0.5     -0.0023208  0.1 to", "                           0.2"),
            ],
        ),
        (
            26,
            Section(
                "a title that is broken at spaces, for example by data.limit=3 seed=1 'a=[1, 2]'",
                METRICS,
                may_turn=True,
            ),
            [
                "a title that is broken at",
                "spaces, for example by",
                "data.limit=3 seed=1 'a=[1, 2]'",
                "  split       test",
                "  price/loss  0.5",
                "  price/r2    -0.0023208",
                "  city_name   0.1 to 0.2",
                "",
            ],
        ),
        (
            24,
            Section("", METRICS, may_turn=True),
            ["split       test", "price/loss  0.5", "price/r2    -0.0023208", "city_name   0.1 to 0.2"],
        ),
        (
            23,
            Section("", [["best/loss", "folder"], ["0.5", "a/long_folder"], ["0.5", "a/longer_folder"]]),
            ["best/  folder", "loss", "0.5    a/long_folder", "0.5    a/longer_folder"],
        ),
        (
            26,
            Section("", [["name", "type", "size"], ["a/b/c/long_name", "x, y, z", "8.39 MB"]]),
            ["name       type   size", "a/b/c/     x, y,  8.39 MB", "long_name  z"],
        ),
        (
            25,
            Section("", [["rows", "content"], ["1,000,000", "[alpha,beta,1,5] " + "x" * 30]]),
            [
                "rows       content",
                "1,000,000  [alpha,",
                "           beta,1,5]",
                *[" " * 11 + "x" * 14] * 2,
                " " * 11 + "xx",
            ],
        ),
        (
            34,
            Section(
                "", [["row", "12", "97"], ["path", "house000012.jpg", "house000097.jpg"], ["y", "-5924.025186", "1"]]
            ),
            [
                "row   12             97",
                "path  house000012.j  house000097.j",
                "      pg             pg",
                "y     -5924.025186   1",
            ],
        ),
        (
            28,
            Section(
                "", [["row", "12", "97"], ["path", "house000012.jpg", "house000097.jpg"], ["y", "-5924.025186", "1"]]
            ),
            [
                "row   12            97",
                "path  house000012.  house000",
                "      jpg           097.jpg",
                "y     -5924.025186  1",
            ],
        ),
    ],
)
def test_cells_are_broken_between_names_and_never_in_numbers(
    columns: int,
    section: Section,
    expected: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", str(columns))
    print_tables([section])
    assert read_output(capsys) == expected


def test_a_long_table_is_printed_without_its_middle() -> None:
    rows = [["name", "n"], *([f"row {number}", str(number)] for number in range(MAX_ROWS + 2))]
    short = Section("rows", rows[:-1])
    assert shorten_section(short._replace(rows=rows[: MAX_ROWS + 1])) == short._replace(rows=rows[: MAX_ROWS + 1])
    shortened = shorten_section(Section("rows", rows), "the file has all")
    assert shortened.title == "rows (the file has all)"
    half = MAX_ROWS // 2
    assert shortened.rows == [*rows[: half + 1], ["… 2 more", ""], *rows[-half:]]
    assert shorten_section(Section("", [])) == Section("", [])


def test_only_write_tables_raises_for_a_closed_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    class ClosedPipe(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", ClosedPipe())
    print_tables([WITHOUT_HEADING])
    with pytest.raises(BrokenPipeError):
        write_tables([WITHOUT_HEADING])


def test_lines_are_broken_at_spaces_on_each_stream_that_is_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_terminal(monkeypatch)
    sentence = (
        "two columns don't fit the terminal, and `titrate mode=runs | cat`\n  shows all of the columns in any case"
    )
    print_line(sentence)
    print_line(sentence, error=True)
    out, err = capsys.readouterr()
    first, command, indented = out.splitlines()
    assert [first, command] == ["two columns don't fit the terminal, and", "`titrate mode=runs | cat`"]
    assert indented == sentence.splitlines()[1], "lines of tables and code stay whole"
    assert err == f"{sentence}\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    print_line(sentence, error=True)
    assert capsys.readouterr().err == out


class MinimalStream:
    """A replacement of standard output that has only `write` and `flush`, as in some programs."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None: ...


def test_standard_output_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert not on_terminal()
    print_line("nobody reads this")
    print_tables([WITH_HEADING], [("folder", "out")])


def test_standard_output_may_be_any_object_with_write(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = MinimalStream()
    monkeypatch.setattr(sys, "stdout", stream)
    assert not on_terminal()
    print_line("… 日")
    print_tables([], [("folder", "out")])
    assert stream.text == "… 日\nfolder  out\n"


def test_standard_output_may_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    assert not on_terminal()
    print_line("nobody reads this")
    print_tables([WITH_HEADING])


def test_a_character_that_the_encoding_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
    print_line("… ä")
    assert written.getvalue() == b"\\u2026 \\xe4\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert not on_terminal(), "a bar can't be drawn there"
