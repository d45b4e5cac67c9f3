"""The dataset card: `README.md` with the YAML header that Hugging Face reads, for researchers and privacy officers."""

from collections.abc import Mapping
from dataclasses import dataclass

import yaml
from pydantic import JsonValue

from synfundus.diagnosis.metrics import AnnotatorMetrics
from synfundus.labels import HEAD_NAMES, HEADS, LABELS
from synfundus.measures.editions import withhold
from synfundus.measures.metrics import ComputedSpace, EvaluationMetrics, Extrapolation, Fidelity
from synfundus.measures.templates import read_template
from synfundus.measures.transfer_metrics import ComputedTransfer, Role, Transfer
from synfundus.measures.transfer_text import ENDPOINTS, SHOWN, finding_text, nothing_survives, what_was_compared
from synfundus.measures.wording import RESEARCH_ONLY, describe_judge, format_measure, format_number, grader_name
from synfundus.samples.chain import chain_sentences
from synfundus.samples.croissant import citation, licence_url
from synfundus.samples.release_config import PrivacyStatement, ReleaseConfig
from synfundus.samples.release_metadata import INTENDED_USES, LIMITATIONS, REASON_TEXT, ReleaseMetadata

MEASURED_SPLIT = "test"
"""Split on which the card shows the annotator's decisions."""
NOT_STATED = "Not stated by the makers of this release."
CC_TERMS = ("by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd")
SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
HUB_LICENCES = ("apache-2.0", "mit", "cc0-1.0", *(f"cc-{terms}-4.0" for terms in CC_TERMS), "pddl", "odc-by", "odbl")
"""Common licences as Hugging Face spells them. Any other one is written as `other` with its name."""
QUESTIONS = {
    "legal_basis": "Legal basis of the training",
    "consent": "Consent of the patients",
    "personal_data_assessment": "Are the images personal data (singling out, linkability, inference)?",
    "audit": "Who audited the release, against which attacks, and what was the worst case?",
    "weights": "Are the weights of the models released?",
    "removal": "Can one patient be removed?",
    "differential_privacy": "Differential privacy",
    "incident_contact": "Contact if an image seems to show a real eye",
}
"""A privacy officer's questions that no measurement answers, by field of `PrivacyStatement`."""


@dataclass(frozen=True)
class _FidelityRow:
    """One measure of fidelity, as text."""

    title: str
    better: str
    held_out: str
    synthetic: str


@dataclass(frozen=True)
class _Finding:
    """Differences that survive the correction over one endpoint of the transfer, as text."""

    endpoint: str
    num_measured: int
    surviving: list[str]
    nothing_survives: str
    """Sentence for a study in which nothing survives; empty otherwise."""


@dataclass(frozen=True)
class _FidelityTable:
    """Fidelity of all images in one feature space, or the reason why it was not computed."""

    title: str
    rows: tuple[_FidelityRow, ...] = ()
    n: int = 0
    reason: str | None = None


@dataclass(frozen=True)
class _ConsistencyRow:
    """Agreement of prediction and request for one label, as text."""

    title: str
    statistic: str
    requested: str
    permuted: str
    beats_permuted: str
    by_annotator: str
    """The annotator's statistic, beside that of an independent judge; empty if there is none."""
    note: str


@dataclass(frozen=True)
class _OperatingRow:
    """Operating point of one head, and its decisions on the test photographs, as text."""

    title: str
    point: str
    threshold: str
    sensitivity: str
    specificity: str
    ppv: str
    prevalence: str
    n: str


def dataset_card(
    config: ReleaseConfig,
    metadata: ReleaseMetadata,
    metrics: EvaluationMetrics,
    annotator_metrics: AnnotatorMetrics,
) -> str:
    """Return the card as Markdown."""
    public = withhold(metrics)
    return read_template("synfundus.samples", "README.md.j2", autoescape=False).render(
        header=yaml.safe_dump(header(config, metadata.num_accepted), sort_keys=False, allow_unicode=True),
        config=config,
        metadata=metadata,
        chain=chain_sentences(metadata.origin),
        limitations=LIMITATIONS,
        intended_uses=INTENDED_USES,
        research_only=RESEARCH_ONLY,
        licence_url=licence_url(config.licence),
        citation=citation(config),
        rejected=[f"{count} {REASON_TEXT[reason]}" for reason, count in sorted(metadata.rejected.items())],
        counts=public.counts,
        spaces=_fidelity_tables(public.fidelity),
        top_octave=public.spectrum.top,
        format_measure=format_measure,
        judge=describe_judge(public.judge),
        grader=grader_name(public.judge),
        labels=_consistency_rows(public, annotator_metrics.unusable),
        sensitivity=public.sensitivity,
        operating_points=_operating_rows(annotator_metrics),
        transfer=public.transfer,
        **_transfer_texts(public.transfer),
        privacy=public.privacy,
        verdict=public.verdict,
        notes=public.notes,
        answers=_answers(config.privacy),
    )


def header(config: ReleaseConfig, num_accepted: int) -> dict[str, JsonValue]:
    """Return the YAML header."""
    licence = config.licence.lower()
    known = licence in HUB_LICENCES
    spelled = {"license": licence} if known else {"license": "other", "license_name": config.licence}
    return {
        "pretty_name": config.title,
        **spelled,
        "task_categories": ["image-classification"],
        "size_categories": [next((name for limit, name in SIZES if num_accepted < limit), "n>10M")],
        "annotations_creators": ["machine-generated"],
        "tags": ["medical", "ophthalmology", "fundus-photography", "synthetic", "diffusion"],
        "configs": [{"config_name": "default", "data_files": "data/*.parquet"}],
    }


def _fidelity_tables(fidelity: Fidelity) -> list[_FidelityTable]:
    """Return one table for each feature space."""
    tables = []
    for space in fidelity.ordered_spaces:
        if not isinstance(space, ComputedSpace):
            tables.append(_FidelityTable(space.title, reason=space.reason))
            continue
        overall = space.strata["overall"]
        rows = tuple(
            _FidelityRow(
                text.title, text.better, format_measure(overall.held_out[name]), format_measure(overall.synthetic[name])
            )
            for name, text in fidelity.measures.items()
        )
        tables.append(_FidelityTable(space.title, rows + _unlimited_rows(space.extrapolation), overall.n))
    return tables


def _unlimited_rows(limit: Extrapolation) -> tuple[_FidelityRow, ...]:
    """Return the Fréchet distance at an unlimited number of images; none if it is not measurable."""
    if not limit.points:
        return ()
    title = "Fréchet distance, extrapolated to unlimited images"
    return (_FidelityRow(title, "lower", format_measure(limit.held_out), format_measure(limit.synthetic)),)


def _consistency_rows(metrics: EvaluationMetrics, unusable: Mapping[str, str]) -> list[_ConsistencyRow]:
    """Return one row for each label; `unusable` are those that the annotator cannot predict."""
    rows, annotator = [], metrics.annotator_consistency
    for label in LABELS:
        entry = metrics.consistency.labels[label.name]
        rows.append(
            _ConsistencyRow(
                title=label.title,
                statistic="kappa" if entry.statistic == "quadratic_kappa" else "AUC",
                requested=format_measure(entry.requested),
                permuted=format_measure(entry.permuted) if entry.requested.measurable else "",
                beats_permuted={True: "yes", False: "no", None: ""}[entry.beats_permuted],
                by_annotator="" if annotator is None else format_measure(annotator.labels[label.name].requested),
                note="unusable label" if label.name in unusable else "",
            )
        )
    return rows


def _operating_rows(annotator: AnnotatorMetrics) -> list[_OperatingRow]:
    """Return one row for each head of a usable label; for grades, one for each grade or more."""
    return [
        _operating_row(label.title, head, annotator)
        for label in LABELS
        for head in HEAD_NAMES[HEADS[label.name]]
        if head in annotator.operating_points
    ]


def _operating_row(title: str, head: str, annotator: AnnotatorMetrics) -> _OperatingRow:
    point, measured = annotator.operating_points[head], annotator.splits[MEASURED_SPLIT].heads[head]
    grade = head.partition(">=")[2]
    reason = f"; not met: {point.reason}" if point.reason else ""
    return _OperatingRow(
        title=f"{title}, {grade} or more" if grade else title,
        point=point.words + reason,
        threshold="" if point.threshold is None else format_number(point.threshold),
        sensitivity=format_measure(measured.sensitivity),
        specificity=format_measure(measured.specificity),
        ppv=format_measure(measured.ppv),
        prevalence=format_number(point.prevalence),
        n=f"{measured.num_positive} / {measured.num_images - measured.num_positive}",
    )


def _transfer_texts(transfer: Transfer) -> dict[str, str | list[_Finding]]:
    """Return the texts of the section on training; none if no model was trained on the samples."""
    if not isinstance(transfer, ComputedTransfer):
        return {}
    return {
        "what_was_compared": what_was_compared(transfer),
        "transfer_findings": [_transfer_finding(transfer, role) for role in SHOWN],
    }


def _transfer_finding(transfer: ComputedTransfer, role: Role) -> _Finding:
    """Return what survives the correction over the families of a role."""
    surviving = [finding_text(transfer, entry, metric) for entry, metric in transfer.surviving(role)]
    nothing = "" if surviving else nothing_survives(transfer, role)
    return _Finding(ENDPOINTS[role], transfer.num_measured(role), surviving, nothing)


def _answers(privacy: PrivacyStatement) -> list[tuple[str, str]]:
    """Return each question of a privacy officer with its answer."""
    return [(question, getattr(privacy, field) or NOT_STATED) for field, question in QUESTIONS.items()]
