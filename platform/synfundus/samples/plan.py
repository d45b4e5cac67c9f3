"""Which samples will exist: N conditions, seeds and settings, fixed before the first one is drawn.

What a plan asks for is published (the conditions of a release), so it must not single out a patient: every combination
of labels is shared by at least `min_patients` patients of the training part, or comes from the user's own quotas. Rarer
combinations are merged by leaving labels unknown, from the last in `_split_order` to the first.

The condition of sample i is a pure function of (plan, i); its seed of (plan seed, i, attempt).
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from synfundus.config import Config
from synfundus.diffusion.config import SolverConfig
from synfundus.digests import canonical_json, sha256_hex
from synfundus.errors import WrongInputError
from synfundus.fundus.dataset import ImageBatch
from synfundus.labels import (
    HEADS,
    LABEL_BY_NAME,
    LABEL_NAMES,
    LabelRow,
    apply_rules,
    grade_distribution,
    require_askable,
)
from synfundus.seeds import random_numbers

Values = tuple[int | None, ...]
"""One value per label, in the order of `LABEL_NAMES`; None is unknown."""


class Quota(Config):
    """So many samples of one combination."""

    labels: dict[str, int]
    """Label values asked for; the others are left unknown."""
    count: int = Field(gt=0)
    """Number of samples."""

    @field_validator("labels")
    @classmethod
    def _in_range(cls, labels: dict[str, int]) -> dict[str, int]:
        try:
            require_askable(labels, "quota")
        except WrongInputError as error:
            raise ValueError(str(error)) from None
        return labels


class SamplesConfig(Config):
    """What is drawn and how. Everything here but `pool_size` and `use_gpu` is part of the plan's digest."""

    num_samples: int = Field(gt=0)
    seed: int = Field(default=0, ge=0, lt=2**53)
    conditions: Literal["real", "balanced", "quotas"] = "real"
    """`real`: the joint distribution of the training part; `balanced`: rare values raised, as `balance` says; `quotas`:
    only what `quotas` lists."""
    quotas: tuple[Quota, ...] = ()
    min_patients: int = Field(default=10, ge=2)
    """A combination of fewer patients is merged into a less specific one."""
    solver: SolverConfig
    micro_batch: int = Field(default=16, gt=0)
    """Samples denoised in lock step; fixed, because a batch shape decides the last bits."""
    shard_rows: int = Field(default=256, gt=0)
    """Samples a shard, whole micro-batches."""
    precision: Literal["fp32", "bf16"] = "bf16"
    num_threads: int = Field(default=1, gt=0)
    """Threads an actor."""
    image_format: Literal["png", "webp", "jpeg"] = "png"
    max_attempts: int = Field(default=4, gt=0)
    """A rejected sample is drawn again, with another seed, up to this many times in all."""
    held_out_quantile: float = Field(default=0.01, gt=0, lt=0.5)
    """A sample is rejected when it lies nearer to a training image than this share of held-out photographs do."""
    pool_size: int = Field(default=2, gt=0)
    """Sampling actors. Like `use_gpu` not part of the plan: neither changes what a sample is."""
    use_gpu: bool = False
    """One GPU an actor."""

    @model_validator(mode="after")
    def _consistent(self) -> "SamplesConfig":
        if self.shard_rows % self.micro_batch:
            raise ValueError(f"shard_rows {self.shard_rows} is not a multiple of micro_batch {self.micro_batch}")
        asked = sum(quota.count for quota in self.quotas)
        if self.conditions == "quotas" and asked != self.num_samples:
            raise ValueError(f"the quotas ask for {asked} samples, num_samples for {self.num_samples}; make them equal")
        if self.conditions != "quotas" and self.quotas:
            raise ValueError("quotas are given, but conditions is not 'quotas'")
        return self


@dataclass(frozen=True)
class RealRow:
    """Labels of one training image, drawn once where they were filled."""

    patient: str
    values: Values


@dataclass(frozen=True)
class Combination:
    """One row of the plan's table."""

    values: Values
    weight: float
    """Share of it among the conditions, before rounding to whole samples; any positive scale."""

    @property
    def labels(self) -> dict[str, int | None]:
        return dict(zip(LABEL_NAMES, self.values, strict=True))


def draw_rows(batches: Iterable[ImageBatch], seed: int) -> Iterator[RealRow]:
    """Hard label rows of training images: experts' values, and each filled probability drawn once by (seed, image)."""
    for batch in batches:
        for b, image_id in enumerate(batch.image_ids):
            rng = random_numbers("draw", seed, image_id)
            uniforms = rng.random(len(LABEL_NAMES))
            row: dict[str, int | None] = {}
            for k, name in enumerate(LABEL_NAMES):
                if not batch.known_BK[b, k]:
                    row[name] = None
                    continue
                p = batch.p_BV[b, HEADS[name]]
                edges = np.cumsum(grade_distribution(p[None])[0])[:-1] if k == 0 else 1 - p
                row[name] = int(np.searchsorted(edges, uniforms[k], side="right"))
            yield RealRow(batch.patients[b], tuple(apply_rules(row).values()))


def _split_order(path: Sequence[tuple[int, int | None]], seed: int) -> list[int]:
    """Labels in the order in which they are told apart: what decides the look first, then the others.

    The next of the others is drawn anew at each step of a path, so that where patients are too few to tell all of them
    apart, each is still asked for somewhere.
    """
    first = [LABEL_NAMES.index(name) for name in ("is_fundus", "eye_side")]
    rest = [k for k in range(len(LABEL_NAMES)) if k not in first]
    random_numbers("split", seed, str(list(path))).shuffle(rest)
    return first + rest


def merge_rare(rows: Sequence[RealRow], min_patients: int, seed: int) -> list[Combination]:
    """Combinations of at least `min_patients` patients each that together cover all rows.

    Top down: rows are told apart label by label; values with too few patients stay together with the label unknown,
    joined by as many patients of the commonest value as are missing to `min_patients`. So no row is lost and no
    combination is rarer than allowed.

    Raises:
        WrongInputError: all rows together have fewer patients.
    """
    total = len({row.patient for row in rows})
    if total < min_patients:
        raise WrongInputError(
            f"the training part has {total} patients, min_patients is {min_patients}: no combination may be published;"
            " add images, or set samples.conditions to 'quotas'"
        )
    found: Counter[Values] = Counter()
    stack: list[tuple[list[RealRow], list[tuple[int, int | None]]]] = [(list(rows), [])]
    while stack:
        members, path = stack.pop()
        done = {k for k, _ in path}
        remaining = [k for k in _split_order(path, seed) if k not in done]
        if not remaining:
            fixed = dict(path)
            found[tuple(fixed[k] for k in range(len(LABEL_NAMES)))] += len(members)
            continue
        label = remaining[0]
        for value, group in _tell_apart(members, label, min_patients):
            stack.append((group, [*path, (label, value)]))
    order = sorted(found, key=lambda values: [-1 if v is None else v for v in values])
    return [Combination(values, float(found[values])) for values in order]


def _tell_apart(members: list[RealRow], label: int, min_patients: int) -> list[tuple[int | None, list[RealRow]]]:
    """`members` by their value of `label`; too small groups share one group in which it is unknown."""
    groups: dict[int | None, list[RealRow]] = {}
    for row in members:
        groups.setdefault(row.values[label], []).append(row)
    unknown = groups.pop(None, [])
    for value in [value for value, group in groups.items() if len(_patients(group)) < min_patients]:
        unknown = unknown + groups.pop(value)
    while groups and unknown and (missing := min_patients - len(_patients(unknown))) > 0:
        commonest = max(groups, key=lambda value: (len(groups[value]), str(value)))
        group = groups.pop(commonest)
        joining = list(dict.fromkeys(row.patient for row in group if row.patient not in _patients(unknown)))[:missing]
        stay = [row for row in group if row.patient not in joining]
        if len(_patients(stay)) < min_patients:
            unknown = unknown + group
        else:
            unknown = unknown + [row for row in group if row.patient in joining]
            groups[commonest] = stay
    out: list[tuple[int | None, list[RealRow]]] = sorted(groups.items(), key=lambda item: str(item[0]))
    return [*out, (None, unknown)] if unknown else out


def _patients(rows: Iterable[RealRow]) -> set[str]:
    return {row.patient for row in rows}


def balance(combinations: Sequence[Combination]) -> list[Combination]:
    """The same combinations, rare values raised: the mean of 16 distributions, in each of which one label is balanced.

    In the part of a label every value of it is equally frequent, and with a value the other labels are as they occur
    with it. So each value of a label is asked for in at least 1/16 of an equal share of all samples; values in no
    combination have none. Balancing all labels at once has no solution where findings exclude each other.
    """
    weights = np.array([c.weight for c in combinations])
    balanced = np.zeros(len(combinations))
    for k, name in enumerate(LABEL_NAMES):
        for value in range(LABEL_BY_NAME[name].max_value + 1):
            having = np.array([c.values[k] == value for c in combinations])
            if having.any():
                share = 1.0 / (LABEL_BY_NAME[name].max_value + 1)
                balanced += np.where(having, share * weights / weights[having].sum(), 0.0)
    if not balanced.any():
        return list(combinations)
    return [Combination(c.values, float(w)) for c, w in zip(combinations, balanced, strict=True) if w > 0]


def allocate(weights: Sequence[float], total: int) -> list[int]:
    """Whole numbers proportional to `weights` that add up to `total` (largest remainders, ties to the first)."""
    scale = total / math.fsum(weights)
    shares = [weight * scale for weight in weights]
    counts = [math.floor(share) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda i: (counts[i] - shares[i], i))
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return counts


@dataclass(frozen=True)
class Plan:
    """Which samples will exist."""

    config: SamplesConfig
    combinations: tuple[Values, ...]
    counts: tuple[int, ...]
    """Samples of each combination."""
    generator: str
    """Digest of the generator."""
    annotator: str
    """Digest of the annotator."""
    data: str
    """Digest of the dataset whose training part was the model and whose training images must not be copied."""
    notes: tuple[str, ...]
    """What was merged or dropped, in words."""

    @property
    def num_shards(self) -> int:
        return math.ceil(self.config.num_samples / self.config.shard_rows)

    def to_dict(self) -> dict[str, Any]:
        table = [
            {"labels": {n: v for n, v in zip(LABEL_NAMES, values, strict=True) if v is not None}, "count": count}
            for values, count in zip(self.combinations, self.counts, strict=True)
        ]
        return {
            "kind": "plan",
            "settings": self.config.model_dump(mode="json", exclude={"pool_size", "use_gpu"}),
            "generator": self.generator,
            "annotator": self.annotator,
            "data": self.data,
            "notes": list(self.notes),
            "combinations": table,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Plan":
        """The plan that `to_dict` wrote; `pool_size` and `use_gpu` take their defaults, being no part of a plan."""
        table = values["combinations"]
        return cls(
            SamplesConfig.model_validate(values["settings"]),
            tuple(tuple(row["labels"].get(name) for name in LABEL_NAMES) for row in table),
            tuple(row["count"] for row in table),
            values["generator"],
            values["annotator"],
            values["data"],
            tuple(values["notes"]),
        )

    @property
    def digest(self) -> str:
        return sha256_hex(canonical_json(self.to_dict()))

    def combination_of(self) -> NDArray[np.int64]:
        """(num_samples,) which combination each sample has: the counts laid out, shuffled by the seed."""
        rng = random_numbers("conditions", self.config.seed)
        return rng.permutation(np.repeat(np.arange(len(self.counts)), self.counts))

    def conditions(self, sample_ids: Sequence[int]) -> list[dict[str, int | None]]:
        """What each of these samples is asked to be."""
        which = self.combination_of()[list(sample_ids)]
        return [dict(zip(LABEL_NAMES, self.combinations[c], strict=True)) for c in which]


def make_plan(
    config: SamplesConfig,
    training: Iterable[ImageBatch],
    *,
    generator: str,
    annotator: str,
    data: str,
    num_without_patient: int = 0,
) -> Plan:
    """Lay out N samples.

    Args:
        training: the training part of the filled dataset; read only when the conditions come from real images.
        num_without_patient: images of which no patient is known, so that each counts as one; noted.
        generator, annotator, data: digests that the plan rests on.
    """
    notes: list[str] = []
    if config.conditions == "quotas":
        rows: list[LabelRow] = [apply_rules(quota.labels) for quota in config.quotas]
        combinations = [tuple(row[name] for name in LABEL_NAMES) for row in rows]
        counts = [quota.count for quota in config.quotas]
        notes.append("conditions are the quotas of the study; they reveal nothing about a patient")
    else:
        real = list(draw_rows(training, config.seed))
        merged = merge_rare(real, config.min_patients, config.seed)
        notes.append(_merging_note(real, merged, config.min_patients))
        if num_without_patient:
            notes.append(
                f"{num_without_patient} images have no patient id and count as a patient each; where some are of one"
                f" person, fewer than {config.min_patients} people may share a combination"
            )
        chosen = balance(merged) if config.conditions == "balanced" else merged
        allocated = allocate([c.weight for c in chosen], config.num_samples)
        none = sum(count == 0 for count in allocated)
        if none:
            notes.append(
                f"{none} of {len(chosen)} combinations have too small a share for one of {config.num_samples} samples"
            )
        combinations = [c.values for c, count in zip(chosen, allocated, strict=True) if count]
        counts = [count for count in allocated if count]
    return Plan(config, tuple(combinations), tuple(counts), generator, annotator, data, tuple(notes))


def _merging_note(real: Sequence[RealRow], merged: Sequence[Combination], min_patients: int) -> str:
    full = {row.values for row in real}
    published = {c.values for c in merged}
    kept = sum(row.values in published for row in real)
    return (
        f"{len(real)} training images have {len(full)} label combinations; those of fewer than {min_patients} patients"
        f" were merged by leaving labels unknown, which gives {len(published)} combinations; {kept} images keep theirs"
    )


def label_counts(plan: Plan) -> dict[str, dict[str, int]]:
    """How often each value of each label is asked for; `unknown` for not asked. For the table of `--dry-run`."""
    out: dict[str, dict[str, int]] = {}
    for k, name in enumerate(LABEL_NAMES):
        tally: Counter[str] = Counter()
        for values, count in zip(plan.combinations, plan.counts, strict=True):
            tally["unknown" if values[k] is None else str(values[k])] += count
        out[name] = dict(sorted(tally.items()))
    return out
