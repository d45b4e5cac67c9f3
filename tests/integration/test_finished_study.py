"""Commands on a finished study read manifests and labels: they decode no image, load no weights and start no Ray."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.tiny_study import FinishedStudy, environment, listing
from support.watched_command import watched_command


@pytest.mark.parametrize(
    "command",
    [
        ["study", "run"],
        ["study", "run", "--dry-run"],
        ["study", "check"],
        ["sample", "--dry-run"],
        ["sample", "--dry-run", "--set", "samples.num_samples=100000"],
        ["evaluate"],
    ],
    ids=" ".join,
)
def test_a_command_on_a_finished_study_decodes_no_image_loads_no_weights_and_starts_no_ray(
    command: list[str], finished_study: FinishedStudy, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    before = listing(finished_study.root)
    words = [word for word in command if not word.startswith("-") and "=" not in word]
    argv = [*words, finished_study.file, *command[len(words) :]]
    outcome = watched_command(argv, tmp_path / "outcome.json", environment())
    record_property("cpu_s", outcome.cpu_s)
    print(f"{' '.join(command)}: {outcome.cpu_s:.1f} s of CPU time")
    assert (outcome.code, outcome.imported, outcome.num_decoded) == (0, [], 0)
    assert listing(finished_study.root) == before
