"""Every attack, for some seconds; `make torture` runs them for long."""

from importlib import import_module

import pytest

from tests.torture.__main__ import ATTACKS
from tests.torture.outcome import SHORT


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS)
def test_no_promise_breaks(attack):
    for outcome in import_module(f"tests.torture.{attack}").run(SHORT):
        assert outcome.tried, outcome
        assert not outcome.broken, outcome.failures
