"""The contact sheet of a preparation: some accepted and some rejected images for visual inspection. Private."""

from collections.abc import Sequence

from synfundus.fundus.chunks import Chunks
from synfundus.fundus.rejections import ImageRejectionReason
from synfundus.fundus.staging import FinalRow
from synfundus.fundus.tile_grid import Tile, render_grid
from synfundus.fundus.verdicts import Verdicts
from synfundus.labels import LABELS, LabelRow

NUM_ACCEPTED, NUM_REJECTED = 40, 32
"""Largest number of images of each kind on the sheet."""


def contact_sheet(folder: str, chunks: Chunks, verdicts: Verdicts, rows: Sequence[FinalRow | None]) -> bytes:
    """Return the contact sheet of `folder` as PNG.

    Args:
        rows: row of each accepted image, None for a rejected one.
    """
    all_accepted, all_rejected = verdicts.accepted, sorted(verdicts.rejections)
    accepted = pick_evenly(all_accepted, NUM_ACCEPTED)
    rejected = pick_by_reason([(i, verdicts.rejections[i].reason) for i in all_rejected], NUM_REJECTED)
    pngs = chunks.pngs([*accepted, *rejected])
    tiles = [_accepted_tile(verdicts, i, rows[i], pngs[i]) for i in accepted]
    rejected_tiles = [_rejected_tile(verdicts, i, pngs[i]) for i in rejected]
    counts = ", ".join(f"{n} {reason.words}" for reason, n in verdicts.counts().items() if n)
    shown = f" ({counts}), {len(rejected)} shown" if all_rejected else ""
    return render_grid(
        f"{folder}: private, real photographs. Research use only, not a medical device.",
        [
            (f"Accepted: {len(all_accepted)} of {len(verdicts.records)}, {len(accepted)} shown", tiles),
            (f"Rejected: {len(all_rejected)}{shown}", rejected_tiles),
        ],
    )


def _accepted_tile(verdicts: Verdicts, index: int, row: FinalRow | None, png: bytes | None) -> Tile:
    assert row is not None
    return Tile(png, (verdicts.records[index].name, row.split, short_labels(row.labels)))


def _rejected_tile(verdicts: Verdicts, index: int, png: bytes | None) -> Tile:
    rejection = verdicts.rejections[index]
    return Tile(png, (verdicts.records[index].name, rejection.reason.words, rejection.detail), rejected=True)


def short_labels(labels: LabelRow) -> str:
    """Return the known labels in few letters: `DR 2, left, dme, not gc`."""
    if labels.get("is_fundus") == 0:
        return "not a fundus"
    words = []
    for label in LABELS:
        value = labels.get(label.name)
        if value is None or (label.kind == "readability" and value == 1):
            continue
        if label.name == "dr_grade":
            words.append(f"DR {value}")
        elif label.kind == "side":
            words.append("left" if value else "right")
        else:
            short = label.name.removeprefix("is_").removesuffix("_readable").replace("_", " ")
            words.append(f"{short} unreadable" if label.kind == "readability" else short if value else f"not {short}")
    return ", ".join(words) or ("a fundus" if labels.get("is_fundus") else "no labels")


def pick_evenly(items: Sequence[int], most: int) -> list[int]:
    """Return at most `most` of the items, evenly spread; equal items give equal picks."""
    if len(items) <= most:
        return list(items)
    return [items[i * len(items) // most] for i in range(most)]


def pick_by_reason(items: Sequence[tuple[int, ImageRejectionReason]], most: int) -> list[int]:
    """Return at most `most` rejected images, grouped by reason.

    Takes one image of each reason in turn, so that a rare reason is on the sheet, too.
    """
    counts: dict[ImageRejectionReason, int] = dict.fromkeys(ImageRejectionReason, 0)
    order = list(ImageRejectionReason)
    turns = []
    for index, reason in items:
        turns.append((counts[reason], order.index(reason), index))
        counts[reason] += 1
    return [index for _, _, index in sorted(sorted(turns)[:most], key=lambda turn: (turn[1], turn[2]))]
