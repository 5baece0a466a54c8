"""Flower and the page of the account: who may read it, what it shows, what Revoke does."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import flower.urls
import pytest
from playwright.sync_api import Browser, expect

import replibatch
from replibatch import Batch, BatchRequest
from replibatch.broker.app import make_app
from replibatch.sandbox import Sandbox
from replibatch.settings import load
from tests.support.flower_server import LOGIN, FlowerServer, basic
from tests.support.waiting import until

MODEL = "qwen/qwen-image"
PROMPT = "A harbour that only its painter may see"
SECRETS = ("r8_of_the_tests", LOGIN[1])

StartFlower = Callable[..., FlowerServer]
StartWorker = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start_flower(fleet: str, tmp_path: Path) -> Iterator[Callable[..., FlowerServer]]:
    """Starts Flower with these variables, ready when this returns; ends it afterwards."""
    servers: list[FlowerServer] = []

    def start(*by: str, **environment: str) -> FlowerServer:
        servers.append(FlowerServer(tmp_path, environment, by or ("replibatch", "flower")))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def submit(count: int, *prompts: str) -> Batch:
    requests = [BatchRequest(f"{PROMPT} {number}", MODEL) for number in range(count)]
    return replibatch.enqueue_batch([*requests, *(BatchRequest(prompt, MODEL) for prompt in prompts)])


def every_address() -> list[str]:
    """A real address for each route of Flower's own, and of ours."""
    patterns = [route.regex.pattern if hasattr(route, "regex") else route[0] for route in flower.urls.handlers]
    known = {re.sub(r"\([^()]*\)", "anything", pattern.rstrip("$")).replace("/?", "") for pattern in patterns}
    return sorted(
        {address.replace(".*", "/nowhere") for address in known} - {"/login", "/logout"}
        | {
            "/replibatch",
            "/replibatch/fleet.json",
            "/replibatch/picture/anything/0",
            "/replibatch/static/replibatch.css",
            "/replibatch/static/replibatch.js",
            "/static/css/flower.css",
            "/favicon.ico",
            "/robots.txt",
        }
    )


WRONG_LOGINS = (
    None,
    *(basic(login) for login in ("operator:wrong", ":", "operator:", "operator:pässword", "nobody:correct horse")),
    *("Basic", "Basic !!!", "Basic a b", "Bearer abc", basic(":".join(LOGIN)).replace("Basic", "Digest")),
)


def test_without_the_password_nothing_can_be_read(start_flower: StartFlower, sandbox: Sandbox) -> None:
    submit(1)
    server = start_flower()
    addresses = every_address()
    assert len(addresses) > 35
    for login in WRONG_LOGINS:
        with server.without_login(**({"Authorization": login} if login else {})) as stranger:
            for method in ("GET", "POST"):
                for address in addresses:
                    answer = stranger.request(method, address)
                    assert answer.status_code == 401, (login, method, address)
                    assert answer.text in ("Access denied", ""), (login, method, address)


PAGES = ("/", "/tasks", "/broker", "/workers", "/replibatch")


@pytest.mark.parametrize(("changed", "has_entry"), [("one-more app-nav", True), ("another-class", False)])
def test_every_page_answers_though_the_navigation_has_changed(
    start_flower: StartFlower, sandbox: Sandbox, tmp_path: Path, changed: str, has_entry: bool
) -> None:
    templates = Path(shutil.copytree(flower.urls.settings["template_path"], tmp_path / "templates"))
    navigation = templates / "navbar.html"
    text = navigation.read_text()
    assert "app-nav" in text
    navigation.write_text(text.replace("app-nav", changed))
    server = start_flower("tests.support.changed_flower", str(templates))
    answers = [server.client.get(page, follow_redirects=True) for page in PAGES]
    assert [answer.status_code for answer in answers] == [200] * len(PAGES)
    assert [">Replibatch</a>" in answer.text for answer in answers] == [has_entry] * len(PAGES)
    assert ("navigation has changed" in server.log.read_text()) is not has_entry


def test_a_batch_is_seen_to_run_and_to_finish(
    start_flower: StartFlower, start_worker: StartWorker, sandbox: Sandbox, browser: Browser, tmp_path: Path
) -> None:
    sandbox.settings.latency_seconds = 0.8
    sandbox.settings.long_edge_pixels = 320  # larger than a thumbnail
    server = start_flower()
    start_worker("--concurrency", "4", REPLICATE_GLOBAL_MAX_CONCURRENT="3")
    context = browser.new_context(
        viewport={"width": 1280, "height": 900},
        http_credentials={"username": LOGIN[0], "password": LOGIN[1]},
    )
    context.set_default_timeout(60_000)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)

    page.goto(server.url)
    page.get_by_role("link", name="Replibatch", exact=True).click()
    expect(page.locator("#rb-account")).to_have_text(load().account_key)
    expect(page.locator("#rb-in-flight .rb-value")).to_contain_text("of 3")
    batch = submit(11, f"{PROMPT} refused [[sensitive@{MODEL}]]")

    card = page.locator(f".rb-batch[data-id='{batch.id}']")
    bar = card.get_by_role("progressbar")
    expect(card.locator(".rb-chip")).to_have_text("running", timeout=60_000)
    seen = {"finished": set(), "in flight": set(), "spent": set()}

    def look() -> bool:
        seen["finished"].add(int(bar.get_attribute("aria-valuenow") or 0))
        seen["in flight"].add(page.locator("#rb-in-flight b").inner_text())
        seen["spent"].add(page.locator("#rb-spend b").inner_text())
        return card.locator(".rb-chip").inner_text() == "done"

    until(look, what="the batch is done on the page")
    assert len(seen["finished"]) >= 3, seen
    assert len(seen["in flight"]) >= 2 and len(seen["spent"]) >= 3, seen

    expect(card).to_contain_text("12 of 12")
    expect(page.locator("#rb-in-flight b")).to_have_text("0")
    expect(card.locator(".rb-cost")).to_have_text("$0.30")  # 12 at 2.5 cents, the one that stood in as well
    expect(page.locator("#rb-fallbacks")).to_contain_text("qwen-image")
    expect(page.locator("#rb-fallbacks")).to_contain_text("sensitive")
    expect(page.locator("#rb-workers tr")).to_have_count(1)
    expect(page.locator(".rb-tile-fallback").first).to_be_visible()
    until(lambda: page.evaluate(ALL_SHOWN, card.element_handle()), what="all pictures are there")
    page.screenshot(path=tmp_path / "desktop.png", full_page=True)

    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.locator("#rb-account")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.screenshot(path=tmp_path / "phone.png", full_page=True)
    context.close()
    assert not wrong, wrong


ALL_SHOWN = """card => {
    const images = [...card.querySelectorAll("img")];
    return images.length == 8 && images.every(image => image.complete && image.naturalWidth > 100);
}"""


def test_it_shows_what_waits_though_no_worker_is_up(start_flower: StartFlower, sandbox: Sandbox) -> None:
    batch = submit(3)
    server = start_flower()
    now = server.figures()
    assert now["workers"] == [] and now["queued"] == 3
    assert [(each["id"], each["total"], each["outstanding"]) for each in now["batches"]] == [(batch.id, 3, 3)]
    assert "replibatch_queued 3.0" in server.client.get("/metrics").text
    assert "Replibatch" in server.client.get("/tasks").text


def test_the_reason_of_a_stop_and_of_a_pause(
    start_flower: StartFlower, start_worker: StartWorker, sandbox: Sandbox
) -> None:
    server = start_flower()
    start_worker("--concurrency", "2")
    job = replibatch.enqueue(BatchRequest(f"{PROMPT} [[429:1]]", MODEL))
    assert job.result(60).success
    assert server.figures()["throttled"] == 1
    sandbox.settings.credit_usd = 0.0
    replibatch.enqueue(BatchRequest(PROMPT, MODEL))
    until(lambda: server.figures()["stopped"], what="the account is stopped")
    assert server.figures()["stopped"].startswith("NoCredit: ")


def test_flowers_own_list_tells_model_attempt_and_reason_and_no_secret(
    start_flower: StartFlower, start_worker: StartWorker, sandbox: Sandbox
) -> None:
    server = start_flower()
    start_worker("--concurrency", "2")
    long = "megabytes " * 20_000
    job = replibatch.enqueue(BatchRequest(f"{PROMPT} {long} [[sensitive@{MODEL}]]", MODEL))
    assert job.result(60).success

    def row() -> dict[str, str]:
        return server.client.get("/api/tasks").json().get(job.id, {})

    until(lambda: row().get("state") == "SUCCESS", what="Flower has seen the end")
    said = row()
    assert said["name"] == "generate[black-forest-labs/flux-dev]"
    assert said["retries"] == 1 and said["runtime"] > 0
    assert said["exception"].startswith("sensitive: ") and "next: black-forest-labs/flux-dev" in said["exception"]
    assert len(str(said)) < 5_000
    until(lambda: server.client.get("/api/workers?refresh=1").json(), what="the worker answers Flower")
    (worker,) = server.client.get("/api/workers").json()
    everything = "".join(
        server.client.get(address).text
        for address in (
            *("/tasks", f"/task/{job.id}", "/workers", f"/worker/{worker}", "/broker", "/replibatch"),
            *("/replibatch/fleet.json", "/metrics", "/api/tasks", "/api/workers", f"/api/task/result/{job.id}"),
        )
    )
    assert not [secret for secret in SECRETS if secret in everything]


def test_revoke_cancels_at_replicate_and_frees_the_slot(
    start_flower: StartFlower, start_worker: StartWorker, sandbox: Sandbox
) -> None:
    sandbox.settings.latency_seconds = 120.0
    server = start_flower()
    start_worker("--concurrency", "2")
    job = replibatch.enqueue(BatchRequest(PROMPT, MODEL))
    until(lambda: sandbox.books.in_flight == 1, what="it runs")
    answer = server.client.post(f"/api/task/revoke/{job.id}?terminate=true")
    assert answer.json() == {"message": f"Canceled '{job.id}'"}
    assert job.result(60).state == "canceled"
    assert sandbox.books.cancels == 1 and sandbox.books.in_flight == 0
    assert server.figures()["in_flight"]["used"] == 0
    until(
        lambda: server.client.get("/api/tasks").json().get(job.id, {}).get("state") == "REVOKED",
        what="Flower shows it as revoked",
    )
    assert "is over" in server.client.post(f"/api/task/revoke/{job.id}").json()["message"]


def test_revoke_holds_though_no_worker_hears_of_it(start_flower: StartFlower, sandbox: Sandbox) -> None:
    server = start_flower()
    job = replibatch.enqueue(BatchRequest(PROMPT, MODEL))
    server.client.post(f"/api/task/revoke/{job.id}").raise_for_status()
    assert job.status() == "canceled"
    assert server.client.post("/api/task/revoke/nonsense").json()["message"] == "'nonsense' is over, or unknown"


@pytest.mark.parametrize("terminate", [False, True])
def test_celerys_own_revoke_cancels_too_and_what_was_revoked_can_be_made_again(
    start_worker: StartWorker, sandbox: Sandbox, fleet: str, terminate: bool
) -> None:
    sandbox.settings.latency_seconds = 120.0
    start_worker("--concurrency", "2")
    batch = submit(1)
    until(lambda: sandbox.books.in_flight == 1, what="it runs")
    (generation,) = replibatch.producer.open_producer().batches.outstanding(batch.id)
    make_app(load(), fleet).control.revoke(generation, terminate=terminate)
    assert [result.state for result in batch.results(60)] == ["canceled"]
    assert sandbox.books.cancels == 1
    sandbox.settings.latency_seconds = 0.1
    assert batch.retry_failed() == 1
    assert [result.state for result in batch.results(60)] == ["succeeded"]


def test_celerys_shutdown_hands_over_what_is_in_flight(
    start_worker: StartWorker, sandbox: Sandbox, fleet: str
) -> None:
    sandbox.settings.latency_seconds = 5.0
    first = start_worker("--concurrency", "2")
    job = replibatch.enqueue(BatchRequest(PROMPT, MODEL))
    until(lambda: sandbox.books.in_flight == 1, what="it runs")
    make_app(load(), fleet).control.shutdown()
    assert first.wait(30) == 0
    assert sandbox.books.in_flight == 1 and sandbox.books.cancels == 0
    start_worker("--concurrency", "2")
    assert job.result(60).success and len(sandbox.books.create_times) == 1


def test_redis_away_is_said_on_the_page_and_passes(
    sandbox: Sandbox, durable_redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REPLIBATCH_REDIS_URL", durable_redis.url)
    server = FlowerServer(tmp_path, {})
    try:
        assert server.figures()["in_flight"]["used"] == 0
        durable_redis.stop()
        until(lambda: "error" in server.figures(), what="it is said")
        assert server.figures()["error"].startswith("Redis does not answer: ")
        assert "replibatch_up 0.0" in server.client.get("/metrics").text
        assert server.client.get("/replibatch").status_code == 200
        durable_redis.restart()
        until(lambda: "account" in server.figures(), what="it is back")
    finally:
        server.close()


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"FLOWER_PORT": "lots"}, "FLOWER_PORT is 'lots'; allowed: a whole number"),
        ({"FLOWER_DEBUG": "perhaps"}, "FLOWER_DEBUG is 'perhaps'; allowed: true or false"),
        ({"FLOWER_BASIC_AUTH": ""}, "FLOWER_BASIC_AUTH is empty; allowed: user:password, or not to be set at all"),
        ({"FLOWER_BASIC_AUTH": "hushhush"}, "FLOWER_BASIC_AUTH is not usable (not shown: it is a secret)"),
        ({"FLOWER_ADDRESS": "203.0.113.7"}, "FLOWER_ADDRESS, FLOWER_PORT: cannot listen on 203.0.113.7:5555"),
    ],
)
def test_a_bad_option_is_one_line(
    fleet: str, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], line: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run(
        [sys.executable, "-m", "replibatch", "flower"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert any(said.startswith(f"replibatch: {line}") for said in done.stderr.splitlines()), done.stderr
    assert "hushhush" not in done.stderr


def test_a_door_that_stands_open_is_warned_of(
    start_flower: StartFlower, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    warning = "without authentication: whoever reaches port"
    monkeypatch.setenv("FLOWER_BASIC_AUTH", "a:b")
    assert warning not in start_flower(FLOWER_ADDRESS="0.0.0.0").log.read_text()
