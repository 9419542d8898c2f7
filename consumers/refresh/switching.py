"""Switch from one generation to another, by one record that everybody follows; and the way back, which is another.

The stages of both run already when the record is written, so no event waits for it: those of the new generation have
read the log up to now, those of the one before end a while later.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from consumers.refresh.shadow import GatedByBoth, behind, judgement
from consumers.runtime.generations import read_generations, write_act
from consumers.runtime.split_counts import read_outcome
from pipeline.config import RefreshSettings
from pipeline.errors import LogError
from pipeline.events.generation import Act, Generation, GenerationAct, Generations, State
from pipeline.setup.judgement import Judgement
from pipeline.streams.interface import Log

LITTLE = 100
"""Interactions that the gate of a generation may have to read when it is switched to: a turn or two."""

POLL = 0.2
"""Seconds between two looks."""

EVERY = 10.0
"""Seconds between two lines about what is waited for."""


@dataclass(frozen=True)
class Operator:
    """Person or program that acts, and its clocks.

    Attributes:
        by: name, for the record.
        clock: seconds since 1970.
        monotonic: seconds.
        sleep: waits for a number of seconds.
        say: shows a status line.
    """

    by: str
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    say: Callable[[str], None]


def wait_for_events(log: Log, new: Generation, settings: RefreshSettings, patience: float, operator: Operator) -> None:
    """Wait until both generations have scored enough events, and show how many every time it is asked.

    Raises:
        LogError: they have not after `patience` seconds, or the shadow ended.
    """
    deadline, shown = operator.monotonic() + patience, 0.0
    found = GatedByBoth(log, _in_shadow(log, new), new)
    while True:
        found.poll()
        if found.events >= settings.judged_events:
            return
        if operator.monotonic() > deadline:
            raise LogError(
                f"both generations have scored {found.events:,} events, and {settings.judged_events:,} are needed "
                "(refresh.judged_events): let `raie up` run on, then `raie refresh switch`"
            )
        if operator.monotonic() >= shown:
            waiting = behind(log, new.number)
            operator.say(f"shadow: {found.events:,} of {settings.judged_events:,} events, gate {waiting:,} behind")
            shown = operator.monotonic() + EVERY
        operator.sleep(1.0)
        _in_shadow(log, new)


def switch(log: Log, settings: RefreshSettings, patience: float, operator: Operator) -> Judgement:
    """Judge the generation in the shadow; switch to it if it passes, end its stages if it does not.

    Args:
        log: the log.
        settings: of the judgement.
        patience: seconds to wait until its gate has read the log.
        operator: who asks for it.

    Returns:
        The judgement, by which the caller tells what was done.

    Raises:
        LogError: no generation runs in the shadow, too few events were scored, or its gate is behind; nothing changed.
    """
    generations = read_generations(log)
    new = generations.shadow
    if new is None:
        raise LogError("no generation runs in the shadow: prepare one with `raie refresh prepare`")
    found = judgement(log, generations, new, settings)
    if found.events < settings.judged_events:
        raise LogError(
            f"both generations have scored {found.events:,} events, and {settings.judged_events:,} are needed "
            "(refresh.judged_events): let `raie up` run on, or name yourself the judge with --force"
        )
    details: dict[str, Any] = {"judgement": found.to_record()}
    if found.passed:
        wait_until_read(log, new.number, patience, operator)
        _write_switch(log, new.number, details, operator)
    else:
        give_up(log, new.number, details, operator)
    return found


def switch_by_force(log: Log, number: int | None, settings: RefreshSettings, operator: Operator) -> Generation:
    """Switch without a judgement, at once; return the generation that answers now.

    Args:
        log: the log.
        number: generation; None: the one in the shadow.
        settings: of the judgement, whose numbers are recorded beside the act.
        operator: who asks for it.

    Raises:
        LogError: there is no such generation, or it has no set-up.
    """
    generations = read_generations(log)
    new = generations.shadow if number is None else generations.all.get(number)
    if new is None:
        raise LogError("no generation runs in the shadow: name one that stands by with --to (`raie refresh status`)")
    details: dict[str, Any] = {"forced": True}
    if new.state is State.SHADOW:
        details["judgement"] = judgement(log, generations, new, settings).to_record()
    return _write_switch(log, new.number, details, operator).active


def roll_back(log: Log, patience: float, at_once: bool, operator: Operator) -> Generation:
    """Switch to the generation that answered before; return it.

    Its stages run again first, from the positions that they committed last, until its gate has read the log.

    Args:
        log: the log.
        patience: seconds to wait for that.
        at_once: True to switch first: it answers from the histories that it has.
        operator: who asks for it.

    Raises:
        LogError: there is none before, or its gate does not read: nothing was switched.
    """
    generations = read_generations(log)
    before = generations.all.get(generations.before or 0)
    if before is None or before.state not in (State.STANDBY, State.SHADOW):
        raise LogError("no generation answered before this one, or it was pruned: there is nothing to go back to")
    if not at_once:
        if before.state is State.STANDBY:
            write_act(log, GenerationAct(Act.RESUME, before.number, operator.by), operator.clock())
        wait_until_read(log, before.number, patience, operator)
    return _write_switch(log, before.number, {"rollback": True}, operator).active


def wait_until_read(log: Log, number: int, patience: float, operator: Operator) -> None:
    """Wait until the gate of a generation has read the log but for a little, and show how far it is.

    Raises:
        LogError: it has not in time.
    """
    deadline, shown = operator.monotonic() + patience, 0.0
    while (waiting := behind(log, number)) > LITTLE:
        if operator.monotonic() > deadline:
            raise LogError(
                f"the gate of generation {number} has {waiting:,} interactions to read after {patience:g} s: does "
                "`raie up` run? Nothing was switched; try again once it has caught up (`raie lag`)"
            )
        if operator.monotonic() >= shown:
            operator.say(f"the gate of generation {number} has {waiting:,} interactions to read")
            shown = operator.monotonic() + EVERY
        operator.sleep(POLL)


def _in_shadow(log: Log, new: Generation) -> Generations:
    generations = read_generations(log)
    if generations.all[new.number].state is not State.SHADOW:
        raise LogError(f"generation {new.number} does not run in the shadow any more: somebody ended or switched it")
    return generations


def give_up(log: Log, number: int, details: Mapping[str, Any], operator: Operator) -> Generations:
    """End the stages of a generation that is prepared or runs in the shadow, and a split with it."""
    found = read_generations(log)
    act = GenerationAct(Act.STOP, number, operator.by, {**details, **outcome_details(log, found)})
    return write_act(log, act, operator.clock())


def outcome_details(log: Log, found: Generations) -> dict[str, Any]:
    """Outcome of the split that an act ends, for its record; nothing without one."""
    return {} if found.split is None else {"outcome": read_outcome(log, found.split).to_record()}


def _write_switch(log: Log, number: int, details: Mapping[str, Any], operator: Operator) -> Generations:
    found = read_generations(log)
    known = {"from": found.active.number, **details, **outcome_details(log, found)}
    return write_act(log, GenerationAct(Act.SWITCH, number, operator.by, known), operator.clock())
