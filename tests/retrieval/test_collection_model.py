"""Any sequence of operations leaves what a plain dictionary and a collection built from scratch would hold."""

import pytest
from hypothesis import settings

pytest.register_assert_rewrite(
    "tests.retrieval.collection_machine", "tests.retrieval.collection_model", "tests.retrieval.collection_oracle"
)

from tests.retrieval.collection_machine import (  # noqa: E402
    CollectionMachine,
    GivenVectorsMachine,
    SparseMachine,
    TokensMachine,
)

NIGHTLY = settings.get_current_profile_name() == "nightly"

TestCollection = CollectionMachine.TestCase
TestCollection.settings = settings(max_examples=160 if NIGHTLY else 11, stateful_step_count=25, deadline=None)

TestGivenVectors = GivenVectorsMachine.TestCase
TestGivenVectors.settings = settings(max_examples=80 if NIGHTLY else 6, stateful_step_count=20, deadline=None)

TestSparseVectors = SparseMachine.TestCase
TestSparseVectors.settings = settings(max_examples=80 if NIGHTLY else 6, stateful_step_count=20, deadline=None)

TestStoredStates = TokensMachine.TestCase
TestStoredStates.settings = settings(max_examples=80 if NIGHTLY else 3, stateful_step_count=20, deadline=None)
