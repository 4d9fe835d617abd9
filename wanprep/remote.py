"""Addresses in object storage: none may hold credentials, and their errors are told in one line."""

from __future__ import annotations

import errno
import os
import re

from wanprep.errors import UsageError

# A bucket's name has neither ':' nor '@', save that of an access point (arn:...). Secrets may hold '/'.
_BUCKET_WITH_KEY = re.compile(r"\bs3[an]?://(?!arn:)[^/]*[:@]|\bs3[an]?://[^@]*:[^@]*@", re.IGNORECASE)
_WITH_PASSWORD = re.compile(r"\b[a-z][a-z0-9+.-]*://[^/@:\s]*:[^/@\s]*@", re.IGNORECASE)
_SIGNED = re.compile(r"[?&](x-amz-[a-z-]+|x-goog-[a-z-]+|awsaccesskeyid|signature|sig)=", re.IGNORECASE)
_USER = re.compile(r"(://)[^/@\s\"']*@")
_SECRET_SETTINGS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "FSSPEC_S3_KEY",
    "FSSPEC_S3_SECRET",
    "FSSPEC_S3_TOKEN",
)
_HIDDEN = "***"
_SERVER_ERRORS = frozenset({errno.EBUSY, errno.EIO, getattr(errno, "EREMOTEIO", errno.EIO)})
# Named, not imported: these come from s3fs, aiobotocore and aiohttp, which are there with the extra only.
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError")
_UNREACHABLE = ("HTTPClientError", "ClientConnectionError", "ClientPayloadError", "ConnectionError")
_NO_ANSWER = ("FSTimeoutError", "TimeoutError", "ReadTimeoutError", "ConnectTimeoutError")
_CLIENTS = frozenset(
    {"botocore", "aiobotocore", "aiohttp", "s3fs", "fsspec", "gcsfs", "google", "huggingface_hub", "requests"}
    | {"urllib3", "httpx", "azure"}
)


def check_address(address: str) -> None:
    """Refuses an address with credentials in it: addresses are written into stores, logs and file names.

    Raises:
        UsageError: it holds a key, a password or a signature; the message does not repeat them.
    """
    if _BUCKET_WITH_KEY.search(address) or _WITH_PASSWORD.search(address) or _SIGNED.search(address):
        protocol = address.partition("://")[0] if "://" in address else ""
        raise UsageError(
            f"{protocol}://{_HIDDEN}: the address holds credentials, which would be written into the store; leave "
            "them out and give them by AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )


def scrub(text: str) -> str:
    """The first line of a text without the credentials that the environment or an address gives."""
    text = text.strip().partition("\n")[0].strip()
    for name in _SECRET_SETTINGS:
        if value := os.environ.get(name):
            text = text.replace(value, _HIDDEN)
    return _USER.sub(rf"\1{_HIDDEN}@", text)


def cause(error: BaseException) -> str:
    """What went wrong with a remote file, and what to do, in one line without credentials."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    said = scrub(str(error)) or type(error).__name__
    if not kinds.isdisjoint(_NO_CREDENTIALS):
        return (
            "no credentials were found; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "and look that they are complete"
        )
    if isinstance(error, PermissionError):
        return f"access is denied: {said}; check the credentials and their rights to this bucket"
    if isinstance(error, FileNotFoundError):
        return f"is not there: {said}; check the bucket's name and AWS_ENDPOINT_URL"
    if not kinds.isdisjoint(_NO_ANSWER):
        return f"the server did not answer in time: {said}; run the same command again"
    if not kinds.isdisjoint(_UNREACHABLE):
        return f"the connection failed: {said}; check AWS_ENDPOINT_URL and the network, then run the same command again"
    if isinstance(error, OSError) and error.errno in _SERVER_ERRORS:
        return f"the server failed: {scrub(error.strerror or said)}; run the same command again"
    return said if isinstance(error, OSError) else f"{type(error).__name__}: {said}"


def is_client_trouble(error: BaseException) -> bool:
    """Whether an exception, or what it was made from, comes from a client of remote storage."""
    return any(
        kind.__module__.partition(".")[0] in _CLIENTS
        for one in (error, error.__cause__)
        if one is not None
        for kind in type(one).__mro__
    )
