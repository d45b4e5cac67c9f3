"""What the outputs of an external annotator mean: from its columns to the logits of our 19 heads."""

from typing import Literal

import numpy as np
from pydantic import model_validator
from scipy.special import expit, logit, softmax

from synfundus.config import Config
from synfundus.labels import HEADS, LABEL_BY_NAME, LABEL_NAMES, NUM_DR_GRADES, NUM_DR_HEADS, NUM_VALUES, FloatArray

CLIP = 1e-7
"""Probabilities are kept this far from 0 and 1, where logits are infinite."""

Column = int | str


class OutputMap(Config):
    """Which output columns speak of which label, and on which scale."""

    columns: dict[str, Column | list[Column]]
    """Label -> column (a number of a model's output, a name of a table): one column, that of the value 1; for
    `dr_grade` a list, of five (the grades 0 to 4, which exclude each other) or of four (grade >= 1 to 4)."""
    scores: Literal["probability", "sigmoid", "softmax"] = "probability"
    """`probability`: the columns hold probabilities. `sigmoid`: logits, each by itself (five grades: one softmax among
    them). `softmax`: logits of classes that exclude each other, over all outputs of the model."""

    @model_validator(mode="after")
    def _check(self) -> "OutputMap":
        if not self.columns:
            raise ValueError("columns: names no label; map at least one, for example {is_gc: 1}")
        for name, columns in self.columns.items():
            if name not in LABEL_BY_NAME:
                raise ValueError(f"columns: {name!r} is not a label; the labels are {', '.join(LABEL_NAMES)}")
            wanted = (NUM_DR_GRADES, NUM_DR_HEADS) if name == "dr_grade" else (1,)
            if len(self.columns_of(name)) not in wanted:
                numbers = " or ".join(map(str, wanted))
                raise ValueError(f"columns: {name} takes {numbers} columns, has {columns!r}")
        return self

    def columns_of(self, name: str) -> list[Column]:
        """Columns of a label, empty when it has none."""
        columns = self.columns.get(name, [])
        return columns if isinstance(columns, list) else [columns]

    def used(self) -> list[Column]:
        """All columns that are read, each once."""
        return list(dict.fromkeys(column for name in self.columns for column in self.columns_of(name)))

    def head_logits(self, raw_BR: FloatArray, order: list[Column]) -> FloatArray:
        """Logits (B, 19) from outputs (B, R), whose columns are `order`; NaN for heads without a column."""
        if self.scores == "softmax":
            raw_BR = softmax(raw_BR.astype(np.float64), axis=1)
        logit_BV = np.full((len(raw_BR), NUM_VALUES), np.nan)
        for name in self.columns:
            columns = self.columns_of(name)
            part_BC = raw_BR[:, [order.index(column) for column in columns]].astype(np.float64)
            exclusive = len(columns) == NUM_DR_GRADES
            if self.scores == "sigmoid":
                part_BC = softmax(part_BC, axis=1) if exclusive else expit(part_BC)
            if exclusive:
                # P(grade >= k) is the sum from k on, of a distribution that sums to one.
                part_BC = np.cumsum((part_BC / part_BC.sum(axis=1, keepdims=True))[:, :0:-1], axis=1)[:, ::-1]
            logit_BV[:, HEADS[name]] = logit(np.clip(part_BC, CLIP, 1.0 - CLIP))
        return logit_BV.astype(np.float32)
