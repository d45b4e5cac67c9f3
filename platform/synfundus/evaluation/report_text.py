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
    "Vendi score": "Effective number of different images: 1 if all images are equal, n if no two resemble each other."
    " It grows with n, so both columns have the same n. Higher is more varied; compare it with the photographs.",
    "Twin": "An image has a twin if another image of its set is nearer than the nearest 5 % of held-out photographs are"
    " to a photograph of another patient. A generator as varied as photographs has 5 %; more is a sign of collapse.",
    "KS distance": "Largest difference between the shares of both sets that lie below a value (Kolmogorov-Smirnov). 0"
    " means equal distributions, 1 no overlap.",
    "Holm correction": "The P value, raised for the number of measures tested together. Below 0.05 a difference this"
    " large is unlikely if both distributions are equal. A larger one does not prove that they are.",
    "95 % interval": "The range in brackets. If the study were repeated with other patients, about 95 of 100 such"
    " ranges would contain the true value. A wide range means few images.",
}

TRANSFER_MEANINGS: Mapping[str, str] = {
    "All labels together, mean AUC": "Mean over the binary targets that are measurable on the test set. Every label"
    " counts the same, and the interval knows that labels of one patient depend on each other.",
    "Arm": "One way to train a model: what it starts from, and what it is trained on.",
    "Difference": "Metric of the first arm minus that of the reference, on the same photographs and with the same"
    " seeds, averaged over the seeds. A seed decides the initial weights, the order of training and, below 100 % of the"
    " patients, which patients are used.",
    "95 % interval of a difference": "It counts patients and seeds as random, as a study of several readers counts"
    " cases and readers (Obuchowski and Rockette 1995; quantiles: Cochran and Cox). So it speaks of other patients"
    " of the same kind and of models with other seeds. Photographs of one patient count as dependent: by DeLong's"
    " covariance for clustered data for AUC (Obuchowski 1997), by a bootstrap of whole patients for the other metrics."
    " With a single seed, it covers patients only.",
    "P value, corrected": "P value after Holm's correction over the family: the planned differences of one question, in"
    " the mean AUC over all labels, by target, or in one secondary metric. A difference survives if it is below 0.05.",
    "Detectable": "Smallest true difference that the comparison finds with 80 % power at the strictest level of Holm's"
    " correction, 0.05 over the size of the family. It follows from the standard error, so from the number of patients"
    " and seeds, not from the observed difference. None: no possible difference is large enough; more seeds or patients"
    " are needed. Compare it with the largest gain possible, 1 minus the reference's value: above that, even a perfect"
    " arm is found with less than 80 % power.",
    "Shuffled labels": "A control. Its models are selected on validation patients with true labels, like all others, so"
    " it may lie above chance.",
    "What is random": "Patients and the seeds of the classifiers. Generator, annotator and set of samples are those of"
    " one study: how much another training of the generator would change the results is not in any interval.",
    "No difference shown": "The interval or the correction does not exclude 0. That is not the same as equal: the"
    " interval says which differences remain possible.",
    "Accuracy, precision, recall, F1": "Decisions at the threshold that was chosen on validation patients.",
    "External test": "Another prepared dataset. No model was selected, calibrated or thresholded on it.",
}
"""Reading guide of the section on transfer."""
