"""Steps that fail, are canceled, paused, or too dear: what was made is kept, and nothing is paid for again."""

from __future__ import annotations

from pathlib import Path

import pytest

import replibatch
from replibatch import OUTPUT, BatchRequest
from replibatch.errors import RequestError
from replibatch.redisdb.connection import connect
from replibatch.sandbox import Sandbox
from tests.support.chains import FILM_USD, IMAGE, KONTEXT, QUICK, UPSCALE, VIDEO, bills, edited, film, films, reserved
from tests.support.custody import Start, check_nothing_left
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder of its own, quick models."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "replibatch.toml").write_text(QUICK)
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "files"))


def test_a_failed_step_is_made_again_without_those_before_it(
    start_worker: Start, sandbox: Sandbox, tmp_path: Path, fleet: str
) -> None:
    start_worker("--concurrency", "4")
    batch = replibatch.enqueue_batch([edited(0, "[[failed:1]]"), edited(1)], max_cost_usd=10)
    failed, made = batch.results(60)
    assert made.success and failed.state == "failed" and not failed.placeholder
    assert [step.step for step in failed.steps] == [1] and failed.prompt == "p0"
    assert (tmp_path / "files" / failed.steps[0].files[0].path).exists()
    assert [(each.step, each.outcome) for each in failed.attempts] == [(1, "succeeded"), (2, "failed")]
    whole_usd, first_usd = made.cost_usd, 0.025
    assert whole_usd and failed.cost_usd == pytest.approx(first_usd)
    assert batch.progress().cost_usd == pytest.approx(first_usd + whole_usd)
    assert batch.retry_failed() == 1
    again = next(result for result in batch.results(60) if result.prompt == "p0")
    assert again.success, again.error
    assert [(each.step, each.outcome) for each in again.attempts] == [(step, "succeeded") for step in (1, 2, 3)]
    assert again.steps[0].files == failed.steps[0].files
    assert len(bills(sandbox, IMAGE)) == len(bills(sandbox, VIDEO)) == 2 and sandbox.books.paid_twice() == []
    assert batch.progress().cost_usd == pytest.approx(2 * whole_usd) and again.cost_usd == pytest.approx(whole_usd)
    check_nothing_left(fleet)
    assert reserved(fleet) == []


def test_a_single_job_is_made_again_from_the_step_that_failed(
    start_worker: Start, sandbox: Sandbox, fleet: str
) -> None:
    start_worker("--concurrency", "4")
    job = replibatch.enqueue(edited(0, "[[failed:1]]"))
    failed = job.result(60)
    assert failed.state == "failed" and failed.error and failed.error.startswith("step 2 of 3: ")
    made = job.retry().result(60)
    assert made.success and len(bills(sandbox, IMAGE)) == 1 and sandbox.books.paid_twice() == []
    with connect(fleet) as redis:
        (key,) = (key for key in redis.scan_iter("rb:*:counts") if redis.type(key) == "hash")
        counts = redis.hgetall(key)
    assert counts[f"attempts\t{IMAGE}\tsucceeded"] == "1", counts  # once, though two results tell of it


@pytest.mark.parametrize("step", [1, 2])
def test_a_job_s_output_that_could_not_be_saved_is_fetched_by_a_retry(
    step: int, start_worker: Start, sandbox: Sandbox, tmp_path: Path, fleet: str
) -> None:
    """A folder stands in its file's place; once that is gone nothing is made, or paid for, again."""
    name = "0.step1.webp" if step == 1 else "0.step2.png"
    in_the_way = tmp_path / "files" / name
    in_the_way.mkdir(parents=True)
    start_worker("--concurrency", "4")
    job = replibatch.enqueue(film(0))
    failed = job.result(60)
    assert failed.state == "failed" and failed.attempts[-1].reason == "not_saved", failed.error
    in_the_way.rmdir()
    made = job.retry().result(60)
    assert made.success, made.error
    assert sandbox.books.paid_twice() == []
    for model in (IMAGE, UPSCALE, VIDEO):
        assert len(bills(sandbox, model)) == 1, model
    assert made.cost_usd == pytest.approx(FILM_USD)


def test_a_job_asked_for_again_goes_on_where_it_failed(
    start_worker: Start, sandbox: Sandbox, tmp_path: Path, fleet: str
) -> None:
    """In another batch: what the first has paid for is neither made again, nor its own cost."""
    start_worker("--concurrency", "4")

    def once() -> BatchRequest:
        request = edited(0, "[[failed:1]]")
        request.request_id, request.idempotent = "my-own", True
        return request

    (failed,) = replibatch.enqueue_batch([once()]).results(60)
    assert failed.state == "failed"
    batch = replibatch.enqueue_batch([once()])
    (made,) = batch.results(60)
    assert made.success and len(bills(sandbox, IMAGE)) == 1
    assert made.cost_usd is not None and batch.progress().cost_usd == pytest.approx(made.cost_usd - 0.025)


def test_an_item_that_does_not_fit_the_budget_whole_does_not_start(
    start_worker: Start, sandbox: Sandbox, tmp_path: Path, fleet: str
) -> None:
    """Two and a half of them: the cheap first steps of others do not eat up what the later ones of two need."""
    start_worker("--concurrency", "8")
    batch = replibatch.enqueue_batch(films(6), max_cost_usd=2.5 * FILM_USD)
    until(lambda: batch.progress().succeeded == 2 and not batch.progress().running, 60, "two are made")
    progress = batch.progress()
    assert progress.cost_usd == pytest.approx(2 * FILM_USD)
    assert len(bills(sandbox, IMAGE)) == len(bills(sandbox, VIDEO)) == 2
    batch.cancel()
    assert reserved(fleet) == []


def test_a_placeholder_feeds_no_step(start_worker: Start, sandbox: Sandbox, tmp_path: Path, fleet: str) -> None:
    start_worker("--concurrency", "4")
    (result,) = replibatch.enqueue_batch([film(0, "[[failed]]")]).results(60)
    assert result.state == "failed" and not result.files and not result.placeholder and result.steps == ()
    assert {attempt.step for attempt in result.attempts} == {1}
    assert bills(sandbox, UPSCALE) == [] and not list((tmp_path / "files").glob("*.mp4"))


def test_canceled_and_paused_between_steps(start_worker: Start, sandbox: Sandbox, tmp_path: Path, fleet: str) -> None:
    sandbox.settings.latency_seconds = 1.0
    start_worker("--concurrency", "4")
    batch = replibatch.enqueue_batch(films(2))
    until(lambda: sandbox.books.in_flight == 2, what="the first steps run")
    batch.pause()
    until(lambda: not batch.progress().running and not batch.progress().queued, 30, "nothing runs")
    assert len(bills(sandbox, IMAGE)) == 2 and bills(sandbox, UPSCALE) == []
    assert batch.progress().cost_usd == pytest.approx(0.05)
    batch.resume()
    until(lambda: len(bills(sandbox, UPSCALE)) == 2, 30, "they go on")
    batch.cancel()
    results = batch.results(60)
    assert {result.state for result in results} == {"canceled"}
    assert all([step.step for step in result.steps][:1] == [1] for result in results)
    assert len(bills(sandbox, IMAGE)) == 2 and sandbox.books.paid_twice() == []
    assert reserved(fleet) == []


def test_two_steps_branch_off_from_one(start_worker: Start, sandbox: Sandbox, tmp_path: Path, fleet: str) -> None:
    start_worker("--concurrency", "4")
    request = (
        BatchRequest("p0", IMAGE, "0.png")
        .then(UPSCALE, image=OUTPUT)
        .then(VIDEO, "it moves", start_image=OUTPUT[0], duration=5)
        .then(KONTEXT, "by night", input_image=OUTPUT, after=1)
    )
    result = replibatch.enqueue(request).result(60)
    assert result.success, result.error
    assert [(step.step, step.after) for step in result.steps] == [(1, 0), (2, 1), (3, 2), (4, 1)]
    assert [Path(file.path).name for file in result.files] == ["0.step3.mp4", "0.step4.png"]
    (kontext,) = bills(sandbox, KONTEXT)
    assert kontext.input["input_image"] == result.steps[0].files[0].url


def test_what_is_no_step_is_refused_before_anything_is_paid_for(sandbox: Sandbox, fleet: str) -> None:
    base = BatchRequest("p", IMAGE)
    for said, make in {
        "uses nothing of step 1": lambda: base.then(VIDEO, "it moves"),
        "after is 7": lambda: base.then(UPSCALE, image=OUTPUT, after=7),
        "in the first step": lambda: BatchRequest("p", VIDEO, kwargs={"start_image": OUTPUT}),
        "step 2: Model 'no/such' is not supported": lambda: replibatch.enqueue(base.then("no/such", image=OUTPUT)),
        "step 2: recraft-ai/recraft-crisp-upscale does not take OUTPUT as 'nonsense'": lambda: replibatch.enqueue(
            base.then(UPSCALE, image="https://example.org/a.png", nonsense=OUTPUT)
        ),
        "makes images; expected: a model that makes text": lambda: replibatch.enqueue(base.then(IMAGE, OUTPUT)),
    }.items():
        with pytest.raises(RequestError, match=said.replace("(", r"\(")):
            make()
    assert base.steps == () and sandbox.books.in_flight == 0 and not sandbox.books.bills()
