"""Keeps credentials in this process and its environment: every file, parameter and log has masked URIs only.

Words and files pass through `mask_arguments` and `mask_values` before anything else reads them, so all later text
holds masks. `reveal` gives a part the URI of a mask, and `scrub` cleans the messages of libraries.
A URI is recognized by `scheme://`, by its key, or by the form `user:secret@host`. The value of a key that names a
secret, such as `token`, is masked as a whole: its mask is `***` and the key.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK = "***"
URI_VARIABLE = "MLFLOW_TRACKING_URI"
SECRET_VARIABLES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
LOCAL_SCHEMES = ("sqlite", "file")  # a path follows, no host
PUBLIC_PARAMETERS = (
    "timeout",
    "mode",
    "cache",
    "uri",
    "check_same_thread",
    "driver",
    "charset",
    "sslmode",
    "connect_timeout",
)
"""Parameters of a query that hold no credentials. The values of all others are masked."""
SHORTEST_SUBSTRING = 6  # a shorter secret is replaced as a whole word only: a password `a` must not mask every letter

TRACKING_KEY = "tracking"  # a value below this key, or one spelt like it, may be a URI
PLAIN_KEYS = ("experiment", "_target_")  # the last names of keys below it that hold none
SIMILARITY = 0.8  # of a misspelt key, from 0 to 1

WITHHELD: dict[str, str] = {}
"""The URIs with credentials, and the secrets, of this process, by their masks."""

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_URI_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]*[^\s'\"<>:;,.)\]}]")
_ADDRESS = re.compile(r"([^/?#]*)([^#]*)#?(.*)", re.DOTALL)
_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]%]*)(:\d*)?")
_LOGIN = re.compile(r"[^\s'\"\[\]{},=/:@]+:[^\s'\"]+@[^\s'\"\[\]{},@]+")  # user:secret@host
_ENTRY = re.compile(  # an entry of a mapping in a word
    r"""(["']?)([\w.-]+)\1\s*:\s*("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^\s"'{\[][^,{}\[\]]*)""", re.DOTALL
)
_URI_NAME = re.compile(r"ur[il]s?$")
_SECRET_NAME = re.compile(r"(passw(or)?d|pwd|token|secret|(api|access|account|auth|private|secret)[_-]?key)$")
_NOTHING = re.compile(r"|null|none|true|false|\?{3}|\$\{.*\}|\*{3}.*", re.DOTALL | re.IGNORECASE)  # never a secret


def mask_uri(uri: str) -> str:
    """Masks the user, password, fragment and private parameters of a URI.

    Where the parts of a URI are ambiguous, more is masked. Masking twice changes nothing.
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


def mask_arguments(words: Sequence[str]) -> list[str]:
    """Replaces the URIs with credentials in the words of a command by their masks."""
    return [_withhold_word(word) for word in words]


def mask_values(tree: Any, key: str = "") -> Any:
    """Replaces the URIs with credentials in a tree of plain values by their masks.

    Args:
        tree: the tree.
        key: the dotted key of the tree's root.
    """
    if isinstance(tree, Mapping):
        return {name: mask_values(value, f"{key}.{name}" if key else str(name)) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(mask_values(value, f"{key}.{place}") for place, value in enumerate(tree))
    if isinstance(tree, int | float) and not isinstance(tree, bool) and _is_secret_key(key):
        return _withhold_secret(str(tree), key)
    return _withhold_value(tree, key) if isinstance(tree, str) else tree


def reveal(text: str) -> str:
    """The URI of a mask, if this process or its environment has it; otherwise the text itself."""
    if MASK not in text:
        return text
    known = dict(WITHHELD)
    if uri := os.environ.get(URI_VARIABLE):
        known.setdefault(mask_uri(uri), uri)
    if text in known:
        return known[text]
    for masked, uri in known.items():
        rest = masked.removeprefix(text)
        if masked.startswith(text) and uri.endswith(rest):  # a word may continue after the URI
            return uri.removesuffix(rest)
    return text


def scrub(text: str) -> str:
    """Masks credentials in a text of a library: those of this process, and those of any URI in the text."""
    for uri, masked in _known_masks().items():
        if masked == mask_uri(uri):  # not a secret, which the loop below replaces
            text = text.replace(uri, masked)
    for secret in sorted(_list_secrets(), key=len, reverse=True):
        pattern = re.escape(secret)
        text = re.sub(pattern if len(secret) >= SHORTEST_SUBSTRING else rf"(?<!\w){pattern}(?!\w)", MASK, text)
    return _URI_IN_TEXT.sub(lambda found: mask_uri(found[0]), text)


def _mask_without_host(text: str) -> str:
    """Masks a text that may be a URI without `//`, such as `me:secret@host` or `postgresql:secret`, or a path."""
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
    return parameter if name.lower() in PUBLIC_PARAMETERS else f"{name}={MASK}" if sign else MASK


def _withhold(uri: str) -> str:
    masked = mask_uri(uri)
    if masked != uri:
        WITHHELD[masked] = uri
    return masked


def _withhold_secret(secret: str, key: str) -> str:
    if _NOTHING.fullmatch(secret):
        return secret
    WITHHELD[masked := f"{MASK}{key}"] = secret
    return masked


def _withhold_value(text: str, key: str) -> str:
    if _is_secret_key(key):
        return _withhold_secret(text, key)
    return _withhold(text) if _is_uri_key(key) or _URI.match(text) else _withhold_logins(text)


def _withhold_logins(text: str) -> str:
    return text if _URI.search(text) else _LOGIN.sub(lambda found: _withhold(found[0]), text)


def _withhold_word(word: str) -> str:
    name, sign, value = word.partition("=")
    key = name.strip().lstrip("+~-")
    if sign and value[:1] in ("[", "{"):
        word = f"{name}={_ENTRY.sub(lambda found: _withhold_entry(found, key), value)}"
    elif sign and _is_secret_key(key):
        quote = value[:1] if value[:1] in ("'", '"') else ""
        return f"{name}={quote}{_withhold_secret(value.strip(quote) if quote else value, key)}{quote}"
    if sign and _is_uri_key(key) and value[:1] not in ("[", "{"):
        start = len(name) + 1 + value.startswith(("'", '"'))
    elif found := _URI.search(word):
        start = found.start()
    else:
        return _withhold_logins(word)
    end = _end_of_uri(word, start)
    rest = word[end:]
    return word[:start] + _withhold(word[start:end]) + (_withhold_word(rest) if _URI.search(rest) else rest)


def _withhold_entry(found: re.Match[str], owner: str) -> str:
    """An entry of a mapping in a word; `owner` is the key of the word."""
    key, text = f"{owner}.{found[2]}", found[3]
    if _URI.search(text) and not _is_secret_key(key):
        return found[0]  # the caller finds the end of the URI
    quote = text[0] if text[0] in ("'", '"') else ""
    inner = text[1:-1] if quote else text
    return found[0][: -len(text)] + quote + _withhold_value(inner, key) + quote


def _end_of_uri(word: str, start: int) -> int:
    """The index where the URI at `start` ends: at its quote, at the next entry of a list, or at the word's end."""
    before = word[start - 1 : start]
    if before in ("'", '"') and (quote := word.rfind(before, start)) >= 0:
        return quote
    if before in ("", "=", "'", '"'):
        following = re.compile(rf",(?={_URI.pattern})").search(word, start)
        return following.start() if following else len(word)
    closing = re.compile(r"[,\]}]").search(word, max(word.rfind("@"), start))
    return closing.start() if closing else len(word)


def _is_uri_key(key: str) -> bool:
    """Whether a key may hold a URI: it ends in `uri` or `url`, or is `tracking` (even misspelt) or below it."""
    names = key.lower().split(".")
    is_tracking = difflib.SequenceMatcher(None, names[0], TRACKING_KEY).ratio() >= SIMILARITY
    return bool(_URI_NAME.search(_last_name(names))) or (is_tracking and names[-1] not in PLAIN_KEYS)


def _is_secret_key(key: str) -> bool:
    names = key.lower().split(".")
    return bool(_SECRET_NAME.search(_last_name(names))) or (
        names[0] == TRACKING_KEY and _last_name(names).endswith("key")
    )


def _last_name(names: Sequence[str]) -> str:
    """The last name of a key that is not an index."""
    return next((name for name in reversed(names) if not name.isdigit()), "")


def _known_masks() -> dict[str, str]:
    """The masks, by URI or secret."""
    known = {uri: masked for masked, uri in WITHHELD.items()}
    if uri := os.environ.get(URI_VARIABLE):
        known.setdefault(uri, mask_uri(uri))
    return known


def _list_secrets() -> set[str]:
    """The secrets that a text of a library may contain: the masked parts of each URI, plain, encoded and decoded."""
    parts = {part for uri, masked in _known_masks().items() for part in _secret_parts(uri) if part not in masked}
    parts |= {os.environ.get(name, "") for name in SECRET_VARIABLES}
    plain = parts | {decode(part) for part in parts for decode in (unquote, unquote_plus)}
    encoded = {encode(part, safe="") for part in plain for encode in (quote, quote_plus)}
    return (plain | encoded | {repr(part)[1:-1] for part in plain}) - {""}


def _secret_parts(uri: str) -> set[str]:
    """The parts of a URI that are secret on their own. The user's name is not, if there is a password."""
    rest = uri.partition("://")[2] or uri
    userinfo = rest.rpartition("@")[0]
    user, _, password = userinfo.partition(":")
    return {uri, rest, userinfo, password, *re.split("[/?&=#@:]+", rest)} - ({user} if password else set())
