"""One-screen summaries of what stages wrote."""

import json

from synfundus.measures.wording import format_measure
from synfundus.storage import Storage, read_manifest, read_trusted
from synfundus.study import Study
from synfundus_jobs.job import Rows


def annotator_rows(study: Study, storage: Storage) -> Rows:
    """Which heads are usable, with the held-out AUC of each."""
    folder = study.annotator_folder
    metrics = json.loads(read_trusted(storage, folder, "metrics.json", read_manifest(storage, folder)))
    measured = []
    for name, values in metrics["parts"]["test"].items():
        text = f"kappa {format_measure(values['quadratic_kappa'])}" if name == "dr_grade" else None
        text = text or f"{format_measure(values['auc'])}"
        if name not in metrics["unusable"]:
            measured.append(f"{name} {text}")
    fresh = metrics.get("init_from", {}).get("fresh_tensors")
    taken = [] if fresh is None else [("init_from", f"taken up but for {len(fresh)} tensors: {_some(fresh)}")]
    return [
        *taken,
        ("held-out AUC", ", ".join(measured) or "not measurable"),
        ("unusable", ", ".join(metrics["unusable"]) or "none"),
    ]


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "") if names else "none"
