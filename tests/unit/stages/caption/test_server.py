"""Captions from a chat server: what it is sent, and what becomes of everything that it may answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.chat_server import ChatServer, Reply, chat_server, says
from helpers.media import write_picture, write_video

from schemas import CaptionRecord
from stages.caption import Caption, CaptionConfig
from stages.caption.writer import CaptionError
from wanprep.errors import UsageError
from wanprep.key import canonical_json, stage_spec
from wanprep.recipe import load_recipe

KEY = "sk-very-secret-123"


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as made:
        yield made


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mp4", 50, flat=True)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries, which are not waited for."""
    waited: list[float] = []
    monkeypatch.setattr("stages.caption.json_client.wait", waited.append)
    return waited


def backend(server: ChatServer, **more: Any) -> dict[str, Any]:
    return {"backend": "server", "server": {"base_url": server.address, "model": "watcher", **more}}


def failure(run: Any, video: Path, *replies: Reply, **more: Any) -> tuple[str, ChatServer]:
    with chat_server(*replies) as server:
        with pytest.raises(CaptionError) as caught:
            run({"video": video}, **backend(server, **more))
        message = str(caught.value)
        assert "\n" not in message
        return message, server


def test_request_and_record(run: Any, server: ChatServer, video: Path) -> None:
    record = run({"video": video}, **backend(server, frames=4), max_tokens=77, seed=5, language="zh")
    assert isinstance(record, CaptionRecord)
    assert (record.text, record.source, record.model, record.language) == (
        "A person waves.",
        "server",
        "watcher",
        "zh",
    )
    assert record.template == "s2v" and record.template_digest and not record.truncated
    assert record.device is None and record.precision is None and record.model_digest is None
    (sent,) = server.requests
    assert server.paths == ["/v1/chat/completions"]
    assert (sent["model"], sent["max_tokens"], sent["temperature"], sent["seed"]) == ("watcher", 77, 0.0, 5)
    assert record.times_T.tolist() == pytest.approx([0.0, 0.5, 1.0, 1.5])
    assert server.texts()[:-1] == ["<0.0 seconds>", "<0.5 seconds>", "<1.0 seconds>", "<1.5 seconds>"]
    assert "Chinese" in server.texts()[-1] and "video clip" in server.texts()[-1]
    pictures = server.pictures()
    assert [picture.shape for picture in pictures] == [(48, 64, 3)] * 4
    # Frame n of the drawn video has the grey level 20 + 10 * (n mod 20); these are frames 0, 12 (at 0.48 s), 25, 37.
    assert [round((float(picture.mean()) - 20) / 10) for picture in pictures] == [0, 12, 5, 17]


def test_reference_alone(run: Any, server: ChatServer, tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "face.png")
    record = run({"reference": picture, "prompt": "speaks"}, **backend(server))
    assert record.medium == "reference" and record.times_T.tolist() == [0.0]
    (prompt,) = server.texts()
    assert "still picture" in prompt and len(server.pictures()) == 1


def test_colours_are_as_they_were(run: Any, server: ChatServer, tmp_path: Path) -> None:
    bgr_HWC = np.full((64, 64, 3), (30, 60, 220), np.uint8)
    cv2.imwrite(str(tmp_path / "red.png"), bgr_HWC)
    run({"reference": tmp_path / "red.png"}, **backend(server))
    (sent_HWC,) = server.pictures()
    assert np.abs(sent_HWC.astype(int) - bgr_HWC).max() <= 6


@pytest.mark.parametrize(
    "bad",
    [
        Reply(500, body=b"oops"),
        Reply(429, {"error": {"message": "slow down"}}),
        Reply(503, body=b"<html>busy</html>"),
        Reply(200, body=b'{"choices": [{"mess'),
        Reply(200, body=b""),
        Reply(200, body=b"\xff\xfe\x00"),
        Reply(200, {"hello": "world"}),
        Reply(200, []),
        Reply(200, {"choices": [{"message": {"content": 5}}]}),
        Reply(200, says("A person waves.").document, cut=True),
    ],
    ids=lambda reply: f"{reply.status}-{str(reply.body or reply.document)[:20]}{'-cut' * reply.cut}",
)
def test_trouble_that_passes_is_tried_again(run: Any, video: Path, pauses: list[float], bad: Reply) -> None:
    with chat_server(bad, bad, says("At last.")) as server:
        record = run({"video": video}, **backend(server))
    assert record.text == "At last." and len(server.requests) == 3
    assert len(pauses) == 2 and 0.25 <= pauses[0] <= 0.75 and 0.5 <= pauses[1] <= 1.5


def test_trouble_that_stays_is_a_failure(run: Any, video: Path) -> None:
    message, server = failure(run, video, Reply(500, {"error": {"message": "no\nmemory"}}), retries=2)
    assert message == f"server {server.address}/chat/completions: HTTP 500: no memory, after 3 tries"
    assert len(server.requests) == 3


def test_slow_answers(run: Any, video: Path) -> None:
    start = time.monotonic()
    message, _ = failure(run, video, Reply(pause=0.6, document={}), timeout=0.15, retries=1)
    assert message.endswith("no answer in 0.15 s, after 2 tries")
    assert time.monotonic() - start < 2


def test_server_that_is_not_there(run: Any, server: ChatServer, video: Path) -> None:
    settings = backend(server, retries=0)
    settings["server"]["base_url"] = "http://127.0.0.1:9/v1"
    with pytest.raises(CaptionError, match=r"cannot be reached .*after 1 try"):
        run({"video": video}, **settings)


@pytest.mark.parametrize(
    ("asked", "waited"),
    [("7", 7.0), ("0", 0.0), ("soon", None), ("-3", 0.0)],
)
def test_server_asks_for_a_pause(
    run: Any, video: Path, pauses: list[float], asked: str, waited: float | None
) -> None:
    with chat_server(Reply(429, {}, headers={"Retry-After": asked}), says("ok then")) as server:
        assert run({"video": video}, **backend(server)).text == "ok then"
    assert pauses == ([waited] if waited is not None else pauses)
    assert len(pauses) == 1


def test_server_asks_for_a_pause_by_a_date(run: Any, video: Path, pauses: list[float]) -> None:
    later = formatdate(time.time() + 20, usegmt=True)
    with chat_server(Reply(503, {}, headers={"Retry-After": later}), says("ok then")) as server:
        run({"video": video}, **backend(server))
    assert 15 < pauses[0] <= 20


def test_server_that_wants_hours_is_not_waited_for(run: Any, video: Path, pauses: list[float]) -> None:
    message, server = failure(run, video, Reply(429, {}, headers={"Retry-After": "7200"}))
    assert message.endswith("HTTP 429") and pauses == [] and len(server.requests) == 1


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(400, {"error": {"message": "too many images"}}), "HTTP 400: too many images"),
        (
            Reply(401, {"error": {"message": "no key"}}),
            "refuses the key (HTTP 401: no key); see server.key_vari",
        ),
        (Reply(404, {"message": "no model"}), "no such address or model (HTTP 404: no model)"),
        (Reply(302, {}, headers={"Location": "http://127.0.0.1:9/"}), "sends elsewhere (HTTP 302)"),
        (says(None, message={"content": None, "refusal": "I won't."}), "the model refused: I won't."),
        (says("I'm sorry, but I can't help with that."), "the model refused: I'm sorry, but I can't help"),
        (says("抱歉，我无法描述。"), "the model refused"),
        (says("x", finish_reason="content_filter"), "content filter"),
        (says(""), "answered with nothing"),
        (says(" \n"), "answered with nothing"),
        (says(None), "answered with nothing"),
        (says("\ufffd\ufffd\x07ab"), "no readable text"),
        (says("word " * 5000), "24,999 characters, over 20,000"),
        (says("<think>what could it be"), "still thinking"),
    ],
    ids=lambda value: "" if isinstance(value, Reply) else value[:24],
)
def test_answers_that_no_second_try_mends(run: Any, video: Path, reply: Reply, said: str) -> None:
    message, server = failure(run, video, reply)
    assert said in message and len(server.requests) == 1


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<think>hm</think>\n\nA hand rises.", "A hand rises."),
        ('"A hand rises."', "A hand rises."),
        ("```\nA hand rises.\n```", "A hand rises."),
        ([{"type": "text", "text": "A hand "}, {"type": "text", "text": "rises."}], "A hand rises."),
        ("  A hand\r\nrises. ", "A hand\nrises."),
    ],
)
def test_wrappings_come_off(run: Any, video: Path, content: Any, text: str) -> None:
    with chat_server(says(content)) as server:
        assert run({"video": video}, **backend(server)).text == text


def test_answer_that_was_cut_is_kept_and_marked(run: Any, video: Path) -> None:
    with chat_server(says("A hand rises and", finish_reason="length")) as server:
        assert run({"video": video}, **backend(server)).truncated


def test_key_goes_into_one_header_only(
    run: Any, video: Path, monkeypatch: pytest.MonkeyPatch, server: ChatServer
) -> None:
    monkeypatch.setenv("WATCHER_API_KEY", f" {KEY}\n")
    settings = backend(server, key_variable="WATCHER_API_KEY")
    record = run({"video": video}, **settings)
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    stage = Caption(CaptionConfig.model_validate(settings))
    written = [str(record), canonical_json(stage_spec(stage)), str(stage.config.model_dump())]
    assert not any(KEY in text for text in written)
    message, _ = failure(
        run, video, Reply(401, {"error": {"message": f"key {KEY} is wrong"}}), key_variable="WATCHER_API_KEY"
    )
    assert KEY not in message and "key *** is wrong" in message


def test_no_key_no_header(run: Any, video: Path, server: ChatServer) -> None:
    run({"video": video}, **backend(server))
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize(
    ("value", "said"), [(None, "is not set"), ("two words", "is no API key"), ("k\x01", "is no")]
)
def test_key_that_is_none(monkeypatch: pytest.MonkeyPatch, value: str | None, said: str) -> None:
    monkeypatch.delenv("WATCHER_API_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("WATCHER_API_KEY", value)
    server = {"base_url": "https://example.org/v1", "model": "m", "key_variable": "WATCHER_API_KEY"}
    problem = Caption(CaptionConfig.model_validate({"backend": "server", "server": server})).unavailable()
    assert problem is not None and said in problem and "WATCHER_API_KEY" in problem
    assert value is None or value not in problem


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ({"key_variable": "AWS_SECRET_ACCESS_KEY"}, "ends in api_key"),
        ({"key_variable": "HOME"}, "ends in api_key"),
        ({"base_url": "file:///etc/passwd"}, "begins with http"),
        ({"base_url": "https://user:word@example.org/v1"}, "no password"),
        ({"base_url": "https://example.org/v1?key=1"}, "no password, query"),
        (
            {"base_url": "http://example.org/v1", "key_variable": "X_API_KEY"},
            "over https:// or to this machine",
        ),
        ({"concurrency": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_are_refused(server: dict[str, Any], said: str) -> None:
    recipe = {"stages": {"caption": {"backend": "server", "server": server}}}
    with pytest.raises(UsageError) as caught:
        load_recipe(recipe)
    assert said in str(caught.value) and "caption.server" in str(caught.value)


def test_model_must_be_named() -> None:
    problem = Caption(CaptionConfig(backend="server")).unavailable()
    assert problem is not None and "server.model" in problem


def test_where_the_server_is_changes_no_key() -> None:
    def spec(**server: Any) -> str:
        config = CaptionConfig.model_validate({"backend": "server", "server": {"model": "m", **server}})
        return canonical_json(stage_spec(Caption(config)))

    same = spec(
        base_url="https://example.org/v1", concurrency=9, timeout=5, retries=0, key_variable="A_API_KEY"
    )
    assert spec() == same
    assert spec() != spec(model="n") and spec() != spec(frames=4)


def test_no_more_requests_at_a_time_than_allowed(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Any
) -> None:
    monkeypatch.undo()  # waiting is what this is about
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with chat_server(Reply(pause=0.05, document=says("Yes, it is.").document)) as server:
        threads = [
            threading.Thread(target=run, args=({"video": video},), kwargs=backend(server, concurrency=2))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.requests) == 8 and server.most_at_once == 2
