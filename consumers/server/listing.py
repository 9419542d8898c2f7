"""Lists under the rules of requests: the best items by one score after another, until a list is as long as asked."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from heapq import nsmallest
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from consumers.server.rules import Rules
from consumers.server.views.items import ServedItems
from pipeline.errors import RequestError
from pipeline.events.allowed import Allowed
from pipeline.events.windows import Ids
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.online.dense_scores import Values
from pipeline.recommend.candidates.scores import Shortlisted
from pipeline.recommend.item_attributes import AttributeColumn

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Recommended:
    """One recommended item.

    Attributes:
        item_id: its id.
        score: probability among the candidates; in a list without a user, the score that it is ordered by.
        title: its text.
        sources: candidate sources that proposed it, where the request asked why.
        features: leading features and the part of each in the score, where the request asked why.
    """

    item_id: str
    score: float
    title: str
    sources: tuple[str, ...] | None = None
    features: Mapping[str, float] | None = None


class Wanted(NamedTuple):
    """A list that is asked for.

    Attributes:
        rules: what it may hold.
        most: number of items.
        excluded: ids of items that it must not hold.
    """

    rules: Rules
    most: int
    excluded: Sequence[str]


class Quota:
    """Number of items of a list with each value of one attribute.

    Args:
        column: the attribute.
        most: most items with the same value.

    Attributes:
        column: as given.
        full: values of which the list holds as many.
    """

    def __init__(self, column: AttributeColumn, most: int) -> None:
        self.column, self._most = column, most
        self.full: set[str] = set()
        self._counts: Counter[str] = Counter()

    def is_full_for(self, row: int) -> bool:
        """True where the list may hold no more items with a value of this one."""
        return not self.full.isdisjoint(self.column.values(row))

    def count(self, row: int) -> None:
        """Count an item of the list; one without the attribute counts nowhere."""
        values = self.column.values(row)
        self._counts.update(values)
        self.full.update(value for value in values if self._counts[value] >= self._most)


class Listing:
    """One list, as far as it is made.

    Args:
        catalogue: the items.
        allowed: items that the list may hold.
        most: number of items.
        quotas: of attributes.
        seed: decides between equal scores; None: the lower id comes first.

    Attributes:
        allowed: as given.
    """

    def __init__(
        self, catalogue: OpenCatalogue, allowed: Allowed, most: int, quotas: Sequence[Quota], seed: int | None
    ) -> None:
        self.allowed = allowed
        self._catalogue, self._most, self._quotas, self._seed = catalogue, most, quotas, seed
        self._chosen: list[int] = []

    @property
    def missing(self) -> int:
        """Number of items that are still to be found."""
        return self._most - len(self._chosen)

    def choose(self, rows: Ids, values: Values) -> list[int]:
        """Put the best of (m,) allowed rows into the list, as many as are missing.

        Returns:
            Their places among the m, best first.
        """
        listed = rows.tolist()
        key = self._order(listed, values)
        if not self._quotas:
            places = nsmallest(self.missing, range(len(listed)), key)
        else:
            fitting = (place for place in sorted(range(len(listed)), key=key) if self._takes(listed[place]))
            places = list(islice(fitting, self.missing))
        self._chosen += [listed[place] for place in places]
        return places

    def fill(self, scores: Shortlisted) -> tuple[Recommended, ...]:
        """Put the best items by a score into the list, as many as are missing; return them, best first."""
        added: list[Recommended] = []
        while self.missing:
            rows, values = scores.shortlist(self._left(), self.missing)
            places = self.choose(rows, values)
            added += [self.recommended(int(rows[place]), float(values[place])) for place in places]
            if not places or not self._quotas:
                break
        return tuple(added)

    def recommended(self, row: int, score: float) -> Recommended:
        """The item of a row, as it is answered."""
        item_id = self._catalogue.ids[row]
        item = self._catalogue.item(item_id)
        return Recommended(item_id, score, item.text if item else "")

    def _order(self, rows: Sequence[int], values: Values) -> Callable[[int], tuple[float, str | bytes]]:
        # Ties by id, not by row: another server may have the items in other rows.
        ids, seed = self._catalogue.ids, self._seed
        if seed is None:
            return lambda place: (-float(values[place]), ids[rows[place]])
        return lambda place: (-float(values[place]), _drawn(seed, ids[rows[place]]))

    def _takes(self, row: int) -> bool:
        """Count an item in all quotas, unless one of them is full."""
        if any(quota.is_full_for(row) for quota in self._quotas):
            return False
        for quota in self._quotas:
            quota.count(row)
        return True

    def _left(self) -> Allowed:
        """Allowed items that are not in the list and that no quota keeps out."""
        if not self._chosen:
            return self.allowed
        existing, full = self.allowed.existing, [quota for quota in self._quotas if quota.full]
        for quota in full:
            existing = existing & ~quota.column.having(quota.full, len(existing))
        excluded = np.concatenate([self.allowed.excluded, np.array(self._chosen, dtype=np.int64)])
        return Allowed(existing, excluded, narrowed=self.allowed.narrowed or bool(full))


class Listings:
    """Lists of items, as the rules of requests want them; to be used where the catalogue may be read.

    Args:
        items: the items.
    """

    def __init__(self, items: ServedItems) -> None:
        self._items = items

    def begin(self, wanted: Sequence[Wanted]) -> list[Listing | RequestError]:
        """Begin n lists; the error of one whose rules name an attribute that no item has."""
        masks: dict[Rules, Mask] = {}
        return [self._begun(one, masks) for one in wanted]

    def _begun(self, wanted: Wanted, masks: dict[Rules, Mask]) -> Listing | RequestError:
        rules, catalogue = wanted.rules, self._items.catalogue
        excluded = np.array(catalogue.known_rows(wanted.excluded), dtype=np.int64)
        try:
            if rules not in masks:
                masks[rules] = self._admitted(rules)
            quotas = [Quota(self._items.attributes.column(name), most) for name, most in rules.at_most]
        except RequestError as error:
            return error
        allowed = Allowed(masks[rules], excluded, narrowed=rules.narrow)
        return Listing(catalogue, allowed, wanted.most, quotas, rules.seed)

    def _admitted(self, rules: Rules) -> Mask:
        """(items + 1,) True for rows that exist and that the rules admit."""
        existing = self._items.existing
        if not rules.narrow:
            return existing
        admitted = existing.copy()
        for name, condition in rules.conditions:
            admitted &= self._items.attributes.column(name).admitted(condition, len(admitted))
        if rules.only is not None:
            named = np.zeros(len(admitted), dtype=np.bool_)
            named[self._items.catalogue.known_rows(rules.only)] = True
            admitted &= named
        return admitted


def _drawn(seed: int, item_id: str) -> bytes:
    """The place of an item among equal ones that a seed draws."""
    return blake2b(f"{seed} {item_id}".encode(), digest_size=8).digest()
