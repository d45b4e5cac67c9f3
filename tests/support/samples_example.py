"""A complete `samples/<name>/` of phantoms, with rejected, replaced and unresolved ones, for tests of what reads it."""

from collections.abc import Sequence

import numpy as np

from synfundus.digests import canonical_json
from synfundus.labels import LABEL_NAMES, LabelRow, encode_values
from synfundus.phantom.render import PhantomConfig, phantom_record
from synfundus.samples.plan import Plan, SamplesConfig
from synfundus.samples.shards import Sample, attempt_folder, encode_image, encode_shard, shard_name
from synfundus.storage import Storage, write_manifest

FOLDER = "samples/demo"
NUM_SAMPLES, SHARD_ROWS, SIZE_PX = 12, 4, 32
REPLACED, UNRESOLVED = 5, 10
"""Sample 5 is too near to a training image at attempt 0; sample 10 at both attempts."""
MODEL = "ab" * 32


def _config() -> SamplesConfig:
    values = {"num_samples": NUM_SAMPLES, "solver": {}, "shard_rows": SHARD_ROWS, "micro_batch": 2}
    return SamplesConfig.model_validate(values)


def _sample(sample_id: int, attempt: int) -> Sample:
    record = phantom_record(PhantomConfig(num_images=100, size_px=SIZE_PX, seed=3), sample_id + 50 * attempt)
    seed = 1000 * attempt + sample_id
    image = encode_image(record.image_HWC, "png", seed=seed, model=MODEL)
    # The annotator sees the opposite of every flag that was asked: publishing must not mind.
    seen: dict[str, int | None] = {name: None if v is None else int(v == 0) for name, v in record.labels.items()}
    seen["is_em"] = None
    p_V = encode_values([seen])[0][0]
    p_V[LABEL_NAMES.index("is_em") + 3] = np.nan
    return Sample(sample_id, image, record.labels, seen, p_V, seed)


def phantom_samples(storage: Storage) -> None:
    """Write `samples/demo`: three shards at attempt 0, one of replacements at attempt 1."""
    combination: LabelRow = dict.fromkeys(LABEL_NAMES)
    values = tuple(combination[name] for name in LABEL_NAMES)
    plan = Plan(_config(), (values,), (NUM_SAMPLES,), MODEL, "cd" * 32, "ef" * 32, ("a note of the plan",))
    objects = [storage.write_once(f"{FOLDER}/plan.json", canonical_json(plan.to_dict()))]

    def shard(attempt: int, number: int, sample_ids: Sequence[int]) -> None:
        name = f"{FOLDER}/{attempt_folder(attempt)}/{shard_name(number)}.parquet"
        objects.append(storage.write_once(name, encode_shard([_sample(i, attempt) for i in sample_ids])))

    for number in range(NUM_SAMPLES // SHARD_ROWS):
        shard(0, number, range(number * SHARD_ROWS, (number + 1) * SHARD_ROWS))
    shard(1, 0, [REPLACED, UNRESOLVED])
    rejected = [
        {"sample_id": i, "attempt": attempt, "reason": "near_training_image", "distance": 0.1}
        for i, attempt in ((REPLACED, 0), (UNRESOLVED, 0), (UNRESOLVED, 1))
    ]
    verification = {
        "space": "small grey pictures",
        "quantile": 0.01,
        "threshold": 0.2,
        "num_held_out": 20,
        "num_samples": NUM_SAMPLES,
        "accepted": {"attempt": [[REPLACED, 1]]},
        "rejected": rejected,
        "unresolved": [UNRESOLVED],
    }
    objects.append(storage.write_once(f"{FOLDER}/verification.json", canonical_json(verification)))
    write_manifest(storage, FOLDER, objects, {"kind": "samples", "plan_digest": plan.digest})
