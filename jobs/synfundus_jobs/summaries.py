"""One-screen summaries of what stages wrote."""

import json

from synfundus.storage import Storage, read_manifest, read_trusted
from synfundus.study import Study
from synfundus_jobs.job import Rows


def annotator_rows(study: Study, storage: Storage) -> Rows:
    """Which heads are usable, with the held-out AUC of each."""
    folder = study.annotator_folder
    manifest = read_manifest(storage, folder)
    metrics = json.loads(read_trusted(storage, folder, "metrics.json", manifest))
    calibration = json.loads(read_trusted(storage, folder, "calibration.json", manifest))
    unusable = calibration["unusable"]
    measured = []
    for name, values in metrics["test"]["labels"].items():
        auc = values["auc"]
        if name not in unusable and auc["value"] is not None:
            measured.append(f"{name} {auc['value']:.2f} ({auc['low']:.2f}-{auc['high']:.2f})")
    return [
        ("held-out AUC", ", ".join(measured) or "not measurable"),
        ("unusable", ", ".join(unusable) or "none"),
    ]
