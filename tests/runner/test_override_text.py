"""Overrides that messages print: pasted into a shell, they set the value."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import components
from runner.config.overrides import parse_override
from runner.override_text import SETTING, format_override, is_writable, locate_settings, quote_name

TEXT = st.text("\"'\\ ,[]{}()$~%\n\t\x07\x85=:;|&<>!#*?`.-+ä1eEk", max_size=8) | st.sampled_from(
    ["2020", "1", "1e3", "true", "Null", "nan", "INF", "none", "h:mm", "a:b", "k\\A", "a\\b", 'q"', "-x", "~y", ""]
)


def read_word(word: str) -> str:
    """The word that a shell passes on. Only bash and zsh know the escapes of `$'…'`."""
    if word.startswith("$'"):
        return subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True).stdout.decode()
    (read,) = shlex.split(word)
    return read


def read_override(word: str) -> dict[str, Any]:
    override = parse_override(read_word(word))
    value = override.value()
    for part in reversed(override.key_or_group.split(".")):
        value = {part: value}
    return value


@given(TEXT | st.lists(TEXT))
def test_a_printed_override_sets_its_value(value: str | list[str]) -> None:
    word = format_override("data.nulls", value)
    assert word.isprintable()
    if not word.startswith("$'"):  # another process for each would take long
        assert read_override(word) == {"data": {"nulls": value}}


@given(TEXT, TEXT)
def test_a_printed_override_sets_the_value_of_a_name(name: str, value: str) -> None:
    quoted = quote_name(name)
    assume(quoted is not None)
    word = format_override(f"data.types.{quoted}", value)
    assert word.isprintable()
    if not word.startswith("$'"):  # another process for each would take long
        assert read_override(word) == {"data": {"types": {name: value}}}


@pytest.mark.parametrize("text", ["a\nb", "it's\t\\n", "\x07", "\x85ä", "\U000e0001"])
def test_a_printed_override_is_one_line(text: str) -> None:
    word = format_override("data.drop", [text])
    assert word.isprintable()
    assert read_override(word) == {"data": {"drop": [text]}}


@pytest.mark.parametrize("name", ["a${b", "???", """a"=b'=c""", ""])
def test_a_name_that_no_override_can_have_is_not_written(name: str) -> None:
    assert quote_name(name) is None


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("y", "data.target=y"),
        ("a b", """'data.target="a b"'"""),
        ("2020", """'data.target="2020"'"""),
        ("true", """'data.target="true"'"""),
        ("h:mm", "data.target=h:mm"),
        (["id"], "'data.target=[id]'"),
        (["", "?"], """'data.target=["","?"]'"""),
    ],
)
def test_an_override_has_quotes_where_it_needs_them(value: Any, word: str) -> None:
    assert format_override("data.target", value) == word
    assert is_writable("y")


@pytest.mark.parametrize(
    ("message", "key", "located"),
    [
        ("no class; set `labels=false`", "data", "no class; set data.labels=false"),
        ("set `types.x=string` or `marks.x=$`", "data", "set data.types.x=string or 'data.marks.x=\"$\"'"),
        ("Set `types.a b=string`.", "data", "Set 'data.types.\"a b\"=string'."),
        ('set `types."a=b"=string`', "data", "set 'data.types.\"a=b\"=string'"),
        ('set `types."x\\u0060y"=string`', "data", "set 'data.types.\"x`y\"=string'"),
        ("set `encoding` to that of the file", "data", "set data.encoding to that of the file"),
        ('by `nulls=["", "?"]`', "data", 'by \'data.nulls=["", "?"]\''),
        ("leave out `shapes.x`, or `shapes.y`", "data", "leave out data.shapes.x, or `shapes.y`"),
        ("Leave out `shapes`.", "data", "Leave out data.shapes."),
        ("increase `buckets`", "feature.columns.zip", "increase feature.columns.zip.buckets"),
        ("set `normalize=null`", "feature.columns.a b", "set 'feature.columns.\"a b\".normalize=null'"),
        ("set `stratify=y` of the data, or drop it", "feature.target", "set data.stratify=y, or drop it"),
        # These are no remedies, or can't be written as overrides.
        ("column `a=b` has no value", "data", "column `a=b` has no value"),
        ("`labels` (=false) leaves no target", "data", "`labels` (=false) leaves no target"),
        ("Vocabulary or `Hashed`", "data", "Vocabulary or `Hashed`"),
        ("set `types.${x}=string`", "data", "set `types.${x}=string`"),
    ],
)
def test_the_remedies_of_a_part_become_overrides(message: str, key: str, located: str) -> None:
    assert locate_settings(message, key) == located
    assert locate_settings(located, "other") == located


def test_the_parts_write_remedies_in_the_form_that_becomes_overrides() -> None:
    files = Path(components.__file__).parent.rglob("*.py")
    messages = "".join(re.sub(r'"""(?s:.*?)"""|#.*', "", file.read_text()) for file in files)
    other_forms = r"[Ss]et `[\w.{}]+`(?: \(\w+: |: | to (?:true|false|null|[\d{])|, for example)|[Ss]et `\w+: .*`"
    assert re.findall(other_forms, messages) == []
    assert len(SETTING.findall(messages)) > 40
