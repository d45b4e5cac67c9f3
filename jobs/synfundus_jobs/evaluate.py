"""Job `evaluate`: measure the samples against real photographs and write the report, private and public."""

import json
import sys
from typing import Any

from synfundus.diagnosis.checkpoint import load_annotator
from synfundus.digests import canonical_json, digest_of, sha256_hex
from synfundus.evaluation.inception import load_inception
from synfundus.evaluation.run import METRICS, PRIVATE, EvaluationTask, feature_spaces, run_evaluation
from synfundus.labels import LABELS
from synfundus.measures.wording import format_measure
from synfundus.stages.record import git_revision, start_run, versions
from synfundus.storage import Storage, read_manifest, read_trusted
from synfundus.study import Study
from synfundus_jobs.job import Job, Rows


def _curve(storage: Storage, run: str) -> list[tuple[int, float]]:
    """Losses of a training, where its run is still there (an external annotator has none)."""
    name = f"runs/{run}/losses.json"
    if not storage.exists(name):
        return []
    return [(int(row["step"]), float(row["loss"])) for row in json.loads(storage.read(name))]


def _basis(study: Study, storage: Storage) -> dict[str, Any]:
    """Everything that the report depends on."""
    folders = (study.filled_folder, study.annotator_folder, study.generator_folder, study.samples_folder)
    inputs = {folder: sha256_hex(canonical_json(read_manifest(storage, folder))) for folder in folders}
    return {"inputs": inputs, "evaluation": study.public["evaluation"], "title": study.release.title}


def build_task(study: Study, storage: Storage) -> EvaluationTask:
    """The study's evaluation; its digest is that of all that goes into the report."""
    settings = study.shown
    plan = json.loads(storage.read(f"{study.samples_folder}/plan.json"))
    provenance = {"study": digest_of(study.public), "generator": plan["generator"], "git": git_revision(), **versions()}
    return EvaluationTask(
        storage,
        study.filled_folder,
        study.annotator_folder,
        study.samples_folder,
        study.report_folder,
        study.evaluation,
        study.samples.held_out_quantile,
        digest_of(_basis(study, storage)),
        study.release.title,
        settings,
        {
            "Annotator": _curve(storage, f"{study.name}-annotator"),
            "Generator": _curve(storage, f"{study.name}-generator"),
        },
        provenance,
        study.has_real_photographs,
    )


def check(study: Study) -> None:
    if study.evaluation.inception_weights is not None:
        load_inception(study.evaluation.inception_weights)


def describe(study: Study, storage: Storage) -> Rows:
    _, reasons = feature_spaces(load_annotator(storage, study.annotator_folder), study.evaluation)
    return [
        ("read", f"{study.samples_folder}, {study.filled_folder}"),
        ("look at", f"at most {study.evaluation.max_images} images of each set"),
        *((f"{space} features", reason or "computed") for space, reason in reasons.items()),
        ("write", f"{study.report_folder} below {storage.root}"),
    ]


def run(study: Study, storage: Storage) -> Rows:
    task = build_task(study, storage)
    run_name = f"{study.name}-evaluate"
    if start_run(storage, run_name, study.report_folder, task.digest, _basis(study, storage)):
        metrics = run_evaluation(task)
    else:
        manifest = read_manifest(storage, study.report_folder)
        metrics = json.loads(read_trusted(storage, study.report_folder, METRICS, manifest))
    return summary(metrics, storage.uri(f"{study.report_folder}/{PRIVATE}"))


def summary(metrics: dict[str, Any], report: str) -> Rows:
    """One screen: do samples show what was asked, how near to real ones, where the report lies."""
    labels = metrics["consistency"]["labels"]
    side = labels["eye_side"]
    follow = [label.name for label in LABELS if labels[label.name]["beats_permuted"]]
    not_measured = [label.name for label in LABELS if labels[label.name]["beats_permuted"] is None]
    rows: Rows = [
        (
            "side as asked",
            f"{format_measure(side['agreement'])}; shuffled {format_measure(side['agreement_permuted'])}",
        ),
        ("beat shuffled", f"{len(follow)} of {len(LABELS)} labels: {', '.join(follow) or 'none'}"),
    ]
    if not_measured:
        rows.append(("not measurable", ", ".join(not_measured)))
    for space in metrics["fidelity"]["spaces"].values():
        if space["status"] == "computed":
            overall = space["strata"]["overall"]
            synthetic, held_out = (overall[part]["frechet_distance"] for part in ("synthetic", "held_out"))
            text = f"{format_measure(synthetic)}; held-out photographs {format_measure(held_out)}; n = {overall['n']}"
            rows.append((f"Fréchet, {space['title'].lower()}", text))
    privacy = metrics["privacy"]
    if privacy["status"] == "measured":
        rows.append(("too near to training", f"{privacy['num_near']} of {privacy['num_drawn']} drawn, left out"))
    return [*rows, ("report", f"{report} (private)")]


JOB = Job("evaluate", __doc__.split(": ", 1)[1], describe, run, lambda study: study.report_folder, check)
main = JOB.main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
