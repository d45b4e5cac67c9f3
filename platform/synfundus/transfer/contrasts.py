"""Arms in words, and the planned comparisons of a grid. Both follow from the settings alone, never from a result."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from synfundus.measures.transfer_metrics import TransferArm, TransferContrast
from synfundus.transfer.config import Start
from synfundus.transfer.results import ArmSummary


class _Kind(NamedTuple):
    """Definition of an arm without its name."""

    start: Start
    train: str
    added_samples: float | None = None


PHOTOGRAPHS = _Kind("scratch", "photographs")
_STARTS = {
    "scratch": "",
    "samples": "Pre-trained on samples",
    "shuffled": "Pre-trained on samples with shuffled labels",
}
_IMAGES = {
    "photographs": "photographs",
    "samples": "samples only",
    "shuffled": "samples only, labels shuffled",
}


def _kind(arm: ArmSummary) -> _Kind:
    return _Kind(arm.start, arm.train, arm.added_samples)


def distinct_arms(arms: Iterable[ArmSummary]) -> dict[str, ArmSummary]:
    """Return the arms by name without those that repeat an earlier one under another name; their cells are the same.

    Arms of other architectures are different ones, and so are two arms that start from files of weights.
    """
    distinct: dict[str, ArmSummary] = {}
    for arm in arms:
        repeated = any(
            _kind(arm) == _kind(other) and arm.architectures == other.architectures for other in distinct.values()
        )
        if arm.start == "weights" or not repeated:
            distinct[arm.name] = arm
    return distinct


def describe_arm(arm: ArmSummary) -> TransferArm:
    """Return title and training of an arm in words."""
    start = f"Initial weights: {arm.name}" if arm.start == "weights" else _STARTS[arm.start]
    images = _IMAGES[arm.train]
    if arm.added_samples is not None:
        images = f"photographs + {arm.added_samples:g} \N{MULTIPLICATION SIGN} samples"
    if _kind(arm) == PHOTOGRAPHS:
        title = "Photographs, from scratch"
    elif not start:
        title = images[0].upper() + images[1:]
    elif images == "photographs":
        title = start
    else:
        title = f"{start}, then {images}"
    if arm.architectures is not None:
        title += f" ({', '.join(arm.architectures)})"
    return TransferArm(title=title, training=f"{_start_in_words(arm)} {_training_in_words(arm)}")


def _start_in_words(arm: ArmSummary) -> str:
    return {
        "scratch": "Random initial weights;",
        "samples": "First on all accepted samples from random weights; then",
        "shuffled": "First on all accepted samples from random weights, with their labels shuffled among them; then",
        "weights": f"Initial weights from the file that the study names for arm {arm.name};",
    }[arm.start]


def _training_in_words(arm: ArmSummary) -> str:
    if arm.train == "samples":
        return "trained on all accepted samples, on no photograph."
    if arm.train == "shuffled":
        return "trained on all accepted samples with their labels shuffled among them, on no photograph."
    if arm.added_samples is None:
        return "trained on photographs of the training patients."
    return (
        "trained on photographs of the training patients and"
        f" {arm.added_samples:g} times as many accepted samples, mixed."
    )


def planned_contrasts(arms: Mapping[str, ArmSummary]) -> dict[str, TransferContrast]:
    """Return the planned comparisons of distinct arms, by key `<arm>-against-<reference>`, in the order of the report.

    Arm and reference differ in one factor: the initial weights, or the training images. Controls with shuffled labels
    are references only: they are no way to train that anybody proposes.
    """
    return {
        f"{arm}-against-{reference}": TransferContrast(arm=arm, reference=reference, question=question)
        for arm, reference, question in _pairs(_without_covered(arms))
    }


def _without_covered(arms: Mapping[str, ArmSummary]) -> dict[str, ArmSummary]:
    """Return the arms without those whose cells another arm has, too, so that no model is compared twice."""
    return {
        name: arm
        for name, arm in arms.items()
        if arm.start == "weights" or not any(_covers(other, arm) for other in arms.values())
    }


def _covers(arm: ArmSummary, other: ArmSummary) -> bool:
    """Return whether an arm has all cells of another one, and more."""
    if _kind(arm) != _kind(other) or other.architectures is None:
        return False
    return arm.architectures is None or set(other.architectures) < set(arm.architectures)


def _pairs(arms: Mapping[str, ArmSummary]) -> Iterator[tuple[str, str, str]]:
    """Yield arm, reference and question of each comparison; for each arm, that with its control first."""
    references = sorted(arms.items(), key=lambda item: not _is_control(item[1]))
    for name, arm in arms.items():
        for other, reference in references:
            question = None if _is_control(arm) else _question(arm, reference)
            if question is not None:
                yield name, other, question


def _is_control(arm: ArmSummary) -> bool:
    return "shuffled" in (arm.start, arm.train)


def _question(arm: ArmSummary, reference: ArmSummary) -> str | None:
    """Return the question that the difference of two arms answers; None if two factors differ, or none is asked for."""
    if _same_start(arm, reference):
        return _question_of_images(arm, reference)
    if (arm.train, arm.added_samples) == (reference.train, reference.added_samples):
        return _question_of_start(arm, reference)
    return None


def _same_start(arm: ArmSummary, other: ArmSummary) -> bool:
    if arm.start != "weights" or other.start != "weights":
        return arm.start == other.start
    both = arm.weights.keys() & other.weights.keys()
    return bool(both) and all(arm.weights[architecture] == other.weights[architecture] for architecture in both)


def _question_of_images(arm: ArmSummary, reference: ArmSummary) -> str | None:
    """Return the question of two arms with the same initial weights."""
    start = {"samples": ", after pre-training on samples", "weights": f", with the initial weights {reference.name}"}
    if arm.train == "samples" and reference.train == "shuffled":
        question = "Do the labels of the samples carry information"
    elif reference.train != "photographs" or reference.added_samples is not None:
        return None
    elif arm.train == "samples":
        question = "Can samples replace photographs"
    elif arm.added_samples is not None:
        question = f"Do {arm.added_samples:g} samples for each photograph help, added to the photographs"
    else:
        return None
    return f"{question}{start.get(arm.start, '')}?"


def _question_of_start(arm: ArmSummary, reference: ArmSummary) -> str | None:
    """Return the question of two arms with the same training images."""
    if arm.start == "weights":
        return f"Do the weights {arm.name} help?" if reference.start == "scratch" else None
    if arm.start != "samples":
        return None
    question = {
        "shuffled": "Does pre-training use the labels of the samples, or only their look",
        "scratch": "Does pre-training on samples help",
        "weights": f"Is pre-training on samples better than the weights {reference.name}",
    }[reference.start]
    added = arm.added_samples
    images = "" if added is None else f", before training on photographs and {added:g} times as many samples"
    return f"{question}{images}?"
