"""Split of the users: a share of them is answered by the generation in the shadow, and their clicks are compared."""

from consumers.refresh.switching import Operator, outcome_details, wait_until_read
from consumers.runtime.generations import read_generations, write_act
from consumers.runtime.split_counts import read_outcome
from pipeline.errors import LogError
from pipeline.events.generation import Act, GenerationAct, Generations, State
from pipeline.events.split import Split
from pipeline.recommend.split_outcome import SplitOutcome
from pipeline.streams.interface import Log


def split(log: Log, share: float, number: int | None, patience: float, operator: Operator) -> Split:
    """Let a share of the users be answered by another generation, or change the share.

    The stages of one that stands by run again first, until its gate has read the log.

    Args:
        log: the log.
        share: of the users, above 0 and at most 1.
        number: generation; None: the one in the shadow.
        patience: seconds to wait for its gate.
        operator: who asks for it.

    Raises:
        LogError: there is no such generation beside the one that answers, or its gate does not read: nothing changed.
    """
    found = read_generations(log)
    new = found.shadow if number is None else found.all.get(number)
    if new is None:
        raise LogError("no generation runs in the shadow: name one that stands by with --to (`raie refresh status`)")
    if new.state is State.STANDBY:
        write_act(log, GenerationAct(Act.RESUME, new.number, operator.by), operator.clock())
    if new.state in (State.STANDBY, State.SHADOW):
        wait_until_read(log, new.number, patience, operator)
    made = _write(log, new.number, share, found, operator).split
    assert made is not None
    return made


def end_split(log: Log, operator: Operator) -> SplitOutcome:
    """Let all users be answered by the generation that answers; return the outcome, which the record has, too.

    Raises:
        LogError: no users are split.
    """
    found = read_generations(log)
    if found.split is None:
        raise LogError("no users are split: `raie refresh split --share 0.5` begins")
    outcome = read_outcome(log, found.split)
    _write(log, found.split.generation, 0.0, found, operator)
    return outcome


def _write(log: Log, number: int, share: float, found: Generations, operator: Operator) -> Generations:
    details = {"share": share, **outcome_details(log, found)}
    return write_act(log, GenerationAct(Act.SPLIT, number, operator.by, details), operator.clock())
