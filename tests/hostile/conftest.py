"""Hostile inputs are tested with the same limits as for users."""

import pytest


@pytest.fixture(autouse=True)
def limits_of_users(real_limits: None) -> None:
    """Undo the fixture that accepts tiny volumes in other tests."""
