"""Lua scripts: run by their SHA, and by their text whenever Redis has forgotten them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from replibatch.redisdb.connection import connect
from replibatch.redisdb.scripts import Script, Step, run_together


@pytest.fixture
def redis(redis_url: str) -> Redis:
    client = connect(redis_url)
    client.script_flush()
    return client


# Safe to repeat, as every script has to be.
KEEP = Script.of_text("redis.call('SET', KEYS[1], ARGV[1]) return 'kept ' .. ARGV[1]")
READ = Script.of_text("return redis.call('GET', KEYS[1])")
FAIL = Script.of_text("return redis.error_reply('ERR refused')")


class TestOne:
    def test_it_is_loaded_when_redis_does_not_know_it(self, redis):
        assert KEEP(redis, ["a"], [1]) == "kept 1"
        assert redis.script_exists(KEEP.sha) == [True]
        assert KEEP(redis, ["a"], [2.5]) == "kept 2.5"

    def test_it_survives_a_flush(self, redis):
        KEEP(redis, ["a"], ["x"])
        redis.script_flush()
        assert KEEP(redis, ["a"], ["y"]) == "kept y"

    def test_its_own_error_is_raised(self, redis):
        with pytest.raises(ResponseError, match="refused"):
            FAIL(redis, [], [])

    def test_the_scripts_of_a_package_are_found(self, redis):
        read = Script("replibatch.limits", "read")
        assert read(redis, [""], ['{"window_ms": 1000, "limit": 1}']) == 0
        assert read(redis, [""], ['{"window_ms": 1000, "limit": 1}']) > 0


class TestTogether:
    def test_they_answer_in_their_order(self, redis):
        steps = [Step(KEEP, ["a"], ["1"]), Step(READ, ["a"], []), Step(KEEP, ["b"], ["2"])]
        assert run_together(redis, *steps) == ["kept 1", "1", "kept 2"]

    @pytest.mark.parametrize("known", [[], [KEEP], [READ], [KEEP, READ]], ids=["none", "first", "last", "all"])
    def test_whichever_redis_has_forgotten(self, redis, known):
        for script in known:
            redis.script_load(script.text)
        assert run_together(redis, Step(KEEP, ["a"], ["1"]), Step(READ, ["a"], [])) == ["kept 1", "1"]

    def test_one_alone(self, redis):
        assert run_together(redis, Step(KEEP, ["a"], ["1"])) == ["kept 1"]
        redis.script_flush()
        assert run_together(redis, Step(READ, ["a"], [])) == ["1"]

    def test_a_flush_in_between(self, redis):
        for value in ("1", "2", "3"):
            assert run_together(redis, Step(KEEP, ["a"], [value]), Step(READ, ["a"], [])) == [f"kept {value}", value]
            redis.script_flush()

    def test_flushes_at_any_moment(self, redis_url, redis):
        over = threading.Event()

        def flush() -> None:
            with connect(redis_url) as other:
                while not over.is_set():
                    other.script_flush()

        with ThreadPoolExecutor(1) as flushing:
            flushed = flushing.submit(flush)
            try:
                for value in map(str, range(500)):
                    assert run_together(redis, Step(KEEP, ["a"], [value]), Step(READ, ["a"], [])) == [
                        f"kept {value}",
                        value,
                    ]
                    assert READ(redis, ["a"], []) == value
            finally:
                over.set()
        flushed.result()

    def test_they_are_one_transaction(self, redis_url, redis):
        """Nobody sees the first done and the second not."""
        run_together(redis, Step(KEEP, ["a"], ["0"]), Step(KEEP, ["b"], ["0"]))
        executed = []
        with redis.monitor() as monitor:
            run_together(connect(redis_url), Step(KEEP, ["a"], ["1"]), Step(KEEP, ["b"], ["1"]))
            while "EXEC" not in executed:
                executed.append(monitor.next_command()["command"].partition(" ")[0].upper())
        assert executed[executed.index("MULTI") :][:2] == ["MULTI", "EVALSHA"]
        assert executed.count("MULTI") == 1

    def test_an_error_of_one_is_raised(self, redis):
        redis.script_load(FAIL.text)
        with pytest.raises(ResponseError, match="refused"):
            run_together(redis, Step(KEEP, ["a"], ["1"]), Step(FAIL, [], []))
