"""The table of verbs: every verb of the command line with its help and an example."""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from synfundus import __version__
from synfundus.stages import STAGES
from synfundus_jobs import cluster, demo, doctor, fetch, key, serve, stages, study
from synfundus_jobs.verb import add_verb

START, STAGE, RESULTS, CLUSTER = "Start", "Stages, in their order", "Use the results", "Kubernetes"
"""Headings of the list of verbs."""
HELP_CHARS = 200
"""Longest sentence in the list of verbs; a longer one would be cut."""
MAX_COLUMNS = 120
"""Largest width of help texts, in characters."""


def _show_version(requested: bool) -> None:
    if requested:
        sys.stdout.write(f"synfundus {__version__}\n")
        raise typer.Exit


class _Sections(TyperGroup):
    """Verbs listed under headings, each with the first sentence of its help."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  the signature of the base class
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, verb in self.commands.items():
            heading = getattr(verb, "rich_help_panel", None) or "Verbs"
            sections.setdefault(heading, []).append((name, verb.get_short_help_str(HELP_CHARS)))
        for heading, rows in sections.items():
            with formatter.section(heading):
                formatter.write_dl(rows)


def _group(**options: Any) -> typer.Typer:
    """Return a group of verbs. Its help is plain text: Rich takes 0.2 s to import, and its frames narrow the text."""
    return typer.Typer(cls=_Sections, rich_markup_mode=None, subcommand_metavar="VERB ...", **options)


app = _group(
    help=f"SynFundus {__version__}: from fundus photographs that may not be shared to a synthetic dataset that may.\n\n"
    "Research use only; not a medical device.",
    epilog="Each verb has its own --help. Exit codes: 0 done, 1 failed, 2 wrong input, 130 interrupted.",
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": MAX_COLUMNS},
)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Hold the options of `synfundus` itself."""


add_verb(
    app,
    "demo",
    demo.demo,
    "Run the whole loop on procedural phantoms: no data, no GPU.",
    "demo --root outputs/demo",
    panel=START,
)
add_verb(
    app,
    "doctor",
    doctor.doctor,
    "Show what this machine has, and whether a study can write to its root.",
    "doctor my.yaml",
    panel=START,
)

study_app = _group()
app.add_typer(study_app, name="study", help="Write, show, check or run a study.", rich_help_panel=START)
add_verb(study_app, "init", study.init, "Write a first study file.", "study init my.yaml")
add_verb(
    study_app,
    "show",
    study.show_resolved,
    "Print the study with every setting that its recipe adds.",
    "study show my.yaml --set generator.num_steps=500",
)
add_verb(
    study_app,
    "check",
    study.check,
    "Read the study, list its sources, and report the first mistake. Writes nothing.",
    "study check my.yaml",
)
add_verb(
    study_app,
    "run",
    study.run_all,
    "Run every stage. Complete stages are skipped; an interrupted one resumes.",
    "study run my.yaml",
)

for stage in STAGES:
    add_verb(app, stage.name, stages.verb_of(stage), stage.help, f"{stage.name} my.yaml --dry-run", panel=STAGE)

add_verb(
    app,
    "serve",
    serve.serve,
    "Serve the generation and diagnosis endpoints on this machine.",
    "serve my.yaml --port 8000",
    panel=RESULTS,
)
add_verb(
    app,
    "key",
    key.key,
    "Make an API key for the endpoints. Shows the key once; FILE gets its SHA-256.",
    "key keys.txt clinic",
    panel=RESULTS,
)
add_verb(
    app,
    "fetch",
    fetch.fetch,
    "Copy the study's report to this machine. Each file is verified against the report's manifest.",
    "fetch my.yaml --to report",
    panel=RESULTS,
)

cluster_app = _group()
app.add_typer(cluster_app, name="cluster", help="Run studies as jobs of a Kubernetes cluster.", rich_help_panel=CLUSTER)
add_verb(
    cluster_app,
    "submit",
    cluster.submit,
    "Run the study as a job. Submitting it twice makes one job.",
    "cluster submit my.yaml --set root=s3://bucket/prefix",
)
add_verb(cluster_app, "list", cluster.list_jobs, "List the jobs of the namespace.", "cluster list -n fundus")
add_verb(cluster_app, "status", cluster.status, "Show state and pods of the study's job.", "cluster status my.yaml")
add_verb(cluster_app, "logs", cluster.logs, "Print the log of the study's job.", "cluster logs my.yaml --follow")
add_verb(
    cluster_app,
    "wait",
    cluster.wait,
    "Wait for the study's job; close with the address of its report.",
    "cluster wait my.yaml --timeout 3600",
)
add_verb(
    cluster_app,
    "cancel",
    cluster.cancel,
    "Delete the study's job. Objects that it wrote stay.",
    "cluster cancel my.yaml",
)
add_verb(
    cluster_app,
    "dashboard",
    cluster.dashboard,
    "Open the Ray dashboard of the study's job on this machine.",
    "cluster dashboard my.yaml",
)
