"""Bug: a caption that failed kept the text stage from clips that had a prompt of their own."""

from __future__ import annotations

import json
from pathlib import Path

from helpers.media import write_video

import wanprep


def test_a_prompt_does_not_wait_for_a_caption_that_failed(tmp_path: Path) -> None:
    write_video(tmp_path / "one.mp4", 5)
    write_video(tmp_path / "two.mp4", 5, seed=3)
    rows = [
        {"id": "prompted", "video": "one.mp4", "prompt": "a person waves"},
        {"id": "bare", "video": "two.mp4"},
    ]
    (tmp_path / "list.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    nobody = {"base_url": "http://127.0.0.1:9/v1", "model": "none", "retries": 0, "timeout": 2}
    recipe = {"stages": {"caption": {"backend": "server", "server": nobody}, "text": {}}}

    for already in (0, 1):
        summary = wanprep.run(
            tmp_path / "list.jsonl", store=tmp_path / "store", recipe=recipe, engine="inline"
        )
        text = summary.stages["text"]
        assert (text.done, text.already_done) == (1 - already, already)

    store = wanprep.open(tmp_path / "store")
    assert store.clip("prompted").text.source == "prompt"
    assert store.clip("bare").get("text") is None
    assert {(row.clip_id, row.stage, row.blocked_by) for row in store.outcomes()} == {
        ("prompted", "caption", None),
        ("bare", "caption", None),
        ("bare", "text", "caption"),
    }
