"""Models, deployments, the account: read from the catalogue, as the gateway has no token to ask with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from replibatch.catalog import Model
from replibatch.catalog.models import DEPLOYMENT
from replibatch.gateway.context import Gateway
from replibatch.sandbox import hosting, schemas
from replibatch.sandbox.replies import not_found
from replibatch.webhooks import secret_of

CREATED = "2026-01-01T00:00:00.000000Z"  # the catalogue does not know


class Models:
    """Their routes.

    Args:
        gateway: the process's.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def routes(self) -> Sequence[Route]:
        """All of them."""
        model = "/v1/models/{owner}/{name}"
        return [
            Route("/v1/models", self.list, methods=["GET"]),
            Route(model, self.get, methods=["GET"]),
            Route(f"{model}/versions", self.versions, methods=["GET"]),
            Route(f"{model}/versions/{{version}}", self.version, methods=["GET"]),
            Route("/v1/deployments", self.deployments, methods=["GET"]),
            Route("/v1/deployments/{owner}/{name}", self.deployment, methods=["GET"]),
            Route("/v1/account", self.account, methods=["GET"]),
            Route("/v1/webhooks/default/secret", self.secret, methods=["GET"]),
        ]

    def _views(self) -> dict[str, dict[str, Any]]:
        """Every model by name, without deployments."""
        hosted = self._gateway.hosted.items()
        return {each.name: schemas.model_view(each) for name, each in hosted if not name.startswith(DEPLOYMENT)}

    async def list(self, request: Request) -> Response:
        """`GET /v1/models`: all that the catalogue has, on one page."""
        await self._gateway.tenant(request)
        return JSONResponse({"previous": None, "next": None, "results": [*self._views().values()]})

    async def _found(self, request: Request) -> dict[str, Any]:
        await self._gateway.tenant(request)
        params = request.path_params
        found = self._views().get(f"{params['owner']}/{params['name']}")
        if found is None:
            raise not_found()
        return found

    async def get(self, request: Request) -> Response:
        """`GET /v1/models/{owner}/{name}`."""
        return JSONResponse(await self._found(request))

    async def versions(self, request: Request) -> Response:
        """`GET /v1/models/{owner}/{name}/versions`."""
        found = await self._found(request)
        return JSONResponse({"previous": None, "next": None, "results": [found["latest_version"]]})

    async def version(self, request: Request) -> Response:
        """`GET /v1/models/{owner}/{name}/versions/{id}`."""
        version = (await self._found(request))["latest_version"]
        if version["id"] != request.path_params["version"]:
            raise not_found()
        return JSONResponse(version)

    async def deployments(self, request: Request) -> Response:
        """`GET /v1/deployments`."""
        await self._gateway.tenant(request)
        models = self._gateway.producer.catalog.models.values()
        rows = [_deployment(model) for model in models if model.is_deployment]
        return JSONResponse({"previous": None, "next": None, "results": rows})

    async def deployment(self, request: Request) -> Response:
        """`GET /v1/deployments/{owner}/{name}`."""
        await self._gateway.tenant(request)
        params = request.path_params
        model = self._gateway.producer.catalog.models.get(f"{DEPLOYMENT}{params['owner']}/{params['name']}")
        if model is None:
            raise not_found()
        return JSONResponse(_deployment(model))

    async def account(self, request: Request) -> Response:
        """`GET /v1/account`: the key's name; the account itself is none of its business."""
        tenant = await self._gateway.tenant(request)
        return JSONResponse(
            {"type": "organization", "username": tenant.name, "name": tenant.name, "github_url": None}
        )

    async def secret(self, request: Request) -> Response:
        """`GET /v1/webhooks/default/secret`: the key's own."""
        tenant = await self._gateway.tenant(request)
        master = self._gateway.producer.settings.webhook_secret
        if master is None:
            raise not_found("Webhooks are not signed: REPLIBATCH_WEBHOOK_SECRET is not set for the gateway")
        return JSONResponse({"key": secret_of(master.get_secret_value(), tenant.id)})


def _deployment(model: Model) -> dict[str, Any]:
    owner, _, name = model.name.removeprefix(DEPLOYMENT).partition("/")
    release = {
        "number": 1,
        "model": f"{owner}/{name}",
        "version": hosting.of_catalog(model).version,
        "created_at": CREATED,
        "created_by": {"type": "organization", "username": owner, "name": owner},
        "configuration": {"hardware": "", "min_instances": 0, "max_instances": 1},
    }
    return {"owner": owner, "name": name, "current_release": release}
