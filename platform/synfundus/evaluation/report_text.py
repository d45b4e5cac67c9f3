"""Fixed texts of the report: explanations of the measures that the page shows under its tables."""

from collections.abc import Mapping

MEANINGS: Mapping[str, str] = {
    "AUC": "Probability that the annotator gives a higher score to an image with the finding than to one without it."
    " 0.5 is chance, 1 is perfect; higher is better.",
    "Quadratic kappa": "Agreement of grades beyond chance; a small difference costs less than a large one. 0 is chance,"
    " 1 is perfect; higher is better.",
    "Agreement": "Share of the samples for which the annotator predicts exactly the requested value. Higher is better."
    " Compare it with the shuffled column: for a rare finding, always predicting 'no' agrees almost always.",
    "Shuffled": "The same number after the requests were shuffled among the samples. It is the score of chance.",
    "Operating point": "Rule that chose the threshold from which on a probability is annotated 1. At matched"
    " prevalence, the share annotated 1 equals the assumed prevalence.",
    "Average precision": "Share of the flagged photographs that have the finding, averaged over all thresholds. Chance"
    " is the share of positives, 1 is perfect; higher is better.",
    "Sensitivity": "Share of the photographs with the finding that the annotator flags. Higher is better.",
    "Specificity": "Share of the photographs without the finding that the annotator does not flag. Higher is better.",
    "PPV": "Positive predictive value: share of images with the finding among those annotated 1, at the assumed"
    " prevalence. Higher is better; where the finding is rarer, PPV is lower.",
    "F1": "Harmonic mean of the sensitivity and of the share of flags that are correct. Higher is better.",
    "ECE": "Expected calibration error: mean difference between the predicted probability and the observed frequency."
    " Lower is better.",
    "95 % interval": "The range in brackets. If the study were repeated with other patients, about 95 of 100 such"
    " ranges would contain the true value. A wide range means few images.",
}
