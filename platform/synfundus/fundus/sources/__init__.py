"""Sources of photographs: one adapter per layout, that is, per public dataset or kind of folder.

To add a layout (docs/sources.md, "Add a layout", has an example):

1. Write `sources/<layout>.py` with a class of settings: `layout: Literal["<layout>"]`, `path`, and a method `listing`
   that returns a `SourceListing`. `aptos2019.py` is the shortest example; `csv_table`, `image_folder` and `matching` do
   most of the work.
2. Add the class to `SourceConfig` below.
3. Test it in `tests/unit/fundus/test_sources_public.py` with a few files of the layout's names.
4. Add its mapping to the tables of docs/sources.md.
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
from synfundus.fundus.sources.release import ReleaseSource
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
    | PhantomSource
    | ReleaseSource,
    Field(discriminator="layout"),
]
"""Settings of one source. The key `layout` selects the class."""

__all__ = ["SourceConfig", "SourceListing", "SourceRecord", "keeps_splits", "list_source"]


def list_source(config: SourceConfig) -> SourceListing:
    """List all images of a source with their labels; no image is read.

    Raises:
        WrongInputError: the source does not exist or does not match its layout; the message names file, row and remedy.
    """
    return config.listing()


def keeps_splits(config: SourceConfig) -> bool:
    """Return whether the study keeps the source's own splits."""
    return isinstance(config, RetinaMnistSource | RfmidSource) and config.keep_splits
