"""Requests and responses of the endpoints, as OpenAPI describes them."""

import base64
import binascii
import io
import secrets
from typing import Annotated, Any, Literal

from PIL import Image
from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema, field_validator

from synfundus.config import Config, refusing_value
from synfundus.diffusion.config import SolverConfig, Spacing
from synfundus.labels import LABEL_NAMES, require_requestable
from synfundus.phantom.render import render
from synfundus.resources import Precision
from synfundus.seeds import SEED_END

NOTICE = "Research use only; not a medical device."
MAX_IMAGES = 64
"""Images per request, of either endpoint."""
BINARY = {"schema": {"type": "string", "format": "binary"}}
"""OpenAPI description of an image that is a whole body."""


def _phantom() -> str:
    """Return a phantom of 128 px as base64, so that the example in the interface's description can be sent.

    A JPEG of 3.5 kB, because a PNG would make that description ten times as long.
    """
    sink = io.BytesIO()
    Image.fromarray(render({"eye_side": 1}, seed=7, size_px=128)).save(sink, "JPEG", quality=50)
    return base64.b64encode(sink.getvalue()).decode()


GENERATE_EXAMPLE = {"condition": {"dr_grade": 2, "eye_side": 1}, "n": 2, "seed": 7, "steps": 20, "guidance": 2.0}
DIAGNOSE_EXAMPLE = {"images": [_phantom()]}


def _decode_base64(text: Any) -> bytes:
    """Return the bytes of base64 text, with or without the head of a data URI."""
    if not isinstance(text, str):
        raise ValueError("expected a base64 string")
    try:
        return base64.b64decode(text.partition(";base64,")[2] or text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64 ({error})") from None


Base64Input = Annotated[bytes, BeforeValidator(_decode_base64), WithJsonSchema({"type": "string", "format": "byte"})]
Base64Bytes = Annotated[bytes, PlainSerializer(lambda data: base64.b64encode(data).decode(), str, when_used="json")]


class RequestBody(Config):
    """Body of a request. Types are strict: `true` and `"3"` are no numbers."""

    model_config = ConfigDict(strict=True)


def _integer(value: Any) -> Any:
    """Return 3 for 3.0: JSON has one kind of number, and `integer` of JSON Schema admits both."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < SEED_END else value


Integer = Annotated[int, BeforeValidator(_integer)]


class GenerateRequest(RequestBody):
    """Samples to generate. Omitted settings are those of the study's samples."""

    condition: dict[str, Integer | None] = Field(default_factory=dict)
    """Requested value of each label; an omitted or null label is unknown. `/v1/labels` lists the labels."""
    n: Integer = Field(default=1, ge=1, le=MAX_IMAGES)
    """Number of images; image j has the seed `seed + j`."""
    seed: Integer | None = Field(default=None, ge=0, lt=SEED_END)
    """Seed of the noise: the same request with the same seed gives the same image. Default: a random seed."""
    steps: Integer | None = Field(default=None, ge=1)
    """Denoising steps per image."""
    solver: Literal["ddpm", "ddim", "dpmpp-2m"] | None = None
    """Name of the solver."""
    spacing: Spacing | None = None
    """Rule that places the solver's steps on the noise schedule."""
    guidance: float | None = Field(default=None, ge=1.0, le=20.0)
    """Scale of classifier-free guidance; 1 turns it off."""

    @field_validator("condition")
    @classmethod
    def _askable(cls, condition: dict[str, int | None]) -> dict[str, int | None]:
        with refusing_value():
            require_requestable(condition, "condition")
        return condition

    def solver_config(self, usual: SolverConfig) -> SolverConfig:
        """Return the requested solver, completed from `usual`; `eta` is 0 for every solver but ddim."""
        name = self.solver or usual.name
        return SolverConfig.model_validate(
            {
                **usual.model_dump(),
                "name": name,
                "num_steps": self.steps or usual.num_steps,
                "spacing": self.spacing or usual.spacing,
                "guidance_scale": usual.guidance_scale if self.guidance is None else self.guidance,
                "eta": usual.eta if name == "ddim" else 0.0,
            }
        )

    def seeds(self) -> list[int]:
        """Return the seed of each image; seeds wrap around at 2^53."""
        first = secrets.randbelow(SEED_END) if self.seed is None else self.seed
        return [(first + j) % SEED_END for j in range(self.n)]


class LabelPrediction(Config):
    """Prediction of one label of one image."""

    status: Literal["available", "not available"]
    """`not available`: the label is unusable, because held-out photographs did not show that it can be predicted."""
    value: int | None = None
    """Grade, or 0 or 1. Null if the label is not available, if no threshold meets the operating point, and for diseases
    and side of an image that is not a fundus photograph."""
    probability: float | list[float] | None = None
    """Calibrated probability that the label is 1; for `dr_grade`, that of each grade 0 to 4."""
    threshold: float | list[float | None] | None = None
    """Smallest probability at which the value is 1. For `dr_grade`, the smallest expected grades at which the value is
    1, 2, 3 and 4. Null for a grade that is never predicted; if all are null, the value is the most probable grade."""
    operating_point: str | None = None
    """Rule that chose the threshold, such as `matched prevalence`; null if not available."""
    reason: str | None = None
    """Reason why the label is not available, or has no value."""


class GeneratedImage(Config):
    """One sample."""

    image: Base64Bytes | None
    """PNG in base64; its text chunks mark it as synthetic and hold seed and model. Null if the image is withheld."""
    withheld: Literal["near_training_image"] | None = None
    """Reason why the image is withheld: it lies nearer to a training photograph than the threshold. Another seed gives
    another image."""
    seed: int
    condition: dict[str, int | None]
    """Requested value of all 16 labels; null is unknown."""
    annotation: dict[str, int | None]
    """Predicted value of all 16 labels; null for labels that are not available."""
    probability: dict[str, float | list[float] | None]
    """Calibrated probabilities, as in `LabelPrediction`."""


class GenerateResponse(Config):
    """Samples, in the order of their seeds."""

    notice: str = NOTICE
    model: str
    """Digest of the generator."""
    annotator: str
    """Digest of the annotator."""
    solver: SolverConfig
    """Solver settings that were used."""
    images: list[GeneratedImage]


class DiagnoseRequest(RequestBody):
    """Photographs as JSON. multipart/form-data carries several, too; image/jpeg and image/png carry one."""

    images: list[Base64Input] = Field(min_length=1, max_length=MAX_IMAGES)
    """Encoded photographs (JPEG, PNG, …) as base64."""


class ImageDiagnosis(Config):
    """Predictions for one photograph."""

    field_px: int
    """Diameter of the field of view in pixels of the photograph."""
    is_readable: bool | None
    """True for a fundus photograph with readable macula, disc and retina; null if one of these is not available."""
    eye_side: Literal["right", "left"] | None
    """Predicted side; null if not available, or if the image is not a fundus photograph."""
    predictions: dict[str, LabelPrediction]
    """Prediction of each of the 16 labels, by name."""


class DiagnoseResponse(Config):
    """One diagnosis per photograph, in the order of the request."""

    notice: str = NOTICE
    annotator: str
    """Digest of the annotator."""
    images: list[ImageDiagnosis]


class LabelInfo(Config):
    """One of the 16 labels."""

    name: str
    """Column name, as in the samples."""
    title: str
    """Name for readers."""
    kind: Literal["disease", "readability", "side"]
    max_value: int
    """Largest value; the smallest is 0."""
    diagnosis: Literal["available", "not available"]
    """`not available`: the annotator does not predict this label."""
    reason: str | None = None
    """Reason why the label is not available."""


class LabelsResponse(Config):
    """The 16 labels."""

    labels: list[LabelInfo] = Field(min_length=len(LABEL_NAMES))


class GeneratorInfo(Config):
    """The generator in use."""

    digest: str
    """SHA-256 of everything that its samples depend on."""
    size_px: int
    """Height and width of the samples, in px."""
    max_steps: int
    """Largest number of denoising steps."""
    usual_solver: SolverConfig
    """Solver settings of a request that states none: those of the study's samples."""
    precision: Precision
    """Arithmetic of the U-Net."""


class AnnotatorInfo(Config):
    """The annotator in use."""

    digest: str
    """SHA-256 of everything that its probabilities depend on, and of the predictions that thresholds are chosen from.
    Values also depend on the study's operating points, which each prediction states (`operating_point`)."""
    size_px: int
    """Height and width of prepared photographs, in px, before the network's own scaling."""
    not_available: list[str]
    """Names of the unusable labels."""


class ModelsResponse(Config):
    """The generator and the annotator in use."""

    notice: str = NOTICE
    study: str
    """Name of the study."""
    version: str
    """Version of SynFundus."""
    generator: GeneratorInfo
    annotator: AnnotatorInfo
