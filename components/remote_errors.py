"""The errors of file systems in plain words. Each of them has its own kinds of errors."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl, unquote, urlsplit

from components.cache_folder import fetched_folder
from components.types import DataError, MissingFileError
from components.uri_mask import MASK, PUBLIC_PARAMETERS, mask_uri

CREDENTIALS = {
    "s3": "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "gcs": "GOOGLE_APPLICATION_CREDENTIALS",
    "abfs": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
MAX_MESSAGE = 200  # characters of a file system's message
OPERATION = re.compile(r"An error occurred \(\w+\) when calling the \w+ operation( \(.*?\))?: (?=.*\S )")  # of botocore
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def explain_errors(uri: str) -> Iterator[None]:
    """Errors of a file system become DataError with the URI. Each of them has its own kinds of errors.

    The traceback of a DataError doesn't show their messages, which may have credentials.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise _explain(error, uri) from None


def _explain(error: Exception, uri: str) -> DataError:
    name, cache = mask_uri(uri), fetched_folder()
    cause = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ is not None else error
    if isinstance(cause, OSError) and (cause.errno in FULL or str(cause.filename).startswith(str(cache.parent))):
        return DataError(
            f"{name} can't be saved in {cache}: {cause.strerror}. Free some space there, or set TITRATE_CACHE to "
            "another folder that you may write to."
        )
    status = getattr(cause, "status", None)
    if isinstance(cause, FileNotFoundError) or status in (404, 410):
        return MissingFileError(f"there is no file {name}; correct the path", (uri,))
    answer = f"{status} {getattr(cause, 'message', '')}".strip() if status is not None else str(cause)
    hidden = OPERATION.sub("", _hide_in_message(answer, uri))
    message = _leave_out(name, hidden) or type(cause).__name__
    if isinstance(cause, PermissionError) or status in (401, 403) or "credential" in message.lower():
        variables = CREDENTIALS.get(uri.partition("://")[0].lower())
        remedy = f"Set {variables}, or" if variables else "Write user:password@ before the host, or"
        return DataError(
            f"{name} can't be read without permission: {message}. {remedy} log in as its package describes."
        )
    if isinstance(cause, OSError) and cause.filename is not None:
        message = str(cause.strerror) if str(cause.filename) in uri else f"{cause.strerror} ({cause.filename})"
    if len(message) > MAX_MESSAGE:
        message = f"{message[:MAX_MESSAGE]} …"
    return DataError(f"{name} can't be fetched: {message}. Try again, or correct the path.")


def _leave_out(address: str, message: str) -> str:
    """A message without an address, which the error starts with already."""
    place = rf"[('\"]*{re.escape(address.rstrip('/'))}/?(?![\w./?-])[)'\"]*:?"
    return " ".join(re.sub(place, "", message).split()).strip(" .:,")


def _hide_in_message(message: str, uri: str) -> str:
    """A message without the credentials of a URI, in one line."""
    message = message.replace(uri, mask_uri(uri))
    parts = urlsplit(uri)
    private = [value for name, value in parse_qsl(parts.query) if name.lower() not in PUBLIC_PARAMETERS]
    secrets = [parts.query, parts.password, parts.username if parts.password else None, *private]
    for secret in filter(None, [*secrets, *(unquote(each) for each in secrets if each)]):
        message = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, message)
    return " ".join(message.split())
