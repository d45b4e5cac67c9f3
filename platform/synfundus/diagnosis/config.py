"""Settings of the annotator: its training, an external one in its place, operating points, and filling."""

import math
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from synfundus.config import Config, refusing_value
from synfundus.errors import WrongInputError
from synfundus.labels import NUM_DR_GRADES, NUM_DR_HEADS, require_known
from synfundus.resources import PoolResources
from synfundus.training.config import OptimisationConfig, moved_to_resources

NO_NEW_IMAGES = (
    "this annotator is a table of predictions: it fills labels of the images that it lists, but can neither annotate"
    " new images nor give features; to sample, evaluate or serve, train an annotator or name an external model"
)

Column = int | str
"""Output of an external annotator: a number for a model, a column name for a table."""


class AugmentationConfig(Config):
    """Strengths of the augmentation; 0 switches a transformation off."""

    flip_probability: float = Field(default=0.5, ge=0.0, le=1.0)
    """Probability of a horizontal flip, which swaps `eye_side`."""
    rotation_deg: float = Field(default=10.0, ge=0.0, le=180.0)
    """Largest rotation in degrees; uniform in both directions."""
    scale: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Largest magnification is 1 + `scale`, the smallest its inverse; log-uniform."""
    brightness: float = Field(default=0.2, ge=0.0)
    """Largest shift of the normalised pixels; uniform in both directions."""
    contrast: float = Field(default=0.2, ge=0.0, le=1.0)
    """Largest relative change of a pixel's distance from the image's mean; uniform in both directions."""


class AnnotatorConfig(OptimisationConfig, AugmentationConfig):
    """Training of the annotator. All of these settings are part of the run's digest."""

    moved: ClassVar[dict[str, str]] = moved_to_resources("annotator")

    architecture: str
    """Model name in timm's registry, for example resnet10t."""
    image_size_px: int = Field(ge=32, le=1024)
    """Height and width of the network's input; prepared images are resized to it."""
    init_from: str | None = None
    """Initial weights: a folder with model.safetensors, or a .safetensors or .pth file. Tensors that do not fit (mostly
    the head) are not used."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout probability before the head."""


Rule = Literal["matched-prevalence", "minimum-ppv", "minimum-sensitivity", "youden", "most-probable"]
WITH_MINIMUM: Final = ("minimum-ppv", "minimum-sensitivity")
"""Rules that need `minimum`."""


class OperatingPointConfig(Config):
    """Rule that turns the probability of a label into a value. For `dr_grade` it holds at each grade >= k."""

    rule: Rule = "matched-prevalence"
    """`matched-prevalence`: the share annotated 1 equals `prevalence`. `minimum-ppv`: the most sensitive threshold
    with a positive predictive value of `minimum`. `minimum-sensitivity`: the most specific threshold with a sensitivity
    of `minimum`. `youden`: the largest sensitivity + specificity. `most-probable`: 1 from a probability of 0.5; the
    most probable grade."""
    minimum: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Target of `minimum-ppv` and `minimum-sensitivity`."""
    prevalence: float | tuple[float, ...] | None = None
    """Share of the value 1 among the images that will be annotated; for `dr_grade` the shares of the five grades.
    Default: for samples the share that their plan requests, if it requests more than one value; otherwise the share
    among the experts' training labels (for an external annotator: validation labels)."""

    @model_validator(mode="after")
    def _check_minimum(self) -> "OperatingPointConfig":
        if (self.minimum is not None) != (self.rule in WITH_MINIMUM):
            raise ValueError(f"minimum: required by {' and '.join(WITH_MINIMUM)}, refused by other rules")
        return self

    def require_prevalence_of(self, name: str) -> None:
        """Refuse a prevalence that label `name` cannot have.

        Raises:
            ValueError: not one share in (0, 1); for `dr_grade`, not five shares with the sum 1.
        """
        if self.prevalence is None:
            return
        if name == "dr_grade":
            shares = self.prevalence if isinstance(self.prevalence, tuple) else ()
            if len(shares) != NUM_DR_GRADES or min(shares) < 0.0 or not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
                raise ValueError(f"dr_grade.prevalence: expected {NUM_DR_GRADES} shares with the sum 1, one per grade")
        elif not (isinstance(self.prevalence, float) and 0.0 < self.prevalence < 1.0):
            raise ValueError(f"{name}.prevalence: expected a share between 0 and 1")


def _check_operating_points(points: dict[str, OperatingPointConfig]) -> dict[str, OperatingPointConfig]:
    with refusing_value():
        require_known(points, "operating_points")
    for name, point in points.items():
        point.require_prevalence_of(name)
    return points


OperatingPointsConfig = Annotated[dict[str, OperatingPointConfig], AfterValidator(_check_operating_points)]
"""Operating point by label. A label that is not named has the default of `OperatingPointConfig`; with an external
annotator that is used as it is, `most-probable`."""


class OutputMapConfig(Config):
    """Map from the outputs of an external annotator to labels. Stored as `outputs.json` beside an external network."""

    columns: dict[str, Column | list[Column]]
    """Output column of each label (a number of a model's output, a column name of a table). A binary label has one
    column, for the value 1. `dr_grade` has a list of five columns (the grades 0 to 4, which exclude each other) or of
    four (grade >= 1 to 4)."""
    scores: Literal["probability", "sigmoid", "softmax"] = "probability"
    """Scale of the outputs. `probability`: probabilities. `sigmoid`: independent logits (five grades: one softmax among
    them). `softmax`: logits of classes that exclude each other, over all outputs of the model."""

    @model_validator(mode="after")
    def _check_columns(self) -> "OutputMapConfig":
        if not self.columns:
            raise ValueError("columns: names no label; map at least one, for example {is_gc: 1}")
        with refusing_value():
            require_known(self.columns, "columns")
        for name, columns in self.columns.items():
            allowed = (NUM_DR_GRADES, NUM_DR_HEADS) if name == "dr_grade" else (1,)
            if len(self.columns_of(name)) not in allowed:
                numbers = " or ".join(map(str, allowed))
                raise ValueError(f"columns: {name} takes {numbers} columns, has {columns!r}")
        return self

    def columns_of(self, name: str) -> list[Column]:
        """Return the columns of a label, empty when it has none."""
        columns = self.columns.get(name, [])
        return columns if isinstance(columns, list) else [columns]

    def used_columns(self) -> list[Column]:
        """Return every column that is read, each once."""
        return list(dict.fromkeys(column for name in self.columns for column in self.columns_of(name)))


class ExternalConfig(OutputMapConfig):
    """An annotator made elsewhere: either `predictions` or `weights`."""

    predictions: str | None = None
    """CSV file with one row per image: `image_id` or `file_name`, and the columns of the map."""
    images_folder: str | None = None
    """Folder below which the `file_name`s of the CSV lie; images are identified by their content."""
    weights: str | None = None
    """Folder in timm's layout (config.json, model.safetensors), or a .safetensors or .pth file."""
    architecture: str | None = None
    """Model name in timm's registry; not needed when the folder has a config.json."""
    image_size_px: int | None = Field(default=None, ge=32, le=1024)
    """Height and width of the model's input; not needed when the folder has a config.json."""
    recalibrate: bool = True
    """True: its probabilities are calibrated on the validation split. False: they are used as they are, and labels
    without an entry in `operating_points` get their most probable value."""

    @model_validator(mode="after")
    def _check_source(self) -> "ExternalConfig":
        if (self.predictions is None) == (self.weights is None):
            raise ValueError("expected either predictions (a CSV) or weights (a timm model)")
        if self.weights is not None and self.scores == "probability":
            raise ValueError("scores: the outputs of a model are logits; choose sigmoid or softmax")
        is_model = self.weights is not None
        for column in self.used_columns():
            if isinstance(column, int) != is_model:
                kind = "numbers of a model's outputs" if is_model else "names of the CSV's columns"
                raise ValueError(f"columns: {column!r}; expected {kind}")
        if self.scores == "softmax" and self.predictions is not None:
            raise ValueError("scores: softmax needs a model; a table holds probabilities or sigmoid logits")
        return self

    @property
    def output_map(self) -> OutputMapConfig:
        """The map alone, as stored in `outputs.json`."""
        return OutputMapConfig(columns=self.columns, scores=self.scores)

    def require_new_images(self) -> None:
        """Refuse a table of predictions, which cannot annotate new images.

        Raises:
            WrongInputError: the annotator is a table.
        """
        if self.predictions is not None:
            raise WrongInputError(f"predictions: {NO_NEW_IMAGES}")


class FillConfig(Config):
    """Filling of unknown labels."""

    resources: PoolResources = PoolResources()
    """Workers, threads and GPUs. No filled value depends on the number of workers."""
