"""The stage `transfer`: its digest, what it refuses, and what `--dry-run` shows."""

from pathlib import Path

import pytest

from support.datasets_of_phantoms import phantom_dataset
from support.samples_example import phantom_samples
from synfundus.errors import WrongInputError
from synfundus.stages.transfer import NO_SECTION, TransferStage
from synfundus.storage import Storage, write_manifest
from synfundus.study import Study, resolve
from synfundus.transfer.manifest import CellManifest, cell_folder

ARMS = "{real: {}, scratch: {}, pretrained: {start: samples}, imagenet: {start: weights}}"
SECTION = f"transfer: {{architectures: [test_resnet, test_vit], arms: {ARMS}, fractions: [1, 0.5], seeds: [0, 1]}}\n"
STAGE = TransferStage()


@pytest.fixture
def root(storage: Storage) -> Storage:
    """A root with prepared phantoms and samples of the study `demo`."""
    phantom_dataset(storage, "data/demo", 40, 32)
    phantom_samples(storage)
    return storage


def study(text: str = SECTION, *overrides: str) -> Study:
    return resolve(f"recipe: phantom-cpu\nname: demo\nroot: root\n{text}", "demo.yaml", Path("/studies"), overrides)


def test_a_study_without_the_section_is_refused_by_the_verb(root: Storage) -> None:
    for call in (STAGE.check, STAGE.basis):
        with pytest.raises(WrongInputError, match=NO_SECTION):
            call(study(""), root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("transfer.architectures=[resnet10q]", r"transfer.architectures: timm .* has no 'resnet10q'; did you mean"),
        ("transfer.external=[demo]", "transfer.external: demo is the study's own dataset; name another one"),
        ("transfer.external=[other]", "data/other is not complete"),
        ("transfer.resources.num_workers=3", "annotator.batch_size: 32 is not a multiple of 3 workers"),
    ],
)
def test_a_grid_that_would_fail_is_refused_before_any_work(root: Storage, change: str, message: str) -> None:
    with pytest.raises(WrongInputError, match=message):
        STAGE.check(study("transfer: {architectures: [test_resnet]}\n", change), root)


def test_the_dry_run_shows_cells_which_are_cached_and_both_waves(root: Storage) -> None:
    before = STAGE.describe(study(), root, None)
    assert before[0] == ("cells", "20 for 32 places of the grid, 0 cached")
    assert ("wave 1", "12 cells, 0 cached") in before
    assert ("wave 2", "8 cells, 0 cached") in before
    assert ("real", "test_vit at 50 %, wave 1, seeds 0, 1") in before
    assert ("pretrained", "test_resnet at 100 %, wave 2, seeds 0, 1") in before
    assert ("pre-training", "test_resnet, wave 1, seeds 0, 1") in before, "cells that have no place of their own"
    reasons = [text for name, text in before if name == "imagenet"]
    place = "transfer.arms.imagenet.weights"
    assert reasons == [f"not computed: {place}.{name}: no file is named" for name in ("test_resnet", "test_vit")]

    from synfundus.stages.transfer import _grid

    (row, *_) = [
        r
        for r in _grid(study(), root).rows
        if (r.arm, r.architecture, r.fraction, r.seed) == ("real", "test_vit", 0.5, 1)
    ]
    assert row.cell is not None
    digest = row.cell.digest
    write_manifest(root, cell_folder(digest), [], CellManifest(digest=digest, attempt=0))
    after = STAGE.describe(study(), root, None)
    assert after[0] == ("cells", "20 for 32 places of the grid, 1 cached")
    for name in ("real", "scratch"):
        assert (name, "test_vit at 50 %, wave 1, seeds 0, 1 (cached)") in after


def test_a_file_of_weights_enters_the_digest_by_its_content_and_may_be_absent(root: Storage, tmp_path: Path) -> None:
    arms = "transfer: {architectures: [test_vit], arms: {imagenet: {start: weights, weights: {test_vit: %s}}}}\n"
    bases = []
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2"), ("d", None)):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "w.safetensors"
        if content is not None:
            file.write_bytes(content)
        bases.append(STAGE.basis(study(arms % file), root))
    assert bases[0] == bases[1]
    assert len({str(basis) for basis in bases}) == 3
    assert str(tmp_path) not in str(bases)


def test_only_settings_that_cells_read_enter_the_digest(root: Storage) -> None:
    basis = STAGE.basis(study(), root)
    same = [
        "annotator.resources.num_threads=5",
        "annotator.seed=4",
        "transfer.resources.pool_size=7",
        "generator.seed=3",
    ]
    assert STAGE.basis(study(SECTION, *same), root) == basis
    for change in ("annotator.batch_size=8", "annotator.num_steps=9", "transfer.resources.num_threads=2"):
        assert STAGE.basis(study(SECTION, change), root) != basis


def test_a_grid_without_samples_reads_photographs_alone() -> None:
    only = study("transfer: {architectures: [test_vit], arms: {real: {}}}\n")
    assert STAGE.inputs(only) == ("data/demo",)
    assert STAGE.inputs(study()) == ("data/demo", "samples/demo")
