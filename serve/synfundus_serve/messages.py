"""What the endpoints take and give, as they stand in OpenAPI."""

import base64
import binascii
import io
import secrets
from typing import Annotated, Any, Literal

from PIL import Image
from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, field_validator

from synfundus.config import Config
from synfundus.diffusion.config import SolverConfig
from synfundus.errors import WrongInputError
from synfundus.labels import LABEL_NAMES, require_askable
from synfundus.phantom.render import render

NOTICE = "Research use only; not a medical device."
MAX_IMAGES = 64
"""Images a request, of either endpoint."""
SEED_END = 2**53
"""Seeds lie below, so that JSON keeps them."""


def _phantom() -> str:
    """A phantom of 128 px in base64, so that what is tried from the interface's description gets an answer.

    As JPEG, 3.5 kB: it stands in that description, where a PNG would be ten times as long.
    """
    sink = io.BytesIO()
    Image.fromarray(render({"eye_side": 1}, seed=7, size_px=128)).save(sink, "JPEG", quality=50)
    return base64.b64encode(sink.getvalue()).decode()


GENERATE_EXAMPLE = {"condition": {"dr_grade": 2, "eye_side": 1}, "n": 2, "seed": 7, "steps": 20, "guidance": 2.0}
DIAGNOSE_EXAMPLE = {"images": [_phantom()]}


def _decode_base64(text: Any) -> bytes:
    """A data URI's head is passed over."""
    if not isinstance(text, str):
        raise ValueError("expected a base64 string")
    try:
        return base64.b64decode(text.partition(";base64,")[2] or text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64 ({error})") from None


Base64Input = Annotated[bytes, BeforeValidator(_decode_base64), WithJsonSchema({"type": "string", "format": "byte"})]
Base64Bytes = Annotated[bytes, PlainSerializer(lambda data: base64.b64encode(data).decode(), str, when_used="json")]


class GenerateRequest(Config):
    """Synthetic photographs to make. What is left out is as the study's samples were made."""

    condition: dict[str, int | None] = Field(default_factory=dict)
    """Value of each label that is asked for; a label that is left out or null is left open. `/v1/labels` lists them."""
    n: int = Field(default=1, ge=1, le=MAX_IMAGES)
    """How many images; image j has the seed `seed + j`."""
    seed: int | None = Field(default=None, ge=0, lt=SEED_END)
    """Decides the noise: the same request with the same seed gives the same image. Left out: a random one."""
    steps: int | None = Field(default=None, ge=1)
    """Denoising steps."""
    solver: Literal["ddpm", "ddim", "dpmpp-2m"] | None = None
    guidance: float | None = Field(default=None, ge=1.0, le=20.0)
    """Weight of classifier-free guidance; 1 is none."""

    @field_validator("condition")
    @classmethod
    def _askable(cls, condition: dict[str, int | None]) -> dict[str, int | None]:
        try:
            require_askable(condition, "condition")
        except WrongInputError as error:
            raise ValueError(str(error)) from None
        return condition

    def solver_config(self, usual: SolverConfig) -> SolverConfig:
        """The solver asked for, `usual` where nothing is; `eta` belongs to ddim and falls away with it."""
        name = self.solver or usual.name
        asked: dict[str, Any] = {
            "name": name,
            "num_steps": self.steps or usual.num_steps,
            "guidance_scale": usual.guidance_scale if self.guidance is None else self.guidance,
            "eta": usual.eta if name == "ddim" else 0.0,
        }
        return SolverConfig.model_validate(usual.model_dump() | asked)

    def seeds(self) -> list[int]:
        """One an image; they go round at 2^53."""
        first = secrets.randbelow(SEED_END) if self.seed is None else self.seed
        return [(first + j) % SEED_END for j in range(self.n)]


class Finding(Config):
    """What the annotator says of one label of one image."""

    status: Literal["available", "not available"]
    """Not available: the annotator could not tell this label on held-out photographs, for the `reason` given."""
    value: int | None = None
    """Grade, or 0 or 1; null where not available, and of diseases where the image is no fundus photograph."""
    probability: float | list[float] | None = None
    """Calibrated; of `dr_grade` that of each grade 0 to 4."""
    threshold: float | None = None
    """Probability from which on the value is 1; a grade is the rounded expected grade and has none."""
    reason: str | None = None


class GeneratedImage(Config):
    """One synthetic photograph."""

    image: Base64Bytes
    """PNG, base64; its text chunks say that it is synthetic, with seed and model."""
    seed: int
    condition: dict[str, int | None]
    """What was asked for, all 16 labels."""
    annotation: dict[str, int | None]
    """What the annotator sees in it, all 16 labels; null where it cannot tell."""
    probability: dict[str, float | list[float] | None]
    """Calibrated, as in `Finding`."""


class GenerateResponse(Config):
    """The images, in the order of their seeds."""

    notice: str = NOTICE
    model: str
    """Digest of the generator."""
    annotator: str
    """Digest of the annotator."""
    solver: SolverConfig
    """As used."""
    images: list[GeneratedImage]


class DiagnoseRequest(Config):
    """Photographs in JSON; they may as well be sent as multipart/form-data or one as image/jpeg or image/png."""

    images: list[Base64Input] = Field(min_length=1, max_length=MAX_IMAGES)
    """Encoded photographs (JPEG, PNG, …) as base64."""


class Diagnosis(Config):
    """What the annotator says of one photograph."""

    field_px: int
    """Diameter of the field of view in pixels of the photograph."""
    is_readable: bool | None
    """Whether it is a fundus photograph whose macula, disc and retina can be read; null where that is not available."""
    eye_side: Literal["right", "left"] | None
    findings: dict[str, Finding]
    """By label, all 16."""


class DiagnoseResponse(Config):
    """One answer a photograph, in the order sent."""

    notice: str = NOTICE
    annotator: str
    """Digest of the annotator."""
    images: list[Diagnosis]


class LabelInfo(Config):
    """One of the 16 labels."""

    name: str
    title: str
    kind: Literal["disease", "readability", "side"]
    max_value: int
    """Values are 0 to this one."""
    diagnosis: Literal["available", "not available"]
    reason: str | None = None
    """Why it is not available."""


class LabelsResponse(Config):
    """All 16 labels."""

    labels: list[LabelInfo] = Field(min_length=len(LABEL_NAMES))


class GeneratorInfo(Config):
    """The generator in use."""

    digest: str
    """SHA-256 of what decides its samples."""
    size_px: int
    """Side of the images, in px."""
    max_steps: int
    """Most denoising steps."""
    usual_solver: SolverConfig
    """Of a request that says nothing else."""
    precision: Literal["fp32", "bf16"]


class AnnotatorInfo(Config):
    """The annotator in use."""

    digest: str
    """SHA-256 of what decides its answers."""
    size_px: int
    """Side to which photographs are cropped and scaled before the network's own scaling."""
    not_available: list[str]
    """Labels that it cannot tell."""


class ModelsResponse(Config):
    """Both models."""

    notice: str = NOTICE
    study: str
    version: str
    """Of SynFundus."""
    generator: GeneratorInfo
    annotator: AnnotatorInfo
