"""Where a file comes from, written into it as XMP and read back from it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from replibatch.outputs import embedded
from replibatch.outputs.embedded import NotEmbedded

Metadata = Literal["none", "source", "full"]

IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
OWN = "urn:replibatch:provenance:1#"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
MADE = f"{SOURCE_TYPES}trainedAlgorithmicMedia"
MADE_FROM_PICTURES = f"{SOURCE_TYPES}compositeWithTrainedAlgorithmicMedia"

_CLOSING = re.compile(r"</[A-Za-z_][\w.-]*:RDF\s*>")
_ABOUT = re.compile(r"""\babout\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_XPACKET = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'


@dataclass(frozen=True)
class Provenance:
    """What made a file.

    Attributes:
        model: `owner/name`.
        prediction_id: Replicate's.
        request: prompt and inputs as the model was given them, seed included; empty where only the source is known.
        from_pictures: whether it was made from reference images.
        cost_usd: its cost in US dollars; None where that is unknown or not given.
    """

    model: str
    prediction_id: str
    request: dict[str, Any] = field(default_factory=dict)
    from_pictures: bool = False
    cost_usd: float | None = None

    def line(self) -> dict[str, Any]:
        """A line of a list that makes it again."""
        prompt = {"prompt": self.request["prompt"]} if "prompt" in self.request else {}
        return {**prompt, "model": self.model, **self.request}


def embed(source: Path, destination: Path, provenance: Provenance) -> None:
    """Write a copy of a file that says what made it; what it carries already stays.

    Args:
        source: the file.
        destination: the copy; nothing is there yet.
        provenance: what made it.

    Raises:
        NotEmbedded: it carries Content Credentials, or its format takes none; the message says which.
        OSError: it cannot be read or written.
    """
    found = embedded.read(source)
    if found.has_c2pa:
        raise NotEmbedded("it carries Content Credentials (C2PA), which a change would break")
    embedded.write(source, destination, _packet(provenance, found.packet))


def read(path: Path) -> Provenance | None:
    """What a file says made it; None where it says nothing.

    A file may come from anyone: treat its metadata as text only.

    Raises:
        OSError: it cannot be read.
    """
    try:
        packet = embedded.read(path).packet
        if packet is None or b"<!DOCTYPE" in packet or b"<!ENTITY" in packet:
            return None
        told = dict.fromkeys(("Model", "PredictionId", "Request", "CostUsd"), "")
        for element in ElementTree.fromstring(packet.strip(b"\0 ")).iter():  # noqa: S314  # no entities: seen above
            name = element.tag.removeprefix(f"{{{OWN}}}")
            if element.tag == f"{{{OWN}}}{name}" and name in told:
                told[name] = element.text or ""
        request = json.loads(told["Request"] or "{}")
        cost = float(told["CostUsd"]) if told["CostUsd"] else None
    except (NotEmbedded, ElementTree.ParseError, ValueError, RecursionError):
        return None
    if not told["Model"] or not isinstance(request, dict):
        return None
    return Provenance(told["Model"], told["PredictionId"], request, cost_usd=cost)


def _packet(provenance: Provenance, there: bytes | None) -> bytes:
    """A packet that says it, together with what one that is there already says."""
    if there is None or not there.strip(b"\0 "):
        whole = (
            f'{_XPACKET}<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}">'
            f'{_description(provenance, "")}</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
        )
        return whole.encode()
    try:
        text = there.decode("utf-8").rstrip("\0")
    except UnicodeDecodeError:
        raise NotEmbedded("its own XMP is no UTF-8") from None
    closing = list(_CLOSING.finditer(text))
    if not closing:
        raise NotEmbedded("its own XMP is malformed")
    about = _ABOUT.search(text)
    same = (about[1] or about[2] or "") if about else ""
    told = _description(provenance, same, without_source_type=":DigitalSourceType" in text)
    at = closing[-1].start()
    return (text[:at] + told + text[at:]).encode()


def _description(provenance: Provenance, about: str, *, without_source_type: bool = False) -> str:
    source_type = MADE_FROM_PICTURES if provenance.from_pictures else MADE
    properties = {
        "Iptc4xmpExt:DigitalSourceType": None if without_source_type else source_type,
        "Iptc4xmpExt:AISystemUsed": provenance.model,
        "Iptc4xmpExt:AIPromptInformation": provenance.request.get("prompt"),
        "replibatch:Model": provenance.model,
        "replibatch:PredictionId": provenance.prediction_id,
        "replibatch:Request": json.dumps(provenance.request, ensure_ascii=False) if provenance.request else None,
        "replibatch:CostUsd": None if provenance.cost_usd is None else repr(provenance.cost_usd),
    }
    told = "".join(f"<{name}>{_text(value)}</{name}>" for name, value in properties.items() if value)
    return (
        f'<rdf:Description xmlns:rdf="{RDF}" rdf:about="{about}" xmlns:Iptc4xmpExt="{IPTC}" '
        f'xmlns:replibatch="{OWN}">{told}</rdf:Description>'
    )


def _text(value: object) -> str:
    """A text as XML has it; what XML cannot have is made visible."""
    return escape(_NO_XML.sub("\ufffd", str(value)), {"\r": "&#13;"})
