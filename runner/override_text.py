"""Overrides of the command line: the keys that they set, and their text in Hydra's grammar, quoted for a shell."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
WORD = re.compile(rf"{NAME.pattern}(:[a-z]+)?")  # such as h:mm
RESERVED = ("null", "true", "false", "inf", "nan")  # in Hydra's grammar, in any case
SHELL_SAFE = re.compile(r"[A-Za-z0-9_.=:/-]+")
PLAIN_VALUE = re.compile(r"[\w.:-]+|\[.*\]")
SETTING = re.compile(  # see locate_settings
    r"\b(?P<verb>[Ss]et|[Ii]ncrease|[Ll]eave out|or|and|by|with) "
    r"`(?P<name>[a-z]\w*)(?:\.(?P<column>\"(?:[^\"\\`]|\\.)*\"|[^`=]+))?"
    r"(?:=(?P<value>[^`]+))?`(?: of the (?P<owner>data|output)\b)?"
)
CHOOSING_VERBS = ("set", "increase", "leave out")  # before a parameter without a value
ESCAPES = {"\\": r"\\", "'": r"\'", "\n": r"\n", "\t": r"\t"}


def is_writable(text: str) -> bool:
    """Whether a text can be a value on the command line: OmegaConf has another meaning for some texts."""
    return "${" not in text and text != "???"


def overridden_key(override: str) -> str:
    """The key that an override sets, adds or removes."""
    return override.partition("=")[0].lstrip("+~")


def format_override(key: str, value: str | Sequence[str]) -> str:
    """The override that sets a key, as a word for a shell: `data.target=y`, `'data.target="a b"'`.

    Args:
        key: the key in Hydra's grammar.
        value: a text, or the texts of a list. Each of them is writable.
    """
    text = _format_text(value) if isinstance(value, str) else f"[{','.join(map(_format_text, value))}]"
    return quote_for_shell(f"{key}={text}")


def quote_name(name: str) -> str | None:
    """Writes a name as the last part of a key, in quotes if necessary. None: the command line can't have it."""
    if not is_writable(name) or not name:
        return None
    if NAME.fullmatch(name):
        return name
    # The first quote that ends a key ends the name.
    quotes = (quote for quote in "\"'" if not re.search(rf"{quote}(\.[\w.]+)?=", name))
    return next((f"{quote}{name}{quote}" for quote in quotes), None)


def locate_settings(message: str, key: str) -> str:
    """Writes the remedies in the message of a part as overrides: "set `labels=false`" as "set data.labels=false".

    A part doesn't know its place in the configuration. Its message has a value to set as `` `name=value` ``, or as
    `` `name.column=value` `` for one column, after "set", "or", "and", "by" or "with"; and a parameter whose value
    the user must choose as `` `name` ``, after "set", "increase" or "leave out". A column whose name has a backquote or
    an equals sign is in JSON. A parameter "of the data" is that of the source; one "of the output" is in `output`.

    Args:
        message: the message.
        key: the key of the part: `data`, `feature.columns.my column`.
    """
    prefix, columns, name = key.rpartition("feature.columns.")
    owner = f"{columns}{quote_name(name) or name}" if columns and not prefix else key

    def locate(found: re.Match[str]) -> str:
        column = quote_name(_read_name(found["column"])) if found["column"] else ""
        is_remedy = found["value"] is not None or found["verb"].lower() in CHOOSING_VERBS
        if column is None or not is_remedy:  # None: no key can have this name
            return found[0]
        setting = ".".join(filter(None, (found["owner"] or owner, found["name"], column)))
        if (value := found["value"]) is not None:
            setting = quote_for_shell(f"{setting}={value if PLAIN_VALUE.fullmatch(value) else quote_text(value)}")
        return f"{found['verb']} {setting}"

    return SETTING.sub(locate, message)


def _read_name(text: str) -> str:
    """The name of a column in a message, which may be in JSON."""
    try:
        return str(json.loads(text)) if text.startswith('"') else text
    except ValueError:
        return text


def quote_text(text: str) -> str:
    """Quotes a text for Hydra's grammar, in which a backslash is an escape only before a quote."""
    return '"' + re.sub(r'(\\*)("|\Z)', lambda found: 2 * found[1] + (r"\"" if found[2] else ""), text) + '"'


def _format_text(text: str) -> str:
    return text if WORD.fullmatch(text) and text.lower() not in RESERVED else quote_text(text)


def quote_for_shell(word: str) -> str:
    """Quotes a word for a shell, in one line: `$'…'` has escapes for characters that can't be printed."""
    if word.isprintable():
        return word if SHELL_SAFE.fullmatch(word) else shlex.quote(word)
    characters = (ESCAPES.get(each) or (each if each.isprintable() else _escape(each)) for each in word)
    return f"$'{''.join(characters)}'"


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"
