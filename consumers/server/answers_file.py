"""Answers for many users as a file of JSON lines, from one state of the log."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from consumers.server.http.recommend import OptionsBody, UserRecommendationBody, answer_fields
from consumers.server.service import Service
from pipeline.errors import BadEvent, DataError, LogError, RequestError
from pipeline.events.cells import identifier

POLL = 1.0
"""Seconds after which it is looked again whether the log is read."""


def catch_up(service: Service) -> None:
    """Read the log up to its end as it is now, and follow it no longer.

    Raises:
        LogError: it cannot be read.
    """
    service.follower.start()
    while not service.follower.caught_up.wait(POLL):
        if service.follower.ended is not None:
            raise LogError(service.follower.ended)
    service.follower.stop()


def users_in(lines: Iterable[str], name: str) -> list[str]:
    """Distinct ids of users, one a line, in their order; empty lines are skipped.

    Raises:
        DataError: a line is no id; the message has its number.
    """
    users: dict[str, None] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                users[identifier(line.strip(), "user_id")] = None
            except BadEvent as error:
                raise DataError(f"{name}, line {number}: {error.detail}") from None
    return list(users)


def write_answers(
    service: Service,
    users: Sequence[str],
    options: OptionsBody,
    file: Path,
    most: int,
    progress: Callable[[str, int, int], None],
) -> Counter[str]:
    """Write an answer for each user, as `POST /recommend/users` gives it, a line each.

    The file is there once it is complete, in place of any of its name.

    Args:
        service: a service that has caught up.
        users: their ids.
        options: of all answers.
        file: to be written.
        most: users of a batch.
        progress: called with a stage, the users that are done, and all.

    Returns:
        Number of answers by what answered.

    Raises:
        DataError: there is no such revision.
        RequestError: no item has an attribute that the options name.
    """
    newest = service.live.view.revision
    if options.revision is not None and options.revision > newest:
        raise DataError(f"revision {options.revision} is not there yet: the newest is {newest}")
    counts: Counter[str] = Counter()
    with _draft_of(file) as draft:
        for start in range(0, len(users), most):
            part = users[start : start + most]
            progress("answering", start, len(users))
            for user_id, found in zip(part, service.answer(list(map(options.ask, part))), strict=True):
                if isinstance(found, RequestError):
                    raise found
                counts[found.answered_by] += 1
                fields = answer_fields(found, service.generation)
                draft.write(UserRecommendationBody(user_id=user_id, **fields).model_dump_json() + "\n")
        progress("answering", len(users), len(users))
    return counts


@contextmanager
def _draft_of(file: Path) -> Iterator[TextIO]:
    """Open a draft that takes the place of a file at the end of the block, and is deleted after an error."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.part")
    try:
        with draft.open("w", encoding="utf-8") as opened:
            yield opened
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
