"""Settings of an annotator that was made elsewhere."""

from pydantic import Field, model_validator

from synfundus.diagnosis.outputs import OutputMap
from synfundus.errors import WrongInputError

NO_NEW_IMAGES = (
    "this annotator is a table of predictions: it fills labels of the images that it lists, but can neither annotate"
    " new images nor give features; to sample, evaluate or serve, train an annotator or name an external model"
)


class ExternalConfig(OutputMap):
    """Where the external annotator is: either `predictions` or `weights`."""

    predictions: str | None = None
    """A CSV with a row an image: `image_id` or `file_name`, and the columns of the map."""
    images_folder: str | None = None
    """Folder below which the `file_name`s of the CSV lie; images are told by their content."""
    weights: str | None = None
    """A folder in timm's layout (config.json, model.safetensors), or a .safetensors or .pth file."""
    architecture: str | None = None
    """timm's name of the model; read from the folder's config.json where there is one."""
    image_size_px: int | None = Field(default=None, ge=32, le=1024)
    """Side of the square that the model sees; read from the folder's config.json where there is one."""

    @model_validator(mode="after")
    def _one_source(self) -> "ExternalConfig":
        if (self.predictions is None) == (self.weights is None):
            raise ValueError("name either predictions (a CSV) or weights (a timm model)")
        if self.weights is not None and self.scores == "probability":
            raise ValueError("scores: a model's outputs are logits; say sigmoid or softmax")
        number = self.weights is not None
        for column in self.used():
            if isinstance(column, int) != number:
                kind = "numbers of a model's outputs" if number else "names of the CSV's columns"
                raise ValueError(f"columns: {column!r}; expected {kind}")
        if self.scores == "softmax" and self.predictions is not None:
            raise ValueError("scores: a table holds probabilities or logits that stand by themselves, not softmax")
        return self

    @property
    def outputs(self) -> OutputMap:
        return OutputMap(columns=self.columns, scores=self.scores)

    def require_new_images(self) -> None:
        """Raises WrongInputError, before any work is done, where new images will have to be annotated."""
        if self.predictions is not None:
            raise WrongInputError(f"predictions: {NO_NEW_IMAGES}")
