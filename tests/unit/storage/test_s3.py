"""Behaviour of a root that only S3 has, on a real store; test_storage.py tests the promises of every root."""

import pickle
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.s3_proxy import Proxy, Response, refuse
from support.s3_store import ACCESS_KEY, BUCKET, SECRET_KEY, Store, client, free_port, read_only
from synfundus.environment import Environment, S3Environment
from synfundus.errors import StorageError, WrongInputError
from synfundus.storage import Storage, open_storage, s3
from synfundus.storage.client import PROBE_ATTEMPTS, arrow_filesystem, region_of, s3_client
from synfundus.storage.s3 import S3Storage, open_s3, probe

LIMIT_S = 30
"""Time within which a wrong store is reported."""


@pytest.fixture
def storage(s3_store: Store, tmp_path: Path) -> Storage:
    """An empty root on S3."""
    return open_storage(f"s3://{BUCKET}/{tmp_path.name}")


def test_a_conflicting_put_is_repeated_and_a_lost_response_does_no_harm(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """409 means that another writer is active. A PUT whose response was lost finds its own object, with equal bytes."""
    real, calls = s3_client, []

    class Conflicting:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def put_object(self, **options: Any) -> Any:
            calls.append(options["Key"])
            if len(calls) == 1:
                raise ClientError({"Error": {"Code": "ConditionalRequestConflict", "Message": ""}}, "PutObject")
            self.inner.put_object(**options)  # the response to this one is lost
            return self.inner.put_object(**options)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    monkeypatch.setattr(s3, "s3_client", lambda environment: Conflicting(real(environment)))
    assert storage.write_once("data/a", b"abc").size_bytes == 3
    assert len(calls) == 2
    assert storage.read("data/a") == b"abc"


def test_names_yields_all_pages_and_no_key_that_marks_a_folder(storage: Storage) -> None:
    expected = [f"data/x/{i:04d}" for i in range(1003)]  # a page has 1,000
    for name in expected:
        storage.write_once(name, b"")
    arrow, path = storage.arrow_location("data/x/folder")
    arrow.create_dir(path)
    assert sorted(storage.names("data/x")) == expected


def test_both_clients_use_the_same_environment(s3_store: Store, storage: S3Storage) -> None:
    environment = Environment().s3
    assert environment == replace(S3Environment(s3_store.endpoint, None, "path"), ca_file=environment.ca_file)
    assert environment == storage.environment
    boto3_meta = s3_client(environment).meta
    arrow = arrow_filesystem(environment)
    assert boto3_meta.endpoint_url == s3_store.endpoint
    assert boto3_meta.region_name == arrow.region == region_of(environment)
    storage.write_once("data/a", b"abc")
    with arrow.open_input_stream(f"{BUCKET}/{storage.prefix}/data/a") as stream:
        assert stream.read() == b"abc"


def test_no_secret_is_in_a_pickle_or_a_message(s3_store: Store, storage: S3Storage) -> None:
    arrow, _ = storage.arrow_location("runs/x")
    for value in (storage, arrow, Environment()):
        data = pickle.dumps(value)
        assert SECRET_KEY.encode() not in data
        assert ACCESS_KEY.encode() not in data
        assert SECRET_KEY not in repr(value)
    assert pickle.loads(pickle.dumps(arrow)).equals(arrow)
    with pytest.raises(StorageError) as caught:
        storage.read("data/none")
    assert SECRET_KEY not in str(caught.value)


def test_the_probe_leaves_no_object_and_returns_the_difference_of_clocks(s3_store: Store, storage: S3Storage) -> None:
    skew_s = probe(storage)
    assert skew_s is not None
    assert abs(skew_s) < 60
    listing = client(s3_store.endpoint).list_objects_v2(Bucket=BUCKET, Prefix=storage.prefix)
    assert listing["KeyCount"] == 0


def test_a_store_that_overwrites_is_refused(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_put_if_absent", lambda *arguments: True)
    with pytest.raises(WrongInputError, match="overwrites existing objects"):
        probe(storage)


@pytest.fixture
def behind_proxy(proxy: Proxy, tmp_path: Path) -> S3Storage:
    """A root behind the proxy, which has received no request yet."""
    return S3Storage(BUCKET, tmp_path.name, Environment().s3)


def from_the_second_put_on(proxy: Proxy, *changes: Callable[[str, Response], None]) -> None:
    """Change the responses to the second PUT and to all later requests."""

    def change(request: str, response: Response) -> None:
        if sum(sent.startswith("PUT") for sent in proxy.requests) > 1:
            for one in changes:
                one(request, response)

    proxy.change = change


def test_a_store_that_stops_responding_gets_no_further_request(
    proxy: Proxy, behind_proxy: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The timeouts of the second PUT and of the removal together would take longer than 30 s."""
    monkeypatch.setattr("synfundus.storage.client.PROBE_READ_TIMEOUT_S", 2)

    def keep_back(request: str, response: Response) -> None:
        response.kept_back = True

    from_the_second_put_on(proxy, keep_back)
    with pytest.raises(WrongInputError, match="cannot be reached"):
        probe(behind_proxy)
    assert [request.split()[0] for request in proxy.requests] == ["PUT"] * (1 + PROBE_ATTEMPTS)


def test_the_first_of_two_refusals_is_reported(proxy: Proxy, behind_proxy: S3Storage) -> None:
    from_the_second_put_on(proxy, refuse("PUT", 403, "AccessDenied"), refuse("DELETE", 403, "ExpiredToken"))
    with pytest.raises(WrongInputError, match=r"may not read, write and remove there \(AccessDenied\)"):
        probe(behind_proxy)
    assert [request.split()[0] for request in proxy.requests] == ["PUT", "PUT", "DELETE"]


def test_a_store_without_a_readable_date_can_hold_a_root(proxy: Proxy, behind_proxy: S3Storage) -> None:
    for date in ({}, {"Date": "yesterday"}):

        def change(request: str, response: Response, date: dict[str, str] = date) -> None:
            response.headers.pop("Date")
            response.headers.update(date)

        proxy.change = change
        assert probe(behind_proxy) is None


def complaint(environment: S3Environment, root: str = f"s3://{BUCKET}/x", *, create: bool = True) -> str:
    """Return the message with which a root is refused: one line, in time, without a secret."""
    start_s = time.monotonic()
    with pytest.raises(WrongInputError) as caught:
        open_s3(root, environment, create=create)
    assert time.monotonic() - start_s < LIMIT_S
    text = str(caught.value)
    assert "\n" not in text
    assert SECRET_KEY not in text
    assert text.startswith("root: ")
    return text


@pytest.mark.parametrize("create", [True, False])
def test_a_wrong_store_is_reported_in_one_line_within_30_s(
    s3_store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, create: bool
) -> None:
    environment = Environment().s3
    assert "there is no bucket 'no-such-bucket'" in complaint(environment, "s3://no-such-bucket/x", create=create)
    nowhere = replace(environment, endpoint=f"http://127.0.0.1:{free_port()}")
    assert "cannot be reached" in complaint(nowhere, create=create)
    if s3_store.atomic:  # moto takes any credentials
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
        s3_client.cache_clear()
        assert "does not accept these credentials" in complaint(environment, create=create)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    s3_client.cache_clear()
    assert "no credentials" in complaint(environment, create=create)


def test_a_read_only_store_is_reported(s3_store: Store) -> None:
    if not s3_store.atomic:
        pytest.skip("moto has no read-only mode; install versitygw")
    with read_only(s3_store) as endpoint:
        message = complaint(replace(Environment().s3, endpoint=endpoint))
    assert "these credentials may not read, write and remove there (AccessDenied)" in message


def test_a_store_that_does_not_respond_is_reported_within_30_s(s3_store: Store) -> None:
    """Its port accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as silent:
        environment = replace(Environment().s3, endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "cannot be reached" in complaint(environment)


@pytest.mark.parametrize("root", ["s3://", "s3:///x", "s3://fundus/x?y=1"])
def test_a_root_without_a_bucket_is_refused(root: str) -> None:
    assert "is not s3://bucket/prefix" in complaint(S3Environment(), root)
