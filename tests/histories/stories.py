"""Short histories told in full, each about something the random ones come upon too rarely."""

from __future__ import annotations

from collections.abc import Callable

from replibatch.limits.outages import MISSING, Fault
from tests.histories.books import LEASE, SLOT_SECONDS, WINDOW
from tests.histories.losses import LossyMachine
from tests.histories.state import SHARED

Story = Callable[[LossyMachine], None]
FEW, MANY = {"max_concurrent": 1, "per_window": 6}, {"max_concurrent": 8, "per_window": 5}


def the_next_in_line_is_served_while_the_first_is_silent(machine: LossyMachine) -> None:
    machine.begin(configured=FEW, budget=None, cap=None)
    for who in (0, 1, 2):
        machine.acquire(who, 1, 3, "")
    machine.created("g1:1")
    for seconds in (1.5, 1.0):
        machine.tick(seconds)
        machine.beat(0)
        machine.beat(2)
    machine.release("g1:1")
    assert machine.books.having("granted") == ["g3:1"]


def what_nobody_claims_goes_to_the_next(machine: LossyMachine) -> None:
    machine.begin(configured=FEW, budget=None, cap=None)
    for who in (0, 1, 2):
        machine.acquire(who, 1, 3, "")
    machine.created("g1:1")
    machine.release("g1:1")
    assert machine.books.having("granted") == ["g2:1"]
    for seconds in (1.5, 1.0):
        machine.tick(seconds)
        machine.beat(0)
        machine.beat(2)
    assert machine.books.having("granted") == ["g3:1"]


def who_left_is_handed_nothing(machine: LossyMachine) -> None:
    machine.begin(configured=FEW, budget=None, cap=None)
    machine.acquire(0, 1, 3, "")
    machine.acquire(1, 1, 3, "")
    machine.leave(1)
    machine.created("g1:1")
    machine.release("g1:1")


def a_shared_budget_counts_what_is_reserved_and_what_is_spent(machine: LossyMachine) -> None:
    machine.begin(configured=MANY, budget=None, cap=3)
    machine.acquire(0, 2, 3, SHARED)
    machine.acquire(0, 2, 3, SHARED)
    machine.created("g1:1")
    machine.release("g1:1")
    machine.acquire(0, 2, 3, SHARED)


def the_unaffordable_are_turned_away_in_their_turn(machine: LossyMachine) -> None:
    machine.begin(configured=FEW, budget=5, cap=None)
    for price in (3, 2, 2, 0):
        machine.acquire(0, price, 3, "")
    for attempt in ("g1:1", "g2:1"):
        machine.created(attempt)
        machine.release(attempt)
    assert machine.books.having("claimed") == ["g4:1"]


def after_a_429_as_many_as_before_step_by_step(machine: LossyMachine) -> None:
    machine.begin(configured=MANY, budget=None, cap=None)
    for _ in range(5):
        machine.acquire(0, 0, 3, "")
    for number in range(1, 5):
        machine.created(f"g{number}:1")
    machine.store_limits({"max_concurrent": 8, "per_window": 2})
    machine.throttled("g5:1", 0.5)
    machine.wait(WINDOW + 1, True)
    machine.created("g5:1")
    machine.wait(WINDOW + 1, True)
    machine.acquire(0, 0, 3, "")
    machine.acquire(0, 0, 3, "")
    machine.wait(0.01, False)
    assert len(machine.books.having("claimed")) + len(machine.books.having("granted")) == 2


def a_resumed_account_has_no_cooldown(machine: LossyMachine) -> None:
    machine.begin(configured=MANY, budget=None, cap=None)
    machine.acquire(0, 0, 3, "")
    machine.throttled("g1:1", 10.0)
    machine.stop_or_resume(lift=False)
    machine.stop_or_resume(lift=True)
    machine.acquire(0, 0, 3, "")
    machine.wait(0.01, False)
    assert machine.books.having("claimed") == ["g2:1"]


def a_stop_comes_between_a_hand_off_and_its_claim(machine: LossyMachine) -> None:
    machine.begin(configured=FEW, budget=None, cap=None)
    machine.acquire(0, 0, 3, "")
    machine.acquire(1, 0, 3, "")
    machine.created("g1:1")
    machine.release("g1:1")
    machine.stop_or_resume(lift=False)
    machine.claim("g2:1")


def a_429_comes_between_a_hand_off_and_its_claim(machine: LossyMachine) -> None:
    machine.begin(configured={"max_concurrent": 2, "per_window": 6}, budget=None, cap=None)
    for who in (0, 0, 1):
        machine.acquire(who, 0, 3, "")
    machine.created("g1:1")
    machine.release("g1:1")
    machine.throttled("g2:1", 10.0)
    machine.claim("g3:1")
    assert machine.books.having("waiting") == ["g2:1", "g3:1"]


def a_later_429_shortens_no_cooldown(machine: LossyMachine) -> None:
    machine.begin(configured=MANY, budget=None, cap=None)
    for _ in range(3):
        machine.acquire(0, 0, 3, "")
    for number, seconds in enumerate((0.5, 10.0, 0.5), start=1):
        machine.throttled(f"g{number}:1", seconds)
    machine.wait(1.0, False)


def after_a_429_one_at_a_time_and_in_turn(machine: LossyMachine) -> None:
    machine.begin(configured=MANY, budget=None, cap=None)
    for _ in range(3):
        machine.acquire(0, 0, 3, "")
    for number in (1, 2, 3):
        machine.throttled(f"g{number}:1", 0.5)
    machine.acquire(0, 0, 3, "")
    machine.wait(1.0, False)
    assert machine.books.having("granted") == ["g1:1"]


def who_is_throttled_keeps_the_place(machine: LossyMachine) -> None:
    machine.begin(configured={"max_concurrent": 2, "per_window": 6}, budget=None, cap=None)
    for _ in range(3):
        machine.acquire(0, 0, 3, "")
    machine.created("g2:1")
    machine.throttled("g1:1", 0.5)
    machine.wait(1.0, False)
    assert machine.books.having("granted") == ["g1:1"]


def what_is_not_answered_yet_counts(machine: LossyMachine) -> None:
    """Creates that are open, and hand-offs that may become such."""
    machine.begin(configured={"max_concurrent": 8, "per_window": 2}, budget=None, cap=None)
    for who in (0, 0, 1, 1, 1):
        machine.acquire(who, 0, 3, "")
    machine.created("g1:1")
    machine.created("g2:1")
    machine.wait_for_the_window()
    assert machine.books.having("granted") == ["g3:1", "g4:1"]


def a_post_counts_for_a_window_though_the_clock_stepped_back(machine: LossyMachine) -> None:
    machine.begin(configured={"max_concurrent": 8, "per_window": 1}, budget=None, cap=None)
    machine.the_clock_steps_back(3.0)
    machine.acquire(0, 0, 3, "")
    machine.created("g1:1")
    machine.acquire(0, 0, 3, "")
    machine.wait(WINDOW + 0.5, True)


def a_slot_lapses_in_its_time_and_is_paid_for(machine: LossyMachine) -> None:
    machine.begin(configured=FEW, budget=None, cap=None)
    machine.acquire(0, 2, 3, "")
    machine.acquire(1, 2, 3, "")
    machine.created("g1:1")
    machine.release("g1:1")
    machine.wait(1.5, False)
    machine.claim("g2:1")
    machine.the_machines_sleep_until_a_slot_lapses(-0.1)
    machine.the_machines_sleep_until_a_slot_lapses(0.1)
    assert not machine.books.attempts and machine.books.settled == 4


def the_dead_have_no_place(machine: LossyMachine) -> None:
    machine.begin(configured=FEW, budget=None, cap=None)
    machine.acquire(0, 0, 3, "")
    machine.acquire(1, 0, 3, "")
    machine.created("g1:1")
    for _ in range(4):
        machine.tick(LEASE / 3)
        machine.beat(0)
    machine.release("g1:1")
    assert not machine.state.waiters


def refused_posts_are_remembered_when_all_is_lost(machine: LossyMachine) -> None:
    machine.begin(configured={"max_concurrent": 8, "per_window": 2}, budget=None, cap=None)
    for number in (1, 2):
        machine.acquire(0, 0, 3, "")
        machine.refused(f"g{number}:1")
    machine.all_is_lost(None, False)
    machine.acquire(0, 0, 3, "")
    assert machine.books.having("waiting") == ["g3:1"]


def what_was_handed_off_in_an_older_copy_is_claimed_by_now(machine: LossyMachine) -> None:
    machine.begin(configured=FEW, budget=None, cap=None)
    machine.acquire(0, 1, 3, "")
    machine.acquire(1, 1, 3, "")
    machine.created("g1:1")
    machine.release("g1:1")
    machine.the_replica_falls_behind()
    machine.claim("g2:1")
    machine.the_replica_takes_over(None, False)


def a_restart_with_a_hand_off_out_and_a_list_that_lags(machine: LossyMachine) -> None:
    """Nothing is claimed on a state that is not trusted, and the window there is counts."""
    machine.begin(configured={"max_concurrent": 2, "per_window": 2}, budget=None, cap=None)
    for who in (0, 0, 1):
        machine.acquire(who, 0, 3, "")
    machine.created("g1:1")
    machine.created("g2:1")
    machine.wait(WINDOW - 3, True)
    machine.release("g1:1")
    machine.the_server_restarts(lags=True)
    machine.everybody_beats()
    machine.wait(1.9, False)
    machine.everybody_beats()
    machine.wait(1.9, False)
    assert machine.books.having("granted") == ["g3:1"]
    machine.the_server_restarts(lags=True)


def what_no_list_shows_yet_counts_too(machine: LossyMachine) -> None:
    machine.begin(configured={"max_concurrent": 4, "per_window": 2}, budget=None, cap=None)
    machine.acquire(0, 0, 3, "")
    machine.acquire(0, 0, 3, "")
    machine.created("g1:1")
    machine.created("g2:1")
    machine.all_is_lost(None, False, lags=True)
    machine.acquire(0, 0, 3, "")
    machine.wait(1.0, False)


def limits_cleared_since_do_not_come_back_with_an_older_copy(machine: LossyMachine) -> None:
    machine.begin(configured=MANY, budget=None, cap=None)
    machine.stop_or_resume(lift=False)
    machine.store_limits({"max_concurrent": 1, "per_window": 1})
    machine.the_replica_falls_behind()
    machine.stop_or_resume(lift=True)
    machine.store_limits(None)
    machine.the_replica_takes_over(None, False)
    machine.acquire(0, 0, 3, "")
    assert machine.books.having("claimed") == ["g1:1"]


def the_newest_snapshot_wins(machine: LossyMachine) -> None:
    machine.begin(configured=MANY, budget=None, cap=None)
    machine.acquire(0, 2, 3, "")
    machine.created("g1:1")
    machine.wait(0.3, False)
    machine.everybody_beats()
    machine.release("g1:1")
    machine.wait(0.3, False)
    machine.all_is_lost(None, False)


def who_was_taken_over_reports_what_it_has_no_more(machine: LossyMachine) -> None:
    machine.begin(configured=MANY, budget=None, cap=None)
    machine.acquire(1, 2, 3, "")
    machine.created("g1:1")
    machine.take_over("g1:1", 0, "adopt", heard=False)
    machine.all_is_lost(None, False)
    machine.release("g1:1")


def what_waited_in_an_older_copy_is_held_by_now(machine: LossyMachine) -> None:
    machine.begin(configured=FEW, budget=None, cap=None)
    machine.acquire(0, 1, 3, "")
    machine.acquire(1, 1, 3, "")
    machine.created("g1:1")
    machine.the_replica_falls_behind()
    machine.release("g1:1")
    machine.claim("g2:1")
    machine.the_replica_takes_over(None, False)


def what_was_claimed_in_an_older_copy_waits_by_now(machine: LossyMachine) -> None:
    machine.begin(configured=FEW, budget=None, cap=None)
    machine.acquire(0, 1, 3, "")
    machine.the_replica_falls_behind()
    machine.throttled("g1:1", 10.0)
    machine.the_replica_takes_over(None, False)
    assert machine.books.having("waiting") == ["g1:1"]


def what_was_claimed_in_an_older_copy_is_claimed_again_by_now(machine: LossyMachine) -> None:
    machine.begin(configured=FEW, budget=None, cap=None)
    machine.acquire(0, 1, 3, "")
    machine.the_replica_falls_behind()
    first_lapses_at = machine.books.now + SLOT_SECONDS
    machine.throttled("g1:1", LEASE + 3)
    machine.wait(WINDOW + 1, True)
    machine.created("g1:1")
    machine.the_replica_takes_over(None, False)
    machine.tick(first_lapses_at + LEASE - machine.books.now)
    machine.everybody_beats()


def one_probe_at_a_time_while_the_api_is_out(machine: LossyMachine) -> None:
    machine.begin(configured={"max_concurrent": 4, "per_window": 6}, budget=None, cap=None)
    for _ in range(3):
        machine.acquire(0, 1, 3, "")
    for attempt in ("g1:1", "g2:1", "g3:1"):
        machine.hold(attempt, 0.5)
    assert not machine.books.having("claimed") + machine.books.having("granted")
    for again in (True, False):
        machine.wait(0.3, False)
        machine.wait(0.3, False)
        under_way = machine.books.having("claimed") + machine.books.having("granted")
        assert under_way == ["g1:1"]
        for attempt in machine.books.having("granted"):
            machine.claim(attempt)
        if again:
            machine.hold("g1:1", 0.5)
    machine.created("g1:1")
    assert not machine.books.outages


def a_probe_without_an_outcome_is_given_up(machine: LossyMachine) -> None:
    machine.begin(configured={"max_concurrent": 4, "per_window": 6}, budget=None, cap=None)
    machine.report_fault("storage", 0.5)
    machine.acquire(0, 1, 3, "")
    machine.acquire(1, 1, 3, "")
    for _ in range(40):
        machine.wait(2.0, True)
        machine.everybody_beats()
        for attempt in machine.books.having("granted"):
            machine.claim(attempt)
    assert machine.books.having("claimed") == ["g1:1", "g2:1"]


def a_model_that_is_out_stalls_no_other(machine: LossyMachine) -> None:
    machine.begin(configured={"max_concurrent": 2, "per_window": 6}, budget=None, cap=None)
    machine.report_fault("model:m", 4.0)
    machine.acquire(0, 1, 3, "", "m")
    machine.acquire(0, 1, 3, "", "")
    assert machine.books.having("claimed") == ["g2:1"]
    machine.wait(4.5, True)
    machine.everybody_beats()
    for attempt in machine.books.having("granted"):
        machine.claim(attempt)
    machine.acquire(0, 1, 3, "", "m")
    machine.created("g1:1")
    machine.release("g1:1", failed=True)
    assert machine.books.having("waiting") == ["g3:1"], "the failure is reported before the next probe"
    machine.report_fault("model:m", 0.5)
    machine.wait(1.0, False)
    for attempt in machine.books.having("granted"):
        machine.claim(attempt)
    machine.created("g3:1")
    machine.release("g3:1")
    assert not machine.books.outages


def an_outage_comes_between_a_hand_off_and_its_claim(machine: LossyMachine) -> None:
    machine.begin(configured=FEW, budget=None, cap=None)
    machine.acquire(0, 0, 3, "")
    machine.acquire(1, 0, 3, "")
    machine.created("g1:1")
    machine.release("g1:1")
    machine.report_fault("storage", 4.0)
    machine.claim("g2:1")
    assert machine.books.having("waiting") == ["g2:1"]


def who_yields_leaves_the_line_for_its_model_alone(machine: LossyMachine) -> None:
    machine.begin(configured=FEW, budget=None, cap=None)
    machine.acquire(0, 0, 3, "")
    for yields in (True, False):
        machine.acquire(0, 0, 3, "", "m", yields=yields)
    machine.report_fault("api", 0.5)
    machine.report_fault("model:m", 4.0)
    assert machine.books.having("waiting") == ["g2:1", "g3:1"], "it may not be its model's fault"
    machine.report_success("api")
    assert machine.books.having("waiting") == ["g3:1"]
    machine.acquire(0, 0, 3, "", "m", yields=True)
    machine.created("g1:1")
    machine.release("g1:1")
    assert machine.books.having("waiting") == ["g3:1"]


def what_was_created_before_its_model_went_tells_nothing(machine: LossyMachine) -> None:
    machine.begin(configured=MANY, budget=None, cap=None)
    for _ in range(2):
        machine.acquire(0, 0, 3, "", "m")
    for number in (1, 2):
        machine.created(f"g{number}:1")
    for _ in range(2):
        machine.limiter.report_fault(Fault("model:m", MISSING, "404", after=3))
        machine.limiter.report_fault(Fault("model:m", "failed", "no", after=3))
    machine.release("g1:1")
    machine.report_one(Fault("model:m", MISSING, "404", after=3, pause_seconds=4.0))
    machine.release("g2:1")
    assert [outage.name for outage in machine.limiter.status().outages] == ["model:m"]
    machine.wait(5.0, True)
    machine.acquire(0, 0, 3, "", "m")
    machine.created("g3:1")
    assert not machine.books.outages


def a_probe_whose_create_is_refused_is_followed_by_none_at_once(machine: LossyMachine) -> None:
    machine.begin(configured=FEW, budget=None, cap=None)
    machine.report_fault("model:m", 0.5)
    machine.wait(1.0, True)
    for _ in range(2):
        machine.acquire(0, 0, 3, "", "m")
    machine.refused("g1:1")
    assert machine.books.having("waiting") == ["g2:1"]


def a_429_ends_the_outage_of_the_api(machine: LossyMachine) -> None:
    machine.begin(configured=FEW, budget=None, cap=None)
    machine.acquire(0, 0, 3, "")
    machine.hold("g1:1", 0.5)
    machine.wait(1.0, False)
    for attempt in machine.books.having("granted"):
        machine.claim(attempt)
    machine.throttled("g1:1", 0.5)
    assert not machine.books.outages


def an_unanswered_post_that_is_taken_over_is_found_out_about(machine: LossyMachine) -> None:
    machine.begin(configured=FEW, budget=None, cap=None)
    machine.acquire(0, 1, 3, "")
    machine.take_over("g1:1", 1, "acquire")


def an_older_copy_hands_a_slot_to_the_dead(machine: LossyMachine) -> None:
    """Its money is reserved until the hand-off lapses."""
    machine.begin(configured={"max_concurrent": 3, "per_window": 5}, budget=4, cap=3)
    machine.report_fault("storage", 0.5)
    machine.acquire_many([1, 1, 2])
    machine.the_replica_falls_behind()
    machine.the_replica_takes_over(1, False)
    assert [ticket.attempt_key for ticket in machine.books.left] == ["g1:1"]
    machine.books_and_status_agree()


STORIES: tuple[Story, ...] = (
    an_unanswered_post_that_is_taken_over_is_found_out_about,
    one_probe_at_a_time_while_the_api_is_out,
    a_probe_without_an_outcome_is_given_up,
    a_model_that_is_out_stalls_no_other,
    an_outage_comes_between_a_hand_off_and_its_claim,
    who_yields_leaves_the_line_for_its_model_alone,
    what_was_created_before_its_model_went_tells_nothing,
    a_probe_whose_create_is_refused_is_followed_by_none_at_once,
    a_429_ends_the_outage_of_the_api,
    the_next_in_line_is_served_while_the_first_is_silent,
    what_nobody_claims_goes_to_the_next,
    who_left_is_handed_nothing,
    a_shared_budget_counts_what_is_reserved_and_what_is_spent,
    the_unaffordable_are_turned_away_in_their_turn,
    after_a_429_as_many_as_before_step_by_step,
    a_resumed_account_has_no_cooldown,
    a_stop_comes_between_a_hand_off_and_its_claim,
    a_429_comes_between_a_hand_off_and_its_claim,
    a_later_429_shortens_no_cooldown,
    after_a_429_one_at_a_time_and_in_turn,
    who_is_throttled_keeps_the_place,
    what_is_not_answered_yet_counts,
    a_post_counts_for_a_window_though_the_clock_stepped_back,
    a_slot_lapses_in_its_time_and_is_paid_for,
    the_dead_have_no_place,
    refused_posts_are_remembered_when_all_is_lost,
    what_was_handed_off_in_an_older_copy_is_claimed_by_now,
    a_restart_with_a_hand_off_out_and_a_list_that_lags,
    what_no_list_shows_yet_counts_too,
    limits_cleared_since_do_not_come_back_with_an_older_copy,
    the_newest_snapshot_wins,
    who_was_taken_over_reports_what_it_has_no_more,
    what_waited_in_an_older_copy_is_held_by_now,
    what_was_claimed_in_an_older_copy_waits_by_now,
    what_was_claimed_in_an_older_copy_is_claimed_again_by_now,
    an_older_copy_hands_a_slot_to_the_dead,
)
