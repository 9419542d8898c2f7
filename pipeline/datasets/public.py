"""Well-known public logs: where they are, under which terms, and what their archive must hash to."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.errors import DataError


@dataclass(frozen=True)
class KnownDataset:
    """One public log.

    Attributes:
        name: what `fetch` knows it by.
        url: of its zip archive.
        folder: the part of the archive that holds the log.
        sha256: of the archive, or None where no fixed archive is published: then the user has to vouch for one.
        events: about how many interactions, for a person to choose by.
        licence: the terms, in short; the archive's own text is what counts.
        cite: the paper to cite.
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
            # The generation of September 2018. GroupLens may replace it, and then this refuses.
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
            # The archive is made anew from a branch on every change: it has no lasting checksum.
            sha256=None,
            events="100,000 ratings, 2013",
            licence="MIT",
            cite="Dooms, De Pessemier and Martens, MovieTweetings, CrowdRec 2013",
        ),
    )
}
"""Every public log `fetch` can get, by name."""


def known(name: str) -> KnownDataset:
    """Look up a public log.

    Raises:
        DataError: there is none of that name; the message lists those there are.
    """
    if name not in KNOWN:
        raise DataError(f"no public dataset is known as {name!r}; there are: {', '.join(KNOWN)}")
    return KNOWN[name]
