"""Photographs and samples that have copy descriptors and labels only, as attacks need them."""

from collections.abc import Sequence

import numpy as np

from synfundus.evaluation.image_sets import Photographs, Samples
from synfundus.evaluation.strata import Labels
from synfundus.labels import LABELS, NUM_LABELS, FloatArray
from synfundus.measures.copies import SampledCounts


def photographs_of(descriptors_ND: FloatArray, patients: Sequence[str], expert_NK: Labels) -> Photographs:
    """Return photographs with these copy descriptors, patients and experts' labels."""
    n = len(descriptors_ND)
    return Photographs(
        ids=[f"{patient}-{i}" for i, patient in enumerate(patients)],
        patients=list(patients),
        expert_NK=expert_NK,
        value_shares={label.name: np.zeros(label.max_value + 1) for label in LABELS},
        num_unknown={label.name: n for label in LABELS},
        descriptors_ND=descriptors_ND,
        chosen=np.arange(n),
        features={},
        octave_powers_MO=np.zeros((n, 0)),
    )


def samples_of(descriptors_MD: FloatArray, requested_NK: Labels) -> Samples:
    """Return samples with these copy descriptors and requests, all of them accepted."""
    n = len(descriptors_MD)
    return Samples(
        sample_ids=np.arange(n),
        requested_NK=requested_NK,
        predicted_NK=requested_NK,
        score_NK=np.full((n, NUM_LABELS), np.nan, np.float32),
        chosen=np.arange(n),
        features={},
        octave_powers_MO=np.zeros((n, 0)),
        descriptors_MD=descriptors_MD,
        files=["a"] * n,
        sampled=SampledCounts(n, 0),
    )
