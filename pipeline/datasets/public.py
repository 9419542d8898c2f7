"""Registry of public logs: address, licence and checksum of each archive."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.errors import DataError


@dataclass(frozen=True)
class KnownDataset:
    """One public log.

    Attributes:
        name: key of the log in `KNOWN`.
        url: address of its zip archive.
        folder: folder of the archive that holds the log.
        sha256: checksum of the archive; None if no fixed archive is published, so that the user must supply one.
        events: approximate number of interactions, as text.
        licence: summary of the terms; the text in the archive is authoritative.
        cite: paper to cite.
    """

    name: str
    url: str
    folder: str
    sha256: str | None
    events: str
    licence: str
    cite: str


_GROUPLENS = "research use; no commercial use without permission; redistribution under the same terms only"
_MOVIELENS_PAPER = "Harper and Konstan, The MovieLens Datasets, ACM TiiS 2015"

KNOWN: Mapping[str, KnownDataset] = {
    dataset.name: dataset
    for dataset in (
        KnownDataset(
            name="ml-latest-small",
            url="https://files.grouplens.org/datasets/movielens/ml-latest-small.zip",
            folder="ml-latest-small/",
            # The archive of September 2018; a newer one of GroupLens would be refused.
            sha256="696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
            events="100,836 ratings, 1996 to 2018",
            licence=_GROUPLENS,
            cite=_MOVIELENS_PAPER,
        ),
        KnownDataset(
            name="ml-1m",
            url="https://files.grouplens.org/datasets/movielens/ml-1m.zip",
            folder="ml-1m/",
            sha256="a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
            events="1,000,209 ratings, 2000 to 2003",
            licence=_GROUPLENS,
            cite=_MOVIELENS_PAPER,
        ),
        KnownDataset(
            name="movietweetings",
            url="https://github.com/sidooms/MovieTweetings/archive/refs/heads/master.zip",
            folder="MovieTweetings-master/snapshots/100K/",
            # The archive is generated from a branch on every change: it has no lasting checksum.
            sha256=None,
            events="100,000 ratings, 2013",
            licence="MIT",
            cite="Dooms, De Pessemier and Martens, MovieTweetings, CrowdRec 2013",
        ),
    )
}
"""Public logs that `fetch` can download, by name."""


def known(name: str) -> KnownDataset:
    """Return the public log of this name.

    Raises:
        DataError: unknown name; the message lists the known ones.
    """
    if name not in KNOWN:
        raise DataError(f"no public dataset is known as {name!r}; there are: {', '.join(KNOWN)}")
    return KNOWN[name]
