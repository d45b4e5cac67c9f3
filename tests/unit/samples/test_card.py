"""The dataset card has a header that Hugging Face reads, and answers each question or says that it is open."""

from dataclasses import replace
from typing import Any

import pytest
import yaml

from support.annotator_metrics_example import example_annotator_metrics
from support.judge_example import judged
from support.measure_example import UNUSABLE
from support.metrics_example import NO_TRANSFER, example_metrics
from support.origin_example import only, release_origin
from support.privacy_example import example_attack, example_audit
from support.samples_example import FOLDER, phantom_samples
from support.transfer_example import example_transfer
from synfundus.diagnosis.operating_points import OperatingPoint
from synfundus.evaluation.privacy_gate import privacy_verdict
from synfundus.fundus.origin import GateOverride
from synfundus.labels import HEAD_NAMES, LABELS
from synfundus.measures.measure import Measure
from synfundus.measures.transfer_text import ENDPOINTS
from synfundus.measures.wording import format_measure
from synfundus.samples.card import NOT_STATED, QUESTIONS, dataset_card, header
from synfundus.samples.release_config import ReleaseConfig
from synfundus.samples.release_metadata import ReleaseMetadata, read_release_metadata
from synfundus.storage import Storage


@pytest.fixture
def metadata(storage: Storage) -> ReleaseMetadata:
    phantom_samples(storage)
    return read_release_metadata(storage, FOLDER, initial_weights=False)


def config(**changes: Any) -> ReleaseConfig:
    return ReleaseConfig.model_validate(
        {"data_statement": "Photographs of Nowhere Hospital.", "date_published": "2026-11-27", **changes}
    )


def card(metadata: ReleaseMetadata, **changes: Any) -> str:
    return dataset_card(config(**changes), metadata, example_metrics(), example_annotator_metrics())


def test_header_is_yaml_that_names_licence_size_and_files(metadata: ReleaseMetadata) -> None:
    text = card(metadata, title="Eyes: sampled")
    parsed = yaml.safe_load(text.split("---\n")[1])
    assert parsed["license"] == "cc-by-nc-4.0"
    assert parsed["pretty_name"] == "Eyes: sampled"
    assert parsed["size_categories"] == ["n<1K"]
    assert parsed["configs"][0]["data_files"] == "data/*.parquet"


@pytest.mark.parametrize(
    ("count", "category"),
    [(999, "n<1K"), (1000, "1K<n<10K"), (999_999, "100K<n<1M"), (10**6, "1M<n<10M"), (10**8, "n>10M")],
)
def test_the_header_has_the_size_category(count: int, category: str) -> None:
    assert header(config(), count)["size_categories"] == [category]


def test_a_licence_unknown_to_hugging_face_keeps_its_name() -> None:
    values = header(config(licence="Nowhere Hospital Research Licence 2"), 10)
    assert (values["license"], values["license_name"]) == ("other", "Nowhere Hospital Research Licence 2")


def test_the_card_states_uses_origin_and_digests(metadata: ReleaseMetadata) -> None:
    text = card(metadata)
    assert "Research use only. Not a medical device." in text
    assert "Photographs of Nowhere Hospital." in text
    assert "Out of scope: diagnosis" in text
    assert f"`{metadata.generator_digest}`" in text
    assert "a note of the plan" in text


def test_metrics_have_an_interval_and_absent_ones_a_reason(metadata: ReleaseMetadata) -> None:
    text = card(metadata)
    assert "| Fréchet distance | lower | 12.0 (10.8 to 13.2) | 31.5 (28.4 to 34.6) |" in text
    assert (
        "| Fréchet distance, extrapolated to unlimited images | lower | 8.000 (7.000 to 9.000) | 29.5 (27.5 to 31.5) |"
        in text
    )
    measures = [line.split(" | ")[0] for line in text.splitlines() if " | lower | " in line or " | higher | " in line]
    assert measures[0] == "| Kernel distance (KID)"
    assert "top octave (16 to 32 cycles per image side):\n0.680 (0.630 to 0.730). 1 means equal power" in text
    assert "Inception features: not computed (no weights named)." in text
    titles = tuple(f"| {label.title} | {statistic} |" for label in LABELS for statistic in ("AUC", "kappa"))
    rows = [line for line in text.splitlines() if line.startswith(titles)]
    assert len(rows) == 16
    assert sum("not measurable" in row and "unusable label" in row for row in rows) == len(UNUSABLE)


def test_each_usable_head_has_its_operating_point_with_the_prevalence_that_its_ppv_assumes(
    metadata: ReleaseMetadata,
) -> None:
    metrics = example_annotator_metrics()
    unmet = OperatingPoint(rule="minimum-ppv", minimum=0.9, prevalence=0.01, reason="the best PPV is 0.31")
    points = {**metrics.operating_points, "is_gc": unmet}
    metrics = metrics.model_copy(update={"operating_points": points})
    rows = _operating_rows(dataset_card(config(), metadata, example_metrics(), metrics))
    assert len(rows) == len(HEAD_NAMES) - len(UNUSABLE)
    side = metrics.splits["test"].heads["eye_side"]
    measures = [format_measure(measure) for measure in (side.sensitivity, side.specificity, side.ppv)]
    assert rows["Eye side (0 right, 1 left)"] == ["matched prevalence", "0.310", *measures, "0.200", "80 / 320"]
    assert "Diabetic retinopathy grade, 3 or more" in rows
    point, threshold, *_, prevalence, _ = rows["Glaucoma"]
    assert (point, threshold, prevalence) == ("PPV at least 0.9; not met: the best PPV is 0.31", "", "0.010")


def _operating_rows(text: str) -> dict[str, list[str]]:
    """Return the cells of each row of the table of operating points, by label."""
    table = text.split("| Label | Operating point |")[1].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {title: cells for title, *cells in rows}


def test_every_question_of_a_privacy_officer_is_answered_or_marked_as_not_stated(metadata: ReleaseMetadata) -> None:
    text = card(metadata, privacy={"legal_basis": "GDPR article 9(2)(j)", "consent": "waived | by the board"})
    assert "| Legal basis of the training | GDPR article 9(2)(j) |" in text
    assert "waived \\| by the board" in text
    assert text.count(NOT_STATED) == len(QUESTIONS) - 3  # two are given, differential privacy has a default
    assert "near_training_image" not in text
    assert "3 lay too near to a training image" in text


def test_the_card_holds_no_path_and_no_image_id(metadata: ReleaseMetadata) -> None:
    metrics = example_metrics()
    notes = (*metrics.notes, "Inception: /home/doctor/weights/inception.pth is missing")
    metrics = metrics.model_copy(update={"notes": notes})
    text = dataset_card(config(), metadata, metrics, example_annotator_metrics())
    assert "0123456789abcdef" not in text
    assert "/home/doctor" not in text
    assert "Inception: [withheld] is missing" in text


def test_the_card_of_a_generator_that_was_trained_on_a_release_names_the_whole_chain(metadata: ReleaseMetadata) -> None:
    distilled = replace(metadata, origin=only(release_origin("Second eyes", only(release_origin("Eyes")))))
    text = card(distilled)
    assert (
        '- The generator was trained only on the synthetic images of "Second eyes" 2.1.0, and on no photograph.' in text
    )
    chain = [line for line in text.splitlines() if line.startswith('- "')]
    assert [line.split('"')[1] for line in chain] == ["Second eyes", "Eyes"]
    for line, release in zip(chain, (distilled.origin.releases[0], release_origin("Eyes")), strict=True):
        for fact in (release.manifest_sha256, release.generator_digest, release.data_statement, "12 images"):
            assert fact in line
    assert 'That generator was trained only on the synthetic images of "Eyes" 2.1.0' in chain[0]
    assert "each of its images counts as a patient of its own" in text
    assert "images of the training split, which are synthetic" in text
    assert "trained on photographs of patients" not in text
    of_photographs = card(metadata)
    assert "trained on photographs of patients" in of_photographs
    assert "counts as a patient" not in of_photographs


def test_a_card_says_of_every_release_of_its_chain_whose_privacy_gate_was_overridden(metadata: ReleaseMetadata) -> None:
    override = GateOverride(words="The board takes sample 17 for a coincidence.", reasons=("1 of 800 are copies",))
    first = release_origin("Eyes", gate_override=override)
    text = card(replace(metadata, origin=only(release_origin("Second eyes", only(first)))))
    second_line, first_line = (line for line in text.splitlines() if line.startswith('- "'))
    assert (
        "Its privacy gate failed (1 of 800 are copies). Its makers published it nevertheless, and state:"
        ' "The board takes sample 17 for a coincidence."' in first_line
    )
    assert "privacy gate" not in second_line
    privacy = text.partition("## Privacy")[2]
    assert 'The privacy gate of "Eyes" 2.1.0 failed and was overridden.' in privacy
    assert "overridden" not in card(replace(metadata, origin=only(release_origin("Eyes"))))


def test_a_chain_with_other_images_does_not_say_only(storage: Storage) -> None:
    phantom_samples(storage, only(release_origin()).with_other_sources())
    text = card(read_release_metadata(storage, FOLDER, initial_weights=False))
    assert '- The generator was trained on the synthetic images of "Eyes of nobody" 2.1.0, and on other images.' in text
    assert "no photograph." not in text
    assert "trained on photographs of patients" in text


def test_the_card_says_who_judges_and_whether_subtle_changes_show(metadata: ReleaseMetadata) -> None:
    one = card(metadata)
    assert "Judge and teacher are one, because fewer than 750 training patients" in one
    assert "whether the annotator predicts what was requested" in one
    other = dataset_card(config(), metadata, judged(example_metrics()), example_annotator_metrics())
    assert "An independent judge (resnet10t) graded 800 samples." in other
    assert "whether the judge predicts what was requested" in other
    side = next(line for line in other.splitlines() if line.startswith("| Eye side"))
    cells = [cell.strip() for cell in side.strip("|").split("|")]
    assert (len(cells), cells[2]) == (7, cells[5])
    for text in (one, other):
        row = next(line for line in text.splitlines() if line.startswith("| Subtle changes (mean of 2 diseases)"))
        assert row.endswith("| 0.800 (0.700 to 0.900) | 0.600 (0.500 to 0.700) | -0.200 (-0.340 to -0.060) |")


def test_the_card_states_what_models_learnt_from_the_samples(metadata: ReleaseMetadata) -> None:
    transfer = example_transfer()
    metrics = example_metrics().model_copy(update={"transfer": transfer})
    text = dataset_card(config(), metadata, metrics, example_annotator_metrics())
    section = text.split("## Worth for training")[1].split("\n## ")[0]
    assert "Test split (50 patients, 100 photographs)" in section
    for role in ("primary", "by target"):
        assert f"{ENDPOINTS[role]}; {transfer.num_measured(role)} differences are measured in all." in section
    surviving = [line for line in section.splitlines() if line.startswith("- ") and "corrected P value" in line]
    assert len(surviving) == sum(len(list(transfer.surviving(role))) for role in ("primary", "by target")) > 5
    for arm in transfer.arms.values():
        assert f"| {arm.title} | {arm.training} |" in section
    for note in transfer.notes:
        assert f"- {note}" in section


def test_the_card_of_a_study_without_a_grid_says_that_worth_was_not_measured(metadata: ReleaseMetadata) -> None:
    text = dataset_card(config(), metadata, example_metrics(), example_annotator_metrics())
    assert f"No model was trained on the samples to measure their worth: {NO_TRANSFER}." in text


def test_the_card_of_a_passed_gate_lists_what_was_not_measured(metadata: ReleaseMetadata) -> None:
    attack = example_attack("images", 0.5)
    unknown = Measure.not_measurable("40 independent negatives; needs 368", 300)
    rates = tuple(rate.model_copy(update={"sensitivity": unknown}) for rate in attack.rates)
    audit = example_audit(attack_on_images=attack.model_copy(update={"rates": rates}))
    metrics = example_metrics()
    metrics = metrics.model_copy(update={"audit": audit, "verdict": privacy_verdict(metrics.privacy, audit)})
    privacy = dataset_card(config(), metadata, metrics, example_annotator_metrics()).partition("## Privacy")[2]
    assert "The privacy gate **passed**" in privacy
    gap = "- Does the release give away a few people of the training? Its sensitivity at 1 % false accusations is not"
    assert f"which were not measured:\n\n{gap} measurable: 40 independent negatives; needs 368" in privacy
    assert "which were not measured" not in card(metadata)


def test_the_card_limits_the_comparison_to_this_study_if_the_training_started_from_other_weights(
    metadata: ReleaseMetadata,
) -> None:
    text = card(replace(metadata, initial_weights=True))
    assert "Each image was compared with every training image of this study and its mirror image" in text
    assert "may repeat images that those were trained on, which were not compared." in text
    assert "Each image was compared with every training image and its mirror image" in card(metadata)
