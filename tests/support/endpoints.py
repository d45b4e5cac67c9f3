"""The endpoints as a client meets them, and comparisons of images."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from synfundus.study import Study

APP = "tested"
"""Name of the application on Ray Serve."""
MAX_ROW_STEPS = 3000
"""Limit of outstanding row-steps of the tested replica."""


@dataclass(frozen=True)
class Endpoints:
    """A running application."""

    url: str
    key: str
    keys_file: Path
    study: Study

    def client(self, **headers: str) -> httpx.Client:
        """Return a client that sends the key."""
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {self.key}", **headers}, timeout=120.0
        )

    def generate(self, **request: object) -> dict[str, Any]:
        """Return the body of a successful generation."""
        with self.client() as client:
            response = client.post("/v1/generate", json=request)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    def handle(self, deployment: str) -> Any:
        """Return Ray Serve's handle of a deployment."""
        from ray import serve

        return serve.get_deployment_handle(deployment, APP)


@dataclass(frozen=True)
class Photograph:
    """A photograph of the study's source, and the prediction of the stored annotator for its prepared image."""

    data: bytes
    """Encoded image, as the source has it."""
    annotation: dict[str, int | None]
    probability: dict[str, float | list[float] | None]


def pixels_of(data: bytes) -> NDArray[np.int64]:
    """Return the pixels of an encoded image."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB")).astype(np.int64)


def images_of(body: dict[str, Any]) -> list[NDArray[np.int64]]:
    """Return the pixels of the images in the body of a generation."""
    return [pixels_of(base64.b64decode(generated["image"])) for generated in body["images"]]


def assert_within_bound(image: NDArray[np.int64], other: NDArray[np.int64]) -> None:
    """Assert that two images differ by no more than bf16 does across batch shapes."""
    difference = np.abs(image - other)
    assert difference.max() <= 4
    assert difference.mean() <= 0.5
