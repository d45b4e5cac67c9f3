"""Both editions of the report: what the public one must not hold, what both must say, and that neither asks the net."""

import base64
import io
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from support.metrics_example import UNMEASURABLE, example_annotator_metrics, example_metrics
from synfundus.evaluation import report_figures, report_tables
from synfundus.evaluation.report import ReportContent, render_report
from synfundus.labels import LABELS
from synfundus.measures.editions import WITHHELD, is_public, withhold
from synfundus.phantom.render import PhantomConfig, phantom_record

IMAGE_ID, PATIENT = "0123456789abcdef", "fedcba98765432100123456789abcdef"
PLACE = "/home/doctor/photographs"
DIGEST = "ab" * 32


def pictures(seed: int, count: int, size_px: int = 32) -> list[NDArray[np.uint8]]:
    config = PhantomConfig(num_images=count, size_px=size_px, seed=seed)
    return [phantom_record(config, i).image_HWC for i in range(count)]


REAL, SYNTHETIC = pictures(1, 6), pictures(2, 6)


def content(**changes: Any) -> ReportContent:
    metrics = example_metrics()
    metrics["notes"].append(f"Inception: the file {PLACE}/inception.pth is missing")
    metrics["notes"].append(f"patient {PATIENT} has one photograph only: scan_0042.jpg")
    metrics["privacy"]["closest"][0]["training_id"] = IMAGE_ID
    values: dict[str, Any] = {
        "title": "Study of tests",
        "study": {
            "name": "tests",
            "data": {"sources": [{"kind": "folder", "path": PLACE}]},
            "generator": {"num_steps": 7},
        },
        "metrics": metrics,
        "annotator_metrics": example_annotator_metrics(),
        "curves": {"Annotator": [(25, 0.7), (50, 0.5), (75, 0.4)], "Generator": [(25, 1.0), (50, 0.2)]},
        "synthetic": {"Right eye": SYNTHETIC[:3], "Left eye": SYNTHETIC[3:5]},
        "real": {"Right eye": REAL[:3], "Left eye": REAL[3:5]},
        "closest_pairs": [(SYNTHETIC[5], REAL[5], 0.31)],
        "provenance": {"torch": "2.8.0", "generator": DIGEST, "seed": 3},
    }
    return ReportContent(**{**values, **changes})


PRIVATE, PUBLIC = render_report(content(), "private"), render_report(content(), "public")


def embedded(page: str) -> list[NDArray[np.uint8]]:
    """Every raster picture of a page, decoded."""
    found = re.findall(r"data:image/(?:png|webp);base64,([A-Za-z0-9+/=]+)", page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")) for data in found]


def holds(page: str, picture: NDArray[np.uint8]) -> bool:
    return any(np.array_equal(picture, other) for other in embedded(page))


class Resources(HTMLParser):
    """Every address that a browser would fetch or a reader could follow."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href", "srcset", "data", "action")]


def test_public_edition_holds_no_real_photograph() -> None:
    assert all(holds(PRIVATE, picture) for picture in REAL)
    assert not any(holds(PUBLIC, picture) for picture in REAL)
    for picture in REAL:
        assert report_figures.picture_uri(picture) not in PUBLIC
    assert all(holds(PUBLIC, picture) for picture in SYNTHETIC[:5])
    assert not holds(PUBLIC, SYNTHETIC[5])  # half of a closest pair: it is shown for its likeness to a person's eye


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


def test_figures_ask_for_nothing_either() -> None:
    for data in re.findall(r"data:image/svg\+xml;base64,([^\"]+)", PRIVATE):
        svg = base64.b64decode(data).decode()
        links = re.findall(r'(?:xlink:)?href="([^"]*)"', svg)
        assert all(link.startswith(("#", "data:")) for link in links)


def test_editions_are_told_apart() -> None:
    assert is_public(PUBLIC)
    assert not is_public(PRIVATE)
    for page in (PRIVATE, PUBLIC):
        assert "Research use only. Not a medical device." in page


def test_all_labels_stand_asked_against_seen_beside_shuffled() -> None:
    rows = report_tables.consistency_rows(example_metrics()["consistency"]["labels"])
    assert [row["name"] for row in rows] == [label.name for label in LABELS]
    for row in rows:
        assert (row["verdict"] == "not measurable") == (row["name"] in UNMEASURABLE)
        assert f"<code>{row['name']}</code>" in PUBLIC
        if row["name"] not in UNMEASURABLE:
            value, interval = row["asked"].removesuffix(")").split(" (")
            assert f'<span class="value">{value}</span><br><small>{interval}</small>' in PUBLIC


def test_phantoms_are_the_landmark_of_real_studies_only() -> None:
    assert "321.0 (312.0 to 330.0)" in PUBLIC
    metrics = example_metrics()
    del metrics["fidelity"]["spaces"]["annotator"]["landmark"]
    assert "landmark" not in render_report(content(metrics=metrics), "public")


def test_a_study_of_phantoms_says_that_nothing_in_it_is_real() -> None:
    said, drawn = "of no person's eye", content(real_photographs=False)
    assert said in render_report(drawn, "private")
    assert said in render_report(drawn, "public")
    assert said not in PRIVATE


def test_what_was_not_measured_is_said() -> None:
    assert "Not computed: no weights named" in PUBLIC
    assert "not measurable: 12 images, needs 50" in PUBLIC
    assert "unusable: training needs both classes, has 0 positive and 412 negative" in PUBLIC
    assert "Hypertensive retinopathy: the annotator cannot tell this label" in PUBLIC


def test_every_measure_is_explained_with_its_direction() -> None:
    for words in example_metrics()["fidelity"]["measures"].values():
        assert (
            f"<dt>{words['title']}</dt><dd>{words['meaning']} {words['better'].capitalize()} is better.</dd>" in PUBLIC
        )
    for name, meaning in report_tables.MEANINGS.items():
        assert f"<dt>{name}</dt><dd>{meaning}</dd>" in PUBLIC


def test_same_content_gives_the_same_page() -> None:
    assert render_report(content(), "private") == PRIVATE
    assert render_report(content(), "public") == PUBLIC


def test_text_of_a_study_cannot_inject_markup() -> None:
    page = render_report(content(title="<script>alert(1)</script>", provenance={"<b>": "<i>"}), "private")
    assert "<script" not in page
    assert "&lt;b&gt;" in page


def test_a_poor_study_still_has_a_report() -> None:
    """Nothing measurable, no picture, no curve: the page says so and does not fail."""
    metrics = example_metrics()
    none = {"status": "not measurable", "reason": "no image", "n": 0}
    for entry in metrics["consistency"]["labels"].values():
        entry.update(asked=none, permuted=none, agreement=none, agreement_permuted=none, beats_permuted=None, roc=None)
    metrics["fidelity"]["spaces"] = {
        "annotator": {"title": "Annotator features", "status": "not computed", "reason": "few"}
    }
    metrics["privacy"] = {"status": "not measurable", "reason": "no held-out photograph"}
    for entry in metrics["label_distributions"].values():
        for part in ("reference_expert", "condition", "annotation"):
            entry[part]["counts"] = [0] * len(entry["values"])
    poor = content(metrics=metrics, curves={}, synthetic={}, real={}, closest_pairs=[], provenance={})
    page = render_report(poor, "public")
    assert "Not measured: no held-out photograph" in page
    assert "No pictures were handed to this report." in page
    assert "No training curve" in page
    facts = {fact.title: fact.value for fact in report_tables.summary(metrics, example_annotator_metrics())}
    assert facts["Eye side as asked"] == facts["Near a training image"] == "not measurable"
    assert facts["Labels that follow the request"] == "0 of 0"


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
def test_places_files_and_personal_hashes_are_withheld(text: str) -> None:
    assert withhold({"note": [f"see {text}, please"]}) == {"note": [f"see {WITHHELD}, please"]}


@pytest.mark.parametrize(
    "text", ["torch 2.8.0", "asked / seen", "real/synthetic", DIGEST, "f" * 40, "3 of 16", "P(grade >= 1)"]
)
def test_plain_words_and_digests_of_models_stay(text: str) -> None:
    assert withhold(text) == text


def test_large_pictures_are_shrunk_and_small_ones_kept() -> None:
    small, large = pictures(3, 1, 64)[0], pictures(3, 1, 512)[0]
    (kept,) = embedded(report_figures.picture_uri(small))
    (shrunk,) = embedded(report_figures.picture_uri(large))
    assert np.array_equal(kept, small)
    assert shrunk.shape == (256, 256, 3)
    reference = np.asarray(Image.fromarray(large).resize((256, 256), Image.Resampling.LANCZOS), float)
    assert np.abs(shrunk - reference).mean() < 4
