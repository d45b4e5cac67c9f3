"""The endpoints on a real Ray Serve, on the models of a study that was run whole; requests over HTTP."""

import base64
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from support.s3_store import free_port
from support.tiny_study import FinishedStudy, finish, run_here, start_process
from synfundus.diagnosis.checkpoint import load_annotator
from synfundus.fundus.preprocess import image_id
from synfundus.fundus.sources import list_source
from synfundus.labels import LABEL_NAMES
from synfundus.storage import open_storage
from synfundus.study import Study, load_study
from synfundus_serve.api_keys import new_key

pytestmark = [
    pytest.mark.usefixtures("ray_session"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
MAX_ROW_STEPS = 3000
APP = "tested"


@dataclass(frozen=True)
class Endpoints:
    """A running application."""

    url: str
    key: str
    keys_file: Path
    study: Study

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {self.key}", **headers}, timeout=120.0
        )

    def generate(self, **request: object) -> dict[str, Any]:
        with self.client() as client:
            response = client.post("/v1/generate", json=request)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def handle(self, deployment: str) -> Any:
        from ray import serve

        return serve.get_deployment_handle(deployment, APP)


@pytest.fixture(scope="module")
def endpoints(
    ray_session: None, finished_study: FinishedStudy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoints]:
    from ray import serve

    from synfundus_serve.gateway import Arguments, build

    keys_file = tmp_path_factory.mktemp("keys") / "keys"
    key, port = new_key(keys_file, "tests"), free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    arguments = Arguments(study=str(finished_study.file), keys_file=str(keys_file), max_row_steps=MAX_ROW_STEPS)
    serve.run(build(arguments), name=APP)
    yield Endpoints(f"http://127.0.0.1:{port}", key, keys_file, load_study(finished_study.file))
    serve.shutdown()


def pixels_of(data: bytes) -> NDArray[np.int64]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB")).astype(np.int64)


def pictures(answer: dict[str, Any]) -> list[NDArray[np.int64]]:
    return [pixels_of(base64.b64decode(made["image"])) for made in answer["images"]]


def assert_within_bound(image: NDArray[np.int64], other: NDArray[np.int64]) -> None:
    """The bound of the architecture page across batch shapes, in bfloat16."""
    difference = np.abs(image - other)
    assert difference.max() <= 4
    assert difference.mean() <= 0.5


def test_a_row_of_a_shard_gives_its_image_again(endpoints: Endpoints, finished_study: FinishedStudy) -> None:
    study = endpoints.study
    shard = pq.read_table(finished_study.root / study.samples_folder / "shards" / "shard-00001.parquet").to_pylist()
    assert endpoints.study.samples.precision == "bf16"
    for row in shard[:4]:
        condition = {name: row[f"condition_{name}"] for name in LABEL_NAMES}
        answer = endpoints.generate(condition=condition, seed=row["seed"])
        (made,) = answer["images"]
        assert_within_bound(pictures(answer)[0], pixels_of(row["image"]["bytes"]))
        assert made["seed"] == row["seed"]
        assert made["condition"] == condition
    other = endpoints.generate(condition=condition, seed=row["seed"] + 1)
    assert np.abs(pictures(other)[0] - pixels_of(row["image"]["bytes"])).max() > 4


def test_the_image_is_a_png_marked_as_synthetic(endpoints: Endpoints) -> None:
    request: dict[str, Any] = {"condition": {"eye_side": 1}, "seed": 5, "steps": 3}
    as_json = endpoints.generate(**request)
    with endpoints.client(Accept="image/png") as client:
        response = client.post("/v1/generate", json=request)
        assert response.headers["content-type"] == "image/png"
        assert client.post("/v1/generate", json={**request, "n": 2}).status_code == 422
    with Image.open(io.BytesIO(response.content)) as image:
        assert image.text == {  # type: ignore[attr-defined]
            "Synthetic": "yes",
            "Software": "SynFundus",
            "Seed": "5",
            "Model": as_json["model"],
        }
    assert response.headers["synfundus-seed"] == "5"
    assert response.headers["synfundus-model"] == as_json["model"]
    assert "Research use only" in response.headers["synfundus-notice"]
    assert json.loads(response.headers["synfundus-annotation"]) == as_json["images"][0]["annotation"]
    assert_within_bound(pixels_of(response.content), pictures(as_json)[0])


def test_images_of_a_request_have_one_seed_after_the_other(endpoints: Endpoints) -> None:
    together = endpoints.generate(n=3, seed=2**53 - 2, steps=2)
    assert [made["seed"] for made in together["images"]] == [2**53 - 2, 2**53 - 1, 0]
    alone = endpoints.generate(seed=2**53 - 1, steps=2)
    assert_within_bound(pictures(together)[1], pictures(alone)[0])
    assert len({made["seed"] for _ in range(3) for made in endpoints.generate(steps=1)["images"]}) == 3


def test_a_request_among_others_gives_the_image_that_it_gives_alone(endpoints: Endpoints) -> None:
    wanted: dict[str, Any] = {"condition": {"dr_grade": 3}, "seed": 11, "steps": 60, "solver": "ddim", "n": 2}
    alone = endpoints.generate(**wanted)
    others: list[dict[str, Any]] = [
        {"n": 3, "steps": 90, "seed": 1},
        {"n": 2, "steps": 40, "solver": "ddpm", "guidance": 1.0, "seed": 2},
        {"n": 4, "steps": 75, "solver": "dpmpp-2m", "guidance": 4.0, "seed": 3},
    ]
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(endpoints.generate, **request) for request in others]
        crowded = pool.submit(endpoints.generate, **wanted).result()
        for future in futures:
            future.result()
    for one, other in zip(pictures(alone), pictures(crowded), strict=True):
        assert_within_bound(one, other)


def test_overlapping_requests_share_forwards(endpoints: Endpoints) -> None:
    generation = endpoints.handle("Generation")
    before = generation.num_forwards.remote().result()
    with ThreadPoolExecutor(2) as pool:
        longer = pool.submit(endpoints.generate, steps=400, seed=1)
        while generation.num_forwards.remote().result() < before + 10:
            time.sleep(0.01)
        pool.submit(endpoints.generate, steps=200, seed=2).result()
        longer.result()
    assert 400 <= generation.num_forwards.remote().result() - before < 600


def test_rows_of_a_client_that_hangs_up_leave(endpoints: Endpoints) -> None:
    generation = endpoints.handle("Generation")
    before = generation.num_forwards.remote().result()
    with endpoints.client() as client, pytest.raises(httpx.ReadTimeout):
        client.post("/v1/generate", json={"n": 3, "steps": 1000}, timeout=httpx.Timeout(30, read=0.5))
    deadline_s = time.monotonic() + 60
    while generation.num_rows.remote().result():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    assert 0 < generation.num_forwards.remote().result() - before < 1000


def test_a_full_queue_is_429_and_says_when_to_come_again(endpoints: Endpoints) -> None:
    with ThreadPoolExecutor(1) as pool, endpoints.client() as client:
        request = {"n": 2, "steps": 1000}
        first = pool.submit(client.post, "/v1/generate", json=request, timeout=httpx.Timeout(30, read=5.0))
        while not endpoints.handle("Generation").num_rows.remote().result():
            time.sleep(0.01)
        refused = client.post("/v1/generate", json=request)
        with contextlib.suppress(httpx.ReadTimeout):  # its images are not waited for
            first.result()
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert 1 <= int(refused.headers["retry-after"]) <= 600


@pytest.fixture(scope="module")
def raw(endpoints: Endpoints, finished_study: FinishedStudy) -> tuple[bytes, NDArray[np.uint8], list[Any]]:
    """A photograph as its source gives it, the prepared image of it, and what the offline annotator says."""
    study = endpoints.study
    storage = open_storage(study.root, create=False)
    annotator = load_annotator(storage, study.annotator_folder)
    folder = finished_study.root / study.data_folder
    table = {row["image_id"]: row for file in folder.glob("*.parquet") for row in pq.read_table(file).to_pylist()}
    record = next(r for r in list_source(study.data.sources[0]).records if image_id(r.load()) in table)
    prepared = pixels_of(table[image_id(record.load())]["image"]["bytes"]).astype(np.uint8)
    output = annotator.predict(prepared[None])
    return record.load(), prepared, [output.annotations[0], output.probabilities(0)]


@pytest.mark.parametrize("form", ["multipart", "json", "raw"])
def test_a_raw_photograph_gets_the_offline_annotators_probabilities(
    endpoints: Endpoints, raw: tuple[bytes, NDArray[np.uint8], list[Any]], form: str
) -> None:
    photograph, _, (annotation, probability) = raw
    with endpoints.client() as client:
        if form == "multipart":
            response = client.post("/v1/diagnose", files=[("images", ("a.png", photograph)), ("images", photograph)])
        elif form == "json":
            encoded = base64.b64encode(photograph).decode()
            response = client.post("/v1/diagnose", json={"images": [encoded, f"data:image/png;base64,{encoded}"]})
        else:
            response = client.post("/v1/diagnose", content=photograph, headers={"Content-Type": "image/png"})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert "Research use only" in answer["notice"]
    assert len(answer["images"]) == (1 if form == "raw" else 2)
    for one in answer["images"]:
        for name, finding in one["findings"].items():
            if probability[name] is None:
                assert finding["status"] == "not available"
                assert finding["reason"]
                assert finding["value"] is finding["probability"] is None
            else:
                assert finding["status"] == "available"
                assert finding["value"] == annotation[name]
                assert np.abs(np.subtract(finding["probability"], probability[name])).max() <= 1e-4


def test_many_photographs_at_once_get_what_each_gets_alone(
    endpoints: Endpoints, raw: tuple[bytes, NDArray[np.uint8], list[Any]]
) -> None:
    records = list_source(endpoints.study.data.sources[0]).records[:24]

    def diagnose(data: bytes) -> dict[str, Any]:
        with endpoints.client() as client:
            answer: dict[str, Any] = client.post("/v1/diagnose", files={"images": data}).json()["images"][0]
            return answer

    alone = [diagnose(record.load()) for record in records[:3]]
    with ThreadPoolExecutor(12) as pool:
        crowded = list(pool.map(diagnose, [record.load() for record in records]))
    assert crowded[:3] == alone
    diagnosis = endpoints.handle("Diagnosis")
    before = diagnosis.num_batches.remote().result()
    with endpoints.client() as client:
        together = client.post("/v1/diagnose", files=[("images", record.load()) for record in records]).json()["images"]
    assert together == crowded
    assert diagnosis.num_batches.remote().result() - before == 2  # 24 photographs in forwards of 16
    assert len({json.dumps(one["findings"], sort_keys=True) for one in crowded}) > 12


def test_labels_and_models_say_what_cannot_be_told(
    endpoints: Endpoints, raw: tuple[bytes, NDArray[np.uint8], list[Any]]
) -> None:
    probability = raw[2][1]
    unknown = {name for name in LABEL_NAMES if probability[name] is None}
    assert unknown  # the tiny annotator cannot tell everything
    with endpoints.client() as client:
        labels = client.get("/v1/labels").json()["labels"]
        models = client.get("/v1/models").json()
    assert [label["name"] for label in labels] == list(LABEL_NAMES)
    assert {label["name"] for label in labels if label["diagnosis"] == "not available" and label["reason"]} == unknown
    assert set(models["annotator"]["not_available"]) == unknown
    assert models["generator"]["usual_solver"]["num_steps"] == endpoints.study.samples.solver.num_steps


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/generate"), ("POST", "/v1/diagnose"), ("GET", "/v1/labels"), ("GET", "/v1/models")],
)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer synfundus-wrong"}, {"Authorization": "Basic eA=="}])
def test_without_a_key_nothing_is_answered(
    endpoints: Endpoints, method: str, path: str, headers: dict[str, str]
) -> None:
    response = httpx.request(method, endpoints.url + path, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["status"] == 401


@pytest.mark.parametrize("path", ["/v1/generate", "/v1/diagnose"])
@pytest.mark.parametrize("body", [b"{", b"[" * 5000, bytes(33 * 2**20)])
def test_nothing_is_read_of_who_has_no_key(endpoints: Endpoints, path: str, body: bytes) -> None:
    response = httpx.post(endpoints.url + path, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 401


def test_a_damaged_file_of_keys_lets_nobody_in_until_it_is_mended(endpoints: Endpoints) -> None:
    whole = endpoints.keys_file.read_text()
    endpoints.keys_file.write_text(whole[:-10])
    try:
        with endpoints.client() as client:
            refused = client.get("/v1/labels")
    finally:
        endpoints.keys_file.write_text(whole)
    assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
    with endpoints.client() as client:
        assert client.get("/v1/labels").status_code == 200


def test_every_route_of_the_interface_needs_a_key(endpoints: Endpoints) -> None:
    interface = httpx.get(endpoints.url + "/openapi.json").json()
    for path, methods in interface["paths"].items():
        for method, described in methods.items():
            assert ("security" in described) == path.startswith("/v1/"), (method, path)
    assert interface["paths"]["/v1/generate"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert set(interface["paths"]["/v1/diagnose"]["post"]["requestBody"]["content"]) == {
        "multipart/form-data",
        "application/json",
        "image/jpeg",
        "image/png",
    }
    assert httpx.get(endpoints.url + "/docs").status_code == 200


def test_the_examples_of_the_interface_work(endpoints: Endpoints) -> None:
    paths = httpx.get(endpoints.url + "/openapi.json").json()["paths"]
    example, photographs = (
        paths[path]["post"]["requestBody"]["content"]["application/json"]["example"]
        for path in ("/v1/generate", "/v1/diagnose")
    )
    assert len(endpoints.generate(**example)["images"]) == example["n"]
    with endpoints.client() as client:
        answer = client.post("/v1/diagnose", json=photographs)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["images"]) == 1


def test_everything_of_a_generation_may_be_left_out(endpoints: Endpoints) -> None:
    with endpoints.client() as client:
        response = client.post("/v1/generate")
    assert response.status_code == 200
    assert response.json()["solver"]["num_steps"] == endpoints.study.samples.solver.num_steps


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        ("*/*", "application/json"),
        ("Image/PNG; q=1", "image/png"),
        ("text/plain, image/png, */*", "image/png"),
        ("application/json, image/png", "application/json"),
        ("text/html", "application/json"),
    ],
)
def test_the_first_format_that_is_asked_for_is_given(endpoints: Endpoints, accept: str, given: str) -> None:
    with endpoints.client(Accept=accept) as client:
        assert client.post("/v1/generate", json={"steps": 1}).headers["content-type"] == given


def test_a_key_that_is_taken_out_counts_no_more(endpoints: Endpoints) -> None:
    key = new_key(endpoints.keys_file, "passing")
    headers = {"Authorization": f"Bearer {key}"}
    assert httpx.get(endpoints.url + "/v1/labels", headers=headers).status_code == 200
    lines = endpoints.keys_file.read_text().splitlines(keepends=True)
    endpoints.keys_file.write_text("".join(line for line in lines if not line.startswith("passing:")))
    assert httpx.get(endpoints.url + "/v1/labels", headers=headers).status_code == 401
    assert httpx.get(endpoints.url + "/v1/labels", headers={"Authorization": f"Bearer {endpoints.key}"}).is_success


def test_the_probes_answer_without_a_key(endpoints: Endpoints) -> None:
    assert httpx.get(endpoints.url + "/healthz").json() == {"status": "alive"}
    assert httpx.get(endpoints.url + "/readyz").json() == {"status": "ready"}


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ({"n": 0}, "#/n"),
        ({"n": 65}, "#/n"),
        ({"seed": 2**53}, "#/seed"),
        ({"steps": 1001}, "1000 timesteps"),
        ({"n": 4, "steps": 1000}, f"at most {MAX_ROW_STEPS}"),
        ({"solver": "euler"}, "#/solver"),
        ({"guidance": 0.5}, "#/guidance"),
        ({"condition": {"eye_sid": 1}}, "'eye_sid' is not a label"),
        ({"condition": {"dr_grade": 5}}, "dr_grade is 5"),
        ({"condition": {"is_fundus": 0, "is_amd": 1}}, "is_amd cannot be asked"),
        ({"sed": 1}, "did you mean 'seed'"),
        ({"condition": {"a/b~c": "x"}}, "#/condition/a~1b~0c: "),
    ],
)
def test_what_can_never_be_generated_is_422(endpoints: Endpoints, request_: dict[str, Any], told: str) -> None:
    with endpoints.client() as client:
        response = client.post("/v1/generate", json=request_)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert {"type", "title", "status", "detail"} <= problem.keys()
    assert told in problem["detail"]


@pytest.mark.parametrize(
    ("body", "media_type", "status", "pointer"),
    [
        (b'{"n": 1', "application/json", 422, "#"),
        (b"7", "application/json", 422, "#"),
        (b'{"n": "one"}', "application/json", 422, "#/n"),
        (b'{"n": 1}', "text/plain", 415, None),
        (
            json.dumps({"condition": {str(i): "x" for i in range(1000)}}).encode(),
            "application/json",
            422,
            "#/condition/0",
        ),
        (b'{"x": "' + bytes(2**20) + b'"}', "application/json", 413, None),
    ],
)
def test_a_body_that_is_not_as_described_is_told(
    endpoints: Endpoints, body: bytes, media_type: str, status: int, pointer: str | None
) -> None:
    with endpoints.client() as client:
        response = client.post("/v1/generate", content=body, headers={"Content-Type": media_type})
    assert response.status_code == status
    told = response.json()
    assert len(told["detail"]) < 3000
    assert [one["pointer"] for one in told.get("errors", [])][:1] == ([] if pointer is None else [pointer])


def _blank() -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (64, 64)).save(sink, "PNG")
    return sink.getvalue()


def _huge() -> bytes:
    sink = io.BytesIO()
    Image.new("L", (10_000, 10_000)).save(sink, "PNG")
    return sink.getvalue()


@pytest.mark.parametrize(
    ("body", "headers", "status", "told"),
    [
        (b"no image", {"Content-Type": "image/png"}, 422, "image 0: not an image"),
        (b"\x89PNG\r\n\x1a\n", {"Content-Type": "image/png"}, 422, "image 0"),
        (_blank(), {"Content-Type": "image/png"}, 422, "no field of view"),
        (_huge(), {"Content-Type": "image/png"}, 413, "image 0: decompression bomb"),
        (b"", {"Content-Type": "image/png"}, 422, "image 0"),
        (b'{"images": ["%%"]}', {"Content-Type": "application/json"}, 422, "#/images/0: not base64"),
        (b'{"images": []}', {"Content-Type": "application/json"}, 422, "#/images"),
        (b'{"images": 3', {"Content-Type": "application/json"}, 422, "JSON"),
        (b"x", {"Content-Type": "text/plain"}, 415, "send multipart/form-data"),
        (b"--a--\r\n", {"Content-Type": "multipart/form-data; boundary=a"}, 422, "no photograph"),
        (b"", {"Content-Type": "multipart/form-data"}, 422, "the form cannot be read"),
        (bytes(33 * 2**20), {"Content-Type": "image/png"}, 413, "larger than 32 MiB"),
    ],
)
def test_what_is_no_photograph_is_told(
    endpoints: Endpoints, body: bytes, headers: dict[str, str], status: int, told: str
) -> None:
    with endpoints.client() as client:
        response = client.post("/v1/diagnose", content=body, headers=headers)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert told in response.json()["detail"]


def test_too_many_photographs_are_422_in_either_form(endpoints: Endpoints) -> None:
    with endpoints.client() as client:
        form = client.post("/v1/diagnose", files=[("images", b"x")] * 65)
        body = client.post("/v1/diagnose", json={"images": ["eA=="] * 65})
    assert (form.status_code, body.status_code) == (422, 422)
    assert body.json()["errors"][0]["pointer"] == "#/images"


def test_a_body_that_does_not_say_its_length_is_limited_too(endpoints: Endpoints) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield bytes(2**20)

    with endpoints.client() as client:
        response = client.post("/v1/diagnose", content=chunks(), headers={"Content-Type": "image/png"})
    assert response.status_code == 413


def test_a_model_that_is_away_is_503_until_it_is_replaced(endpoints: Endpoints) -> None:
    import ray

    (name,) = [
        one["name"] for one in ray.util.list_named_actors(all_namespaces=True) if f"{APP}#Generation" in one["name"]
    ]
    with ThreadPoolExecutor(1) as pool, endpoints.client() as client:
        under_way = pool.submit(client.post, "/v1/generate", json={"n": 2, "steps": 1000})
        while not endpoints.handle("Generation").num_rows.remote().result():
            time.sleep(0.01)
        ray.kill(ray.get_actor(name, namespace="serve"))
        away = under_way.result()
        assert (away.status_code, away.headers["content-type"]) == (503, "application/problem+json")
        assert int(away.headers["retry-after"]) > 0
        deadline_s = time.monotonic() + 120
        while client.post("/v1/generate", json={"steps": 1}).status_code != 200:
            assert time.monotonic() < deadline_s
            time.sleep(1)


def test_keys_are_on_unless_they_are_turned_off(finished_study: FinishedStudy, tmp_path: Path) -> None:
    from synfundus_serve.gateway import Arguments

    with pytest.raises(ValueError, match="without_keys: true"):
        Arguments(study=str(finished_study.file))
    with pytest.raises(ValueError, match="without_keys: true"):
        Arguments(study=str(finished_study.file), keys_file=str(tmp_path), without_keys=True)
    assert Arguments(study=str(finished_study.file), without_keys=True).keys_file is None


def test_the_command_serves_until_it_is_interrupted(finished_study: FinishedStudy, tmp_path: Path) -> None:
    port = free_port()
    process = start_process("serve", finished_study.file, "--port", port)
    try:
        assert process.stdout is not None
        watchdog = threading.Timer(240, os.killpg, (process.pid, signal.SIGKILL))
        watchdog.start()
        greeting = [process.stdout.readline() for _ in range(3)]
        watchdog.cancel()
        assert f"http://127.0.0.1:{port}" in greeting[0]
        command = greeting[1].replace("-o sample.png", "")
        made = subprocess.run(command, shell=True, check=True, capture_output=True).stdout
        assert pixels_of(made).shape == (32, 32, 3)
        (tmp_path / "sample.png").write_bytes(made)
        seen = subprocess.run(greeting[2], shell=True, check=True, capture_output=True, cwd=tmp_path).stdout
        assert len(json.loads(seen)["images"]) == 1
        assert httpx.get(f"http://127.0.0.1:{port}/v1/labels").status_code == 401
        process.send_signal(signal.SIGINT)
        outcome = finish(process, timeout_s=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert outcome.code == 0
    assert outcome.complaints == ["loading the generator and the annotator", "stopped"]


def test_what_cannot_be_served_is_one_line(
    finished_study: FinishedStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = run_here(capsys, "serve", finished_study.file, "--set", f"root={tmp_path}/none")
    assert (empty.code, "train-generator" in empty.error_line) == (2, True)
    (tmp_path / "p.csv").write_text("image_id,gc\n0123456789abcdef,0.5\n")
    external = f"external_annotator={{predictions: {tmp_path}/p.csv, columns: {{is_gc: gc}}}}"
    table = run_here(capsys, "serve", finished_study.file, "--set", external)
    assert (table.code, "can neither annotate new images" in table.error_line) == (2, True)
    keyless = run_here(capsys, "serve", finished_study.file, "--keys", tmp_path / "keys")
    assert (keyless.code, "cannot read keys" in keyless.error_line) == (2, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = run_here(capsys, "serve", finished_study.file, "--port", taken.getsockname()[1])
    assert (busy.code, "cannot listen on" in busy.error_line) == (2, True)
