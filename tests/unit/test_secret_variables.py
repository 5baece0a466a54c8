"""Which variables of a worker a request may name."""

from __future__ import annotations

import pytest

from replibatch.catalog import Model
from replibatch.errors import RequestError
from replibatch.execution.secret_inputs import check_secrets


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model with a secret input, in an environment with two variables."""
    monkeypatch.setenv("SERVICE_KEY", "one")
    monkeypatch.setenv("DATABASE_URL", "another")
    return Model(name="a/b", kind="image", inputs={"api_key": {"type": "secret"}})


def test_the_fleets_own_list_is_all_that_may_be_named(model: Model) -> None:
    check_secrets(model, {"api_key": "env:DATABASE_URL"})
    check_secrets(model, {"api_key": "env:SERVICE_KEY"}, "OTHER, SERVICE_KEY")
    with pytest.raises(RequestError, match="REPLIBATCH_SECRET_VARIABLES"):
        check_secrets(model, {"api_key": "env:DATABASE_URL"}, "OTHER, SERVICE_KEY")
    with pytest.raises(RequestError, match="REPLIBATCH_SECRET_VARIABLES"):
        check_secrets(model, {"api_key": "env:SERVICE_KEY"}, "")
