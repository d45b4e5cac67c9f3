"""Chains of origin, for tests of their readers."""

from synfundus.fundus.origin import OTHER_SOURCES, GateOverride, Origin, ReleaseOrigin


def release_origin(
    title: str = "Eyes of nobody", made_from: Origin = OTHER_SOURCES, gate_override: GateOverride | None = None
) -> ReleaseOrigin:
    """Return a release of 12 images, whose digests depend on the title."""
    digit = f"{len(title) % 16:x}"
    return ReleaseOrigin(
        title=title,
        version="2.1.0",
        licence="CC-BY-4.0",
        data_statement=f"Images behind {title}.",
        manifest_sha256=digit * 64,
        generator_digest=digit * 63 + "a",
        annotator_digest=digit * 63 + "b",
        num_images=12,
        labels="requested",
        gate_override=gate_override,
        made_from=made_from,
    )


def only(*releases: ReleaseOrigin) -> Origin:
    """Return the origin of images that come from these releases and from nothing else."""
    return Origin(releases=releases, has_other_sources=False)
