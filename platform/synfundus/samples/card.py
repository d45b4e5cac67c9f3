"""The dataset card: `README.md` with the YAML header that Hugging Face reads, for people and for privacy officers."""

from collections.abc import Mapping
from typing import Any

import jinja2
import yaml

from synfundus.labels import LABELS
from synfundus.measures.editions import withhold
from synfundus.measures.wording import RESEARCH_ONLY, format_measure, is_measured
from synfundus.samples.config import PrivacyStatement, ReleaseConfig
from synfundus.samples.croissant import citation, licence_address
from synfundus.samples.release_facts import REASONS, ReleaseFacts

NOT_STATED = "Not stated by the makers of this release."
CC_TERMS = ("by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd")
SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
HUB_LICENCES = ("apache-2.0", "mit", "cc0-1.0", *(f"cc-{terms}-4.0" for terms in CC_TERMS), "pddl", "odc-by", "odbl")
"""Those that a study is likely to choose, as Hugging Face spells them; another is written as `other` with its name."""
QUESTIONS = {
    "legal_basis": "Legal basis of training",
    "consent": "Consent of the patients",
    "personal_data_assessment": "Are the images personal data (singling out, linkability, inference)",
    "audit": "Who audited, against which attacks, with what worst case",
    "weights": "Are the model's weights released",
    "removal": "Can one patient be removed",
    "differential_privacy": "Differential privacy",
    "incident_contact": "Whom to tell when an image seems to show a real eye",
}
"""The privacy officer's questions that no measurement answers."""


def dataset_card(
    config: ReleaseConfig, facts: ReleaseFacts, metrics: Mapping[str, Any], annotator_metrics: Mapping[str, Any]
) -> str:
    """The card as Markdown. `metrics` is metrics.json of the evaluation, `annotator_metrics` that of the annotator."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("synfundus.samples"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  Markdown, not HTML
    )
    public = withhold(metrics)
    return environment.get_template("README.md.j2").render(
        header=yaml.safe_dump(header(config, facts.num_accepted), sort_keys=False, allow_unicode=True),
        config=config,
        facts=facts,
        research_only=RESEARCH_ONLY,
        licence_address=licence_address(config.licence),
        citation=citation(config),
        rejected=[f"{count} {REASONS[reason]}" for reason, count in facts.rejected.items()],
        counts=public["counts"],
        spaces=_fidelity_tables(public["fidelity"]),
        labels=_label_rows(public["consistency"]["labels"], withhold(annotator_metrics["unusable"])),
        privacy=public["privacy"],
        format_measure=format_measure,
        notes=public["notes"],
        answers=_answers(config.privacy),
    )


def header(config: ReleaseConfig, num_accepted: int) -> dict[str, Any]:
    """The YAML header."""
    licence = config.licence.lower()
    known: dict[str, Any] = {"license": licence}
    if licence not in HUB_LICENCES:
        known = {"license": "other", "license_name": config.licence}
    return {
        "pretty_name": config.title,
        **known,
        "task_categories": ["image-classification"],
        "size_categories": [next((name for limit, name in SIZES if num_accepted < limit), "n>10M")],
        "annotations_creators": ["machine-generated"],
        "tags": ["medical", "ophthalmology", "fundus-photography", "synthetic", "diffusion"],
        "configs": [{"config_name": "default", "data_files": "data/*.parquet"}],
    }


def _fidelity_tables(fidelity: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One table a feature space: the overall comparison, or why there is none."""
    tables = []
    for space in fidelity["spaces"].values():
        table: dict[str, Any] = {"title": space["title"], "reason": space.get("reason"), "rows": [], "n": 0}
        if space["status"] == "computed":
            overall = space["strata"]["overall"]
            table["n"] = overall["n"]
            table["rows"] = [
                (words["title"], words["better"], overall["held_out"][name], overall["synthetic"][name])
                for name, words in fidelity["measures"].items()
                if name in overall["synthetic"]
            ]
        tables.append(table)
    return tables


def _label_rows(labels: Mapping[str, Any], unusable: Mapping[str, str]) -> list[dict[str, str]]:
    rows = []
    for label in LABELS:
        entry = labels[label.name]
        measured = is_measured(entry["asked"])
        rows.append(
            {
                "title": label.title,
                "statistic": "kappa" if entry["statistic"] == "quadratic_kappa" else "AUC",
                "asked": format_measure(entry["asked"]),
                "permuted": format_measure(entry["permuted"]) if measured else "",
                "follows": {True: "yes", False: "no", None: ""}[entry["beats_permuted"]],
                "note": "annotator cannot tell" if label.name in unusable else "",
            }
        )
    return rows


def _answers(privacy: PrivacyStatement) -> list[tuple[str, str]]:
    given = privacy.model_dump()
    return [(question, given[field] or NOT_STATED) for field, question in QUESTIONS.items()]
