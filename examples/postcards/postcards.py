"""A small application that sells postcards: it knows orders, and nothing of how pictures are made.

Its tests, in `tests/`, run without a network: `pytest examples/postcards`.
"""

from dataclasses import dataclass

from replibatch import BatchRequest, BatchResult, Job, NoSuchWork, QueueUnavailable, RequestError, aenqueue, enqueue

MODEL = "qwen/qwen-image"


class NotToday(Exception):
    """An order that cannot be taken; the message is for the customer."""


@dataclass(frozen=True)
class Postcard:
    """What a customer gets.

    Attributes:
        picture: the file's bytes; empty where no model made one.
        note: what the customer is told.
    """

    picture: bytes
    note: str


def order(number: int, text: str) -> str:
    """Take an order. The same order twice is the same picture, and paid for once.

    Returns:
        The job's id.
    """
    request = _request(number, text)
    try:
        return enqueue(request).id
    except QueueUnavailable as error:
        if error.accepted:
            return str(error.job_id)
        raise NotToday("please try again in a minute") from error
    except RequestError as error:
        raise NotToday(str(error)) from error


async def order_and_wait(number: int, text: str) -> Postcard:
    """The same in a coroutine, to the end."""
    job = await aenqueue(_request(number, text))
    return _postcard(await job.aresult(timeout=120))


def collect(number: int) -> Postcard | None:
    """The postcard of an order, or None while it is being made."""
    try:
        job = Job.get(request_id=f"order-{number}")
    except NoSuchWork:
        raise NotToday(f"there is no order {number}") from None
    return _postcard(job.result()) if job.status().is_final else None


def _request(number: int, text: str) -> BatchRequest:
    prompt = f"A postcard that says: {text}"
    return BatchRequest(prompt, MODEL, request_id=f"order-{number}", fields={"order": number})


def _postcard(result: BatchResult) -> Postcard:
    if result.success:
        return Postcard(result.files[0].read(), f"made by {result.model_used}")
    return Postcard(b"", "the picture could not be made; you pay nothing")
