"""One JSON request to a server, again and again until it is answered or clearly never will be."""

from __future__ import annotations

import email.utils
import http.client
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stages.caption.writer import CaptionError

_MAX_REPLY = 4 << 20  # bytes
_CHUNK = 64 << 10
_FIRST_PAUSE = 0.5  # seconds; doubles with each try
_LONGEST_PAUSE = 30.0
_LONGEST_ASKED = 120.0  # seconds of a Retry-After that are waited; more counts as "not today"
# What another try may mend: timeouts, conflicts, "too early", too many requests. Servers' own errors besides.
_AGAIN = frozenset({408, 409, 425, 429})
_SAID = 200  # characters of a server's own words


@dataclass(frozen=True, slots=True)
class _Trouble:
    """A try that failed: why, whether another may help, and what pause the server asks for, in seconds."""

    why: str
    again: bool
    pause: float | None = None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would send the key and the pictures to an address that nobody chose."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class JsonClient:
    """Posts JSON to one address. The key goes into one header and nowhere else."""

    def __init__(
        self,
        address: str,
        *,
        key: str | None,
        timeout: float,
        retries: int,
        local: bool,
    ) -> None:
        """
        Args:
            timeout: seconds for one answer from its first to its last byte.
            local: the server is on this machine, where no proxy stands between.
        """
        self._address = address
        self._key = key
        self._timeout = timeout
        self._retries = retries
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if local:
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def post(self, document: Mapping[str, Any], check: Callable[[Any], None]) -> Any:
        """The answer's JSON.

        Args:
            check: raises CaptionError for an answer that is not of the right form; it is asked for again.

        Raises:
            CaptionError: refused, or no good answer after all tries; the last try's cause in one line.
        """
        body = json.dumps(document).encode()
        for number in range(self._retries + 1):
            found = self._try(body, check)
            if not isinstance(found, _Trouble):
                return found
            if not found.again or (found.pause or 0.0) > _LONGEST_ASKED:
                raise CaptionError(f"server {self._address}: {found.why}")
            if number < self._retries:
                wait(found.pause if found.pause is not None else _pause(number))
        tries = f"{self._retries + 1} tries" if self._retries else "1 try"
        raise CaptionError(f"server {self._address}: {found.why}, after {tries}")

    def _try(self, body: bytes, check: Callable[[Any], None]) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "wanprep"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        # The config lets http:// and https:// through only.
        request = urllib.request.Request(self._address, body, headers, method="POST")  # noqa: S310
        until = time.monotonic() + self._timeout
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                document = json.loads(_read(response, until))
                check(document)
                return document
        except urllib.error.HTTPError as error:
            with error:
                return self._status(error)
        except CaptionError as error:
            return _Trouble(str(error), again=True)
        except TimeoutError:
            return _Trouble(f"no answer in {self._timeout:g} s", again=True)
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                return _Trouble(f"no answer in {self._timeout:g} s", again=True)
            return _Trouble(f"cannot be reached ({self._scrubbed(str(error.reason))})", again=True)
        except (OSError, http.client.HTTPException) as error:
            return _Trouble(f"the connection broke ({self._scrubbed(_text(error))})", again=True)
        except (ValueError, RecursionError):
            return _Trouble("the answer is no JSON", again=True)

    def _status(self, error: urllib.error.HTTPError) -> _Trouble:
        said = self._words(error)
        if error.code in (401, 403):
            return _Trouble(
                f"refuses the key (HTTP {error.code}{said}); see server.key_variable", again=False
            )
        if error.code == 404:
            return _Trouble(
                f"has no such address or model (HTTP 404{said}); see server.base_url and server.model",
                again=False,
            )
        if 300 <= error.code < 400:
            return _Trouble(
                f"sends elsewhere (HTTP {error.code}), which is not followed; correct server.base_url",
                again=False,
            )
        again = error.code in _AGAIN or error.code >= 500
        return _Trouble(f"HTTP {error.code}{said}", again, _asked_pause(error.headers.get("Retry-After")))

    def _words(self, error: urllib.error.HTTPError) -> str:
        """What the server says of its error, for the end of a message."""
        try:
            content = error.read(_CHUNK)
        except (OSError, http.client.HTTPException):
            return ""
        text = content.decode("utf-8", "replace")
        try:
            document = json.loads(text)
            inner = document.get("error", document) if isinstance(document, dict) else document
            text = str(inner.get("message", "")) if isinstance(inner, dict) else str(inner)
        except (ValueError, RecursionError):
            text = "" if "<html" in text.lower() else text
        line = self._scrubbed(text)
        return f": {line}" if line else ""

    def _scrubbed(self, text: str) -> str:
        """One short line, without the key should the server repeat it."""
        if self._key:
            text = text.replace(self._key, "***")
        return " ".join(text.split())[:_SAID]


def wait(seconds: float) -> None:
    time.sleep(seconds)


def _read(response: Any, until: float) -> bytes:
    """The whole answer.

    Raises:
        TimeoutError: it is not there in time; a server that sends a byte now and then would pass the socket's own
            limit for ever.
        CaptionError: it is too long.
    """
    content = bytearray()
    while chunk := response.read1(_CHUNK):
        content += chunk
        if time.monotonic() > until:
            raise TimeoutError
        if len(content) > _MAX_REPLY:
            raise CaptionError(f"the answer is longer than {_MAX_REPLY:,} bytes")
    return bytes(content)


def _pause(number: int) -> float:
    """Before the next try, in seconds: doubled each time, and spread so that workers do not come all at once."""
    return float(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**number) * random.uniform(0.5, 1.5))  # noqa: S311


def _asked_pause(value: str | None) -> float | None:
    """Seconds of a Retry-After header (RFC 9110, 10.2.3): a number of them, or a date."""
    if value is None:
        return None
    try:
        return max(0.0, float(int(value)))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
