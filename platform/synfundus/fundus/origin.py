"""Chain of origin: the releases that the images of a dataset come from, and what those were made from.

A study may take a release as its source (layout `release`). Its dataset, generator, samples and release then name that
release, so the card of the last release shows the whole chain.
"""

from collections.abc import Iterable
from typing import Final

from synfundus.labels import SampleLabels
from synfundus.metadata import Metadata


class Origin(Metadata):
    """Releases that images come from, or that a model was trained on."""

    releases: tuple["ReleaseOrigin", ...] = ()
    """Releases among the sources."""
    has_other_sources: bool = True
    """True if there are other sources: photographs, phantoms, or initial weights that other images trained."""

    @property
    def only_releases(self) -> bool:
        """True if every image comes from a release, so that no photograph is read."""
        return bool(self.releases) and not self.has_other_sources

    def with_other_sources(self) -> "Origin":
        """Return this origin with other sources beside its releases."""
        return self.model_copy(update={"has_other_sources": True})


class GateOverride(Metadata):
    """Decision of the makers of a release to publish it although its privacy gate failed. It is public."""

    words: str
    """Their statement, `release.privacy_override`."""
    reasons: tuple[str, ...]
    """Reasons of the gate, one sentence each."""


class ReleaseOrigin(Metadata):
    """A release whose samples are the images of another study. Everything here is public already."""

    title: str
    """Title of the release."""
    version: str
    """Version that its makers gave it."""
    licence: str
    """Licence of its images."""
    data_statement: str
    """Statement of its makers on the images that its generator was trained on."""
    manifest_sha256: str
    """SHA-256 of its `manifest.json`, which names every file with its SHA-256: the digest of the release."""
    generator_digest: str
    """Digest of its generator."""
    annotator_digest: str
    """Digest of the annotator of its images."""
    num_images: int
    """Images of the release."""
    labels: SampleLabels
    """Labels that were taken from it."""
    gate_override: GateOverride | None = None
    """Decision of its makers against its privacy gate; null if the gate passed."""
    made_from: Origin
    """Origin of the images that its generator was trained on."""


Origin.model_rebuild()
OTHER_SOURCES: Final = Origin()
"""Origin of images that come from no release."""


def overridden_releases(origin: Origin) -> list[ReleaseOrigin]:
    """Return the releases of a chain that were published although their privacy gate failed, depth first."""
    found = []
    for release in origin.releases:
        found += [release] if release.gate_override is not None else []
        found += overridden_releases(release.made_from)
    return list(dict.fromkeys(found))


def merge_origins(origins: Iterable[Origin]) -> Origin:
    """Return the origin of the images of several sources together."""
    origins = list(origins)
    releases = dict.fromkeys(release for origin in origins for release in origin.releases)
    return Origin(releases=tuple(releases), has_other_sources=any(origin.has_other_sources for origin in origins))
