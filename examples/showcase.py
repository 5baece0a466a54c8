"""17 illustration styles by 4 models: 68 images in one batch, up to 300 in flight, named by style and model.

    python examples/showcase.py [FOLDER]

Writes FOLDER/<model>/<style>.jpg (FOLDER is `showcase` unless given), results.jsonl and gallery.html: a row a style,
a column a model. At Replicate's prices it costs $2.53.
"""

import asyncio
import json
import sys
from pathlib import Path

from replibatch import BatchRequest, IntelligentBatchProcessor
from replibatch.gallery.page import write_gallery

SCENE = "A lighthouse keeper and a fox share supper by the lamp while a storm passes"
STYLES = {
    "watercolour": "loose watercolour on rough paper, soft edges, granulating blues",
    "gouache": "opaque gouache, flat shapes, matte colours, visible brushwork",
    "oil": "oil on canvas, thick impasto, warm light against deep shadow",
    "ink-wash": "East Asian ink wash, few strokes, much empty paper",
    "pen-and-ink": "fine pen and ink, dense cross-hatching, no colour",
    "woodcut": "woodcut print, bold black lines, two spot colours",
    "linocut": "linocut, carved texture, one dark ink on cream paper",
    "risograph": "risograph print, pink and teal, grain and slight misregistration",
    "art-deco": "art deco poster, geometric forms, gold and navy",
    "art-nouveau": "art nouveau panel, flowing lines, ornamental border",
    "picture-book": "children's picture book, rounded figures, gentle humour",
    "comic": "European comic, clear line, flat colours, evening light",
    "pixel-art": "16-bit pixel art, limited palette, dithered sky",
    "isometric": "isometric vector illustration, clean edges, pastel palette",
    "paper-cut": "layered paper cut, soft shadows between the layers",
    "stained-glass": "stained glass window, leaded outlines, glowing panes",
    "charcoal": "charcoal on toned paper, smudged darks, white chalk highlights",
}
MODELS = {  # with the inputs each of them is best served with
    "black-forest-labs/flux-dev": {"aspect_ratio": "16:9", "guidance": 3.0},
    "black-forest-labs/flux-1.1-pro-ultra": {"aspect_ratio": "16:9"},
    "qwen/qwen-image": {"aspect_ratio": "16:9"},
    "google/nano-banana": {},  # square
}
MAX_CONCURRENT = 300


def requests(folder):
    """One for each style and model, each with its place."""
    return [
        BatchRequest(f"{SCENE}; {style}", model, str(folder / model.partition("/")[2] / f"{name}.jpg"), inputs)
        for model, inputs in MODELS.items()
        for name, style in STYLES.items()
    ]


async def main(folder):
    asked = requests(folder)
    with (folder / "results.jsonl").open("w", encoding="utf-8") as lines:

        def note(done, total, result):
            print(f"{done:>2} of {total}  {result.duration:5.1f} s  {result.model_used or result.error}")

        processor = IntelligentBatchProcessor(
            max_concurrent=MAX_CONCURRENT, global_max_concurrent=MAX_CONCURRENT, progress_callback=note
        )
        results = await processor.process_intelligent_batch(asked)
        for index, result in enumerate(results):
            style = Path(asked[index].output_filepath).stem
            lines.write(json.dumps({"index": index, **result.to_json(), "fields": {"style": style}}) + "\n")
    write_gallery(folder / "results.jsonl", folder / "gallery.html", "17 styles by 4 models")

    made = sum(result.success for result in results)
    reached = processor.global_manager.get_global_status()["max_concurrent_reached"]
    print(f"{made} of {len(results)} made for ${sum(result.cost_usd for result in results):.2f}")
    print(f"{reached} in flight at most; see {folder / 'gallery.html'}")


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "showcase").absolute()
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(target))
