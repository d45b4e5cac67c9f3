"""The measure of selection equals scikit-learn's AUC, and counts the same labels for all networks."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from synfundus.diagnosis.held_out import Predictions
from synfundus.errors import WrongInputError
from synfundus.labels import HEAD_NAMES, LABEL_NAMES, NUM_LABELS, NUM_VALUES, expand_known
from synfundus.storage import Storage
from synfundus.transfer.grid import GridInputs
from synfundus.transfer.selection import mean_auc, require_selectable


def predictions(n: int = 200) -> Predictions:
    """Return random scores of known grades, sides and glaucoma; all images are a fundus, the rest is unknown."""
    rng = np.random.default_rng(5)
    p_BV, known_BK = np.zeros((n, NUM_VALUES), np.float32), np.zeros((n, NUM_LABELS), np.bool_)
    p_BV[:, :4] = rng.integers(0, 4, n)[:, None] > np.arange(4)  # no grade 4, so the last head has one class
    for name, share in (("eye_side", 0.5), ("is_gc", 0.2), ("is_fundus", 1.0)):
        p_BV[:, HEAD_NAMES.index(name)] = rng.random(n) < share
    for name in ("dr_grade", "eye_side", "is_gc", "is_fundus"):
        known_BK[:, LABEL_NAMES.index(name)] = rng.random(n) < 0.8
    p_BV = np.where(expand_known(known_BK), p_BV, 0).astype(np.float32)
    logit_BV = (rng.normal(size=(n, NUM_VALUES)) + p_BV).astype(np.float32)
    return Predictions(logit_BV, p_BV, known_BK, [f"patient {i // 2}" for i in range(n)])


def test_the_mean_is_over_labels_and_a_grade_is_the_mean_of_its_heads() -> None:
    made = predictions()

    def reference(head: str) -> float:
        v = HEAD_NAMES.index(head)
        rows = expand_known(made.expert_BK)[:, v]
        return float(roc_auc_score(made.p_BV[rows, v], made.logit_BV[rows, v]))

    grade = np.mean([reference(f"dr_grade>={k}") for k in (1, 2, 3)])
    expected = np.mean([grade, reference("eye_side"), reference("is_gc")])
    assert mean_auc(made) == pytest.approx(expected, abs=1e-12)


def test_a_validation_split_without_both_classes_is_refused() -> None:
    made = predictions()
    one_class = Predictions(made.logit_BV, np.zeros_like(made.p_BV), made.expert_BK, made.patients)
    with pytest.raises(WrongInputError, match="validation split: no label has both classes in two patients each"):
        mean_auc(one_class)


@pytest.mark.usefixtures("inputs")
def test_a_dataset_of_phantoms_is_accepted_before_any_training(storage: Storage, inputs: GridInputs) -> None:
    require_selectable(storage, "data/p")
