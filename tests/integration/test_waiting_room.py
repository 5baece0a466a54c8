"""The waiting room with real threads: who is woken, in which order, and what repairs a lost message."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from replibatch.errors import Stop
from replibatch.limits import Limiter, Standing, Ticket
from replibatch.limits.limiter import CLAIM_SECONDS
from replibatch.limits.waiting_room import LISTEN_SECONDS, WaitingRoom
from replibatch.redisdb.connection import connect
from replibatch.redisdb.scripts import run_together
from replibatch.settings import Settings

DEADLINE_SECONDS = 20.0


def until(condition: Callable[[], object], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, f"not within {seconds} s: {what}"
        time.sleep(0.005)


class Process:
    """A waiting_room as a worker process has one, and threads that wait at it."""

    def __init__(self, url: str, name: str, settings: Settings) -> None:
        self.redis = connect(url)
        self.limiter = Limiter(self.redis, settings, name)
        listener = connect(url, longest_block_seconds=LISTEN_SECONDS)
        self.keeper = WaitingRoom(self.limiter, listener, settings.lease_seconds)
        self.keeper.start()
        self.limiter.rebuild([])
        self.standings: dict[str, Standing] = {}
        self.order: list[str] = []
        self.threads: list[threading.Thread] = []

    def wait_at_the_limiter(self, attempt: str, priority: int = 5, *, fence: int = 1, known_as: str = "") -> None:
        """A thread that acquires; back once its attempt stands in the line, or has passed."""

        def run() -> None:
            self.standings[known_as or attempt] = self.keeper.acquire(Ticket(attempt, fence, 0.0, "", priority))
            self.order.append(attempt)

        thread = threading.Thread(target=run)
        thread.start()
        self.threads.append(thread)
        until(lambda: attempt in self.standings or self.in_line(attempt), f"{attempt} asks")

    def in_line(self, attempt: str) -> bool:
        return self.redis.zscore(f"{self.limiter.prefix}waiters", attempt) is not None

    def fence_in_line(self, attempt: str) -> int:
        return int(str(self.redis.hget(f"{self.limiter.prefix}tickets", attempt)).split("\t")[1])

    def release(self, attempt: str) -> None:
        run_together(self.redis, self.limiter.released_step(Ticket(attempt, 1, 0.0), 0.0))

    def close(self) -> None:
        self.keeper.drain()
        for thread in self.threads:
            thread.join(DEADLINE_SECONDS)
            assert not thread.is_alive()
        self.keeper.stop()


Start = Callable[..., Process]


@pytest.fixture
def start(redis_url: str) -> Iterator[Start]:
    opened: list[Process] = []

    def begin(name: str = "a", **settings: float) -> Process:
        opened.append(Process(redis_url, name, Settings(**{"global_max_concurrent": 1, **settings})))
        return opened[-1]

    yield begin
    for process in opened:
        process.close()


def test_first_come_first_served_within_a_priority(start: Start) -> None:
    process = start()
    process.wait_at_the_limiter("holder")
    for number, priority in enumerate((5, 5, 2, 5, 2)):
        process.wait_at_the_limiter(f"w{number}", priority)
    holder = "holder"
    for served, attempt in enumerate(("w2", "w4", "w0", "w1", "w3"), start=2):
        process.release(holder)
        until(lambda n=served: len(process.order) == n, f"{attempt} passes")
        assert process.order[-1] == attempt
        holder = attempt


def test_a_handoff_wakes_only_the_one_it_is_for(start: Start) -> None:
    here, there = start("a"), start("b")
    here.wait_at_the_limiter("holder")
    there.wait_at_the_limiter("next")
    for number in range(20):
        here.wait_at_the_limiter(f"w{number}")
    here.redis.config_resetstat()
    here.release("holder")
    until(lambda: "next" in there.standings, "the head of the line passes")
    calls = here.redis.info("commandstats")
    assert calls["cmdstat_publish"]["calls"] == 1
    assert calls["cmdstat_evalsha"]["calls"] <= 2 + 4, "release and claim, and a heartbeat or two"
    assert here.order == ["holder"]


def test_who_waits_is_sent_away_when_the_process_drains_and_leaves_no_place_behind(start: Start) -> None:
    here, there = start("a"), start("b")
    here.wait_at_the_limiter("holder")
    for number in range(5):
        there.wait_at_the_limiter(f"t{number}")
    here.wait_at_the_limiter("h")
    there.keeper.drain()
    until(lambda: len(there.standings) == 5, "all are sent away")
    assert set(there.standings.values()) == {Standing.WITHDRAWN}
    began = time.monotonic()
    here.release("holder")
    until(lambda: "h" in here.standings, "the next in line passes")
    assert time.monotonic() - began < CLAIM_SECONDS, "no hand-off went to one that has left"


def test_one_that_is_withdrawn_leaves_the_line_and_the_others_stay(start: Start) -> None:
    process = start()
    for attempt in ("holder", "canceled", "next"):
        process.wait_at_the_limiter(attempt)
    process.keeper.withdraw("canceled")
    until(lambda: process.standings.get("canceled") == Standing.WITHDRAWN, "it is sent away")
    assert not process.in_line("canceled") and process.in_line("next")
    process.keeper.withdraw("holder")  # it waits no more
    process.release("holder")
    until(lambda: process.standings.get("next") == Standing.CLAIMED, "the next one passes")


@pytest.mark.parametrize("order", [("earlier", "later"), ("later", "earlier")])
def test_of_two_custodies_of_one_attempt_in_a_process_the_later_waits_on(
    start: Start, order: tuple[str, str]
) -> None:
    process = start()
    process.wait_at_the_limiter("holder")
    for custody in order:
        process.wait_at_the_limiter("g:1", fence={"earlier": 1, "later": 2}[custody], known_as=custody)
    until(lambda: process.standings.get("earlier") == Standing.FENCED, "the earlier one steps aside")
    until(lambda: process.fence_in_line("g:1") == 2, "the place is the later one's")
    assert "later" not in process.standings
    process.release("holder")
    until(lambda: process.standings.get("later") == Standing.CLAIMED, "it is woken")


def test_a_heartbeat_repairs_a_lost_message(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    process = start()
    process.wait_at_the_limiter("holder")
    process.wait_at_the_limiter("next")
    monkeypatch.setattr(
        process.keeper, "_hear", lambda channel, reports: channel.get_message(timeout=0.1)
    )  # and ignores it
    process.release("holder")
    until(lambda: "next" in process.standings, "it passes", CLAIM_SECONDS)
    assert process.standings["next"] == Standing.CLAIMED


def test_who_was_turned_away_and_not_told_learns_of_it(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    process = start(lease_seconds=2)
    process.wait_at_the_limiter("holder")
    process.wait_at_the_limiter("next")
    monkeypatch.setattr(
        process.keeper, "_hear", lambda channel, reports: channel.get_message(timeout=0.1)
    )  # and ignores it
    process.limiter.stop(Stop("NoCredit", "no credit"))
    process.limiter.pump()
    until(lambda: "next" in process.standings, "it is told")
    assert process.standings["next"] == Standing.STOPPED


def test_a_forgotten_process_lines_up_anew(start: Start) -> None:
    """Silent for a lease, its waiters were dropped from the line; its next heartbeat finds that out."""
    process = start(lease_seconds=2)
    process.wait_at_the_limiter("holder")
    process.wait_at_the_limiter("next")
    process.redis.zadd(f"{process.limiter.prefix}processes", {"a": 1})
    process.redis.zrem(f"{process.limiter.prefix}waiters", "next")
    process.redis.hdel(f"{process.limiter.prefix}tickets", "next")
    until(lambda: process.in_line("next"), "it lines up anew")
    process.release("holder")
    until(lambda: process.standings.get("next") == Standing.CLAIMED, "it passes")


def test_a_claim_refused_in_a_cooldown_keeps_its_place(redis_url: str) -> None:
    now = 1_700_000_000.0
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        here, there = (
            Limiter(redis, Settings(global_max_concurrent=2, lease_seconds=100), name, lambda: now) for name in "ab"
        )
        for limiter in (here, there):
            limiter.heartbeat({})
        here.rebuild([])
        first, second, third, fourth = tickets = [Ticket(f"t{number}", 1, 0.0) for number in range(4)]
        asked = [
            limiter.acquire(ticket)[0] for limiter, ticket in zip((here, here, there, there), tickets, strict=True)
        ]
        assert asked == [*[Standing.CLAIMED] * 2, *[Standing.WAITING] * 2]
        run_together(redis, here.refused_step(first))  # its slot is handed to the third
        run_together(redis, here.throttled_step(second, 1.0))
        assert there.claim([third])[0] == [Standing.WAITING]
        now += 1.1
        served = []
        while len(served) < 3:
            here.heartbeat({}), there.heartbeat({})
            handed = [(limiter, attempt) for limiter in (here, there) for attempt in limiter.heartbeat({}).handed]
            assert len(handed) == 1 or served, "one at a time, after a cooldown"
            for limiter, attempt in handed:
                served.append(attempt)
                ticket = next(ticket for ticket in (second, third, fourth) if ticket.attempt_key == attempt)
                if limiter.claim([ticket])[0] == [Standing.WAITING]:
                    raise AssertionError(attempt)
                run_together(redis, limiter.created_step(ticket, attempt))
                run_together(redis, limiter.released_step(ticket, 0.0))
            now += 60.0
        assert served == ["t1", "t2", "t3"]


@pytest.mark.parametrize("how", ["stored", "reported"])
def test_limits_changed_while_running_hold_within_two_seconds(start: Start, how: str) -> None:
    here, there = start("a", global_max_concurrent=1), start("b", global_max_concurrent=1)
    here.wait_at_the_limiter("holder")
    for number in range(4):
        there.wait_at_the_limiter(f"t{number}")
    began = time.monotonic()
    if how == "stored":
        here.limiter.store_limits({"max_concurrent": 4})
    else:
        here.limiter.heartbeat({"max_concurrent": 4})  # of a third process
        here.keeper._report = lambda: {"max_concurrent": 4}
    until(lambda: len(there.standings) == 3, "as many as the new limit allows pass")
    assert time.monotonic() - began < 2
    until(lambda: there.keeper.max_concurrent == 4, "every process knows", 2.0)


class Server:
    """Replicate as it counts, on a clock of the test's own: a sliding window, or spaced with no burst."""

    def __init__(self, limit: int, window: float, *, spaced: bool = False, tells: bool = True) -> None:
        self.limit, self.window, self.spaced, self.tells = limit, window, spaced, tells
        self.admitted: list[float] = []
        self.refused: list[float] = []

    def post(self, now: float) -> float | None:
        """None when admitted; otherwise the wait it asks for, in whole seconds as Replicate does (-1: none)."""
        if self.spaced:
            free_at = self.admitted[-1] + self.window / self.limit if self.admitted else now
        else:
            free_at = self.admitted[-self.limit] + self.window if len(self.admitted) >= self.limit else now
        if now >= free_at:
            self.admitted.append(now)
            return None
        self.refused.append(now)
        return max(1.0, float(int(free_at - now) + 1)) if self.tells else -1.0


def drive(
    redis: Redis, server: Server, seconds: float, *, configured: int, change: tuple[float, int] | None = None
) -> None:
    """A fleet that always has 100 waiters, POSTs that take 50 to 250 ms, predictions that take no time.

    Args:
        change: after so many seconds the server admits that many in a window, and no longer spaced.
    """
    now = start_at = 1_700_000_000.0
    limiter = Limiter(redis, Settings(global_max_concurrent=60, requests_per_minute=configured), "a", lambda: now)
    limiter.heartbeat({})
    limiter.rebuild([])
    tickets: dict[str, Ticket] = {}
    posts: list[tuple[float, int, str, float | None]] = []
    number = 0
    next_beat = now
    while now < start_at + seconds:
        if change and now > start_at + change[0]:
            server.limit, server.spaced = change[1], False
        if now >= next_beat:
            limiter.heartbeat({})
            next_beat = now + 2.0
        while len(tickets) < 100:
            number += 1
            ticket = Ticket(f"t{number}", 1, 0.0)
            tickets[ticket.attempt_key] = ticket
            if limiter.acquire(ticket)[0] == Standing.CLAIMED:
                heapq.heappush(
                    posts, (now + 0.05 + number % 5 * 0.05, number, ticket.attempt_key, server.post(now + 0.02))
                )
        again = limiter.pump()
        sent = {attempt for _, _, attempt, _ in posts}
        for attempt in limiter.heartbeat({}).handed:
            if attempt not in sent and limiter.claim([tickets[attempt]])[0] == [Standing.CLAIMED]:
                number += 1
                heapq.heappush(posts, (now + 0.05 + number % 5 * 0.05, number, attempt, server.post(now + 0.02)))
        ahead = [next_beat, *([now + again] if again is not None else []), *([posts[0][0]] if posts else [])]
        now = max(now + 0.001, min(ahead))
        while posts and posts[0][0] <= now:
            _, _, attempt, wait = heapq.heappop(posts)
            ticket = tickets[attempt]
            if wait is None:
                run_together(redis, limiter.created_step(ticket, attempt))
                run_together(redis, limiter.released_step(ticket, 0.0))
                del tickets[attempt]
            else:
                run_together(redis, limiter.throttled_step(ticket, None if wait < 0 else wait))


@pytest.mark.parametrize("tells", [True, False], ids=["told the wait", "told nothing"])
@pytest.mark.parametrize(
    ("limit", "spaced", "minutes"), [(200, False, 4), (20, False, 30), (6, True, 60)], ids=["third", "20", "little"]
)
def test_a_true_limit_below_the_configured_one_is_learned(
    redis_url: str, limit: int, spaced: bool, minutes: int, tells: bool
) -> None:
    server = Server(limit, 60.0, spaced=spaced, tells=tells)
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        drive(redis, server, 60.0 * minutes, configured=600)
    begin = server.admitted[0] + 60.0
    later = [at for at in server.admitted if at > begin]
    refused = [at for at in server.refused if at > begin]
    assert len(refused) < 0.01 * len(later)
    assert len(later) > 0.85 * limit * (minutes - 1), "and nearly all of it is used"


class Spurious(Server):
    """One that refuses a few creates for no reason, and has a limit of 600 a minute besides."""

    def __init__(self, at: float, wait: float, refusals: int = 1) -> None:
        super().__init__(600, 60.0)
        self.at, self.wait, self.left = at, wait, refusals

    def post(self, now: float) -> float | None:
        if self.left and now >= 1_700_000_000.0 + self.at:
            self.left -= 1
            self.refused.append(now)
            return self.wait
        return super().post(now)


WHENS = {"at the start": 0.0, "early": 1.0, "in the midst": 70.0}
WAITS = {"told nothing": -1.0, "1 s": 1.0, "3 s": 3.0, "9 s": 9.0}
SAMPLED = {("at the start", "told nothing"), ("at the start", "9 s"), ("early", "1 s"), ("in the midst", "3 s")}


@pytest.mark.parametrize(
    ("at", "wait"),
    [
        pytest.param(
            *(WHENS[when], WAITS[wait]),
            id=f"{when}-{wait}",
            marks=() if (when, wait) in SAMPLED else pytest.mark.chaos,
        )
        for when in WHENS
        for wait in WAITS
    ],
)
def test_one_refusal_for_no_reason_costs_seconds(redis_url: str, at: float, wait: float) -> None:
    server = Spurious(at, wait)
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        drive(redis, server, at + 190.0, configured=600)
    second_minute = [each for each in server.admitted if 60.0 <= each - server.refused[0] < 120.0]
    assert len(second_minute) >= 0.95 * 600
    assert len(server.refused) <= 3


def test_a_burst_of_refusals_for_no_reason_is_no_limit(redis_url: str) -> None:
    server = Spurious(2.0, 1.0, refusals=40)
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        drive(redis, server, 900.0, configured=600)
    assert sum(each > 1_700_000_840.0 for each in server.admitted) >= 0.95 * 600, (
        "the last minute is at the full rate"
    )


def test_a_limit_that_was_raised_is_found_again(redis_url: str) -> None:
    server = Server(6, 60.0, spaced=True)
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        drive(redis, server, 3600.0, configured=120, change=(600.0, 120))
    assert sum(at > 1_700_003_540.0 for at in server.admitted) > 100, "the last minute is at the full rate"
