"""Items of three steps, and the proof that each step was paid for once.

Told by the stand-in's books, the results and the files alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from replibatch import OUTPUT, BatchRequest, BatchResult
from replibatch.redisdb.connection import connect
from replibatch.sandbox import Sandbox
from replibatch.sandbox.books import Bill

IMAGE, UPSCALE, VIDEO = "qwen/qwen-image", "recraft-ai/recraft-crisp-upscale", "kwaivgi/kling-v2.1-master"
KONTEXT = "black-forest-labs/flux-kontext-max"
FILM_USD = 0.025 + 0.006 + 1.40  # of an image, its enlargement, its film
QUICK = "".join(f'["{name}"]\ntypical_seconds = 0.3\n' for name in (IMAGE, UPSCALE, VIDEO, KONTEXT))


def film(number: int, fault: str = "", middle: str = "") -> BatchRequest:
    """An image, made larger, made a film."""
    return (
        BatchRequest(f"p{number} {fault}", IMAGE, f"{number}.mp4")
        .then(UPSCALE, image=OUTPUT)
        .then(VIDEO, f"p{number} moves {middle}", start_image=OUTPUT, duration=5)
    )


def edited(number: int, fault: str = "") -> BatchRequest:
    """A film of an image that was changed."""
    return (
        BatchRequest(f"p{number}", IMAGE, f"{number}.mp4")
        .then(KONTEXT, f"p{number} by night {fault}", input_image=OUTPUT, fallback=False)
        .then(VIDEO, f"p{number} moves", start_image=OUTPUT, duration=5)
    )


def films(count: int, fault: str = "") -> Iterator[BatchRequest]:
    """That many of them."""
    return (film(number, fault) for number in range(count))


def reserved(redis_url: str) -> list[str]:
    """What is reserved of anybody's money: the amounts that are not 0."""
    with connect(redis_url) as redis:
        amounts = [
            redis.hget(key, "reserved")
            for pattern in ("*:spend", "*:budget:*")
            for key in redis.scan_iter(pattern)
            if redis.type(key) == "hash"
        ]
        return [amount for amount in amounts if amount not in (None, "0")]


def bills(sandbox: Sandbox, model: str) -> list[Bill]:
    """What was billed of a model."""
    return [bill for bill in sandbox.books.bills() if bill.model == model]


def check_steps_once(
    results: Sequence[BatchResult], count: int, sandbox: Sandbox, files: Path, models: Iterable[str]
) -> None:
    """Every item has its one result of three steps, each of which was made and paid for once."""
    failed = [(result.prompt, result.state, result.error, result.attempts) for result in results if result.error]
    assert not failed, "\n".join(map(str, failed))
    assert len(results) == count
    assert sandbox.books.paid_twice() == []
    for model in models:
        assert len(bills(sandbox, model)) == count, model
        assert all(bill.billed == 1 for bill in bills(sandbox, model)), model
    for result in results:
        assert [step.step for step in result.steps] == [1, 2, 3]
        made = [attempt for attempt in result.attempts if attempt.outcome == "succeeded"]
        assert [attempt.step for attempt in made] == [1, 2, 3]
        assert [step.model_used for step in result.steps] == [IMAGE, UPSCALE, VIDEO]
        assert [Path(file.path).suffix for file in result.files] == [".mp4"]
    assert len(list(files.glob("*.mp4"))) == count
    assert len(list(files.glob("[0-9]*.step[12].*"))) == 2 * count  # not what a killed worker had begun to write
