"""What a run records about itself, and the guard against a name used for another configuration."""

import json

import pytest

from synfundus.errors import WrongInputError
from synfundus.stages.record import git_revision, hardware, start_run, versions
from synfundus.storage import Storage, write_manifest

OUTPUT, RUN = "generators/x", "x-generator"


def begin(storage: Storage, digest: str = "a", **settings: object) -> bool:
    return start_run(storage, RUN, OUTPUT, digest, {"generator": settings})


def test_a_first_run_has_work_and_is_recorded(storage: Storage) -> None:
    assert begin(storage, num_steps=5)
    record = json.loads(storage.read(f"runs/{RUN}/run.json"))
    assert record["digest"] == "a"
    assert record["study"] == {"generator": {"num_steps": 5}}
    assert record["versions"] == versions()
    assert {"synfundus", "python", "torch", "ray"} <= set(record["versions"])
    assert record["hardware"] == hardware()
    assert record["git"] == git_revision()


def test_an_image_says_which_revision_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNFUNDUS_REVISION", "0123abc")
    assert git_revision() == "0123abc"


def test_the_same_run_goes_on_until_its_output_is_complete(storage: Storage) -> None:
    assert begin(storage)
    assert begin(storage)
    write_manifest(storage, OUTPUT, [storage.write_once(f"{OUTPUT}/a", b"1")], {"digest": "a"})
    assert not begin(storage)


@pytest.mark.parametrize("left", [f"{OUTPUT}/a", f"runs/{RUN}/train/checkpoint-4/checkpoint.json"])
def test_a_name_reused_with_another_configuration_names_the_key(storage: Storage, left: str) -> None:
    begin(storage, num_steps=5, unet={"channels": [8]})
    (storage.replace if left.startswith("runs") else storage.write_once)(left, b"1")
    with pytest.raises(WrongInputError) as caught:
        begin(storage, "b", num_steps=5, unet={"channels": [16]})
    message = str(caught.value)
    assert "(generator.unet.channels was [8], is [16])" in message
    assert f"{OUTPUT} was begun with another configuration" in message
    assert "give the study another name or another root" in message
    assert "\n" not in message
    assert storage.exists(left)
    assert json.loads(storage.read(f"runs/{RUN}/run.json"))["digest"] == "a"


def test_a_key_that_was_not_there_before_is_named_too(storage: Storage) -> None:
    begin(storage)
    storage.write_once(f"{OUTPUT}/a", b"1")
    with pytest.raises(WrongInputError, match=r"generator\.seed was None, is 3"):
        begin(storage, "b", seed=3)


def test_a_run_that_left_nothing_may_begin_anew_with_a_mended_configuration(storage: Storage) -> None:
    begin(storage, batch_size=7)
    storage.replace(f"runs/{RUN}/train/state.json", b"{}")
    assert begin(storage, "b", batch_size=8)
    assert json.loads(storage.read(f"runs/{RUN}/run.json"))["digest"] == "b"
    assert list(storage.names(f"runs/{RUN}")) == [f"runs/{RUN}/run.json"]


def test_a_complete_output_whose_run_was_cleared_is_known_by_its_manifest(storage: Storage) -> None:
    write_manifest(storage, OUTPUT, [storage.write_once(f"{OUTPUT}/a", b"1")], {"digest": "a"})
    with pytest.raises(WrongInputError, match="exists with another configuration"):
        begin(storage, "b")
    assert not storage.exists(f"runs/{RUN}/run.json")
    assert not begin(storage, "a")
