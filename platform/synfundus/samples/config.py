"""What the makers of a release say about it; everything else on its card is measured or read from the samples."""

from datetime import date

from pydantic import Field

from synfundus.config import Config


class PrivacyStatement(Config):
    """What a hospital's privacy officer asks and no measurement answers. An unset field is "not stated" on the card."""

    legal_basis: str | None = None
    """On what legal basis the photographs were used for training."""
    consent: str | None = None
    """Consent of the patients, or the waiver of it."""
    personal_data_assessment: str | None = None
    """Are the synthetic images personal data here (GDPR recital 26: singling out, linkability, inference), and why."""
    audit: str | None = None
    """Who audited the release, against which attacks, with what worst case."""
    weights: str | None = None
    """Are the model's weights released too; they leak more than images."""
    removal: str | None = None
    """Can one patient be removed later, how, and how it is logged."""
    differential_privacy: str = "none; there is no formal guarantee"
    """Differential privacy in training, with its epsilon."""
    incident_contact: str | None = None
    """Whom to tell when an image seems to show a real person's eye."""


class ReleaseConfig(Config):
    """What is published, and what its makers say about it."""

    title: str = Field(default="Synthetic fundus photographs", min_length=1)
    version: str = Field(default="1.0.0", pattern=r"^\d+\.\d+\.\d+$")
    """Semantic version of the release: major.minor.patch."""
    licence: str = Field(default="CC-BY-NC-4.0", min_length=1)
    """SPDX identifier, or the name of another licence. The default keeps the images to research."""
    authors: tuple[str, ...] = ()
    contact: str | None = None
    """Where to write to."""
    homepage: str | None = None
    """Address of the release's own page."""
    date_published: date | None = None
    """A setting, so that the same input gives the same bytes."""
    data_statement: str = Field(min_length=1)
    """On whose photographs the generator was trained: institution, country, cameras, years. Required."""
    privacy: PrivacyStatement = PrivacyStatement()
    """What a privacy officer asks."""
    synfundus_export: bool = False
    """Also write the layout of SynFundus-1M: image files, annotation CSV, generation-condition CSV."""
