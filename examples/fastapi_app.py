"""The same web application in FastAPI: every wait is a future, none is a thread.

    pip install fastapi uvicorn
    uvicorn --app-dir examples fastapi_app:app
    curl -o harbour.webp 'http://127.0.0.1:8000/stream?prompt=A+quiet+harbour'

No request has an output name: each job then has a file of its own, and no two users share one.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Body, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, StreamingResponse

from replibatch import BatchRequest, Client, NoSuchWork, QueueUnavailable, RequestError

MODEL = "qwen/qwen-image"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client as long as the server runs."""
    async with Client() as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.exception_handler(RequestError)
@app.exception_handler(QueueUnavailable)
async def explain(_: Request, error: Exception) -> JSONResponse:
    """One line for what the user, or the operator, can do something about."""
    return JSONResponse({"error": str(error)}, 400 if isinstance(error, RequestError) else 503)


@app.post("/images", status_code=202)
async def ask(request: Request, prompt: Annotated[str, Body(embed=True)]) -> dict[str, str]:
    """Ask for an image; answers at once, with the job's id."""
    job = await request.app.state.client.aenqueue(BatchRequest(prompt, MODEL))
    return {"job": job.id}


@app.get("/images/{job_id}")
async def show(request: Request, job_id: str) -> dict[str, str]:
    """How far it is."""
    try:
        job = await request.app.state.client.ajob(job_id)
        return {"state": await job.astatus()}
    except NoSuchWork as error:
        raise HTTPException(404, str(error)) from None


@app.get("/stream")
async def stream(request: Request, prompt: str) -> StreamingResponse:
    """Make an image and stream it in one request, which takes as long as the model does."""
    job = await request.app.state.client.aenqueue(BatchRequest(prompt, MODEL))
    result = await job.aresult(timeout=300, bring_files=False)
    if not result.success:
        raise HTTPException(502, result.error)
    return StreamingResponse(result.files[0], media_type="image/webp", headers={"X-Job": job.id})
