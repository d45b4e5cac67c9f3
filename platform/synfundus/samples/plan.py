"""The plan: conditions, seeds and settings of all samples, fixed before the first one is sampled.

The condition of sample i is a pure function of (plan, i); its seed of (plan seed, i, attempt). Conditions are public in
a release, so they come from combinations that enough patients share (`combinations.py`), or from the study's quotas.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, JsonValue, field_serializer

from synfundus.diagnosis.config import OperatingPointConfig, Rule
from synfundus.digests import sha256_hex
from synfundus.fundus.batches import LabelBatch
from synfundus.labels import LABEL_BY_NAME, LABEL_NAMES, apply_rules
from synfundus.metadata import Metadata
from synfundus.samples.allocation import allocate, balance
from synfundus.samples.combinations import Combination, merge_rare
from synfundus.samples.config import SamplesConfig
from synfundus.samples.label_rows import PatientLabels, Values, draw_label_rows
from synfundus.samples.manifest import SamplesManifest
from synfundus.seeds import random_numbers
from synfundus.storage import Storage, read_record

PLAN: Final = "plan.json"


class PlannedCombination(Metadata):
    """A combination of labels and its number of samples."""

    labels: dict[str, int]
    """Requested values; labels that are not listed are unknown."""
    count: int
    """Number of samples."""

    @property
    def condition(self) -> dict[str, int | None]:
        """All 16 labels, in order."""
        return {name: self.labels.get(name) for name in LABEL_NAMES}


class Plan(Metadata):
    """Content of `plan.json`: everything that decides which samples will exist."""

    version: Literal[1] = 1
    """Schema of this record."""
    kind: Literal["plan"] = "plan"
    config: SamplesConfig
    """Settings. In JSON they lack `resources.pool_size` and `resources.num_gpus`, which change no sample."""
    generator_digest: str
    annotator_digest: str
    operating_points: dict[str, OperatingPointConfig] = Field(default_factory=dict)
    """Rule by label for the annotations, with the requested shares as the prevalence of matched prevalence; a label
    without one has the default."""
    data_digest: str
    """Digest of the dataset that gave the conditions and whose training images must not be copied."""
    notes: tuple[str, ...]
    """Sentences that say which combinations were merged or omitted."""
    combinations: tuple[PlannedCombination, ...]

    @field_serializer("config")
    def _leave_out_pool(self, config: SamplesConfig) -> dict[str, JsonValue]:
        return config.model_dump(mode="json", exclude={"resources": {"pool_size", "num_gpus"}})

    @property
    def num_shards(self) -> int:
        """Shards of attempt 0."""
        return math.ceil(self.config.num_samples / self.config.shard_rows)

    @property
    def digest(self) -> str:
        """SHA-256 of `plan.json`."""
        return sha256_hex(self.to_json())

    def combination_indices(self) -> NDArray[np.int64]:
        """Return the index of each sample's combination, (num_samples,): all counts, shuffled by the seed."""
        rng = random_numbers("conditions", self.config.seed)
        return rng.permutation(np.repeat(np.arange(len(self.combinations)), [c.count for c in self.combinations]))

    def conditions(self, sample_ids: Sequence[int]) -> list[dict[str, int | None]]:
        """Return the conditions of these samples: all 16 labels each."""
        return [self.combinations[index].condition for index in self.combination_indices()[list(sample_ids)]]

    def label_counts(self) -> dict[str, dict[str, int]]:
        """Return for each label the number of samples requested with each value, or left `unknown`."""
        counts: dict[str, dict[str, int]] = {}
        for name in LABEL_NAMES:
            tally: Counter[str] = Counter()
            for combination in self.combinations:
                tally[str(combination.labels.get(name, "unknown"))] += combination.count
            counts[name] = dict(sorted(tally.items()))
        return counts


def read_plan(storage: Storage, folder: str, manifest: SamplesManifest) -> Plan:
    """Return the plan of complete samples, its digest verified.

    Raises:
        StorageError: the file is missing, or differs from the manifest.
    """
    return read_record(storage, folder, PLAN, manifest, Plan)


def make_plan(
    config: SamplesConfig,
    training: Iterable[LabelBatch],
    *,
    generator_digest: str,
    annotator_digest: str,
    data_digest: str,
    operating_points: Mapping[str, OperatingPointConfig] | None = None,
    usual_rule: Rule = "matched-prevalence",
    num_without_patient: int = 0,
) -> Plan:
    """Lay out the samples.

    Args:
        training: labels of the training split of the filled dataset; not read if the conditions are quotas.
        operating_points: rule by label for the annotations; None for the default of every label.
        usual_rule: rule of a label without one.
        num_without_patient: images of unknown patients, each of which counts as a patient of its own.

    Raises:
        WrongInputError: the training split has fewer than `min_patients` patients.
    """
    if config.conditions == "quotas":
        combinations, notes = _from_quotas(config)
    else:
        rows = list(draw_label_rows(training, config.seed))
        combinations, notes = _from_photographs(config, rows, num_without_patient)
    return Plan(
        config=config,
        generator_digest=generator_digest,
        annotator_digest=annotator_digest,
        operating_points=_with_requested_shares(operating_points or {}, usual_rule, combinations),
        data_digest=data_digest,
        notes=tuple(notes),
        combinations=tuple(combinations),
    )


def _with_requested_shares(
    points: Mapping[str, OperatingPointConfig], usual_rule: Rule, combinations: Sequence[PlannedCombination]
) -> dict[str, OperatingPointConfig]:
    """Return the rules, with the shares that the plan requests as the prevalence of matched prevalence.

    A stated prevalence stays. So does the default for a label that the plan requests with fewer than two values.
    """
    completed = dict(points)
    for name in LABEL_NAMES:
        point = points.get(name, OperatingPointConfig(rule=usual_rule))
        shares = _requested_shares(name, combinations)
        if point.rule == "matched-prevalence" and point.prevalence is None and max(shares, default=1.0) < 1.0:
            completed[name] = point.model_copy(update={"prevalence": shares if name == "dr_grade" else shares[1]})
    return completed


def _requested_shares(name: str, combinations: Sequence[PlannedCombination]) -> tuple[float, ...]:
    """Return the share of each value among the samples that request the label; empty if none does."""
    counts = [0] * (LABEL_BY_NAME[name].max_value + 1)
    for combination in combinations:
        if name in combination.labels:
            counts[combination.labels[name]] += combination.count
    return tuple(count / sum(counts) for count in counts if any(counts))


def _from_quotas(config: SamplesConfig) -> tuple[list[PlannedCombination], list[str]]:
    """Return the combinations of the study's quotas, and notes."""
    combinations = [_planned(tuple(apply_rules(quota.labels).values()), quota.count) for quota in config.quotas]
    return combinations, ["conditions are the quotas of the study; they reveal nothing about a patient"]


def _from_photographs(
    config: SamplesConfig, rows: Sequence[PatientLabels], num_without_patient: int
) -> tuple[list[PlannedCombination], list[str]]:
    """Return the combinations of the training split, merged, balanced if the study says so, and notes."""
    merged = merge_rare(rows, config.min_patients, config.seed)
    notes = [_merging_note(rows, merged, config.min_patients)]
    if num_without_patient:
        notes.append(
            f"{num_without_patient} training images have no patient id, so each counts as a patient; if some are of one"
            f" person, fewer than {config.min_patients} people may share a combination"
        )
    weighted = balance(merged) if config.conditions == "balanced" else merged
    counts = allocate([c.weight for c in weighted], config.num_samples)
    if num_empty := counts.count(0):
        notes.append(
            f"{num_empty} of {len(weighted)} combinations are too rare to get one of {config.num_samples} samples"
        )
    return [_planned(c.values, count) for c, count in zip(weighted, counts, strict=True) if count], notes


def _planned(values: Values, count: int) -> PlannedCombination:
    known = {name: value for name, value in zip(LABEL_NAMES, values, strict=True) if value is not None}
    return PlannedCombination(labels=known, count=count)


def _merging_note(rows: Sequence[PatientLabels], merged: Sequence[Combination], min_patients: int) -> str:
    published = {c.values for c in merged}
    num_unchanged = sum(row.values in published for row in rows)
    return (
        f"{len(rows)} training images have {len({row.values for row in rows})} combinations of labels; combinations of"
        f" fewer than {min_patients} patients were merged by leaving labels unknown, which leaves {len(published)}"
        f" combinations; {num_unchanged} images keep all their labels"
    )
