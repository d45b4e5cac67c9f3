"""The report's tables and its summary, as plain rows of text. Numbers are worded here, the template places them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synfundus.labels import LABEL_BY_NAME, LABELS, NUM_LABELS
from synfundus.measures.wording import NOT_MEASURABLE, format_measure, format_number, is_measured

MEANINGS = {
    "AUC": "The chance that the annotator scores a picture with the finding higher than one without. 0.5 is chance,"
    " 1 is perfect; higher is better.",
    "Quadratic kappa": "Agreement of grades beyond chance, near misses counting less than far ones. 0 is chance, 1 is"
    " perfect; higher is better.",
    "Agreement": "Share of the pictures in which the annotator sees exactly the value that was asked for. Higher is"
    " better; read it beside the shuffled column, for a rare finding is agreed on by always saying no.",
    "Shuffled": "The same number after the requests were dealt out to the wrong pictures: what chance alone gives.",
    "Average precision": "How clean the list of suspected pictures is, from the most suspected down. Chance is"
    " the share of positives, 1 is perfect; higher is better.",
    "Sensitivity": "Share of the photographs with the finding that the annotator flags. Higher is better.",
    "Specificity": "Share of the photographs without the finding that the annotator does not flag. Higher is better.",
    "F1": "Harmonic mean of sensitivity and of the share of flags that are right. Higher is better.",
    "ECE": "Expected calibration error: how far a stated probability lies from the observed frequency on"
    " average. Lower is better.",
    "95 % interval": "The range in brackets: a repetition with other patients would give a number in about that range."
    " A wide range means few images.",
}


@dataclass(frozen=True)
class Fact:
    """One tile of the summary."""

    title: str
    value: str
    comment: str


def _percent(measure: Mapping[str, Any]) -> str:
    if not is_measured(measure):
        return NOT_MEASURABLE
    low, high = measure["low"], measure["high"]
    interval = "" if low is None else f" ({100 * low:.0f} to {100 * high:.0f})"
    return f"{100 * measure['value']:.0f} %{interval}"


def summary(metrics: Mapping[str, Any], annotator_metrics: Mapping[str, Any]) -> list[Fact]:
    """What a reader should know who reads no further."""
    counts, labels = metrics["counts"], metrics["consistency"]["labels"]
    measurable = [entry for entry in labels.values() if entry["beats_permuted"] is not None]
    follow = sum(entry["beats_permuted"] for entry in measurable)
    side = labels["eye_side"]
    usable = NUM_LABELS - len(annotator_metrics["unusable"])
    return [
        Fact(
            "Synthetic images",
            f"{counts['synthetic']['num_images']:,}",
            f"beside {counts['reference']['num_images']:,} training photographs of"
            f" {counts['reference']['num_patients']:,} patients and {counts['held_out']['num_images']:,} held-out ones"
            f" of {counts['held_out']['num_patients']:,}",
        ),
        Fact(
            "Eye side as asked",
            _percent(side["agreement"]).split(" (")[0],
            "of the images, as the annotator sees them; by chance"
            f" {_percent(side['agreement_permuted']).split(' (')[0]}",
        ),
        Fact(
            "Labels that follow the request",
            f"{follow} of {len(measurable)}",
            f"beat shuffled requests by more than their interval; {NUM_LABELS - len(measurable)} of {NUM_LABELS}"
            " cannot be measured",
        ),
        _distance_fact(metrics["fidelity"]),
        _copies_fact(metrics["privacy"]),
        Fact(
            "Labels the annotator can tell",
            f"{usable} of {NUM_LABELS}",
            "the others are annotated as unknown and not judged; see the annotator's section",
        ),
    ]


def _distance_fact(fidelity: Mapping[str, Any]) -> Fact:
    space = next((s for s in fidelity["spaces"].values() if s["status"] == "computed"), None)
    overall = space["strata"]["overall"] if space else None
    title = "Distance from real photographs"
    if space is None or overall is None or not is_measured(overall["synthetic"]["frechet_distance"]):
        return Fact(title, NOT_MEASURABLE, "see the section on likeness")
    held_out = overall["held_out"]["frechet_distance"]
    beside = format_number(held_out["value"]) if is_measured(held_out) else NOT_MEASURABLE
    return Fact(
        title,
        format_number(overall["synthetic"]["frechet_distance"]["value"]),
        f"Fréchet distance in {space['title'].lower()}; real held-out photographs have {beside}; lower is nearer",
    )


def _copies_fact(privacy: Mapping[str, Any]) -> Fact:
    title = "Near a training image"
    if privacy["status"] != "measured":
        return Fact(title, NOT_MEASURABLE, str(privacy["reason"]))
    return Fact(
        title,
        f"{privacy['num_near']} of {privacy['num_drawn']:,}",
        f"pictures drawn lay nearer than the {100 * privacy['quantile']:.3g} % of held-out photographs that lie"
        " nearest; they were left out",
    )


def consistency_rows(labels: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The table of all 16 labels: asked against seen, beside the same with conditions shuffled."""
    rows = []
    for label in LABELS:
        entry = labels[label.name]
        verdict = {True: "follows", False: "no better than chance", None: NOT_MEASURABLE}[entry["beats_permuted"]]
        rows.append(
            {
                "name": label.name,
                "title": label.title,
                "statistic": "kappa" if entry["statistic"] == "quadratic_kappa" else "AUC",
                "num_asked": _counts(entry["num_asked"]),
                "num_seen": _counts(entry["num_seen"]) if any(entry["num_seen"]) else "unknown",
                "asked": format_measure(entry["asked"]),
                "permuted": format_measure(entry["permuted"]),
                "agreement": _percent(entry["agreement"]),
                "agreement_permuted": _percent(entry["agreement_permuted"]),
                "n": entry["asked"]["n"],
                "verdict": verdict,
                "reason": entry["asked"].get("reason") or "",
            }
        )
    return rows


def _counts(counts: Sequence[float]) -> str:
    return " / ".join(f"{count:,.0f}" for count in counts)


def confusion(entry: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """Rows of the asked-seen table, each cell with its share of the row (for shading)."""
    return [
        [{"count": f"{cell:,}", "share": cell / sum(row) if sum(row) else 0.0} for cell in row]
        for row in entry["confusion"]
    ]


def fidelity_tables(fidelity: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One table per feature space: overall; and per group of images one row per measure."""
    tables = []
    for space in fidelity["spaces"].values():
        table: dict[str, Any] = {"title": space["title"], "reason": space.get("reason"), "overall": [], "strata": []}
        if space["status"] == "computed":
            table["n"] = space["strata"]["overall"]["n"]
            table["overall"] = _comparison_rows(space["strata"]["overall"], fidelity["measures"])
            table["landmark"] = _landmark(space.get("landmark"))
            table["strata"] = [
                {
                    "title": fidelity["strata"][name]["title"],
                    "n": compared["n"],
                    "held_out": [format_measure(compared["held_out"].get(m)) for m in fidelity["measures"]],
                    "synthetic": [format_measure(compared["synthetic"].get(m)) for m in fidelity["measures"]],
                    "reason": _common_reason(compared["synthetic"]),
                }
                for name, compared in space["strata"].items()
                if name != "overall"
            ]
        tables.append(table)
    return tables


def _comparison_rows(compared: Mapping[str, Any], measures: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "title": words["title"],
            "better": words["better"],
            "held_out": format_measure(compared["held_out"].get(name)),
            "synthetic": format_measure(compared["synthetic"].get(name)),
            "difference": format_measure(compared["difference"].get(name)),
            "reason": (compared["synthetic"].get(name) or {}).get("reason") or "",
        }
        for name, words in measures.items()
    ]


def _landmark(landmark: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """How far samples and phantoms lie from held-out photographs; None where phantoms are the photographs."""
    if landmark is None:
        return None
    return {"n": landmark["n"], **{name: format_measure(landmark[name]) for name in ("synthetic", "phantoms")}}


def _common_reason(measures: Mapping[str, Any]) -> str | None:
    """Why nothing of a comparison could be measured; None when something was."""
    if any(is_measured(measure) for measure in measures.values()):
        return None
    return next((str(measure["reason"]) for measure in measures.values()), "no image")


def annotator_rows(annotator_metrics: Mapping[str, Any], part: str = "test") -> list[dict[str, Any]]:
    """The annotator on held-out photographs: a row per label, four for the grades."""
    rows = []
    for name, entry in annotator_metrics["parts"][part].items():
        for head, measures in entry["heads"].items() if "heads" in entry else ((name, entry),):
            why = annotator_metrics["unusable_heads"].get(head)
            title = LABEL_BY_NAME[name].title
            rows.append(
                {
                    "title": f"{title}, {head.removeprefix('dr_grade').replace('>=', '≥ ')}" if head != name else title,
                    "num_images": measures["num_images"],
                    "num_patients": measures["num_patients"],
                    "num_positive": measures["num_positive"],
                    "auc": format_measure(measures["auc"]),
                    "cells": [
                        "" if why else format_measure(measures[key])
                        for key in ("average_precision", "sensitivity", "specificity", "f1", "ece")
                    ],
                    "unusable": why,
                }
            )
    return rows


def grade_kappa(annotator_metrics: Mapping[str, Any], part: str = "test") -> dict[str, Any]:
    """Quadratic kappa of the annotated grades on held-out photographs."""
    measure = annotator_metrics["parts"][part]["dr_grade"]["quadratic_kappa"]
    return {"text": format_measure(measure), "n": measure["n"], "reason": measure.get("reason")}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Settings as (dotted key, value) rows."""
    rows: list[tuple[str, str]] = []
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            rows += flatten(value, f"{path}.")
        elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            rows += flatten({str(i): item for i, item in enumerate(value)}, f"{path}.")
        elif isinstance(value, list | tuple):
            rows.append((path, ", ".join(map(str, value)) or "none"))
        else:
            rows.append((path, "none" if value is None else str(value)))
    return rows
