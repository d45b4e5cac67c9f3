"""The runner of stages: small stages that write real objects to a real storage."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from synfundus.errors import StorageError, WrongInputError
from synfundus.stages import stage as runner
from synfundus.stages.record import Basis
from synfundus.stages.stage import Rows, Stage, describe_stages, run_stages
from synfundus.storage import Manifest, Storage, is_complete, manifest_digest, read_manifest, write_manifest
from synfundus.study import Study, resolve

LINES, SUMS = "data/tiny", "reports/tiny"


class LinesManifest(Manifest):
    kind: Literal["data"] = "data"
    num_lines: int


class SumsManifest(Manifest):
    kind: Literal["report"] = "report"
    total: int


@dataclass(frozen=True)
class Total:
    """Summary of both stages."""

    name: str
    total: int

    def rows(self) -> Rows:
        return [(self.name, str(self.total))]


@dataclass
class WriteLines(Stage[list[int]]):
    """Write one object for each of `lines`."""

    name = "write"
    help = "Write lines."

    lines: tuple[int, ...] = (1, 2, 3)
    fails_at: int | None = None
    """Line at which the disk is full."""
    refusal: str | None = None
    elsewhere: bool = False
    sources: Rows = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    found: list[list[int] | None] = field(default_factory=list)

    def inputs(self, study: Study) -> tuple[str, ...]:
        return ()

    def output(self, study: Study) -> str:
        return LINES

    def basis(self, study: Study, storage: Storage) -> Basis:
        return {"lines": list(self.lines)}

    def check(self, study: Study, storage: Storage) -> list[int]:
        self.calls.append("check")
        if self.refusal is not None:
            raise WrongInputError(self.refusal)
        return list(self.lines)

    def describe(self, study: Study, storage: Storage, found: list[int] | None) -> Rows:
        self.found.append(found)
        return [("write", f"{len(self.lines)} lines")]

    def run(self, study: Study, storage: Storage, digest: str, found: list[int]) -> None:
        self.calls.append("run")
        self.found.append(found)
        written = []
        for line in found:
            if line == self.fails_at:
                raise StorageError("disk full")
            written.append(storage.write_once(f"{LINES}/{line}", str(line).encode()))
        write_manifest(storage, LINES, written, LinesManifest(digest=digest, num_lines=len(written)))

    def summary(self, study: Study, storage: Storage) -> Total:
        return Total("lines", read_manifest(storage, LINES, LinesManifest).num_lines)

    def is_made_elsewhere(self, study: Study) -> bool:
        return self.elsewhere

    def compare_sources(self, study: Study, storage: Storage) -> Rows:
        self.calls.append("compare")
        return self.sources


@dataclass
class AddLines(Stage[None]):
    """Add up what `WriteLines` wrote."""

    name = "add"
    help = "Add lines."

    refusal: str | None = None
    workers: int = 3

    def inputs(self, study: Study) -> tuple[str, ...]:
        return (LINES,)

    def output(self, study: Study) -> str:
        return SUMS

    def basis(self, study: Study, storage: Storage) -> Basis:
        return {"lines": manifest_digest(read_manifest(storage, LINES, LinesManifest))}

    def check(self, study: Study, storage: Storage) -> None:
        if self.refusal is not None:
            raise WrongInputError(self.refusal)

    def describe(self, study: Study, storage: Storage, found: None) -> Rows:
        return [("add", f"{read_manifest(storage, LINES, LinesManifest).num_lines} lines")]

    def run(self, study: Study, storage: Storage, digest: str, found: None) -> None:
        lines = read_manifest(storage, LINES, LinesManifest)
        total = sum(int(storage.read(f"{LINES}/{name}")) for name in lines.files)
        write_manifest(storage, SUMS, [], SumsManifest(digest=digest, total=total))

    def summary(self, study: Study, storage: Storage) -> Total:
        return Total("total", read_manifest(storage, SUMS, SumsManifest).total)

    def num_workers(self, study: Study) -> int:
        return self.workers


@pytest.fixture
def study() -> Study:
    return resolve("recipe: phantom-cpu\nname: tiny\nroot: root\n", "tiny.yaml", Path("/studies"))


@pytest.fixture(autouse=True)
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of workers of each Ray session that the runner starts; none is really started."""
    started: list[int] = []

    @contextmanager
    def session(num_workers: int) -> Iterator[None]:
        started.append(num_workers)
        yield

    monkeypatch.setattr(runner, "ray_session", session)
    return started


@dataclass
class Screen:
    """Rows that a command shows, by stage."""

    shown: dict[str, Rows] = field(default_factory=dict)

    def __call__(self, name: str, rows: Rows) -> None:
        self.shown[name] = rows


def contents(storage: Storage) -> dict[str, bytes]:
    return {name: storage.read(name) for name in storage.names("")}


def test_stages_run_in_order_in_one_ray_session_of_the_most_workers(
    study: Study, storage: Storage, sessions: list[int]
) -> None:
    screen = Screen()
    summaries = run_stages([WriteLines(), AddLines()], study, storage, screen)
    assert summaries == {"write": Total("lines", 3), "add": Total("total", 6)}
    assert sessions == [3]
    assert list(screen.shown) == ["write", "add"]
    assert screen.shown["add"][0] == ("total", "6")
    assert screen.shown["add"][-1][0] == "time"


def test_complete_stages_are_neither_checked_nor_run_and_start_no_ray(
    study: Study, storage: Storage, sessions: list[int]
) -> None:
    first = run_stages([WriteLines(), AddLines()], study, storage, Screen())
    before = contents(storage)
    sessions.clear()
    write = WriteLines()
    assert run_stages([write, AddLines()], study, storage, Screen()) == first
    assert write.calls == ["compare"]
    assert sessions == []
    assert contents(storage) == before


def test_a_stage_that_needs_no_worker_starts_no_ray(study: Study, storage: Storage, sessions: list[int]) -> None:
    run_stages([WriteLines()], study, storage, Screen())
    sessions.clear()
    run_stages([AddLines(workers=0)], study, storage, Screen())
    assert sessions == []


def test_run_gets_what_the_check_found_and_the_check_is_made_once(study: Study, storage: Storage) -> None:
    write = WriteLines()
    run_stages([write], study, storage, Screen())
    assert write.calls == ["check", "run"]
    assert write.found == [[1, 2, 3]]


def test_a_check_that_refuses_does_so_before_any_work(study: Study, storage: Storage, sessions: list[int]) -> None:
    write = WriteLines()
    with pytest.raises(WrongInputError, match=r"add: impossible"):
        run_stages([write, AddLines(refusal="add: impossible")], study, storage, Screen())
    assert write.calls == ["check"]
    assert sessions == []
    assert contents(storage) == {}


def test_a_complete_output_of_other_settings_is_refused_with_the_setting(study: Study, storage: Storage) -> None:
    run_stages([WriteLines()], study, storage, Screen())
    before = contents(storage)
    with pytest.raises(WrongInputError, match=r"data/tiny .* \(lines was \[1, 2, 3\], is \[1, 2\]\); give the study"):
        run_stages([WriteLines(lines=(1, 2))], study, storage, Screen())
    assert contents(storage) == before


def test_a_complete_output_of_other_inputs_is_refused(study: Study, storage: Storage, tmp_path: Path) -> None:
    run_stages([WriteLines(), AddLines()], study, storage, Screen())
    for name in list(storage.names(LINES)):
        (tmp_path / "root" / name).unlink()
    (tmp_path / "root" / "runs/tiny-write/run.json").unlink()
    run_stages([WriteLines(lines=(4,))], study, storage, Screen())
    with pytest.raises(WrongInputError, match=r"reports/tiny .* was made with other settings or inputs \(lines was"):
        run_stages([AddLines()], study, storage, Screen())


def test_a_stage_interrupted_before_its_manifest_resumes_and_ends_the_same(study: Study, storage: Storage) -> None:
    with pytest.raises(StorageError, match="disk full"):
        run_stages([WriteLines(fails_at=3), AddLines()], study, storage, Screen())
    assert not is_complete(storage, LINES)
    assert storage.exists(f"{LINES}/2")
    record = storage.read("runs/tiny-write/run.json")
    summaries = run_stages([WriteLines(), AddLines()], study, storage, Screen())
    assert summaries["add"] == Total("total", 6)
    assert storage.read("runs/tiny-write/run.json") == record


def test_an_interrupted_stage_whose_files_this_machine_makes_differently_names_the_folder_to_delete(
    study: Study, storage: Storage, tmp_path: Path
) -> None:
    with pytest.raises(StorageError):
        run_stages([WriteLines(fails_at=3)], study, storage, Screen())
    line = tmp_path / "root" / LINES / "2"
    line.write_text("2.0000001")
    for _ in range(2):
        with pytest.raises(WrongInputError) as caught:
            run_stages([WriteLines()], study, storage, Screen())
        message = str(caught.value)
        assert message.startswith(f"{LINES} holds files of an interrupted run that this run makes differently")
        assert f"({LINES}/2 exists with other content below {storage.root})" in message
        assert message.endswith(f"delete {LINES} and run the same command again")
        assert "\n" not in message
    shutil.rmtree(line.parent)
    assert run_stages([WriteLines()], study, storage, Screen())["write"] == Total("lines", 3)


def test_an_interrupted_stage_is_not_resumed_with_other_settings(study: Study, storage: Storage) -> None:
    with pytest.raises(StorageError):
        run_stages([WriteLines(fails_at=3)], study, storage, Screen())
    with pytest.raises(WrongInputError, match=r"data/tiny .* was begun with other settings or inputs \(lines was"):
        run_stages([WriteLines(lines=(1, 2))], study, storage, Screen())
    assert not is_complete(storage, LINES)


def test_a_stage_before_its_inputs_is_refused(study: Study, storage: Storage, sessions: list[int]) -> None:
    with pytest.raises(WrongInputError, match=r"data/tiny is not complete .*; run the stage that makes it first"):
        run_stages([AddLines()], study, storage, Screen())
    assert sessions == []
    assert contents(storage) == {}


def test_an_output_made_elsewhere_is_taken_as_it_is(study: Study, storage: Storage, sessions: list[int]) -> None:
    written = storage.write_once(f"{LINES}/5", b"5")
    write_manifest(storage, LINES, [written], LinesManifest(digest="of another study", num_lines=1))
    write = WriteLines(elsewhere=True)
    assert run_stages([write, AddLines()], study, storage, Screen())["add"] == Total("total", 5)
    assert "run" not in write.calls
    assert not storage.exists("runs/tiny-write/run.json")


def test_lines_about_the_sources_of_a_complete_output_are_shown(study: Study, storage: Storage) -> None:
    run_stages([WriteLines()], study, storage, Screen())
    screen = Screen()
    run_stages([WriteLines(sources=[("originals", "no longer there")])], study, storage, screen)
    assert ("originals", "no longer there") in screen.shown["write"]


def test_a_description_writes_nothing_and_says_later_for_inputs_that_are_to_be_made(
    study: Study, storage: Storage, sessions: list[int]
) -> None:
    screen, write = Screen(), WriteLines()
    describe_stages([write, AddLines()], study, storage, screen)
    assert screen.shown == {
        "write": [("write", "3 lines")],
        "add": [("later", "needs data/tiny, written by earlier stages")],
    }
    assert write.found == [[1, 2, 3]]
    assert contents(storage) == {}
    assert sessions == []


def test_a_description_refuses_inputs_that_no_earlier_stage_makes(study: Study, storage: Storage) -> None:
    with pytest.raises(WrongInputError, match=r"data/tiny is not complete .*; run the stage that makes it first"):
        describe_stages([AddLines()], study, storage, Screen())


def test_a_description_tells_complete_outputs_from_those_that_a_run_would_refuse(
    study: Study, storage: Storage
) -> None:
    run_stages([WriteLines(), AddLines()], study, storage, Screen())
    before, screen = contents(storage), Screen()
    describe_stages([WriteLines(lines=(1,)), AddLines()], study, storage, screen)
    (_, refusal) = screen.shown["write"][-1]
    assert screen.shown["write"][-1][0] == "refused"
    assert "lines was [1, 2, 3], is [1]" in refusal
    assert screen.shown["add"][-1] == ("complete", f"{SUMS} below {storage.root}; nothing to do")
    assert contents(storage) == before


def test_a_run_is_found_again_by_the_name_of_study_and_stage(study: Study) -> None:
    class TrainSomething(AddLines):
        name = "train-something"

    assert (WriteLines().run_name(study), TrainSomething().run_name(study)) == ("tiny-write", "tiny-something")
