"""The running endpoints, started once for all tests of this package."""

from collections.abc import Iterator

import numpy as np
import pyarrow.parquet as pq
import pytest

from support.endpoints import APP, MAX_ROW_STEPS, Endpoints, Photograph, pixels_of
from support.s3_store import free_port
from support.tiny_study import FinishedStudy
from synfundus.diagnosis.checkpoint import load_annotator
from synfundus.fundus.preprocess import image_id
from synfundus.fundus.sources import list_source
from synfundus.storage import open_storage
from synfundus.study import load_study
from synfundus_serve.api_keys import new_key


@pytest.fixture(scope="package")
def endpoints(
    ray_session: None, finished_study: FinishedStudy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoints]:
    """The application of the finished study, with one key."""
    from ray import serve

    from synfundus_serve.edge.install import CONTROLLER_OPTIONS
    from synfundus_serve.gateway import Arguments, build

    keys_file = tmp_path_factory.mktemp("keys") / "keys"
    key, port = new_key(keys_file, "tests"), free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port}, controller_options=CONTROLLER_OPTIONS)
    arguments = Arguments(study=str(finished_study.file), keys_file=str(keys_file), max_row_steps=MAX_ROW_STEPS)
    serve.run(build(arguments), name=APP)
    yield Endpoints(f"http://127.0.0.1:{port}", key, keys_file, load_study(finished_study.file))
    serve.shutdown()


@pytest.fixture(scope="package")
def photograph(endpoints: Endpoints, finished_study: FinishedStudy) -> Photograph:
    """A photograph that was prepared, and the prediction for it."""
    study = endpoints.study
    annotator = load_annotator(open_storage(study.root, create=False), study.annotator_folder)
    folder = finished_study.root / study.data_folder
    prepared = {row["image_id"]: row for file in folder.glob("*.parquet") for row in pq.read_table(file).to_pylist()}
    record = next(r for r in list_source(study.data.sources[0]).records if image_id(r.load()) in prepared)
    image = pixels_of(prepared[image_id(record.load())]["image"]["bytes"]).astype(np.uint8)
    output = annotator.predict(image[None])
    return Photograph(record.load(), output.annotations[0], output.probabilities(0))
