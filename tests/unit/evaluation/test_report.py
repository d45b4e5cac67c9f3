"""Both editions of the report: the public one shows no person, both state what is missing, neither loads anything."""

import base64
import html
import io
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from support.annotator_metrics_example import example_annotator_metrics
from support.judge_example import judged
from support.measure_example import UNUSABLE, UNUSABLE_REASON
from support.metrics_example import example_metrics
from support.origin_example import only, release_origin
from support.privacy_example import IMAGE_ID
from synfundus.evaluation import report_tables
from synfundus.evaluation.data_uri import image_uri
from synfundus.evaluation.figures.training import LossCurves
from synfundus.evaluation.report import ReportContent, render_report
from synfundus.evaluation.report_figures import plot_figures
from synfundus.evaluation.report_summary import summary_tiles
from synfundus.evaluation.report_text import MEANINGS
from synfundus.evaluation.sensitivity import compare_sensitivities
from synfundus.labels import LABELS, NUM_LABELS
from synfundus.measures.editions import WITHHELD, is_public, withhold
from synfundus.measures.judge_metrics import IndependentJudge
from synfundus.measures.measure import Measure
from synfundus.measures.metrics import (
    ComputedSpace,
    EvaluationMetrics,
    PowerSpectrum,
    SkippedSpace,
    UnmeasuredPrivacy,
)
from synfundus.measures.wording import format_measure
from synfundus.phantom.config import PhantomConfig
from synfundus.phantom.records import phantom_record

PATIENT = "fedcba98765432100123456789abcdef"
PLACE = "/home/doctor/photographs"
DIGEST = "ab" * 32


def images(seed: int, count: int, size_px: int = 32) -> list[NDArray[np.uint8]]:
    config = PhantomConfig(num_images=count, size_px=size_px, seed=seed)
    return [phantom_record(config, i).image_HWC for i in range(count)]


REAL, SYNTHETIC = images(1, 6), images(2, 6)


def content(**changes: Any) -> ReportContent:
    values: dict[str, Any] = {
        "title": "Study of tests",
        "study": {
            "name": "tests",
            "data": {"sources": [{"kind": "folder", "path": PLACE}]},
            "generator": {"num_steps": 7},
        },
        "metrics": example_metrics(
            f"Inception: the file {PLACE}/inception.pth is missing",
            f"patient {PATIENT} has one photograph only: scan_0042.jpg",
        ),
        "annotator_metrics": example_annotator_metrics(),
        "curves": (
            LossCurves("Annotator", [(25, 0.7), (50, 0.5), (75, 0.4)]),
            LossCurves("Generator", [(25, 1.0), (50, 0.2)], [(25, 0.9), (50, 0.3)]),
        ),
        "synthetic": {"Right eye": SYNTHETIC[:3], "Left eye": SYNTHETIC[3:5]},
        "real": {"Right eye": REAL[:3], "Left eye": REAL[3:5]},
        "closest_pairs": [(SYNTHETIC[5], REAL[5], 0.31)],
        "provenance": {"torch": "2.8.0", "generator": DIGEST, "seed": 3},
    }
    return ReportContent(**{**values, **changes})


PRIVATE, PUBLIC = render_report(content(), "private"), render_report(content(), "public")


def embedded(page: str) -> list[NDArray[np.uint8]]:
    """Return every raster image of a page, decoded."""
    found = re.findall(r"data:image/(?:png|webp);base64,([A-Za-z0-9+/=]+)", page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")) for data in found]


def shows(page: str, image: NDArray[np.uint8]) -> bool:
    return any(np.array_equal(image, other) for other in embedded(page))


class Resources(HTMLParser):
    """Collector of the addresses that a browser would fetch or a reader could follow."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href", "srcset", "data", "action")]


def test_public_edition_shows_no_real_photograph() -> None:
    assert all(shows(PRIVATE, image) for image in REAL)
    assert not any(shows(PUBLIC, image) for image in REAL)
    for image in REAL:
        assert image_uri(image) not in PUBLIC
    assert all(shows(PUBLIC, image) for image in SYNTHETIC[:5])
    assert not shows(PUBLIC, SYNTHETIC[5])  # half of a closest pair: it resembles a person's eye


def test_public_edition_names_no_person_place_or_file() -> None:
    svgs = [base64.b64decode(data).decode() for data in re.findall(r"data:image/svg\+xml;base64,([^\"]+)", PUBLIC)]
    for text in (PUBLIC, *svgs):
        for word in (IMAGE_ID, PATIENT, PLACE, "doctor", "inception.pth", "scan_0042"):
            assert word not in text
    assert PLACE in PRIVATE
    assert f"Inception: the file {WITHHELD} is missing" in PUBLIC
    assert DIGEST in PUBLIC  # of a model, not of a person


@pytest.mark.parametrize("page", [PRIVATE, PUBLIC], ids=["private", "public"])
def test_page_is_self_contained(page: str) -> None:
    resources = Resources(page)
    assert resources.addresses
    assert all(address.startswith(("data:image/", "#")) for address in resources.addresses)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(resources.tags)
    assert "url(" not in page
    assert "@import" not in page
    for anchor in (address[1:] for address in resources.addresses if address.startswith("#")):
        assert f'id="{anchor}"' in page


def test_figures_load_nothing_either() -> None:
    for data in re.findall(r"data:image/svg\+xml;base64,([^\"]+)", PRIVATE):
        svg = base64.b64decode(data).decode()
        links = re.findall(r'(?:xlink:)?href="([^"]*)"', svg)
        assert all(link.startswith(("#", "data:")) for link in links)


def test_the_edition_of_a_page_is_recognised() -> None:
    assert is_public(PUBLIC)
    assert not is_public(PRIVATE)
    for page in (PRIVATE, PUBLIC):
        assert "Research use only. Not a medical device." in page


def test_every_label_has_a_row_of_requested_and_predicted_values() -> None:
    rows = report_tables.consistency_rows(example_metrics())
    assert [row.name for row in rows] == [label.name for label in LABELS]
    for row in rows:
        assert (row.verdict == "not measurable") == (row.name in UNUSABLE)
        assert f"<code>{row.name}</code>" in PUBLIC
        if row.name not in UNUSABLE:
            value, interval = row.requested.removesuffix(")").split(" (")
            assert f'<span class="value">{value}</span><br><small>{interval}</small>' in PUBLIC


def test_the_report_says_that_judge_and_teacher_are_one() -> None:
    for page in (PRIVATE, PUBLIC):
        assert page.count("Judge and teacher are one, because fewer than 750 training patients") == 2
        assert "The annotator predicts the labels of each sample" in page
        assert "Score by the annotator" not in page


def test_the_scores_of_an_independent_judge_have_those_of_the_annotator_and_of_photographs_beside_them() -> None:
    metrics = judged(example_metrics())
    page = render_report(content(metrics=metrics), "public")
    assert "An independent judge (resnet10t) graded 800 samples. It was trained on 412 photographs of 206" in page
    assert "The judge predicts the labels of these samples" in page
    assert "as the judge predicts it" in page
    assert isinstance(metrics.judge, IndependentJudge)
    for row in report_tables.consistency_rows(metrics):
        score = metrics.judge.test_scores[row.name]
        assert (row.by_annotator, row.on_photographs) == (row.requested, format_measure(score))
        assert (row.on_photographs == "not measurable") == (row.name in UNUSABLE)


def test_the_report_compares_subtle_and_widespread_changes_on_samples_and_photographs() -> None:
    page = PUBLIC[PUBLIC.index('<section id="subtle">') : PUBLIC.index('<section id="likeness">')]
    assert "flags at most 10 % of the images without the finding" in page
    assert "<strong>Subtle changes (mean of 2)</strong>" in page
    assert '<span class="value">-20 %</span><br><small>-34 to -6</small>' in page
    assert f"not measurable: {UNUSABLE_REASON}" in page
    assert "<strong>0.000 (-0.200 to 0.200)</strong>" in page


def test_phantoms_are_the_landmark_of_real_studies_only() -> None:
    assert "<strong>3.210 (3.120 to 3.300)</strong>" in PUBLIC
    space = example_metrics().fidelity.spaces["annotator"]
    assert isinstance(space, ComputedSpace)
    page = render_report(content(metrics=with_space(space.model_copy(update={"landmark": None}))), "public")
    assert "fundus phantoms" in PUBLIC
    assert "fundus phantoms" not in page


def test_the_report_of_a_study_of_phantoms_states_that_nothing_in_it_is_real() -> None:
    statement, phantoms = "they show no person's eye", content(real_photographs=False)
    assert statement in render_report(phantoms, "private")
    assert statement in render_report(phantoms, "public")
    assert statement not in PRIVATE


def test_the_report_of_a_study_on_a_release_names_the_release_and_says_that_it_is_synthetic() -> None:
    distilled = content(origin=only(release_origin()))
    for edition in ("private", "public"):
        page = html.unescape(render_report(distilled, edition))
        assert 'trained only on the synthetic images of "Eyes of nobody" 2.1.0, and on no photograph.' in page
        assert release_origin().manifest_sha256 in page
        assert "No expert labelled its images" in page
    assert "No expert labelled" not in PRIVATE


def test_the_report_lists_what_was_not_measured_and_why() -> None:
    assert "Not computed: no weights named" in PUBLIC
    assert "not measurable: 12 images, needs 50" in PUBLIC
    assert "unusable: training needs both classes, has 0 positive and 412 negative" in PUBLIC
    assert "<td>matched prevalence<br><small>0.200</small></td>" in PUBLIC
    assert f"Hypertensive retinopathy, agreement with the request: {UNUSABLE_REASON}" in PUBLIC


def test_the_kernel_distance_leads_and_fine_detail_is_named_in_both_editions() -> None:
    tiles = {tile.title: tile for tile in summary_tiles(example_metrics(), example_annotator_metrics())}
    assert "kernel distance (KID)" in tiles["Distance from real photographs"].comment
    assert tiles["Fine detail"].value == "68 %"
    assert (
        "in the top octave (16 to 32 cycles per image side); 95 % interval 63 to 73 %" in tiles["Fine detail"].comment
    )
    for page in (PRIVATE, PUBLIC):
        assert page.index("<th>Kernel distance (KID)</th>") < page.index("<th>Fréchet distance</th>")
        assert "Extrapolated to an unlimited number, it is <strong>29.5 (27.5 to 31.5)</strong> for the samples" in page
        assert "<th>16 to 32 cycles per image side (top octave)</th><td>5.000</td><td>3.400</td>" in page
        assert '<h3>Fine detail</h3><p class="value">68 %</p>' in page


def test_variety_has_a_section_in_both_editions() -> None:
    for page in (PRIVATE, PUBLIC):
        assert "<td>12.5 (12.1 to 12.9)</td><td>9.100 (8.800 to 9.400)</td><td>0.730 (0.700 to 0.760)</td>" in page
        assert "<td>5 %, by definition</td><td>12 % (9 to 15)</td>" in page
        assert "93 % (91 to 95) have a combination that also occurs among 1200 training photographs" in page
        assert "<th>Glaucoma + Pathological myopia</th>" in page
        assert (
            "100 of these combinations are not named, because by experts' labels fewer than 10 patients share one."
            in page
        )
        assert "found in 4 held-out photographs and 380 samples; needs 20 of each" in page
        assert '<span class="chip bad">differs</span>' in page
        assert "1.5 % of the field, 1.0 px" in page
        assert "Is the requested finding there?" in page


def test_the_report_of_photographs_has_no_table_of_requested_findings() -> None:
    metrics = example_metrics()
    diversity = metrics.diversity.model_copy(update={"requested_findings": None})
    page = render_report(content(metrics=metrics.model_copy(update={"diversity": diversity})), "public")
    assert "Are the samples as varied as photographs?" in page
    assert "Is the requested finding there?" not in page


def test_a_label_whose_rule_is_not_met_is_not_counted_as_annotated() -> None:
    annotator = example_annotator_metrics()
    for unmet, number in (({}, 16 - len(UNUSABLE)), ({"eye_side": "no threshold"}, 15 - len(UNUSABLE))):
        tiles = summary_tiles(example_metrics(), annotator.model_copy(update={"unmet": unmet}))
        (value,) = [tile.value for tile in tiles if tile.title == "Annotated labels"]
        assert value == f"{number} of 16"


def test_every_measure_is_explained_with_its_direction() -> None:
    for text in example_metrics().fidelity.measures.values():
        assert f"<dt>{text.title}</dt><dd>{text.meaning} {text.better.capitalize()} is better.</dd>" in PUBLIC
    for name, meaning in MEANINGS.items():
        assert f"<dt>{name}</dt><dd>{html.escape(meaning).replace('&#x27;', '&#39;')}</dd>" in PUBLIC


def test_same_content_gives_the_same_page() -> None:
    assert render_report(content(), "private") == PRIVATE
    assert render_report(content(), "public") == PUBLIC


def test_text_of_a_study_cannot_inject_markup() -> None:
    page = render_report(content(title="<script>alert(1)</script>", provenance={"<b>": "<i>"}), "private")
    assert "<script" not in page
    assert "&lt;b&gt;" in page


def with_space(space: ComputedSpace | SkippedSpace) -> EvaluationMetrics:
    """Return the example metrics with `space` as the only feature space."""
    metrics = example_metrics()
    return metrics.model_copy(update={"fidelity": metrics.fidelity.model_copy(update={"spaces": {"annotator": space}})})


def without_numbers() -> EvaluationMetrics:
    """Return metrics in which nothing is measurable and no label has a value."""
    metrics = with_space(SkippedSpace(title="Annotator features", reason="few"))
    none = Measure.not_measurable("no image", 0)
    fields = ("requested", "permuted", "agreement", "agreement_permuted")
    missing = {**dict.fromkeys(fields, none), "beats_permuted": None, "roc": None}
    labels = {name: entry.model_copy(update=missing) for name, entry in metrics.consistency.labels.items()}
    distributions = {}
    for name, entry in metrics.label_distributions.items():
        empty = entry.requested.model_copy(update={"counts": (0,) * len(entry.values)})
        distributions[name] = entry.model_copy(
            update=dict.fromkeys(("reference_expert", "requested", "predicted"), empty)
        )
    nothing = PowerSpectrum(octaves=())
    privacy = UnmeasuredPrivacy(reason="no held-out photograph", num_training=3, num_held_out=0, num_synthetic=3)
    consistency = metrics.consistency.model_copy(update={"labels": labels})
    empty_set = np.zeros((0, NUM_LABELS))
    return metrics.model_copy(
        update={
            "consistency": consistency,
            "sensitivity": compare_sensitivities({}, empty_set.astype(np.int8), empty_set.astype(np.float32), {}, 0),
            "label_distributions": distributions,
            "privacy": privacy,
            "spectrum": nothing,
        }
    )


def test_a_study_without_any_measurable_number_still_has_a_report() -> None:
    metrics = without_numbers()
    poor = content(metrics=metrics, curves=(), synthetic={}, real={}, closest_pairs=[], provenance={})
    page = render_report(poor, "public")
    assert "Not measured: no held-out photograph" in page
    assert "This report has no example images." in page
    assert "This report has no training curve." in page
    every = ", ".join(label.title.removesuffix(" (0 right, 1 left)") for label in LABELS)
    assert f"Neither known, nor requested, nor predicted: {every}." in page
    assert f"Not measurable: {every}." in page
    assert "Not measurable: the images have fewer than 8 px." in page
    tiles = {tile.title: tile.value for tile in summary_tiles(metrics, example_annotator_metrics())}
    assert tiles["Distance from real photographs"] == tiles["Fine detail"] == "not measurable"
    assert tiles["Eye side as requested"] == tiles["Near a training photograph"] == "not measurable"
    assert tiles["Labels that follow the request"] == "0 of 0"


def test_figure_files_are_those_of_the_page() -> None:
    files = plot_figures(content().metrics, content().curves).files()
    assert list(files) == [
        "anatomy",
        "consistency",
        "distributions",
        "extrapolation-0",
        "losses",
        "memorisation",
        "ratios",
        "requested-findings",
        "roc",
        "sensitivity",
        "spectrum",
        "strata-0",
    ]
    for svg in files.values():
        assert base64.b64encode(svg).decode() in PRIVATE


@pytest.mark.parametrize(
    "text",
    [
        "/data/eyes/a",
        "s3://bucket/key",
        "C:\\eyes\\a",
        "~/eyes",
        "../eyes/a",
        "ward/seven/eyes",
        "IMG_0042.JPG",
        "labels.csv",
        IMAGE_ID,
        PATIENT,
    ],
)
def test_paths_file_names_and_personal_digests_are_withheld(text: str) -> None:
    assert withhold({"note": [f"see {text}, please"]}) == {"note": [f"see {WITHHELD}, please"]}


@pytest.mark.parametrize(
    "text", ["torch 2.8.0", "requested / predicted", "real/synthetic", DIGEST, "f" * 40, "3 of 16", "P(grade >= 1)"]
)
def test_plain_words_and_digests_of_models_stay(text: str) -> None:
    assert withhold(text) == text


def test_large_images_are_shrunk_and_small_ones_kept() -> None:
    small, large = images(3, 1, 64)[0], images(3, 1, 512)[0]
    (kept,) = embedded(image_uri(small))
    (shrunk,) = embedded(image_uri(large))
    assert np.array_equal(kept, small)
    assert shrunk.shape == (256, 256, 3)
    reference = np.asarray(Image.fromarray(large).resize((256, 256), Image.Resampling.LANCZOS), float)
    assert np.abs(shrunk - reference).mean() < 4


@pytest.mark.parametrize(
    ("shares", "text"),
    [
        ((0.914, 0.88, 0.936), "91 % (88 to 94)"),
        ((0.998, 0.989, 0.9997), "99.8 % (99 to 99.97)"),
        ((1.0, 0.9835, 1.0), "100 % (98 to 100)"),
        ((0.0, 0.0, 0.004), "0 % (0 to 0.4)"),
        ((0.002, -0.004, 0.3), "0.2 % (-0.4 to 30)"),
    ],
)
def test_a_share_reads_as_none_or_all_only_if_it_is(shares: tuple[float, float, float], text: str) -> None:
    value, low, high = shares
    assert report_tables.format_percent(Measure.measured(value, low, high, 100)) == text
