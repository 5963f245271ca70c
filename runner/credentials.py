"""Credentials in URIs: they stay in this process and the environment; every text names a URI by its mask.

Words and files pass through `withhold_words` and `withhold_values` before anything else reads them. What is written
down afterwards holds masks only; `reveal` gives a part the URI of a mask, and `scrub` cleans what libraries raise.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK = "***"
URI_VARIABLE = "MLFLOW_TRACKING_URI"
SECRET_VARIABLES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
LOCAL_SCHEMES = ("sqlite", "file")  # a path follows, no host
HARMLESS = ("timeout", "mode", "cache", "uri", "check_same_thread", "driver", "charset", "sslmode", "connect_timeout")
"""Parameters of a query that hold no credentials; the values of all others are masked."""
SHORTEST = 6  # a shorter secret is looked for as a whole word, so that a password `a` doesn't empty every text

WITHHELD: dict[str, str] = {}
"""The URIs with credentials that this process knows, by their masks."""

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_URI_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]*[^\s'\"<>:;,.)\]}]")
_ADDRESS = re.compile(r"([^/?#]*)([^#]*)#?(.*)", re.DOTALL)
_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]%]*)(:\d*)?")


def mask(uri: str) -> str:
    """A URI without its user, its password, its fragment and the parameters that may hold credentials.

    A URI whose parts can't be told apart loses more than that rather than less. Masking twice changes nothing.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return _mask_without_host(uri)
    if scheme.partition("+")[0].lower() in LOCAL_SCHEMES and rest.startswith("/"):
        return f"{scheme}://{_mask_query(rest)}"
    userinfo, sign, address = rest.rpartition("@")
    if "?" in userinfo:  # the "@" may stand in the query, or the "?" in the password
        return f"{scheme}://{MASK}"
    host, path, fragment = _ADDRESS.fullmatch(address).groups()  # type: ignore[union-attr]  # it matches any text
    shown = host if host == MASK or _HOST.fullmatch(host) else MASK
    return f"{scheme}://{MASK * bool(sign)}{sign}{shown}{_mask_query(_mask_path(path))}{f'#{MASK}' if fragment else ''}"


def withhold_words(words: Sequence[str]) -> list[str]:
    """The words of a command with masks in place of URIs with credentials."""
    return [_withhold_word(word) for word in words]


def withhold_values(tree: Any, key: str = "") -> Any:
    """A tree of plain values with masks in place of URIs with credentials."""
    if isinstance(tree, Mapping):
        return {name: withhold_values(value, str(name)) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(withhold_values(value, key) for value in tree)
    return _withhold(tree) if isinstance(tree, str) and (_is_uri_key(key) or _URI.match(tree)) else tree


def reveal(text: str) -> str:
    """The URI of a mask, where this process or the environment knows it; else the text itself."""
    if MASK not in text:
        return text
    known = dict(WITHHELD)
    if uri := os.environ.get(URI_VARIABLE):
        known.setdefault(mask(uri), uri)
    for masked, uri in known.items():
        rest = masked.removeprefix(text)
        if masked.startswith(text) and uri.endswith(rest):  # a word may go on behind the URI
            return uri.removesuffix(rest)
    return text


def scrub(text: str) -> str:
    """A text of a library, such as an error's, without any credentials that this process knows or a URI shows."""
    for uri in _known():
        text = text.replace(uri, mask(uri))
    for secret in sorted(_secrets(), key=len, reverse=True):
        pattern = re.escape(secret)
        text = re.sub(pattern if len(secret) >= SHORTEST else rf"(?<!\w){pattern}(?!\w)", MASK, text)
    return _URI_IN_TEXT.sub(lambda found: mask(found[0]), text)


def _mask_without_host(text: str) -> str:
    """Of a text that only may be a URI: `me:secret@host`, `postgresql:secret`, but also a path."""
    scheme, colon, _ = text.partition(":")
    if "@" in text:
        return f"{MASK}@{_mask_query(text.rpartition('@')[2])}"
    if colon and scheme.lower() not in LOCAL_SCHEMES:
        return f"{scheme}:{MASK}"
    return _mask_query(text)


def _mask_path(path: str) -> str:
    """A path without the parameters of its segments (`/a;token=…/b`)."""
    return re.sub(r";[^/?]*", f";{MASK}", path)


def _mask_query(text: str) -> str:
    address, question, query = text.partition("?")
    return address + question + re.sub(r"[^&;]+", lambda found: _mask_parameter(found[0]), query)


def _mask_parameter(parameter: str) -> str:
    name, sign, _ = parameter.partition("=")
    return parameter if name.lower() in HARMLESS else f"{name}={MASK}" if sign else MASK


def _withhold(uri: str) -> str:
    masked = mask(uri)
    if masked != uri:
        WITHHELD[masked] = uri
    return masked


def _withhold_word(word: str) -> str:
    key, sign, value = word.partition("=")
    if sign and _is_uri_key(key.rpartition(".")[2]) and value[:1] not in ("[", "{"):
        start = len(key) + 1 + value.startswith(("'", '"'))
    elif found := _URI.search(word):
        start = found.start()
    else:
        return word
    end = _end_of_uri(word, start)
    rest = word[end:]
    return word[:start] + _withhold(word[start:end]) + (_withhold_word(rest) if _URI.search(rest) else rest)


def _end_of_uri(word: str, start: int) -> int:
    """Where the URI ends that begins at `start`: at its quote, at the next entry of a list, else with the word."""
    before = word[start - 1 : start]
    if before in ("'", '"') and (quote := word.rfind(before, start)) >= 0:
        return quote
    if before in ("", "=", "'", '"'):
        following = re.compile(rf",(?={_URI.pattern})").search(word, start)
        return following.start() if following else len(word)
    closing = re.compile(r"[,\]}]").search(word, max(word.rfind("@"), start))
    return closing.start() if closing else len(word)


def _is_uri_key(name: str) -> bool:
    return name == "uri" or name.endswith("_uri")


def _known() -> list[str]:
    return list(filter(None, [*WITHHELD.values(), os.environ.get(URI_VARIABLE)]))


def _secrets() -> set[str]:
    """What may stand in a text of a library: whatever of a URI its mask lacks, as it is and decoded."""
    parts = {part for uri in _known() for part in _parts(uri) if part not in mask(uri)}
    parts |= {os.environ.get(name, "") for name in SECRET_VARIABLES}
    plain = parts | {decode(part) for part in parts for decode in (unquote, unquote_plus)}
    encoded = {encode(part, safe="") for part in plain for encode in (quote, quote_plus)}
    return (plain | encoded | {repr(part)[1:-1] for part in plain}) - {""}


def _parts(uri: str) -> set[str]:
    rest = uri.partition("://")[2] or uri
    userinfo = rest.rpartition("@")[0]
    return {uri, rest, userinfo, userinfo.partition(":")[2], *re.split("[/?&=#@:]+", rest)}
