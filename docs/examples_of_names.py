"""Examples for the public names whose docstrings have none: mostly errors. A test runs each of them."""

EXAMPLES = {
    "AccountStopped": """try:
    enqueue(BatchRequest("A fox", "qwen/qwen-image")).result(timeout=120)
except AccountStopped as error:  # TokenRefused or NoCredit: the job waits until the account goes on
    print(error)
""",
    "AllModelsFailed": """try:
    replicate_model_calling("A fox", "qwen/qwen-image")
except AllModelsFailed as error:
    print([(attempt.model, attempt.reason) for attempt in error.result.attempts], error.result.file_paths)
""",
    "Attempt": """result = enqueue(BatchRequest("A fox", "qwen/qwen-image")).result()
for attempt in result.attempts:
    print(attempt.model, attempt.outcome, attempt.reason, attempt.seconds, attempt.cost_usd)
""",
    "BatchRequest": """request = BatchRequest(
    "A poster",
    "qwen/qwen-image",
    kwargs={"aspect_ratio": "16:9"},
    request_id="order-77",  # the same again is the same job
    fields={"customer": 5},  # comes back with the result
    tags=["posters"],
    webhook="https://shop.example/made",
)
result = enqueue(request).result()
assert result.fields == {"customer": 5}
""",
    "BatchResult": """result = enqueue(BatchRequest("A fox", "qwen/qwen-image")).result()
if result.success:
    print(result.model_used, result.file_paths, result.cost_usd)
else:
    print(result.error, result.placeholder)
""",
    "GenerationCanceled": """try:
    replicate_model_calling("A fox", "qwen/qwen-image")
except GenerationCanceled as error:
    print("canceled by its owner:", error.result.request_id)
""",
    "GenerationFailed": """try:
    replicate_model_calling("A fox", "qwen/qwen-image")
except GenerationFailed as error:  # AllModelsFailed, OverBudget or GenerationCanceled
    print(error.result.error)
""",
    "IdempotencyConflict": """enqueue(BatchRequest("A fox", "qwen/qwen-image", request_id="order-77"))
try:
    enqueue(BatchRequest("A cat", "qwen/qwen-image", request_id="order-77"))
except IdempotencyConflict as error:
    assert error.differs == ("prompt",)
""",
    "NoCredit": """try:
    enqueue(BatchRequest("A fox", "qwen/qwen-image")).result()
except NoCredit as error:
    print("add credit, then `replibatch resume`:", error)
""",
    "NoSuchWork": """try:
    Job.get(request_id="order-78")
except NoSuchWork as error:
    print(error)
""",
    "OutputFile": """[file] = enqueue(BatchRequest("A fox", "qwen/qwen-image")).result().files
content = file.read()  # checked against file.sha256
for chunk in file:  # in chunks; `async for` in a coroutine
    print(len(chunk))
""",
    "OutputPathError": """try:
    enqueue(BatchRequest("A fox", "qwen/qwen-image", "../../fox.png"))
except OutputPathError as error:
    print(error)
""",
    "OverBudget": """try:
    replicate_model_calling("A fox", "qwen/qwen-image")
except OverBudget as error:
    print("nothing was spent:", error.result.error)
""",
    "Progress": """progress = enqueue_batch([BatchRequest("A fox", "qwen/qwen-image")]).progress()
print(f"{progress.finished} of {progress.total}, {progress.running} running, ${progress.cost_usd}")
""",
    "QueueUnavailable": """try:
    job_id = enqueue(BatchRequest("A fox", "qwen/qwen-image", request_id="order-77")).id
except QueueUnavailable as error:
    if error.accepted:  # it is in the queue
        job_id = error.job_id
    else:  # False: it is not. None: not known; the same request_id again gives one job
        print("try again later:", error)
""",
    "ReferenceImageError": """try:
    enqueue(BatchRequest("Older", "google/nano-banana", kwargs={"image_input": ["missing.png"]}))
except ReferenceImageError as error:
    print(error)
""",
    "ReplibatchError": """try:
    replicate_model_calling("A fox", "qwen/qwen-image")
except ReplibatchError as error:  # the base of all of them; its text is one line for people
    print(error)
""",
    "ReplibatchWarning": """import warnings

warnings.simplefilter("error", ReplibatchWarning)  # in tests: what is not as it was written ends the call
enqueue(BatchRequest("A fox", "qwen/qwen-image"))
""",
    "RequestError": """try:
    enqueue(BatchRequest("", "qwen/qwen-image"))
except RequestError as error:  # nothing was spent
    print(error)
""",
    "ResultTimeout": """job = enqueue(BatchRequest("A fox", "qwen/qwen-image"))
try:
    job.result(timeout=30)
except ResultTimeout:
    print("it goes on:", job.id)
""",
    "SettingsError": """try:
    Client(account="not a name")
except SettingsError as error:
    print(error)
""",
    "State": """job = enqueue(BatchRequest("A fox", "qwen/qwen-image"))
if job.status().is_final:
    print(job.status() == State.SUCCEEDED)
""",
    "StorageError": """[file] = enqueue(BatchRequest("A fox", "qwen/qwen-image")).result().files
try:
    file.read()
except StorageError as error:  # it is not there, or another was written over it
    print(error)
""",
    "TokenRefused": """try:
    enqueue(BatchRequest("A fox", "qwen/qwen-image")).result()
except TokenRefused as error:
    print("start workers with a valid REPLICATE_API_TOKEN:", error)
""",
    "UnsupportedModel": """try:
    enqueue(BatchRequest("A fox", "google/nano-banan"))
except UnsupportedModel as error:
    print(error)
""",
    "WebhookRefused": """try:
    verify_webhook(b"{}", {}, "whsec_bm90IGEgc2VjcmV0IGF0IGFsbA==")
except WebhookRefused as error:
    print(error)
""",
    "ListError": """try:
    raise ListError(["list.csv, line 3: prompt is empty"])
except ListError as error:
    print(error.mistakes)
""",
    "OUTPUT": """request = BatchRequest("A fox in snow", "qwen/qwen-image").then(
    "black-forest-labs/flux-kontext-max", "the same at night", input_image=OUTPUT
)
print(enqueue(request).result().file_paths)
""",
    "StepResult": """request = BatchRequest("A fox in snow", "qwen/qwen-image").then(
    "black-forest-labs/flux-kontext-max", "the same at night", input_image=OUTPUT
)
for step in enqueue(request).result().steps:
    print(step.step, step.model_used, [file.path for file in step.files])
""",
    "sweep": """request = BatchRequest("A fox", "qwen/qwen-image")
batch = enqueue_batch(sweep(request, seed=range(2), aspect_ratio=["1:1", "16:9"]))
print(len(batch.results()))
""",
}
