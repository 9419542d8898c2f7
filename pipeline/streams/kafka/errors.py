"""Kafka's errors in our words: who can put it right, and whether the outcome is known."""

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


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise our error for one of Kafka's.

    Args:
        what: names what the block is about.

    Raises:
        FencedError: if a newer process took over.
        UnavailableError: if the broker did not answer, or not yet.
        LogError: for the rest.
    """
    try:
        yield
    except FENCED as error:
        raise FencedError(f"{what} was replaced by a newer one; stop this process") from error
    except (SaslAuthenticationFailedError, AuthorizationError) as error:
        raise LogError(f"{what}: the broker refuses us ({error}); see log.security_protocol and log.sasl_*") from error
    except KafkaError as error:
        if error.retriable or _unanswered(error):
            raise UnavailableError(f"{what}: the broker does not answer in time ({error}); is it running?") from error
        raise LogError(f"{what}: {error}") from error


def _unanswered(error: KafkaError) -> bool:
    """Tell whether a transactional request was not answered in time: the client keeps that in the words alone."""
    return type(error) is KafkaError and RequestTimedOutError.__name__ in str(error)
