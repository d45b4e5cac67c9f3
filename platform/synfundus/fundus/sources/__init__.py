"""Sources of images: one adapter per layout, chosen by the literal `layout` of its settings.

Every mapping decision stands in docs/sources.md.
"""

from typing import Annotated

from pydantic import Field

from synfundus.fundus.sources.airogs import AirogsSource
from synfundus.fundus.sources.aptos2019 import Aptos2019Source
from synfundus.fundus.sources.base import SourceListing, SourceRecord
from synfundus.fundus.sources.eyepacs import EyePacsSource
from synfundus.fundus.sources.folder import FolderSource
from synfundus.fundus.sources.idrid import IdridSource
from synfundus.fundus.sources.messidor2 import Messidor2Source
from synfundus.fundus.sources.odir5k import Odir5kSource
from synfundus.fundus.sources.phantom import PhantomSource
from synfundus.fundus.sources.retinamnist import RetinaMnistSource
from synfundus.fundus.sources.rfmid import RfmidSource
from synfundus.fundus.sources.synfundus_1m import SynFundus1MSource

SourceConfig = Annotated[
    FolderSource
    | SynFundus1MSource
    | RetinaMnistSource
    | Aptos2019Source
    | EyePacsSource
    | IdridSource
    | Messidor2Source
    | AirogsSource
    | RfmidSource
    | Odir5kSource
    | PhantomSource,
    Field(discriminator="layout"),
]
"""Settings of one source, as a study states them."""

__all__ = ["SourceConfig", "SourceListing", "SourceRecord", "list_source"]


def list_source(config: SourceConfig) -> SourceListing:
    """All images of a source with their labels; no image is read.

    Raises:
        WrongInputError: the source is not there or not as its layout says; one line names file, row and remedy.
    """
    return config.listing()
