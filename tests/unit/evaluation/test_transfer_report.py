"""A reader finds what was compared, on how many patients, what survives correction, and what was not measured."""

import re
from functools import cache

import pytest

from support.annotator_metrics_example import example_annotator_metrics
from support.metrics_example import NO_TRANSFER, example_metrics
from support.transfer_example import example_transfer
from synfundus.evaluation.report import ReportContent, render_report
from synfundus.evaluation.report_summary import summary_tiles
from synfundus.evaluation.transfer_tables import transfer_section
from synfundus.measures.editions import Edition
from synfundus.measures.transfer_metrics import ComputedTransfer, Role, Transfer
from synfundus.measures.transfer_text import (
    labels_of_the_mean,
    largest_gain,
    nothing_survives,
    surviving_secondary,
)

EDITIONS: tuple[Edition, ...] = ("private", "public")


def without_survivors(transfer: ComputedTransfer) -> ComputedTransfer:
    """Return the comparison as if nothing survived the correction."""
    differences = tuple(
        entry.model_copy(
            update={
                "metrics": {
                    metric: found.model_copy(update={"verdict": "no difference shown", "adjusted_p_value": 1.0})
                    for metric, found in entry.metrics.items()
                }
            }
        )
        for entry in transfer.differences
    )
    families = tuple(family.model_copy(update={"num_better": 0, "num_worse": 0}) for family in transfer.families)
    return transfer.model_copy(update={"differences": differences, "families": families})


@cache
def section(edition: Edition, kind: str = "computed") -> str:
    """Return the section on transfer of a page, without markup."""
    transfer: dict[str, Transfer] = {"computed": example_transfer(), "none": without_survivors(example_transfer())}
    metrics = example_metrics()
    if kind in transfer:
        metrics = metrics.model_copy(update={"transfer": transfer[kind]})
    content = ReportContent(title="Study", study={}, metrics=metrics, annotator_metrics=example_annotator_metrics())
    page = render_report(content, edition)
    (body,) = re.findall(r'<section id="transfer">(.*?)</section>', page, re.DOTALL)
    body = re.sub(r'<figure><img src="[^"]*"', "<figure><img", body)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


@pytest.mark.parametrize("edition", EDITIONS)
def test_what_was_compared_and_on_how_many_patients(edition: Edition) -> None:
    text, transfer = section(edition), example_transfer()
    assert "5 ways of training (arms) were compared with resnet10t and vit_tiny, 3 seeds each." in text
    assert "Test split (50 patients, 100 photographs) and External: other-clinic (50 patients, 100 photographs)" in text
    assert "100 %: 300 patients, 600 photographs; 10 %: 30 patients, 60 photographs" in text
    for arm in transfer.arms.values():
        assert arm.title in text
        assert arm.training in text
    for row in transfer.counts:
        numbers = [n for n in (row.num_images, row.num_patients, row.num_positive, row.num_positive_patients) if n]
        mean = f" (mean of {row.num_labels})" if row.num_positive is None else ""
        assert f"{transfer.targets[row.target].title}{mean} {' '.join(map(str, numbers))}" in text


@pytest.mark.parametrize("edition", EDITIONS)
def test_which_differences_survive_with_their_patients(edition: Edition) -> None:
    text, transfer = section(edition), example_transfer()
    primary, by_target = (found.rows for found in transfer_section(transfer).findings)
    assert len(primary) == len(list(transfer.surviving("primary"))) > 2
    assert len(by_target) == len(list(transfer.surviving("by target"))) > 5
    assert all(row.metric == "Mean AUC" for _, row in primary)
    for title, row in [*primary, *by_target]:
        cells = (title, row.test_set, row.target, row.architecture, row.training, row.patients, row.metric)
        difference = row.difference.replace("(", "").removesuffix(")")
        assert " ".join([*cells, difference, row.adjusted, row.verdict]) in text
        assert re.fullmatch(r"0\.0[0-4]\d|below 0\.001", row.adjusted)
        assert re.fullmatch(r"50 patients, (\d+ with the finding|3 labels)", row.patients)


def test_every_planned_difference_has_a_row_with_patients_and_detectable_difference() -> None:
    transfer = example_transfer()
    tables = transfer_section(transfer).contrasts
    assert {table.key: len(table.rows) for table in tables} == {
        key: family.num_planned + transfer.families_of("by target")[key].num_planned
        for key, family in transfer.families_of("primary").items()
    }
    for table in tables:
        for row in table.rows:
            assert row.patients.startswith("50 patients, ")
            assert row.reason is None
            assert re.fullmatch(r"none|\d\.\d+", row.detectable)


@pytest.mark.parametrize("edition", EDITIONS)
def test_a_report_without_survivors_says_so_and_does_not_call_the_arms_equal(edition: Edition) -> None:
    text = section(edition, "none")
    labels = labels_of_the_mean(example_transfer())
    roles: tuple[tuple[Role, str], ...] = (
        ("primary", f"of the primary endpoint (mean AUC of: {labels})"),
        ("by target", "by target"),
    )
    for role, of in roles:
        measured = example_transfer().num_measured(role)
        assert f"None of the {measured} measured differences {of} survives the correction." in text
    assert "That does not show that the arms are equal" in text
    assert re.search(r"AUC 0\.\d+ to 0\.\d+; Quadratic kappa 0\.\d+ to \d\.\d+; none for \d+ of \d+", text)


def test_a_row_says_what_the_reference_leaves_to_gain() -> None:
    transfer = example_transfer()
    (score,) = [
        score
        for score in transfer.scores
        if (score.arm, score.test_set, score.target, score.architecture, score.fraction)
        == ("real", "test", "eye_side", "resnet10t", 0.1)
    ]
    (entry,) = [
        entry
        for entry in transfer.differences
        if (entry.contrast, entry.test_set, entry.target, entry.architecture, entry.fraction)
        == ("pretrained-against-real", "test", "eye_side", "resnet10t", 0.1)
    ]
    assert largest_gain(transfer, entry, "auc") == pytest.approx(1.0 - score.measures["auc"].interval[0])
    for table in transfer_section(transfer).contrasts:
        assert all(re.fullmatch(r"\d\.\d+", row.largest_gain) for row in table.rows)


def test_differences_in_which_even_a_perfect_arm_lacks_power_are_counted() -> None:
    transfer = without_survivors(example_transfer())
    underpowered = [
        row
        for table in transfer_section(transfer).contrasts
        for row in table.rows
        if row.role == "by target" and (row.detectable == "none" or float(row.detectable) > float(row.largest_gain))
    ]
    assert 0 < len(underpowered) < transfer.num_measured("by target")
    sentence = f"In {len(underpowered)} of them even a perfect first arm is found with less than 80 % power."
    assert sentence in nothing_survives(transfer, "by target")
    assert sentence in section("public", "none")


def test_survivors_in_secondary_metrics_are_named_beside_the_endpoints() -> None:
    transfer = example_transfer()
    found = list(transfer.surviving("secondary"))
    assert found
    assert f"In secondary metrics, which decide nothing, {len(found)} survive: " in section("public")
    assert surviving_secondary(without_survivors(transfer)) == ""


@pytest.mark.parametrize("edition", EDITIONS)
def test_what_was_not_measured_is_listed_with_its_reason(edition: Edition) -> None:
    text = section(edition)
    for note in example_transfer().notes:
        assert note.replace("'", "&#39;") in text


@pytest.mark.parametrize("edition", EDITIONS)
def test_a_study_without_a_grid_says_that_nothing_was_measured(edition: Edition) -> None:
    assert f"Not measured: {NO_TRANSFER}." in section(edition, "skipped")
    tiles = {tile.title: tile for tile in summary_tiles(example_metrics(), example_annotator_metrics())}
    assert (tiles["Worth for training"].value, tiles["Worth for training"].comment) == ("not measurable", NO_TRANSFER)


def test_the_summary_counts_survivors_in_both_directions() -> None:
    transfer = example_transfer()
    metrics = example_metrics().model_copy(update={"transfer": transfer})
    (tile,) = [
        tile for tile in summary_tiles(metrics, example_annotator_metrics()) if tile.title == "Worth for training"
    ]
    families = transfer.families_of("primary").values()
    better, worse = (sum(getattr(found, name) for found in families) for name in ("num_better", "num_worse"))
    assert tile.value == f"{better} better, {worse} worse"
    assert f"of {transfer.num_measured('primary')} measured differences in mean AUC" in tile.comment
