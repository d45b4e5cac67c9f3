"""The dataset card: a header that Hugging Face reads, and every question answered or said to be unanswered."""

from typing import Any

import pytest
import yaml

from support.metrics_example import UNMEASURABLE, example_annotator_metrics, example_metrics
from support.samples_example import FOLDER, phantom_samples
from synfundus.labels import LABELS
from synfundus.samples.card import NOT_STATED, QUESTIONS, dataset_card, header
from synfundus.samples.config import ReleaseConfig
from synfundus.samples.release_facts import ReleaseFacts, read_facts
from synfundus.storage import Storage


@pytest.fixture
def facts(storage: Storage) -> ReleaseFacts:
    phantom_samples(storage)
    return read_facts(storage, FOLDER)


def config(**changes: Any) -> ReleaseConfig:
    return ReleaseConfig.model_validate({"data_statement": "Photographs of Nowhere Hospital.", **changes})


def card(facts: ReleaseFacts, **changes: Any) -> str:
    return dataset_card(config(**changes), facts, example_metrics(), example_annotator_metrics())


def test_header_is_yaml_that_names_licence_size_and_files(facts: ReleaseFacts) -> None:
    text = card(facts, title="Eyes: drawn")
    parsed = yaml.safe_load(text.split("---\n")[1])
    assert parsed["license"] == "cc-by-nc-4.0"
    assert parsed["pretty_name"] == "Eyes: drawn"
    assert parsed["size_categories"] == ["n<1K"]
    assert parsed["configs"][0]["data_files"] == "data/*.parquet"


@pytest.mark.parametrize(
    ("count", "category"),
    [(999, "n<1K"), (1000, "1K<n<10K"), (999_999, "100K<n<1M"), (10**6, "1M<n<10M"), (10**8, "n>10M")],
)
def test_size_category(count: int, category: str) -> None:
    assert header(config(), count)["size_categories"] == [category]


def test_a_licence_unknown_to_the_hub_keeps_its_name() -> None:
    found = header(config(licence="Nowhere Hospital Research Licence 2"), 10)
    assert (found["license"], found["license_name"]) == ("other", "Nowhere Hospital Research Licence 2")


def test_says_what_it_is_for_and_on_whose_data(facts: ReleaseFacts) -> None:
    text = card(facts)
    assert "Research use only. Not a medical device." in text
    assert "Photographs of Nowhere Hospital." in text
    assert "Out of scope: diagnosis" in text
    assert f"`{facts.generator}`" in text
    assert "a note of the plan" in text


def test_metrics_stand_with_interval_and_absent_ones_with_reason(facts: ReleaseFacts) -> None:
    text = card(facts)
    assert "| Fréchet distance | lower | 12.0 (10.8 to 13.2) | 31.5 (28.4 to 34.6) |" in text
    assert "Inception features: not computed. no weights named" in text
    rows = [line for line in text.splitlines() if any(line.startswith(f"| {label.title} |") for label in LABELS)]
    assert len(rows) == 16
    assert sum("not measurable" in row and "annotator cannot tell" in row for row in rows) == len(UNMEASURABLE)


def test_every_question_of_a_privacy_officer_is_answered_or_said_to_be_open(facts: ReleaseFacts) -> None:
    text = card(facts, privacy={"legal_basis": "GDPR article 9(2)(j)", "consent": "waived | by the board"})
    assert "| Legal basis of training | GDPR article 9(2)(j) |" in text
    assert "waived \\| by the board" in text
    assert text.count(NOT_STATED) == len(QUESTIONS) - 3  # two are given, differential privacy has a default
    assert "near_training_image" not in text
    assert "3 lay too near to a training image" in text


def test_nothing_personal_is_on_the_card(facts: ReleaseFacts) -> None:
    metrics = example_metrics()
    metrics["notes"].append("Inception: /home/doctor/weights/inception.pth is missing")
    text = dataset_card(config(), facts, metrics, example_annotator_metrics())
    assert "0123456789abcdef" not in text
    assert "/home/doctor" not in text
    assert "Inception: [withheld] is missing" in text
