"""What is S3's own of a root, on a real store; the promises of every root are in test_storage.py."""

import pickle
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.s3_proxy import Answer, Proxy, refuse
from support.s3_store import ACCESS_KEY, BUCKET, SECRET_KEY, Store, client, free_port, read_only
from synfundus.environment import Environment, S3Environment
from synfundus.errors import StorageError, WrongInputError
from synfundus.storage import Storage, open_storage, s3
from synfundus.storage.client import PROBE_ATTEMPTS, arrow_filesystem, region_of, s3_client
from synfundus.storage.s3 import S3Storage, open_s3, probe

LIMIT_S = 30
"""Within which a store that is not as it should be is told."""


@pytest.fixture
def storage(s3_store: Store, tmp_path: Path) -> Storage:
    """An empty root on S3."""
    return open_storage(f"s3://{BUCKET}/{tmp_path.name}")


def test_a_conflict_is_tried_again_and_a_lost_answer_is_no_loss(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """409: another writer is at work. A PUT whose answer was lost meets its own object, and finds it to be the same."""
    real, calls = s3_client, []

    class Conflicting:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def put_object(self, **options: Any) -> Any:
            calls.append(options["Key"])
            if len(calls) == 1:
                raise ClientError({"Error": {"Code": "ConditionalRequestConflict", "Message": ""}}, "PutObject")
            self.inner.put_object(**options)  # the answer to this one is lost
            return self.inner.put_object(**options)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    monkeypatch.setattr(s3, "s3_client", lambda settings: Conflicting(real(settings)))
    assert storage.write_once("data/a", b"abc").size_bytes == 3
    assert len(calls) == 2
    assert storage.read("data/a") == b"abc"


def test_names_are_more_than_one_page_and_no_mark_of_a_folder(storage: Storage) -> None:
    wanted = [f"data/x/{i:04d}" for i in range(1003)]  # a page has 1,000
    for name in wanted:
        storage.write_once(name, b"")
    arrow, path = storage.arrow_location("data/x/folder")
    arrow.create_dir(path)
    assert sorted(storage.names("data/x")) == wanted


def test_both_clients_are_made_from_one_place_of_settings(s3_store: Store, storage: S3Storage) -> None:
    settings = Environment().s3
    assert settings == S3Environment(s3_store.endpoint, None, "path") == storage.settings
    theirs = s3_client(settings).meta
    arrow = arrow_filesystem(settings)
    assert theirs.endpoint_url == s3_store.endpoint
    assert theirs.region_name == arrow.region == region_of(settings)
    storage.write_once("data/a", b"abc")
    with arrow.open_input_stream(f"{BUCKET}/{storage.prefix}/data/a") as stream:
        assert stream.read() == b"abc"


def test_no_secret_is_in_a_pickle_or_a_message(s3_store: Store, storage: S3Storage) -> None:
    arrow, _ = storage.arrow_location("runs/x")
    for thing in (storage, arrow, Environment()):
        data = pickle.dumps(thing)
        assert SECRET_KEY.encode() not in data
        assert ACCESS_KEY.encode() not in data
        assert SECRET_KEY not in repr(thing)
    assert pickle.loads(pickle.dumps(arrow)).equals(arrow)
    with pytest.raises(StorageError) as caught:
        storage.read("data/none")
    assert SECRET_KEY not in str(caught.value)


def test_the_probe_leaves_nothing_and_tells_the_clock(s3_store: Store, storage: S3Storage) -> None:
    skew_s = probe(storage)
    assert skew_s is not None
    assert abs(skew_s) < 60
    answer = client(s3_store.endpoint).list_objects_v2(Bucket=BUCKET, Prefix=storage.prefix)
    assert answer["KeyCount"] == 0


def test_a_store_that_overwrites_is_refused(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_put_if_absent", lambda *arguments: True)
    with pytest.raises(WrongInputError, match="overwrites what is written once"):
        probe(storage)


@pytest.fixture
def behind_proxy(proxy: Proxy, tmp_path: Path) -> S3Storage:
    """A root that nobody has asked for yet."""
    return S3Storage(BUCKET, tmp_path.name, Environment().s3)


def from_the_second_put_on(proxy: Proxy, *changes: Callable[[str, Answer], None]) -> None:
    """What becomes of the answers to the second PUT and to all that follows; the first is left as it is."""

    def change(request: str, answer: Answer) -> None:
        if sum(seen.startswith("PUT") for seen in proxy.seen) > 1:
            for one in changes:
                one(request, answer)

    proxy.change = change


def test_a_store_that_falls_silent_is_asked_nothing_more(
    proxy: Proxy, behind_proxy: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To wait for the second PUT and then for the removal would take longer than half a minute."""
    monkeypatch.setattr("synfundus.storage.client.PROBE_READ_TIMEOUT_S", 2)

    def keep_back(request: str, answer: Answer) -> None:
        answer.kept_back = True

    from_the_second_put_on(proxy, keep_back)
    with pytest.raises(WrongInputError, match="cannot be reached"):
        probe(behind_proxy)
    assert [request.split()[0] for request in proxy.seen] == ["PUT"] * (1 + PROBE_ATTEMPTS)


def test_of_two_refusals_the_first_is_told(proxy: Proxy, behind_proxy: S3Storage) -> None:
    from_the_second_put_on(proxy, refuse("PUT", 403, "AccessDenied"), refuse("DELETE", 403, "ExpiredToken"))
    with pytest.raises(WrongInputError, match=r"may not read, write and remove there \(AccessDenied\)"):
        probe(behind_proxy)
    assert [request.split()[0] for request in proxy.seen] == ["PUT", "PUT", "DELETE"]


def test_a_store_that_does_not_tell_the_time_may_be_a_root(proxy: Proxy, behind_proxy: S3Storage) -> None:
    for date in ({}, {"Date": "yesterday"}):

        def change(request: str, answer: Answer, date: dict[str, str] = date) -> None:
            answer.headers.pop("Date")
            answer.headers.update(date)

        proxy.change = change
        assert probe(behind_proxy) is None


def _told(settings: S3Environment, root: str = f"s3://{BUCKET}/x", *, create: bool = True) -> str:
    start_s = time.monotonic()
    with pytest.raises(WrongInputError) as caught:
        open_s3(root, settings, create=create)
    assert time.monotonic() - start_s < LIMIT_S
    text = str(caught.value)
    assert "\n" not in text
    assert SECRET_KEY not in text
    assert text.startswith("root: ")
    return text


@pytest.mark.parametrize("create", [True, False])
def test_what_is_wrong_with_a_store_is_one_line_within_half_a_minute(
    s3_store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, create: bool
) -> None:
    settings = Environment().s3
    assert "there is no bucket 'no-such-bucket'" in _told(settings, "s3://no-such-bucket/x", create=create)
    nowhere = replace(settings, endpoint=f"http://127.0.0.1:{free_port()}")
    assert "cannot be reached" in _told(nowhere, create=create)
    if s3_store.atomic:  # moto takes any credentials
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
        s3_client.cache_clear()
        assert "does not accept these credentials" in _told(settings, create=create)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    s3_client.cache_clear()
    assert "no credentials" in _told(settings, create=create)


def test_a_store_that_may_only_be_read_is_told(s3_store: Store) -> None:
    if not s3_store.atomic:
        pytest.skip("moto has no read-only mode; install versitygw")
    with read_only(s3_store) as endpoint:
        told = _told(replace(Environment().s3, endpoint=endpoint))
    assert "these credentials may not read, write and remove there (AccessDenied)" in told


def test_a_store_that_does_not_answer_is_told_within_half_a_minute(s3_store: Store) -> None:
    """Its port takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as silent:
        settings = replace(Environment().s3, endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "cannot be reached" in _told(settings)


@pytest.mark.parametrize("root", ["s3://", "s3:///x", "s3://fundus/x?y=1"])
def test_a_root_without_a_bucket_is_no_root(root: str) -> None:
    assert "is not s3://bucket/prefix" in _told(S3Environment(), root)
