"""Hostile inputs meet the limits that users have."""

import pytest


@pytest.fixture(autouse=True)
def limits_of_users(real_limits: None) -> None:
    """Take back what lets tiny volumes pass in other tests."""
