"""Typed results of the privacy audit, and the verdict of the privacy gate; both are parts of a report's `metrics.json`.

`evaluation.attacks` and its neighbours measure, `evaluation.privacy_gate` decides, and `publish` obeys. The headings
are those of the Article 29 Working Party's opinion 05/2014 (WP 216): singling out, linkability, inference.
"""

from collections.abc import Iterator
from typing import Literal

from synfundus.measures.measure import Measure
from synfundus.metadata import Metadata

Heading = Literal["singling out", "linkability", "inference"]
HEADINGS: tuple[Heading, ...] = ("singling out", "linkability", "inference")
Subject = Literal["images", "weights"]
CheckStatus = Literal["passed", "failed", "not measurable"]


class DetectionRate(Metadata):
    """Share of the members that an attack recognises while it accuses a stated share of the non-members wrongly."""

    false_positive_rate: float
    """Share of the non-members that the attack takes for members, 0 to 1."""
    num_non_members_needed: int
    """Smallest number of non-members at which this share is measurable."""
    sensitivity: Measure
    """Share of the members that the attack recognises; chance is the false positive rate."""


class MembershipAttack(Metadata):
    """Attack that guesses whether a photograph was among the training photographs (Carlini et al. 2022)."""

    title: str
    """Name in plain words."""
    attacker: str
    """Knowledge and data of the attacker, in one sentence."""
    num_members: int
    """Training photographs that were attacked."""
    num_non_members: int
    """Held-out photographs of other patients that were attacked."""
    num_references: int
    """Other generators that tell the attacker how hard each photograph is for any generator."""
    auc: Measure
    """Area under the ROC curve of the attack: 0.5 is chance, 1 recognises every member."""
    rates: tuple[DetectionRate, ...]
    """Sensitivity at low false positive rates, the largest rate first."""


class MemorisationShare(Metadata):
    """Share of a generator's samples that lay near a training photograph at one checkpoint of its training."""

    step: int
    """Optimiser steps done."""
    num_samples: int
    num_near: int
    """Samples nearer to a training photograph than the threshold."""
    share: Measure


class CanaryShare(Metadata):
    """Share of the samples that reproduce a canary: a patient who was repeated on purpose in the training."""

    repeats: int
    """Times that each photograph of the patient counts in the training; 1 is once, as for every patient."""
    num_patients: int
    num_samples: int
    """Samples at the last checkpoint that were requested with the labels of these patients."""
    num_near: int
    """Samples among them that are copies of the patient whose labels they were requested with."""
    share: Measure


class LabelInference(Metadata):
    """Attack that takes the requested label of the nearest sample for the label of a person's photograph.

    Only findings count: pairs of a photograph and a disease that an expert saw in it.
    """

    training: Measure
    """Share of the findings of training photographs that the attack guesses right."""
    held_out: Measure
    """The same share for held-out photographs of other people: what anyone could guess without the training data."""
    excess: Measure
    """`training` minus `held_out`: what the release adds about the people whose photographs were used."""


class PrivacyAudit(Metadata):
    """Results of attacks on the samples and on the generator's weights."""

    memorisation: tuple[MemorisationShare, ...]
    """An entry per checkpoint; empty if the training of the generator recorded none."""
    canaries: tuple[CanaryShare, ...]
    """An entry per number of repeats; empty if the training had no canaries."""
    attack_on_images: MembershipAttack
    """The attacker holds the samples and a photograph of the person."""
    attack_on_weights: MembershipAttack
    """The attacker holds the generator's weights and a photograph of the person."""
    inference: LabelInference
    initial_weights: bool
    """True if the training of the generator started from other weights, whose training images were not compared."""


class PrivacyCheck(Metadata):
    """One question of the gate, with its answer in numbers."""

    heading: Heading
    subject: Subject
    """Subject of the check: a release of images, or handing on the generator's weights."""
    title: str
    """Question in plain words."""
    status: CheckStatus
    required: bool
    """A required check must be measured: if it is not measurable, the gate fails."""
    finding: str
    """Measured numbers, in one sentence or two."""
    rule: str
    """When the check fails."""
    limit: str
    """Limit of the number: facts that it does not show."""

    @property
    def answer(self) -> str:
        """Question and finding, as sentences without the last full stop."""
        return f"{self.title} {self.finding[0].upper()}{self.finding[1:]}"

    @property
    def blocks(self) -> bool:
        """True if the gate fails because of this check."""
        return self.status == "failed" or (self.required and self.status == "not measurable")


class PrivacyVerdict(Metadata):
    """Verdict of the privacy gate. It reports attacks that were tried; it is no proof of anonymity."""

    checks: tuple[PrivacyCheck, ...]

    def blocking(self, subject: Subject) -> Iterator[PrivacyCheck]:
        """Yield the checks because of which the gate fails for a subject."""
        return (check for check in self.checks if check.subject == subject and check.blocks)

    @property
    def gaps(self) -> list[PrivacyCheck]:
        """Checks that are not measurable and do not block, which a reader of a passed verdict must know."""
        return [check for check in self.checks if check.status == "not measurable" and not check.blocks]

    def passed(self, subject: Subject) -> bool:
        """Return whether the gate lets the images be released, or the weights be handed on.

        Weights show everything that images show, and more, so they pass only where the images pass.
        """
        subjects: tuple[Subject, ...] = ("images",) if subject == "images" else ("images", "weights")
        return not any(next(self.blocking(each), None) for each in subjects)

    @property
    def reasons(self) -> list[str]:
        """Why the images may not be released, one sentence each; empty if they may."""
        return [check.answer for check in self.blocking("images")]
