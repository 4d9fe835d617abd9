"""Captions by a server that speaks OpenAI's chat completions, such as vLLM."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from typing import Any

import cv2

from stages.caption.config import CaptionConfig, ServerConfig
from stages.caption.json_client import JsonClient
from stages.caption.sampling import Sample, fit_pixels
from stages.caption.slots import slot
from stages.caption.writer import CaptionError, Written
from wanprep.media.geometry import Size

_KEY = re.compile(r"[\x21-\x7e]+")  # what a header may hold
_QUALITY = 90  # of JPEG: what models see of the difference to lossless is nothing


def not_ready(config: ServerConfig) -> str | None:
    """What is missing before a server can be asked, in one line; None when nothing is."""
    if not config.model:
        return "the backend server needs to know which model to ask for; set server.model"
    name = config.key_variable
    if name and not _key(name):
        return f"the environment variable {name} is to hold the server's API key, and is not set"
    if name and not _KEY.fullmatch(_key(name)):
        return (
            f"what the environment variable {name} holds is no API key: it has blanks or other odd characters"
        )
    return None


def _key(variable: str) -> str:
    return os.environ.get(variable, "").strip()


class ServerWriter:
    """Sends a few JPEG pictures with their times and the prompt, and takes the answer."""

    def __init__(self, config: CaptionConfig) -> None:
        """
        Raises:
            CaptionError: no model is named, or the key's variable is not set.
        """
        if problem := not_ready(config.server):
            raise CaptionError(problem)
        server = config.server
        self._config = config
        self._client = JsonClient(
            f"{server.base_url}/chat/completions",
            key=_key(server.key_variable) if server.key_variable else None,
            timeout=server.timeout,
            retries=server.retries,
            local=server.is_local,
        )
        self.model = server.model
        self.digest: str | None = None
        self.device: str | None = None

    def size(self, width: int, height: int) -> Size:
        return fit_pixels(width, height, self._config.max_pixels, 2)

    def write(self, prompt: str, sample: Sample) -> Written:
        """The server's answer.

        Raises:
            CaptionError: it refuses, declines, cannot be reached, or answers with nothing of use.
        """
        config = self._config
        document = {
            "model": config.server.model,
            "messages": [{"role": "user", "content": list(_content(prompt, sample))}],
            "max_tokens": config.max_tokens,
            "temperature": config.temperature,
            "seed": config.seed,
            "stream": False,
        }
        with slot(config.server.base_url, config.server.concurrency):
            answer = self._client.post(document, _check)
        return _written(answer)


def _content(prompt: str, sample: Sample) -> Iterator[dict[str, Any]]:
    for time, frame_HWC in zip(sample.times_T, sample.frames_THWC, strict=True):
        if sample.medium == "video":
            yield {"type": "text", "text": f"<{time:.1f} seconds>"}
        bgr_HWC = cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2BGR)
        done, jpeg = cv2.imencode(".jpg", bgr_HWC, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
        if not done:
            raise CaptionError("a picture could not be encoded as JPEG")
        data = base64.b64encode(jpeg.tobytes()).decode("ascii")
        yield {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}
    yield {"type": "text", "text": prompt}


def _check(answer: Any) -> None:
    """
    Raises:
        CaptionError: the answer is no chat completion.
    """
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise CaptionError("the answer is no chat completion (it has no choices)")
    message = choices[0].get("message")
    if not isinstance(message, dict) or not isinstance(message.get("content"), str | list | None):
        raise CaptionError("the answer is no chat completion (its choice has no message)")


def _written(answer: Any) -> Written:
    choice = answer["choices"][0]
    message, ended = choice["message"], choice.get("finish_reason")
    if refusal := message.get("refusal"):
        raise CaptionError(f"the model refused: {' '.join(str(refusal).split())[:120]}")
    if ended == "content_filter":
        raise CaptionError("the server's content filter stopped the answer")
    content = message.get("content")
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        content = "".join(part for part in parts if isinstance(part, str))
    return Written(content or "", truncated=ended == "length")
