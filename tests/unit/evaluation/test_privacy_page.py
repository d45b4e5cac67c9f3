"""The privacy page states verdict, numbers and limits under the terms of the GDPR's tests, and names no person."""

import html
import re

import pytest

from support.measure_example import measure
from support.metrics_example import example_metrics
from support.origin_example import only, release_origin
from support.privacy_example import IMAGE_ID, example_attack, example_audit
from synfundus.evaluation.privacy_gate import privacy_verdict
from synfundus.evaluation.privacy_page import NOT_COVERED, render_privacy_page
from synfundus.measures.editions import is_public, withhold
from synfundus.measures.measure import Measure
from synfundus.measures.metrics import EvaluationMetrics, UnmeasuredPrivacy
from synfundus.measures.privacy import CanaryShare
from synfundus.samples.chain import chain_sentences

TITLE = "Study of tests"


def metrics_with(**changes: object) -> EvaluationMetrics:
    metrics = example_metrics()
    audit = example_audit(**changes)
    return metrics.model_copy(update={"audit": audit, "verdict": privacy_verdict(metrics.privacy, audit)})


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def test_the_page_states_the_verdict_and_every_check_under_its_heading() -> None:
    page = render_privacy_page(TITLE, example_metrics())
    text = text_of(page)
    assert "Images: The images may be released, as far as these checks show." in text
    places = [page.index(f"<h3>{heading}</h3>") for heading in ("Singling out", "Linkability", "Inference")]
    assert places == sorted(places)
    for check in example_metrics().verdict.checks:
        for part in (check.title, check.rule, check.limit):
            assert part in text
    for limit in NOT_COVERED:
        assert limit in text


def test_a_failed_gate_says_on_the_page_what_did_not_pass() -> None:
    text = text_of(render_privacy_page(TITLE, metrics_with(attack_on_images=example_attack("images", 0.9))))
    assert "The images may not be released. Not passed: Can the release tell whether a person was in" in text
    assert "The generator's weights may not be handed on" in text


def test_a_rate_that_cannot_be_measured_states_the_reason() -> None:
    text = text_of(render_privacy_page(TITLE, example_metrics()))
    assert "not measurable: 300 non-members; needs 1000" in text


def test_the_page_of_a_passed_gate_lists_what_was_not_measured() -> None:
    unknown = Measure.not_measurable("40 independent negatives; needs 368", 300)
    attack = example_attack("images", 0.5)
    rates = tuple(rate.model_copy(update={"sensitivity": unknown}) for rate in attack.rates)
    metrics = metrics_with(attack_on_images=attack.model_copy(update={"rates": rates}))
    text = text_of(render_privacy_page(TITLE, metrics))
    assert "Images: The images may be released" in text
    gaps = text.partition("Not measured:")[2].partition("Singling out")[0]
    assert "Does the release give away a few people of the training? Its sensitivity at 1 % false" in gaps
    assert "40 independent negatives; needs 368" in gaps
    assert "Not measured:" not in text_of(render_privacy_page(TITLE, example_metrics()))


def test_a_page_about_phantoms_does_not_vouch_for_the_photographs_behind_initial_weights() -> None:
    metrics = metrics_with(initial_weights=True)
    text = text_of(render_privacy_page(TITLE, metrics, real_photographs=False))
    assert "phantoms" in text
    assert "show no person" not in text
    assert "the images may show people whose photographs those were trained on" in text
    assert "The images may not be released" in text


def test_canaries_are_listed_by_their_number_of_repeats() -> None:
    canaries = tuple(
        CanaryShare(repeats=times, num_patients=3, num_samples=10, num_near=near, share=measure(near / 10, 0.1, 10))
        for times, near in ((1, 0), (10, 2), (100, 9))
    )
    text = text_of(render_privacy_page(TITLE, metrics_with(canaries=canaries)))
    assert re.search(r"100 3 10 9 0\.900", text)


def test_the_page_is_public_and_names_nobody() -> None:
    page = render_privacy_page("Photographs of /home/doctor/eyes", example_metrics())
    assert is_public(page)
    assert IMAGE_ID not in page
    assert "/home/doctor" not in page
    assert "http" not in re.sub(r"data:image/[^\"]+", "", page)


def test_a_page_about_images_that_show_no_person_says_so() -> None:
    photographs = text_of(render_privacy_page(TITLE, example_metrics()))
    assert "phantoms" not in photographs
    phantoms = text_of(render_privacy_page(TITLE, example_metrics(), real_photographs=False))
    assert "The photographs of this study are phantoms : a program rendered them" in phantoms
    origin = only(release_origin("Eyes of /home/doctor"))
    chain = text_of(render_privacy_page(TITLE, example_metrics(), origin))
    for sentence in chain_sentences(withhold(origin)):
        assert sentence not in photographs
        assert sentence in chain
    assert "/home/doctor" not in chain


@pytest.mark.parametrize("memorisation", [(), None])
def test_a_page_without_measurements_names_the_gaps(memorisation: tuple[()] | None) -> None:
    metrics = metrics_with(memorisation=())
    if memorisation is None:
        unmeasured = UnmeasuredPrivacy(
            reason="there are no held-out images", num_training=9, num_held_out=0, num_synthetic=3
        )
        metrics = metrics.model_copy(
            update={"privacy": unmeasured, "verdict": privacy_verdict(unmeasured, metrics.audit)}
        )
    text = text_of(render_privacy_page(TITLE, metrics))
    assert "The training of the generator recorded no curve of memorisation." in text
    assert ("there are no held-out images" in text) == (memorisation is None)
