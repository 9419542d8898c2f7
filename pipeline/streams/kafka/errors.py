"""Translation of Kafka's errors to those of the log interface."""

from collections.abc import Iterator
from contextlib import contextmanager

from kafka.errors import (
    AuthorizationError,
    FencedInstanceIdError,
    InvalidProducerEpochError,
    KafkaError,
    ProducerFencedError,
    RequestTimedOutError,
    SaslAuthenticationFailedError,
)

from pipeline.errors import LogError
from pipeline.streams.interface import FencedError, UnavailableError

FENCED = (FencedInstanceIdError, ProducerFencedError, InvalidProducerEpochError)
"""Errors of a client that a newer one of its id replaced."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Translate the errors of Kafka that the block raises.

    Args:
        what: subject of the block, for the message.

    Raises:
        FencedError: if a newer process took over.
        UnavailableError: if the broker did not answer in time.
        LogError: for any other error.
    """
    try:
        yield
    except FENCED as error:
        raise FencedError(f"{what} was replaced by a newer one; stop this process") from error
    except (SaslAuthenticationFailedError, AuthorizationError) as error:
        raise LogError(
            f"{what}: access denied by the broker ({error}); see log.security_protocol, log.sasl_*"
        ) from error
    except KafkaError as error:
        if error.retriable or _unanswered(error):
            raise UnavailableError(f"{what}: the broker does not answer in time ({error}); is it running?") from error
        raise LogError(f"{what}: {error}") from error


def _unanswered(error: KafkaError) -> bool:
    """Return True for a transactional request without an answer in time; only the client's message shows it."""
    return type(error) is KafkaError and RequestTimedOutError.__name__ in str(error)
