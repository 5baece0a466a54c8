"""The limiter's scripts: the Lua files that each of them is put together from."""

from __future__ import annotations

from replibatch.redisdb.scripts import Script

_PACKAGE = "replibatch.limits"
_HEAD = ("state", "outages", "ahead", "limiter")
FILES = {
    **{
        name: (*_HEAD, name)
        for name in (
            "acquire",
            "claim",
            "answer",
            "release",
            "adopt",
            "report",
            "rebuild",
            "pump",
            "stop",
            "resume",
            "fault",
            "works",
            "try",
        )
    },
    **{name: (*_HEAD, "blocked", "in_force", name) for name in ("heartbeat", "status")},
}

SCRIPTS = {name: Script(_PACKAGE, *files) for name, files in FILES.items()}
