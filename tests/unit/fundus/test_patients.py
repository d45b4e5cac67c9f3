"""The key of patient hashes: generated once, readable by its owner only, never below the root."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from synfundus.environment import Environment
from synfundus.errors import WrongInputError
from synfundus.fundus.patients import hash_patient, key_digest, patient_key


def environment(folder: Path, key: str | None = None, ray_address: str | None = None) -> Environment:
    return Environment(patient_key=key, real_data=None, config_home=folder, ray_address=ray_address)


def root(folder: Path) -> str:
    return (folder / "root").as_uri()


def test_a_key_is_generated_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    config = tmp_path / "config" / "synfundus"
    first = patient_key(environment(config.parent), root(tmp_path))
    assert stat.S_IMODE((config / "patient.key").stat().st_mode) == 0o600
    assert patient_key(environment(config.parent), root(tmp_path)) == first
    assert [path.name for path in config.iterdir()] == ["patient.key"]
    assert patient_key(environment(tmp_path / "elsewhere"), root(tmp_path)) != first


def test_many_processes_that_generate_a_key_at_once_get_the_same_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: patient_key(environment(tmp_path / "config"), root(tmp_path)), range(32)))
    assert len(keys) == 1


def test_no_key_is_generated_in_a_pod(tmp_path: Path) -> None:
    """A key in a pod is lost with the pod, and a retried job would hash patients with another key."""
    with pytest.raises(WrongInputError, match="Secret with an entry SYNFUNDUS_PATIENT_KEY in the chart"):
        patient_key(environment(tmp_path, ray_address="head:6379"), "s3://bucket/prefix")
    assert list(tmp_path.iterdir()) == []
    patient_key(environment(tmp_path, "k" * 20, "head:6379"), "s3://bucket/prefix")
    patient_key(environment(tmp_path), "s3://bucket/prefix")
    patient_key(environment(tmp_path, ray_address="head:6379"), "s3://bucket/prefix")  # the file exists


def test_the_variable_overrides_the_file(tmp_path: Path) -> None:
    key = patient_key(environment(tmp_path, "correct horse battery staple"), root(tmp_path))
    assert key == patient_key(environment(tmp_path / "other", "correct horse battery staple"), root(tmp_path))
    assert not (tmp_path / "synfundus" / "patient.key").exists()
    with pytest.raises(WrongInputError, match=r"SYNFUNDUS_PATIENT_KEY.*5 characters"):
        patient_key(environment(tmp_path, "short"), root(tmp_path))


def test_a_mounted_file_holds_the_key_in_place_of_the_variable(tmp_path: Path) -> None:
    """A process that inherits the environment of another one then inherits no key."""
    file = tmp_path / "mounted"
    file.write_text("correct horse battery staple\n")
    file.chmod(0o440)  # as Kubernetes mounts a Secret for a group
    mounted = Environment(patient_key_file=file, config_home=tmp_path / "config", ray_address="head:6379")
    of_variable = environment(tmp_path, "correct horse battery staple")
    assert patient_key(mounted, "s3://bucket/prefix") == patient_key(of_variable, "s3://bucket/prefix")
    assert "correct" not in repr(mounted)
    file.unlink()
    with pytest.raises(WrongInputError, match=f"SYNFUNDUS_PATIENT_KEY_FILE: {file} cannot be read"):
        patient_key(mounted, "s3://bucket/prefix")


def test_two_keys_at_once_are_refused(tmp_path: Path) -> None:
    both = Environment(patient_key="k" * 20, patient_key_file=tmp_path / "mounted", config_home=tmp_path)
    with pytest.raises(WrongInputError, match="SYNFUNDUS_PATIENT_KEY and SYNFUNDUS_PATIENT_KEY_FILE are both set"):
        patient_key(both, root(tmp_path))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    patient_key(environment(tmp_path), root(tmp_path))
    os.chmod(tmp_path / "synfundus" / "patient.key", mode)
    with pytest.raises(WrongInputError, match=f"mode {mode:03o}.*chmod 600"):
        patient_key(environment(tmp_path), root(tmp_path))


def test_a_key_below_the_root_is_refused_and_not_written(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "root", target_is_directory=True)
    for config in (tmp_path / "root" / "config", link / "config"):
        with pytest.raises(WrongInputError, match="below the root"):
            patient_key(environment(config), root(tmp_path))
        assert not config.exists()


def test_an_unusable_configuration_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(WrongInputError, match="SYNFUNDUS_PATIENT_KEY"):
        patient_key(environment(tmp_path / "file" / "config"), root(tmp_path))


def test_hashes_depend_on_key_and_patient(tmp_path: Path) -> None:
    one, other = (patient_key(environment(tmp_path / name), root(tmp_path)) for name in ("a", "b"))
    assert hash_patient(one, "Jane Doe") == hash_patient(one, "Jane Doe")
    assert hash_patient(one, "Jane Doe") != hash_patient(other, "Jane Doe")
    assert len({hash_patient(one, f"p{i}") for i in range(10_000)}) == 10_000
    assert key_digest(one) != key_digest(other)
    assert key_digest(one) not in one.hex()
