"""What the doctor makes of figures."""

from __future__ import annotations

import pytest

from replibatch.cli.checkup import judge_clock
from replibatch.redisdb.health import Health


@pytest.mark.parametrize(
    ("ahead_seconds", "state", "said"),
    [
        (0.004, Health.OK, "within 0.1 s"),
        (-3.0, Health.OK, "within 3.0 s"),
        (95.0, Health.WRONG, "95 s ahead of"),
        (-3600.0, Health.WRONG, "3,600 s behind"),
    ],
)
def test_a_clock_that_is_far_off_is_wrong_either_way(ahead_seconds: float, state: Health, said: str) -> None:
    finding = judge_clock(ahead_seconds)
    assert finding.state == state and said in finding.found
    assert ("NTP" in finding.mend) == (state == Health.WRONG)
