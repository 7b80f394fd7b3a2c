"""The application: routes over deployments, wherever their models run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, FastAPI, Header, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from clock.errors import InputError
from inference.http import models
from inference.http.answering import Answering, unknown_deployment
from inference.http.errors import RefusedError, clipped, error_response
from inference.http.faults import in_words
from inference.http.gate import Gate
from inference.http.limits import REQUEST_ID
from inference.http.metrics import Recorder
from inference.http.openapi import describe, refusals
from inference.http.settings import Settings
from inference.http.strict_json import parse

if TYPE_CHECKING:
    from inference.http.served import Served

__all__ = ["make_app"]


def make_app(deployments: Sequence[Served], settings: Settings | None = None) -> FastAPI:
    """Return the service over some deployments.

    The application closes them when it stops.

    Args:
        deployments: At least one, each of another name.
        settings: Limits, deadlines and token.

    Raises:
        InputError: If there is no deployment, or two of one name.
    """
    named = {deployment.about.name: deployment for deployment in deployments}
    if not named or len(named) < len(deployments):
        names = ", ".join(deployment.about.name for deployment in deployments) or "none"
        raise InputError(f"the service needs deployments of distinct names: got {names}.")
    settings = settings or Settings()
    recorder = Recorder(named)
    app = FastAPI(
        title="Lightcone predictions",
        version="1",
        description="Predictions of deployed models. Every error has the shape of ErrorResponse.",
        lifespan=_closing(list(named.values())),
        docs_url=None,  # its page loads scripts from another host
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.recorder = recorder
    app.include_router(_predictions(Answering(named, settings, recorder), settings))
    app.include_router(_deployments(named, recorder, settings))
    app.include_router(_health(named))
    app.add_middleware(Gate, settings=settings, recorder=recorder)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(HTTPException, _of_the_router)
    app.add_exception_handler(RequestValidationError, _invalid)
    describe(app, [deployment.about for deployment in named.values()])
    return app


def _closing(deployments: Sequence[Served]) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        for deployment in deployments:
            await deployment.close()

    return lifespan


class _StrictRequest(Request):
    async def json(self) -> Any:
        try:
            return parse(await self.body())
        except RefusedError as error:
            # the framework lets its own kind of exception through, and hides every other one
            raise _Wrapped(error) from None


class _Wrapped(HTTPException):
    def __init__(self, error: RefusedError) -> None:
        super().__init__(error.status, error.message)
        self.error = error


class _StrictRoute(APIRoute):
    """A route whose body is strict JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return strictly


RequestId = Annotated[
    str | None,
    Header(
        alias="X-Request-ID",
        pattern=REQUEST_ID,
        description="Repeated in the answer; made where it is not given.",
    ),
]


def _guards(settings: Settings) -> list[Any]:
    """Return what only describes the token: the gate has asked for it already."""
    return [Security(HTTPBearer(auto_error=False))] if settings.token is not None else []


def _predictions(answering: Answering, settings: Settings) -> APIRouter:
    router = APIRouter(
        prefix="/api/v1/predictions",
        tags=["predictions"],
        route_class=_StrictRoute,
        dependencies=_guards(settings),
        responses=refusals(400, 401, 404, 408, 413, 415, 422, 500, 502, 503, 504),
    )

    @router.post("", summary="Predict one row")
    async def predict(
        asked: models.PredictionRequest, request: Request, x_request_id: RequestId = None
    ) -> models.PredictionResponse:
        return await answering.one(asked, request.state.request_id)

    @router.post("/batch", summary="Predict several rows")
    async def predict_batch(
        asked: models.BatchRequest, request: Request, x_request_id: RequestId = None
    ) -> models.BatchResponse:
        return await answering.several(asked, request.state.request_id)

    return router


def _deployments(named: dict[str, Served], recorder: Recorder, settings: Settings) -> APIRouter:
    router = APIRouter(
        tags=["deployments"],
        dependencies=_guards(settings),
        responses=refusals(400, 401, 500),
    )

    @router.get("/api/v1/deployments", summary="List the deployments")
    async def deployments(x_request_id: RequestId = None) -> models.DeploymentsResponse:
        return models.DeploymentsResponse(
            deployments=[await _described(deployment) for deployment in named.values()]
        )

    @router.get(
        "/api/v1/deployments/{name}/metrics",
        summary="What a deployment did",
        responses=refusals(404),
    )
    async def metrics(name: str, x_request_id: RequestId = None) -> models.DeploymentMetrics:
        if name not in named:
            raise unknown_deployment(name, named)
        return recorder.of(name)

    @router.get(
        "/metrics",
        summary="Counters for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def prometheus(x_request_id: RequestId = None) -> Response:
        return Response(
            recorder.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    return router


def _health(named: dict[str, Served]) -> APIRouter:
    router = APIRouter(tags=["health"], responses=refusals(400, 500))

    @router.get(
        "/health",
        summary="Whether the deployments can answer",
        responses={503: {"model": models.HealthResponse, "description": "One cannot."}},
    )
    async def health(response: Response, x_request_id: RequestId = None) -> models.HealthResponse:
        told = {name: await deployment.readiness() for name, deployment in named.items()}
        ready = not any(told.values())
        response.status_code = 200 if ready else 503
        return models.HealthResponse(
            live=True,
            ready=ready,
            deployments={
                name: models.Readiness(ready=not why, reason=why or None)
                for name, why in told.items()
            },
        )

    @router.get("/health/live", summary="Whether the service lives")
    async def live(x_request_id: RequestId = None) -> models.Readiness:
        return models.Readiness(ready=True)

    return router


async def _described(deployment: Served) -> models.DeploymentResponse:
    about = deployment.about
    return models.DeploymentResponse(
        name=about.name,
        model_id=about.model_id,
        model_version=about.model_version,
        model_digest=about.digest,
        predictor=about.predictor,
        backend=about.backend,
        replicas=about.replicas,
        features=list(about.feature_names),
        accepts_missing=about.accepts_nan,
        ready=not await deployment.readiness(),
    )


async def _refused(request: Request, error: Any) -> Response:
    return error_response(error, request.state.request_id)


async def _invalid(request: Request, error: Any) -> Response:
    return error_response(in_words(error), request.state.request_id)


async def _of_the_router(request: Request, error: Any) -> Response:
    if isinstance(error, _Wrapped):
        return error_response(error.error, request.state.request_id)
    code, what = {
        404: ("unknown_path", "there is nothing at this path"),
        405: ("wrong_method", f"this path does not take {clipped(request.method)}"),
    }.get(error.status_code, ("refused", clipped(str(error.detail))))
    return error_response(
        RefusedError(
            error.status_code,
            code,
            f"{what}: the service describes itself at /openapi.json.",
            headers=error.headers,
        ),
        request.state.request_id,
    )
