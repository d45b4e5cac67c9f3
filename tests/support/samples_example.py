"""A complete `samples/<name>/` of phantoms with replaced and unresolved samples, for tests of what reads it."""

from collections.abc import Sequence

import numpy as np

from support.copies_example import example_calibration
from synfundus.fundus.origin import OTHER_SOURCES, Origin
from synfundus.labels import LABEL_NAMES, encode_values
from synfundus.phantom.config import PhantomConfig
from synfundus.phantom.records import phantom_record
from synfundus.samples.config import SamplesConfig
from synfundus.samples.image_file import encode_image
from synfundus.samples.manifest import SamplesCounts, SamplesManifest
from synfundus.samples.plan import PLAN, Plan, PlannedCombination
from synfundus.samples.rejection import RejectedAttempt, SampleRejectionReason
from synfundus.samples.shards import Sample, attempt_folder, encode_shard, shard_name
from synfundus.samples.verification import VERIFICATION, AcceptedAttempt, Verification
from synfundus.storage import Storage, Written, write_manifest

FOLDER = "samples/demo"
NUM_SAMPLES, SHARD_ROWS, SIZE_PX = 12, 4, 32
REPLACED, UNRESOLVED = 5, 10
"""Sample 5 is too near to a training image at attempt 0; sample 10 at both attempts."""
GENERATOR, ANNOTATOR = "ab" * 32, "cd" * 32
NEAR = SampleRejectionReason.NEAR_TRAINING_IMAGE


def example_plan() -> Plan:
    """Return a plan that requests no label."""
    config = {"num_samples": NUM_SAMPLES, "solver": {}, "shard_rows": SHARD_ROWS, "micro_batch": 2}
    return Plan(
        config=SamplesConfig.model_validate(config),
        generator_digest=GENERATOR,
        annotator_digest=ANNOTATOR,
        data_digest="ef" * 32,
        notes=("a note of the plan",),
        combinations=(PlannedCombination(labels={}, count=NUM_SAMPLES),),
    )


def example_verification() -> Verification:
    """Return a verification with one replaced and one unresolved sample."""
    rejected = ((REPLACED, 0), (UNRESOLVED, 0), (UNRESOLVED, 1))
    return Verification(
        space="small grey images",
        calibration=example_calibration(),
        num_samples=NUM_SAMPLES,
        accepted=(AcceptedAttempt(sample_id=REPLACED, attempt=1),),
        rejected=tuple(RejectedAttempt(sample_id=i, attempt=a, reason=NEAR, distance_ratio=0.1) for i, a in rejected),
        unresolved=(UNRESOLVED,),
    )


def _sample(sample_id: int, attempt: int) -> Sample:
    record = phantom_record(PhantomConfig(num_images=100, size_px=SIZE_PX, seed=3), sample_id + 50 * attempt)
    seed = 1000 * attempt + sample_id
    image = encode_image(record.image_HWC, "png", seed=seed, model=GENERATOR)
    # The opposite of every requested flag is predicted, which must not matter to a release.
    predicted: dict[str, int | None] = {name: None if v is None else int(v == 0) for name, v in record.labels.items()}
    predicted["is_em"] = None
    p_V = encode_values([predicted])[0][0]
    p_V[LABEL_NAMES.index("is_em") + 3] = np.nan
    return Sample(sample_id, image, record.labels, predicted, p_V, seed)


def _write_shard(storage: Storage, attempt: int, shard: int, sample_ids: Sequence[int]) -> Written:
    name = f"{FOLDER}/{attempt_folder(attempt)}/{shard_name(shard)}.parquet"
    return storage.write_once(name, encode_shard([_sample(i, attempt) for i in sample_ids]))


def phantom_samples(
    storage: Storage, origin: Origin = OTHER_SOURCES, annotator_digest: str = ANNOTATOR
) -> SamplesManifest:
    """Write `samples/demo`: three shards at attempt 0, one of replacements at attempt 1.

    Args:
        origin: origin of the images that the generator was trained on.
        annotator_digest: digest of the annotator that the manifest names.
    """
    plan = example_plan()
    objects = [
        storage.write_once(f"{FOLDER}/{PLAN}", plan.to_json()),
        storage.write_once(f"{FOLDER}/{VERIFICATION}", example_verification().to_json()),
        *(
            _write_shard(storage, 0, shard, range(shard * SHARD_ROWS, (shard + 1) * SHARD_ROWS))
            for shard in range(NUM_SAMPLES // SHARD_ROWS)
        ),
        _write_shard(storage, 1, 0, [REPLACED, UNRESOLVED]),
    ]
    summary = SamplesCounts(
        num_samples=NUM_SAMPLES, num_combinations=1, rejected={NEAR: 3}, num_unresolved=1, notes=plan.notes
    )
    manifest = SamplesManifest(
        digest="12" * 32,
        plan_digest=plan.digest,
        generator_digest=GENERATOR,
        annotator_digest=annotator_digest,
        origin=origin,
        summary=summary,
    )
    return write_manifest(storage, FOLDER, objects, manifest)
