"""Masks credentials, so that no file, parameter or log has them.

Only the memory and the environment of this process hold them. The command line and files pass through `mask_arguments`
and `mask_values` before other code reads them. `reveal` turns a mask back into its URI or secret, for the part that
needs it. `scrub` masks credentials in the messages of libraries.

A URI is recognized by `scheme://`, by its key, or by the form `user:secret@host`. If a key names a secret, such as
`token`, the whole value is masked as `***` followed by the key.
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
LOCAL_SCHEMES = ("sqlite", "file")  # a path follows, not a host
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
"""Query parameters that never hold credentials. The values of all other parameters are masked."""
MIN_SUBSTRING_LENGTH = 6
"""A shorter secret is masked only where it is a whole word: a password `a` must not mask every `a` in a text."""

TRACKING_KEY = "tracking"  # a value below this key, even if it is misspelt, may be a URI
KEYS_WITHOUT_URI = ("experiment", "_target_")  # keys that end in these names hold no URI, even below `tracking`
MIN_SIMILARITY = 0.8  # of a misspelt key, from 0 to 1

original_by_mask: dict[str, str] = {}
"""The URIs and secrets that this process has masked, by their masks."""

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_URI_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]*[^\s'\"<>:;,.)\]}]")
_ADDRESS = re.compile(r"([^/?#]*)([^#]*)#?(.*)", re.DOTALL)
_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]%]*)(:\d*)?")
_LOGIN = re.compile(r"[^\s'\"\[\]{},=/:@]+:[^\s'\"]+@[^\s'\"\[\]{},@]+")  # user:secret@host
_ENTRY = re.compile(  # an entry of a mapping in an argument
    r"""
    (["']?)([\w.-]+)\1         # the key, with or without quotation marks
    \s*:\s*
    (
        "(?:\\.|[^"\\])*"       # a value in double quotation marks, with escapes
        |'(?:\\.|[^'\\])*'      # a value in single quotation marks, with escapes
        |[^\s"'{\[][^,{}\[\]]*  # a bare value: neither a list nor a mapping
    )
    """,
    re.DOTALL | re.VERBOSE,
)
_URI_NAME = re.compile(r"ur[il]s?$")
_SECRET_NAME = re.compile(r"(passw(or)?d|pwd|token|secret|(api|access|account|auth|private|secret)[_-]?key)$")
# Empty, a constant, Hydra's `???` or `${…}`, or a mask.
_NOT_A_SECRET = re.compile(r"|null|none|true|false|\?{3}|\$\{.*\}|\*{3}.*", re.DOTALL | re.IGNORECASE)


def mask_uri(uri: str) -> str:
    """Masks the user, password, fragment and private parameters of a URI.

    If its parts are ambiguous, all that may be credentials is masked. A masked URI is returned unchanged.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return _mask_without_slashes(uri)
    if scheme.partition("+")[0].lower() in LOCAL_SCHEMES and rest.startswith("/"):
        return f"{scheme}://{_mask_query(rest)}"
    userinfo, sign, address = rest.rpartition("@")
    if "?" in userinfo:  # either the "@" is in the query, or the "?" is in the password
        return f"{scheme}://{MASK}"
    host, path_and_query, fragment = _ADDRESS.fullmatch(address).groups()  # type: ignore[union-attr]  # it matches any text
    masked_host = host if host == MASK or _HOST.fullmatch(host) else MASK
    masked_userinfo = f"{MASK}@" if sign else ""
    masked_fragment = f"#{MASK}" if fragment else ""
    masked_path_and_query = _mask_query(_mask_segments(path_and_query))
    return f"{scheme}://{masked_userinfo}{masked_host}{masked_path_and_query}{masked_fragment}"


def mask_arguments(arguments: Sequence[str]) -> list[str]:
    """Masks credentials in the arguments of a command. `reveal` turns each mask back."""
    return [_mask_argument(argument) for argument in arguments]


def mask_values(tree: Any, key: str = "") -> Any:
    """Masks credentials in a tree of plain values. `reveal` turns each mask back.

    Args:
        tree: the tree.
        key: the dotted key of the tree's root.
    """
    if isinstance(tree, Mapping):
        return {name: mask_values(value, f"{key}.{name}" if key else str(name)) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(mask_values(value, f"{key}.{index}") for index, value in enumerate(tree))
    if isinstance(tree, int | float) and not isinstance(tree, bool) and _is_secret_key(key):
        return _mask_secret(str(tree), key)
    return _mask_text(tree, key) if isinstance(tree, str) else tree


def reveal(text: str) -> str:
    """The URI or secret of a mask, if this process or its environment has it; otherwise the text itself."""
    if MASK not in text:
        return text
    originals = dict(original_by_mask)
    if uri := os.environ.get(URI_VARIABLE):
        originals.setdefault(mask_uri(uri), uri)
    if text in originals:
        return originals[text]
    # In an argument such as `tracking.uri=http://me:secret@host/a,b`, the mask covers all that follows "=". The text
    # may be only its beginning: `http://***@host/a`, without the rest `,b`.
    for masked, original in originals.items():
        rest = masked.removeprefix(text)
        if masked.startswith(text) and original.endswith(rest):
            return original.removesuffix(rest)
    return text


def scrub(text: str) -> str:
    """Masks credentials in a text of a library: the known ones, and those of any URI in the text."""
    for original, masked in _known_masks().items():
        is_uri = masked == mask_uri(original)
        if is_uri:  # the next loop masks secrets
            text = text.replace(original, masked)
    for secret in sorted(_list_secrets(), key=len, reverse=True):
        pattern = re.escape(secret)
        text = re.sub(pattern if len(secret) >= MIN_SUBSTRING_LENGTH else rf"(?<!\w){pattern}(?!\w)", MASK, text)
    return _URI_IN_TEXT.sub(lambda found: mask_uri(found[0]), text)


def _mask_without_slashes(text: str) -> str:
    """Masks a text that may be a URI without `//`, such as `me:secret@host` or `postgresql:secret`, or a path."""
    scheme, colon, _ = text.partition(":")
    if "@" in text:
        return f"{MASK}@{_mask_query(text.rpartition('@')[2])}"
    if colon and scheme.lower() not in LOCAL_SCHEMES:
        return f"{scheme}:{MASK}"
    return _mask_query(text)


def _mask_segments(text: str) -> str:
    """Masks the parameters in the segments of a path (`/a;token=…/b`). A query may follow the path."""
    return re.sub(r";[^/?]*", f";{MASK}", text)


def _mask_query(text: str) -> str:
    address, question_mark, query = text.partition("?")
    return address + question_mark + re.sub(r"[^&;]+", lambda found: _mask_parameter(found[0]), query)


def _mask_parameter(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    if name.lower() in PUBLIC_PARAMETERS:
        return parameter
    return f"{name}={MASK}" if equals else MASK


def _mask_and_keep(uri: str) -> str:
    """Masks a URI, and keeps it for `reveal`."""
    masked = mask_uri(uri)
    if masked != uri:
        original_by_mask[masked] = uri
    return masked


def _mask_secret(secret: str, key: str) -> str:
    if _NOT_A_SECRET.fullmatch(secret):
        return secret
    masked = f"{MASK}{key}"
    original_by_mask[masked] = secret
    return masked


def _mask_text(text: str, key: str) -> str:
    if _is_secret_key(key):
        return _mask_secret(text, key)
    return _mask_and_keep(text) if _is_uri_key(key) or _URI.match(text) else _mask_logins(text)


def _mask_logins(text: str) -> str:
    """Masks each `user:secret@host` in a text that has no `scheme://`."""
    return text if _URI.search(text) else _LOGIN.sub(lambda match: _mask_and_keep(match[0]), text)


def _mask_argument(argument: str) -> str:
    name, equals, value = argument.partition("=")
    key = name.strip().lstrip("+~-")
    if equals and value[:1] in ("[", "{"):
        return _mask_uris(f"{name}={_ENTRY.sub(lambda match: _mask_entry(match, key), value)}")
    if equals and _is_secret_key(key):
        quotation_mark = value[:1] if value[:1] in ("'", '"') else ""
        secret = value.strip(quotation_mark) if quotation_mark else value
        return f"{name}={quotation_mark}{_mask_secret(secret, key)}{quotation_mark}"
    if equals and _is_uri_key(key):
        return _mask_uri_at(argument, len(name) + 1 + value.startswith(("'", '"')))
    return _mask_uris(argument)


def _mask_uris(argument: str) -> str:
    """Masks the URIs with `scheme://` in an argument; if it has none, each `user:secret@host`."""
    match = _URI.search(argument)
    return _mask_uri_at(argument, match.start()) if match else _mask_logins(argument)


def _mask_uri_at(argument: str, start: int) -> str:
    """Masks the URI that starts at an index of an argument, and all URIs after it."""
    end = _find_end_of_uri(argument, start)
    rest = argument[end:]
    masked_rest = _mask_argument(rest) if _URI.search(rest) else rest
    return argument[:start] + _mask_and_keep(argument[start:end]) + masked_rest


def _mask_entry(match: re.Match[str], owner: str) -> str:
    """Masks an entry of a mapping in an argument; `owner` is the key of the argument."""
    key, text = f"{owner}.{match[2]}", match[3]
    if _URI.search(text) and not _is_secret_key(key):
        return match[0]  # left as it is: `_mask_argument` masks URIs afterwards, and finds where they end
    quotation_mark = text[0] if text[0] in ("'", '"') else ""
    inner = text[1:-1] if quotation_mark else text
    return match[0][: -len(text)] + quotation_mark + _mask_text(inner, key) + quotation_mark


def _find_end_of_uri(argument: str, start: int) -> int:
    """The index where the URI at `start` ends. The character before the URI tells what surrounds it."""
    before = argument[start - 1 : start]
    if before in ("'", '"') and (closing_mark := argument.rfind(before, start)) >= 0:
        return closing_mark
    if before in ("", "=", "'", '"'):  # the value of an argument: only another URI of a sweep ends it
        next_uri = re.compile(rf",(?={_URI.pattern})").search(argument, start)
        return next_uri.start() if next_uri else len(argument)
    # In a list or mapping: the first comma or closing bracket ends it. A password may contain both, up to the last "@".
    separator = re.compile(r"[,\]}]").search(argument, max(argument.rfind("@"), start))
    return separator.start() if separator else len(argument)


def _is_uri_key(key: str) -> bool:
    """Whether a key may hold a URI: the key ends in `uri` or `url`, or is (below) `tracking`, even misspelt."""
    names = key.lower().split(".")
    is_tracking = difflib.SequenceMatcher(None, names[0], TRACKING_KEY).ratio() >= MIN_SIMILARITY
    return bool(_URI_NAME.search(_last_name(names))) or (is_tracking and names[-1] not in KEYS_WITHOUT_URI)


def _is_secret_key(key: str) -> bool:
    names = key.lower().split(".")
    return bool(_SECRET_NAME.search(_last_name(names))) or (
        names[0] == TRACKING_KEY and _last_name(names).endswith("key")
    )


def _last_name(names: Sequence[str]) -> str:
    """The last of the names in a key that is not an index."""
    return next((name for name in reversed(names) if not name.isdigit()), "")


def _known_masks() -> dict[str, str]:
    """The masks of this process and its environment, by URI or secret."""
    masks = {original: masked for masked, original in original_by_mask.items()}
    if uri := os.environ.get(URI_VARIABLE):
        masks.setdefault(uri, mask_uri(uri))
    return masks


def _list_secrets() -> set[str]:
    """The secrets that a text may contain: plain, percent-encoded, decoded, and as `repr` escapes them in messages."""
    masks = _known_masks()
    parts = {part for original, masked in masks.items() for part in _split_uri(original) if part not in masked}
    parts |= {os.environ.get(name, "") for name in SECRET_VARIABLES}
    plain = parts | {decode(part) for part in parts for decode in (unquote, unquote_plus)}
    encoded = {encode(part, safe="") for part in plain for encode in (quote, quote_plus)}
    return (plain | encoded | {repr(part)[1:-1] for part in plain}) - {""}


def _split_uri(uri: str) -> set[str]:
    """All parts of a URI, except the user's name if there is a password. The parts that its mask lacks are secret."""
    rest = uri.partition("://")[2] or uri
    userinfo = rest.rpartition("@")[0]
    user, _, password = userinfo.partition(":")
    return {uri, rest, userinfo, password, *re.split("[/?&=#@:]+", rest)} - ({user} if password else set())
