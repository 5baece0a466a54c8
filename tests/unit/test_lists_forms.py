"""The forms in which people have their prompts: each is understood, or refused by a line that says what to type."""

from __future__ import annotations

import datetime
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support import PROJECT
from tests.support.listing import BANANA, FLUX, IMAGEN, KONTEXT, QWEN, refused, understood, written

FOX_HEN = ["a fox", "a hen"]


@pytest.fixture(autouse=True)
def pictures() -> None:
    for name in ("refs/a.png", "b.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), "red").save(name)


def lines(*records: Any) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def openai_line(number: int, **body: Any) -> dict[str, Any]:
    whole = {"model": QWEN, "prompt": FOX_HEN[number], **body}
    return {"custom_id": f"request-{number}", "method": "POST", "url": "/v1/images/generations", "body": whole}


UNDERSTOOD: list[tuple[str, str | bytes, dict[str, Any], list[str], list[dict[str, Any]]]] = [
    # name, content, options, prompts, what is sent besides
    ("plain.txt", "a fox\n\n  a hen \n", {}, FOX_HEN, [{}, {}]),
    ("no-end.txt", "a fox\r\na hen", {}, FOX_HEN, [{}, {}]),
    ("old-mac.txt", "a fox\ra hen\r", {}, FOX_HEN, [{}, {}]),
    ("marked.txt", "\ufeffein Fuchs\n狐狸\n", {}, ["ein Fuchs", "狐狸"], [{}, {}]),
    ("utf16.txt", "a fox\na hen\n".encode("utf-16"), {}, FOX_HEN, [{}, {}]),
    ("utf16-be.txt", b"\xfe\xff" + "a fox\na hen\n".encode("utf-16-be"), {}, FOX_HEN, [{}, {}]),
    ("unmarked.txt", "a fox\na hen\n".encode("utf-16-le"), {"encoding": "utf-16-le"}, FOX_HEN, [{}, {}]),
    ("sjis.txt", "狐\n鶏\n".encode("shift_jis"), {"encoding": "shift_jis"}, ["狐", "鶏"], [{}, {}]),
    ("numbered.txt", "1. a fox\n2. a hen\n", {}, FOX_HEN, [{}, {}]),
    ("bullets.txt", "- a fox\n- a hen\n", {}, FOX_HEN, [{}, {}]),
    ("each.txt", "Prompt: a fox\nprompt: a hen\n", {}, FOX_HEN, [{}, {}]),
    ("counted.txt", "Prompt 1: a fox\nPrompt 2: a hen\n", {}, FOX_HEN, [{}, {}]),
    ("bold.txt", "**Prompt 1:** a fox\n**Prompt 2:** a hen\n", {}, FOX_HEN, [{}, {}]),
    ("later.txt", "11. a fox\n12. a hen\n", {}, FOX_HEN, [{}, {}]),
    ("ones.txt", "1. a fox\n1. a hen\n", {}, FOX_HEN, [{}, {}]),
    ("boxes.txt", "- [ ] a fox\n- [x] a hen\n", {}, FOX_HEN, [{}, {}]),
    ("dots.txt", "\u2022 a fox\n\u2022 a hen\n", {}, FOX_HEN, [{}, {}]),
    ("joined.txt", "a fox\n\ufeffa hen\n", {}, FOX_HEN, [{}, {}]),
    ("paragraphs.txt", "a fox in the\nsnow\n\na hen,\n  in straw\n", {"paragraphs": True}, ["a fox in the snow", "a hen, in straw"], [{}, {}]),
    ("ruled.txt", "a fox\nin snow\n---\na hen\n", {"paragraphs": True}, ["a fox in snow", "a hen"], [{}, {}]),
    ("numbered-paragraphs.txt", "1. a fox\n   in snow\n\n2. a hen\n", {"paragraphs": True}, ["a fox in snow", "a hen"], [{}, {}]),
    ("broken-lines.txt", "a fox in the\nsnow\n", {"kind": "txt"}, ["a fox in the", "snow"], [{}, {}]),
    ("groups.txt", "a red fox\na grey wolf\n\na ship\na boat in a storm\n", {}, ["a red fox", "a grey wolf", "a ship", "a boat in a storm"], [{}] * 4),
    ("sentences.txt", "A fox stands in the snow at dawn.\nA hen, and a cock, sit in straw.\n", {},
     ["A fox stands in the snow at dawn.", "A hen, and a cock, sit in straw."], [{}, {}]),
    ("fragments.txt", "of mice and men\nand then there were none\na picture of a dream\nletter a\nlighthouse, sea,\nstorm, oil\n", {},
     ["of mice and men", "and then there were none", "a picture of a dream", "letter a", "lighthouse, sea,", "storm, oil"], [{}] * 6),
    ("signs.txt", "a clock at 12:30\n3:45 PM at a station\n$5 bills, 50% grey\n<b>FOX</b> on a sign\nthe words [EXIT]\n", {},
     ["a clock at 12:30", "3:45 PM at a station", "$5 bills, 50% grey", "<b>FOX</b> on a sign", "the words [EXIT]"], [{}] * 5),
    ("forms-answers.csv", 'Timestamp,Your prompt,Email\n2026-01-02,a fox,x@y\n', {"mapped": ["prompt=Your prompt"]}, ["a fox"], [{}]),
    ("numbered-names.csv", "prompt,output\na fox,pic.webp\na hen,pic_1.webp\n", {}, FOX_HEN, [{"output_format": "webp"}] * 2),
    ("comment-first.csv", "# my list\nprompt\na fox\n", {"comments": "#"}, ["a fox"], [{}]),
    ("nested-ignored.json", '[{"prompt": "a fox", "params": {"seed": 3}}]', {"ignored": ["params"]}, ["a fox"], [{}]),
    ("nested-mapped.json", '[{"prompt": "a fox", "params": {"seed": 3}}]', {"mapped": ["seed=params.seed"]}, ["a fox"], [{"seed": 3}]),
    ("beside-ignored.json", '{"prompts": ["a fox"], "seed": 7, "version": 2}', {"ignored": ["seed"]}, ["a fox"], [{}]),
    ("deleted.txt", "1. a fox\n3. a hen\n", {}, FOX_HEN, [{}, {}]),
    ("begun-anew.txt", "1. a fox\n2. a hen\n1. a cow\n", {}, [*FOX_HEN, "a cow"], [{}] * 3),
    ("close.txt", "1.a fox\n2.a hen\n", {}, FOX_HEN, [{}, {}]),
    ("dashed.txt", "1 - a fox\n2 - a hen\n", {}, FOX_HEN, [{}, {}]),
    ("inches.txt", "3.5 inch floppy\n5.25 inch floppy\n", {}, ["3.5 inch floppy", "5.25 inch floppy"], [{}, {}]),
    ("semicolons.txt", "a red fox; snow; dusk\na blue jay; rain; dawn\n", {}, ["a red fox; snow; dusk", "a blue jay; rain; dawn"], [{}, {}]),
    ("open-ends.txt", "the world I dream of\na girl to look up to\n", {}, ["the world I dream of", "a girl to look up to"], [{}, {}]),
    ("here.txt", "Here is a fox in the snow\nSure-footed goats\nI hope for rain\n", {}, ["Here is a fox in the snow", "Sure-footed goats", "I hope for rain"], [{}] * 3),
    ("braced.txt", "(1) a fox\n(2) a hen\n", {}, FOX_HEN, [{}, {}]),
    ("circled.txt", "\u2460 a fox\n\u2461 a hen\n", {}, FOX_HEN, [{}, {}]),
    ("lettered.txt", "a) a fox\nb) a hen\n", {}, FOX_HEN, [{}, {}]),
    ("initials.txt", "J. Edgar at a desk\nA. Lincoln\n", {}, ["J. Edgar at a desk", "A. Lincoln"], [{}, {}]),
    ("invisible.txt", "a fox\n\u200b\n\u200ba hen\n", {}, FOX_HEN, [{}, {}]),
    ("entities.txt", "Tom &amp; Jerry\nCaf&eacute; in Paris\n", {}, ["Tom &amp; Jerry", "Caf&eacute; in Paris"], [{}, {}]),
    ("haiku.txt", "an old silent pond\u2014\na frog jumps into the pond\nsplash! Silence again\n", {},
     ["an old silent pond\u2014", "a frog jumps into the pond", "splash! Silence again"], [{}] * 3),
    ("other-scripts.txt", "狐\n🦊\nЁж\n", {}, ["狐", "🦊", "Ёж"], [{}] * 3),
    ("tea.txt", "Would you like some tea?\nShall we dance?\n", {}, ["Would you like some tea?", "Shall we dance?"], [{}, {}]),
    ("trained.txt", "a photo of <s0><s1>\na fox in <snow>\n", {}, ["a photo of <s0><s1>", "a fox in <snow>"], [{}, {}]),
    ("shots.txt", "Close-up: a fox\nWide: a hen\nClose-up: a cow\nWide: a cat\n", {}, ["Close-up: a fox", "Wide: a hen", "Close-up: a cow", "Wide: a cat"], [{}] * 4),
    ("years.txt", "1984. a fox\n2. a hen\n", {}, ["1984. a fox", "2. a hen"], [{}, {}]),
    ("equal.txt", "a fox\na fox\n", {}, ["a fox", "a fox"], [{}, {}]),
    ("commas.txt", "a fox, red, in snow\na hen, white, in straw\n", {}, ["a fox, red, in snow", "a hen, white, in straw"], [{}, {}]),
    ("dashes.txt", "a pier —no people— at dawn\nMANHÔ\n", {}, ["a pier —no people— at dawn", "MANHÔ"], [{}, {}]),
    ("as-is.csv", "prompt\na fox --ar 16:9\n", {"literal": True}, ["a fox --ar 16:9"], [{}]),
    ("brackets.txt", "[wide shot] a fox\n(a hen:1.3)\n", {}, ["[wide shot] a fox", "(a hen:1.3)"], [{}, {}]),
    ("comments.txt", "# animals\na fox\na hen\n", {"comments": "#"}, FOX_HEN, [{}, {}]),
    ("packed.txt.gz", gzip.compress(b"a fox\na hen\n"), {}, FOX_HEN, [{}, {}]),
    ("packed-anyway.txt", gzip.compress(b"a fox\na hen\n"), {}, FOX_HEN, [{}, {}]),
    ("table.csv", "prompt,seed\r\na fox,7\r\na hen,\r\n", {}, FOX_HEN, [{"seed": 7}, {}]),
    ("quoted.csv", 'prompt,seed\n"a, ""b""\nc",7\nd,8\n', {}, ['a, "b"\nc', "d"], [{"seed": 7}, {"seed": 8}]),
    ("excel.csv", "\ufeffsep=;\nPrompt;Seed;Aspect Ratio\na fox;7,0\n".replace(",0", ".0") , {}, ["a fox"], [{"seed": 7}]),
    ("bars.csv", "prompt|seed\na fox, red|7\n", {}, ["a fox, red"], [{"seed": 7}]),
    ("cp1252.csv", "prompt;seed\ncafé;7\n".encode("cp1252"), {"encoding": "cp1252"}, ["café"], [{"seed": 7}]),
    ("pandas.csv", ",prompt,seed\n0,a fox,7\n1,a hen,8\n", {}, FOX_HEN, [{"seed": 7}, {"seed": 8}]),
    ("one-column.csv", 'prompt\na fox, in snow\nb "c" d\n"quoted, ""so"""\n', {}, ["a fox, in snow", 'b "c" d', 'quoted, "so"'], [{}] * 3),
    ("names.csv", "PROMPT,Aspect_Ratio,Negative Prompt,go-fast\na fox,16:9,blur,TRUE\n", {}, ["a fox"],
     [{"aspect_ratio": "16:9", "negative_prompt": "blur", "go_fast": True}]),
    ("clock.csv", "prompt,aspect_ratio\na fox,16:09\na hen,03:02:00\n", {}, FOX_HEN, [{"aspect_ratio": "16:9"}, {"aspect_ratio": "3:2"}]),
    ("parti.tsv", 'Prompt\tCategory\tChallenge\tNote\n"Big Ben" in London\tWorld\tx\ty\n"a fox\tA\tb\t\na hen\tB\tc\t\n', {},
     ['"Big Ben" in London', '"a fox', "a hen"], [{}] * 3),
    ("excel.tsv", 'prompt\tseed\n"a ""red"" fox, running"\t7\n', {}, ['a "red" fox, running'], [{"seed": 7}]),
    ("unicode-text.txt", "prompt\tseed\na fox\t7\na hen\t8\n".encode("utf-16"), {}, FOX_HEN, [{"seed": 7}, {"seed": 8}]),
    ("drawbench.csv", "Prompts,Category\na fox,Colors\na hen,Colors\n", {}, FOX_HEN, [{}, {}]),
    ("table.txt", "prompt,seed\na fox,7\na hen,8\n", {}, FOX_HEN, [{"seed": 7}, {"seed": 8}]),
    ("markdown.md", "| prompt | seed |\n|:---|---:|\n| a fox | 7 |\n| a \\| hen | 8 |\n", {}, ["a fox", "a | hen"], [{"seed": 7}, {"seed": 8}]),
    ("markdown.txt", "| prompt | seed |\n|---|---|\n| a fox | 7 |\n", {}, ["a fox"], [{"seed": 7}]),
    ("texts.json", '["a fox", "a hen"]', {}, FOX_HEN, [{}, {}]),
    ("pretty.json", json.dumps([{"prompt": "a fox", "seed": 7}, {"prompt": "a hen"}], indent=1), {}, FOX_HEN, [{"seed": 7}, {}]),
    ("by-id.json", '{"x1": "a fox", "x2": "a hen"}', {}, FOX_HEN, [{}, {}]),
    ("objects-by-id.json", '{"x1": {"prompt": "a fox", "seed": 7}, "x2": {"prompt": "a hen"}}', {}, FOX_HEN, [{"seed": 7}, {}]),
    *(
        (f"{key}.json", json.dumps({"version": 2, key: [{"prompt": "a fox"}, {"prompt": "a hen"}]}, indent=2), {}, FOX_HEN, [{}, {}])
        for key in ("prompts", "data", "items", "annotations", "requests")
    ),
    ("coco.json", json.dumps({"info": {"year": 2017}, "images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [
        {"image_id": 1, "id": 38, "caption": "a fox"}, {"image_id": 1, "id": 39, "caption": "a hen"}]}), {}, FOX_HEN, [{}, {}]),
    ("vbench.json", json.dumps([{"prompt_en": "a fox", "dimension": ["color"], "auxiliary_info": {"color": "red"}}]), {}, ["a fox"], [{}]),
    ("hpdv2.json", json.dumps(FOX_HEN), {}, FOX_HEN, [{}, {}]),
    ("wrapped.json", '{"prompts": {"x1": "a fox", "x2": "a hen"}}', {}, FOX_HEN, [{}, {}]),
    ("mixed.json", '{"x1": "a fox", "x2": {"prompt": "a hen"}}', {}, FOX_HEN, [{}, {}]),
    ("single.json", '{"prompt": "a fox", "seed": 7}', {}, ["a fox"], [{"seed": 7}]),
    ("lines.json", lines({"prompt": "a fox"}, {"prompt": "a hen"}), {}, FOX_HEN, [{}, {}]),
    ("document.jsonl", '[\n{"prompt": "a fox"},\n{"prompt": "a hen"}\n]\n', {}, FOX_HEN, [{}, {}]),
    ("one-after-another.json", '{\n"prompt": "a fox"\n}\n{\n"prompt": "a hen"\n}\n', {}, FOX_HEN, [{}, {}]),
    ("objects.jsonl", lines({"prompt": "a fox", "seed": 7}, {"prompt": "a hen", "seed": None}), {}, FOX_HEN, [{"seed": 7}, {}]),
    ("texts.jsonl", lines("a fox", "a hen"), {}, FOX_HEN, [{}, {}]),
    ("geneval.jsonl", lines({"tag": "counting", "include": [{"class": "fox", "count": 1}], "prompt": "a fox"}), {}, ["a fox"], [{}]),
    ("packed.jsonl.gz", gzip.compress(lines("a fox", "a hen").encode()), {}, FOX_HEN, [{}, {}]),
    ("json.txt", '[\n {\n  "prompt": "a fox"\n }\n]\n', {}, ["a fox"], [{}]),
    ("openai.jsonl", lines(openai_line(0), openai_line(1)), {}, FOX_HEN, [{}, {}]),
    ("openai-chat.jsonl", lines({"custom_id": "1", "body": {"messages": [{"role": "user", "content": "a fox"}]}}),
     {"mapped": ["prompt=messages.0.content"]}, ["a fox"], [{}]),
    ("replicate.jsonl", lines({"input": {"prompt": "a fox", "seed": 7}}, {"input": {"prompt": "a hen"}}), {}, FOX_HEN, [{"seed": 7}, {}]),
    ("nested.jsonl", lines({"meta": {"text": {"en": "a fox"}}}), {"mapped": ["prompt=meta.text.en"]}, ["a fox"], [{}]),
    ("steps.csv", "prompt,steps\na fox,20\n", {"mapped": ["num_inference_steps=steps"]}, ["a fox"], [{"num_inference_steps": 20}]),
    ("two-texts.csv", "text,caption\na fox,x\n", {"mapped": ["prompt=text"]}, ["a fox"], [{}]),
    ("template.csv", "subject,style\nfox,ink\n", {"template": "a {style} {subject}"}, ["a ink fox"], [{}]),
    ("fill.csv", "prompt,Style\na {style} fox,ink\n", {"fill": True}, ["a ink fox"], [{}]),
    ("expand.txt", "a {red|white} fox\n", {"expand": True}, ["a red fox", "a white fox"], [{}, {}]),
    ("as-is.txt", "a {red} __fox__ --ar 16:9\n# one\n", {"literal": True}, ["a {red} __fox__ --ar 16:9", "# one"], [{}, {}]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "options", "prompts", "sent"), UNDERSTOOD, ids=[form[0] for form in UNDERSTOOD]
)
def test_a_form_is_understood(
    name: str, content: str | bytes, options: dict[str, Any], prompts: list[str], sent: list[dict[str, Any]]
) -> None:
    found = understood(written(name, content), **options)
    assert (found.prompts, found.sent) == (prompts, sent)


REFUSED: list[tuple[str, str | bytes, dict[str, Any], str, str]] = [
    # name, content, options, what is wrong, what to type
    ("unmarked.txt", "a fox\na hen".encode("utf-16-le"), {}, "looks like UTF-16 without its mark", "--encoding utf-16-le"),
    ("nul.txt", "a fox\n" * 50 + "\0", {}, "not text (it has NUL bytes)", ".xlsx"),
    ("cp1252.csv", "prompt,seed\na\ncafé,1\n".encode("cp1252"), {}, "line 3: byte 0xe9 is not UTF-8", "--encoding cp1252 (here: 'café')"),
    ("old.xls", b"\xd0\xcf\x11\xe0" + bytes(64), {}, "Excel file of the old form", "save it as .xlsx"),
    ("list.pdf", b"%PDF-1.7\n", {}, "this is a PDF", ""),
    ("list.yaml", "- prompt: a fox\n", {}, "this is YAML", "expected: .txt, .csv"),
    ("yaml.txt", "- prompt: a fox\n- prompt: a hen\n", {}, "looks like YAML", "--format txt"),
    ("page.txt", "<!doctype html>\n<p>a fox\n", {}, "HTML", "--format txt"),
    ("python.txt", '"a fox",\n"a hen",\n', {}, "a list without its brackets", "--format txt"),
    ("named.txt", "prompts = [\n    'a fox',\n    'a hen',\n]\n", {}, "a list written in Python", "--format txt"),
    ("single.txt", "['a fox', 'a hen']\n", {}, "a list written in Python", "--format txt"),
    ("broken.json", '[{"prompt": "a fox"},\n {"prompt": "a hen"]\n', {}, "line 2: not JSON", ""),
    ("comma.json", '["a fox", "a hen",]', {}, "a comma before the end of the list", "without a comma after it"),
    ("comma-after-key.json", '[{"prompt": "a fox", "seed": 7,}]', {}, "a comma before the end of the object", "without a comma"),
    ("comma.jsonl", '{"prompt": "a fox",}\n{"prompt": "a hen"}\n', {}, "line 1: not JSON: a comma before the end of the object", "without a comma"),
    ("single-quotes.jsonl", "{\"prompt\": 'a fox'}\n", {}, "not JSON: a text in single quotes", "double quotes"),
    ("curly.json", "[\u201ca fox\u201d, \u201ca hen\u201d]", {}, "this is not JSON: it begins with", "straight double quotes"),
    ("fence.json", '```json\n["a fox"]\n```\n', {}, "begins with a code fence", "the lines inside it alone"),
    ("after.json", '["a fox"]\nand so on\n', {}, "something follows the end of the list", "the list alone, or JSON lines"),
    ("comfy.json", json.dumps({"6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox"}}}), {}, "a workflow of ComfyUI", "its prompts alone"),
    ("cut.json", '[{"prompt": "a fox"},\n {"prompt": "a hen', {}, "not JSON", ""),
    ("text.json", "a fox\n", {}, "this is not JSON", "expected: [ or {"),
    ("commas.jsonl", '{"prompt": "a fox"},\n{"prompt": "a hen"},\n', {}, "each line is JSON and a comma", "[ and ] around it"),
    ("mark.txt", "- a fox\n" * 60 + "a hen\n", {}, "line 61: the line lacks the mark", "--as-is"),
    ("nul.jsonl", '{"prompt": "a\\u0000b"}', {}, "the prompt has a NUL character", ""),
    ("cut.txt.gz", gzip.compress(b"a fox\n" * 9999)[:-20], {}, "not readable as gzip", ""),
    ("headless.csv", "a red fox in the snow,7\na hen,8\n", {}, "where that line is a prompt itself", "as in prompt,seed"),
    ("comment-first.csv", "# my list\nprompt\na fox\n", {}, "the first line is a comment", "--comments '#'"),
    ("forms-answers.csv", "Timestamp,Your prompt,Email\n2026-01-02,a fox,x@y\n", {}, "no column 'prompt'", "--map prompt='Your prompt'"),
    ("no-prompt.csv", "prompt,seed\na fox,1\n,2\n", {}, "line 3: qwen/qwen-image: prompt is missing", "write one, or delete the row"),
    ("list.rtf", b"{\\rtf1\\ansi a fox\\par}", {}, "an RTF file", "save it as plain text"),
    ("broken-lines.txt", "A fox in the snow, low mist over the\nfield behind it.\n\nA hen in a barn, with\nstraw.\n", {}, "line 1: a prompt seems to go over several lines", "--paragraphs"),
    ("prose.txt", "A fox stands in the snow at dawn.\nSoft light, shallow depth of field.\n\nA hen sits in a barn full of straw.\nWarm light from the door.\n", {},
     "a prompt seems to go over several lines", "--format txt"),
    ("wrapped.txt", "A fox stands in the snow at dawn while low mist drifts across\nfields that nobody has crossed since the first frost of winter\nturned every blade of grass white and every puddle hard\n", {},
     "a prompt seems to go over several lines", "--paragraphs"),
    ("intro.txt", "Here are 3 prompts:\n\n1. a fox\n2. a hen\n3. a cow\n", {}, "some lines begin as '1. a fox' does, and others do not, as 'Here are 3 prompts:'", "prompts alone"),
    ("goes-on.txt", "1. a fox\nin snow\n2. a hen\n", {}, "others do not, as 'in snow'", "--paragraphs"),
    ("fence.txt", "```\na fox\n```\n", {}, "begins with a code fence", "the lines inside it alone"),
    ("rule.txt", "a fox\n---\na hen\n", {}, "line 2: the line is a rule, without a prompt", "the prompts alone"),
    ("discord.txt", "alice \u2014 Today at 3:45 PM\na fox\nbob \u2014 11/28/2026 3:46 PM\na hen\n", {}, "line 1 (and 1 more: 3): the line is a part of a chat", "the prompts alone"),
    ("whatsapp.txt", "[29/11/26, 10:00:00] Ann: a fox\n", {}, "a part of a chat", "--as-is"),
    ("address.txt", "https://example.com/fox.png make it blue\n", {}, "begins with the address of a picture", "'input_image'"),
    ("cell.csv", "prompt\n=A1\n", {}, "a formula of a table", "--as-is"),
    *(
        (f"slot{number}.txt", f"a {slot} in snow\n", {}, f"'{slot}' in the prompt is a placeholder that nothing fills", "--as-is")
        for number, slot in enumerate(("[subject]", "[INSERT ANIMAL]", "[your product]", "<style>", "{{name}}", "$thing", "${thing}", "%s", "%(kind)s", "%NAME%", "____"))
    ),
    ("labels.txt", "Title: Sunset\nPrompt: a beach\nStyle: ink\n\nTitle: City\nPrompt: a city\nStyle: oil\n", {},
     "lines begin with 'Title:' and 'Prompt:'", "a table with a column for each"),
    ("labelled-paragraphs.txt", "a fox\nNegative prompt: blur\nSteps: 20, Seed: 7\n\na hen\n", {"paragraphs": True},
     "lines begin with 'Negative prompt:' and 'Steps:'", "a column for each"),
    ("beside.json", '{"prompts": ["a fox"], "aspect_ratio": "16:9"}', {}, "'aspect_ratio' stands beside the list, and is not read", "-i aspect_ratio=VALUE"),
    ("beside-nested.json", '{"defaults": {"seed": 7}, "prompts": ["a fox"]}', {}, "'defaults.seed' stands beside the list", "--ignore defaults.seed"),
    ("beside-model.json", '{"model": "x/y", "prompts": ["a fox"]}', {}, "'model' stands beside the list", "-m MODEL"),
    ("record.json", '{"main": "a red car", "negative": "blurry", "style": "photo"}', {}, "'main' is no id, and its text would be a prompt", "[ ] around the object"),
    ("nested-inputs.json", '[{"prompt": "a fox", "params": {"seed": 3}}]', {}, "column 'params' holds 'seed', an input", "--map seed=params.seed"),
    ("sum.csv", "prompt,n\na fox,1\nTotal,1\n", {}, "line 3: the prompt is 'Total'", "the row deleted"),
    ("nan.csv", "prompt,n\na fox,1\nNaN,1\nN/A,2\n", {}, "line 3 (and 1 more: 4): the prompt is 'NaN'", "--as-is"),
    ("header-again.csv", "prompt,n\na fox,1\nprompt,n\n", {}, "line 3: the prompt is 'prompt'", "the row deleted"),
    ("question.csv", "Timestamp,What should we draw?,Email\n2026-01-02,a fox,x@y\n", {}, "no column 'prompt'", "--map prompt='What should we draw?'"),
    ("three.csv", "prompt 1,prompt 2\na fox,a hen\n", {}, "'prompt 1', 'prompt 2' could be it", "a line a prompt"),
    ("rows.jsonl", '["a fox", 7]\n["a hen", 8]\n', {}, "each line is a list", "an object or a text a line"),
    ("slots.csv", "prompt,kind\na [kind] fox,red\n", {}, "'[kind]' in the prompt is the name of a column", "{kind} and --fill"),
    ("no-header.csv", "A red fox\nA hen\n", {}, "no column 'prompt'; found: A red fox; where that line is a prompt itself", "--format txt"),
    ("headed.md", "# Title\n\n| prompt | seed |\n|---|---|\n| a fox | 7 |\n", {}, "text above the table", "the table alone"),
    ("empty.md", "# Title\n\ntext\n", {}, "Markdown without a table", "--format txt"),
    ("keys.json", '{"a": 1, "b": [2]}', {}, "an object with the keys a, b", 'under "prompts"'),
    ("two-lists.json", '{"data": ["a"], "items": ["b"]}', {}, "lists under data and items", "only one"),
    ("by-column.json", '{"prompt": {"0": "a fox"}, "seed": {"0": 7}}', {}, "a table by columns", "orient='records'"),
    ("numbers.json", "[[1], 2]", {}, "line 1 (and 1 more: 1): the element is '[1]'", "a text, or an object"),
    ("table.txt", "1\ta fox\n2\ta hen\n", {}, "a table of 2 columns (tabs)", "--map prompt=COLUMN"),
    ("titles.txt", "id;title\n1;a fox\n", {}, "a table of 2 columns (semicolons)", "--format txt"),
    ("markdown.txt", "| name | seed |\n|---|---|\n| a fox | 7 |\n", {}, "no column 'prompt'; found: name, seed", "--map prompt=COLUMN"),
    ("slip.csv", "promt,seed\na fox,7\n", {}, "no column 'prompt'; found: promt", "--map prompt=promt"),
    ("titled.csv", "My list,\nprompt,seed\na fox,7\n", {}, "2 cells under 1 columns (My list)", "no title above the header"),
    ("subtitles.txt", "1\n00:00:01,000 --> 00:00:04,000\nA cat walks\n", {}, "line 2: the line is of a subtitle", "the prompts alone"),
    ("numbers.txt", "a fox\n17\n", {}, "line 2: the prompt is '17'", "--as-is"),
    ("signs.csv", "prompt,n\na fox,1\n-,2\n???,3\nTBD,4\n", {}, "line 3 (and 2 more: 4, 5): the prompt is '-'", "the row deleted"),
    ("positive.txt", "Positive: a cat\nNegative: blurry\nPositive: a dog\nNegative: blurry\n", {}, "lines begin with 'Positive:' and 'Negative:'", "a column for each"),
    ("headings.txt", "**Prompt 1**\nA cat on a roof\n\n**Prompt 2**\nA dog in a park\n", {}, "line 1 (and 1 more: 4): the line is a heading", "the prompts alone"),
    ("heads.txt", "Animals:\na cat\na dog\nCities:\nParis\n", {}, "line 1 (and 1 more: 4): the line is a heading", "--as-is"),
    ("script.txt", "const prompts = [\n  'a cat',\n  'a dog',\n];\n", {}, "a list written in Python or JavaScript", "--format txt"),
    ("toml.txt", '[scenes]\nprompt = "a cat"\n', {}, "looks like TOML or INI", "--format txt"),
    ("one-text.json", '{"prompts": "a cat\\na dog"}', {}, "'prompts' is one text of 2 lines", "a list of texts"),
    ("parallel.json", '{"prompts": ["a fox"], "negative_prompts": ["blur"]}', {}, "'negative_prompts' stands beside the list", "-i negative_prompt=VALUE"),
    ("intro.json", '{"intro": "Generate these", "cat": {"prompt": "a cat"}}', {}, "'intro' is no id", "[ ] around the object"),
    ("two-addresses.csv", "prompt,image\na hat,https://x.org/a.png|https://x.org/b.png\n", {"models": (BANANA,)}, "2 addresses", 'a JSON list'),
    ("in-quotes.csv", '"prompt,seed"\n"a cat,1"\n', {}, "each line is in quotes as a whole", "saved anew"),
    ("file-names.csv", "prompt,filename\na cat,cat.png\n", {}, "column 'filename' holds a picture", "--map output=filename"),
    ("talk.txt", "Here are 3 ideas for prompts\na cat\na dog\nLet me know if you want more!\n", {}, "line 1 (and 1 more: 4): the line is talk of an assistant", "--as-is"),
    ("sure.txt", "Sure! Here's your list:\na cat\n", {}, "line 1: the line is", "the prompts alone"),
    ("file-names.txt", "cat.jpg\ndog.jpg\n", {}, "the prompt is 'cat.jpg', the name of a file", "a column for it"),
    ("styles.csv", "name,prompt\nink,ink drawing of {prompt}\n", {}, "'{prompt}' in the prompt is where a style's template takes the subject", "the subject in its place"),
    ("styles-filled.csv", "name,prompt\nink,ink drawing of {prompt}\n", {"fill": True}, "'{prompt}' is filled by nothing", "name"),
    ("negatives.txt", "A cat\nNegative: blurry\nA dog\n", {}, "line 2: the line begins with 'Negative:'", "negative_prompt"),
    ("asked.txt", "User: a cat\nChatGPT: ok\n", {}, "the line is a part of a chat", "--as-is"),
    ("comic.txt", "PAGE 1\nPanel 1: a wide shot\n=== WEAPONS ===\nINT. KITCHEN - DAY\n", {}, "line 1 (and 2 more: 3, 4): the line is a heading", "--as-is"),
    ("columns.csv", "subject,style\nfox,ink\n", {}, "no column 'prompt'", "--prompt-template, as in '{subject}, {style}'"),
    ("several-outputs.csv", "prompt,output,num_outputs\na fox,pic.png,2\na hen,pic_1.png,1\n", {"models": (FLUX,)}, "line 3: output 'pic_1.png' is that of line 2 already", "each once"),
    ("several-outputs-later.csv", "prompt,output,num_outputs\na hen,pic_2.png,1\na fox,pic.png,2\n", {"models": (FLUX,)}, "line 3: output 'pic_2.png' is that of line 2 already", "each once"),
    ("same-id.csv", "id,prompt\n1,a fox\n1,a hen\n", {}, "id '1' is that of line 2 already", "or --ignore"),
    ("tasks.json", '{"v": 1, "tasks": [{"prompt": "a fox"}]}', {"mapped": ["prompt=prompts.en"]}, "with the keys v, tasks", "jq '.[\"tasks\"]' FILE"),
    ("shortened.csv", "prompt,seed\na fox,1.23457E+09\n", {}, "line 2: column 'seed' holds '1.23457E+09'", "--ignore seed"),
    ("shortened-id.csv", "prompt,id\na fox,1.23457E+12\n", {}, "column 'id' holds '1.23457E+12'", "--ignore id"),
    ("several.csv", 'prompt,image_input\na fox,"refs/a.png, b.png"\n', {"models": (BANANA,)}, "no such file", 'a JSON list, as in ["a.png", "b.png"]'),
    ("none.csv", "title,seed\na fox,7\n", {}, "no column 'prompt'; found: title, seed", "--map prompt=COLUMN"),
    ("two-texts.csv", "text,caption\na fox,x\n", {}, "'text', 'caption' could be it", "--map prompt=text"),
    ("two-seeds.csv", "prompt,Seed,seed\na fox,7,8\n", {}, "'Seed' and 'seed' both mean 'seed'", "--ignore"),
    ("same.csv", "prompt,a,a\na fox,7,8\n", {}, "two columns are named 'a'", ""),
    ("wide.csv", "prompt,note\na fox, in snow,x\n", {}, "3 cells under 2 columns", "quotes around a cell"),
    ("stray.csv", 'prompt,tag\n"a fox,x\n' + "".join(f"line {number},y\n" for number in range(497)) + 'a hen",z\n', {},
     "line 2: a quote opens a cell that goes on for 499 lines", "no stray quotation mark"),
    ("stray-end.csv", 'prompt,tag\na,b\n"a fox,x\na hen,y\n', {}, "line 3: a quote opens a cell that never ends", "stray"),
    ("middle.csv", 'prompt,tag\n"a fox" in snow,x\n', {}, "a quote closes in the middle of a cell", '""'),
    ("midjourney.csv", "prompt,seed\na fox --ar 16:9,1\n", {}, "line 2: the prompt has Midjourney's '--ar'", "--as-is"),
    ("midjourney.jsonl", lines({"prompt": "a fox --v 6"}), {}, "the prompt has Midjourney's '--v'", "--as-is"),
    ("dashes.txt", "a fox \u2013ar 16:9\na hen —v 6\n", {}, "Midjourney's '--ar'", "a prompt without it"),
    ("imagine.txt", "/imagine prompt: a fox\n", {}, "begins with Midjourney's '/imagine'", "the words after it"),
    ("formula.csv", "prompt,seed\n#NAME?,1\n", {}, "the prompt is '#NAME?', an error of a table", "--as-is"),
    ("twice-encoded.csv", "prompt,seed\na cafÃ©,1\n", {}, "the prompt has 'Ã©'", "--as-is"),
    ("midjourney.txt", "a fox --ar 16:9 --v 6\na hen --ar 1:1\n", {}, "line 1 (and 1 more: 2): the prompt has Midjourney's '--ar'", "--as-is"),
    ("webui.txt", "a fox\nNegative prompt: blur\nSteps: 20, Sampler: Euler a, Seed: 7\n", {}, "how other tools write settings", "a column for each"),
    ("comments.txt", "# animals\na fox\n", {}, "the line begins with '#'", "--comments '#'"),
    ("braces.txt", "a {subject} in snow\n", {}, "'{subject}' in the prompt is filled by nothing", "--fill"),
    ("braces.csv", "prompt,style\na {style} fox,ink\n", {}, "'{style}' in the prompt is the name of a column", "--fill"),
    ("choices.txt", "a {red|white} fox\n", {}, "stands for alternatives", "--expand"),
    ("wildcard.txt", "a __animal__\n", {}, "stands for alternatives", "--expand"),
    ("no-file.txt", "a __animal__\n", {"expand": True}, "no file animal.txt beside the list", ""),
    ("unfilled.csv", "prompt,style\na {colour} fox,ink\n", {"fill": True}, "'{colour}' is filled by nothing", "a column of this line: style"),
    ("unfilled2.csv", "prompt,style\na fox,\n", {"template": "{prompt}, {style}"}, "'{style}' is filled by nothing", ""),
    ("steps.csv", "prompt,steps,cfg_scale,model_name\na,20,7,x\n", {}, "'steps' is nearly 'num_inference_steps'", "--map num_inference_steps=steps"),
    ("typo.csv", "prompt,aspect_raito\na,16:9\n", {}, "'aspect_raito' is nearly 'aspect_ratio'", "--ignore aspect_raito"),
    ("strict.csv", "prompt,rating\na,5\n", {"strict": True}, "'rating' is not understood (--strict)", "--ignore COLUMN"),
    ("then.csv", "prompt,then\na,upscale\n", {}, "then is 'upscale'", "expected: an object with a model"),
    ("picture.csv", "prompt,photo\na,b.png\n", {}, "column 'photo' holds a picture", "--ignore photo"),
    ("address.csv", "prompt,image_url\na,https://replicate.delivery/x/out\n", {}, "column 'image_url' holds a picture", "--map input_image=image_url"),
    ("there.csv", "prompt,what\na,refs/a.png\n", {}, "column 'what' holds a picture", "--map input_image=what"),
    ("diffusiondb.csv", "image_name,prompt,step,cfg\nx.png,a fox,50,7\n", {}, "'step' is nearly 'num_inference_steps'", "--ignore step"),
    ("openai.jsonl", lines(*({**openai_line(0, model="gpt-image-1"), "custom_id": str(n)} for n in range(3))), {}, "line 1 (and 2 more: 2, 3): Model 'gpt-image-1'", "--ignore model"),
    ("chat.jsonl", lines({"custom_id": "1", "body": {"messages": []}}), {}, "no column 'prompt'; found: id, messages", "--map prompt=messages.0.content"),
    ("nan.jsonl", '{"prompt": "a", "seed": NaN}\n', {}, "NaN is no number", ""),
    ("ids.csv", "prompt,id\na,1\nb,1\n", {}, "line 3: id '1' is that of line 2 already", ""),
    ("away.csv", "prompt,output\na,../x.png\n", {}, "output is '../x.png'", "within the output folder"),
    ("map.csv", "prompt,a\nx,1\n", {"mapped": ["seed=b"]}, "--map seed=b: no column 'b'; found: prompt, a", ""),
    ("ignore.csv", "prompt,a\nx,1\n", {"ignored": ["b"]}, "--ignore b: no such column; found: prompt, a", ""),
    ("option.txt", "a\n", {"given": ["steps=20"]}, "has no input 'steps' (did you mean 'num_inference_steps'?)", "expected: "),
    ("option.txt", "a\n", {"varied": ["sede=1..4"]}, "has no input 'sede' (did you mean 'seed'?)", ""),
    ("twice.txt", "a\n", {"samples": 2, "given": ["seed=1"]}, "the same picture again", "--vary seed=1..4"),
    ("models.csv", f"prompt,model\na,{QWEN}\n", {"models": (QWEN, FLUX)}, "-m is given 2 times", "--ignore model"),
    ("encoding.txt", "a\n", {"encoding": "klingon"}, "--encoding is 'klingon'", "cp1252"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "options", "wrong", "typed"), REFUSED, ids=[f"{form[0]} {form[2] or ''}" for form in REFUSED]
)
def test_a_form_is_refused_in_a_line(
    name: str, content: str | bytes, options: dict[str, Any], wrong: str, typed: str
) -> None:
    told = refused(written(name, content), **options)
    assert any(wrong in line and typed in line for line in told), told
    assert all("\n" not in line for line in told)


def test_a_workbook_is_read_as_a_table() -> None:
    from openpyxl import Workbook

    book = Workbook()
    book.create_sheet("empty")
    book.active.append(["Prompt", "Seed", "Aspect Ratio", "Go Fast", "made", None])
    book.active.append(["a fox", 7.0, datetime.time(16, 9), True, datetime.date(2026, 1, 2), None])
    book.active.append(["a hen", None, "1:1", False, None, None])
    book.save("list.xlsx")
    found = understood("list.xlsx")
    assert found.prompts == FOX_HEN
    assert found.sent == [
        {"seed": 7, "aspect_ratio": "16:9", "go_fast": True},
        {"aspect_ratio": "1:1", "go_fast": False},
    ]
    assert found.carried[0] == {"made": "2026-01-02"}
    Path("list.xlsx").rename("list.csv")  # whatever it is called
    assert understood("list.csv").prompts == FOX_HEN
    book["empty"].append(["prompt"])
    book.save("two.xlsx")
    assert "2 sheets have rows ('Sheet', 'empty')" in refused("two.xlsx")[0]
    assert "a damaged zip file" in refused(written("broken.xlsx", b"PK\x03\x04" + bytes(40)))[0]


def test_a_parquet_file_is_read_as_a_table() -> None:
    import pyarrow as pa
    from pyarrow import parquet

    picture = {"bytes": Path("b.png").read_bytes(), "path": "b.png"}
    parquet.write_table(
        pa.table({"caption": FOX_HEN, "seed": [7.0, float("nan")], "picture": [picture, picture]}), "list.parquet"
    )
    assert "column 'picture' holds a picture" in refused("list.parquet")[0]
    found = understood("list.parquet", ignored=["picture"])
    assert (found.prompts, found.sent) == (FOX_HEN, [{"seed": 7}, {}])
    sent = understood("list.parquet", models=(BANANA,), mapped=["image_input=picture"])
    assert all(item.routed.references[0].startswith("data:image/png;base64,") for item in sent.items)


def test_a_folder_of_texts_names_its_items() -> None:
    written("texts/b-hen.txt", "a hen\n")
    written("texts/a-fox.txt", "a fox\nin snow\n")
    written("texts/.hidden.txt", "no\n")
    written("texts/notes.pdf", "no\n")
    found = understood("texts")
    assert found.prompts == ["a fox\nin snow", "a hen"]
    assert found.understanding.files[0].note == "notes.pdf is left out"
    assert found.names == ["a-fox.webp", "b-hen.webp"]
    assert [item.request.request_id for item in found.items] == ["a-fox", "b-hen"]


def test_a_folder_of_pictures_takes_the_texts_of_the_same_names_or_a_template() -> None:
    for name in ("one", "two"):
        Path("pictures").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(f"pictures/{name}.jpg")
        written(f"pictures/{name}.txt", f"put a hat on {name}")
    assert "2 pictures, the first of them one.jpg; expected: --image-input NAME" in refused("pictures")[0]
    found = understood("pictures", models=(KONTEXT,), image_input="input_image")
    assert found.prompts == ["put a hat on one", "put a hat on two"]
    assert [Path(item.routed.references[0]).name for item in found.items] == ["one.jpg", "two.jpg"]
    assert found.names == ["one.png", "two.png"]
    for path in Path("pictures").glob("*.txt"):
        path.unlink()
    templated = understood("pictures", models=(KONTEXT,), image_input="input_image", template="put a hat on it")
    assert templated.prompts == ["put a hat on it"] * 2
    assert "no input 'pictur'" in refused("pictures", models=(KONTEXT,), image_input="pictur")[0]


def test_a_picture_without_a_text_is_named_with_what_it_lacks() -> None:
    for name in ("edit/one.png", "edit/two.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), "red").save(name)
    written("edit/one.txt", "a fox")
    told = refused("edit", image_input="image_input", models=(BANANA,))
    assert len(told) == 1
    assert "'two': google/nano-banana: prompt is missing" in told[0]
    assert "'two.txt' with it, or --prompt-template" in told[0]


def test_a_folder_without_prompts_is_refused_by_a_line_that_names_the_list_in_it() -> None:
    written("folder/list.csv", "prompt\na\n")
    assert "to read the list in it: folder/list.csv" in refused("folder")[0]


def test_several_files_are_one_list() -> None:
    written("one.txt", "a fox\n")
    written("two.csv", "caption,rating\na hen,5\n")
    found = understood("one.txt", "two.csv", ignored=["rating"])
    assert found.prompts == FOX_HEN
    assert [file.lines for file in found.understanding.files] == [1, 1]
    assert "given twice" in refused("one.txt", "one.txt")[0]
    assert refused("one.txt", "none.txt") == ["none.txt: no such file"]


def test_our_own_results_are_made_again_as_they_were() -> None:
    result = {
        "key": "00", "request_id": "fox", "prompt": "a fox", "model_name": KONTEXT, "model_used": QWEN, "success": True,
        "attempts": [], "inputs": {"prompt": "a fox", "seed": 7, "aspect_ratio": "1:1"}, "file_paths": ["fox.webp"],
    }  # fmt: skip
    failed = {**result, "success": False, "model_used": None, "file_paths": [], "inputs": {"prompt": "a fox"}}
    found = understood(written("results.jsonl", lines(failed, result)), models=())
    (item,) = found.items
    assert (item.request.model_name, item.name, found.sent) == (
        QWEN,
        "fox.webp",
        [{"seed": 7, "aspect_ratio": "1:1", "output_format": "webp"}],
    )
    assert found.understanding.files[0].forms == ["results.jsonl of an earlier run"]


@pytest.mark.parametrize(
    "column",
    ["input_image", "Input Image", "image", "Image", "image_input", "start_image", "reference_image", "IMAGES"],
)
def test_reference_images_are_mapped_whatever_their_column_is_called(column: str) -> None:
    written("list.csv", f"prompt,{column}\nput a hat on it,refs/a.png\n")
    (item,) = understood("list.csv", models=(BANANA,)).items
    assert [Path(place).name for place in item.routed.references] == ["a.png"]


@pytest.mark.parametrize(
    "column",
    [
        "image_path",
        "image1",
        "photo",
        "source_image",
        "first_frame",
        "img",
        "picture",
        "file",
        "filename",
        "file_name",
        "image_file",
        "src",
        "source",
        "path",
        "url",
        "init_img",
        "ref",
        "image_url",
    ],
)
@pytest.mark.parametrize("model", [BANANA, IMAGEN, QWEN])
def test_no_picture_is_dropped_unsaid(column: str, model: str) -> None:
    written("list.csv", f"prompt,{column}\nput a hat on it,refs/a.png\n")
    (told,) = refused("list.csv", models=(model,))
    assert f"--ignore {column}" in told and f"={column}" in told


def test_an_earlier_result_s_address_does_not_become_a_reference() -> None:
    written("list.csv", "prompt,image_url\na fox,https://replicate.delivery/pbxt/out-0.webp\n")
    assert "--ignore image_url" in refused("list.csv")[0]
    (item,) = understood("list.csv", ignored=["image_url"]).items
    assert item.routed.model.name == QWEN and not item.routed.references
    (meant,) = understood("list.csv", mapped=["input_image=image_url"]).items
    assert meant.routed.model.name == KONTEXT and meant.routed.references


def test_options_match_inputs_as_columns_do() -> None:
    written("list.txt", "a fox\n")
    assert understood("list.txt", given=["aspect-ratio=16:9", "Go Fast=no"]).sent == [
        {"aspect_ratio": "16:9", "go_fast": False}
    ]


SAMPLES = {
    "showcase.csv": ({}, 17),
    "alternatives.txt": ({"expand": True}, 4),
    "animal.txt": ({}, 2),
    "benchmark.tsv": ({}, 2),
    "by_id.json": ({}, 2),
    "captions.json": ({}, 2),
    "excel.csv": ({"encoding": "cp1252"}, 2),
    "lines.jsonl": ({}, 2),
    "objects.json": ({}, 2),
    "openai_batch.jsonl": ({"ignored": ["model"]}, 2),
    "prompts.txt": ({}, 3),
    "replicate.jsonl": ({}, 2),
    "styles.csv": ({"fill": True}, 2),
    "table.csv": ({}, 2),
    "table.md": ({}, 2),
    "texts": ({}, 2),
}


def test_every_sample_of_the_page_is_understood() -> None:
    folder = PROJECT / "examples" / "lists"
    assert {path.name for path in folder.iterdir()} == SAMPLES.keys()
    for name, (options, count) in SAMPLES.items():
        assert len(understood(str(folder / name), **options).items) == count, name


def test_what_may_not_be_meant_is_noted() -> None:
    copies = understood(written("copies.csv", "prompt,quantity\na fox,3\n"))
    assert copies.understanding.files[0].note == "column 'quantity' makes no copies (--samples N makes N of each)"
    table = "prompt,approved,prefix,negative_text\na fox,no,x,y\n"
    assert understood(written("switches.csv", table)).understanding.files[0].note == (
        "column 'approved' leaves no line out; column 'prefix' is put to no prompt (--prompt-template does); "
        "column 'negative_text' is not sent"
    )
    beside = understood(written("beside.json", '{"prompts": ["a fox"], "version": 2, "info": {"year": 2026}}'))
    assert beside.understanding.files[0].note == (
        "'version' stands beside the list, and is not read; 'info.year' stands beside the list, and is not read"
    )
    groups = understood(written("groups.txt", "a fox\na wolf\n\na ship\na boat\n"))
    assert "--paragraphs: each group is one" in (groups.understanding.files[0].note or "")
    written(
        "signs.txt",
        '(a fox:1.3), <lora:x:0.8>\n&quot;a hen&quot; [wide]\n"a cow"\na fox BREAK a hen\na cat x3\n00:00-00:05 a car\n#a cow\n',
    )
    notes = [note.partition(":")[0] for note in understood("signs.txt").understanding.notes]
    assert notes == [
        "the prompt has '<lora",
        "the prompt has '(a fox",
        "the prompt has '[wide]'",
        "the prompt has '&quot;'",
        "the prompt has '\"a cow\"'",
        "the prompt has 'BREAK'",
        "the prompt has 'x3'",
        "the prompt has '00",
        "the prompt has '#'",
    ]


def test_names_that_a_disk_takes_for_one_are_refused_there(monkeypatch: pytest.MonkeyPatch) -> None:
    names = written("names.csv", "prompt,output\na fox,Pic.png\na hen,pic.png\n")
    monkeypatch.setattr("replibatch.lists.naming.CASELESS", False)
    assert understood(names).names == ["Pic.png", "pic.png"]
    monkeypatch.setattr("replibatch.lists.naming.CASELESS", True)
    assert "output 'pic.png' is that of line 2 already" in refused(names)[0]


def test_a_formula_that_nobody_has_worked_out_is_no_empty_cell() -> None:
    from openpyxl import Workbook

    book = Workbook()
    for row in (["prompt"], ["a fox"], ['="a "&"hen"'], ["a cow"]):
        book.active.append(row)
    book.save("list.xlsx")
    assert "the cell A3 is a formula without its value" in refused("list.xlsx")[0]
