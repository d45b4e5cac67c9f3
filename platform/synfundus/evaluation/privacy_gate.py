"""The privacy gate: from measured numbers to a verdict with reasons. `publish` refuses a release that it fails.

The limits below are conventions of this project, not of a law. They are wide enough that chance alone rarely fails an
honest generator: where a check compares an interval with a limit, it fails only if the whole 95 % interval lies beyond.
"""

from collections.abc import Iterator

from synfundus.copies.alterations import MILDEST
from synfundus.measures.intervals import wilson
from synfundus.measures.metrics import MeasuredPrivacy, Privacy
from synfundus.measures.privacy import (
    CheckStatus,
    Heading,
    MembershipAttack,
    PrivacyAudit,
    PrivacyCheck,
    PrivacyVerdict,
    Subject,
)
from synfundus.measures.wording import NOT_MEASURABLE, format_measure, with_reason

MAX_AUC = 0.6
"""Largest lower bound of an attack's area under the curve; 0.5 is chance."""
MAX_TIMES_CHANCE = 5.0
"""Largest lower bound of an attack's sensitivity, as a multiple of its false positive rate, which chance reaches."""
MIN_FOUND = 0.9
"""Smallest upper bound of the share of mildly altered copies that the copy detector finds."""
MAX_EXCESS = 0.05
"""Largest lower bound of the excess of findings that are guessed right for training photographs."""


def privacy_verdict(privacy: Privacy, audit: PrivacyAudit) -> PrivacyVerdict:
    """Return the verdict on the samples and on the generator's weights."""
    return PrivacyVerdict(
        checks=(
            _copy_search(privacy),
            _released_copies(privacy),
            _near_samples(privacy),
            _memorisation(privacy, audit),
            _canaries(audit),
            *_initial_weights(audit),
            _membership("images", audit.attack_on_images, "Can the release tell whether a person was in the training?"),
            _few_members("images", audit.attack_on_images, "Does the release give away a few people of the training?"),
            _inference(audit),
            _membership(
                "weights", audit.attack_on_weights, "Can the weights tell whether a person was in the training?"
            ),
            _few_members("weights", audit.attack_on_weights, "Do the weights give away a few people of the training?"),
            _reference_generators(audit),
        )
    )


def _status(*, failed: bool) -> CheckStatus:
    return "failed" if failed else "passed"


def _copy_search(privacy: Privacy) -> PrivacyCheck:
    return PrivacyCheck(
        heading="singling out",
        subject="images",
        title="Does the search find copies?",
        status=_copy_search_status(privacy),
        required=True,
        finding=(
            "of mildly altered training photographs, the copy detector finds "
            + "; ".join(f"{kind}: {_found(privacy, kind)}" for kind in MILDEST)
            if isinstance(privacy, MeasuredPrivacy)
            else privacy.reason
        ),
        rule=f"Fails if the 95 % interval of one of these shares lies below {MIN_FOUND:g}.",
        limit="Stronger alterations are found less often. The table of altered copies has the share of each kind.",
    )


def _copy_search_status(privacy: Privacy) -> CheckStatus:
    found = privacy.detector.found if isinstance(privacy, MeasuredPrivacy) else {}
    measured = [found[kind] for kind in MILDEST if kind in found and found[kind].measurable]
    if any(share.interval[2] < MIN_FOUND for share in measured):
        return "failed"
    return "passed" if len(measured) == len(MILDEST) else "not measurable"


def _found(privacy: MeasuredPrivacy, kind: str) -> str:
    share = privacy.detector.found.get(kind)
    return NOT_MEASURABLE if share is None else format_measure(share)


def _released_copies(privacy: Privacy) -> PrivacyCheck:
    measured = isinstance(privacy, MeasuredPrivacy)
    return PrivacyCheck(
        heading="singling out",
        subject="images",
        title="Does a released image copy a photograph of a patient?",
        status=_status(failed=privacy.num_below > 0) if isinstance(privacy, MeasuredPrivacy) else "not measurable",
        required=True,
        finding=(
            f"{privacy.num_below} of {privacy.num_synthetic} accepted samples that were compared again are nearer to a"
            " training photograph than the threshold"
            if isinstance(privacy, MeasuredPrivacy)
            else privacy.reason
        ),
        rule="Fails if the distance ratio of one accepted sample is below the threshold.",
        limit=(
            "A copy that is changed more than the copy detector tolerates is not found, and a resemblance short of a"
            " copy is not counted."
            if measured
            else "Without this comparison nothing is known about copies."
        ),
    )


def _near_samples(privacy: Privacy) -> PrivacyCheck:
    title = "Does the generator copy more often than chance resemblance explains?"
    rule = (
        "Fails if the 95 % interval of the share of samples near a training photograph lies above the upper bound of"
        " the share of photographs of other people that are as near."
    )
    if not isinstance(privacy, MeasuredPrivacy):
        return PrivacyCheck(
            heading="singling out",
            subject="images",
            title=title,
            status="not measurable",
            required=True,
            finding=privacy.reason,
            rule=rule,
            limit="Without this comparison nothing is known about copies.",
        )
    bound = 100 * privacy.share_near_upper_bound
    return PrivacyCheck(
        heading="singling out",
        subject="images",
        title=title,
        status=_status(failed=privacy.share_near.interval[1] > chance_nearness(privacy)),
        required=True,
        finding=(
            f"{privacy.num_near} of all {privacy.num_sampled} samples were near a training photograph and were"
            f" rejected; with 95 % confidence at most {bound:.2g} % of the generator's samples are. Of held-out"
            f" photographs, {100 * privacy.expected_rate:.2g} % are expected to be (upper bound"
            f" {100 * chance_nearness(privacy):.2g} %)"
        ),
        rule=rule,
        limit=(
            "The bound is about 3 / n if none of n samples is near: it says nothing about rarer copies. Whoever samples"
            " more than n images may meet one."
        ),
    )


def chance_nearness(privacy: MeasuredPrivacy) -> float:
    """Return the upper bound of the share of other people's photographs that are below the threshold.

    The smaller of two bounds: that of the test photographs, if there are any, and that of the validation photographs
    behind the threshold. The bound of few test photographs alone would be so wide that no generator exceeds it.
    """
    rejections = privacy.detector.false_rejections
    expected = wilson(privacy.expected_rate, privacy.num_validation)[1]
    return min(expected, rejections.interval[2]) if rejections.measurable else expected


def _memorisation(privacy: Privacy, audit: PrivacyAudit) -> PrivacyCheck:
    title, heading, subject = "Did the training end in memorisation?", "singling out", "images"
    rule = (
        "Fails if the 95 % interval of the share at the last checkpoint lies above the upper bound of the share of"
        " photographs of other people that are as near."
    )
    limit = "A few samples at each checkpoint show a strong rise only; the check on all samples is the sharper one."
    if not audit.memorisation or not isinstance(privacy, MeasuredPrivacy):
        status: CheckStatus = "not measurable"
        finding = "the training of the generator recorded no distances of samples"
    else:
        first, last = audit.memorisation[0], audit.memorisation[-1]
        status = _status(failed=last.share.interval[1] > chance_nearness(privacy))
        finding = (
            f"{last.num_near} of {last.num_samples} samples were near a training photograph at the last checkpoint"
            f" (step {last.step}), and {first.num_near} of {first.num_samples} at the first one (step {first.step})"
        )
    return PrivacyCheck(
        heading=heading,
        subject=subject,
        title=title,
        status=status,
        required=False,
        finding=finding,
        rule=rule,
        limit=limit,
    )


def _canaries(audit: PrivacyAudit) -> PrivacyCheck:
    shares = [
        f"{canary.num_near} of {canary.num_samples} samples reproduce their canary at {canary.repeats} repeats"
        for canary in audit.canaries
    ]
    return PrivacyCheck(
        heading="singling out",
        subject="images",
        title="Was the generator trained for an audit, with patients repeated on purpose?",
        status=_status(failed=bool(shares)),
        required=True,
        finding="; ".join(shares) or "no patient was repeated on purpose",
        rule="Fails if the training had canaries: repeating patients makes it likely that samples copy them.",
        limit=(
            "Canaries show from how many repeats on a patient is reproduced, for the few patients that were repeated."
            if shares
            else "Without canaries it is not known how often a patient must occur to be reproduced; an audit study with"
            " generator.canaries shows it."
        ),
    )


def _initial_weights(audit: PrivacyAudit) -> Iterator[PrivacyCheck]:
    """Yield a check that no measurement answers, if the training started from other weights."""
    if audit.initial_weights:
        yield PrivacyCheck(
            heading="singling out",
            subject="images",
            title="Do samples repeat photographs behind the initial weights?",
            status="not measurable",
            required=True,
            finding=(
                "the training started from other weights (generator.init_from); samples may repeat photographs that"
                " those weights were trained on, which were not compared"
            ),
            rule="Not measurable if the training started from other weights.",
            limit=(
                "All other checks compare with the photographs of this study alone. They do not see canaries of the"
                " other training either."
            ),
        )


def _membership(subject: Subject, attack: MembershipAttack, title: str) -> PrivacyCheck:
    return PrivacyCheck(
        heading="linkability",
        subject=subject,
        title=title,
        status=_status(failed=succeeds(attack)) if attack.auc.measurable else "not measurable",
        required=True,
        finding=(
            f"the attack on {attack.num_members} training photographs and {attack.num_non_members} photographs of other"
            f" people has an AUC of {format_measure(attack.auc)}"
            if attack.auc.measurable
            else f"the attack is not measurable: {attack.auc.reason}"
        ),
        rule=f"Fails if the 95 % interval of the AUC lies above {MAX_AUC:g}.",
        limit=(
            "This is one attack; a better one may succeed. It uses a photograph of the training itself, which is the"
            " worst case: another photograph of the same eye is harder to link."
        ),
    )


def succeeds(attack: MembershipAttack) -> bool:
    """Return whether a measurable attack separates members from others so well that the gate fails."""
    return attack.auc.interval[1] > MAX_AUC


def _few_members(subject: Subject, attack: MembershipAttack, title: str) -> PrivacyCheck:
    rates = [
        f"at {100 * rate.false_positive_rate:.2g} % false accusations the attack recognises"
        f" {format_measure(rate.sensitivity)} of the members"
        if rate.sensitivity.measurable
        else f"its sensitivity at {100 * rate.false_positive_rate:.2g} % false accusations is"
        f" {with_reason(rate.sensitivity)}"
        for rate in attack.rates
    ]
    return PrivacyCheck(
        heading="linkability",
        subject=subject,
        title=title,
        status=_few_members_status(attack),
        required=False,
        finding="; ".join(rates),
        rule=(
            f"Fails if the 95 % interval of a sensitivity lies above {MAX_TIMES_CHANCE:g} times its share of false"
            f" accusations. Needs {attack.rates[0].num_non_members_needed} independent photographs of other people."
        ),
        limit=(
            "The AUC is an average, which hides a few people who are recognised for sure. Where this is not measurable,"
            " nothing is known about them."
        ),
    )


def _few_members_status(attack: MembershipAttack) -> CheckStatus:
    """Return the status at low shares of false accusations; measurable if it is at the largest of them."""
    if recognises_few(attack):
        return "failed"
    return "passed" if attack.rates[0].sensitivity.measurable else "not measurable"


def recognises_few(attack: MembershipAttack) -> bool:
    """Return whether an attack recognises some members for sure, at a low share of false accusations."""
    return any(
        rate.sensitivity.interval[1] > MAX_TIMES_CHANCE * rate.false_positive_rate
        for rate in attack.rates
        if rate.sensitivity.measurable
    )


def _inference(audit: PrivacyAudit) -> PrivacyCheck:
    inference = audit.inference
    measurable = inference.excess.measurable
    return PrivacyCheck(
        heading="inference",
        subject="images",
        title="Does the release reveal a person's diagnosis?",
        status=_status(failed=inference.excess.interval[1] > MAX_EXCESS) if measurable else "not measurable",
        required=False,
        finding=(
            f"the request of the nearest sample names {format_measure(inference.training)} of the findings of training"
            f" photographs and {format_measure(inference.held_out)} of those of other people; difference"
            f" {format_measure(inference.excess)}"
            if measurable
            else f"not measurable: {inference.excess.reason}"
        ),
        rule=f"Fails if the 95 % interval of the difference lies above {MAX_EXCESS:g}.",
        limit=(
            "A physician or a program may read the diagnosis off the photograph itself, with or without this release."
            " That a person was a patient at all follows from membership, above."
        ),
    )


def _reference_generators(audit: PrivacyAudit) -> PrivacyCheck:
    attack = audit.attack_on_weights
    count = attack.num_references
    return PrivacyCheck(
        heading="linkability",
        subject="weights",
        title="Was the attack on the weights a strong one?",
        status="passed" if count else "not measurable",
        required=True,
        finding=(
            f"{count} reference generators told the attack how hard each photograph is"
            if count
            else "the attack had no reference generator, and is weak without one"
        ),
        rule="Not measurable without a reference generator (evaluation.reference_generators).",
        limit="More references, and queries of changed photographs, make the attack stronger still.",
    )


def headings_of(verdict: PrivacyVerdict, heading: Heading) -> Iterator[PrivacyCheck]:
    """Yield the checks under one heading, those of the images first."""
    for subject in ("images", "weights"):
        yield from (check for check in verdict.checks if check.heading == heading and check.subject == subject)
