"""Remote files, such as `s3://bucket/table.parquet`. They are fetched into the cache folder, so all files are local.

A file is fetched once, and again when its size, its time or its checksum changes. fsspec is imported only for a URI.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from components.cache_folder import fetched_folder
from components.fetched_files import add_entry, new_entry, use_entry
from components.read_once import read_once
from components.remote_errors import CREDENTIALS, explain_errors
from components.types import DataError, MissingFileError
from components.uri_mask import mask_uri

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
HTTP = ("http", "https")
HTTP_SCHEMES = tuple(f"{scheme}://" for scheme in HTTP)
PAGE_NAME = re.compile(r"\.x?html?$", re.IGNORECASE)  # the name of a file that is meant to be a page
PAGE_START = re.compile(
    rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", re.I | re.S
)
PAGE_START_BYTES = 1 << 12
PATTERN = {True: re.compile(r"\*"), False: re.compile(r"[*?[]")}  # of HTTP, whose `?` starts a query, and of others
# Facts about a file that change with its content, as fsspec's file systems name them.
CONTENT_FACTS = (
    *("etag", "lastmodified", "mtime", "modified", "created", "updated", "md5hash", "contentmd5", "digest", "checksum"),
    *("crc32c", "generation", "versionid", "sha256", "lfs"),
)
LOGIN = re.compile(r"[^:]+://[^/@]*:")  # the beginning of a URI with user and password, which may have a slash
NAMED_PACKAGE = re.compile(r"(?:[Ii]nstall |\")([\w-]+)")  # in an error of fsspec
# Parameters of signed addresses. They differ each time, and are no part of the identity of a file.
SIGNED = re.compile(
    r"x-(amz|goog)-.*|aws.*|googleaccessid|sig|signature|s[a-z]|expires|key-pair-id|policy|.*token.*", re.I
)
USUAL = "abfs://, file://, gs://, hdfs://, http://, https://, s3://"
CONNECT_SECONDS, READ_SECONDS = 30, 120

Report = Callable[[int], None]
"""Is called with the number of bytes that are fetched."""

show_fetching: ContextVar[Callable[[str, int], AbstractContextManager[Report]]] = ContextVar(
    "show_fetching", default=lambda name, size: nullcontext(lambda done: None)
)
"""(what is fetched, its bytes) -> a context that shows the progress."""


def is_remote(path: str) -> bool:
    """Whether a path is a URI of files elsewhere."""
    match = SCHEME.match(path)
    return match is not None and match[1].lower() != "file"


def hide_credentials(path: str) -> str:
    """A path for messages: a URI without user, password and signature."""
    return mask_uri(path) if is_remote(path) else path


def strip_file_scheme(path: str) -> str:
    """The path of a local file that is written as `file:///folder/name`. Raises DataError for a file of a host."""
    if not (match := SCHEME.match(path)) or match[1].lower() != "file":
        return path
    rest = path[match.end() :].removeprefix("localhost" if path[match.end() :].startswith("localhost/") else "")
    if not rest.startswith("/"):
        raise DataError(
            f"{path}: after two slashes, {rest.split('/')[0]} is the name of a host. Write "
            f"{path[: match.end()]}/folder/name with the absolute path of the file, or only {rest}."
        )
    return rest


def fetch(uri: str, *, patterns: bool = True) -> list[Path]:
    """Fetches remote files.

    Args:
        uri: a file; a folder; or a pattern with *, ** or, but for HTTP, ? and [.
        patterns: whether a pattern is one.

    Returns:
        The local copies, in the order of their paths; of a folder, the folder that holds them.

    Raises:
        MissingFileError: there is no such file.
        DataError: a package is missing, or the files can't be read.
    """

    def read() -> list[Path]:
        with explain_errors(uri):
            return _fetch(uri, patterns=patterns)

    return read_once(f"remote {uri}", patterns, read)


def _fetch(uri: str, *, patterns: bool) -> list[Path]:
    system, path = _open_system(uri)
    is_http = _scheme(uri) in HTTP
    is_pattern = patterns and PATTERN[is_http].search(path) is not None
    if is_pattern:
        listed = [name for name, info in system.glob(path, detail=True).items() if info["type"] == "file"]
        found = [name for name in listed if not _is_listing(name)]
        if not found:
            raise MissingFileError(f"no file matches {hide_credentials(uri)}; correct the pattern", (uri,))
    else:
        is_folder = path.endswith("/") if is_http else system.info(path)["type"] == "directory"
        found = [name for name in system.find(path) if not _is_listing(name)] if is_folder else [path]
        if not found:
            raise MissingFileError(f"{hide_credentials(uri)} is a folder without files", (uri,))
        if not is_folder:
            return [_fetch_file(system, path, uri)]
    places = Counter("/".join(_local_parts(name, uri)[1:]) for name in found)
    if repeated := next((place for place, count in places.items() if count > 1), None):
        raise DataError(f"{hide_credentials(uri)} has {repeated} twice, with other parameters. List the files to read")
    copies = {name: _fetch_file(system, name, uri) for name in sorted(found)}
    folder = _link_copies([*copies.values()])
    if not is_pattern:
        return [folder.joinpath(*_local_parts(path, uri))]
    return [folder.joinpath(*_local_parts(name, uri)) for name in copies]


def _fetch_file(system: Any, path: str, uri: str) -> Path:
    """The local copy of a file, which is fetched unless the cache has it.

    Args:
        system: the file system.
        path: the file there.
        uri: the URI that the user wrote.
    """
    address = hide_credentials(path if "://" in path else f"{_scheme(uri)}://{path.lstrip('/')}")
    return _check_no_page(_find_or_download(system, path, Path(*_local_parts(path, uri)), address), address)


def _find_or_download(system: Any, path: str, place: Path, address: str) -> Path:
    info = system.info(path)
    has_facts = _has_content_facts(info)
    name = _hash(place.parts[0], _strip_signature(path), _identify(info))
    entry = fetched_folder() / name
    if has_facts and use_entry(entry, place):
        return entry / place

    def show_waiting() -> AbstractContextManager[Report]:
        return show_fetching.get()(f"waiting for another process, which fetches {address}", 0)

    with new_entry(name, show_waiting) as temporary:
        if has_facts and use_entry(entry, place):  # the other process has fetched it
            return entry / place
        copy = temporary / place
        copy.parent.mkdir(parents=True)
        _download(system, path, info, copy, address)
        if not has_facts:  # the content is the only fact
            entry = entry.with_name(_hash(name, _hash_content(copy)))
        return add_entry(temporary, entry, place)


def _download(system: Any, path: str, info: Mapping[str, Any], copy: Path, address: str) -> None:
    """Fetches a file. Raises DataError if it breaks off, or changes meanwhile."""
    size = info.get("size")
    with show_fetching.get()(f"fetching {address}", size or 0) as report:
        try:
            system.get_file(path, str(copy), callback=_make_callback(report))
        except KeyboardInterrupt:
            message = f"interrupted: nothing of {address} is kept, and the same command fetches it again"
            raise KeyboardInterrupt(message) from None
    fetched = os.path.getsize(copy)
    if size is not None and fetched != size:
        raise DataError(f"{address} broke off after {fetched:,} of {size:,} bytes. Run the command again.")
    system.invalidate_cache()
    if _identify(system.info(path)) != _identify(info):
        raise DataError(f"{address} changed while it was fetched. Run the command again.")


def _check_no_page(file: Path, address: str) -> Path:
    """Returns a fetched file. Raises DataError if it is a page of HTML whose name isn't that of one."""
    place = urlsplit(address)._replace(query="", fragment="").geturl()
    if not address.startswith(HTTP_SCHEMES) or PAGE_NAME.search(place):
        return file
    with file.open("rb") as opened:
        if not PAGE_START.match(opened.read(PAGE_START_BYTES)):
            return file
    remedy = "It may ask you to log in. Write the address of the file itself"
    if not PurePosixPath(place).suffix:
        remedy = f"If it is a folder whose files the page lists, add a slash: {place}/. Otherwise, write that of a file"
    raise DataError(f"{address} is the address of a page of HTML, and not of a file of data. {remedy}.")


def _hash_content(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _link_copies(copies: Sequence[Path]) -> Path:
    """A folder that has the copies of several files, and no others, at their places."""
    root = fetched_folder()
    name = _hash(*(str(copy.relative_to(root)) for copy in copies))
    if use_entry(root / name):
        return root / name
    with new_entry(name) as temporary:
        for copy in copies:
            place = temporary.joinpath(*copy.relative_to(root).parts[1:])
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(copy, place)
            except OSError:  # the file system has no links
                shutil.copyfile(copy, place)
        return add_entry(temporary, root / name)


def _open_system(uri: str) -> tuple[Any, str]:
    """The file system of a URI, and the path in it. Raises DataError if a package is missing."""
    try:
        from fsspec.core import url_to_fs
        from fsspec.registry import known_implementations, registry
    except ImportError as error:
        raise DataError(
            f"{hide_credentials(uri)} needs the package fsspec. Install it: uv sync --inexact --extra remote, or "
            "pip install fsspec aiohttp"
        ) from error
    scheme = _scheme(uri)
    if scheme not in {*known_implementations, *registry}:
        raise DataError(
            f"{hide_credentials(uri)}: {scheme}:// is no kind of file system. Allowed: {USUAL}, and others of fsspec"
        )
    if scheme in CREDENTIALS and LOGIN.match(uri):
        raise DataError(
            f"{hide_credentials(uri)}: {scheme}:// takes no user and password. Set {CREDENTIALS[scheme]}, and leave "
            "out what is before the @."
        )
    uri = scheme + uri[len(scheme) :]  # in small letters, which fsspec needs
    options: dict[str, Any] = {}
    try:
        if scheme in HTTP:
            import aiohttp

            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
            options = {"client_kwargs": {"timeout": timeout, "trust_env": True}}
        system, path = url_to_fs(uri, **options)
    except ImportError as error:
        package = str(known_implementations[scheme]["class"]).split(".")[0]
        named = NAMED_PACKAGE.search(str(error)) if package == "fsspec" else None
        needed = "aiohttp" if scheme in HTTP else error.name or (named[1] if named else package)
        raise DataError(f"{scheme}:// needs the package {needed}. Install it: uv pip install {needed}") from error
    system.invalidate_cache()
    return system, str(path)


def _scheme(uri: str) -> str:
    match = SCHEME.match(uri)
    assert match is not None
    return match[1].lower()


def _identify(info: Mapping[str, Any]) -> str:
    """The size of a file, and the facts that change with its content."""
    facts = {_fact_name(key): str(value) for key, value in info.items() if value is not None}
    return str(sorted((key, value) for key, value in facts.items() if key == "size" or key in CONTENT_FACTS))


def _has_content_facts(info: Mapping[str, Any]) -> bool:
    return any(_fact_name(key) in CONTENT_FACTS for key, value in info.items() if value is not None)


def _fact_name(key: str) -> str:
    return re.sub("[-_]", "", key).lower()


def _strip_signature(path: str) -> str:
    """A path without the user, the password and the parameters of a signature."""
    if "://" not in path:
        return path
    parts = urlsplit(path)
    query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if not SIGNED.fullmatch(pair[0])]
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}?{query}"


def _is_listing(path: str) -> bool:
    """Whether a path is a folder, such as `year=2020/`, or its page in another order, `?C=N`, which HTTP lists."""
    return (urlsplit(path).path if "://" in path else path).endswith("/")


def _local_parts(path: str, uri: str) -> Sequence[str]:
    """The place of a copy: the scheme, the host or the bucket, and the path. Raises DataError for a path with `..`.

    Folders and files have the names that HTTP quotes, such as `year=2020` for `year%3D2020`.
    """
    parts = urlsplit(path)
    rest = f"{parts.netloc.rpartition('@')[2]}{parts.path}" if "://" in path else path
    names = [name for name in PurePosixPath(rest).parts if name != "/"]
    names = [*map(_unquote, names)] if _scheme(uri) in HTTP else names
    if ".." in names or any("\0" in name for name in names):
        raise DataError(f"{hide_credentials(uri)} has a file whose path isn't allowed, {rest!r}")
    return [_scheme(uri), *names]


def _unquote(name: str) -> str:
    """The name that a part of the path of an HTTP address stands for, if a file can have it."""
    try:
        text = unquote(name, errors="strict")
    except UnicodeDecodeError:
        return name
    return name if "/" in text or text == "." else text


def _hash(*texts: str) -> str:
    return hashlib.blake2b("\n".join(texts).encode(), digest_size=16).hexdigest()


def _make_callback(report: Report) -> Any:
    from fsspec.callbacks import Callback

    return Callback(hooks={"report": lambda size, value, **_: report(value)})
