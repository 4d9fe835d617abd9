"""Credentials are for the server alone: not for stores, logs, errors or what is printed."""

from __future__ import annotations

import logging
from pathlib import Path

import fsspec
import pytest
from s3.conftest import KEY_ID, SECRET, TOKEN, Program, Server

import wanprep
from wanprep.errors import UsageError
from wanprep.inputs import read_inputs
from wanprep.remote import cause, check_address, scrub
from wanprep.store.fs import StoreFiles

PLANTED = (KEY_ID, SECRET, TOKEN, SECRET.partition("/")[2], TOKEN.rstrip("="))
MOTION = ["--preset", "motion", "--engine", "inline"]


def assert_clean(text: str | bytes, where: str) -> None:
    data = text.encode() if isinstance(text, str) else text
    for secret in PLANTED:
        assert secret.encode() not in data, where


def test_credentials_of_the_environment_are_written_nowhere(
    server: Server,
    bucket: str,
    inputs: str,
    store: str,
    program: Program,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = server.put(f"{bucket}/bad/bad.mp4", b"no video")
    caplog.set_level(logging.INFO)
    for arguments in (
        ["run", inputs, bad, "-s", store, *MOTION, "--json"],
        ["status", store, "--json"],
        ["verify", store, "--json"],
    ):
        done = program(*arguments, FSSPEC_S3_KEY=KEY_ID, FSSPEC_S3_SECRET=SECRET)
        assert done.returncode in (0, 1), done.stderr
        assert_clean(done.stdout + done.stderr, " ".join(arguments))
    assert_clean(caplog.text, "the log")
    fs = fsspec.filesystem("s3", skip_instance_cache=True)
    names = fs.find(store)
    assert {name.partition("/store/")[2].split("/")[0] for name in names} >= {
        "store.json",
        "runs",
        "clips",
        "media",
        "recipes",
        "artifacts",
    }
    for name in names:
        assert_clean(fs.cat_file(name), name)
        if name.endswith(".parquet"):  # pages are compressed, what the columns say is not
            assert_clean(str(StoreFiles(store).read_table(name.partition("/store/")[2]).to_pylist()), name)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert_clean(path.read_bytes(), str(path))


ADDRESSES = [
    f"s3://{KEY_ID}:{SECRET}@bucket/in",
    f"s3://{KEY_ID}:plantedSecretwith+slash@bucket/in",
    f"S3://{KEY_ID}:{SECRET}@bucket/in",
    f"s3a://{KEY_ID}@bucket/in",
    f"s3n://{KEY_ID}:{SECRET}@bucket/in",
    f"simplecache::s3://{KEY_ID}:{SECRET}@bucket/in",
    f"https://user:{KEY_ID}@example.org/in/a.mp4",
    f"sftp://user:{KEY_ID}@example.org/in/a.mp4",
    f"https://bucket.s3.amazonaws.com/a.mp4?X-Amz-Credential={KEY_ID}&X-Amz-Signature=00",
    f"https://account.blob.core.windows.net/c/a.mp4?sv=1&sig={KEY_ID}",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_with_credentials_are_refused_everywhere(
    program: Program, tmp_path: Path, films: Path, address: str
) -> None:
    manifest = tmp_path / "clips.jsonl"
    manifest.write_text(f'{{"video": "{address}"}}\n')
    local = str(tmp_path / "store")
    for arguments in (
        ["run", str(films), "-s", address, *MOTION],
        ["run", address, "-s", local, *MOTION],
        ["run", str(manifest), "-s", local, *MOTION],
        ["plan", address, "-s", local],
        ["status", address],
        ["verify", address, "--json"],
        *([["sheet", address], ["doctor", "--store", address, "--json"]] if address == ADDRESSES[0] else []),
    ):
        done = program(*arguments)
        assert_clean(done.stdout + done.stderr, " ".join(arguments))
        if arguments[0] != "doctor":
            (line,) = done.stderr.splitlines()
            assert "holds credentials" in line and "AWS_PROFILE" in line
            assert done.returncode == 2
    assert not Path(local).exists()
    for call in (lambda: wanprep.open(address), lambda: read_inputs([address]), lambda: StoreFiles(address)):
        with pytest.raises(UsageError, match="holds credentials") as caught:
            call()
        assert_clean(str(caught.value), address)


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket/folder/a@b:c.mp4",
        "s3://arn:aws:s3:us-west-2:123456789012:accesspoint/films/in",
        "gs://bucket/a:b@c.mp4",
        "hf://datasets/user/name@main/a.mp4",
        "https://example.org:8443/a@b/c.mp4?size=1",
        "abfs://container@account.dfs.core.windows.net/in",
        "sftp://user@example.org/in",
        "/films/a:b@c.mp4",
        "file:///films/a:b@c.mp4",
    ],
)
def test_addresses_without_credentials_are_not_taken_for_some(address: str) -> None:
    check_address(address)


def test_what_a_server_or_an_endpoint_says_is_scrubbed(server: Server, store: str, program: Program) -> None:
    told = f"The key {KEY_ID} with {SECRET} and {TOKEN} is unknown\nto us"
    with server.proxy.breaking(lambda method, path: (403, "InvalidAccessKeyId", told)):
        done = program("run", str(Path(__file__)), "-s", store)
    assert done.returncode == 1 and "access is denied" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert_clean(done.stderr, "a refusal")
    done = program(
        "status", store, AWS_ENDPOINT_URL=f"http://user:{KEY_ID}@127.0.0.1:9", AWS_MAX_ATTEMPTS="1"
    )
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert_clean(done.stderr, "an endpoint with a password")


def test_scrubbing_keeps_what_is_no_secret() -> None:
    assert scrub(f"no {SECRET} here\nnor there") == "no *** here"
    assert scrub("see http://user:pw@host/a and a@b") == "see http://***@host/a and a@b"
    assert cause(FileNotFoundError("x")) == "is not there: x; check the bucket's name and AWS_ENDPOINT_URL"
    assert cause(RuntimeError("odd")) == "RuntimeError: odd"
