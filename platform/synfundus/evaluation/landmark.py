"""The landmark: how far phantoms, made without any photograph, lie from held-out photographs."""

from synfundus.evaluation.feature_sets import ChosenSets, FeatureSet, jackknife
from synfundus.evaluation.fidelity import kernel_distance
from synfundus.measures.measure import Measure
from synfundus.measures.metrics import Landmark


def compare_with_phantoms(
    held_out: FeatureSet, synthetic: FeatureSet, phantoms: FeatureSet, *, min_images: int, seed: int
) -> Landmark:
    """Measure the KID of samples and of phantoms from held-out photographs, all three at the same n."""
    n = min(map(len, (held_out, synthetic, phantoms)))
    if n < min_images:
        few = Measure.not_measurable(f"{n} images; needs {min_images} of each", n)
        return Landmark(n=n, synthetic=few, phantoms=few)
    chosen = ChosenSets.choose((held_out, synthetic, phantoms), n, seed)
    if (reason := chosen.too_few_patients()) is not None:
        return Landmark(n=n, synthetic=reason, phantoms=reason)
    distances = [
        (kernel_distance(real, made), kernel_distance(real, rendered))
        for real, made, rendered in chosen.without_each_group()
    ]
    of_samples, of_phantoms = ([pair[place] for pair in distances] for place in (0, 1))
    return Landmark(
        n=n,
        synthetic=jackknife(of_samples[0], of_samples[1:], n),
        phantoms=jackknife(of_phantoms[0], of_phantoms[1:], n),
    )
