"""The table of a catalogue file for a model that is added: what it publishes does not say, or must not be lost."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from replibatch.catalog.models import DEPLOYMENT, PROMPT_NAMES
from replibatch.catalog.published import Published
from replibatch.catalog.schemas import Table
from replibatch.file_formats import FORMATS

# What a model makes, by words of its name, its inputs and its description, the first that are found.
WORDS = {
    "3d": r"3d|mesh|glb|gaussian.splat|point.cloud",
    "video": r"video|movie|animat|num_frames|fps|lip.?sync",
    "audio": r"audio|speech|voice|music|sound|tts|song",
    "image": r"image|photo|picture|upscal|background|portrait|logo|diffusion|flux|inpaint",
}
FORMAT_INPUTS = ("output_format", "output_type", "format", "file_type")
# Inputs with images that guide a model; a plain `image` is its start image, except where it makes videos.
REFERENCES = (
    *("image_input", "input_images", "reference_images", "image_prompts", "input_image", "reference_image"),
    *("image_prompt", "start_image", "first_frame_image"),
)
REFERENCE_MAX = 10  # where the schema names no number: Replicate refuses more than the model takes, unpaid


def table_for(published: Published, given: Table) -> Table:
    """The table of a model.

    Args:
        published: what it publishes.
        given: keys that the user gave; they stand.
    """
    kind = str(given.get("kind") or kind_of(published))
    table: Table = {"kind": kind}
    if published.is_official is False and published.version:
        table["version"] = published.version
    if not published.output and kind == "text":
        table["output"] = "text"
    if seconds := published.example.get("seconds"):
        table["typical_seconds"] = seconds
    table |= _prompt_of(published) | _references_of(published, kind)
    page = published.address.removeprefix(DEPLOYMENT).partition(":")[0]
    kind_of_page = "deployments/" if published.address.startswith(DEPLOYMENT) else ""
    table["source"] = f"https://replicate.com/{kind_of_page}{page}, read {datetime.now(UTC):%Y-%m-%d}"
    table |= given
    secrets = [name for name, each in (published.inputs or {}).items() if each.get("type") == "secret"]
    if secrets:  # kept secret even when the published schema is out of reach
        table["inputs"] = dict.fromkeys(secrets, "secret")
    return table


def kind_of(published: Published) -> str:
    """What a model makes, as far as what it publishes tells."""
    declared = published.output.get("output")
    if declared in ("text", "array<text>"):
        return "text"
    if declared == "json" and not published.output.get("output_files"):
        return "file"
    inputs = published.inputs or {}
    by_example = _kind_of_extensions(published.example.get("extensions", ()))
    listed = [str(each) for name in FORMAT_INPUTS for each in inputs.get(name, {}).get("enum", ())]
    return by_example or _kind_of_extensions(listed) or _kind_of_words(published, inputs)


def to_toml(name: str, table: Table) -> str:
    """A table as a catalogue file has it."""
    lines = [f"[{_value(name)}]"]
    lines += [f"{key} = {_value(value)}" for key, value in table.items() if key != "inputs"]
    lines += [f"inputs.{_key(key)} = {_value(value)}" for key, value in table.get("inputs", {}).items()]
    return "\n".join(lines) + "\n"


def without(text: str, name: str) -> str:
    """The text of a catalogue file without a model's tables."""
    header = re.compile(r"\s*\[{1,2}\s*(?:\"([^\"]*)\"|'([^']*)'|([\w-]+))")
    kept, skipping = [], False
    for line in text.splitlines(keepends=True):
        if found := header.match(line):
            skipping = next(each for each in found.groups() if each is not None) == name
        if not skipping:
            kept.append(line)
    return "".join(kept)


def _kind_of_extensions(extensions: Any) -> str | None:
    kinds = {extension: each.kind for each in FORMATS for extension in each.extensions}
    found = {kinds[str(each).lower()] for each in extensions if str(each).lower() in kinds}
    return found.pop() if len(found) == 1 and found <= {"image", "video", "audio", "3d"} else None


def _kind_of_words(published: Published, inputs: Table) -> str:
    for text in (published.address.replace("/", " "), " ".join(inputs), published.description):
        for kind, words in WORDS.items():
            if re.search(rf"(?<![a-z])({words})", text.lower()):
                return kind
    return "file"


def _prompt_of(published: Published) -> Table:
    """The input that takes the prompt, where none of the usual names does and one text is required."""
    inputs = published.inputs or {}
    if any(name in inputs for name in PROMPT_NAMES):
        return {}
    texts = [
        name
        for name, each in inputs.items()
        if each.get("required") and each.get("type") == "string" and "enum" not in each
    ]
    return {"prompt_param": texts[0]} if len(texts) == 1 else {}


def _references_of(published: Published, kind: str) -> Table:
    inputs = published.inputs or {}
    for name in (*REFERENCES, *(("image",) if kind == "video" else ())):
        spec = inputs.get(name, {})
        if spec.get("type") == "uri":
            return {"reference_param": name}
        if spec.get("type") == "array" and spec.get("items") == "uri":
            return {"reference_param": name, "reference_max": REFERENCE_MAX}
    return {}


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: Any) -> str:
    """A value in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(name)} = {_value(each)}" for name, each in value.items()) + " }"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(f"\\u{ord(each):04x}" if ord(each) < 32 or ord(each) == 127 else each for each in text) + '"'
