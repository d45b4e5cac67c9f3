"""`verification.json` survives JSON, and counts what was accepted and sampled."""

import pytest

from support.samples_example import FOLDER, NUM_SAMPLES, REPLACED, UNRESOLVED, example_verification, phantom_samples
from synfundus.errors import StorageError
from synfundus.measures.copies import SampledCounts
from synfundus.samples.verification import (
    NO_ATTEMPT,
    Verification,
    accepted_attempts,
    count_sampled,
    read_verification,
)
from synfundus.storage import LocalStorage, Storage


def test_a_verification_survives_json() -> None:
    verification = example_verification()
    assert Verification.from_json(verification.to_json(), "verification.json") == verification


def test_accepted_attempts_list_only_samples_that_were_rejected_first() -> None:
    assert accepted_attempts(example_verification()) == {REPLACED: 1, UNRESOLVED: NO_ATTEMPT}


def test_counts_of_accepted_and_sampled_images(storage: Storage) -> None:
    assert phantom_samples(storage).summary.num_accepted == NUM_SAMPLES - 1
    # One attempt each, a second one at two samples; three attempts were rejected.
    assert count_sampled(storage, FOLDER) == SampledCounts(num_sampled=NUM_SAMPLES + 2, num_near=3)


def test_a_changed_verification_is_refused(storage: Storage) -> None:
    manifest = phantom_samples(storage)
    assert isinstance(storage, LocalStorage)
    storage.path(f"{FOLDER}/verification.json").write_bytes(b"{}")
    with pytest.raises(StorageError, match="differs from its manifest"):
        read_verification(storage, FOLDER, manifest)
