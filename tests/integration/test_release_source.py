"""A second study on the release of a first one: the whole loop, its chain of origin, and a release that was changed."""

import json
import shutil
from pathlib import Path

import pytest

from support.tiny_study import MODELS, NAME, OUTPUTS, OVERRIDE, FinishedStudy, run_here
from synfundus.diffusion.manifest import GeneratorManifest
from synfundus.digests import sha256_hex
from synfundus.fundus.manifest import DataManifest
from synfundus.fundus.origin import Origin
from synfundus.samples.manifest import ReleaseManifest, SamplesManifest
from synfundus.storage import Storage, open_storage, read_manifest

pytestmark = pytest.mark.usefixtures("ray_session", "patient_key")
SECOND = "second"
STUDY = f"""\
recipe: phantom-cpu
name: {SECOND}
root: root
data:
  sources: [{{layout: release, path: PATH, labels: requested}}]
  prepare: {{size_px: 32, min_field_px: 16, split_fractions: {{train: 0.6, validation: 0.2, test: 0.2}}}}
{MODELS}
release:
  title: Eyes of a shareable generator
  data_statement: Synthetic images of the release that the chain below names.
  privacy_override: "{OVERRIDE}"
"""


def write_study(folder: Path, release: Path) -> Path:
    """Write the file of the second study into `folder`."""
    file = folder / "second.yaml"
    file.write_text(STUDY.replace("PATH", str(release)))
    return file


@pytest.fixture(scope="module")
def second(finished_study: FinishedStudy, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """File of the second study, and a copy of the first study's release, which is all that it reads."""
    folder = tmp_path_factory.mktemp("second")
    release = folder / "release"
    shutil.copytree(finished_study.root / OUTPUTS["publish"], release)
    return write_study(folder, release), release


@pytest.fixture
def root(second: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> Storage:
    """The root of the second study, whose every stage is complete."""
    file, _ = second
    outcome = run_here(capsys, "study", "run", file, "--set", "generator.num_steps=20")
    assert (outcome.code, outcome.complaints) == (0, [])
    return open_storage(str(file.parent / "root"))


def test_the_whole_loop_runs_and_every_folder_names_the_chain(
    root: Storage, second: tuple[Path, Path], finished_study: FinishedStudy
) -> None:
    _, folder = second
    data = read_manifest(root, f"data/{SECOND}", DataManifest)
    first = ReleaseManifest.from_json((folder / "manifest.json").read_bytes(), "manifest.json")
    (release,) = data.origin.releases
    assert data.origin.only_releases
    assert release.manifest_sha256 == sha256_hex((folder / "manifest.json").read_bytes())
    assert release.generator_digest == first.inputs.generator_digest
    assert release.made_from == Origin(), "the first study was made from phantoms"
    assert data.num_images.total + sum(data.rejected.values()) == first.summary.num_accepted
    assert data.images_counted_as_patient == data.num_images.total == data.num_patients.total
    assert read_manifest(root, f"data/{SECOND}-filled", DataManifest).origin == data.origin
    assert read_manifest(root, f"generators/{SECOND}", GeneratorManifest).origin == data.origin
    assert read_manifest(root, f"samples/{SECOND}", SamplesManifest).origin == data.origin
    assert read_manifest(root, f"releases/{SECOND}", ReleaseManifest).inputs.origin == data.origin
    card = root.read(f"releases/{SECOND}/README.md").decode()
    assert "The generator was trained only on the synthetic images of" in card
    for fact in (release.manifest_sha256, release.generator_digest, "Procedural phantoms; no person stands behind"):
        assert fact in card
    assert "each of its images counts as a patient of its own" in card


def test_a_second_run_lists_the_release_again_and_writes_nothing(
    root: Storage, second: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file, _ = second
    before = (file.parent / "root" / "data" / SECOND / "manifest.json").stat()
    outcome = run_here(capsys, "prepare", file, "--set", "generator.num_steps=20")
    assert (outcome.code, outcome.complaints) == (0, [])
    after = (file.parent / "root" / "data" / SECOND / "manifest.json").stat()
    assert after.st_mtime_ns == before.st_mtime_ns


def test_another_release_at_the_same_place_is_refused(
    root: Storage, second: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file, folder = second
    kept = (folder / "manifest.json").read_bytes()
    manifest = json.loads(kept)
    manifest["inputs"]["config"]["version"] = "1.0.1"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    try:
        outcome = run_here(capsys, "prepare", file, "--set", "generator.num_steps=20")
    finally:
        (folder / "manifest.json").write_bytes(kept)
    assert outcome.code == 2
    assert "was prepared from other images or labels" in outcome.error_line


def test_a_changed_shard_stops_prepare_with_one_line_and_leaves_no_dataset(
    finished_study: FinishedStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = tmp_path / "release"
    shutil.copytree(finished_study.root / OUTPUTS["publish"], release)
    shard = min((release / "data").glob("*.parquet"))
    content = bytearray(shard.read_bytes())
    content[content.index(b"IDAT") + 8] ^= 1
    shard.write_bytes(content)
    outcome = run_here(capsys, "prepare", write_study(tmp_path, release))
    assert outcome.code == 2
    assert outcome.error_line.endswith(
        f"{shard}: its SHA-256 is not that of the release's manifest; fetch the release again"
    )
    assert not (tmp_path / "root" / "data" / SECOND).exists()


def test_the_samples_of_a_study_are_no_source(
    finished_study: FinishedStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run_here(capsys, "study", "check", write_study(tmp_path, finished_study.root / "samples" / NAME))
    assert outcome.code == 2
    assert "this folder holds no release" in outcome.error_line
