"""Decide which originals are accepted, once all of them were read."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from synfundus.errors import WrongInputError
from synfundus.fundus.copies import Entry, choose
from synfundus.fundus.patient_groups import connected_groups
from synfundus.fundus.rejections import ImageRejectionReason
from synfundus.fundus.sources import SourceRecord
from synfundus.fundus.staging import Staged
from synfundus.labels import LABEL_NAMES, LabelRow

Pair = tuple[int, int]
"""Positions of two images in the sorted listing."""
MAX_IDS_OF_ONE_EYE: Final = 2
"""Largest number of patient ids that one image joins. An image that more ids share is a placeholder, such as the blank
page of a device, far more often than an eye: it would join all its patients into one, and leave one split."""


@dataclass(frozen=True, slots=True)
class SharedImage:
    """One image, or images of one eye, that more than `MAX_IDS_OF_ONE_EYE` patient ids have. It joins no patients."""

    index: int
    """Position of its first accepted image in the sorted listing."""
    num_patients: int
    """Number of patient ids that have it."""


@dataclass(frozen=True, slots=True)
class ImageRejection:
    """One rejected image."""

    index: int
    """Position in the sorted listing."""
    reason: ImageRejectionReason
    detail: str
    """Explanation in one line."""
    twin: int | None = None
    """Position of the image that this one is a copy of."""


@dataclass
class Verdicts:
    """Accepted and rejected originals. An index is a position in the sorted listing."""

    records: Sequence[SourceRecord]
    staged: Sequence[Staged]
    """Outcome of pass 1 for each record."""
    rejections: dict[int, ImageRejection] = field(default_factory=dict)
    same_eye: list[Pair] = field(default_factory=list)
    """Different photographs that show one eye, among the proposed pairs."""

    def __post_init__(self) -> None:
        for index, found in enumerate(self.staged):
            if found.reason is not None:
                self.rejections[index] = ImageRejection(index, found.reason, found.detail)
        self._reject_copies(self._exact_pairs(), ImageRejectionReason.EXACT_DUPLICATE)

    @property
    def accepted(self) -> list[int]:
        """Indices of the accepted images."""
        return [index for index in range(len(self.records)) if index not in self.rejections]

    def reject_near_duplicates(self, same: Iterable[Pair]) -> None:
        """Reject all but one of each photograph; `same` holds the pairs that the comparison found to be one."""
        self._reject_copies(same, ImageRejectionReason.NEAR_DUPLICATE)

    @property
    def pairs_of_copies(self) -> list[Pair]:
        """(accepted image, rejected copy) of each rejected copy."""
        return [(self.accepted_twin(r), r.index) for r in self.rejections.values() if r.twin is not None]

    @property
    def pairs_of_one_eye(self) -> list[Pair]:
        """Pairs that show one eye, so that their patients are one: rejected copies, and different photographs.

        Two kinds of pairs show no eye, or none of one person: those with an image labelled `is_fundus` 0, and those of
        `shared_images`.
        """
        groups = self._groups_of_alike()
        return [pair for group in groups if len(self._ids_of(group)) <= MAX_IDS_OF_ONE_EYE for pair in group]

    @property
    def shared_images(self) -> list[SharedImage]:
        """Images that more than `MAX_IDS_OF_ONE_EYE` patient ids share, in the order of the listing."""
        shared = []
        for group in self._groups_of_alike():
            if (num_ids := len(self._ids_of(group))) > MAX_IDS_OF_ONE_EYE:
                first = min(index for pair in group for index in pair if index not in self.rejections)
                shared.append(SharedImage(first, num_ids))
        return sorted(shared, key=lambda image: image.index)

    def _groups_of_alike(self) -> list[list[Pair]]:
        """Return the pairs of copies or of one eye without those that are no fundus; connected pairs are one group."""
        pairs = [*self.pairs_of_copies, *self.same_eye]
        pairs = [pair for pair in pairs if all(self.records[i].labels.get("is_fundus") != 0 for i in pair)]
        group_of = connected_groups(len(self.records), pairs)
        groups: dict[int, list[Pair]] = defaultdict(list)
        for pair in pairs:
            groups[int(group_of[pair[0]])].append(pair)
        return list(groups.values())

    def _ids_of(self, pairs: Iterable[Pair]) -> set[str]:
        ids = (self.records[index].patient_id for pair in pairs for index in pair)
        return {patient_id for patient_id in ids if patient_id is not None}

    @property
    def num_label_conflicts(self) -> int:
        """Number of rejected copies whose labels contradict those of the accepted image."""
        pairs = [(self.records[twin].labels, self.records[copy].labels) for twin, copy in self.pairs_of_copies]
        return sum(bool(label_conflicts(accepted, rejected)) for accepted, rejected in pairs)

    def accepted_twin(self, rejection: ImageRejection) -> int:
        """Return the accepted image behind a copy: the twin of an exact copy may itself be a near copy of another."""
        last = rejection.twin
        while last in self.rejections:
            last = self.rejections[last].twin
        assert last is not None
        return last

    def counts(self) -> dict[ImageRejectionReason, int]:
        """Return the number of images by reason; every reason is a key."""
        found = Counter(rejection.reason for rejection in self.rejections.values())
        return {reason: found[reason] for reason in ImageRejectionReason}

    def require_any(self) -> None:
        """Refuse a preparation without an accepted image.

        Raises:
            WrongInputError: every image is rejected; names the reasons and the first image.
        """
        if len(self.rejections) < len(self.records):
            return
        counts = ", ".join(f"{n} {reason.words}" for reason, n in self.counts().items() if n)
        first = self.rejections[0]
        raise WrongInputError(
            f"data.sources: all {len(self.records)} images are rejected ({counts});"
            f" first: {self.records[0].name}: {first.detail}; check the sources and data.prepare"
        )

    def _exact_pairs(self) -> list[Pair]:
        """Return pairs of equal source bytes or equal prepared pixels: each image with the best of its group."""
        pairs = []
        for key in ("image_id", "pixels"):
            best: dict[str, int] = {}
            for index in sorted(self.accepted, key=lambda i: self._entry(i).rank):
                first = best.setdefault(getattr(self.staged[index], key), index)
                if first != index:
                    pairs.append((first, index))
        return pairs

    def _entry(self, index: int) -> Entry:
        known = sum(value is not None for value in self.records[index].labels.values())
        return Entry(self.records[index].name, self.staged[index].field_px, known)

    def _reject_copies(self, pairs: Iterable[Pair], reason: ImageRejectionReason) -> None:
        pairs = list(pairs)
        entries = {index: self._entry(index) for pair in pairs for index in pair}
        for index, twin in choose(entries, pairs).items():
            self.rejections[index] = ImageRejection(index, reason, f"copy of {self.records[twin].name}", twin)


def label_conflicts(accepted: LabelRow, rejected: LabelRow) -> dict[str, tuple[int, int]]:
    """Return the labels in which two copies of one photograph contradict: name -> (accepted value, rejected value)."""
    conflicts = {}
    for name in LABEL_NAMES:
        one, other = accepted.get(name), rejected.get(name)
        if one is not None and other is not None and one != other:
            conflicts[name] = (one, other)
    return conflicts
