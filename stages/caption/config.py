"""What can be chosen about captions."""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from stages.caption.prompt import Language, PromptTemplate
from wanprep.models.device import Device, Precision
from wanprep.models.field import model_field
from wanprep.stage import StageConfig

# Not any variable: a recipe from others must not be able to send AWS_SECRET_ACCESS_KEY to a server of its choice.
_KEY_VARIABLE = re.compile(r"([A-Z][A-Z0-9_]*_)?API_KEY|HF_TOKEN")


class ServerConfig(BaseModel):
    """A server that speaks OpenAI's chat completions, such as vLLM, SGLang, Ollama or a hosted one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str = Field(
        default="http://127.0.0.1:8000/v1",
        description="Address up to and with /v1. The same model elsewhere makes the same captions: not in the key.",
        json_schema_extra={"key": False},
    )
    model: str = Field(default="", description="The name under which the server knows the model.")
    frames: int = Field(
        default=8,
        ge=1,
        le=129,
        description="Most pictures a request. More show faster actions and cost tokens; many servers take 4 to 8.",
    )
    concurrency: int = Field(
        default=4,
        ge=1,
        le=1024,
        description="Most requests under way at a time from one machine, whatever the number of workers.",
        json_schema_extra={"key": False},
    )
    timeout: float = Field(
        default=60.0,
        gt=0,
        le=3600,
        description="Seconds for one answer; a slow server or long captions need more.",
        json_schema_extra={"key": False},
    )
    retries: int = Field(
        default=3,
        ge=0,
        le=20,
        description="How often a request is sent again after a 429, a 5xx, a broken reply or no answer, with "
        "growing pauses or those that the server asks for.",
        json_schema_extra={"key": False},
    )
    key_variable: str | None = Field(
        default=None,
        description="Environment variable with the server's API key, such as OPENAI_API_KEY. The key itself is "
        "never written anywhere.",
        json_schema_extra={"key": False},
    )

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, value: str) -> str:
        parts = urllib.parse.urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("a server's address begins with http:// or https://")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("an address has no password, query or fragment; give a key by key_variable")
        return value.rstrip("/")

    @field_validator("key_variable")
    @classmethod
    def _for_keys(cls, value: str | None) -> str | None:
        if value is not None and not _KEY_VARIABLE.fullmatch(value):
            raise ValueError("is to be the name of a variable that ends in API_KEY, or HF_TOKEN")
        return value

    @model_validator(mode="after")
    def _key_in_the_open(self) -> ServerConfig:
        if self.key_variable and self.base_url.startswith("http://") and not self.is_local:
            raise ValueError("a key is sent over https:// or to this machine only; change base_url")
        return self

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine by its address."""
        host = urllib.parse.urlsplit(self.base_url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


class CaptionConfig(StageConfig):
    """Who writes captions, of which frames, and what is asked. A caption that comes with the input wins over all."""

    backend: Literal["template", "transformers", "server"] = Field(
        default="template",
        description="template: sentences from what other stages measured, no model, says nothing about looks or "
        "clothes. transformers: a vision-language model on this machine (Qwen3-VL, Qwen2.5-VL). server: any "
        "OpenAI-compatible server.",
    )
    model: str = model_field("qwen3-vl-8b", "Vision-language model of the backend transformers.")
    device: Device = Field(
        default="auto",
        description="Where the model runs; cuda takes one GPU a worker.",
        json_schema_extra={"key": False},
    )
    precision: Precision = Field(
        default="bfloat16", description="Of the model. float32 takes twice the memory and changes few words."
    )
    template: PromptTemplate = Field(
        default_factory=lambda: PromptTemplate.model_validate("s2v"),
        description="What the model is asked: s2v, animate, or a .txt or .md file of your own. The backend template "
        "tells for animate no sounds.",
    )
    language: Language = Field(default="en", description="Of the caption: English or Chinese.")
    fps: float = Field(
        default=3.0,
        gt=0,
        le=30,
        description="Frames looked at a second (Wan2.1's captioner: 3). More cost time in proportion.",
    )
    max_frames: int = Field(
        default=129,
        ge=1,
        le=768,
        description="Most frames looked at (Wan2.1's captioner: 129); of longer clips fewer a second are.",
    )
    max_pixels: int = Field(
        default=448 * 448,
        ge=32 * 32,
        le=1 << 22,
        description="Most pixels of a frame that a model sees. More show small things and cost tokens in proportion.",
    )
    max_tokens: int = Field(
        default=512, ge=8, le=8192, description="Most tokens of a caption; umT5 reads 512 of its own."
    )
    temperature: float = Field(
        default=0.0, ge=0, le=2, description="0 takes the likeliest word each time; more varies captions."
    )
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Of the choices at a temperature above 0.")
    server: ServerConfig = Field(default_factory=ServerConfig, description="For the backend server.")
