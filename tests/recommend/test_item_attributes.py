"""Conditions on attributes, over a catalogue that changes."""

import math

import numpy as np
import pytest

from pipeline.errors import RequestError
from pipeline.events.attributes import magnitude, values_of
from pipeline.events.item import Item
from pipeline.models.catalogue import Catalogue
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.recommend.conditions import Condition
from pipeline.recommend.item_attributes import ItemAttributes

SHOES = {"brand": "acme", "price": "59.9", "colours": "['red', 'blue']", "released": "2026-03-01", "sale": "True"}
HAT = {"brand": "umbra", "price": "20", "colours": "red|green", "released": "2026-06-15T12:00:00Z"}


def catalogue_of(*items: Item) -> OpenCatalogue:
    catalogue = OpenCatalogue(Catalogue((), (), np.zeros((0, 0), dtype=np.float32), ""), None)
    for item in items:
        catalogue.describe(item, 0.0)
    catalogue.advance(1.0)
    return catalogue


@pytest.fixture
def catalogue() -> OpenCatalogue:
    return catalogue_of(
        Item("shoes", attributes=SHOES), Item("hat", attributes=HAT), Item("plain", expires=100.0, available_from=5.0)
    )


def admitted(attributes: ItemAttributes, catalogue: OpenCatalogue, name: str, condition: Condition) -> set[str]:
    found = attributes.column(name).admitted(condition, catalogue.rows + 1)
    return {catalogue.ids[row] for row in np.flatnonzero(found).tolist()} - {""}


def one_of(*values: str | float) -> Condition:
    return Condition(frozenset(values))


@pytest.mark.parametrize(
    ("name", "condition", "expected"),
    [
        ("brand", one_of("acme"), {"shoes"}),
        ("brand", one_of("acme", "umbra", "nobody"), {"shoes", "hat"}),
        ("brand", one_of("ACME"), set()),
        ("brand", Condition(none_of=frozenset({"acme"})), {"hat", "plain"}),
        ("brand", Condition(frozenset({"acme", "umbra"}), frozenset({"umbra"})), {"shoes"}),
        ("brand", Condition(least=0.0), set()),
        ("price", one_of(20.0), {"hat"}),
        ("price", one_of("20.0"), set()),
        ("price", Condition(least=20.0, most=59.9), {"shoes", "hat"}),
        ("price", Condition(least=20.1), {"shoes"}),
        ("colours", one_of("red"), {"shoes", "hat"}),
        ("colours", one_of("green"), {"hat"}),
        ("colours", one_of("red|green"), {"hat"}),
        ("colours", Condition(none_of=frozenset({"green"})), {"shoes", "plain"}),
        ("sale", one_of("True"), {"shoes"}),
        ("released", Condition(least=magnitude("2026-06-01")), {"hat"}),
        ("released", Condition(most=magnitude("2026-06-15")), {"shoes"}),
        ("expires", Condition(least=101.0), {"shoes", "hat"}),
        ("available_from", Condition(most=5.0), {"plain"}),
    ],
)
def test_a_condition_admits_the_items_that_fulfil_it(
    catalogue: OpenCatalogue, name: str, condition: Condition, expected: set[str]
) -> None:
    catalogue.advance(6.0)
    assert "plain" in {catalogue.ids[row] for row in range(1, catalogue.rows + 1)}
    assert admitted(ItemAttributes(catalogue), catalogue, name, condition) == expected


def test_an_attribute_that_no_item_has_is_named_with_those_that_are_there(catalogue: OpenCatalogue) -> None:
    with pytest.raises(RequestError, match="no item has an attribute 'prize': they have brand, colours, price"):
        ItemAttributes(catalogue).column("prize")
    with pytest.raises(RequestError, match="no record of `items` has attributes"):
        ItemAttributes(catalogue_of(Item("plain"))).column("brand")


def test_columns_follow_records_rows_that_others_get_and_items_that_arrive(catalogue: OpenCatalogue) -> None:
    attributes, acme = ItemAttributes(catalogue), one_of("acme")
    catalogue.take_changes()
    assert admitted(attributes, catalogue, "brand", acme) == {"shoes"}
    catalogue.describe(Item("hat", attributes={"brand": "acme"}), 0.0)
    attributes.follow(catalogue.known_rows(["hat"]))
    assert admitted(attributes, catalogue, "brand", acme) == {"shoes", "hat"}
    row = catalogue.row_of["shoes"]
    catalogue.evict(["shoes"])
    catalogue.describe(Item("coat", attributes={"brand": "acme", "size": "m"}), 0.0)
    assert catalogue.row_of["coat"] == row
    for number in range(40):
        catalogue.describe(Item(f"new{number}", attributes={"brand": "acme"} if number == 39 else {}), 0.0)
    attributes.follow(catalogue.take_changes())
    assert admitted(attributes, catalogue, "brand", acme) == {"coat", "hat", "new39"}
    assert admitted(attributes, catalogue, "size", one_of("m")) == {"coat"}


def test_texts_that_no_item_has_any_more_take_no_memory_for_ever(catalogue: OpenCatalogue) -> None:
    attributes = ItemAttributes(catalogue)
    rows, sizes = catalogue.known_rows(["hat"]), []
    for number in range(5_000):
        catalogue.describe(Item("hat", attributes={"brand": f"b{number}"}), 0.0)
        attributes.follow(rows)
        column = attributes.column("brand")
        sizes.append(len(column._values))
    assert max(sizes) < 1_100
    assert admitted(attributes, catalogue, "brand", one_of("b4999")) == {"hat"}


def test_an_attribute_that_no_request_names_costs_nothing(catalogue: OpenCatalogue) -> None:
    attributes = ItemAttributes(catalogue)
    attributes.follow(catalogue.take_changes())
    assert not attributes._columns


def test_several_values_of_one_attribute() -> None:
    assert values_of("red") == ("red",)
    assert values_of("a | b|a") == ("a | b|a", "a", "b")
    assert values_of("['a', 7]") == ("['a', 7]", "a", "7")
    assert values_of("[not a list]") == ("[not a list]",)
    assert values_of("[" * 10_000 + "]") == ("[" * 10_000 + "]",)


def test_numbers_and_moments() -> None:
    assert magnitude("-3.5") == -3.5
    assert magnitude("1970-01-02") == 86400.0
    assert math.isnan(magnitude("red"))
