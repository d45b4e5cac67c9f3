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
SAMPLES = _Kind("scratch", "samples")
SHUFFLED = _Kind("scratch", "shuffled")
PRETRAINED = _Kind("samples", "photographs")
PRETRAINED_SHUFFLED = _Kind("shuffled", "photographs")
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

    Two arms that start from files of weights are different ones.
    """
    distinct: dict[str, ArmSummary] = {}
    for arm in arms:
        if arm.start == "weights" or _kind(arm) not in map(_kind, distinct.values()):
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

    The reference of most is the arm that trains on photographs from random weights. Controls with shuffled labels are
    references only: they are no way to train that anybody proposes.
    """
    return {
        f"{arm}-against-{reference}": TransferContrast(arm=arm, reference=reference, question=question)
        for arm, reference, question in _pairs(arms)
    }


def _pairs(arms: Mapping[str, ArmSummary]) -> Iterator[tuple[str, str, str]]:
    """Yield arm, reference and question of each comparison."""
    names = {_kind(arm): name for name, arm in arms.items() if arm.start != "weights"}
    photographs = names.get(PHOTOGRAPHS)
    weights = [name for name, arm in arms.items() if arm.start == "weights" and arm.train == "photographs"]
    for name, arm in arms.items():
        kind = _kind(arm)
        control = names.get({SAMPLES: SHUFFLED, PRETRAINED: PRETRAINED_SHUFFLED}.get(kind, kind))
        if control is not None and control != name:
            yield name, control, _control_question(arm)
        if photographs is not None and kind not in (PHOTOGRAPHS, SHUFFLED, PRETRAINED_SHUFFLED):
            yield name, photographs, _question(arm)
        if kind == PRETRAINED:
            for other in weights:
                yield name, other, f"Is pre-training on samples better than the weights {other}?"


def _control_question(arm: ArmSummary) -> str:
    if arm.train == "samples":
        return "Do the labels of the samples carry information?"
    return "Does pre-training use the labels of the samples, or only their look?"


def _question(arm: ArmSummary) -> str:
    if arm.added_samples is not None:
        return f"Do {arm.added_samples:g} samples for each photograph help, added to the photographs?"
    if arm.start == "weights":
        return f"Do the weights {arm.name} help?"
    if arm.start == "samples":
        return "Does pre-training on samples help?"
    return "Can samples replace photographs?"
