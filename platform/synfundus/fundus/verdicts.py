"""Decide which originals are accepted, once all of them were read."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from synfundus.errors import WrongInputError
from synfundus.fundus.copies import Entry, choose
from synfundus.fundus.rejections import ImageRejectionReason
from synfundus.fundus.sources import SourceRecord
from synfundus.fundus.staging import Staged
from synfundus.labels import LABEL_NAMES, LabelRow


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
    same_eye: list[tuple[int, int]] = field(default_factory=list)
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

    def reject_near_duplicates(self, same: Iterable[tuple[int, int]]) -> None:
        """Reject all but one of each photograph; `same` holds the pairs that the comparison found to be one."""
        self._reject_copies(same, ImageRejectionReason.NEAR_DUPLICATE)

    @property
    def pairs_of_copies(self) -> list[tuple[int, int]]:
        """(accepted image, rejected copy) of each rejected copy."""
        return [(self.accepted_twin(r), r.index) for r in self.rejections.values() if r.twin is not None]

    @property
    def pairs_of_one_eye(self) -> list[tuple[int, int]]:
        """Pairs that show one eye: rejected copies, and different photographs.

        A copy of an image labelled `is_fundus` 0 shows no eye: it may be a placeholder that many patients share.
        """
        pairs = [*self.pairs_of_copies, *self.same_eye]
        return [pair for pair in pairs if all(self.records[i].labels.get("is_fundus") != 0 for i in pair)]

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

    def _exact_pairs(self) -> list[tuple[int, int]]:
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

    def _reject_copies(self, pairs: Iterable[tuple[int, int]], reason: ImageRejectionReason) -> None:
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
