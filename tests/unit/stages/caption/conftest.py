"""What the tests of captions share: a clip of a drawn video or picture, and a stage run on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from schemas import CaptionRecord, MediaRecord, Record
from stages.caption import Caption, CaptionConfig
from wanprep.clip import make_clips
from wanprep.inputs import InputClip
from wanprep.scan import media_of, scan
from wanprep.stage import ClipContext, Skipped
from wanprep.timeline import TimelineConfig

Run: TypeAlias = Callable[..., CaptionRecord | Skipped]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs the stage on a clip: `run({"video": path}, inputs, backend="server", ...)`."""

    def run_stage(
        media: Mapping[str, Any], inputs: Mapping[str, Record] | None = None, **config: Any
    ) -> CaptionRecord | Skipped:
        stage = Caption(CaptionConfig.model_validate(config))
        stage.setup()
        named = {name: str(value) if isinstance(value, Path) else value for name, value in media.items()}
        item = InputClip(clip_id="clip", **named)
        found, _ = scan(media_of([item]), {})
        (clip,) = make_clips([item], found, TimelineConfig(), "recipe")
        roles: dict[str, MediaRecord] = {
            role: found[uri] for role in ("video", "reference", "audio") if (uri := named.get(role))
        }
        context = ClipContext(clip, roles, tmp_path)
        try:
            return stage.run(context, inputs or {})
        finally:
            context.close()

    return run_stage
