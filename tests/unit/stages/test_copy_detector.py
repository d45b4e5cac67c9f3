"""Stage `train-copy-detector`: what it refuses early, what its output depends on, and its summary."""

from pathlib import Path

import pytest

from support.copies_example import EXAMPLE_METRICS, example_calibration
from support.data_manifest import data_manifest
from synfundus.digests import digest_of
from synfundus.errors import WrongInputError
from synfundus.stages.copy_detector import CopyDetectorSummary, TrainCopyDetectorStage
from synfundus.storage import Storage, write_manifest
from synfundus.study import Study, resolve

STAGE = TrainCopyDetectorStage()


def study(storage: Storage, *overrides: str) -> Study:
    return resolve(f"recipe: phantom-cpu\nname: p\nroot: {storage.root}\n", "p.yaml", Path("/studies"), overrides)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("copy_detector.resources.num_gpus=1", r"^copy_detector\.resources\.num_gpus"),
        ("copy_detector.batch_size=33", r"^copy_detector\.batch_size: 33 is not a multiple of 2 workers"),
        (
            "data.prepare.split_fractions={train: 0.9, validation: 0.0, test: 0.1}",
            r"^data\.prepare\.split_fractions\.validation: is 0, .* counts as too near; give validation a share",
        ),
    ],
)
def test_what_cannot_end_well_is_refused_before_any_work(storage: Storage, override: str, message: str) -> None:
    workers = "copy_detector.resources.num_workers=2"
    with pytest.raises(WrongInputError, match=message):
        STAGE.check(study(storage, workers, override), storage)


@pytest.mark.parametrize("size_px", [20, 256])
def test_the_encoder_has_input_sizes_of_powers_of_two(storage: Storage, size_px: int) -> None:
    with pytest.raises(WrongInputError, match=r"copy_detector\.image_size_px: expected 16, 32, 64 or 128"):
        study(storage, f"copy_detector.image_size_px={size_px}")


def test_a_quantile_of_samples_is_told_where_it_moved(storage: Storage) -> None:
    with pytest.raises(WrongInputError, match=r"held_out_quantile moved to copy_detector\.false_rejection_rate"):
        study(storage, "samples.held_out_quantile=0.01")


def test_a_detector_depends_on_its_settings_and_on_the_photographs_alone(storage: Storage) -> None:
    write_manifest(storage, "data/p", [], data_manifest([], 32))
    usual = digest_of(STAGE.basis(study(storage), storage))
    for without_influence in ("generator.num_steps=7", "annotator.num_steps=7", "samples.seed=3"):
        assert digest_of(STAGE.basis(study(storage, without_influence), storage)) == usual
    for change in ("num_steps=7", "false_rejection_rate=0.02", "resources.num_threads=7"):
        assert digest_of(STAGE.basis(study(storage, f"copy_detector.{change}"), storage)) != usual, change


def test_the_summary_states_threshold_found_copies_and_false_rejections() -> None:
    rows = dict(CopyDetectorSummary(example_calibration(0.2), EXAMPLE_METRICS).rows())
    assert rows == {
        "threshold": "distance ratio 0.200; 1 % of photographs of other people are expected below it; from 99"
        " validation photographs",
        "found, mirrored": "1.000 (0.980 to 1.000)",
        "found, JPEG of quality 50": "1.000 (0.980 to 1.000)",
        "found, all mixed": "0.970 (0.940 to 0.990)",
        "rejected test photographs": "0.010 (0.002 to 0.050); n = 100",
    }
