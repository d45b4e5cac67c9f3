"""Documents: links lead somewhere, and the functions that the architecture page names exist."""

import ast
import re
import textwrap
from pathlib import Path

import pytest

from synfundus.study import load_study

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(
    [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("tests/benchmarks/**/*.md")]
)
ROOTS = ("platform/synfundus", "serve/synfundus_serve", "jobs/synfundus_jobs", ".")


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_relative_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors_of(target), f"{link}: no such heading"


def test_the_audit_study_of_the_privacy_page_loads(tmp_path: Path) -> None:
    section = (REPOSITORY / "docs/privacy.md").read_text().partition("## An audit study")[2].partition("\n## ")[0]
    file = tmp_path / "audit.yaml"
    file.write_text(textwrap.dedent("".join(re.findall(r"^    .*\n", section, re.MULTILINE))))
    study = load_study(file)
    assert study.data.prepared == "hospital"
    assert study.generator.canaries is not None
    assert study.generator.canaries.repeats == (1, 10, 100)


def test_every_definition_that_the_architecture_page_names_exists() -> None:
    named = re.findall(r"`([\w/]+\.py): ([\w.]+)`", (REPOSITORY / "docs/architecture.md").read_text())
    assert len(named) > 15
    for file, name in named:
        path = next((REPOSITORY / root / file for root in ROOTS if (REPOSITORY / root / file).exists()), None)
        assert path is not None or "/" not in file, f"{file} does not exist"
        found = path or next(REPOSITORY.glob(f"*/*/**/{file}"))
        body = ast.parse(found.read_text()).body
        for part in name.split("."):
            definitions = {
                node.name: node
                for node in body
                if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            }
            assert part in definitions, f"{file} defines no {name}"
            body = definitions[part].body
