"""Held-out photographs and synthetic images, each compared with the same real reference at the same n.

The 95 % intervals are those of a delete-a-group jackknife (Kott 2001, Journal of Official Statistics 17(4)): images are
dealt into groups, all of one patient into one, and every measure is computed again without each group. A bootstrap will
not do: its repeated images raise a Fréchet distance and change every neighbourhood.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from synfundus.evaluation.diversity import overlap
from synfundus.evaluation.fidelity import fit_gaussian, frechet_distance, kernel_distance
from synfundus.labels import FloatArray
from synfundus.measures.statistics import Measure

NUM_GROUPS = 10
"""Of the jackknife, each of at least one patient; a set of fewer patients has no interval and is not measurable."""
Values = dict[str, float]


@dataclass(frozen=True)
class Words:
    """How a measure is told to a reader."""

    title: str
    better: str
    """`lower` or `higher`."""
    meaning: str
    lowest: float | None = 0.0
    """No interval reaches below; None: it may be negative."""
    highest: float | None = None


MEASURES: Mapping[str, Words] = {
    "frechet_distance": Words(
        "Fréchet distance", "lower", "How far the two clouds of images lie apart, in place and spread; 0: the same."
    ),
    "kid": Words(
        "Kernel distance (KID)",
        "lower",
        "The same question asked without assuming a shape of the clouds; 0 on average: the same. It may be negative.",
        lowest=None,
    ),
    "precision": Words(
        "Precision", "higher", "Share of the images that look like some photograph of the reference.", highest=1.0
    ),
    "recall": Words(
        "Recall", "higher", "Share of the reference photographs that some image looks like: variety.", highest=1.0
    ),
    "density": Words(
        "Density", "higher", "How many reference photographs an image resembles; about 1 for real photographs."
    ),
    "coverage": Words(
        "Coverage", "higher", "Share of the reference photographs with an image in their neighbourhood.", highest=1.0
    ),
}


@dataclass(frozen=True)
class Part:
    """One set of images in one feature space."""

    features_ND: FloatArray
    groups: Sequence[str]
    """(N,) what belongs together: patients; of samples, each its own."""

    def take(self, rows: NDArray[np.int64]) -> "Part":
        return Part(self.features_ND[rows], [self.groups[row] for row in rows])

    def draw(self, n: int, seed: int) -> "Part":
        """`n` of its images, drawn by the seed."""
        return self.take(np.sort(np.random.default_rng(seed).permutation(len(self.groups))[:n]))

    def dealt(self, seed: int) -> NDArray[np.int64]:
        """(N,) jackknife group of each image: patients dealt out in an order drawn by the seed."""
        names, of_image = np.unique(np.asarray(self.groups, np.str_), return_inverse=True)
        order = np.random.default_rng(seed).permutation(len(names))
        return np.asarray(np.argsort(order)[of_image] % NUM_GROUPS, np.int64)


def measure_pair(reference_ND: FloatArray, candidate_ND: FloatArray, num_neighbours: int) -> Values:
    """All measures of a candidate set against a reference set."""
    return {
        "frechet_distance": frechet_distance(fit_gaussian(reference_ND), fit_gaussian(candidate_ND)),
        "kid": kernel_distance(reference_ND, candidate_ND),
        **asdict(overlap(reference_ND, candidate_ND, num_neighbours)),
    }


def _both(parts: Sequence[FloatArray], num_neighbours: int) -> dict[str, Values]:
    """Measures of held-out and synthetic images and their difference; the parts are cut to one size first."""
    n = min(len(part) for part in parts)
    reference, held_out, synthetic = (part[:n] for part in parts)
    real, made = (measure_pair(reference, part, num_neighbours) for part in (held_out, synthetic))
    return {"held_out": real, "synthetic": made, "difference": {name: made[name] - real[name] for name in MEASURES}}


def jackknife(value: float, without_group: Sequence[float], n: int, words: Words | None = None) -> Measure:
    """A value with its interval from the values without each group; None of `words`: unbounded."""
    left_out = np.asarray(without_group)
    variance = (len(left_out) - 1) / len(left_out) * float(np.sum((left_out - left_out.mean()) ** 2))
    width = float(stdtrit(len(left_out) - 1, 0.975)) * variance**0.5
    low, high = value - width, value + width
    if words is not None and words.lowest is not None:
        low = max(low, words.lowest)
    if words is not None and words.highest is not None:
        high = min(high, words.highest)
    return Measure(value, low, high, n)


def _too_few_patients(parts: Sequence[Part]) -> dict[str, Any] | None:
    """The reason why sets of images have no jackknife; None where they have one."""
    fewest = min(len(set(part.groups)) for part in parts)
    if fewest >= NUM_GROUPS:
        return None
    n = len(parts[0].groups)
    return Measure.not_measurable(f"{fewest} patients; needs {NUM_GROUPS} of each set", n).to_dict()


def compare(
    reference: Part,
    held_out: Part,
    synthetic: Part,
    *,
    min_images: int,
    num_neighbours: int,
    seed: int,
    max_images: int | None = None,
) -> dict[str, Any]:
    """One `comparison` of metrics.json: {n, held_out, synthetic, difference}, all at the same n.

    `max_images`: of each set, so that several comparisons can be made at one n; None: as many as all three have.
    """
    sizes = {"training": len(reference.groups), "held-out": len(held_out.groups), "synthetic": len(synthetic.groups)}
    n = min(sizes.values()) if max_images is None else min(max_images, *sizes.values())
    if n < min_images:
        counts = ", ".join(f"{size} {name}" for name, size in sizes.items())
        none = Measure.not_measurable(f"{counts} images; needs {min_images} of each", n).to_dict()
        return {"n": n, **{part: dict.fromkeys(MEASURES, none) for part in ("held_out", "synthetic", "difference")}}
    parts = [part.draw(n, seed + place) for place, part in enumerate((reference, held_out, synthetic))]
    few = _too_few_patients(parts)
    if few is not None:
        return {"n": n, **{part: dict.fromkeys(MEASURES, few) for part in ("held_out", "synthetic", "difference")}}
    dealt = [part.dealt(seed + place) for place, part in enumerate(parts)]
    whole = _both([part.features_ND for part in parts], num_neighbours)
    without = [
        _both([part.features_ND[group_N != g] for part, group_N in zip(parts, dealt, strict=True)], num_neighbours)
        for g in range(NUM_GROUPS)
    ]
    out: dict[str, Any] = {"n": n}
    for part, values in whole.items():
        out[part] = {
            name: jackknife(
                values[name], [w[part][name] for w in without], n, None if part == "difference" else words
            ).to_dict()
            for name, words in MEASURES.items()
        }
    return out


def distance_from_held_out(held_out: Part, others: Mapping[str, Part], *, min_images: int, seed: int) -> dict[str, Any]:
    """Fréchet distance of each other set from the held-out photographs, all at one n, with intervals."""
    n = min(len(part.groups) for part in (held_out, *others.values()))
    if n < min_images:
        none = Measure.not_measurable(f"{n} images; needs {min_images} of each", n).to_dict()
        return {"n": n, **dict.fromkeys(others, none)}
    real = held_out.draw(n, seed)
    few = _too_few_patients([real])
    if few is not None:
        return {"n": n, **dict.fromkeys(others, few)}
    group_N = real.dealt(seed)
    out: dict[str, Any] = {"n": n}
    for place, (name, other) in enumerate(others.items(), 1):
        part = other.draw(n, seed + place)
        other_N = part.dealt(seed + place)

        def distance(real_N: NDArray[np.bool_], other_N: NDArray[np.bool_], part: Part = part) -> float:
            real_ND, other_ND = real.features_ND[real_N], part.features_ND[other_N]
            size = min(len(real_ND), len(other_ND))
            return frechet_distance(fit_gaussian(real_ND[:size]), fit_gaussian(other_ND[:size]))

        everything = np.ones(n, np.bool_)
        without = [distance(group_N != g, other_N != g) for g in range(NUM_GROUPS)]
        value = distance(everything, everything)
        out[name] = jackknife(value, without, n, MEASURES["frechet_distance"]).to_dict()
    return out
