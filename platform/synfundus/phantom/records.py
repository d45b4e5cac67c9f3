"""The phantoms of a set: image, labels and patient of each index."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from synfundus.labels import LABEL_NAMES
from synfundus.phantom.config import PhantomConfig
from synfundus.phantom.field import stream
from synfundus.phantom.labels import draw_phantom_labels
from synfundus.phantom.render import render
from synfundus.seeds import SEED_END


class PhantomRecord(NamedTuple):
    """One phantom of a set."""

    image_HWC: NDArray[np.uint8]
    """RGB, (size_px, size_px, 3)."""
    labels: dict[str, int | None]
    """All 16 labels; null if hidden, or if the rules or an unreadable region make it null."""
    patient_id: str


def phantom_record(config: PhantomConfig, index: int) -> PhantomRecord:
    """Render phantom `index` of a set, a pure function of both. Both eyes of a patient share traits of anatomy.

    Raises:
        IndexError: `index` is not below `num_images`.
    """
    seed, labels = _seed_and_labels(config, index)
    patient = index // config.images_per_patient
    patient_seed = int(stream(config.seed, f"patient {patient}").integers(SEED_END))
    image_HWC = render(labels, seed, config.size_px, patient_seed=patient_seed)
    return PhantomRecord(image_HWC, *phantom_labels(config, index))


def phantom_labels(config: PhantomConfig, index: int) -> tuple[dict[str, int | None], str]:
    """Return labels and patient of phantom `index`, as in `phantom_record`, without rendering it.

    Raises:
        IndexError: `index` is not below `num_images`.
    """
    seed, labels = _seed_and_labels(config, index)
    hidden = stream(seed, "hidden").uniform(size=len(LABEL_NAMES)) < config.null_fraction
    shown = {name: None if hide else labels[name] for name, hide in zip(LABEL_NAMES, hidden, strict=True)}
    return shown, f"phantom-{index // config.images_per_patient:06d}"


def _seed_and_labels(config: PhantomConfig, index: int) -> tuple[int, dict[str, int | None]]:
    """Return the seed of phantom `index` and all its labels, including those that are hidden later."""
    if not 0 <= index < config.num_images:
        raise IndexError(f"index {index} of {config.num_images} phantoms")
    seed = int(stream(config.seed, f"image {index}").integers(SEED_END))
    labels = draw_phantom_labels(seed)
    if config.images_per_patient > 1 and labels["eye_side"] is not None:
        labels["eye_side"] = index % config.images_per_patient % 2
    return seed, labels
