"""Help, completion, and mistakes on the command line."""

import re

import pytest
import typer

from support.tiny_study import Outcome, run_here
from synfundus import __version__
from synfundus.stages import STAGES
from synfundus_jobs.app import app
from synfundus_jobs.exit_codes import DONE, WRONG_INPUT

Capture = pytest.CaptureFixture[str]
LINES_OF_A_SCREEN = 48
COLUMNS = 80


def verbs_below(command: object, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    """Return every verb with its words on the command line."""
    commands = getattr(command, "commands", None)
    if commands is None:
        return {path: command}
    return {key: verb for name, sub in commands.items() for key, verb in verbs_below(sub, (*path, name)).items()}


VERBS = verbs_below(typer.main.get_command(app))


def refused(capsys: Capture, *argv: object) -> str:
    """Return the one line of a mistake on the command line."""
    outcome = run_here(capsys, *argv)
    assert (outcome.code, outcome.out) == (WRONG_INPUT, ""), outcome
    return outcome.error_line


def test_the_verbs_are_these() -> None:
    stages = [(stage.name,) for stage in STAGES]
    assert [stage for (stage,) in stages] == [
        "prepare",
        "train-annotator",
        "fill",
        "train-copy-detector",
        "train-generator",
        "sample",
        "transfer",
        "evaluate",
        "publish",
    ]
    studies = [("study", name) for name in ("init", "show", "check", "run")]
    cluster = [("cluster", name) for name in ("submit", "list", "status", "logs", "wait", "cancel", "dashboard")]
    others = [("demo",), ("doctor",), ("serve",), ("key",), ("fetch",)]
    assert set(VERBS) == {*stages, *studies, *cluster, *others}


@pytest.mark.parametrize("argv", [["--help"], ["-h"]])
def test_the_list_of_verbs_is_one_screen(capsys: Capture, argv: list[str]) -> None:
    outcome = run_here(capsys, *argv)
    assert (outcome.code, outcome.err) == (DONE, "")
    for words in VERBS:
        assert re.search(rf"^  {words[0]} ", outcome.out, re.MULTILINE), words
    for stage in STAGES:
        assert stage.help in " ".join(outcome.out.split())
    assert len(outcome.out.splitlines()) <= LINES_OF_A_SCREEN
    assert "0 done, 1 failed, 2 wrong input, 130 interrupted" in " ".join(outcome.out.split())


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_help_of_a_verb_is_one_screen_and_names_each_option(capsys: Capture, words: tuple[str, ...]) -> None:
    outcome = run_here(capsys, *words, "--help")
    assert (outcome.code, outcome.err) == (DONE, "")
    assert f"Usage: synfundus {' '.join(words)} " in outcome.out
    lines = outcome.out.splitlines()
    assert len(lines) <= LINES_OF_A_SCREEN
    assert all(len(line) <= COLUMNS for line in lines)
    verb = VERBS[words]
    assert verb.help in " ".join(outcome.out.split())  # type: ignore[attr-defined]
    options = [option for parameter in verb.params for option in parameter.opts if option.startswith("-")]  # type: ignore[attr-defined]
    assert "--debug" in options
    for option in options:
        assert re.search(rf"{option}\b", outcome.out), option
    for parameter in verb.params:  # type: ignore[attr-defined]
        assert parameter.help, f"{parameter.name} has no help"
        if parameter.param_type_name == "argument":
            assert re.search(rf"^  {parameter.metavar} ", outcome.out, re.MULTILINE), parameter.name


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_the_example_of_a_verb_is_understood(words: tuple[str, ...]) -> None:
    """The example parses as a command line of this verb; it is not run."""
    example = VERBS[words].epilog.removeprefix("Example: synfundus ").split()  # type: ignore[attr-defined]
    assert tuple(example[: len(words)]) == words
    VERBS[words].make_context(" ".join(words), example[len(words) :])  # type: ignore[attr-defined]


def test_without_a_verb_the_list_is_shown_and_the_code_is_wrong_input(capsys: Capture) -> None:
    outcome = run_here(capsys)
    assert outcome.code == WRONG_INPUT
    assert outcome.out == run_here(capsys, "--help").out


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_one_line(capsys: Capture, option: str) -> None:
    assert run_here(capsys, option) == Outcome(DONE, f"synfundus {__version__}\n", "")


def test_an_unknown_verb_is_refused_with_the_nearest(capsys: Capture) -> None:
    assert refused(capsys, "evalute", "x") == "error: synfundus: no such command 'evalute'; did you mean 'evaluate'?"
    assert refused(capsys, "study", "chek", "x").endswith("no such command 'chek'; did you mean 'check'?")
    assert refused(capsys, "xyz") == "error: synfundus: no such command 'xyz'; `synfundus --help` lists what it takes"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("study", "synfundus study: missing command; `synfundus study --help`"),
        ("fill", "synfundus fill: missing argument 'STUDY'; `synfundus fill --help`"),
        ("fill a b", "synfundus fill: got unexpected extra argument"),
        ("sample a --dry-rum", "synfundus sample: no such option: --dry-rum"),
        ("sample a --set", "'--set' requires an argument; the verb's --help lists"),
        ("serve a --port http", "synfundus serve: invalid value for '--port'"),
        ("serve a --keys b --without-keys", "--keys and --without-keys: cannot be used together; give one of them"),
        ("key a", "synfundus key: missing argument 'NAME'"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(capsys: Capture, argv: str, message: str) -> None:
    assert message in refused(capsys, *argv.split())


@pytest.mark.parametrize(
    ("shell", "mark"), [("bash", "complete -o default"), ("zsh", "#compdef synfundus"), ("fish", "complete --command")]
)
def test_a_shell_gets_its_completion(capsys: Capture, monkeypatch: pytest.MonkeyPatch, shell: str, mark: str) -> None:
    monkeypatch.setenv("_SYNFUNDUS_COMPLETE", f"source_{shell}")
    outcome = run_here(capsys)
    assert (outcome.code, outcome.err, mark in outcome.out) == (DONE, "", True)


@pytest.mark.parametrize(
    ("typed", "completions"),
    [
        ("train-", ["train-annotator", "train-copy-detector", "train-generator"]),
        ("cluster s", ["submit", "status"]),
        ("sample my.yaml --d", ["--dry-run", "--debug"]),
    ],
)
def test_verbs_and_options_are_completed(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, typed: str, completions: list[str]
) -> None:
    words = f"synfundus {typed}"
    monkeypatch.setenv("_SYNFUNDUS_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    assert run_here(capsys).out.split() == completions
