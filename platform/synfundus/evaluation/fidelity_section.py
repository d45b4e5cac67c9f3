"""The section `fidelity` of the metrics: the sets of images compared in every feature space."""

from collections.abc import Iterator

from synfundus.evaluation.comparison import compare
from synfundus.evaluation.extrapolation import extrapolate
from synfundus.evaluation.feature_sets import FeatureSet
from synfundus.evaluation.image_sets import ComparedSets, chosen_features
from synfundus.evaluation.instruments import Instruments
from synfundus.evaluation.landmark import compare_with_phantoms
from synfundus.evaluation.measure_texts import MEASURE_TEXTS
from synfundus.evaluation.strata import GROUPS, STRATA
from synfundus.labels import FloatArray
from synfundus.measures.metrics import ComputedSpace, Fidelity, Landmark, SkippedSpace


def measure_fidelity(sets: ComparedSets, instruments: Instruments) -> Fidelity:
    """Compare the samples with photographs in each feature space."""
    return Fidelity(
        measures=dict(MEASURE_TEXTS),
        strata={key: stratum.text for key, stratum in STRATA.items()},
        groups=dict(GROUPS),
        spaces={
            name: _measure_space(name, sets, instruments)
            if space.skipped is None
            else SkippedSpace(title=space.title, reason=space.skipped)
            for name, space in instruments.spaces.items()
        },
    )


def _measure_space(space: str, sets: ComparedSets, instruments: Instruments) -> ComputedSpace:
    """Compare every stratum in one feature space."""
    reference, held_out, samples, config = sets.reference, sets.held_out, sets.samples, instruments.config
    members = {
        key: (
            stratum.members(reference.expert_NK[reference.chosen]),
            stratum.members(held_out.expert_NK[held_out.chosen]),
            stratum.members(samples.requested_NK[samples.chosen]),
        )
        for key, stratum in STRATA.items()
    }
    # Both groups have the same n, because measures have a bias that depends on n and readers compare the two.
    group_images = min(int(rows.sum()) for key in GROUPS for rows in members[key])
    strata = {
        key: compare(
            reference.feature_set(space, in_reference),
            held_out.feature_set(space, in_held_out),
            samples.feature_set(space, in_samples),
            min_images=config.min_images,
            num_neighbours=config.num_neighbours,
            seed=config.seed,
            max_images=group_images if key in GROUPS else None,
        )
        for key, (in_reference, in_held_out, in_samples) in members.items()
    }
    everything = [chosen_features(images, space) for images in (reference, held_out, samples)]
    return ComputedSpace(
        title=instruments.spaces[space].title,
        dim=reference.features[space].shape[1],
        strata=strata,
        extrapolation=extrapolate(everything, strata["overall"], config.seed),
        landmark=None
        if instruments.phantoms is None
        else _landmark(space, sets, instruments.phantoms[space], instruments),
    )


def _landmark(space: str, sets: ComparedSets, phantoms_ND: FloatArray, instruments: Instruments) -> Landmark:
    """Compare samples with phantoms by their distance from held-out photographs."""
    return compare_with_phantoms(
        chosen_features(sets.held_out, space),
        chosen_features(sets.samples, space),
        FeatureSet.of_independent(phantoms_ND),
        min_images=instruments.config.min_images,
        seed=instruments.config.seed,
    )


def fidelity_notes(fidelity: Fidelity) -> Iterator[str]:
    """Yield what was not measured, and why, one line each."""
    for space in fidelity.ordered_spaces:
        if isinstance(space, SkippedSpace):
            yield f"{space.title}: {space.reason}"
        else:
            yield from _space_notes(space, fidelity)


def _space_notes(space: ComputedSpace, fidelity: Fidelity) -> Iterator[str]:
    """Yield the strata without any measure, then those that lack the Fréchet distance alone."""
    for key, compared in space.strata.items():
        if not compared.synthetic.kid.measurable:
            yield f"{space.title}, {fidelity.strata[key].title}: {compared.synthetic.kid.reason}"
    for key, compared in space.strata.items():
        if compared.synthetic.kid.measurable and not compared.synthetic.frechet_distance.measurable:
            reason = compared.synthetic.frechet_distance.reason
            yield f"{space.title}, {fidelity.strata[key].title}, Fréchet distance: {reason}"
