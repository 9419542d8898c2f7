"""Progress of the unlearning of one user, in every generation that runs: each has the user's windows, and versions."""

from collections.abc import Iterator, Mapping

from consumers.erasure.request import Requested, is_taken
from consumers.erasure.unlearning import Answers, names_of
from consumers.runtime.generations import kept_logs, running_logs
from pipeline.events.edit import Edit, Outcome
from pipeline.events.unlearning import is_unlearning_request
from pipeline.streams.generation import GenerationLog
from pipeline.streams.interface import Log
from pipeline.streams.topics import GATED, OUTCOMES


class UnlearningProgress:
    """Requests to unlearn a user, and their answers. It is made before the user is erased, as the names go with that.

    A refresh may be switched to in the meantime: what ran before answers nothing any more, and need not.

    Args:
        log: has the topics.
        user_id: the user.

    Attributes:
        names: of the user in `gated`.
    """

    def __init__(self, log: Log, user_id: str) -> None:
        self._log = log
        kept = kept_logs(log)
        self.names = sorted({name for one in kept for name in names_of(one, user_id)})
        self._since = {one.generation: one.acknowledged_end(GATED, 0) for one in kept}
        self._requests: dict[int, list[int]] = {}
        self._answers: dict[int, Answers] = {}

    def is_done(self, requested: Requested) -> bool:
        """True once each generation that runs has taken the erasure, and answered its requests."""
        return all(self._is_answered(one, requested) for one in running_logs(self._log))

    def ended(self) -> object:
        """Edits that have ended; another value than before is progress."""
        return [(one.generation, one.end_offset(OUTCOMES, 0)) for one in running_logs(self._log)]

    def results(self) -> Iterator[tuple[GenerationLog, Mapping[str, tuple[Edit, Outcome]]]]:
        """Yield each generation that runs, the active one first, with the edits that have answered, by id."""
        for one in running_logs(self._log):
            answers = self._answers_in(one)
            found = [answers[offset] for offset in self._requests.get(one.generation, []) if offset in answers]
            yield one, {edit.edit_id: (edit, outcome) for edit, outcome in found}

    def _is_answered(self, log: GenerationLog, requested: Requested) -> bool:
        if log.generation not in self._requests:
            if not is_taken(log, requested):
                return False
            # All are there by now: the gate writes them with the erasure.
            end = log.acknowledged_end(GATED, 0)
            since = max(self._since.get(log.generation, 0), log.start_offset(GATED, 0))
            records = log.read(GATED, 0, since, max(since, end))
            mine = [r.offset for r in records if r.key in self.names and is_unlearning_request(r)]
            self._requests[log.generation] = mine
        return set(self._requests[log.generation]) <= self._answers_in(log).keys()

    def _answers_in(self, log: GenerationLog) -> Mapping[int, tuple[Edit, Outcome]]:
        if log.generation not in self._answers:
            self._answers[log.generation] = Answers(log)
        return self._answers[log.generation]()
