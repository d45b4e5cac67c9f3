"""A metrics.json as docs/evaluation.md lays it out, with plausible numbers, for tests of what reads one."""

from typing import Any

import numpy as np

from synfundus.labels import DISEASES, LABELS

UNMEASURABLE = ("is_htr", "is_em")


def measure(value: float, half_width: float, n: int) -> dict[str, Any]:
    low, high = max(0.0, value - half_width), value + half_width
    return {"status": "measured", "value": value, "low": low, "high": high, "n": n}


def unmeasurable(reason: str, n: int) -> dict[str, Any]:
    return {"status": "not measurable", "reason": reason, "n": n}


def _distribution(values: list[int], rng: np.random.Generator, total: int) -> dict[str, Any]:
    counts = np.sort(rng.multinomial(total, rng.dirichlet(np.ones(len(values)))))[::-1]
    return {"counts": [int(count) for count in counts], "num_unknown": int(rng.integers(0, total // 2))}


def _label(name: str, title: str, kind: str, top: int, rng: np.random.Generator) -> dict[str, Any]:
    size = top + 1
    confusion = (np.eye(size) * 70 + rng.integers(3, 20, (size, size))).astype(int)
    told = name not in UNMEASURABLE
    reason = unmeasurable("the annotator cannot tell this label", 0)
    rate = np.linspace(0, 1, 101)
    value = float(rng.uniform(0.6, 0.99))
    curve = rate ** ((1 - value) / value)
    roc = {
        "false_positive_rate": rate.tolist(),
        "sensitivity": curve.tolist(),
        "low": np.clip(curve - 0.05, 0, 1).tolist(),
        "high": np.clip(curve + 0.05, 0, 1).tolist(),
    }
    return {
        "title": title,
        "kind": kind,
        "statistic": "quadratic_kappa" if top > 1 else "auc",
        "num_asked": confusion.sum(1).tolist(),
        "num_seen": confusion.sum(0).tolist() if told else [0] * size,
        "asked": measure(value, 0.03, 400) if told else reason,
        "permuted": measure(0.02 if top > 1 else 0.5, 0.05, 400) if told else reason,
        "beats_permuted": (value > 0.65) if told else None,
        "agreement": measure(value - 0.05, 0.04, 400) if told else reason,
        "agreement_permuted": measure(0.45, 0.05, 400) if told else reason,
        "confusion": confusion.tolist(),
        "roc": roc if told and top == 1 else None,
    }


MEASURES = {
    "frechet_distance": ("Fréchet distance", "lower", (12.0, 31.5)),
    "kid": ("Kernel distance (KID)", "lower", (0.0004, 0.021)),
    "precision": ("Precision", "higher", (0.83, 0.71)),
    "recall": ("Recall", "higher", (0.81, 0.52)),
    "density": ("Density", "higher", (0.98, 0.77)),
    "coverage": ("Coverage", "higher", (0.95, 0.70)),
}


def _comparison(n: int, scale: float) -> dict[str, Any]:
    out: dict[str, Any] = {"n": n, "held_out": {}, "synthetic": {}, "difference": {}}
    for name, (_, better, (held_out, synthetic)) in MEASURES.items():
        factor = scale if better == "lower" else 1 / scale
        out["held_out"][name] = measure(held_out * factor, held_out * 0.1, n)
        out["synthetic"][name] = measure(synthetic * factor, synthetic * 0.1, n)
        gap = (synthetic - held_out) * factor
        out["difference"][name] = {"status": "measured", "value": gap, "low": gap - 0.1, "high": gap + 0.1, "n": n}
    return out


def _bell(centre: float, width: float) -> list[int]:
    """Counts of 40 bins, 800 in all but for rounding."""
    weight = np.exp(-((np.arange(40) - centre) ** 2) / width)
    return [int(count) for count in np.round(800 * weight / weight.sum())]


def example_metrics(seed: int = 0) -> dict[str, Any]:
    """All sections filled; two labels cannot be measured, the Inception space is not computed."""
    rng = np.random.default_rng(seed)
    none = unmeasurable("12 images, needs 50", 12)
    few = {name: dict.fromkeys(MEASURES, none) for name in ("held_out", "synthetic", "difference")}
    titles = {label.name: label.title for label in LABELS}
    strata: dict[str, Any] = {"overall": {"title": "All images", "label": None, "kind": "overall"}}
    strata |= {name: {"title": titles[name], "label": name, "kind": "disease"} for name in DISEASES}
    strata |= {f"dr_grade={k}": {"title": f"DR grade {k}", "label": "dr_grade", "kind": "grade"} for k in range(5)}
    strata |= {
        "subtle": {"title": "Subtle lesions", "label": None, "kind": "group"},
        "widespread": {"title": "Widespread changes", "label": None, "kind": "group"},
    }
    compared = {
        name: {"n": 12, **few}
        if name in UNMEASURABLE
        else _comparison(800 if name == "overall" else 90, 1.0 + 0.05 * i)
        for i, name in enumerate(strata)
    }
    kinds = ("reference_expert", "reference_known", "held_out_expert", "condition", "annotation")
    return {
        "version": 1,
        "config": {"max_images": 2000, "seed": 0},
        "counts": {
            "reference": {"num_images": 1200, "num_used": 800, "num_patients": 600},
            "held_out": {"num_images": 800, "num_used": 800, "num_patients": 400},
            "synthetic": {"num_images": 3000, "num_used": 800, "num_patients": None},
        },
        "notes": [
            "Inception features: no weights were named in the study, so nothing was computed in that space",
            "Hypertensive retinopathy: the annotator cannot tell this label",
        ],
        "label_distributions": {
            label.name: {
                "values": list(range(label.max_value + 1)),
                **{kind: _distribution(list(range(label.max_value + 1)), rng, 1000) for kind in kinds},
            }
            for label in LABELS
        },
        "fidelity": {
            "measures": {
                name: {"title": title, "better": better, "meaning": f"What {title} means, in a sentence."}
                for name, (title, better, _) in MEASURES.items()
            },
            "strata": strata,
            "groups": {
                "subtle": {"title": "Subtle lesions", "diseases": {"is_gc": "cup only", "is_em": "thin sheen"}},
                "widespread": {"title": "Widespread changes", "diseases": {"is_rvo": "a whole sector"}},
            },
            "spaces": {
                "annotator": {
                    "title": "Annotator features",
                    "dim": 512,
                    "status": "computed",
                    "strata": compared,
                    "landmark": {"n": 800, "synthetic": measure(30.0, 2.0, 800), "phantoms": measure(321.0, 9.0, 800)},
                },
                "inception": {"title": "Inception features", "status": "not computed", "reason": "no weights named"},
            },
        },
        "consistency": {
            "permutation_seed": 0,
            "labels": {
                label.name: _label(label.name, label.title, label.kind, label.max_value, rng) for label in LABELS
            },
        },
        "privacy": {
            "status": "measured",
            "space": "small grey pictures",
            "num_training": 1200,
            "num_held_out": 800,
            "num_synthetic": 800,
            "quantile": 0.01,
            "threshold": 0.21,
            "num_drawn": 803,
            "num_near": 3,
            "share_near": measure(3 / 803, 0.004, 803),
            "share_near_upper_bound": 0.00962,
            "num_below": 0,
            "distances": {
                "bin_edges": np.linspace(0, 1, 41).tolist(),
                "held_out": _bell(22, 40),
                "synthetic": _bell(20, 30),
            },
            "closest": [
                {
                    "synthetic_id": 17,
                    "training_id": "0123456789abcdef",
                    "distance": 0.22,
                    "mirrored": False,
                    "below_threshold": False,
                }
            ],
        },
    }


def example_annotator_metrics(seed: int = 0) -> dict[str, Any]:
    """metrics.json of an annotator: two labels unusable."""
    rng = np.random.default_rng(seed)
    why = "training needs both classes, has 0 positive and 412 negative"

    def head(name: str) -> dict[str, Any]:
        usable = name not in UNMEASURABLE
        none = unmeasurable(f"unusable: {why}", 400)
        names = ("auc", "average_precision", "sensitivity", "specificity", "f1")
        values = {key: measure(float(rng.uniform(0.6, 0.95)), 0.04, 400) if usable else none for key in names}
        ece = measure(0.03, 0.01, 400) if usable else none
        return {"num_images": 400, "num_patients": 200, "num_positive": 80 if usable else 0, **values, "ece": ece}

    def part() -> dict[str, Any]:
        labels: dict[str, Any] = {label.name: head(label.name) for label in LABELS[1:]}
        grades = {f"dr_grade>={k}": head("dr_grade") for k in range(1, 5)}
        return {"dr_grade": {"heads": grades, "quadratic_kappa": measure(0.71, 0.05, 400)}, **labels}

    return {
        "unusable": dict.fromkeys(UNMEASURABLE, why),
        "unusable_heads": dict.fromkeys(UNMEASURABLE, why),
        "parts": {"validation": part(), "test": part()},
    }
