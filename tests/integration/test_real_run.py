"""A short run of the committed study on the real photographs, with everything that is promised about them."""

import base64
import contextlib
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from support.tiny_study import PATIENT_KEY
from synfundus.diagnosis.decisions import read_annotator_metrics
from synfundus.digests import sha256_hex
from synfundus.evaluation.manifest import read_metrics
from synfundus.fundus.dataset import PreparedImages
from synfundus.fundus.manifest import DataManifest
from synfundus.fundus.shard import decode_pixels
from synfundus.fundus.splits import SPLITS
from synfundus.labels import LABEL_NAMES
from synfundus.samples.shards import read_samples
from synfundus.storage import Storage, open_storage, read_manifest
from synfundus_jobs import cli

pytestmark = pytest.mark.real_data

STUDY = Path(__file__).parents[2] / "studies" / "fundus-real.yaml"
NAME = "fundus-real"
SHORTER = (
    "annotator.image_size_px=48",
    "annotator.num_steps=30",
    "annotator.batch_size=16",
    "annotator.warmup_steps=5",
    "annotator.resources.num_threads=1",
    "copy_detector.image_size_px=32",
    "copy_detector.width=8",
    "copy_detector.num_steps=12",
    "copy_detector.batch_size=16",
    "copy_detector.resources.num_threads=1",
    "generator.unet.channels=[8, 16]",
    "generator.num_steps=20",
    "generator.warmup_steps=5",
    "generator.resources.num_threads=1",
    "generator.sheet_num_columns=2",
    "generator.sheet_solver.num_steps=2",
    "generator.memorisation_num_samples=4",
    "samples.num_samples=64",
    "samples.solver.num_steps=4",
    "samples.max_attempts=2",
    "samples.resources.pool_size=1",
    "evaluation.max_images=100",
    "evaluation.attack_max_images=40",
    "evaluation.resources.num_threads=1",
    "release.synfundus_export=true",
)
LABELLED = {"dr_grade", "eye_side", "is_fundus"}
NUM_PHOTOGRAPHS = 838


@dataclass(frozen=True)
class Run:
    """The finished study."""

    storage: Storage
    out: str
    """Standard output of the command."""
    names: list[str]
    """File names of the photographs."""


@pytest.fixture(scope="module")
def run(real_data: Path, tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Run:
    root = tmp_path_factory.mktemp("real")
    settings = [part for setting in (f"root={root}", *SHORTER) for part in ("--set", setting)]
    written, err = io.BytesIO(), io.StringIO()
    out = io.TextIOWrapper(written, "utf-8")  # the command line writes to its buffer
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNFUNDUS_PATIENT_KEY", PATIENT_KEY)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main(["study", "run", str(STUDY), *settings])
    assert code == 0, err.getvalue()
    out.flush()
    names = sorted(path.name for path in (real_data / "images").iterdir())
    return Run(open_storage(str(root)), written.getvalue().decode(), names)


@pytest.fixture(scope="module")
def prepared(run: Run) -> set[str]:
    """Digests of the pixels of every prepared photograph and of its mirror image."""
    images = PreparedImages(run.storage, f"data/{NAME}")
    return {
        digest(pixels[:, ::step])
        for split in SPLITS
        for batch in images.batches(split, 256)
        for pixels in batch.images_BHWC
        for step in (1, -1)
    }


def digest(pixels_HWC: NDArray[np.uint8]) -> str:
    return sha256_hex(np.ascontiguousarray(pixels_HWC).tobytes())


def embedded_images(html: str) -> list[bytes]:
    """Return every bitmap of a page. Fails if a vector figure holds a bitmap."""
    images = []
    for kind, data in re.findall(r"data:image/([a-z+]+);base64,([A-Za-z0-9+/=]+)", html):
        content = base64.b64decode(data)
        if kind == "svg+xml":
            assert b"<image" not in content
        else:
            images.append(content)
    return images


def test_every_photograph_is_accepted(run: Run) -> None:
    manifest = read_manifest(run.storage, f"data/{NAME}", DataManifest)
    assert len(run.names) == NUM_PHOTOGRAPHS
    assert manifest.num_images.total == NUM_PHOTOGRAPHS
    assert not any(manifest.rejected.values()), "no photograph is a near duplicate of another"
    assert (manifest.rows_without_image, manifest.images_without_row) == (0, 0)


def test_no_patient_is_in_two_splits(run: Run) -> None:
    images = PreparedImages(run.storage, f"data/{NAME}-filled")
    patients = {s: {patient for batch in images.batches(s, 256) for patient in batch.patients} for s in SPLITS}
    counts = read_manifest(run.storage, f"data/{NAME}", DataManifest).num_patients
    assert {split: len(found) for split, found in patients.items()} == counts.model_dump()
    assert {split for split, found in patients.items() if not found} == {"judge"}, "too few patients for a judge"
    assert len(set().union(*patients.values())) == sum(map(len, patients.values()))


def test_labels_without_experts_are_named_as_unusable_and_stay_null(run: Run) -> None:
    unusable = set(read_annotator_metrics(run.storage, f"annotators/{NAME}", {}).unusable)
    assert unusable >= set(LABEL_NAMES) - LABELLED
    summary = re.search(r"^ *unusable +(.*)$", run.out, re.MULTILINE)
    assert summary is not None
    assert {name.strip() for name in summary[1].split(",")} == unusable
    rows = [row for _, table in read_samples(run.storage, f"samples/{NAME}") for row in table.to_pylist()]
    assert rows
    for row in rows:
        for name in unusable:
            assert row[f"annotation_{name}"] is None
            assert row[f"probability_{name}"] is None
    counts = read_manifest(run.storage, f"data/{NAME}-filled", DataManifest).sources
    assert all(counts[name].filled == 0 for name in unusable)


def test_the_private_edition_of_the_report_shows_photographs(run: Run, prepared: set[str]) -> None:
    """This proves that the next test, which searches the public edition in the same way, can find photographs."""
    html = run.storage.read(f"reports/{NAME}/index.html").decode()
    shown = {digest(decode_pixels(data)) for data in embedded_images(html)}
    assert shown & prepared
    spaces = read_metrics(run.storage, f"reports/{NAME}").fidelity.computed_spaces
    assert spaces
    assert all(space.landmark is not None for space in spaces)


def test_the_public_edition_holds_no_photograph_and_no_name_of_one(run: Run, prepared: set[str]) -> None:
    html = run.storage.read(f"reports/{NAME}/public.html").decode()
    shown = embedded_images(html)
    assert shown, "the edition shows samples"
    assert not {digest(decode_pixels(data)) for data in shown} & prepared
    images = PreparedImages(run.storage, f"data/{NAME}")
    for split in SPLITS:
        for batch in images.batches(split, 256):
            assert not [secret for secret in (*batch.image_ids, *batch.patients) if secret in html]
    assert not [name for name in run.names if Path(name).stem in html]


def test_the_release_holds_no_photograph(run: Run, prepared: set[str]) -> None:
    folder = f"releases/{NAME}"
    storage = run.storage
    names = list(storage.names(folder))
    assert f"{folder}/report.html" in names
    assert storage.read(f"{folder}/report.html") == storage.read(f"reports/{NAME}/public.html")
    num_images = 0
    for name in names:
        data = storage.read(name)
        if name.endswith((".png", ".jpg", ".webp")):
            num_images += 1
            assert digest(decode_pixels(data)) not in prepared, name
        elif not name.endswith(".parquet"):
            text = data.decode()
            assert not [photograph for photograph in run.names if Path(photograph).stem in text], name
    sampled = [
        row["bytes"] for _, t in read_samples(storage, f"samples/{NAME}") for row in t.column("image").to_pylist()
    ]
    assert num_images == len(sampled) > 0
    for data in sampled:
        with Image.open(io.BytesIO(data)) as image:
            assert image.info["Synthetic"] == "yes"
        assert digest(decode_pixels(data)) not in prepared
