"""Uploaded files: kept in the storage, where every worker finds them; a day long, each its key's own."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import IO, Any, Self

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from replibatch.gateway import bodies
from replibatch.gateway.context import Gateway
from replibatch.gateway.refusals import bad_request, too_many, too_slow
from replibatch.gateway.tenants import Tenant
from replibatch.redisdb import keys
from replibatch.requests import new_id
from replibatch.routing.references import LARGEST_BYTES
from replibatch.sandbox.replies import InvalidField, invalid, not_found, too_large
from replibatch.served.view import Json, iso

KEPT_SECONDS = 24 * 3600
ROOM_BYTES = 64 * 1024  # what a multipart body holds besides its file
LONGEST_METADATA = 16 * 1024
LONGEST_NAME = 200
MOST_FILES = 1000  # of one key
PIECE_BYTES = 256 * 1024
FILE_ID = re.compile(r"[0-9a-z]{1,64}")


@dataclass(frozen=True)
class Uploaded:
    """One uploaded file; times in Unix seconds.

    Attributes:
        id: its own.
        owner: the id of the key it was uploaded with.
        name: as its sender calls it.
        content_type: the same.
        size: in bytes.
        sha256: of its bytes, hexadecimal.
        reference: its name in the storage.
        created: when it was uploaded.
        metadata: the sender's.
    """

    id: str
    owner: str
    name: str
    content_type: str
    size: int
    reference: str
    created: float
    metadata: Json = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Of its bytes, hexadecimal."""
        return self.reference.removeprefix("file:").partition(".")[0]

    def packed(self) -> dict[Any, Any]:
        """As it lies in Redis."""
        kept = {name: str(value) for name, value in vars(self).items() if name not in ("id", "metadata")}
        return {**kept, "metadata": json.dumps(self.metadata)}

    @classmethod
    def parse(cls, file_id: str, fields: dict[str, str]) -> Self:
        """The opposite of `packed`."""
        return cls(
            file_id, fields["owner"], fields["name"], fields["content_type"], int(fields["size"]),
            fields["reference"], float(fields["created"]), json.loads(fields["metadata"]),
        )  # fmt: skip

    def view(self, base: str) -> Json:
        """The file as the API's JSON."""
        return {
            "id": self.id,
            "name": self.name,
            "content_type": self.content_type,
            "size": self.size,
            "etag": self.sha256[:32],
            "checksums": {"sha256": self.sha256},
            "metadata": self.metadata,
            "created_at": iso(self.created),
            "expires_at": iso(self.created + KEPT_SECONDS),
            "urls": {"get": f"{base}/v1/files/{self.id}"},
        }


class Uploads:
    """Their routes.

    Args:
        gateway: the process's.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def routes(self) -> Sequence[Route]:
        """All of them."""
        return [
            Route("/v1/files", self.list, methods=["GET"]),
            Route("/v1/files", self.create, methods=["POST"]),
            Route("/v1/files/{id}", self.get, methods=["GET"]),
            Route("/v1/files/{id}", self.delete, methods=["DELETE"]),
        ]

    async def create(self, request: Request) -> Response:
        """`POST /v1/files`."""
        gateway = self._gateway
        base, tenant = gateway.base(request), await gateway.tenant(request)
        held = bodies.bounded(request, LARGEST_BYTES + ROOM_BYTES)
        try:
            async with held.form(max_files=4, max_fields=4, max_part_size=LONGEST_METADATA) as form:
                uploaded = await gateway.producer.in_thread(self._keep, tenant, form)
        except ClientDisconnect:
            raise too_slow() from None
        except HTTPException as error:
            raise bad_request(str(error.detail)) from None
        return JSONResponse(uploaded.view(base), 201)

    def _keep(self, tenant: Tenant, form: FormData) -> Uploaded:
        content = form.get("content")
        if not isinstance(content, UploadFile):
            raise invalid([InvalidField("required", "(root)", "content is required")])
        size = content.file.seek(0, 2)
        if size > LARGEST_BYTES:
            raise too_large(LARGEST_BYTES)
        content.file.seek(0)
        name = (content.filename or "file")[:LONGEST_NAME]
        metadata = _metadata(form.get("metadata"))
        producer, prefix = self._gateway.producer, self._gateway.prefix
        listed, at = keys.SERVED_FILES.at(prefix, tenant.id), round(time.time(), 3)
        with producer.reaching():
            producer.redis.zremrangebyscore(listed, "-inf", at - KEPT_SECONDS)
            if producer.redis.zcard(listed) >= MOST_FILES:
                raise too_many(f"This key has {MOST_FILES:,} files already; delete some of them")
        producer.check_storage()
        reference = producer.files.storage.keep_input(_pieces(content.file), PurePath(name).suffix)
        kind = content.content_type or "application/octet-stream"
        uploaded = Uploaded(new_id(26), tenant.id, name, kind[:LONGEST_NAME], size, reference, at, metadata)
        key = keys.SERVED_FILE.at(prefix, uploaded.id)
        with producer.reaching(), producer.redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(key, mapping=uploaded.packed())
            pipeline.expire(key, KEPT_SECONDS)
            pipeline.zadd(listed, {uploaded.id: at})
            pipeline.expire(listed, KEPT_SECONDS)
            pipeline.execute()
        return uploaded

    async def list(self, request: Request) -> Response:
        """`GET /v1/files`, newest first."""
        gateway = self._gateway
        base, tenant = gateway.base(request), await gateway.tenant(request)
        name = keys.SERVED_FILES.at(gateway.prefix, tenant.id)
        ids = await gateway.ask(lambda redis: redis.zrevrange(name, 0, MOST_FILES))
        rows = [uploaded.view(base) for each in ids if (uploaded := await self._find(tenant, each))]
        return JSONResponse({"previous": None, "next": None, "results": rows})

    async def get(self, request: Request) -> Response:
        """`GET /v1/files/{id}`."""
        _, uploaded = await self._own(request)
        return JSONResponse(uploaded.view(self._gateway.base(request)))

    async def delete(self, request: Request) -> Response:
        """`DELETE /v1/files/{id}`."""
        tenant, uploaded = await self._own(request)
        prefix = self._gateway.prefix
        name, listed = keys.SERVED_FILE.at(prefix, uploaded.id), keys.SERVED_FILES.at(prefix, tenant.id)
        await self._gateway.ask(lambda redis: redis.delete(name))
        await self._gateway.ask(lambda redis: redis.zrem(listed, uploaded.id))
        return Response(status_code=204)

    async def _own(self, request: Request) -> tuple[Tenant, Uploaded]:
        tenant = await self._gateway.tenant(request)
        uploaded = await self._find(tenant, request.path_params["id"])
        if uploaded is None:
            raise not_found("File not found")
        return tenant, uploaded

    async def _find(self, tenant: Tenant, file_id: str) -> Uploaded | None:
        if not FILE_ID.fullmatch(file_id):
            return None
        name = keys.SERVED_FILE.at(self._gateway.prefix, file_id)
        fields: Any = await self._gateway.ask(lambda redis: redis.hgetall(name))
        return Uploaded.parse(file_id, fields) if fields.get("owner") == tenant.id else None


def _metadata(given: Any) -> Json:
    text = given.file.read(LONGEST_METADATA).decode(errors="replace") if isinstance(given, UploadFile) else given
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise invalid([InvalidField("format", "metadata", "must be a JSON object")])
    return found


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(PIECE_BYTES):
        yield piece
