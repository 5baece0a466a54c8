"use strict";

const items = JSON.parse(document.getElementById("items").textContent);
const totals = JSON.parse(document.getElementById("totals").textContent);
const SLICE = 48; // cards added at a time
const STATES = { succeeded: "Succeeded", fallback: "Fallback", placeholder: "Placeholder", failed: "Failed", canceled: "Canceled" };
const IMAGE = /\.(jpe?g|jfif|png|webp|gif|avif|bmp)$/i;
const VIDEO = /\.(mp4|m4v|webm|mov)$/i;

const $ = (id) => document.getElementById(id);
const sheet = $("sheet");
const viewer = $("viewer");

/** An element with attributes and children; texts stay texts. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

// -- words --

const short = (model) => model.split("/").pop();
const count = (number) => number.toLocaleString("en");
const dollars = (usd, least = 2, most = 4) => usd === null ? "unknown" : "$" + usd.toLocaleString("en", { minimumFractionDigits: least, maximumFractionDigits: most });
const plural = (number, one, many = one + "s") => `${count(number)} ${number === 1 ? one : many}`;
function time(seconds) {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${count(Math.floor(whole / 3600))} h ${Math.floor((whole % 3600) / 60)} min`;
}

// -- the head --

function head() {
  const made = (totals.states.succeeded || 0) + (totals.states.fallback || 0);
  const figures = [
    [made === totals.count ? "made" : `of ${count(totals.count)} made`, count(made)],
    ["spent", dollars(totals.cost_usd, 2, 2)],
    [Object.keys(totals.models).length === 1 ? "model" : "models", count(Object.keys(totals.models).length)],
    ["of generating", time(totals.seconds)],
  ];
  $("figures").append(...figures.map(([label, figure]) => make("div", {}, make("dt", {}, label), make("dd", {}, figure))));
  const present = Object.keys(STATES).filter((state) => totals.states[state]);
  $("bar").setAttribute("aria-label", present.map((state) => `${STATES[state]}: ${count(totals.states[state])}`).join(", "));
  for (const state of present) {
    const part = make("span", { "data-state": state });
    part.style.flexGrow = totals.states[state];
    $("bar").append(part);
  }
  $("states").append(
    make("button", { type: "button", "aria-pressed": "true", value: "" }, "All"),
    ...present.map((state) =>
      make("button", { type: "button", "aria-pressed": "false", value: state, "data-state": state }, STATES[state], make("b", {}, count(totals.states[state])))),
  );
  $("states").hidden = present.length < 2;
  const models = Object.entries(totals.models).sort((one, other) => other[1] - one[1]);
  $("model").append(make("option", { value: "" }, "All models"), ...models.map(([model, uses]) => make("option", { value: model }, `${short(model)} (${count(uses)})`)));
  $("filters").hidden = totals.count < 2;
}

// -- the filters --

const texts = items.map((item) => item.prompt.toLowerCase());
let state = "";
let shown = []; // places in `items` that pass the filters
let drawn = 0; // how many of them have a card

function filter() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const model = $("model").value;
  shown = [];
  items.forEach((item, place) => {
    if ((!state || item.state === state) && (!model || item.model === model) && words.every((word) => texts[place].includes(word))) shown.push(place);
  });
  const filtered = state || model || words.length;
  const rest = totals.count > items.length ? ` The first ${count(items.length)} of ${count(totals.count)} are here; results.jsonl has all.` : "";
  $("shown").textContent = (filtered ? `${count(shown.length)} of ${plural(items.length, "result")}.` : "") + rest;
  $("nothing").hidden = shown.length > 0 || !filtered;
  sheet.replaceChildren();
  drawn = 0;
  draw();
}

function choose(chosen) {
  state = chosen;
  for (const button of $("states").children) button.setAttribute("aria-pressed", String(button.value === state));
}

// -- the contact sheet --

const nearEnd = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && draw(), { rootMargin: "1500px" });

/** Add the next slice of cards; the observer tells when another is due. */
function draw(least = 0) {
  nearEnd.disconnect();
  const until = Math.min(shown.length, Math.max(drawn + SLICE, least));
  const slice = document.createDocumentFragment();
  while (drawn < until) slice.append(card(drawn++));
  sheet.append(slice);
  if (drawn < shown.length) nearEnd.observe($("more"));
}

function card(position) {
  const item = items[shown[position]];
  const media = item.files ? thumbnail(item) : make("span", { class: "without" }, item.state === "canceled" ? "Canceled" : "No file");
  const several = item.files && item.files.length > 1 ? make("span", { class: "badge" }, count(item.files.length)) : null;
  const over = item.state === "placeholder" ? make("span", { class: "over" }, "placeholder") : null;
  const frame = make("button", { type: "button", class: "frame", "aria-label": `Open ${item.number}: ${item.prompt}` }, media, over, several);
  frame.addEventListener("click", () => open(position));
  return make("article", { class: "card" }, frame, make("p", { class: "words" }, item.prompt), facts(item), chain(item));
}

function thumbnail(item) {
  const address = item.files[0];
  if (VIDEO.test(address)) {
    const video = make("video", { preload: "metadata", playsinline: true, loop: true, muted: true, tabindex: "-1", "aria-hidden": "true", src: address + "#t=0.01" });
    video.muted = true;
    video.addEventListener("mouseenter", () => video.play().catch(() => {}));
    video.addEventListener("mouseleave", () => video.pause());
    video.addEventListener("error", () => video.replaceWith(missing("without")));
    return withBadge(video, "video");
  }
  if (!IMAGE.test(address)) return make("span", { class: "without" }, decodeURIComponent(address).split("/").pop());
  const image = make("img", { loading: "lazy", decoding: "async", alt: "", src: address });
  image.addEventListener("error", () => image.replaceWith(missing("without")));
  return image;
}

function withBadge(media, word) {
  const both = document.createDocumentFragment();
  both.append(media, make("span", { class: "badge" }, word));
  return both;
}

const missing = (name) => make("span", { class: name }, "The file is not here any more");

function facts(item) {
  return make("p", { class: "facts" },
    make("span", {}, count(item.number)),
    item.state === "succeeded" ? null : make("span", { class: "state", "data-state": item.state }, STATES[item.state]),
    make("span", { class: "made", title: item.model }, short(item.model)),
    item.cost ? make("span", {}, dollars(item.cost)) : null,
    make("span", {}, time(item.seconds)));
}

/** What was tried, where that is a story, and what was changed on the way. */
function chain(item) {
  const attempts = item.attempts || [];
  const failures = attempts.filter((attempt) => attempt.outcome !== "succeeded").length;
  const warnings = item.warnings || [];
  const unexplained = !failures && item.error;
  if (!failures && !warnings.length && !unexplained) return null;
  const summary = failures ? (failures === attempts.length ? plural(failures, "attempt") + " failed" : `after ${plural(failures, "failed attempt")}`)
    : unexplained ? "why" : plural(warnings.length, "remark");
  return make("details", {}, make("summary", {}, summary), failures ? story(attempts) : null,
    unexplained ? make("p", { class: "warning" }, item.error) : null,
    ...warnings.map((warning) => make("p", { class: "warning" }, warning)));
}

function story(attempts) {
  return make("ol", { class: "chain" }, ...attempts.map((attempt) => {
    const succeeded = attempt.outcome === "succeeded";
    const figures = [attempt.cost_usd ? dollars(attempt.cost_usd) : null, time(attempt.seconds)].filter(Boolean).join(", ");
    return make("li", { "data-state": succeeded ? "succeeded" : "failed" },
      short(attempt.model), make("span", {}, ` ${succeeded ? "made it" : attempt.reason ? attempt.reason.replaceAll("_", " ") : "failed"}, ${figures}`),
      attempt.message ? make("div", {}, make("span", {}, attempt.message)) : null);
  }));
}

// -- the close-up --

let at = 0; // position in `shown`
let which = 0; // of the item's files

function open(position, file = 0) {
  at = position;
  which = file;
  const item = items[shown[at]];
  const files = item.files || [];
  $("stage").replaceChildren(closeUp(item, files[which]));
  $("notes").replaceChildren(...notes(item, files[which]));
  $("notes").scrollTop = 0;
  $("previous").disabled = at === 0 && which === 0;
  $("next").disabled = at === shown.length - 1 && which >= files.length - 1;
  if (!viewer.open) {
    viewer.showModal();
    $("close").focus({ focusVisible: false });
  }
}

function step(by) {
  const files = items[shown[at]].files || [];
  if (which + by >= 0 && which + by < files.length) return open(at, which + by);
  if (at + by < 0 || at + by >= shown.length) return undefined;
  const next = items[shown[at + by]].files || [];
  return open(at + by, by < 0 ? Math.max(0, next.length - 1) : 0);
}

function closeUp(item, address) {
  if (!address) return make("p", { class: "without" }, item.error || "No file");
  if (VIDEO.test(address)) return make("video", { src: address, controls: true, autoplay: true, loop: true, playsinline: true });
  if (!IMAGE.test(address)) return make("p", { class: "without" }, make("a", { href: address }, "Open the file"));
  const image = make("img", { src: address, alt: item.prompt });
  image.addEventListener("error", () => image.replaceWith(missing("without")));
  return image;
}

function notes(item, address) {
  const several = item.files && item.files.length > 1 ? `, file ${which + 1} of ${item.files.length}` : "";
  const pairs = [
    ["Model", item.model],
    item.asked === item.model ? null : ["Asked for", item.asked],
    ["Cost", dollars(item.cost)],
    ["Time", time(item.seconds)],
    ...Object.entries(item.inputs || {}),
    ["Request", item.id],
  ].filter(Boolean);
  const name = address && decodeURIComponent(address).split("/").pop();
  return [
    make("p", { class: "facts" }, make("span", { class: "state", "data-state": item.state }, STATES[item.state]), make("span", {}, `${count(at + 1)} of ${count(shown.length)}${several}`)),
    make("p", { class: "words" }, item.prompt),
    make("dl", { class: "pairs" }, ...pairs.flatMap(([label, value]) => [make("dt", {}, label), make("dd", {}, value)]),
      ...(name ? [make("dt", {}, "File"), make("dd", {}, make("a", { href: address, target: "_blank" }, name))] : [])),
    (item.attempts || []).some((attempt) => attempt.outcome !== "succeeded") ? make("section", {}, make("h2", {}, "What was tried"), story(item.attempts)) : null,
    item.warnings ? make("section", {}, make("h2", {}, "What was changed"), ...item.warnings.map((warning) => make("p", {}, warning))) : null,
  ].filter(Boolean);
}

viewer.addEventListener("close", () => {
  $("stage").replaceChildren(); // a video stops
  if (at >= drawn) draw(at + 1);
  const frame = sheet.children[at]?.querySelector(".frame");
  frame?.scrollIntoView({ block: "nearest" });
  frame?.focus({ preventScroll: true, focusVisible: false });
});
viewer.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.tagName === "VIDEO") return;
  const steps = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), Home: () => open(0), End: () => open(shown.length - 1) };
  if (!steps[event.key]) return;
  event.preventDefault();
  steps[event.key]();
});
let touched = null;
$("stage").addEventListener("pointerdown", (event) => { touched = event.isPrimary && event.pointerType === "touch" ? event.clientX : null; });
$("stage").addEventListener("pointerup", (event) => {
  if (touched !== null && Math.abs(event.clientX - touched) > 50) step(event.clientX < touched ? 1 : -1);
  touched = null;
});
$("stage").addEventListener("click", (event) => { if (event.target === $("stage")) viewer.close(); });
$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("close").addEventListener("click", () => viewer.close());

$("filters").addEventListener("submit", (event) => event.preventDefault());
$("search").addEventListener("input", filter);
$("model").addEventListener("change", filter);
$("states").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) { choose(button.value); filter(); }
});
$("clear").addEventListener("click", () => {
  $("search").value = "";
  $("model").value = "";
  choose("");
  filter();
  $("search").focus();
});

head();
filter();
