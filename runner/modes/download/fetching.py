"""Fetches a file from its public address, and checks its size and its SHA-256 checksum."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import re
import shutil
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from components.input_files import open_file
from components.types import PublishedFile, UserError
from runner.errors import RunError, is_disk_error
from runner.files import open_to_update, replace_atomically
from runner.memory import format_bytes
from runner.public_data import PublicFile
from runner.signature.code import package_version

TIMEOUT = 30.0  # seconds without a byte
CHUNK_BYTES = 1 << 20
PARTIAL_SUFFIX = ".part"  # of a file that isn't complete
HUB_SIZE, HUB_DIGEST = "X-Linked-Size", "X-Linked-Etag"  # headers of the Hugging Face Hub
SHA256 = re.compile(r"[0-9a-f]{64}")
NOTHING_KEPT = "Nothing of it is kept. The file may have been moved or changed: see the page of the data."


class DownloadError(RunError):
    """A file can't be fetched.

    Attributes:
        keeps_start: whether the bytes that have arrived are of the file.
    """

    def __init__(self, message: str, *, keeps_start: bool) -> None:
        super().__init__(message)
        self.keeps_start = keeps_start


def is_fetched(path: Path, file: PublicFile) -> bool:
    """Whether a file exists, with the right checksum. Raises UserError if it has another content."""
    if not os.path.lexists(path):
        return False
    with open_file(path) as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if digest != file.sha256:
        raise UserError(
            f"{path} isn't the published file: its SHA-256 is {digest}, that of {file.url} is {file.sha256}.\n"
            "Rename or remove it, and repeat the command."
        )
    return True


def fetch(path: Path, file: PublicFile, report: Callable[[int], None], timeout: float = TIMEOUT) -> None:
    """Fetches a file. Until it is complete and correct, its name ends with PARTIAL_SUFFIX.

    If the connection breaks off, what has arrived is kept, and the next call goes on from there.

    Args:
        path: where to store the file.
        file: its address, size and checksum.
        report: is called with the number of bytes that have arrived.
        timeout: seconds without a byte, after which the connection counts as broken.

    Raises:
        DownloadError: the address can't be reached, answers with another file, or breaks off; or the disk is full.
        UserError: the folder can't be written, or another command fetches the file.
    """
    partial = path.with_name(path.name + PARTIAL_SUFFIX)
    with _disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_to_update(partial) as target:
            _lock(target, partial)
            try:
                _receive_all(target, path.parent, file, report, timeout)
                os.fsync(target.fileno())
                partial.replace(path)
            except KeyboardInterrupt:
                message = f"interrupted: what has arrived of {path.name} is kept, and the same command continues there"
                raise KeyboardInterrupt(message) from None
            except (DownloadError, OSError) as error:
                with suppress(OSError):  # the disk is full
                    target.flush()
                if not getattr(error, "keeps_start", False) or not os.fstat(target.fileno()).st_size:
                    partial.unlink()
                raise


def describe_hub_file(file: PublishedFile, timeout: float = TIMEOUT) -> PublicFile:
    """The size and the SHA-256 checksum that the Hugging Face Hub states for a file.

    They are in the headers of its answer, which redirects to the server of the file.

    Raises:
        DownloadError: the hub can't be reached, answers with an error, or states no checksum.
    """
    request = urllib.request.Request(file.url, headers=_make_headers(), method="HEAD")
    with _connection_errors(file.url):
        try:
            headers = urllib.request.build_opener(_KeepRedirect).open(request, timeout=timeout).headers
        except urllib.error.HTTPError as error:
            if not 300 <= error.code < 400:
                raise
            headers = error.headers
    size, digest = headers.get(HUB_SIZE, ""), headers.get(HUB_DIGEST, "").strip('"')
    if not size.isdigit() or not SHA256.fullmatch(digest):
        raise DownloadError(f"{file.url}: the server states no size and no SHA-256.\n{NOTHING_KEPT}", keeps_start=False)
    return PublicFile(file.path, file.url, int(size), digest)


class _KeepRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, so that its own headers can be read."""

    def redirect_request(self, *arguments: object) -> None: ...


def _make_headers() -> dict[str, str]:
    return {"User-Agent": f"titrate/{package_version('titrate')}", "Accept-Encoding": "identity"}


def unpack(archive_path: Path, member: str, path: Path) -> bool:
    """Unpacks a file of a zip archive, and returns whether it was missing.

    Raises:
        DownloadError: the disk is full.
        UserError: there is another file, or the folder can't be written.
    """
    with zipfile.ZipFile(archive_path) as archive:
        entry = archive.getinfo(member)
        if os.path.lexists(path):
            if _compute_crc(path) != entry.CRC:
                raise UserError(
                    f"{path} isn't the published file, {member} of {archive_path}.\n"
                    "Rename or remove it, and repeat the command."
                )
            return False
        partial = path.with_name(path.name + PARTIAL_SUFFIX)
        with _disk_errors(path.parent), archive.open(entry) as source, replace_atomically(path, partial) as target:
            shutil.copyfileobj(source, target, CHUNK_BYTES)
    return True


def _compute_crc(path: Path) -> int:
    crc = 0
    with open_file(path) as opened:
        while chunk := opened.read(CHUNK_BYTES):
            crc = zlib.crc32(chunk, crc)
    return crc


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Describes errors of files below a folder."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if is_disk_error(error):
            raise DownloadError(
                f"{folder}: {reason}.\nFree some space, or choose another folder with TITRATE_DATA; then repeat the "
                "command.",
                keeps_start=False,
            ) from error
        raise UserError(f"{folder} can't be written: {reason}.\nChoose another folder with TITRATE_DATA.") from error


def _lock(target: BinaryIO, partial: Path) -> None:
    """Locks an incomplete file. Raises UserError if another command has locked or just completed it."""
    try:
        fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_own = os.path.samestat(os.fstat(target.fileno()), partial.stat())
    except (BlockingIOError, FileNotFoundError):
        is_own = False
    if not is_own:
        raise UserError(f"{partial} is written by another command, which fetches the same file.\nWait for its end.")


def _receive_all(
    target: BinaryIO, folder: Path, file: PublicFile, report: Callable[[int], None], timeout: float
) -> None:
    """Completes a file in a folder. Raises DownloadError if its checksum is wrong, or the folder has no room."""
    kept = os.fstat(target.fileno()).st_size
    if (missing := file.size - kept) > (free := shutil.disk_usage(folder).free):
        raise DownloadError(
            f"{folder} has {format_bytes(free)} free, and {format_bytes(missing)} of {file.url} are to be stored.\n"
            "Free some space, or choose another folder with TITRATE_DATA.",
            keeps_start=True,
        )
    for start in dict.fromkeys((kept, 0)):  # what was kept may be wrong
        digest = _receive(target, start, file, report, timeout)
        if digest == file.sha256:
            return
    raise DownloadError(
        f"{file.url} has the SHA-256 {digest}, but the published file has {file.sha256}.\n{NOTHING_KEPT}",
        keeps_start=False,
    )


def _receive(target: BinaryIO, start: int, file: PublicFile, report: Callable[[int], None], timeout: float) -> str:
    """Receives what is missing of a file, and returns its SHA-256 checksum; "": the start isn't one of the file.

    Args:
        target: the incomplete file, which is left at its end.
        start: the number of its bytes that are kept, if the server can go on from there.
        file: its address, size and checksum.
        report: is called with the number of bytes that have arrived.
        timeout: seconds without a byte.
    """
    done, digest = 0, hashlib.sha256()
    target.seek(0)
    while done < start and (chunk := target.read(min(CHUNK_BYTES, start - done))):
        digest.update(chunk)
        done += len(chunk)
    if done < file.size:
        answer = _request(file, done, timeout)
        if answer is None:
            return ""
        with answer:
            if done and answer.status != http.client.PARTIAL_CONTENT:  # the server starts again
                done, digest = 0, hashlib.sha256()
            target.truncate(done)
            target.seek(done)
            report(done)
            for chunk in _read_chunks(answer, file, file.size - done):
                target.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                report(done)
    target.flush()
    return digest.hexdigest()


def _request(file: PublicFile, start: int, timeout: float) -> http.client.HTTPResponse | None:
    """Requests a file from a byte on. None: there is no such byte, so what was received before isn't of this file."""
    headers = _make_headers()
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(file.url, headers=headers)
    try:
        with _connection_errors(file.url):
            answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=timeout)  # follows redirects
    except DownloadError as error:
        code = getattr(error.__cause__, "code", None)
        if start and code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return None
        raise
    return answer


@contextmanager
def _connection_errors(url: str) -> Iterator[None]:
    """Raises DownloadError if a server can't be reached, or answers with an error."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        is_temporary = error.code >= 500 or error.code == http.client.TOO_MANY_REQUESTS
        remedy = "Repeat the command later." if is_temporary else NOTHING_KEPT
        raise DownloadError(
            f"{_name_address(error.url, url)} answers {error.code} {error.reason}.\n{remedy}", keeps_start=is_temporary
        ) from error
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or error
        raise DownloadError(
            f"{url} can't be reached: {str(reason) or type(reason).__name__}.\n"
            "Check the connection (and HTTPS_PROXY, if there is a proxy), and repeat the command.",
            keeps_start=True,
        ) from error


def _read_chunks(answer: http.client.HTTPResponse, file: PublicFile, expected: int) -> Iterator[bytes]:
    """Yields the bytes of an answer. Raises DownloadError unless they are as many as expected."""
    declared, received = answer.length, 0
    if declared not in (None, expected):
        raise _make_size_error(answer, file, f"{declared:,}", expected)
    reason = "the connection was closed"
    try:
        while chunk := answer.read1(CHUNK_BYTES):
            received += len(chunk)
            if received > expected:
                raise _make_size_error(answer, file, f"more than {expected:,}", expected)
            yield chunk
    except (OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
    if received == expected:
        return
    if declared is None:  # nothing says that more bytes should follow
        raise _make_size_error(answer, file, f"{received:,}", expected)
    raise DownloadError(
        f"{file.url} broke off after {received:,} of {expected:,} bytes: {reason}.\n"
        "What has arrived is kept: repeat the command to go on from there.",
        keeps_start=True,
    )


def _make_size_error(answer: http.client.HTTPResponse, file: PublicFile, found: str, expected: int) -> DownloadError:
    kind, address = answer.headers.get_content_type(), _name_address(answer.url, file.url)
    return DownloadError(
        f"{address} answers with {found} bytes of {kind}, and {expected:,} bytes are needed.\n{NOTHING_KEPT}",
        keeps_start=False,
    )


def _name_address(final_url: str | None, url: str) -> str:
    """The address of a file, and where it leads."""
    return url if final_url in (None, url) else f"{url}, which leads to {final_url},"
