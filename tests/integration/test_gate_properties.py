"""The gate's promises (P1, P2, P6, budget, cooldown) over random histories of several processes."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from redis import Redis

from tests.integration.gate_machine import GateMachine


def test_every_promise_of_the_gate_holds_in_random_histories(redis_url: str) -> None:
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        machine = type("Machine", (GateMachine,), {"redis": redis})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=60,
                stateful_step_count=40,
                deadline=None,
                phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a history of 40 steps takes minutes to shrink
                suppress_health_check=list(HealthCheck),
                print_blob=True,
            ),
        )
