"""Mutants of the limiter's Lua: each check taken out, one at a time, must be caught by the histories.

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

from replibatch.limits import scripts
from replibatch.redisdb.scripts import COMMON, Script
from tests.histories.run import run_histories, tell
from tests.histories.stories import STORIES
from tests.support.redis_server import RedisServer

LUA = Path(scripts.__file__).parent / "lua"
HISTORIES = 200

# name: (file, what stands there, what the mutant has instead)
MUTANTS: dict[str, tuple[str, str, str]] = {
    "slots are not counted": ("limiter", "if redis.call('ZCARD', SLOTS) >= max_concurrent() then break end", ""),
    "one slot too many": ("limiter", "redis.call('ZCARD', SLOTS) >= max_concurrent()", "redis.call('ZCARD', SLOTS) > max_concurrent()"),
    "the window is not counted": ("limiter", "if open + number('posts') >= per_window()", "if open >= per_window()"),
    "open creates are not counted": ("limiter", "if open + number('posts') >= per_window()", "if number('posts') >= per_window()"),
    "hand-offs are not counted": ("limiter", "local open = redis.call('ZCARD', GRANTED) + redis.call", "local open = redis.call"),
    "intents are not counted": ("limiter", "local open = redis.call('ZCARD', GRANTED) + redis.call('ZCARD', CREATING)", "local open = redis.call('ZCARD', GRANTED)"),
    "a POST leaves the window early": ("limiter", "local time = math.ceil((at or now) / bucket_ms) * bucket_ms", "local time = now - 1000"),
    "an answer is not counted": ("answer", "count_post(not call.created)", ""),
    "a refused POST is not counted": ("answer", "count_post(not call.created)", "if call.created then count_post(false) end"),
    "cooldown is ignored by the line": ("limiter", "if now < number('cooldown_until') then at(number('cooldown_until')) break end", ""),
    "cooldown is ignored by a claim": ("limiter", "if now < number('cooldown_until') or not is_trusted() or is_out", "if not is_trusted() or is_out"),
    "a cooldown may shrink": ("answer", "math.max(number('cooldown_until'), now + wait)", "now + wait"),
    "a stop is ignored by a claim": ("limiter", "  if state.stopped then\n    give_slot_back(attempt, ticket, 0)\n    drop(attempt)\n    return 'stopped'\n  end\n", ""),
    "a stop is ignored by the line": ("limiter", "elseif state.stopped then", "elseif false then"),
    "the budget is not checked": ("limiter", "if (tonumber(taken[1]) or 0) + (tonumber(taken[2]) or 0) + amount > state.budget then return false end", ""),
    "what is reserved is not counted": ("limiter", "(tonumber(taken[1]) or 0) + (tonumber(taken[2]) or 0) + amount > state.budget", "(tonumber(taken[1]) or 0) + amount > state.budget"),
    "nothing is reserved": ("limiter", "  reserve(ticket, 1)\n", ""),
    "what was reserved stays so": ("limiter", "  reserve(ticket, -1)\n", ""),
    "a cost is settled whoever asks": ("release", "if not owns(ticket) then return { 0, pump() } end", "if not ticket then return { 0, pump() } end"),
    "a cost is not settled": ("release", "  spend(ticket, call.cost)\n", ""),
    "an answer counts whoever gives it": ("answer", "if not owns(ticket) or not redis.call", "if not ticket or not redis.call"),
    "an answer counts twice": ("answer", " or not redis.call('ZSCORE', CREATING, call.attempt) then", " then"),
    "a hand-off to another process is claimed for it": ("limiter", "local is_awake = ticket.process == call.process", "local is_awake = true"),
    "a heartbeat does not name what was claimed for its process": ("heartbeat", "ipairs({ GRANTED, CREATING })", "ipairs({ GRANTED })"),
    "the dead are granted slots": ("limiter", "if not is_alive(ticket.process) then\n      drop(head)", "if false then\n      drop(head)"),
    "the silent are handed slots": ("limiter", "elseif not heard_within(ticket.process, config.claim_ms) then", "elseif false then"),
    "the silent hold up the line": ("limiter", "config.claim_ms) then\n      passed_over = passed_over + 1\n", "config.claim_ms) then\n      break\n"),
    "last come, first served": ("limiter", "redis.call('ZRANGE', WAITERS, passed_over, passed_over)[1]", "redis.call('ZRANGE', WAITERS, -1 - passed_over, -1 - passed_over)[1]"),
    "priority is ignored": ("limiter", "priority * 4398046511104 + number('arrivals')", "number('arrivals')"),
    "who is throttled loses the place": ("limiter", "  redis.call('ZADD', WAITERS, whole(ticket.order), attempt)\nend", "  redis.call('ZADD', WAITERS, whole(ticket.order + 4398046511104 * 9), attempt)\nend"),
    "a hand-off never lapses": ("limiter", "redis.call('ZRANGEBYSCORE', GRANTED, '-inf', whole(now))", "{}"),
    "a lapsed hand-off keeps its slot": ("limiter", "local function back_in_line(attempt, ticket)\n  give_slot_back(attempt, ticket, 0)", "local function back_in_line(attempt, ticket)\n  redis.call('ZREM', GRANTED, attempt)"),
    "a slot never lapses": ("limiter", "redis.call('ZRANGEBYSCORE', SLOTS, '-inf', whole(now))", "{}"),
    "a slot lapses too early": ("limiter", "  redis.call('ZADD', SLOTS, whole(now + config.slot_ms), attempt)\n  set('total'", "  redis.call('ZADD', SLOTS, whole(now + config.slot_ms - 1000), attempt)\n  set('total'"),
    "a claim goes by whoever asks": ("claim", "if not ticket or ticket.process ~= call.process or ticket.fence ~= fence then", "if not ticket then"),
    "an older owner acquires": ("acquire", "if ticket and call.fence < ticket.fence then return { 'fenced', -1 } end\n", ""),
    "an unanswered POST is sent again": ("acquire", "elseif result == 'claimed' and was_claimed then\n  result = 'unsettled'\n", ""),
    "a heartbeat names no hand-offs": ("heartbeat", "if ticket.process == call.process then", "if false then"),
    "the operator's limits are ignored": ("in_force", "tonumber(stored[i]) or lowest[name]", "lowest[name]"),
    "a lost state is trusted": ("state", "local function is_trusted() return state.epoch == epoch end", "local function is_trusted() return true end"),
    "what was held is not reported": ("report", "ipairs(call.holds)", "ipairs({})"),
    "predictions nobody answers for are not counted": ("rebuild", "if runs and not attempt_of[id] then", "if false then"),
    "predictions of reporters are counted twice": ("rebuild", "if runs and not attempt_of[id] then", "if runs then"),
    "the window is not rebuilt": ("rebuild", "if #posts < #kept then", "if true then"),
    "the window of an older copy is forgotten": ("rebuild", "if #posts < #kept then posts = kept end", ""),
    "nobody is waited for": ("rebuild", "if wait > 0 and", "if false and"),
    "the snapshot is thrown away": ("report", "if call.snapshot ~= '' then", "if false then"),
    "the clock steps back": ("state", "if now > number('clock') then set('clock', now) else now = number('clock') end", ""),
    "a hand-off's slot lapses from the hand-off": ("limiter", "  redis.call('ZADD', SLOTS, whole(now + config.slot_ms), attempt)\n  set('total'", "  set('total'"),
    "who acquires in a stop is not told": ("acquire", "  if state.stopped then return { 'stopped', -1 } end\n", ""),
    "who can never be granted waits": ("acquire", "  if not affordable(ticket, wanted < 0 and -1 or to_reserve(call.attempt, wanted)) then return { 'unaffordable', -1 } end\n", ""),
    "an older owner adopts": ("adopt", "if call.fence < ticket.fence then return 'fenced' end\n", ""),
    "a slot that lapses costs nothing": ("limiter", "    spend(ticket, ticket.price) -- unknown whether it was charged: counted as if\n", ""),
    "a budget has no cap": ("limiter", "amount > tonumber(budget[1]) then", "false then"),
    "what a budget has spent is not counted": ("limiter", "(tonumber(budget[2]) or 0) + (tonumber(budget[3]) or 0)", "(tonumber(budget[3]) or 0)"),
    "what is reserved of a budget is not counted": ("limiter", "(tonumber(budget[2]) or 0) + (tonumber(budget[3]) or 0)", "(tonumber(budget[2]) or 0)"),
    "the unaffordable hold up the line": ("limiter", "    elseif not affordable(ticket, ticket.price < 0 and -1 or to_reserve(head, ticket.price)) then\n      turn_away(head, ticket, 'unaffordable')\n", "    elseif not affordable(ticket, ticket.price < 0 and -1 or to_reserve(head, ticket.price)) then\n      break\n"),
    "the price of who waits is not looked at again": ("limiter", "elseif not affordable(ticket, ticket.price < 0 and -1 or to_reserve(head, ticket.price)) then", "elseif false then"),
    "a waiter's withdrawal frees a slot": ("release", "if redis.call('ZSCORE', SLOTS, call.attempt) then", "do"),
    "all at once after a 429": ("limiter", "      if state.ramp and open >= state.ramp then break end\n", ""),
    "gently for ever": ("answer", "state.ramp < limit and wider or nil", "state.ramp"),
    "a process that leaves stays": ("heartbeat", "  redis.call('ZREM', PROCESSES, call.process)\n", ""),
    "the limits of the dead hold": ("in_force", "    if is_alive(process) then\n      for name", "    if true then\n      for name"),
    "the highest limit holds": ("in_force", "value < lowest[name]", "value > lowest[name]"),
    "limits are not looked at again": ("in_force", "if state[name] ~= value then set(name, value) end", ""),
    "a claim believes a lost state": ("limiter", "if now < number('cooldown_until') or not is_trusted() or is_out", "if now < number('cooldown_until') or is_out"),
    "a report to a trusted state counts": ("report", "if is_trusted() then return 0 end\n", ""),
    "a trusted state is rebuilt": ("rebuild", "if is_trusted() then\n  save()\n  return { -1, {} }\nend\n", ""),
    "any snapshot will do": ("report", "if kept.clock > number('restored') then", "do"),
    "an older copy's limits stay": ("report", "if not PASSING[field] then set(field, tonumber(limits[field]) or limits[field]) end", "if not PASSING[field] and limits[field] then set(field, tonumber(limits[field]) or limits[field]) end"),
    "an older copy's stored limits stay": ("report", "    redis.call('DEL', key('limits', 'stored'))\n", ""),
    "what was spent is forgotten": ("report", "if kept.spend[i] ~= 'reserved' then", "if false then"),
    "an earlier owner's report counts": ("report", "if fence >= ticket.fence then", "do"),
    "what is held again is not reserved": ("report", "      reserve(ticket, 1)\n", ""),
    "what is held is reserved twice": ("report", "if not redis.call('ZSCORE', SLOTS, attempt) then\n      reserve", "do\n      reserve"),
    "who holds waits too": ("report", "    redis.call('ZREM', WAITERS, attempt)\n", ""),
    "a hand-off of an older copy lapses though it is held": ("report", "    redis.call('ZREM', GRANTED, attempt)\n", ""),
    "an intent is not reported": ("report", "      redis.call('ZADD', CREATING, 'NX', whole(now), attempt)\n", ""),
    "an older copy's intent stays": ("report", "      redis.call('ZREM', CREATING, attempt)\n", ""),
    "an older copy's slot lapses too early": ("report", "    redis.call('ZADD', SLOTS, whole(now + config.slot_ms), attempt)\n    if prediction", "    redis.call('ZADD', SLOTS, 'NX', whole(now + config.slot_ms), attempt)\n    if prediction"),
    "what was given back since stays": ("report", "if ticket.process == call.process and not knows[attempt] then", "if false then"),
    "who waits keeps an older copy's slot": ("report", "elseif ticket.process == call.process and knows[attempt] == 'waits' and standing(attempt) ~= 'waiting' then", "elseif false then"),
    "a new process waits for nobody": ("rebuild", "not (is_quiet and call.is_new)", "not is_quiet"),
    "refused POSTs are forgotten": ("rebuild", "for _ = #refused + 1, number('restored_refused') do", "for _ = 1, 0 do"),
    "predictions beyond the list are not counted": ("rebuild", "for _ in pairs(attempt_of) do posts[#posts + 1] = now end", ""),
    "a prediction is counted twice once its answer comes": ("answer", "  if orphan then\n", "  if false then\n"),
    "an outage is ignored by the line": ("limiter", "    elseif is_out(head, ticket) then\n      at(next_probe(ticket))\n      passed_over = passed_over + 1\n", ""),
    "who yields waits for its model": ("limiter", "    elseif is_out(head, ticket) and yields(head, ticket) then\n      turn_away(head, ticket, 'out')\n", ""),
    "who yields leaves whatever is out": ("limiter", "    if outage ~= model then return false end\n", ""),
    "who does not yield leaves": ("limiter", "  return redis.call('SISMEMBER', key('yielding'), item_of(attempt)) == 1\n", "  return true\n"),
    "in an outage a refused probe is followed by another at once": ("answer", "  put_off_probe(call.attempt, ticket)\n", ""),
    "an outage is ignored by a claim": ("limiter", " or is_out(attempt, ticket) then", " then"),
    "an outage holds up the line": ("limiter", "      at(next_probe(ticket))\n      passed_over = passed_over + 1\n", "      at(next_probe(ticket))\n      break\n"),
    "in an outage every waiter probes": ("outages", "return is_probing(outage) and math.max(outage.probe_until, outage.probe_at) or outage.probe_at", "return outage.probe_at"),
    "in an outage no attempt probes": ("outages", "if outage.probe ~= attempt and now < free_at(outage) then return true end", "if outage.probe ~= attempt then return true end"),
    "in an outage a probe comes at once": ("outages", "      outage.probe_at = now + outage.pause_ms\n", "      outage.probe_at = now\n"),
    "in an outage the next probe does not await the report of the last": ("outages", "  outage.probe_at = math.max(outage.probe_at, now + FIRST_PAUSE_MS)\n", ""),
    "in an outage a probe is waited for forever": ("outages", "      outage.probe_until = now + (name == model and config.slot_ms or PROBE_MS)\n", "      outage.probe_until = now + config.slot_ms\n"),
    "the outage of a model holds every attempt": ("outages", "  local model = outages['model:' .. ticket.model]\n  if model", "  local model = outages['model:m']\n  if model"),
    "the outage of a model holds none": ("outages", "  if model and model.is_out then found[#found + 1] = model end\n", ""),
    "a success ends no outage": ("outages", "  redis.call('HDEL', OUTAGES, name)\n", ""),
    "an answered create ends no outage": ("answer", "  report_success('api')\n  report_model", "  report_model"),
    "a 429 ends no outage": ("answer", "  report_success('api')\n  set('throttled'", "  set('throttled'"),
    "a success of its model ends no outage": ("release", "    report_model_works(ticket, false)\n", ""),
    "a failure reported again counts again": ("fault", "'NX', whole(now), call.id) == 1 then", "whole(now), call.id) and true then"),
    "an accepted create does not show that its model is there": ("answer", "  report_model_works(ticket, true)\n", ""),
    "a success of what was created before its model went brings it back": ("outages", "(outage.kind == MISSING) == is_create then", "true then"),
    "a failure of what was created before its model went begins the count anew": ("outages", "fault.kind ~= MISSING and (outage.is_out or now - outage.last <= FORGET_MS) then", "false then"),
    "a stop cannot be lifted": ("resume", "  set('stopped', nil)\n", ""),
    "a start lifts any stop": ("resume", "(call.only == '' or state.stopped == call.only)", "true"),
    "a later stop hides the first": ("stop", "if not state.stopped then", "do"),
    "a cooldown outlasts the stop": ("resume", "  set('cooldown_until', nil)\n", ""),
}  # fmt: skip


def caught(name: str, url: str) -> tuple[bool, float]:
    """Whether the histories fail with this mutant in place, and after how many seconds."""
    file, standing, instead = MUTANTS[name]
    texts = {path.stem: path.read_text() for path in LUA.glob("*.lua")}
    assert texts[file].count(standing) == 1, f"{name}: stands {texts[file].count(standing)} times in {file}.lua"
    texts[file] = texts[file].replace(standing, instead)
    originals = dict(scripts.SCRIPTS)
    for script in originals:
        scripts.SCRIPTS[script] = Script.of_text(
            "\n".join([COMMON, *(texts[part] for part in scripts.FILES[script])])
        )
    began = time.monotonic()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            _tell_all(url)
    except Exception:  # any failure is a catch: an assertion, or an error of the mutated script
        return True, time.monotonic() - began
    finally:
        scripts.SCRIPTS.update(originals)
    return False, time.monotonic() - began


def _tell_all(url: str) -> None:
    for story in STORIES:
        tell(url, story)
    run_histories(url, HISTORIES, repeatable=True)


def main(word: str = "") -> int:
    """Try every mutant whose name contains `word`; returns how many survived."""
    names = [name for name in MUTANTS if word in name]
    survivors = 0
    server = RedisServer(Path(tempfile.mkdtemp(prefix="rb-")))
    try:
        _tell_all(server.url)  # as it is, it passes: what fails below is the mutant
        for name in names:
            was_caught, seconds = caught(name, server.url)
            server.kill()  # it may be in a script that does not end
            server.restart()
            survivors += not was_caught
            print(f"{'caught' if was_caught else 'SURVIVED':9} {seconds:6.1f} s  {name}", flush=True)
    finally:
        server.stop()
    print(f"{len(names)} mutants, {len(names) - survivors} caught")
    return survivors


if __name__ == "__main__":
    sys.exit(min(1, main(*sys.argv[1:2])))
