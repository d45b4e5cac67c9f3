"""The evaluation: photographs and samples in, metrics.json out; docs/evaluation.md says what each number means."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from synfundus.errors import WrongInputError
from synfundus.evaluation.comparison import MEASURES, Part, compare, distance_from_held_out
from synfundus.evaluation.config import EvaluationConfig
from synfundus.evaluation.consistency import consistency_section
from synfundus.evaluation.image_sets import Photographs, Samples
from synfundus.evaluation.privacy import privacy_section
from synfundus.evaluation.strata import GROUPS, STRATA, Labels
from synfundus.labels import LABEL_BY_NAME, LABELS, FloatArray
from synfundus.measures.copies import Nearest

VERSION = 1
"""Of metrics.json."""
NUM_CLOSEST = 12
SPACES: Mapping[str, str] = {"annotator": "Annotator features", "inception": "Inception features"}


def evaluate(
    reference: Photographs,
    held_out: Photographs,
    samples: Samples,
    config: EvaluationConfig,
    *,
    spaces: Mapping[str, str | None],
    unusable: Mapping[str, str],
    quantile: float,
    phantoms: Mapping[str, FloatArray] | None,
) -> tuple[dict[str, Any], Nearest | None]:
    """Measure the samples.

    Args:
        reference: photographs of the training part.
        held_out: photographs of other patients.
        spaces: each of `SPACES`: None when its features were computed, else why not.
        unusable: labels that the annotator cannot tell, with the reason.
        quantile: of held-out photographs' distances, below which a sample is too near to a training image.
        phantoms: features of phantoms in each computed space, as a landmark; None where the study's own photographs
            are phantoms.

    Returns:
        Content of metrics.json, and the nearest training image of each sample that was looked at.

    Raises:
        WrongInputError: a patient stands in both sets of photographs.
    """
    both = set(reference.patients) & set(held_out.patients)
    if both:
        raise WrongInputError(
            f"{len(both)} patients stand in the training part and in the held-out part; prepare the photographs again"
        )
    privacy, near = privacy_section(
        reference.descriptors_ND, held_out.descriptors_ND, samples.descriptors_MD, quantile, samples.drawn
    )
    if near is not None:
        privacy["closest"] = _closest(near, samples, reference, privacy["threshold"])
    metrics = {
        "version": VERSION,
        "config": config.model_dump(mode="json", exclude={"inception_weights"}),
        "counts": {
            "reference": _counts(reference),
            "held_out": _counts(held_out),
            "synthetic": {
                "num_images": len(samples.sample_ids),
                "num_used": len(samples.chosen),
                "num_patients": None,
            },
        },
        "label_distributions": _distributions(reference, held_out, samples),
        "fidelity": _fidelity(reference, held_out, samples, config, spaces, phantoms),
        "consistency": consistency_section(samples.asked_NK, samples.seen_NK, samples.score_NK, unusable, config.seed),
        "privacy": privacy,
    }
    metrics["notes"] = _notes(metrics, unusable)
    return metrics, near


def _counts(photographs: Photographs) -> dict[str, int]:
    return {
        "num_images": len(photographs.ids),
        "num_used": len(photographs.chosen),
        "num_patients": len(set(photographs.patients)),
    }


def _distributions(reference: Photographs, held_out: Photographs, samples: Samples) -> dict[str, Any]:
    """How often each value of each label occurs."""

    def counted(labels_NK: Labels, k: int) -> dict[str, Any]:
        column = labels_NK[:, k]
        counts = [int((column == value).sum()) for value in range(LABELS[k].max_value + 1)]
        return {"counts": counts, "num_unknown": int((column < 0).sum())}

    return {
        label.name: {
            "values": list(range(label.max_value + 1)),
            "reference_expert": counted(reference.expert_NK, k),
            "reference_known": {
                "counts": [round(float(share), 3) for share in reference.value_shares[label.name]],
                "num_unknown": reference.num_unknown[label.name],
            },
            "held_out_expert": counted(held_out.expert_NK, k),
            "condition": counted(samples.asked_NK, k),
            "annotation": counted(samples.seen_NK, k),
        }
        for k, label in enumerate(LABELS)
    }


def _fidelity(
    reference: Photographs,
    held_out: Photographs,
    samples: Samples,
    config: EvaluationConfig,
    spaces: Mapping[str, str | None],
    phantoms: Mapping[str, FloatArray] | None,
) -> dict[str, Any]:
    members = {
        key: (
            stratum.members(reference.expert_NK[reference.chosen]),
            stratum.members(held_out.expert_NK[held_out.chosen]),
            stratum.members(samples.asked_NK[samples.chosen]),
        )
        for key, stratum in STRATA.items()
    }
    # Both groups at one n: a Fréchet distance depends on it, and the two are there to be compared.
    group_images = min(int(rows.sum()) for key in GROUPS for rows in members[key])
    out: dict[str, Any] = {
        "measures": {
            name: {"title": words.title, "better": words.better, "meaning": words.meaning}
            for name, words in MEASURES.items()
        },
        "strata": {key: stratum.to_dict() for key, stratum in STRATA.items()},
        "groups": {key: {"title": title, "diseases": dict(diseases)} for key, (title, diseases) in GROUPS.items()},
        "spaces": {},
    }
    for space, title in SPACES.items():
        reason = spaces[space]
        if reason is not None:
            out["spaces"][space] = {"title": title, "status": "not computed", "reason": reason}
            continue
        settings: dict[str, int] = {
            "min_images": config.min_images,
            "num_neighbours": config.num_neighbours,
            "seed": config.seed,
        }
        entry: dict[str, Any] = {"title": title, "status": "computed", "dim": reference.features[space].shape[1]}
        entry["strata"] = {
            key: compare(
                reference.part(space, a),
                held_out.part(space, b),
                samples.part(space, c),
                max_images=group_images if key in GROUPS else None,
                **settings,
            )
            for key, (a, b, c) in members.items()
        }
        if phantoms is not None:
            entry["landmark"] = _landmark(held_out, samples, space, phantoms[space], config)
        out["spaces"][space] = entry
    return out


def _landmark(
    held_out: Photographs, samples: Samples, space: str, phantoms_ND: FloatArray, config: EvaluationConfig
) -> dict[str, Any]:
    """Are samples nearer to held-out photographs than drawn phantoms, which look like a fundus to a layman?"""
    everything = np.ones(len(held_out.chosen), np.bool_), np.ones(len(samples.chosen), np.bool_)
    others = {
        "synthetic": samples.part(space, everything[1]),
        "phantoms": Part(phantoms_ND, [str(i) for i in range(len(phantoms_ND))]),
    }
    real = held_out.part(space, everything[0])
    return distance_from_held_out(real, others, min_images=config.min_images, seed=config.seed)


def _closest(near: Nearest, samples: Samples, reference: Photographs, threshold: float) -> list[dict[str, Any]]:
    """The samples nearest to a training image, nearest first."""
    order = np.argsort(near.distance, kind="stable")[:NUM_CLOSEST]
    return [
        {
            "synthetic_id": int(samples.sample_ids[samples.chosen[row]]),
            "training_id": reference.ids[near.index[row]],
            "distance": float(near.distance[row]),
            "mirrored": bool(near.mirrored[row]),
            "below_threshold": bool(near.distance[row] < threshold),
        }
        for row in order
    ]


def _notes(metrics: Mapping[str, Any], unusable: Mapping[str, str]) -> list[str]:
    """Everything that was not measured, and why, a line each."""
    notes = []
    for space in metrics["fidelity"]["spaces"].values():
        if space["status"] != "computed":
            notes.append(f"{space['title']}: {space['reason']}")
            continue
        for key, stratum in space["strata"].items():
            measure = stratum["synthetic"]["frechet_distance"]
            if measure["status"] != "measured":
                notes.append(f"{space['title']}, {STRATA[key].title}: {measure['reason']}")
    for name, entry in metrics["consistency"]["labels"].items():
        if entry["asked"]["status"] != "measured":
            reason = f"unusable: {unusable[name]}" if name in unusable else entry["asked"]["reason"]
            notes.append(f"{LABEL_BY_NAME[name].title}, as asked: {reason}")
    if metrics["privacy"]["status"] != "measured":
        notes.append(f"Nearness to training images: {metrics['privacy']['reason']}")
    return notes
