"""Mutants of the gate's Lua: each check taken out, one at a time, must be caught by the random histories.

python -m tests.mutants            all of them; exit code 1 if one survives
python -m tests.mutants cooldown   those whose name contains a word
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from redis import Redis

from replibatch.limits import gate
from replibatch.scripts import Script
from tests.conftest import RedisServer
from tests.integration.gate_machine import GateMachine

LUA = Path(gate.__file__).parent / "lua"
HISTORIES = 400

# name: (file, what stands there, what the mutant has instead)
MUTANTS: dict[str, tuple[str, str, str]] = {
    "slots are not counted": ("gate", "if redis.call('ZCARD', SLOTS) >= max_concurrent() then break end", ""),
    "one slot too many": ("gate", "redis.call('ZCARD', SLOTS) >= max_concurrent()", "redis.call('ZCARD', SLOTS) > max_concurrent()"),
    "the window is not counted": ("gate", "if open + number('posts') >= per_window()", "if open >= per_window()"),
    "open creates are not counted": ("gate", "if open + number('posts') >= per_window()", "if number('posts') >= per_window()"),
    "hand-offs are not counted": ("gate", "redis.call('ZCARD', GRANTED) + redis.call('ZCARD', CREATING)", "redis.call('ZCARD', CREATING)"),
    "intents are not counted": ("gate", "redis.call('ZCARD', GRANTED) + redis.call('ZCARD', CREATING)", "redis.call('ZCARD', GRANTED)"),
    "a POST leaves the window early": ("gate", "local time = math.ceil((at or now) / bucket_ms) * bucket_ms", "local time = now - 1000"),
    "an answer is not counted": ("answer", "count_post(not call.created)", ""),
    "a refused POST is not counted": ("answer", "count_post(not call.created)", "if call.created then count_post(false) end"),
    "cooldown is ignored by the line": ("gate", "if now < number('cooldown_until') then at(number('cooldown_until')) break end", ""),
    "cooldown is ignored by a claim": ("gate", "if now < number('cooldown_until') or not is_trusted() then", "if not is_trusted() then"),
    "a cooldown may shrink": ("answer", "math.max(number('cooldown_until'), now + wait)", "now + wait"),
    "a stop is ignored by a claim": ("gate", "  if state.stopped then\n    free_slot(attempt, ticket)\n    drop(attempt)\n    return 'stopped'\n  end\n", ""),
    "a stop is ignored by the line": ("gate", "elseif state.stopped then", "elseif false then"),
    "the budget is not checked": ("gate", "if (tonumber(taken[1]) or 0) + (tonumber(taken[2]) or 0) + ticket.price > state.budget then return false end", ""),
    "what is reserved is not counted": ("gate", "(tonumber(taken[1]) or 0) + (tonumber(taken[2]) or 0) + ticket.price > state.budget", "(tonumber(taken[1]) or 0) + ticket.price > state.budget"),
    "nothing is reserved": ("gate", "  reserve(ticket, 1)\n", ""),
    "what was reserved stays so": ("gate", "  reserve(ticket, -1)\n", ""),
    "a cost is settled whoever asks": ("release", "if not owns(ticket) then return { 0, pump() } end", "if not ticket then return { 0, pump() } end"),
    "a cost is not settled": ("release", "  spend(ticket, call.cost)\n", ""),
    "an answer counts whoever gives it": ("answer", "if not owns(ticket) or not redis.call", "if not ticket or not redis.call"),
    "an answer counts twice": ("answer", " or not redis.call('ZSCORE', CREATING, call.attempt) then", " then"),
    "the dead are granted slots": ("gate", "if not is_alive(ticket.process) then\n      drop(head)", "if false then\n      drop(head)"),
    "last come, first served": ("gate", "redis.call('ZRANGE', WAITERS, 0, 0)[1]", "redis.call('ZRANGE', WAITERS, -1, -1)[1]"),
    "priority is ignored": ("acquire", "call.priority * 4398046511104 + number('arrivals')", "number('arrivals')"),
    "who is throttled loses the place": ("gate", "  redis.call('ZADD', WAITERS, whole(ticket.order), attempt)\nend", "  redis.call('ZADD', WAITERS, whole(ticket.order + 4398046511104 * 9), attempt)\nend"),
    "a hand-off never lapses": ("gate", "redis.call('ZRANGEBYSCORE', GRANTED, '-inf', whole(now))", "{}"),
    "a lapsed hand-off keeps its slot": ("gate", "local function back_in_line(attempt, ticket)\n  free_slot(attempt, ticket)", "local function back_in_line(attempt, ticket)\n  redis.call('ZREM', GRANTED, attempt)"),
    "a slot never lapses": ("gate", "redis.call('ZRANGEBYSCORE', SLOTS, '-inf', whole(now))", "{}"),
    "a slot lapses too early": ("gate", "redis.call('ZADD', SLOTS, whole(now + config.slot_ms), attempt)\n  redis.call('ZADD', GRANTED", "redis.call('ZADD', SLOTS, whole(now + 3000), attempt)\n  redis.call('ZADD', GRANTED"),
    "a claim goes by whoever asks": ("claim", "if not ticket or ticket.process ~= call.process or ticket.fence ~= fence then", "if not ticket then"),
    "an older owner acquires": ("acquire", "  if call.fence < ticket.fence then return { 'fenced', -1 } end\n", ""),
    "an unanswered POST is sent again": ("acquire", "elseif result == 'claimed' and new_owner then\n  result = 'unsettled'\n", ""),
    "a heartbeat names no hand-offs": ("heartbeat", "if ticket.process == call.process then", "if false then"),
    "the operator's limits are ignored": ("heartbeat", "tonumber(stored[i]) or lowest[name]", "lowest[name]"),
    "a lost state is trusted": ("gate", "local function is_trusted() return state.epoch == epoch end", "local function is_trusted() return true end"),
    "what was held is not reported": ("report", "ipairs(call.holds)", "ipairs({})"),
    "predictions nobody answers for are not counted": ("rebuild", "if runs and not attempt_of[id] then", "if false then"),
    "predictions of reporters are counted twice": ("rebuild", "if runs and not attempt_of[id] then", "if runs then"),
    "the window is not rebuilt": ("rebuild", "if #posts > number('posts') then", "if false then"),
    "nobody is waited for": ("rebuild", "if wait > 0 and not is_quiet then", "if false then"),
    "the keepsake is thrown away": ("report", "if call.keepsake ~= '' then", "if false then"),
    "the clock steps back": ("gate", "if now > number('clock') then set('clock', now) else now = number('clock') end", ""),
}  # fmt: skip


def caught(name: str, redis: Redis) -> tuple[bool, float]:
    """Whether the histories fail with this mutant in place, and after how many seconds."""
    file, standing, instead = MUTANTS[name]
    texts = {path.stem: path.read_text() for path in LUA.glob("*.lua")}
    assert texts[file].count(standing) == 1, f"{name}: stands {texts[file].count(standing)} times in {file}.lua"
    texts[file] = texts[file].replace(standing, instead)
    originals = dict(gate._SCRIPTS)
    for script in originals:
        gate._SCRIPTS[script] = Script.of_text(texts["gate"] + "\n" + texts[script])
    machine = type("Machine", (GateMachine,), {"redis": redis})
    began = time.monotonic()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=HISTORIES,
                    stateful_step_count=40,
                    deadline=None,
                    database=None,
                    derandomize=True,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                ),
            )
    except Exception:  # any failure is a catch: an assertion, or an error of the mutated script
        return True, time.monotonic() - began
    finally:
        gate._SCRIPTS.update(originals)
    return False, time.monotonic() - began


def main(word: str = "") -> int:
    """Try every mutant whose name contains `word`; returns how many survived."""
    survivors = 0
    server = RedisServer(Path(tempfile.mkdtemp(prefix="rb-")))
    with Redis.from_url(server.url, decode_responses=True) as redis:
        for name in MUTANTS:
            if word in name:
                was_caught, seconds = caught(name, redis)
                survivors += not was_caught
                print(f"{'caught' if was_caught else 'SURVIVED':9} {seconds:6.1f} s  {name}", flush=True)
    server.stop()
    return survivors


if __name__ == "__main__":
    sys.exit(min(1, main(*sys.argv[1:2])))
