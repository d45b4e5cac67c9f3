"""The label columns: names, meaning, range, rules, missing values, encoding.

There are sixteen columns, named as in the public SynFundus-1M annotation table (arXiv 2312.00377). All are nullable,
and null means unknown, never 0. `dr_grade` is ordinal and is encoded everywhere by its four cumulative probabilities
P(grade >= 1..4); the other fifteen are binary. So both models use the same `NUM_VALUES` = 19 numbers: the annotator
outputs them as logits, and the generator is conditioned on them.

The condition vector of the generator has `CONDITION_DIM` = 36 float32 numbers:

    [0:19]   value of each head: 1, or -1 for "no"; 0 if the label is unknown
    [19:35]  1 if the label is known, 0 if it is unknown (one per label, in the order of `LABELS`)
    [35]     1 for the null condition of classifier-free guidance, whose other entries are 0

So "nothing is known" (all 36 zero) and the null condition are different states.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from synfundus.errors import WrongInputError


@dataclass(frozen=True)
class Label:
    """One label column."""

    name: str
    """Column name, as in the SynFundus-1M annotation table."""
    title: str
    """Title in the report."""
    kind: str
    """`disease`, `readability` or `side`."""
    max_value: int = 1
    """Largest value; the smallest is 0."""

    @property
    def is_flag(self) -> bool:
        """True if 1 means yes and 0 means no. A grade and a side have other meanings."""
        return self.max_value == 1 and self.kind != "side"


LABELS: tuple[Label, ...] = (
    Label("dr_grade", "Diabetic retinopathy grade", "disease", max_value=4),
    Label("eye_side", "Eye side (0 right, 1 left)", "side"),
    Label("is_amd", "Age-related macular degeneration", "disease"),
    Label("is_aon", "Anomalies of the optic nerve", "disease"),
    Label("is_crp", "Choroidal retinal pathology", "disease"),
    Label("is_dm", "Degenerative myopia", "disease"),
    Label("is_dme", "Diabetic macular edema", "disease"),
    Label("is_em", "Epimacular membrane", "disease"),
    Label("is_gc", "Glaucoma", "disease"),
    Label("is_htr", "Hypertensive retinopathy", "disease"),
    Label("is_pm", "Pathological myopia", "disease"),
    Label("is_rvo", "Retinal vein occlusion", "disease"),
    Label("is_fundus", "Is a fundus photograph", "readability"),
    Label("is_macular_readable", "Macula readable", "readability"),
    Label("is_optic_disc_readable", "Optic disc readable", "readability"),
    Label("is_retinal_region_readable", "Retinal region readable", "readability"),
)
LABEL_NAMES: tuple[str, ...] = tuple(label.name for label in LABELS)
LABEL_BY_NAME: Mapping[str, Label] = {label.name: label for label in LABELS}
DISEASES: tuple[str, ...] = tuple(label.name for label in LABELS if label.kind == "disease")
READABILITY: tuple[str, ...] = tuple(label.name for label in LABELS if label.kind == "readability")

NUM_LABELS = len(LABELS)
NUM_DR_GRADES = 5
NUM_DR_HEADS = NUM_DR_GRADES - 1
NUM_VALUES = NUM_DR_HEADS + NUM_LABELS - 1
HEAD_NAMES: tuple[str, ...] = tuple(f"dr_grade>={k}" for k in range(1, NUM_DR_GRADES)) + LABEL_NAMES[1:]
"""Name of each of the 19 numbers, in order."""
HEADS: Mapping[str, slice] = {
    name: slice(0, NUM_DR_HEADS) if i == 0 else slice(NUM_DR_HEADS + i - 1, NUM_DR_HEADS + i)
    for i, name in enumerate(LABEL_NAMES)
}
"""Indices of a label among the 19 numbers."""
CONDITION_DIM = NUM_VALUES + NUM_LABELS + 1
NULL_INDEX = CONDITION_DIM - 1

LabelRow = Mapping[str, int | None]
FloatArray = NDArray[np.float32]
SampleLabels = Literal["requested", "predicted", "agreeing"]
"""Labels of a sample that another training takes: those requested from the generator, those that the annotator
predicted, or the values on which both agree."""

UNKNOWN_WORDS: tuple[str, ...] = (
    *("", "nan", "-nan", "na", "<na>", "n/a", "#n/a", "#na", "#n/a n/a", "nat", "null", "none"),
    *("unknown", "missing", "-", "--", "?", "."),
)
"""Cells of a table that mean unknown, in small letters: the words of pandas, spreadsheets and databases for an empty
cell, then those that people and statistics programs write. One list for labels, patient ids and mapped columns."""
TRUTH_VALUES: Mapping[str, int] = {"false": 0, "true": 1}
"""Booleans as pandas, R and spreadsheets write them, in small letters."""


def is_unknown(text: str) -> bool:
    """Return whether a cell of a table means unknown: one of `UNKNOWN_WORDS`, in any case and between any spaces."""
    return text.strip().lower() in UNKNOWN_WORDS


def parse_value(name: str, text: object) -> int | None:
    """Parse a table cell as the value of label `name`; None, NaN and `UNKNOWN_WORDS` mean unknown.

    True and False are 1 and 0 of a disease flag or a readability label. They are neither a grade nor a side.

    Raises:
        WrongInputError: the cell is not a whole number in the label's range.
    """
    if text is None or (isinstance(text, float) and math.isnan(text)):
        return None
    word = str(text).strip()
    if is_unknown(word):
        return None
    label = LABEL_BY_NAME[name]
    if label.is_flag and word.lower() in TRUTH_VALUES:
        return TRUTH_VALUES[word.lower()]
    try:
        number = math.nan if "_" in word else float(word)  # Python reads 1_0 as 10
    except ValueError:
        number = math.nan
    if not (number.is_integer() and 0 <= number <= label.max_value):
        raise WrongInputError(
            f"{name} is {word!r}; expected a whole number from 0 to {label.max_value}, or an empty cell for unknown"
        )
    return int(number)


def apply_rules(row: LabelRow) -> dict[str, int | None]:
    """Return `row` with all 16 labels, after the rules between labels.

    An image that is not a fundus has no disease and no side (null), and its regions are not readable (0).
    """
    clean = {name: row.get(name) for name in LABEL_NAMES}
    if clean["is_fundus"] == 0:
        for name in (*DISEASES, "eye_side"):
            clean[name] = None
        for name in READABILITY:
            clean[name] = 0
    return clean


def choose_labels(requested: LabelRow, predicted: LabelRow, choice: SampleLabels) -> dict[str, int | None]:
    """Return the 16 labels that a training takes from a sample, after the rules between labels (`apply_rules`).

    With `agreeing`, a label is known only if it was requested, was predicted, and has one value in both.
    """
    if choice == "agreeing":
        return apply_rules({name: value for name, value in requested.items() if predicted.get(name) == value})
    return apply_rules(requested if choice == "requested" else predicted)


def encode_values(rows: Sequence[LabelRow]) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Encode hard labels as head probabilities.

    Returns:
        `p_BV` (len(rows), 19), 0 or 1, and 0 if unknown; `known_BK` (len(rows), 16).
    """
    p_BV = np.zeros((len(rows), NUM_VALUES), np.float32)
    known_BK = np.zeros((len(rows), NUM_LABELS), np.bool_)
    for b, row in enumerate(rows):
        for k, name in enumerate(LABEL_NAMES):
            value = row.get(name)
            if value is None:
                continue
            known_BK[b, k] = True
            p_BV[b, HEADS[name]] = np.arange(1, NUM_DR_GRADES) <= value if k == 0 else value
    return p_BV, known_BK


def head_values(label_BK: NDArray[np.int8]) -> FloatArray:
    """Return the values of the heads (B, 19), 0 or 1, of labels (B, 16); -1 means unknown, whose heads are 0."""
    grade_B4 = label_BK[:, :1] >= np.arange(1, NUM_DR_GRADES)
    return np.concatenate([grade_B4, label_BK[:, 1:] == 1], axis=1).astype(np.float32)


def draw_labels(
    p_BV: FloatArray, known_BK: NDArray[np.bool_], expert_BK: NDArray[np.bool_], uniform_BK: NDArray[np.float64]
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Draw a value for each known label from its probability, then apply the rules between labels (`apply_rules`).

    A grade takes one uniform number u: grade >= k if P(grade < k) <= u, so its four heads agree. An expert's label is
    never changed, because its heads are 0 or 1. An image with an expert's disease or side, or with a region that an
    expert could read, is drawn as a fundus.

    Args:
        p_BV: head probabilities (B, 19) in [0, 1]. P(grade >= 1..4) is first made non-increasing.
        known_BK: (B, 16) true for a known label; only those are drawn.
        expert_BK: (B, 16) true for a label from an expert.
        uniform_BK: independent uniform numbers (B, 16) in [0, 1), one per label.

    Returns:
        Values of the heads (B, 19), 0 or 1, and 0 if unknown; the known labels (B, 16).
    """
    cumulative_BV = p_BV.astype(np.float64)
    grades = HEADS["dr_grade"]
    cumulative_BV[:, grades] = np.minimum.accumulate(cumulative_BV[:, grades], axis=1)
    uniform_BV = np.concatenate([np.repeat(uniform_BK[:, :1], NUM_DR_HEADS, axis=1), uniform_BK[:, 1:]], axis=1)
    value_BV = ((1.0 - cumulative_BV <= uniform_BV) & expand_known(known_BK)).astype(np.float32)
    return _apply_rules_to_heads(value_BV, known_BK, expert_BK)


def _apply_rules_to_heads(
    value_BV: FloatArray, known_BK: NDArray[np.bool_], expert_BK: NDArray[np.bool_]
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return drawn values and known labels after `apply_rules`, with each expert's label as it is."""
    value_BV, known_BK = value_BV.copy(), known_BK.copy()
    fundus, fundus_head = LABEL_NAMES.index("is_fundus"), HEADS["is_fundus"].start
    ruled_out = [LABEL_NAMES.index(name) for name in (*DISEASES, "eye_side")]
    readability = [LABEL_NAMES.index(name) for name in READABILITY]
    read_B4 = value_BV[:, [HEADS[name].start for name in READABILITY]] == 1.0
    implied_B = expert_BK[:, ruled_out].any(axis=1) | (expert_BK[:, readability] & read_B4).any(axis=1)
    value_BV[implied_B & known_BK[:, fundus], fundus_head] = 1.0
    no_fundus_B = known_BK[:, fundus] & (value_BV[:, fundus_head] == 0.0)
    value_BV[no_fundus_B] = 0.0
    known_BK[np.ix_(no_fundus_B, ruled_out)] = False
    known_BK[np.ix_(no_fundus_B, readability)] = True
    return value_BV, known_BK


def decode_values(value_BV: FloatArray, known_BK: NDArray[np.bool_]) -> list[dict[str, int | None]]:
    """Return rows of hard labels, the inverse of `encode_values`."""
    return [
        {name: int(value_V[HEADS[name]].sum()) if known_K[k] else None for k, name in enumerate(LABEL_NAMES)}
        for value_V, known_K in zip(value_BV, known_BK, strict=True)
    ]


def expand_known(known_BK: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Expand a mask of labels (B, 16) to a mask of heads (B, 19): the four DR heads share one label."""
    return np.concatenate([np.repeat(known_BK[:, :1], NUM_DR_HEADS, axis=1), known_BK[:, 1:]], axis=1)


def condition_vector(value_BV: FloatArray, known_BK: NDArray[np.bool_]) -> FloatArray:
    """Return condition vectors (B, 36) of head values (B, 19), 0 or 1, and masks of known labels (B, 16)."""
    signed_BV = np.where(expand_known(known_BK), 2.0 * value_BV - 1.0, 0.0)
    null_B1 = np.zeros((len(value_BV), 1))
    return np.concatenate([signed_BV, known_BK, null_B1], axis=1).astype(np.float32)


def encode_conditions(rows: Sequence[LabelRow]) -> FloatArray:
    """Return condition vectors (len(rows), 36) of hard labels; null means unknown."""
    return condition_vector(*encode_values(rows))


def null_condition() -> FloatArray:
    """Return the null condition of classifier-free guidance, (36,)."""
    vector = np.zeros(CONDITION_DIM, np.float32)
    vector[NULL_INDEX] = 1.0
    return vector


def grade_distribution(p_B4: FloatArray) -> FloatArray:
    """Return P(grade = 0..4), (B, 5), of cumulative P(grade >= 1..4), (B, 4), which is first made non-increasing."""
    cumulative = np.minimum.accumulate(np.clip(p_B4, 0.0, 1.0), axis=1)
    edges = np.pad(cumulative, ((0, 0), (1, 1)), constant_values=((0, 0), (1, 0)))
    return np.asarray(edges[:, :-1] - edges[:, 1:], dtype=np.float32)


def label_probabilities(p_V: FloatArray) -> dict[str, float | list[float] | None]:
    """Return each label's probability from those of the heads, (19,): null if one of its heads is NaN.

    It is a number, or the distribution over the five grades for `dr_grade`.
    """
    probabilities: dict[str, float | list[float] | None] = {}
    for name in LABEL_NAMES:
        p = p_V[HEADS[name]]
        if np.isnan(p).any():
            probabilities[name] = None
        else:
            probabilities[name] = grade_distribution(p[None])[0].tolist() if name == "dr_grade" else float(p[0])
    return probabilities


def require_known(names: Iterable[str], where: str) -> None:
    """Refuse a name that is not one of the 16 labels.

    Raises:
        WrongInputError: an unknown name; the message starts with `where`.
    """
    for name in names:
        if name not in LABEL_BY_NAME:
            raise WrongInputError(f"{where}: {name!r} is not a label; the labels are {', '.join(LABEL_NAMES)}")


def require_in_range(values: Iterable[tuple[str, int | None]], where: str) -> None:
    """Refuse a value that its label, one of the 16, does not have.

    Raises:
        WrongInputError: a value out of range; the message starts with `where`.
    """
    for name, value in values:
        top = LABEL_BY_NAME[name].max_value
        if value is not None and not 0 <= value <= top:
            raise WrongInputError(f"{where}: {name} is {value}; its range is 0 to {top}")


def require_requestable(labels: LabelRow, where: str) -> None:
    """Refuse labels that cannot be requested of the generator.

    Raises:
        WrongInputError: an unknown label, a value out of range, or a disease or side on an image with `is_fundus: 0`.
    """
    require_known(labels, where)
    require_in_range(labels.items(), where)
    allowed = apply_rules(labels)
    ruled_out = [name for name, value in labels.items() if value is not None and allowed[name] != value]
    if ruled_out:
        raise WrongInputError(f"{', '.join(ruled_out)} cannot be requested with is_fundus: 0; leave it out")
