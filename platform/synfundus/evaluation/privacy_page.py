"""The privacy page: the verdict of the gate on one page, in plain words, for a privacy officer.

It holds no photograph and nothing that leads to a person, so it is part of a release. The report shows the same checks.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from synfundus.evaluation.figures.memorisation import plot_memorisation
from synfundus.evaluation.privacy_gate import headings_of
from synfundus.fundus.origin import OTHER_SOURCES, Origin
from synfundus.measures.editions import edition_mark, withhold
from synfundus.measures.metrics import EvaluationMetrics, MeasuredPrivacy
from synfundus.measures.privacy import HEADINGS, Heading, MembershipAttack, PrivacyCheck, PrivacyVerdict, Subject
from synfundus.measures.templates import read_template
from synfundus.measures.wording import RESEARCH_ONLY, format_measure, with_reason
from synfundus.samples.chain import chain_sentences

HEADING_TEXTS: Mapping[Heading, str] = {
    "singling out": "Can somebody isolate the data of one person in the release? For images: does a sample repeat the"
    " photograph of one patient?",
    "linkability": "Can somebody link data about one person, within the release or with data from elsewhere? For"
    " images: does a photograph of the person reveal that the person was among the patients?",
    "inference": "Can somebody deduce an attribute of a person from the release, beyond what is known without it? For"
    " images: does the sample nearest to a photograph name the person's disease?",
}
"""The terms of WP 216, and what they mean for synthetic photographs."""
NOT_COVERED = (
    "A better attack than those tried may succeed. The training is not differentially private: nothing is guaranteed.",
    "Whoever holds the generator's weights can sample the rejected images again; this page assumes that they stay.",
    "Nobody tested whether a person recognises an eye, or whether several samples together reveal a person.",
    "Photographs, annotator, logs and rejected samples are not part of the release and not judged here.",
    "Whether the images are personal data is a legal question. This page gives it numbers, not an answer.",
)


@dataclass(frozen=True)
class GateSection:
    """The checks under one heading."""

    title: str
    meaning: str
    checks: list[PrivacyCheck]


@dataclass(frozen=True)
class GateView:
    """Verdict and checks as the page and the report show them."""

    images: str
    weights: str
    images_passed: bool
    weights_passed: bool
    gaps: list[str]
    """Checks that were not measured although the verdict does not need them."""
    sections: list[GateSection]


def gate_view(verdict: PrivacyVerdict) -> GateView:
    """Return the verdict in words, with its checks by heading."""
    return GateView(
        images=_sentence(verdict, "images", "The images may be released", "The images may not be released"),
        weights=_sentence(
            verdict,
            "weights",
            "The generator's weights may be handed on",
            "The generator's weights may not be handed on",
        ),
        images_passed=verdict.passed("images"),
        weights_passed=verdict.passed("weights"),
        gaps=[check.answer for check in verdict.gaps],
        sections=[
            GateSection(heading.capitalize(), HEADING_TEXTS[heading], list(headings_of(verdict, heading)))
            for heading in HEADINGS
        ],
    )


def _sentence(verdict: PrivacyVerdict, subject: Subject, passed: str, failed: str) -> str:
    if verdict.passed(subject):
        return f"{passed}, as far as these checks show."
    blocking = [check.title for each in ("images", "weights") for check in verdict.blocking(each)]
    if subject == "images":
        blocking = [check.title for check in verdict.blocking("images")]
    return f"{failed}. Not passed: {' '.join(blocking)}"


def attack_rows(attacks: list[MembershipAttack]) -> list[list[str]]:
    """Return a row of cells for each attack: title, photographs, references, AUC and the sensitivities."""
    return [
        [
            attack.title,
            f"{attack.num_members} / {attack.num_non_members}",
            str(attack.num_references),
            format_measure(attack.auc),
            *(with_reason(rate.sensitivity) for rate in attack.rates),
        ]
        for attack in attacks
    ]


def render_privacy_page(
    title: str, metrics: EvaluationMetrics, origin: Origin = OTHER_SOURCES, *, real_photographs: bool = True
) -> str:
    """Return the page. The same metrics give the same text.

    Args:
        origin: releases that the study's photographs come from: the page then says that they are synthetic.
        real_photographs: false if the study's photographs are phantoms: the page then says so.
    """
    public = withhold(metrics)
    audit, privacy = public.audit, public.privacy
    return read_template("synfundus.evaluation", "privacy.html.j2").render(
        edition_mark=edition_mark("public"),
        research_only=RESEARCH_ONLY,
        title=withhold(title),
        real_photographs=real_photographs,
        chain=chain_sentences(withhold(origin)),
        gate=gate_view(public.verdict),
        counts=public.counts,
        privacy=privacy,
        audit=audit,
        attacks=attack_rows([audit.attack_on_images, audit.attack_on_weights]),
        memorisation=plot_memorisation(audit.memorisation, privacy) if isinstance(privacy, MeasuredPrivacy) else None,
        format_measure=format_measure,
        not_covered=NOT_COVERED,
    )
