"""A diagnosis states for each label the threshold and the rule that chose it."""

from synfundus.diagnosis.calibration import Calibration, HeadCalibration
from synfundus.diagnosis.operating_points import OperatingPoint, OperatingPoints
from synfundus.labels import HEAD_NAMES, LABEL_NAMES
from synfundus_serve.diagnosis import Prediction, diagnosis_of

UNMET = "no threshold has a PPV of 0.9 at prevalence 0.01; the best on 120 validation images is 0.31"


def test_a_label_states_its_operating_point_or_why_it_has_no_value() -> None:
    heads = {
        name: HeadCalibration(num_positive=9, num_negative=9, unusable="chance" if name == "is_pm" else None)
        for name in HEAD_NAMES
    }
    points = {
        name: OperatingPoint(rule="matched-prevalence", prevalence=0.1, threshold=0.25 + number)
        for number, name in enumerate(HEAD_NAMES)
        if name != "is_pm"
    }
    points["dr_grade>=4"] = OperatingPoint(rule="matched-prevalence", prevalence=0.0, reason="no such image")
    points["is_gc"] = OperatingPoint(rule="minimum-ppv", minimum=0.9, prevalence=0.01, reason=UNMET)
    annotation = {name: None if name in ("is_gc", "is_pm") else 1 for name in LABEL_NAMES}
    prediction = Prediction(annotation, dict.fromkeys(LABEL_NAMES, 0.5))
    labels = diagnosis_of(prediction, 500, Calibration(heads=heads), OperatingPoints(heads=points)).predictions
    side, grade, glaucoma = labels["eye_side"], labels["dr_grade"], labels["is_gc"]
    assert (side.operating_point, side.threshold, side.reason) == ("matched prevalence", 4.25, None)
    assert (grade.operating_point, grade.threshold) == ("matched prevalence", [0.25, 1.25, 2.25, None])
    assert (glaucoma.status, glaucoma.value, glaucoma.probability) == ("available", None, 0.5)
    assert (glaucoma.operating_point, glaucoma.reason) == ("PPV at least 0.9", UNMET)
    assert (labels["is_pm"].status, labels["is_pm"].operating_point) == ("not available", None)
