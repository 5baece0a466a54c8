"""How models are called: files as data URIs, names that are gone, prices that are not known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import replibatch
from replibatch import BatchRequest
from replibatch.errors import RequestError
from replibatch.limits.outages import of_model
from replibatch.producer.producer import open_producer
from replibatch.sandbox import Sandbox
from replibatch.sandbox.hosting import ModelSpec
from tests.support.commands import replibatch as command
from tests.support.custody import Start
from tests.support.waiting import until

NAME, QWEN = "acme/editor", "qwen/qwen-image"
INPUTS = {"prompt": {"type": "string"}, "image": {"type": "string", "format": "uri"}}


def own(*lines: str, names: tuple[str, ...] = (NAME,)) -> None:
    tables = ("\n".join([f'["{name}"]', 'kind = "image"', *lines]) for name in names)
    Path("replibatch.toml").write_text("\n".join(tables) + "\n")


def inputs_sent(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [bill.input for bill in sandbox.books.bills()]


def test_a_model_that_takes_no_addresses_gets_data_uris_as_is_said_or_found_out(
    sandbox: Sandbox, picture: Callable[[str], Path]
) -> None:
    told, silent = "acme/told", "acme/silent"
    sandbox.settings.models = {name: ModelSpec(inputs=INPUTS, data_uris_only=True) for name in (told, silent)}
    own("price_usd = 0.01", f'data_uris = true\n["{silent}"]\nkind = "image"\nprice_usd = 0.01', names=(told,))
    image = str(picture("photo.png"))
    tries = {}
    for name, number in ((told, 1), (silent, 1), (silent, 2)):
        result = replibatch.enqueue(BatchRequest(f"edit {number}", name, f"{number}.png", {"image": image})).result(
            60
        )
        assert result.success, result.error
        tries[name, number] = [attempt.reason for attempt in result.attempts]
    assert tries == {(told, 1): [None], (silent, 1): ["address_refused", None], (silent, 2): [None]}
    sent = [str(each["image"])[:22] for each in inputs_sent(sandbox)]
    assert sent.count("data:image/png;base64,") == 3 and len(sent) == 4


MISSING = {
    "acme/gone": "no official model acme/gone",
    "acme/community": "`replibatch models add acme/community` pins the latest",
    f"acme/community:{'00' * 32}": "no version 0000",
    "deployment:acme/none": "no deployment acme/none",
}


def test_what_is_missing_is_said_by_its_kind(sandbox: Sandbox) -> None:
    sandbox.settings.models = {"acme/community": ModelSpec(inputs=INPUTS, official=False)}
    sandbox.settings.fault_rates = {"model-503-html": 1.0}  # else its version would be found out
    own("price_usd = 0.01", names=tuple(MISSING))
    batch = replibatch.enqueue_batch([BatchRequest("a fox", name) for name in MISSING])

    def said() -> dict[str, str]:
        return {outage.name: str(outage) for outage in open_producer().limiter.status().outages}

    until(lambda: len(said()) == len(MISSING), what="each is said to be gone")
    for name, words in MISSING.items():
        assert words in said()[of_model(name)]
    assert batch.progress().finished == 0 and not sandbox.books.create_times, "they are held"
    batch.cancel()
    assert all(result.cost_usd == 0 and not result.files for result in batch.results(60))


def test_a_community_model_named_without_a_version_is_pinned_to_what_it_publishes(sandbox: Sandbox) -> None:
    sandbox.settings.models = {NAME: ModelSpec(inputs=INPUTS, official=False, version="ab" * 32)}
    own("price_usd = 0.01")
    assert replibatch.enqueue(BatchRequest("a fox", NAME, "fox.png")).result(60).success
    assert sandbox.books.posts_by_status["404"] == 0


def test_an_unknown_price_is_said_and_no_budget_lets_it_through(sandbox: Sandbox) -> None:
    sandbox.settings.models = {NAME: ModelSpec(inputs=INPUTS, price={"usd": 0.5, "per": "call"})}
    own()
    Path("list.txt").write_text("a fox\n")
    plan = command("run", "list.txt", "-m", NAME, "-o", "out", "--dry-run")
    assert "1 item of unknown cost" in plan.stdout + plan.stderr
    held = command("run", "list.txt", "-m", NAME, "-o", "out", "--max-cost", "100")
    assert held.returncode == 1 and not sandbox.books.create_times
    request = BatchRequest("a fox", NAME, "fox.png", max_price_usd=0.6)
    (result,) = replibatch.enqueue_batch([request], max_cost_usd=1.0).results(60)
    assert result.success and result.cost_usd is None
    assert replibatch.get_global_status()["spent_usd"] == pytest.approx(0.6)
    run = command("run", "list.txt", "-m", NAME, "-o", "out")
    assert run.returncode == 0 and "unknown cost" in run.stdout + run.stderr
    line = json.loads(Path("out/results.jsonl").read_text().splitlines()[-1])
    assert line["cost_usd"] is None


def test_a_producer_s_lower_price_of_a_built_in_model_is_not_believed(
    sandbox: Sandbox, fleet: str, start_worker: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REPLIBATCH_STORAGE_URL", str(tmp_path / "files"))
    start_worker("--concurrency", "4")
    Path("replibatch.toml").write_text(f'["{QWEN}"]\nprice_usd = 0.0001\n')
    Path("list.txt").write_text("a fox\n")
    plan = command("run", "list.txt", "-m", QWEN, "-o", "out", "--dry-run")
    changed = f"replibatch.toml changes the price of {QWEN} from $0.025 for an image to $0.0001 for an image"
    assert changed in plan.stderr
    batch = replibatch.enqueue_batch(
        (BatchRequest(f"a fox {number}", QWEN, f"{number}.webp") for number in range(4)), max_cost_usd=0.05
    )
    results = [result for _, result in zip(range(2), batch, strict=False)]
    assert all(result.success and result.cost_usd == 0.025 for result in results)
    assert sandbox.books.cost_usd == pytest.approx(0.05)
    batch.cancel()
    assert len(sandbox.books.create_times) == 2


def test_a_price_that_the_request_does_not_allow_is_refused_before_it_is_created(sandbox: Sandbox) -> None:
    with pytest.raises(RequestError, match=r"it could cost \$0.1; allowed: at most max_price_usd, \$0.05"):
        replibatch.enqueue(
            BatchRequest("a fox", "black-forest-labs/flux-dev", None, {"num_outputs": 4}, max_price_usd=0.05)
        )
    for odd in (-1, float("nan"), float("inf"), "1", True, 1e9):
        with pytest.raises(RequestError, match="max_price_usd is"):
            BatchRequest("a fox", QWEN, max_price_usd=odd)  # type: ignore[arg-type]
