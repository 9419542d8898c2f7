"""What holds for every test: no network beyond this machine, no display; and a Kafka for those that ask for one."""

import os
from collections.abc import Iterator

import pytest

from tests.broker import EXISTING, Broker, need_kafka
from tests.order import pytest_collection_modifyitems  # noqa: F401
from tests.skips import pytest_make_collect_report, pytest_runtest_makereport, pytest_terminal_summary  # noqa: F401
from tests.workers import pytest_xdist_auto_num_workers  # noqa: F401

# Read by the libraries when they are imported, so set before any test module is.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
# Tests compare batches of different sizes to the bit, and several threads share out the work by size.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def kafka_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real broker on this machine."""
    if EXISTING in os.environ:
        yield os.environ[EXISTING]
        return
    need_kafka()
    broker = Broker(tmp_path_factory.mktemp("kafka"))
    yield broker.start()
    broker.stop()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that a test may stop or kill; each starts it, since the one before may have left it down."""
    need_kafka()
    broker = Broker(tmp_path_factory.mktemp("stopped"))
    yield broker
    broker.stop()
