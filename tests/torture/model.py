"""Thousands of random operations, each compared with a rebuilt collection and with a plain Python model."""

from __future__ import annotations

import time

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.retrieval.collection_machine import CollectionMachine, GivenVectorsMachine
from tests.retrieval.collection_model import ModelledCollection
from tests.torture.outcome import Outcome, Profile

_STEPS = 40


def run(profile: Profile) -> list[Outcome]:
    """Run the state machines of the tests for longer than the tests do."""
    return [
        _drive(CollectionMachine, "operations on a collection with an encoder", profile, short=2, long=105),
        _drive(GivenVectorsMachine, "operations on a collection of given vectors", profile, short=1, long=55),
    ]


def _drive(machine: type[CollectionMachine], attack: str, profile: Profile, *, short: int, long: int) -> Outcome:
    outcome = Outcome(attack, unit="steps")
    before, start = ModelledCollection.compared, time.monotonic()
    seeded = seed(profile.seed)(type("Seeded", (machine,), {}))
    wanted = settings(
        max_examples=profile.pick(short=short, long=long),
        stateful_step_count=_STEPS,
        deadline=None,
        database=None,
        # Shrinking a failure takes minutes; it is worth them where there are minutes.
        phases=[Phase.generate, *([Phase.shrink] if profile.name == "long" else [])],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    try:
        run_state_machine_as_test(seeded, settings=wanted)
    except Exception as error:
        program = "\n".join(getattr(error, "__notes__", []))
        outcome.fail(f"seed {profile.seed}: {type(error).__name__}: {error}\n{program}"[:4000])
    outcome.tried = ModelledCollection.compared - before
    outcome.notes = {"seconds": f"{time.monotonic() - start:.0f}"}
    return outcome
