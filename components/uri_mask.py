"""Masks the credentials in one URI, and in the representation of a part, as `***`."""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import Any

MASK = "***"
LOCAL_SCHEMES = ("sqlite", "duckdb", "file")  # a path follows, not a host
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
    "host",
    "hostaddr",
    "port",
    "dbname",
    "unix_socket",
    "application_name",
)
"""Query parameters that never hold credentials. The values of all other parameters are masked."""

STORES = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "hdfs", "hf", "memory")
"""Schemes of URIs without a query: `?` and `#` may be in a name or a pattern, and `@` may follow a container."""

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
SECRET_NAME = re.compile(
    r"(passw(or)?d|pwd|token|secret|(api|access|account|auth|private|secret)[_-]?key)$", re.IGNORECASE
)
"""The names of parameters that hold secrets."""

_SECRET = re.compile(r"([\w-]*(?:key|secret|token|password|pwd|sig|signature)=)[^&;/]+", re.IGNORECASE)
_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]%]*)(:\d*)?")  # `host`, `host:5000`, `[::1]:5000`


def mask_uri(uri: str) -> str:
    """Masks the user, password, fragment and private parameters of a URI. A masked URI is returned unchanged.

    "https://me:secret@host:5000/a" -> "https://***@host:5000/a"
    "https://host/a?token=secret&timeout=9#b" -> "https://host/a?token=***&timeout=9#***"
    "sqlite:///runs.db?password=secret" -> "sqlite:///runs.db?password=***"
    "me:secret@host" -> "***@host"
    "s3://bucket/part-?.parquet" -> "s3://bucket/part-?.parquet"

    If a part is ambiguous, it is masked: "https://me:a?b@host" -> "https://***"
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return _mask_without_slashes(uri)
    if _is_local(scheme.partition("+")[0]) and rest.startswith("/"):
        return f"{scheme}://{_mask_query(rest)}"
    if scheme.lower() in STORES:
        authority, slash, path = rest.partition("/")
        if ":" in authority and "@" not in authority and scheme.lower() != "hdfs":  # a password may have a "/"
            _, at_sign, address = rest.rpartition("@")
            return f"{scheme}://{MASK}{at_sign}{_SECRET.sub(_mask_secret, address) if at_sign else ''}"
        user, at_sign, host = authority.rpartition("@")
        user = MASK if ":" in user else user
        return f"{scheme}://{user}{at_sign}{host}{slash}{_SECRET.sub(_mask_secret, path)}"
    userinfo, at_sign, address = rest.rpartition("@")
    if "?" in userinfo:  # either the "@" is in the query, or the "?" is in the password
        return f"{scheme}://{MASK}"
    address, _, fragment = address.partition("#")
    host = re.split("[/?]", address, maxsplit=1)[0]
    path_and_query = address.removeprefix(host)

    masked = f"{scheme}://"
    if at_sign:
        masked += f"{MASK}@"
    masked += host if host == MASK or _HOST.fullmatch(host) else MASK
    masked += _mask_query(_mask_path_parameters(path_and_query))
    if fragment:
        masked += f"#{MASK}"
    return masked


def represent_masked(part: Any) -> str:
    """The `repr` of a dataclass, whose URIs and secrets are masked.

    Csv(path="s3://me:secret@bucket/t.csv") -> "Csv(path='s3://***@bucket/t.csv')"
    """
    shown = (field.name for field in dataclasses.fields(part) if field.repr)
    values = (f"{name}={_mask_nested(getattr(part, name), name)!r}" for name in shown)
    return f"{type(part).__qualname__}({', '.join(values)})"


def _mask_nested(value: Any, name: str = "") -> Any:
    """A value whose URIs are masked, and the texts and numbers in it that are secrets by their name."""
    if isinstance(value, functools.partial):
        named = _mask_nested(value.keywords)
        return functools.partial(value.func, *_mask_nested(value.args), **named)
    if type(value) is dict:
        return {key: _mask_nested(each, str(key)) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_mask_nested(each, name) for each in value)
    if isinstance(value, str | int) and not isinstance(value, bool) and SECRET_NAME.search(name):
        return MASK
    return mask_uri(value) if isinstance(value, str) and SCHEME.match(value) else value


def _mask_without_slashes(text: str) -> str:
    """Masks a text without `://`.

    "me:secret@host" -> "***@host"
    "postgresql:secret" -> "postgresql:***"
    "some/path" -> "some/path"
    """
    if "@" in text:
        address = text.rpartition("@")[2]
        return f"{MASK}@{_mask_query(address)}"
    scheme, colon, _ = text.partition(":")
    if colon and not _is_local(scheme):
        return f"{scheme}:{MASK}"
    return _mask_query(text)


def _is_local(scheme: str) -> bool:
    return scheme.lower() in LOCAL_SCHEMES


def _mask_path_parameters(path: str) -> str:
    """Masks the parameters of a path's segments: "/a;token=secret/b" -> "/a;***/b"."""
    return re.sub(r";[^/?]*", f";{MASK}", path)


def _mask_query(address: str) -> str:
    """Masks the query that may follow an address: "host/a?token=secret&timeout=9" -> "host/a?token=***&timeout=9"."""
    path, question_mark, query = address.partition("?")
    masked_query = re.sub(r"[^&;]+", lambda parameter: _mask_parameter(parameter[0]), query)
    return path + question_mark + masked_query


def _mask_secret(found: re.Match[str]) -> str:
    return f"{found[1]}{MASK}"


def _mask_parameter(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    if name.lower() in PUBLIC_PARAMETERS:
        return parameter
    return f"{name}={MASK}" if equals else MASK
