"""The record of a run, and the guard against a name that is used for two studies."""

import subprocess
import sys
from typing import Literal

import pytest
from pydantic import JsonValue

from synfundus.digests import digest_of
from synfundus.errors import WrongInputError
from synfundus.stages.record import (
    MAX_VALUE_CHARS,
    Basis,
    KeyNames,
    RunRecord,
    git_revision,
    hardware,
    require_same_digest,
    start_record,
    versions,
)
from synfundus.storage import Manifest, Storage, write_manifest
from synfundus.training.metadata import CHECKPOINT_FILE

OUTPUT, RUN = "generators/x", "x-generator"
RECORD = f"runs/{RUN}/run.json"


class Manifested(Manifest):
    kind: Literal["generator"] = "generator"
    size_px: int = 32


def basis_of(num_steps: int = 5, channels: int = 8) -> Basis:
    return {"generator": {"num_steps": num_steps, "unet": {"channels": [channels]}}, "data": "0a1b"}


def begin(storage: Storage, basis: Basis) -> None:
    start_record(storage, RUN, OUTPUT, basis)


def complete(storage: Storage, basis: Basis) -> None:
    written = storage.write_once(f"{OUTPUT}/weights", b"1")
    write_manifest(storage, OUTPUT, [written], Manifested(digest=digest_of(basis)))


def recorded(storage: Storage) -> RunRecord:
    return RunRecord.from_json(storage.read(RECORD), RECORD)


def test_a_record_holds_what_the_output_depends_on_and_what_it_was_made_with(storage: Storage) -> None:
    begin(storage, basis_of())
    record = recorded(storage)
    assert record.basis == basis_of()
    assert record.digest == digest_of(basis_of())
    assert record.versions == versions()
    assert {"synfundus", "python", "torch", "ray"} <= set(record.versions)
    assert record.hardware == hardware()
    assert record.git == git_revision()


def test_an_image_gives_the_revision_that_it_was_built_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNFUNDUS_REVISION", "0123abc")
    assert git_revision() == "0123abc"


def test_importing_the_record_does_not_import_torch_or_ray() -> None:
    code = "import sys, synfundus.stages.record, synfundus.stages.stage; sys.exit({'torch', 'ray'} & set(sys.modules))"
    subprocess.run([sys.executable, "-c", code.replace("sys.exit(", "sys.exit(bool(") + ")"], check=True)


def test_a_resumed_run_keeps_its_record(storage: Storage) -> None:
    begin(storage, basis_of())
    before = storage.read(RECORD)
    storage.write_once(f"{OUTPUT}/weights", b"1")
    begin(storage, basis_of())
    assert storage.read(RECORD) == before


@pytest.mark.parametrize("left", [f"{OUTPUT}/weights", f"runs/{RUN}/train/checkpoint-4/{CHECKPOINT_FILE}"])
def test_a_run_that_left_work_refuses_other_settings_and_names_the_first(storage: Storage, left: str) -> None:
    begin(storage, basis_of(channels=8))
    (storage.replace if left.startswith("runs") else storage.write_once)(left, b"1")
    with pytest.raises(WrongInputError) as caught:
        begin(storage, basis_of(channels=16))
    message = str(caught.value)
    assert message.startswith(f"{OUTPUT} below {storage.root} was begun with other settings or inputs")
    assert "(generator.unet.channels was [8], is [16])" in message
    assert message.endswith(f"give the study another name or another root, or delete {OUTPUT} and runs/{RUN}")
    assert "\n" not in message
    assert storage.exists(left)
    assert recorded(storage).basis == basis_of(channels=8)


def test_a_key_that_is_new_is_named_too(storage: Storage) -> None:
    begin(storage, basis_of())
    storage.write_once(f"{OUTPUT}/weights", b"1")
    with pytest.raises(WrongInputError, match=r"\(seed was None, is 3\)"):
        begin(storage, {**basis_of(), "seed": 3})


def test_a_run_that_left_nothing_begins_again_with_corrected_settings(storage: Storage) -> None:
    begin(storage, basis_of(num_steps=7))
    storage.replace(f"runs/{RUN}/train/state.json", b"{}")
    begin(storage, basis_of(num_steps=8))
    assert recorded(storage).basis == basis_of(num_steps=8)
    assert list(storage.names(f"runs/{RUN}")) == [RECORD]


def test_a_complete_output_is_accepted_with_its_own_settings_only(storage: Storage) -> None:
    complete(storage, basis_of())
    require_same_digest(storage, RUN, OUTPUT, basis_of())
    with pytest.raises(WrongInputError) as caught:
        require_same_digest(storage, RUN, OUTPUT, basis_of(channels=16))
    assert str(caught.value) == (
        f"{OUTPUT} below {storage.root} was made with other settings or inputs;"
        " give the study another name or another root"
    )
    assert not list(storage.names("runs"))


def test_the_record_tells_which_setting_of_a_complete_output_differs(storage: Storage) -> None:
    begin(storage, basis_of())
    complete(storage, basis_of())
    with pytest.raises(WrongInputError, match=r"inputs \(generator\.num_steps was 5, is 6\); give the study"):
        require_same_digest(storage, RUN, OUTPUT, basis_of(num_steps=6))


def refused(storage: Storage, before: Basis, now: Basis, names: KeyNames | None = None) -> str:
    begin(storage, before)
    complete(storage, before)
    with pytest.raises(WrongInputError) as caught:
        require_same_digest(storage, RUN, OUTPUT, now, names)
    return str(caught.value)


def test_a_setting_is_named_though_another_key_has_the_same_place(storage: Storage) -> None:
    """`evaluate` shows the digests of its files under the section that names the files."""
    before: Basis = {"evaluation": {"seed": 0}, "files": {"weights": "a"}}
    names = {"files": "evaluation"}
    assert "evaluation.seed was 0, is 5" in refused(storage, before, {**before, "evaluation": {"seed": 5}}, names)
    assert "evaluation.weights was 'a', is 'b'" in refused(
        storage, before, {**before, "files": {"weights": "b"}}, names
    )


def test_a_difference_within_a_list_of_mappings_is_named_by_its_index(storage: Storage) -> None:
    sources: list[JsonValue] = [{"layout": "folder", "csv": "a.csv"}, {"layout": "phantom", "seed": 1}]
    message = refused(storage, {"sources": sources}, {"sources": [sources[0], {"layout": "phantom", "seed": 2}]})
    assert "(sources.1.seed was 1, is 2)" in message


def test_an_item_that_a_list_lost_is_named_by_its_index(storage: Storage) -> None:
    message = refused(storage, {"sources": [{"seed": 1}, {"seed": 2}]}, {"sources": [{"seed": 1}]})
    assert "(sources.1 was {'seed': 2}, is None)" in message


def test_a_long_value_is_cut(storage: Storage) -> None:
    message = refused(storage, {"title": "a" * 1000}, {"title": None})
    assert f"(title was '{'a' * (MAX_VALUE_CHARS - 1)}…, is None)" in message


def test_a_key_is_named_as_in_the_study(storage: Storage) -> None:
    message = refused(storage, {"title": "a"}, {"title": "b"}, names={"title": "release.title"})
    assert "(release.title was 'a', is 'b')" in message


def test_a_record_that_is_not_readable_does_not_hide_the_refusal(storage: Storage) -> None:
    complete(storage, basis_of())
    storage.replace(RECORD, b"")
    with pytest.raises(WrongInputError, match="was made with other settings or inputs; give the study"):
        require_same_digest(storage, RUN, OUTPUT, basis_of(num_steps=6))
