"""Settings of a release: what its makers state. Everything else on the card is measured or read from the samples."""

from datetime import date

from pydantic import Field

from synfundus.config import Config


class PrivacyStatement(Config):
    """The makers' answers to a privacy officer's questions. An unset field is "not stated" on the card.

    The field docstrings are the questions.
    """

    legal_basis: str | None = None
    """Legal basis on which the photographs were used for training."""
    consent: str | None = None
    """Consent of the patients, or the waiver of it."""
    personal_data_assessment: str | None = None
    """Assessment of whether the synthetic images are personal data (GDPR recital 26: singling out, linkability,
    inference), with its grounds."""
    audit: str | None = None
    """Auditor of the release, the attacks that were tried, and the worst case found."""
    weights: str | None = None
    """Statement on whether the models' weights are released too; weights leak more than images."""
    removal: str | None = None
    """Procedure by which one patient can be removed later, and the log of removals."""
    differential_privacy: str = "none; there is no formal guarantee"
    """Differential privacy of the training, with its epsilon."""
    incident_contact: str | None = None
    """Contact for anyone to whom an image seems to show a real person's eye."""


class ReleaseConfig(Config):
    """Contents of a release, and the statements of its makers."""

    title: str = Field(default="Synthetic fundus photographs", min_length=1)
    """Title of the dataset."""
    version: str = Field(default="1.0.0", pattern=r"^\d+\.\d+\.\d+$")
    """Semantic version of the release: major.minor.patch."""
    licence: str = Field(default="CC-BY-NC-4.0", min_length=1)
    """SPDX identifier, or the name of another licence. The default restricts the images to non-commercial use."""
    authors: tuple[str, ...] = ()
    """Authors for the citation."""
    contact: str | None = None
    """E-mail address or page for questions."""
    homepage: str | None = None
    """URL of the release's own page."""
    date_published: date
    """Date of publication. Required by Croissant, and a setting so that the same inputs give the same bytes."""
    data_statement: str = Field(min_length=1)
    """Origin of the training photographs: institution, country, cameras, years. Required."""
    privacy: PrivacyStatement = PrivacyStatement()
    """Answers to a privacy officer's questions."""
    privacy_override: str | None = Field(default=None, pattern=r"\S")
    """Words by which the makers take responsibility for a release whose privacy gate fails; they are printed on the
    card. Null: such a release is refused."""
    synfundus_export: bool = False
    """Also write the layout of SynFundus-1M: image files, annotation CSV, generation-condition CSV."""

    @property
    def missing_in_croissant(self) -> list[str]:
        """Fields that Croissant requires and these settings do not give, each with its setting."""
        given = {"creator (release.authors)": self.authors, "url (release.homepage)": self.homepage}
        return [field for field, value in given.items() if not value]
