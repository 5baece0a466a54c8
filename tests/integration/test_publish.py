"""Messages: what Celery is told of Redis, what a plain Celery app reads of a message, and what is not in it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from kombu.transport.redis import Transport
from redis import Redis
from redis.sentinel import MasterNotFoundError, Sentinel

from replibatch.broker import transport
from replibatch.broker.app import celery_url, make_app
from replibatch.broker.publish import BULK, HEAD, SINGLE, TASK, queue_lists, send
from replibatch.embedded.server import find_server, free_port
from replibatch.jobs import Message
from replibatch.redisdb.connection import connect
from replibatch.settings import load
from tests.support.account import TOKEN
from tests.support.catalogue import FLUX, QWEN
from tests.support.sandbox_caller import wait_for


def round_trip(app: Celery) -> None:
    """A message through the broker, and a result through the backend."""
    message = Message("some-id", 1, FLUX, SINGLE)
    send(app, [message])
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue(app.conf.task_default_queue)
        got = queue.get(timeout=5)
        got.ack()
        queue.close()
    assert got.payload[0] == ["some-id", 1]
    app.backend.store_result("some-id", 7, "SUCCESS")
    assert app.AsyncResult("some-id").get(timeout=5) == 7
    app.AsyncResult("some-id").forget()


class TestAddresses:
    @pytest.mark.parametrize(
        ("ours", "celerys"),
        [
            ("redis://:pw@host:6379/1", "redis://:pw@host:6379/1"),
            ("unix:///a/r.sock", "redis+socket:///a/r.sock?virtual_host=0"),
            ("unix://:pw@/a%20b/r.sock?db=3", "redis+socket://:pw@/a%20b/r.sock?virtual_host=3"),
            ("redis+socket:///a?virtual_host=1", "redis+socket:///a?virtual_host=1"),
            ("rediss://host", "rediss://host?ssl_cert_reqs=required"),
            ("rediss://host/0?ssl_ca_certs=/ca", "rediss://host/0?ssl_ca_certs=/ca&ssl_cert_reqs=required"),
            ("rediss://host?ssl_cert_reqs=none", "rediss://host?ssl_cert_reqs=none"),
            ("sentinel://one/mymaster", "sentinel://one:26379/0"),
            (
                "sentinel://u:p%2Fw@one:1,two:2/mymaster/4?sentinel_password=sp",
                "sentinel://u:p%2Fw@one:1/4;sentinel://u:p%2Fw@two:2/4",
            ),
        ],
    )
    def test_they_are_spelled_as_celery_does(self, ours, celerys):
        assert celery_url(ours) == celerys

    @pytest.mark.parametrize("url", ["redis://host", "rediss://host", "unix:///a", "sentinel://one,two/mymaster"])
    def test_celery_makes_broker_and_backend_of_each(self, url):
        app = make_app(load(), url)
        assert app.backend.connparams
        with app.connection_for_write() as connection:
            assert issubclass(connection.get_transport_cls(), Transport)

    def test_each_client_of_sentinels_gets_the_masters_name_and_the_sentinels_password(self):
        app = make_app(load(), "sentinel://one:1,two:2/mymaster?sentinel_password=sp")
        for options in (app.conf.broker_transport_options, app.conf.result_backend_transport_options):
            assert options["master_name"] == "mymaster"
            assert options["sentinel_kwargs"]["password"] == "sp"
        assert [(host["host"], host["port"]) for host in app.backend.connparams["hosts"]] == [("one", 1), ("two", 2)]


@pytest.fixture
def sentinel_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis with a password, watched by a sentinel with another."""
    folder = tmp_path_factory.mktemp("sentinel")
    server = find_server(folder)
    assert server is not None
    port, sentinel_port = free_port(), free_port()
    common = f"bind 127.0.0.1\ndir {folder}\n"
    master = write_config(folder / "master.conf", f'{common}port {port}\nrequirepass pw\nsave ""\n')
    sentinel = write_config(
        folder / "sentinel.conf",
        f"{common}port {sentinel_port}\nrequirepass sp\n"
        f"sentinel monitor mymaster 127.0.0.1 {port} 1\nsentinel auth-pass mymaster pw\n",
    )
    processes = [
        subprocess.Popen([server, *arguments], stdout=subprocess.DEVNULL)
        for arguments in ([master], [sentinel, "--sentinel"])
    ]
    try:
        wait_for(lambda: knows_master(sentinel_port))
        yield f"sentinel://:pw@127.0.0.1:{free_port()},127.0.0.1:{sentinel_port}/mymaster/2?sentinel_password=sp"
    finally:
        for process in processes:
            process.terminate()
            process.wait(timeout=10)


def write_config(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def knows_master(sentinel_port: int) -> bool:
    sentinel = Sentinel([("127.0.0.1", sentinel_port)], sentinel_kwargs={"password": "sp"})
    try:
        return bool(sentinel.master_for("mymaster", password="pw").ping())
    except MasterNotFoundError:
        return False


class TestServers:
    def test_a_socket(self, redis_url):
        round_trip(make_app(load(), redis_url))

    def test_sentinels_of_which_the_first_is_gone(self, sentinel_url):
        """Ours and Celery's clients reach the same database of the same master."""
        redis = connect(sentinel_url)
        redis.set("ours", 1)
        app = make_app(load(), sentinel_url)
        round_trip(app)
        app.backend.store_result("kept", 7, "SUCCESS")
        assert set(redis.keys("*")) >= {"ours", "celery-task-meta-kept"}
        app.close()


class TestWorkers:
    @pytest.mark.parametrize("through", ["a socket", "sentinels"])
    def test_nothing_is_kept_of_messages_that_need_no_acknowledgement(self, through, request):
        """A worker takes any number of them in its life."""
        url = request.getfixturevalue("redis_url" if through == "a socket" else "sentinel_url")
        app = make_app(load(), url)
        if through == "a socket":
            app.conf.broker_url = transport.with_lasting_clients(app.conf.broker_url)
        send(app, [Message(f"job-{number}", 1, FLUX, SINGLE) for number in range(5)])
        with app.connection_for_read() as connection, app.amqp.TaskConsumer(connection.channel()) as consumer:
            taken = []
            consumer.register_callback(lambda _, message: taken.append(message) or message.ack())
            while len(taken) < 5:
                connection.drain_events(timeout=10)
            assert not consumer.channel.qos._delivered and not consumer.channel.qos._dirty
        app.close()


class TestMessages:
    def test_a_plain_celery_app_that_knows_nothing_of_ours_reads_it(self, redis_url):
        app = make_app(load(account="mine"), redis_url)
        send(app, [Message("job-1", 2, QWEN, SINGLE)])
        plain = Celery(broker=celery_url(redis_url), set_as_current=False)
        with plain.connection_for_read() as connection:
            queue = connection.SimpleQueue("replibatch:mine@api.replicate.com")
            message = queue.get(timeout=5)
            message.ack()
            queue.close()
        assert message.content_type == "application/json"
        headers = message.headers
        assert (headers["id"], headers["task"], headers["retries"]) == ("job-1", TASK, 1)
        assert headers["shadow"] == f"generate[{QWEN}]"
        assert QWEN in headers["argsrepr"]
        assert (headers["eta"], headers["expires"], headers["ignore_result"]) == (None, None, True)
        assert message.payload[:2] == [["job-1", 2], {}]

    def test_accounts_and_servers_have_queues_of_their_own(self, redis_url):
        settings = [load(), load(account="b"), load(replicate_base_url="http://127.0.0.1:1")]
        assert len({make_app(one, redis_url).conf.task_default_queue for one in settings}) == 3

    def test_no_secret_travels(self, redis_url, monkeypatch):
        monkeypatch.setenv("REPLICATE_API_TOKEN", TOKEN)
        app = make_app(load(), redis_url)
        send(app, [Message(f"job-{number}", 1, FLUX, BULK) for number in range(3)])
        app.backend.store_result("job-0", {"files": []}, "SUCCESS")
        redis = Redis.from_url(redis_url)
        stored = [redis.dump(key) for key in redis.keys("*")]
        texts = [row for key in redis.keys("*") if redis.type(key) == b"list" for row in redis.lrange(key, 0, -1)]
        assert len(texts) == 3
        assert all(json.loads(text)["headers"]["lang"] == "py" for text in texts)
        for content in stored + texts:
            assert TOKEN.encode() not in content
        assert TOKEN not in repr(app.conf)

    def test_urgent_ones_come_first_and_equals_in_their_order(self, redis_url):
        app = make_app(load(), redis_url)
        priorities = {"b1": BULK, "s1": SINGLE, "b2": BULK, "h1": HEAD, "s2": SINGLE}
        send(app, [Message(name, 1, FLUX, priority) for name, priority in priorities.items()])
        with app.connection_for_read() as connection:
            channel = connection.channel()
            queue = app.amqp.queues[app.conf.task_default_queue](channel)
            order = []
            while message := queue.get(no_ack=True):
                order.append(message.headers["id"])
        assert order == ["h1", "s1", "s2", "b1", "b2"]

    def test_the_lists_of_the_queue_are_where_the_messages_are(self, redis_url):
        """Those that the records looks for lost messages in are those that kombu writes."""
        app = make_app(load(), redis_url)
        send(app, [Message(f"job-{priority}", 1, FLUX, priority) for priority in (HEAD, SINGLE, BULK)])
        redis = connect(redis_url)
        for priority, name in queue_lists(load()).items():
            (text,) = redis.lrange(name, 0, -1)
            assert json.loads(text)["headers"]["id"] == f"job-{priority}"

    def test_a_result_is_kept_as_long_as_the_settings_say(self, redis_url):
        app = make_app(load(keep_days=0.5), redis_url)
        app.backend.store_result("id", 1, "SUCCESS")
        assert 43_000 < Redis.from_url(redis_url).ttl("celery-task-meta-id") <= 43_200

    def test_pickle_is_refused(self, redis_url):
        assert make_app(load(), redis_url).conf.accept_content == ["json"]

    def test_making_an_app_does_not_take_over_the_applications_own(self, redis_url):
        code = (
            "import celery; own = celery.Celery('own'); own.set_default(); "
            "from replibatch.broker.app import make_app; from replibatch.settings import load; "
            f"make_app(load(), {redis_url!r}); assert celery.current_app.main == 'own'"
        )
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", code], check=True)
        assert time.monotonic() - began < 30
