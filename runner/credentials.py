"""Masks credentials, so that no file, parameter or log has them.

- `mask_arguments` and `mask_values` mask the command line and the configuration, before other code reads them. This
  process remembers the original of each mask.
- `reveal` turns a mask back into its original, for the part that needs it.
- `scrub` masks the originals in a message of a library.

Two kinds of values are masked:

- A URI, which has `scheme://`, the form `user:secret@host`, or a key such as `tracking.uri`. Only its credentials are
  masked: `http://me:secret@host` -> `http://***@host`.
- A secret, which has a key such as `loss.token`. It is masked as `***` and its key: `***loss.token`.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from components.uri_mask import MASK, SECRET_NAME, mask_uri

URI_VARIABLE = "MLFLOW_TRACKING_URI"
DATA_URI_VARIABLE = "TITRATE_DATA_URI"  # of `data=sql`
SECRET_VARIABLES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "PGPASSWORD", "MYSQL_PWD")
MIN_SUBSTRING_LENGTH = 6
"""A shorter secret is masked only where it is a whole word: a password `a` must not mask every `a` in a text."""

TRACKING_KEY = "tracking"  # a value below this key, even if it is misspelt, may be a URI
MIN_SIMILARITY = 0.8  # of a misspelt key, from 0 to 1
QUERY_KEY = "data.query"  # a URI in it is a text of the data. The source refuses a password
LOGIN = re.compile(r"://[^\s/@'\"]*:[^\s'\"]*@")  # in a query, whose other texts with :// are no URIs
KEYS_WITHOUT_URI = ("experiment", "_target_")  # keys that end in these names hold no URI, even below `tracking`

original_by_mask: dict[str, str] = {}
"""The URIs and secrets that this process has masked, by their masks."""

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*://"
_URI = re.compile(_SCHEME)
_URI_AFTER_COMMA = re.compile(rf",(?={_SCHEME})")
_URI_IN_TEXT = re.compile(rf"{_SCHEME}[^\s'\"<>]*[^\s'\"<>:;,.)\]}}]")  # punctuation at its end is not part of it
_LOGIN = re.compile(r"[^\s'\"\[\]{},=/:@]+:[^\s'\"]+@[^\s'\"\[\]{},@]+")  # user:secret@host
_ENTRY = re.compile(  # an entry of a mapping in an argument
    r"""
    (?P<key_quote>["']?)(?P<key>[\w.-]+)(?P=key_quote)
    \s*:\s*
    (?P<value>
        "(?:\\.|[^"\\])*"       # in double quotation marks, with escapes
        |'(?:\\.|[^'\\])*'      # in single quotation marks, with escapes
        |[^\s"'{\[][^,{}\[\]]*  # bare: neither a list nor a mapping
    )
    """,
    re.DOTALL | re.VERBOSE,
)
_URI_NAME = re.compile(r"ur[il]s?$")
# Empty, a constant, Hydra's `???` or `${…}`, or a mask.
_NOT_A_SECRET = re.compile(r"|null|none|true|false|\?{3}|\$\{.*\}|\*{3}.*", re.DOTALL | re.IGNORECASE)


def mask_arguments(arguments: Sequence[str]) -> list[str]:
    """Masks credentials in the arguments of a command.

    "tracking.uri=http://me:secret@host" -> "tracking.uri=http://***@host"
    "loss.token='secret'" -> "loss.token='***loss.token'"
    "tracking={uri: me:secret@host, token: abc}" -> "tracking={uri: ***@host, token: ***tracking.token}"
    """
    return [_mask_argument(argument) for argument in arguments]


def mask_values(tree: Any, key: str = "") -> Any:
    """Masks credentials in a tree of plain values.

    {"loss": {"uri": "me:secret@host", "token": 17}} -> {"loss": {"uri": "***@host", "token": "***loss.token"}}

    Args:
        tree: the tree.
        key: the dotted key of the tree's root.
    """
    if isinstance(tree, Mapping):
        return {name: mask_values(value, f"{key}.{name}" if key else str(name)) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(mask_values(value, f"{key}.{index}") for index, value in enumerate(tree))
    if isinstance(tree, str):
        return _mask_value(tree, key)
    is_number = isinstance(tree, int | float) and not isinstance(tree, bool)
    return _mask_secret(str(tree), key) if is_number and _is_secret_key(key) else tree


def reveal(text: str) -> str:
    """The original of a mask, if this process masked it or its environment has it; otherwise the text itself."""
    if MASK not in text:
        return text
    originals = {mask_uri(uri): uri for uri in _list_uris_of_environment()} | original_by_mask
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
    for secret in sorted(_list_secret_spellings(), key=len, reverse=True):
        pattern = re.escape(secret)
        if len(secret) < MIN_SUBSTRING_LENGTH:
            pattern = rf"(?<!\w){pattern}(?!\w)"
        text = re.sub(pattern, MASK, text)
    return _URI_IN_TEXT.sub(lambda match: mask_uri(match[0]), text)


# ------------------------------------------------------------------------------------------ the value of a known key


def _mask_value(text: str, key: str) -> str:
    if _is_secret_key(key):
        return _mask_secret(text, key)
    if key == QUERY_KEY and not LOGIN.search(text):
        return text
    if _is_uri_key(key) or _URI.match(text):
        return _mask_and_remember_uri(text)
    return _mask_logins(text)


def _is_secret_key(key: str) -> bool:
    """Whether a key names a secret: `loss.token`, `tracking.key`."""
    names = key.lower().split(".")
    last_name = _last_name(names)
    return bool(SECRET_NAME.search(last_name)) or (names[0] == TRACKING_KEY and last_name.endswith("key"))


def _is_uri_key(key: str) -> bool:
    """Whether a key may hold a URI: `data.url`, `tracking`, `tracking.server`, and the misspelt `traking.server`."""
    names = key.lower().split(".")
    if _URI_NAME.search(_last_name(names)):
        return True
    is_tracking = difflib.SequenceMatcher(None, names[0], TRACKING_KEY).ratio() >= MIN_SIMILARITY
    return is_tracking and names[-1] not in KEYS_WITHOUT_URI


def _last_name(names: Sequence[str]) -> str:
    """The last of the names in a key that is not an index: ["hosts", "0"] -> "hosts"."""
    return next((name for name in reversed(names) if not name.isdigit()), "")


def _mask_secret(secret: str, key: str) -> str:
    if _NOT_A_SECRET.fullmatch(secret):
        return secret
    masked = f"{MASK}{key}"
    original_by_mask[masked] = secret
    return masked


def _find_uri(text: str) -> re.Match[str] | None:
    """The first `scheme://` of a text. In a long word without one, the search would take quadratic time."""
    return _URI.search(text) if "://" in text else None


def _mask_and_remember_uri(uri: str) -> str:
    masked = mask_uri(uri)
    if masked != uri:
        original_by_mask[masked] = uri
    return masked


def _mask_logins(text: str) -> str:
    """Masks each `user:secret@host` in a text, unless the text has a URI with `scheme://`."""
    if "@" not in text or _find_uri(text):
        return text
    return _LOGIN.sub(lambda match: _mask_and_remember_uri(match[0]), text)


# ------------------------------------------------------------------------------------------ an argument of a command


def _mask_argument(argument: str) -> str:
    name, equals, value = argument.partition("=")
    if not equals:
        return _mask_uris(argument)
    key = name.strip().lstrip("+~-")
    if key == QUERY_KEY and not LOGIN.search(value):
        return argument
    if value.startswith(("[", "{")):
        masked_value = _ENTRY.sub(lambda entry: _mask_entry(entry, key), value)
        return _mask_uris(f"{name}={masked_value}")
    quotation_mark = value[0] if value.startswith(("'", '"')) else ""
    if _is_secret_key(key):
        secret = value.strip(quotation_mark) if quotation_mark else value
        return f"{name}={quotation_mark}{_mask_secret(secret, key)}{quotation_mark}"
    if _is_uri_key(key):
        return _mask_uris_from(argument, len(f"{name}={quotation_mark}"))
    return _mask_uris(argument)


def _mask_entry(entry: re.Match[str], owner: str) -> str:
    """Masks an entry of a mapping in an argument; `owner` is the key of the argument."""
    key, value = f"{owner}.{entry['key']}", entry["value"]
    if _find_uri(value) and not _is_secret_key(key):
        return entry[0]  # left as it is: `_mask_argument` masks URIs afterwards, and finds where they end
    quotation_mark = value[0] if value.startswith(("'", '"')) else ""
    text = value[1:-1] if quotation_mark else value
    return f"{entry[0].removesuffix(value)}{quotation_mark}{_mask_value(text, key)}{quotation_mark}"


def _mask_uris(argument: str) -> str:
    """Masks the URIs with `scheme://` in an argument; if it has none, each `user:secret@host`."""
    first_uri = _find_uri(argument)
    return _mask_uris_from(argument, first_uri.start()) if first_uri else _mask_logins(argument)


def _mask_uris_from(argument: str, start: int) -> str:
    """Masks the URI that starts at an index of an argument, and all URIs after it."""
    end = _find_end_of_uri(argument, start)
    uri, rest = argument[start:end], argument[end:]
    masked_rest = _mask_argument(rest) if _find_uri(rest) else rest
    masked_uri = _mask_and_remember_uri(uri)  # last: of URIs with equal masks, the first is remembered
    return argument[:start] + masked_uri + masked_rest


def _find_end_of_uri(argument: str, start: int) -> int:
    """The index where the URI at `start` ends. The character before the URI tells what surrounds it."""
    before = argument[start - 1 : start]
    is_quoted = before in ("'", '"')
    if is_quoted and (closing_mark := argument.rfind(before, start)) >= 0:
        return closing_mark
    if is_quoted or before in ("", "="):  # the value of an argument: only another URI of a sweep ends it
        end = _URI_AFTER_COMMA.search(argument, start)
    else:  # in a list or mapping, "," or a closing bracket ends it. A password may contain them, so they follow "@"
        end = re.compile(r"[,\]}]").search(argument, max(argument.rfind("@"), start))
    return end.start() if end else len(argument)


# ------------------------------------------------------------------------------------------ what `scrub` searches for


def _known_masks() -> dict[str, str]:
    """The masks of this process and its environment, by URI or secret."""
    of_process = {original: masked for masked, original in original_by_mask.items()}
    return {uri: mask_uri(uri) for uri in _list_uris_of_environment()} | of_process


def _list_uris_of_environment() -> list[str]:
    return [uri for name in (URI_VARIABLE, DATA_URI_VARIABLE) if (uri := os.environ.get(name))]


def _list_secret_spellings() -> set[str]:
    """The secrets as a text may spell them: plain, percent-encoded, decoded, and escaped by `repr`."""
    secrets = {os.environ.get(name, "") for name in SECRET_VARIABLES}
    for original, masked in _known_masks().items():
        secrets |= {part for part in _split_uri(original) if part not in masked}
    secrets |= {decode(secret) for secret in secrets for decode in (unquote, unquote_plus)}
    encoded = {encode(secret, safe="") for secret in secrets for encode in (quote, quote_plus)}
    escaped = {repr(secret)[1:-1] for secret in secrets}
    return (secrets | encoded | escaped) - {""}


def _split_uri(uri: str) -> set[str]:
    """All parts of a URI, except the user's name if there is a password. The parts that its mask lacks are secret."""
    rest = uri.partition("://")[2] or uri
    userinfo = rest.rpartition("@")[0]
    user, _, password = userinfo.partition(":")
    parts = {uri, rest, userinfo, password, *re.split("[/?&=#@:]+", rest)}
    return parts - {user} if password else parts
