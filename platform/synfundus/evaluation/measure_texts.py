"""Titles, explanations and ranges of the measures of fidelity."""

import math
from collections.abc import Mapping

from synfundus.measures.metrics import MeasureName, MeasureText

FRECHET_MULTIPLE = 10
"""Smallest n of a Fréchet distance, as a multiple of the effective dimension of the reference's features."""
UNBOUNDED = (-math.inf, math.inf)

MEASURE_TEXTS: Mapping[MeasureName, MeasureText] = {
    "kid": MeasureText(
        title="Kernel distance (KID)",
        better="lower",
        meaning="Distance between two sets of images, without an assumption about the distribution of their features."
        " For equal distributions it is 0 on average, so it may be slightly negative.",
    ),
    "precision": MeasureText(
        title="Precision",
        better="higher",
        meaning="Share of the images that resemble at least one photograph of the reference.",
    ),
    "recall": MeasureText(
        title="Recall",
        better="higher",
        meaning="Share of the reference photographs that at least one image resembles. It measures variety.",
    ),
    "density": MeasureText(
        title="Density",
        better="higher",
        meaning="Number of reference photographs that an image resembles, scaled so that real photographs have about"
        " 1.",
    ),
    "coverage": MeasureText(
        title="Coverage",
        better="higher",
        meaning="Share of the reference photographs with at least one image in their neighbourhood.",
    ),
    "frechet_distance": MeasureText(
        title="Fréchet distance",
        better="lower",
        meaning="Distance between two sets of images, in the mean and the spread of their features. 0 means equal. With"
        f" fewer images than {FRECHET_MULTIPLE} times the effective dimension of the features it rewards lost variety,"
        " so it is not computed.",
    ),
}
RANGES: Mapping[MeasureName, tuple[float, float]] = {
    "kid": UNBOUNDED,
    "precision": (0.0, 1.0),
    "recall": (0.0, 1.0),
    "density": (0.0, math.inf),
    "coverage": (0.0, 1.0),
    "frechet_distance": (0.0, math.inf),
}
"""Lowest and highest possible value of each measure; intervals are cut to it."""
SHARES: tuple[MeasureName, ...] = ("precision", "recall", "coverage")
"""Measures that are shares of images."""
