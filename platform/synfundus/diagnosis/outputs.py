"""Convert the outputs of an external annotator to the logits of our 19 heads."""

import numpy as np
from scipy.special import expit, logit, softmax

from synfundus.diagnosis.config import Column, OutputMapConfig
from synfundus.labels import HEADS, NUM_DR_GRADES, NUM_VALUES, FloatArray

CLIP = 1e-7
"""Smallest distance of a probability from 0 and 1, where logits are infinite."""


def head_logits(output_map: OutputMapConfig, raw_BR: FloatArray, order: list[Column]) -> FloatArray:
    """Return logits (B, 19) of outputs (B, R), whose columns are `order`; NaN for heads without a column."""
    if output_map.scores == "softmax":
        raw_BR = softmax(raw_BR.astype(np.float64), axis=1)
    logit_BV = np.full((len(raw_BR), NUM_VALUES), np.nan)
    for name in output_map.columns:
        columns = output_map.columns_of(name)
        p_BC = raw_BR[:, [order.index(column) for column in columns]].astype(np.float64)
        exclusive = len(columns) == NUM_DR_GRADES
        if output_map.scores == "sigmoid":
            p_BC = softmax(p_BC, axis=1) if exclusive else expit(p_BC)
        if exclusive:
            # P(grade >= k) is the sum of the distribution from k on, after it is scaled to sum to one.
            p_BC = np.cumsum((p_BC / p_BC.sum(axis=1, keepdims=True))[:, :0:-1], axis=1)[:, ::-1]
        logit_BV[:, HEADS[name]] = logit(np.clip(p_BC, CLIP, 1.0 - CLIP))
    return logit_BV.astype(np.float32)
