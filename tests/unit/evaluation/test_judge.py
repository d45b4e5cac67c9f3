"""The judge: it learns from its own split only, is trained once, and has the settings of the annotator."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from support.datasets_of_phantoms import phantom_dataset
from support.models_of_phantoms import ANNOTATOR
from synfundus.diagnosis.annotator import NetworkScorer
from synfundus.diagnosis.checkpoint import load_annotator
from synfundus.diagnosis.manifest import WEIGHTS
from synfundus.diagnosis.training import AnnotatorLearner
from synfundus.errors import WrongInputError
from synfundus.evaluation.judge import JudgeTask, require_judge
from synfundus.evaluation.judge_config import judge_config
from synfundus.fundus.dataset import PreparedImages
from synfundus.storage import Storage, open_storage

SPLITS = ("train", "judge", "judge", "validation", "test")
"""Splits of five patients; they repeat."""
CONFIG = ANNOTATOR.model_copy(update={"num_steps": 4})


def judged(root: Path, splits: tuple[str, ...] = SPLITS, num_images: int = 60) -> tuple[Storage, JudgeTask]:
    """Return a root with a dataset of phantoms, and the training of a judge on it."""
    storage = open_storage(str(root))
    phantom_dataset(storage, "data/p", num_images, 32, splits=splits)
    return storage, JudgeTask("data/p", "judges/p", CONFIG, "digest of the judge")


def test_the_judge_is_the_network_that_the_annotators_training_makes_of_its_split(tmp_path: Path) -> None:
    storage, task = judged(tmp_path / "one")
    require_judge(storage, task, "cpu")
    other, _ = judged(tmp_path / "other", ("test", "train", "train", "validation", "test"))
    learner = AnnotatorLearner(PreparedImages(other, "data/p"), CONFIG, torch.device("cpu"))
    torch.set_num_threads(CONFIG.resources.num_threads)  # another test of this process may have left another number
    for step in range(CONFIG.num_steps):
        learner.train_step(step)
    weights = load_file(tmp_path / "one" / "judges/p" / WEIGHTS)
    assert all(torch.equal(weights[name], value) for name, value in learner.network.state_dict().items())


def test_training_photographs_and_held_out_ones_change_no_weight_of_the_judge(tmp_path: Path) -> None:
    weights = []
    for name, splits in (("a", SPLITS), ("b", ("test", "judge", "judge", "train", "validation"))):
        storage, task = judged(tmp_path / name, splits)
        require_judge(storage, task, "cpu")
        weights.append(load_file(tmp_path / name / "judges/p" / WEIGHTS))
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_the_judge_is_trained_once_and_loads_as_an_annotator(tmp_path: Path) -> None:
    storage, task = judged(tmp_path)
    threads = torch.get_num_threads()
    require_judge(storage, task, "cpu")
    assert torch.get_num_threads() == threads
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "judges/p").iterdir()}
    require_judge(storage, task, "cpu")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "judges/p").iterdir()} == files
    judge = load_annotator(storage, "judges/p")
    assert isinstance(judge.scorer, NetworkScorer)
    assert judge.scorer.spec.architecture == CONFIG.architecture


def test_a_judge_of_other_settings_is_refused(tmp_path: Path) -> None:
    storage, task = judged(tmp_path)
    require_judge(storage, task, "cpu")
    changed = JudgeTask(task.data_folder, task.folder, task.config, "another digest")
    with pytest.raises(WrongInputError, match=r"judges/p below .* is a judge of other settings or images; delete it"):
        require_judge(storage, changed, "cpu")


def test_a_judge_that_was_begun_on_other_hardware_is_refused_with_the_folder_to_delete(tmp_path: Path) -> None:
    storage, task = judged(tmp_path)
    storage.write_once(f"judges/p/{WEIGHTS}", b"weights that another machine rounded")
    with pytest.raises(
        WrongInputError, match=r"^judges/p holds files of an interrupted run .*; delete judges/p and run"
    ):
        require_judge(storage, task, "cpu")
    for file in (tmp_path / "judges/p").iterdir():
        file.unlink()
    require_judge(storage, task, "cpu")


def test_the_judge_takes_the_annotators_settings_with_half_the_steps_and_another_seed() -> None:
    resources = ANNOTATOR.resources.model_copy(update={"num_workers": 2})
    annotator = ANNOTATOR.model_copy(update={"num_steps": 700, "warmup_steps": 50, "resources": resources})
    judge = judge_config(annotator)
    assert (judge.num_steps, judge.warmup_steps, judge.resources.num_workers) == (350, 25, 1)
    assert judge.seed != annotator.seed
    changed = {"num_steps", "warmup_steps", "seed", "resources"}
    assert judge.model_dump(exclude=changed) == annotator.model_dump(exclude=changed)
