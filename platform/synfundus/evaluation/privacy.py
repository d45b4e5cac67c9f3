"""Section `privacy` of metrics.json: how near the samples lie to training photographs."""

from typing import Any

import numpy as np
from scipy.special import betaincinv

from synfundus.labels import FloatArray
from synfundus.measures.copies import COPY_SPACE, Drawn, Nearest, held_out_threshold, nearest
from synfundus.measures.statistics import proportion

NUM_BINS = 40


def privacy_section(
    training_ND: FloatArray, held_out_MD: FloatArray, synthetic_KD: FloatArray, quantile: float, drawn: Drawn
) -> tuple[dict[str, Any], Nearest | None]:
    """Section `privacy` of metrics.json but for `closest`, and the nearest training image of each synthetic one.

    The rate of copies is that among all pictures drawn: among those kept it is none by how they were chosen.
    """
    counts = {"num_training": len(training_ND), "num_held_out": len(held_out_MD), "num_synthetic": len(synthetic_KD)}
    missing = [name.removeprefix("num_") for name, n in counts.items() if n == 0]
    if missing:
        reason = f"there are no {' and no '.join(missing)} images"
        return {"status": "not measurable", "reason": reason.replace("_", "-"), **counts}, None
    held_out, synthetic = nearest(held_out_MD, training_ND), nearest(synthetic_KD, training_ND)
    threshold = held_out_threshold(held_out.distance, quantile)
    edges = np.linspace(0.0, 1.5, NUM_BINS + 1)
    # Clopper and Pearson 1934; for none of n it is 1 - 0.05^(1/n), about 3 / n.
    all_near = drawn.num_near == drawn.num
    upper = 1.0 if all_near else float(betaincinv(drawn.num_near + 1, drawn.num - drawn.num_near, 0.95))
    section = {
        "status": "measured",
        **counts,
        "space": COPY_SPACE,
        "quantile": quantile,
        "threshold": threshold,
        "num_drawn": drawn.num,
        "num_near": drawn.num_near,
        "share_near": proportion(np.arange(drawn.num) < drawn.num_near).to_dict(),
        "share_near_upper_bound": upper,
        "num_below": int((synthetic.distance < threshold).sum()),
        "distances": {
            "bin_edges": edges.tolist(),
            "held_out": np.histogram(held_out.distance, edges)[0].tolist(),
            "synthetic": np.histogram(synthetic.distance, edges)[0].tolist(),
        },
    }
    return section, synthetic
