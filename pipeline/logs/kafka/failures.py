"""Kafka's errors in our words: who can put it right, and whether the outcome is known."""

from collections.abc import Iterator
from contextlib import contextmanager

from kafka.errors import (
    AuthorizationError,
    FencedInstanceIdError,
    InvalidProducerEpochError,
    KafkaError,
    ProducerFencedError,
    SaslAuthenticationFailedError,
)

from pipeline.errors import LogError
from pipeline.logs.base import FencedError, UnavailableError

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
        if error.retriable:
            raise UnavailableError(f"{what}: the broker does not answer in time ({error}); is it running?") from error
        raise LogError(f"{what}: {error}") from error
