"""The promises broken by hand, one line at a time, in a copy: each time a named test must fail.

python -m tests.promises            all of them; exit code 1 if one break goes unnoticed
python -m tests.promises intent     those whose name contains a word
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.support import PROJECT

JOBS, CRASH = "tests/integration/test_jobs.py", "tests/acceptance/paid_once/test_crash_points.py"
EXPIRY = "tests/integration/test_jobs_expiry.py"
TAKEOVER, BROKER = "tests/acceptance/recovery/test_takeover.py", "tests/acceptance/paid_once/test_broker_faults.py"
STEPS = "tests/integration/test_limiter_steps.py"
COPIED = ("replibatch", "workers", "tests", "pyproject.toml")


class Break(NamedTuple):
    """A promise broken.

    Attributes:
        file: where.
        standing: what stands there.
        instead: what the copy has instead.
        test: the one that must fail.
    """

    file: str
    standing: str
    instead: str
    test: str


BREAKS = {
    "P1: a slot is freed when its worker dies": Break(
        "replibatch/execution/takeover.py",
        "        if record.prediction_id:\n            self._watch(record, record.prediction_id)\n        elif",
        "        self._context.limiter.release(self._ticket(record))\n"
        "        if record.prediction_id:\n            self._watch(record, record.prediction_id)\n        elif",
        f"{TAKEOVER}::test_told_to_stop_with_fifty_predictions_running",
    ),
    "P3: no intent is left at the limiter": Break(
        "replibatch/limits/lua/limiter.lua",
        "  redis.call('ZADD', CREATING, whole(now), attempt)\n"
        "  redis.call('ZADD', SLOTS, whole(now + config.slot_ms), attempt)\n",
        "  redis.call('ZREM', SLOTS, attempt)\n",
        f"{CRASH}::test_killed_with_another_worker_alive[the POST sent]",
    ),
    "P3: an intent without an answer is not looked into": Break(
        "replibatch/execution/takeover.py",
        "elif standing in (Standing.CLAIMED, Standing.CREATED):",
        "elif False:",
        f"{CRASH}::test_killed_with_another_worker_alive[the POST sent]",
    ),
    "P3: what was sent is not written down": Break(
        "replibatch/jobs/lua/intend.lua",
        "redis.call('HSET', record_key(call.id), 'sent', call.sent, 'sent_at', whole(now))\n",
        "",
        f"{JOBS}::TestPredictions::test_what_is_sent_is_written_down_first",
    ),
    "P3: a lost create is taken for none at once": Break(
        "replibatch/execution/reconcile.py",
        "if began - search.began < self._settle_seconds or search.polls < POLLS_AT_LEAST:",
        "if False:",
        "tests/integration/test_reconcile.py::TestAbsent::test_only_after_the_settle_time_and_several_polls",
    ),
    "P3: a process that stood still sends its create": Break(
        "replibatch/replicate_api/client.py",
        "and not may_send()",
        "and False",
        f"{CRASH}::test_stands_still_until_the_others_have_made_everything",
    ),
    "P3: the fence is not checked": Break(
        "replibatch/jobs/lua/jobs.lua",
        "    and tonumber(record.fence) == call.fence\n",
        "",
        f"{JOBS}::TestFencing::test_not_even_the_same_process_in_an_earlier_custody",
    ),
    "P3: custody is not checked": Break(
        "replibatch/jobs/lua/jobs.lua",
        "return record and record.state == 'running' and record.process == call.process\n"
        "    and tonumber(record.fence) == call.fence",
        "return record and record.state == 'running'",
        f"{JOBS}::TestFencing::test_who_has_lost_custody_settles_nothing",
    ),
    "P3: a prediction can be claimed twice": Break(
        "replibatch/jobs/lua/created.lua",
        "call.attempt_key, 'NX', 'PX'",
        "call.attempt_key, 'PX'",
        f"{JOBS}::TestPredictions::test_one_is_claimed_once",
    ),
    "P3: a message delivered twice is worked on twice": Break(
        "replibatch/jobs/lua/take.lua",
        "if record.state == 'queued' or record.state == 'publishing' then",
        "if record.state ~= 'succeeded' then",
        f"{JOBS}::TestTake::test_of_two_equal_messages_one_works",
    ),
    "P3: an attempt's prediction is not recorded": Break(
        "replibatch/jobs/lua/created.lua",
        "redis.call('HSET', record_key(call.id), 'prediction', call.prediction, 'created', whole(now))\n",
        "",
        f"{JOBS}::TestPredictions::test_one_is_claimed_once",
    ),
    "P4: a lost message stays lost": Break(
        "replibatch/jobs/lua/lost.lua",
        "if record and (record.state == 'queued' or record.state == 'publishing') then",
        "if false then",
        f"{BROKER}::test_messages_lost_between_the_pop_and_the_task[all]",
    ),
    "P4: a result expires before its batch is over": Break(
        "replibatch/jobs/lua/settle.lua",
        "if not record.batch and not record.followers then",
        "if true then",
        f"{EXPIRY}::test_results_last_as_long_as_the_batch_that_wants_them",
    ),
    "P4: the dead are not taken over": Break(
        "replibatch/execution/takeover.py",
        "(context.waiting_room.heartbeat.is_steady and not context.limiter.alive(process))",
        "False",
        f"{CRASH}::test_killed_with_another_worker_alive[waiting for the prediction]",
    ),
    "P4: who ends gives nothing back": Break(
        "replibatch/jobs/lua/give_back.lua",
        "  add_to_custody(id, '')\n",
        "",
        f"{JOBS}::TestDeath::test_what_one_that_ends_gives_back_the_next_takes_as_it_is",
    ),
    "P5: what is taken over waits for a thread": Break(
        "replibatch/execution/takeover.py",
        "        if record.prediction_id:\n            self._watch(record, record.prediction_id)\n        elif",
        "        if record.prediction_id:\n            self._requeue(record)\n        elif",
        f"{TAKEOVER}::test_who_holds_every_slot_goes_while_every_thread_of_the_other_waits[SIGKILL]",
    ),
    "Steps: a failed attempt leaves the money of its item to anybody": Break(
        "replibatch/limits/lua/limiter.lua",
        "  move_from_slot(attempt, ticket, cost)\n",
        "",
        f"{STEPS}::test_an_attempt_that_cost_nothing_leaves_the_money_with_its_item",
    ),
    "Steps: an attempt that ends late brings its money to the one that followed": Break(
        "replibatch/limits/lua/ahead.lua",
        "if held and at == number_of(attempt) then",
        "if held then",
        f"{STEPS}::test_an_attempt_that_ends_late_brings_nothing_to_the_one_that_has_followed",
    ),
}


def failure(test: str, broken: Break | None = None) -> str:
    """How the test fails in a copy, with this break or as it is; empty where it passes."""
    with tempfile.TemporaryDirectory(prefix="rb-") as folder:
        copy = Path(folder)
        for name in COPIED:
            source = PROJECT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
        if broken:
            path = copy / broken.file
            text = path.read_text()
            assert text.count(broken.standing) == 1, f"stands {text.count(broken.standing)} times in {broken.file}"
            path.write_text(text.replace(broken.standing, broken.instead))
        command = [sys.executable, "-P", "-m", "pytest", "-q", "-m", "", "-p", "no:cacheprovider", test]
        done = subprocess.run(command, cwd=copy, stdout=subprocess.PIPE, text=True, check=False)
    # 1: tests ran, and failed; anything but that or a success is no proof.
    assert done.returncode in (0, 1), done.stdout
    marked = [line.strip() for line in done.stdout.splitlines() if line.startswith((">", "E  "))]
    return " ".join(" ".join(marked).split()) if done.returncode else ""


def main(word: str = "") -> int:
    """Try every break whose name contains `word`; returns how many went unnoticed, or could not be told."""
    as_it_is = functools.cache(failure)
    missed = 0
    for name, broken in BREAKS.items():
        if word not in name:
            continue
        began = time.monotonic()
        if fault := as_it_is(broken.test):
            verdict, why = "NO PROOF", f"fails as it is: {fault}"
        else:
            why = failure(broken.test, broken)
            verdict = "caught" if why else "UNNOTICED"
        missed += verdict != "caught"
        print(f"{verdict:9} {time.monotonic() - began:6.1f} s  {name}")
        print(f"          {broken.test}: {why[:240]}", flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(min(1, main(*sys.argv[1:2])))
