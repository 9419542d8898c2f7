"""Rules of a list in the body of a request."""

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from consumers.http.bodies import Body, Identifier
from consumers.server.rules import Rules
from pipeline.events.attributes import magnitude
from pipeline.metrics.ranking import LIST_LENGTH
from pipeline.recommend.conditions import Condition, Value

MOST_ATTRIBUTES, MOST_VALUES = 20, 1_000
"""Most attributes of a filter, and most values of one of its conditions."""

Ids = Annotated[list[Identifier], Field(max_length=10_000, fail_fast=True)]
Name = Annotated[str, Field(min_length=1, max_length=256)]
Scalar = StrictBool | Annotated[StrictInt, Field(ge=-(2**53), le=2**53)] | StrictFloat | StrictStr
Scalars = Annotated[list[Scalar], Field(max_length=MOST_VALUES, fail_fast=True)]


class ConditionBody(Body):
    """Condition on one attribute; what is given must hold together."""

    any_of: Scalars | None = Field(None, description="the attribute has one of these values")
    none_of: Scalars = Field([], description="and none of these; an item without the attribute has none")
    min: Scalar | None = Field(None, description="its number, or moment (ISO-8601), is not below this one")
    max: Scalar | None = Field(None, description="and not above this one")

    @model_validator(mode="after")
    def _bounded(self) -> "ConditionBody":
        for name in ("min", "max"):
            bound = getattr(self, name)
            if bound is not None and (isinstance(bound, bool) or math.isnan(magnitude(str(bound)))):
                raise ValueError(f"{name} must be a number, or a moment such as 2026-12-01 or 2026-12-01T08:00:00Z")
        if self.any_of is None and not self.none_of and self.min is None and self.max is None:
            raise ValueError("a condition needs any_of, none_of, min or max")
        return self

    def condition(self) -> Condition:
        """The condition."""
        any_of = None if self.any_of is None else frozenset(map(_value, self.any_of))
        least = -math.inf if self.min is None else magnitude(str(self.min))
        most = math.inf if self.max is None else magnitude(str(self.max))
        return Condition(any_of, frozenset(map(_value, self.none_of)), least, most)


def _as_condition(given: Any) -> Any:
    """A value or a list of values stands for `any_of`."""
    if isinstance(given, str | int | float):
        return {"any_of": [given]}
    if not isinstance(given, list | dict):
        raise ValueError("a condition is a value, a list of values, or an object with any_of, none_of, min or max")
    return {"any_of": given} if isinstance(given, list) else given


Conditions = Annotated[
    dict[
        Name,
        Annotated[
            ConditionBody, BeforeValidator(_as_condition, json_schema_input_type=Scalar | Scalars | ConditionBody)
        ],
    ],
    Field(max_length=MOST_ATTRIBUTES),
]


class RulesBody(Body):
    """Rules of a list, and its length."""

    k: int = Field(LIST_LENGTH, ge=1, le=1000, description="number of items")
    filter: Conditions = Field(
        {},
        description="attribute -> condition that every item fulfils: a value, a list of which one must match, or an "
        "object with `any_of`, `none_of`, `min`, `max`; beside attributes `available_from` and `expires`",
        examples=[{"brand": ["acme", "umbra"], "price": {"max": 50}}],
    )
    only_items: Ids | None = Field(None, description="nothing but these item ids")
    exclude_items: Ids = Field([], description="item ids that must not be recommended")
    at_most: dict[Name, Annotated[int, Field(ge=1, le=1000)]] = Field(
        {},
        max_length=MOST_ATTRIBUTES,
        description="attribute -> number of items that may have the same value of it; one without it always may",
        examples=[{"brand": 2}],
    )
    seed: int | None = Field(
        None, ge=0, lt=2**53, description="draws the order of items with equal scores; null: the lower id comes first"
    )

    def rules(self) -> Rules:
        """The rules."""
        conditions = tuple((name, body.condition()) for name, body in self.filter.items())
        only = None if self.only_items is None else tuple(self.only_items)
        return Rules(conditions, only, tuple(self.at_most.items()), self.seed)


def _value(given: bool | int | float | str) -> Value:
    """A value of an attribute: text as records hold it, or a number."""
    return str(given) if isinstance(given, bool | str) else float(given)
