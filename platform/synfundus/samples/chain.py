"""Sentences about a chain of origin: the releases that a generator was trained on, and what those were made from."""

from synfundus.fundus.origin import GateOverride, Origin, ReleaseOrigin, overridden_releases

LABELS_TAKEN = {
    "requested": "the labels requested from its generator",
    "predicted": "the labels predicted by its annotator",
    "agreeing": "the labels on which its generator's request and its annotator's prediction agree",
}
"""Labels that a study took from a release, in words."""


def training_sentence(origin: Origin, subject: str = "The generator") -> str:
    """Return what a generator was trained on; empty if no release is among its sources.

    Args:
        subject: the generator, as the sentence begins.
    """
    if not origin.releases:
        return ""
    names = " and ".join(f'"{release.title}" {release.version}' for release in origin.releases)
    if origin.only_releases:
        return f"{subject} was trained only on the synthetic images of {names}, and on no photograph."
    return f"{subject} was trained on the synthetic images of {names}, and on other images."


def chain_sentences(origin: Origin) -> tuple[str, ...]:
    """Return what a generator was trained on, a paragraph for each release of the chain, and how to read the rest.

    Nothing is returned if no release is among its sources.
    """
    first = training_sentence(origin)
    return (first, *_releases(origin), _reading_note(origin)) if first else ()


def _reading_note(origin: Origin) -> str:
    """Return what a card or report of a study on a release means by photograph, patient and expert."""
    taken = " and ".join(dict.fromkeys(LABELS_TAKEN[release.labels] for release in origin.releases))
    return (
        "Where cards and reports of this study speak of photographs, the synthetic images of a release are among them."
        " A release names no patients, so each of its images counts as a patient of its own. No expert labelled its"
        f" images: {taken} count as experts' labels."
    )


def _releases(origin: Origin) -> list[str]:
    """Return a paragraph for each release of a chain, depth first."""
    paragraphs = []
    for release in origin.releases:
        paragraphs.append(_paragraph(release))
        paragraphs += _releases(release.made_from)
    return paragraphs


def _paragraph(release: ReleaseOrigin) -> str:
    """Return the facts of one release in one line."""
    made_from = training_sentence(release.made_from, "That generator")
    facts = (
        f'"{release.title}" {release.version} ({release.licence}): {release.num_images} images, of which'
        f" {LABELS_TAKEN[release.labels]} were taken. SHA-256 of its manifest {release.manifest_sha256}, of its"
        f" generator {release.generator_digest}, of its annotator {release.annotator_digest}."
    )
    override = "" if release.gate_override is None else _override_sentences(release.gate_override)
    stated = f"Its makers state on their training images: {release.data_statement}"
    return " ".join(f"{facts} {made_from} {override} {stated}".split())


def _override_sentences(override: GateOverride) -> str:
    """Return why the gate of a release failed, and what its makers state."""
    return (
        f"Its privacy gate failed ({'; '.join(override.reasons)}). Its makers published it nevertheless, and state:"
        f' "{override.words}"'
    )


def overridden_sentence(origin: Origin) -> str:
    """Return which releases of a chain were published although their privacy gate failed; empty if none was."""
    names = " and ".join(f'"{release.title}" {release.version}' for release in overridden_releases(origin))
    return f"The privacy gate of {names} failed and was overridden." if names else ""
