"""Keys: each sees its own alone, whatever route is tried with another's ids; budgets; what a key costs others."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from replibatch.redisdb import keys
from replibatch.webhooks import verify_webhook
from tests.acceptance.gateway.conftest import SECRET, House
from tests.acceptance.no_secrets.test_acl import denied
from tests.support.catalogue import KONTEXT, QWEN
from tests.support.receiver import receiving
from tests.support.waiting import until

PATH = f"/v1/models/{QWEN}/predictions"


def made(client: httpx.Client, prompt: str, **body: Any) -> dict[str, Any]:
    """A prediction, over."""
    answer = client.post(PATH, json={"input": {"prompt": prompt}, **body}, headers={"Prefer": "wait=30"})
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


def uploaded(client: httpx.Client) -> dict[str, Any]:
    answer = client.post("/v1/files", files={"content": ("a.png", b"\x89PNG not quite", "image/png")})
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    return row


def test_a_wrong_key_sees_nothing(house: House) -> None:
    routes = [
        ("POST", "/v1/predictions"), ("GET", "/v1/predictions"), ("POST", PATH), ("GET", "/v1/files"),
        ("POST", "/v1/files"), ("GET", "/v1/models"), ("GET", f"/v1/models/{QWEN}"), ("GET", "/v1/account"),
        ("GET", "/v1/webhooks/default/secret"), ("GET", "/v1/deployments"), ("GET", "/v1/predictions/x"),
    ]  # fmt: skip
    for key in ("", "r8_of_the_tests", house.key[:-1]):
        with house.gateway.client(key) as client:
            for method, path in routes:
                answer = client.request(method, path)
                assert answer.status_code == 401 and answer.json()["title"] == "Unauthenticated", (key, path)


def test_every_route_with_the_ids_of_another_key_answers_404(house: House) -> None:
    with house.gateway.client(house.key) as ours, house.gateway.client(house.other_key) as others:
        row, file = made(ours, "a fox of ours"), uploaded(ours)
        for method, path in [
            ("GET", f"/v1/predictions/{row['id']}"),
            ("POST", f"/v1/predictions/{row['id']}/cancel"),
            ("GET", f"/v1/files/{file['id']}"),
            ("DELETE", f"/v1/files/{file['id']}"),
        ]:
            assert others.request(method, path).status_code == 404, path
            assert ours.request("GET", path.removesuffix("/cancel")).status_code == 200
        assert row["id"] not in others.get("/v1/predictions").text
        assert file["id"] not in others.get("/v1/files").text
        stolen = {"prompt": "a fox", "input_image": file["urls"]["get"]}
        answer = others.post(f"/v1/models/{KONTEXT}/predictions", json={"input": stolen})
        assert answer.status_code == 422 and "no file of yours" in answer.text
        output = row["output"][0] if isinstance(row["output"], list) else row["output"]
        answer = others.post(f"/v1/models/{KONTEXT}/predictions", json={"input": {**stolen, "input_image": output}})
        assert answer.status_code == 422


def test_the_address_of_an_output_opens_that_file_alone(house: House) -> None:
    with house.gateway.client(house.key) as ours, house.gateway.client() as anybody:
        row = made(ours, "an output")
        url = row["output"][0] if isinstance(row["output"], list) else row["output"]
        whole = anybody.get(url)
        assert whole.status_code == 200 and whole.headers["content-type"] == "image/webp"
        part = anybody.get(url, headers={"Range": "bytes=4-9"})
        assert part.status_code == 206 and part.content == whole.content[4:10]
        assert part.headers["content-range"] == f"bytes 4-9/{len(whole.content)}"
        assert anybody.get(url, headers={"Range": "bytes=-5"}).content == whole.content[-5:]
        assert anybody.get(url, headers={"Range": "bytes=99999999-"}).status_code == 416
        assert anybody.get(url, headers={"Range": "lines=1-2"}).content == whole.content
        head = anybody.head(url)
        assert head.headers["content-length"] == str(len(whole.content)) and not head.content
        assert anybody.get(url, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
        for other in (url.replace("/0/", "/1/"), url.rpartition("/")[0], f"{url}x", url.rpartition("/")[0] + "/.env"):
            assert anybody.get(other).status_code == 404, other
        token = url.split("/outputs/")[1].split("/")[1]
        assert anybody.get(url.replace(token, "0" * len(token))).status_code == 404


def test_an_idempotency_key_is_one_prediction_of_its_own_key(house: House) -> None:
    headers = {"Idempotency-Key": "order-77"}
    with house.gateway.client(house.key) as ours, house.gateway.client(house.other_key) as others:
        body = {"input": {"prompt": "an order"}}
        first, again = (ours.post(PATH, json=body, headers=headers).json()["id"] for _ in range(2))
        assert first == again != others.post(PATH, json=body, headers=headers).json()["id"]
        changed = ours.post(PATH, json={"input": {"prompt": "another"}}, headers=headers)
        assert changed.status_code == 409 and "order-77" in changed.text
    until(lambda: house.sandbox.books.billed_by_prompt()["an order"] == 2, what="one of each key ran")


def test_an_idempotency_key_is_free_again_once_the_result_is_over(house: House) -> None:
    headers = {"Idempotency-Key": "again", "Prefer": "wait=30"}
    with house.gateway.client(house.key) as ours:
        first, second = (
            ours.post(PATH, json={"input": {"prompt": prompt}}, headers=headers).json()
            for prompt in ("before", "before")
        )
        assert first["id"] == second["id"] and second["status"] == "succeeded"
        house.gateway.producer.jobs.forget([first["id"]])
        third = ours.post(PATH, json={"input": {"prompt": "after"}}, headers=headers).json()
    assert third["status"] == "succeeded" and not third["data_removed"] and third["input"] == {"prompt": "after"}


def test_a_budget_is_not_passed(house: House) -> None:
    price = house.gateway.producer.catalog.get(QWEN).cost_usd({})
    assert price
    key = house.gateway.tenants.add("poor", budget_usd=2.5 * price)
    with house.gateway.client(key) as poor:
        rows = [poor.post(PATH, json={"input": {"prompt": f"a poor fox {number}"}}) for number in range(2)]
        assert [answer.status_code for answer in rows] == [201, 201]
        until(lambda: all(poor.get(f"/v1/predictions/{a.json()['id']}").json()["completed_at"] for a in rows))
        answer = poor.post(PATH, json={"input": {"prompt": "one more"}})
        assert answer.status_code == 402 and "budget" in answer.json()["detail"]
        assert answer.json()["title"] == "Insufficient credit"


def test_many_at_once_do_not_pass_a_budget_either(house: House) -> None:
    price = house.gateway.producer.catalog.get(QWEN).cost_usd({})
    assert price
    key = house.gateway.tenants.add("hasty", budget_usd=3.5 * price, fallback=False)
    with house.gateway.client(key) as hasty:
        answers = [hasty.post(PATH, json={"input": {"prompt": f"a hasty fox {number}"}}) for number in range(8)]
        ids = [answer.json()["id"] for answer in answers if answer.status_code == 201]

        def rows() -> list[dict[str, Any]]:
            return [hasty.get(f"/v1/predictions/{each}").json() for each in ids]

        until(lambda: all(row["completed_at"] for row in rows()), what="all are over")
        statuses = [row["status"] for row in rows()]
    assert statuses.count("succeeded") == 3
    assert all("budget" in row["error"] for row in rows_failed(house, key, ids))


def rows_failed(house: House, key: str, ids: list[str]) -> list[dict[str, Any]]:
    with house.gateway.client(key) as client:
        rows = [client.get(f"/v1/predictions/{each}").json() for each in ids]
    return [row for row in rows if row["status"] == "failed"]


def test_a_key_without_fallback_gets_its_model_or_nothing(house: House) -> None:
    key = house.gateway.tenants.add("strict", fallback=False)
    with house.gateway.client(key) as strict, house.gateway.client(house.key) as ours:
        row = made(strict, "a strict fox [[sensitive@qwen/qwen-image]]")
        assert row["status"] == "failed" and row["output"] is None and row["metrics"]["attempts"] == 1
        row = made(ours, "a lax fox [[sensitive@qwen/qwen-image]]")
        assert row["status"] == "succeeded" and row["metrics"]["model_used"] != QWEN
        assert f"fallback: {row['metrics']['model_used']} stands in for {QWEN}" in row["logs"]


def test_a_line_that_is_full_is_a_429(house: House) -> None:
    key = house.gateway.tenants.add("crowd", max_waiting=2)
    house.sandbox.settings.latency_seconds = 20.0
    try:
        with house.gateway.client(key) as crowd:
            answers = [crowd.post(PATH, json={"input": {"prompt": f"crowd {number}"}}) for number in range(3)]
            assert [answer.status_code for answer in answers] == [201, 201, 429]
            assert answers[2].headers["retry-after"] == "5"
            for answer in answers[:2]:
                crowd.post(f"/v1/predictions/{answer.json()['id']}/cancel")
            until(lambda: crowd.post(PATH, json={"input": {"prompt": "room again"}}).status_code == 201)
            for row in crowd.get("/v1/predictions").json()["results"]:
                crowd.post(f"/v1/predictions/{row['id']}/cancel")
    finally:
        house.sandbox.settings.latency_seconds = 0.1


def test_a_webhook_is_signed_with_a_secret_of_the_key_alone(house: House) -> None:
    with house.gateway.client(house.key) as ours, house.gateway.client(house.other_key) as others:
        own, foreign = (each.get("/v1/webhooks/default/secret").json()["key"] for each in (ours, others))
        assert own != foreign and SECRET not in (own, foreign)
        with receiving() as receiver:
            row = made(ours, "a called fox", webhook=receiver.url, webhook_events_filter=["completed"])
            until(lambda: receiver.taken, what="it is called")
            headers, body = receiver.taken[0]
            assert verify_webhook(body, headers, own)
            told = json.loads(body)
            assert (told["id"], told["status"], told["output"]) == (row["id"], "succeeded", row["output"])


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (None, ["processing", "succeeded"]),
        ([], ["processing", "succeeded"]),
        (["start"], ["processing"]),
        (["completed"], ["succeeded"]),
        (["output", "logs"], ["succeeded"]),
    ],
)
def test_a_webhook_is_called_at_the_events_of_its_filter(
    house: House, events: list[str] | None, expected: list[str]
) -> None:
    with house.gateway.client(house.key) as ours, receiving() as receiver:
        own = ours.get("/v1/webhooks/default/secret").json()["key"]
        wanted = {} if events is None else {"webhook_events_filter": events}
        row = made(ours, f"a fox called at {events}", webhook=receiver.url, **wanted)
        redis, name = house.gateway.producer.redis, keys.WEBHOOKS.at(house.gateway.producer.settings.key_prefix)
        until(lambda: len(receiver.taken) >= len(expected) and not redis.zcard(name), what="all are delivered")
    assert all(verify_webhook(body, headers, own) for headers, body in receiver.taken)
    told = sorted((json.loads(body) for _, body in receiver.taken), key=lambda each: str(each["status"]))
    assert [each["status"] for each in told] == expected
    assert {each["id"] for each in told} == {row["id"]}
    assert len({headers["webhook-id"] for headers, _ in receiver.taken}) == len(expected)
    for each in told:
        is_over = each["status"] == "succeeded"
        assert each["started_at"] and (each["output"], bool(each["completed_at"])) == (
            row["output"] if is_over else None,
            is_over,
        )


def test_a_start_is_told_of_a_key_with_slots_of_its_own_and_not_again_for_a_fallback(house: House) -> None:
    key = house.gateway.tenants.add("called", max_concurrent=1)
    with house.gateway.client(key) as called, receiving() as receiver:
        row = made(called, "a fox [[sensitive@qwen/qwen-image]] with a fallback", webhook=receiver.url)
        assert row["metrics"]["attempts"] == 2 and row["metrics"]["model_used"] != QWEN
        redis, name = house.gateway.producer.redis, keys.WEBHOOKS.at(house.gateway.producer.settings.key_prefix)
        until(lambda: len(receiver.taken) >= 2 and not redis.zcard(name), what="all are delivered")
    assert sorted(json.loads(body)["status"] for _, body in receiver.taken) == ["processing", "succeeded"]


def test_what_is_kept_of_a_key_is_its_hash(house: House) -> None:
    redis, prefix = house.gateway.producer.redis, house.gateway.producer.settings.key_prefix
    everything = repr(redis.hgetall(keys.GATEWAY_KEYS.at(prefix)))
    assert house.key not in everything and "ours" in everything
    removed = house.gateway.tenants.add("removed")
    with house.gateway.client(removed) as client:
        assert client.get("/v1/account").json()["username"] == "removed"
        assert house.gateway.tenants.remove("removed")
        assert client.get("/v1/account").status_code == 401


def test_results_that_are_over_are_told_as_removed(house: House) -> None:
    with house.gateway.client(house.key) as ours:
        row = made(ours, "a forgotten fox")
        house.gateway.producer.jobs.forget([row["id"]])
        later = ours.get(f"/v1/predictions/{row['id']}").json()
    assert later["data_removed"] and later["status"] == "succeeded"
    assert later["output"] is None and later["input"] == {} and "forgotten" not in json.dumps(later)


@pytest.mark.parametrize("before", [False, True])
def test_the_list_goes_on_page_by_page(house: House, before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replibatch.gateway.predictions.PAGE", 2)
    key = house.gateway.tenants.add(f"reader-{before}")
    with house.gateway.client(key) as reader:
        ids = [reader.post(PATH, json={"input": {"prompt": f"page {n}"}}).json()["id"] for n in range(5)]
        found, url = [], "/v1/predictions"
        while url:
            page = reader.get(url).json()
            assert len(page["results"]) <= 2
            found += [row["id"] for row in page["results"]]
            url = page["next"]
        assert found == ids[::-1]
        assert reader.get("/v1/predictions?cursor=nonsense").status_code == 400


def test_slots_of_a_key_are_exact_and_what_waits_for_one_can_be_canceled(house: House) -> None:
    price = house.gateway.producer.catalog.get(QWEN).cost_usd({})
    assert price
    key = house.gateway.tenants.add("narrow", max_concurrent=2, fallback=False, budget_usd=6.5 * price)
    before = len(house.sandbox.books.bills())
    house.sandbox.settings.latency_seconds = 0.6
    with house.gateway.client(key) as narrow:
        answers = [narrow.post(PATH, json={"input": {"prompt": f"a narrow fox {number}"}}) for number in range(8)]
        ids = [answer.json()["id"] for answer in answers]
        waiting = narrow.get(f"/v1/predictions/{ids[-1]}").json()
        assert waiting["status"] == "starting" and "slots are in use" in waiting["logs"]
        canceled = narrow.post(f"/v1/predictions/{ids[-1]}/cancel").json()
        assert canceled["status"] == "canceled" and canceled["completed_at"]

        def statuses() -> list[str]:
            return [narrow.get(f"/v1/predictions/{each}").json()["status"] for each in ids]

        until(lambda: "starting" not in statuses() and "processing" not in statuses(), what="all are over")
        found = statuses()
    house.sandbox.settings.latency_seconds = 0.1
    assert (found.count("succeeded"), found.count("failed"), found[-1]) == (6, 1, "canceled")
    assert len(house.sandbox.books.bills()) - before == 6
    spans = [
        (each.created_at, each.completed_at)
        for each in house.sandbox._service.predictions.values()
        if "narrow" in each.prompt
    ]
    assert max(sum(start <= at < (end or at + 1) for start, end in spans) for at, _ in spans) == 2


def test_a_producers_rights_in_redis_are_enough(house: House) -> None:
    with house.gateway.client(house.key) as ours:
        made(ours, "a fox with few rights")
    assert denied(house.redis) == set()


def test_nothing_was_paid_for_twice(house: House) -> None:
    assert not house.sandbox.books.paid_twice()
