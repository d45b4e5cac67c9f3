"""The measure by which step and learning rate are chosen, on the validation split."""

import numpy as np

from synfundus.diagnosis.held_out import Predictions, join_predictions
from synfundus.errors import WrongInputError
from synfundus.fundus.dataset import read_labels
from synfundus.labels import HEADS, NUM_VALUES
from synfundus.measures.roc import auc
from synfundus.storage import Storage

NOTHING_TO_SELECT = (
    "validation split: {}, so neither step nor learning rate can be selected; add labelled photographs, or give"
    " validation a larger share in data.prepare.split_fractions"
)


def mean_auc(predictions: Predictions) -> float:
    """Return the mean AUC over the labels that have both classes, each in at least two patients.

    The AUC of `dr_grade` is the mean over its heads P(grade >= k) with both classes. Which labels count follows from
    the experts' labels alone, so it is the same for all networks.

    Raises:
        WrongInputError: no label has both classes.
    """
    of_labels = []
    for heads in HEADS.values():
        measures = [auc(*predictions.head(v)) for v in range(*heads.indices(NUM_VALUES))]
        values = [measure.value for measure in measures if measure.value is not None]
        if values:
            of_labels.append(float(np.mean(values)))
    if not of_labels:
        raise WrongInputError(NOTHING_TO_SELECT.format("no label has both classes in two patients each"))
    return float(np.mean(of_labels))


def require_selectable(storage: Storage, folder: str) -> None:
    """Refuse a dataset on whose validation split nothing can be selected. Reads no image.

    Raises:
        WrongInputError: no label of the validation split has both classes.
    """
    parts = [
        Predictions(np.zeros_like(batch.p_BV), batch.p_BV, batch.expert_BK, batch.patients)
        for batch in read_labels(storage, folder, "validation")
    ]
    if not parts:
        raise WrongInputError(NOTHING_TO_SELECT.format("no photograph"))
    mean_auc(join_predictions(parts))
