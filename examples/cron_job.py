"""A job for cron: asks for the picture of the day, once a day however often it runs, and collects yesterday's.

    0 6 * * *  /srv/app/.venv/bin/python /srv/app/cron_job.py /srv/app/pictures

The `request_id` is the day: a second run on the same day is the same job, and nothing is paid for twice. Redis being
away is no reason to stay silent: the exit code is 1, and cron tells.
"""

import datetime
import sys
from pathlib import Path

from replibatch import BatchRequest, Job, NoSuchWork, QueueUnavailable, enqueue

PROMPTS = ("A quiet harbour", "An orchard in blossom", "A lighthouse above the clouds")


def picture_of(day: datetime.date, folder: Path) -> BatchRequest:
    """The request of one day."""
    prompt = PROMPTS[day.toordinal() % len(PROMPTS)]
    name = str(folder.absolute() / f"{day}.webp")
    return BatchRequest(prompt, "qwen/qwen-image", name, request_id=f"{folder.absolute()}:{day}")


def main(folder: Path) -> int:
    """Ask for today's, wait for it, and say where it is."""
    today = datetime.datetime.now(datetime.UTC).date()
    try:
        job = enqueue(picture_of(today, folder))
        result = job.result(timeout=300)
    except QueueUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    if not result.success:
        job.retry()  # the next run finds it made, or failed again
        print(result.error, file=sys.stderr)
        return 1
    print(result.file_paths[0])
    yesterday = f"{folder.absolute()}:{today - datetime.timedelta(days=1)}"
    try:
        print("yesterday:", Job.get(request_id=yesterday).status())
    except NoSuchWork:
        print("yesterday: nothing was asked for")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "pictures")))
