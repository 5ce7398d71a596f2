"""What every test may use."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.secrets.whole_run import pytest_configure  # noqa: F401  # a hook: no key stands in what the run says

settings.register_profile("kexkit", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kexkit")  # what fails fails again, and not because the machine was busy


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def interruptible() -> Iterator[None]:
    """What a test starts hears SIGINT, though whoever started the tests may not: a shell's `&` ignores it for all."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
