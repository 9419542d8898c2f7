"""Records of `generations`: how set-ups follow each other on one log, each with who did it.

    begin     a number is taken                                     preparing
    fork      users and positions of the gate are copied            preparing
    ready     the set-up is complete, its stages run in the shadow  shadow
    switch    it answers; the one before stands by                  active
    stop      its stages end: judged and refused, or given up       standby
    resume    its stages run again from where they stood            shadow
    split     a share of the users is answered by it, 0: none       shadow
    prune     its topics and files are removed                      gone

The state is that of all records in their order. One that does not fit the state before it changes nothing, so of two
switches that are written at once the first counts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from pipeline.events.split import Split
from pipeline.streams.topics import FIRST


class Act(StrEnum):
    """Kinds of acts on a generation."""

    BEGIN = "begin"
    FORK = "fork"
    READY = "ready"
    SWITCH = "switch"
    STOP = "stop"
    RESUME = "resume"
    SPLIT = "split"
    PRUNE = "prune"


class State(StrEnum):
    """State of a generation."""

    PREPARING = "preparing"
    SHADOW = "shadow"
    ACTIVE = "active"
    STANDBY = "standby"
    GONE = "gone"


@dataclass(frozen=True)
class GenerationAct:
    """One act on a generation.

    Attributes:
        act: what is done.
        generation: to which one.
        by: name of the person or program, as it was given.
        details: of a fork `starts` and `ends`, the offsets of `interactions` by partition between which set-up learns,
            `beside`, `gated` and `until`, see `Generation`;
            of the set-up that is ready `root`, its fingerprint, and `folder`; of a switch `from`, and its `judgement`;
            of a split `share`, and of what ends one its `outcome`.
    """

    act: Act
    generation: int
    by: str
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """From a JSON object.

        Raises:
            LookupError, TypeError, ValueError: it is no such record.
        """
        generation, rest = record["generation"], {k: v for k, v in record.items() if k not in cls._own()}
        if not isinstance(generation, int) or generation < FIRST:
            raise ValueError(f"a generation is a number from {FIRST} on, not {str(generation)[:40]!r}")
        return cls(Act(record["act"]), generation, str(record.get("by", "")), rest)

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"act": str(self.act), "generation": self.generation, "by": self.by, **self.details}

    @classmethod
    def _own(cls) -> tuple[str, ...]:
        return "act", "generation", "by", "schema"


@dataclass(frozen=True)
class Generation:
    """One generation.

    Attributes:
        number: from 1, never used again.
        state: its state.
        since: time of its last act, seconds since 1970.
        by: who began it.
        root: fingerprint of its set-up; "" for the first one, which the log's binding names, and before it is ready.
        folder: of its set-up, relative to that of the first one.
        starts, ends: offsets of `interactions`, by partition, between which its set-up learned; its gate began at
            `ends`.
        beside: number of the generation that answered then, 0 before the fork.
        gated: offset of that one's `gated` from which on it had every later event.
        until: ends of that one's `regions` and of `items` then, by topic; empty where an earlier version forked.
    """

    number: int
    state: State
    since: float = 0.0
    by: str = ""
    root: str = ""
    folder: str = "."
    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()
    beside: int = 0
    gated: int = 0
    until: Mapping[str, int] = field(default_factory=dict)

    @property
    def has_setup(self) -> bool:
        """True for one whose set-up was completed."""
        return self.number == FIRST or bool(self.root)

    @property
    def is_forked(self) -> bool:
        """True for one that has topics, or had them."""
        return self.number == FIRST or bool(self.ends)

    @property
    def is_running(self) -> bool:
        """True while stages of it run."""
        return self.state in (State.SHADOW, State.ACTIVE)


@dataclass(frozen=True)
class Generations:
    """All generations of a log.

    Attributes:
        all: by number.
        before: number of the one that answered before the present one, None where there is none.
        splits: number of splits so far.
        split: under way, None without one.
    """

    all: Mapping[int, Generation] = field(default_factory=lambda: {FIRST: Generation(FIRST, State.ACTIVE)})
    before: int | None = None
    splits: int = 0
    split: Split | None = None

    @property
    def active(self) -> Generation:
        """The one that answers."""
        return next(one for one in self.all.values() if one.state is State.ACTIVE)

    @property
    def shadow(self) -> Generation | None:
        """The one that runs beside it, None without one."""
        return next((one for one in self.all.values() if one.state is State.SHADOW), None)

    @property
    def begun(self) -> list[Generation]:
        """Those that are being prepared, or run in the shadow."""
        return [one for one in self.all.values() if one.state in (State.PREPARING, State.SHADOW)]

    @property
    def running(self) -> list[Generation]:
        """Those with running stages, the active one first."""
        return sorted((one for one in self.all.values() if one.is_running), key=lambda one: one.state)

    @property
    def kept(self) -> list[Generation]:
        """Those that are not gone, by number: the gate of each may read on."""
        return [one for one in self.all.values() if one.state is not State.GONE]

    def after(self, acts: Iterable[tuple[GenerationAct, float]]) -> "Generations":
        """The state after further acts, each with its time in seconds since 1970."""
        state = self
        for act, timestamp in acts:
            state = state._after(act, timestamp)
        return state

    def problem(self, act: GenerationAct) -> str | None:
        """Reason for which an act does not fit, None where it does."""
        number, one = act.generation, self.all.get(act.generation)
        state = one.state if one else None
        if act.act is Act.BEGIN:
            return None if number == max(self.all) + 1 else f"the next generation is {max(self.all) + 1}, not {number}"
        if act.act is Act.SWITCH and act.details.get("from") != self.active.number:
            return f"generation {self.active.number} answers, not {act.details.get('from')}"
        if act.act in (Act.SWITCH, Act.RESUME) and one is not None and not one.has_setup:
            return f"generation {number} was given up before it had a set-up"
        if act.act in (Act.READY, Act.RESUME) and self.shadow is not None:
            return f"generation {self.shadow.number} runs in the shadow, and one at a time does"
        if act.act is Act.SPLIT and (problem := self._problem_of_share(act.details.get("share"))) is not None:
            return problem
        return None if state in _FROM[act.act] else f"generation {number} is {state or 'not there'}"

    def _after(self, act: GenerationAct, timestamp: float) -> "Generations":
        if self.problem(act) is not None:
            return self
        number, details = act.generation, act.details
        one = self.all.get(number, Generation(number, State.PREPARING, by=act.by))
        changed = {number: replace(one, state=_TO[act.act], since=timestamp)}
        before = self.before
        if act.act is Act.FORK:
            starts, ends = tuple(details["starts"]), tuple(details["ends"])
            beside, gated = int(details["beside"]), int(details["gated"])
            until = {topic: int(offset) for topic, offset in details.get("until", {}).items()}
            forked = replace(changed[number], starts=starts, ends=ends, beside=beside, gated=gated, until=until)
            changed = {number: forked}
        elif act.act is Act.READY:
            changed = {number: replace(changed[number], root=details["root"], folder=details["folder"])}
        elif act.act is Act.SWITCH:
            before = self.active.number
            changed |= {before: replace(self.active, state=State.STANDBY, since=timestamp)}
        before = None if act.act is Act.PRUNE and before == number else before
        return self._split_by(act, timestamp, Generations({**self.all, **changed}, before, self.splits))

    def _split_by(self, act: GenerationAct, timestamp: float, state: "Generations") -> "Generations":
        """The state after an act with the split that is then under way."""
        if act.act is Act.SPLIT:
            number, share = self.splits + 1, float(act.details["share"])
            salt = number if self.split is None else self.split.salt
            split = Split(number, salt, act.generation, self.active.number, share, timestamp, act.by)
            # The shadow has run since it was ready.
            since = {act.generation: self.all[act.generation]}
            return replace(state, all={**state.all, **since}, splits=number, split=split if share else None)
        is_over = state.shadow is None or act.act is Act.SWITCH
        return replace(state, split=None if is_over else self.split)

    def _problem_of_share(self, share: object) -> str | None:
        if not isinstance(share, int | float) or isinstance(share, bool) or not 0.0 <= share <= 1.0:
            return f"a share is a number from 0 to 1, not {str(share)[:40]}"
        return "no users are split" if not share and self.split is None else None


_FROM: Mapping[Act, tuple[State | None, ...]] = {
    Act.FORK: (State.PREPARING,),
    Act.READY: (State.PREPARING,),
    Act.SWITCH: (State.SHADOW, State.STANDBY),
    Act.STOP: (State.PREPARING, State.SHADOW),
    Act.RESUME: (State.STANDBY,),
    Act.SPLIT: (State.SHADOW,),
    Act.PRUNE: (State.STANDBY,),
}
"""States that an act may follow."""

_TO: Mapping[Act, State] = {
    Act.BEGIN: State.PREPARING,
    Act.FORK: State.PREPARING,
    Act.READY: State.SHADOW,
    Act.SWITCH: State.ACTIVE,
    Act.STOP: State.STANDBY,
    Act.RESUME: State.SHADOW,
    Act.SPLIT: State.SHADOW,
    Act.PRUNE: State.GONE,
}
"""State after an act."""
