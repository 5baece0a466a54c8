"use strict";
/* What the data file holds, decoded, and the words for it. */

const STATES = { succeeded: "Succeeded", fallback: "Fallback", placeholder: "Placeholder", failed: "Failed", canceled: "Canceled", pending: "Not started" };
const IMAGE = /\.(jpe?g|jfif|png|webp|gif|avif|bmp|svg)$/i;
const VIDEO = /\.(mp4|m4v|webm|mov)$/i;
const AUDIO = /\.(mp3|wav|flac|ogg|m4a)$/i;
const FEW = 48; // different values that still make columns
const MANY = 400; // different values that still make groups

const $ = (id) => document.getElementById(id);
const data = window.replibatchGallery || { items: [], values: [], totals: { count: 0, cost_usd: 0, seconds: 0, states: {}, models: {} } };
const totals = data.totals;
const value = (place) => data.values[place];
const pairs = (list) => { const found = []; for (let at = 0; at < list.length; at += 2) found.push([value(list[at]), value(list[at + 1])]); return found; };

const items = data.items.map(([number, key, id, prompt, asked, model, state, cost, seconds, files, error, warnings, attempts, inputs, fields, flags], place) => ({
  place, number, key: value(key), id: value(id), prompt: value(prompt), asked: value(asked), model: value(model), state: value(state),
  cost, seconds, files: files.map(([address, thumbnail]) => ({ address, thumbnail: thumbnail ? `${data.folder}/${thumbnail}.thumb` : "" })),
  error: value(error) || "", warnings: warnings.map(value), attempts, inputs: new Map(pairs(inputs)), fields: new Map(pairs(fields)), whole: Boolean(flags & 1), replaced: Boolean(flags & 2),
}));
const made = (item) => item.state === "succeeded" || item.state === "fallback";
const failuresOf = (item) => item.attempts.filter((attempt) => value(attempt[2])).length;
const attemptsOf = (item) => item.attempts.map(([model, prediction, reason, message, seconds, cost, step]) => ({
  model: value(model), prediction: value(prediction), reason: value(reason), message: value(message), seconds, cost, step,
}));

/** An element with attributes and children; texts stay texts. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, given] of Object.entries(attributes)) {
    if (given === true) element.setAttribute(name, "");
    else if (given !== false && given != null) element.setAttribute(name, given);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

const short = (model) => String(model).split("/").pop();
const count = (number) => number.toLocaleString("en");
const dollars = (usd, least = 2, most = 4) => (usd == null ? "cost unknown" : "$" + usd.toLocaleString("en", { minimumFractionDigits: least, maximumFractionDigits: most }));
const plural = (number, one, many = one + "s") => `${count(number)} ${number === 1 ? one : many}`;
const text = (given) => (given === undefined ? "–" : typeof given === "string" ? given : JSON.stringify(given));
const shortened = (given, most = 160) => { const all = text(given); return all.length > most ? all.slice(0, most) + "…" : all; };
const nameOf = (address) => { try { return decodeURIComponent(address).split("/").pop(); } catch { return address; } };
function time(seconds) {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${count(Math.floor(whole / 3600))} h ${Math.floor((whole % 3600) / 60)} min`;
}

/* -- axes: what items can be told apart by -- */

/** An axis: its name for people, and what an item has on it. */
const AXES = new Map();
const EQUAL = []; // [name, value] of what all items have alike
let begins = ""; // what every prompt begins with, said once
function findAxes() {
  AXES.set("prompt", { label: "Prompt", of: (item) => item.prompt });
  AXES.set("model", { label: "Model", of: (item) => item.asked, show: short });
  AXES.set("made", { label: "Made by", of: (item) => (made(item) ? item.model : undefined), show: (model) => short(text(model)) });
  AXES.set("state", { label: "State", of: (item) => item.state, show: (state) => STATES[state] || state });
  AXES.set("id", { label: "Id", of: (item) => item.id });
  for (const kind of ["fields", "inputs"]) {
    const seen = new Map();
    for (const item of items) for (const [name, given] of item[kind]) {
      if (!seen.has(name)) seen.set(name, { times: 0, values: new Set() });
      const found = seen.get(name);
      found.times += 1;
      if (found.values.size <= MANY) found.values.add(text(given));
    }
    for (const [name, found] of seen) {
      if (found.times === items.length && found.values.size === 1 && items.length > 1) EQUAL.push([name, items[0][kind].get(name)]);
      else AXES.set(`${kind}.${name}`, { label: name, of: (item) => item[kind].get(name) });
    }
  }
  for (const axis of AXES.values()) {
    axis.show ||= text;
    const order = new Map();
    for (const item of items) { const key = text(axis.of(item)); if (order.size <= MANY + 1 && !order.has(key)) order.set(key, axis.of(item)); }
    axis.values = [...order.values()];
    if (axis.values.every((each) => each === undefined || typeof each === "number")) axis.values.sort((one, other) => (one ?? Infinity) - (other ?? Infinity));
  }
  const first = items[0];
  if (items.length > 1 && first) {
    if (AXES.get("prompt").values.length === 1) EQUAL.unshift(["prompt", first.prompt]);
    if (AXES.get("model").values.length === 1) EQUAL.unshift(["model", first.asked]);
  }
}
const varied = (most) => [...AXES].filter(([name, axis]) => axis.values.length > 1 && axis.values.length <= most && name !== "id").map(([name]) => name);

/** What all prompts begin with, up to the end of a word; only where it is long enough to be in the way. */
function findBeginning() {
  const prompts = [...new Set(items.map((item) => item.prompt))];
  if (prompts.length < 2) return;
  let long = prompts[0].length;
  for (const prompt of prompts) { while (!prompt.startsWith(prompts[0].slice(0, long))) long -= 1; if (long < 24) return; }
  const cut = prompts[0].slice(0, long).search(/[^\p{L}\p{N}][\p{L}\p{N}]*$/u) + 1;
  if (cut < 24 || prompts.some((prompt) => prompt.length <= cut)) return;
  begins = prompts[0].slice(0, cut);
  EQUAL.push(["prompts begin", begins]);
}
const telling = (prompt) => (begins ? "… " + prompt.slice(begins.length).trimStart() : prompt);

/** The columns people most likely compare: the axis with the most items a row of which are otherwise alike. */
function likelyAxes() {
  const candidates = varied(FEW).filter((name) => !["prompt", "made", "state"].includes(name));
  const prompts = new Set(items.map((item) => item.prompt)).size;
  const cells = (name) => new Set(items.map((item) => item.prompt + "\0" + text(AXES.get(name).of(item)))).size;
  const filled = candidates.map((name) => [name, cells(name) / prompts / AXES.get(name).values.length, cells(name) / prompts]);
  const best = filled.filter(([, share, width]) => share > 0.3 && width >= 1.5);
  best.sort((one, other) => (other[0] === "model") - (one[0] === "model") || other[1] - one[1] || other[2] - one[2]);
  const columns = best.length ? best[0][0] : "";
  const rows = prompts === 1 && best.length > 1 ? best[1][0] : "prompt";
  return { columns, rows };
}

/* -- the summary of a column -- */

function summary(list) {
  const good = list.filter(made), seconds = good.map((item) => item.seconds).sort((one, other) => one - other);
  const seeds = new Set(list.map((item) => item.inputs.get("seed")).filter((seed) => seed !== undefined));
  return {
    count: list.length,
    made: good.length,
    mean: seconds.length ? seconds.reduce((sum, each) => sum + each, 0) / seconds.length : null,
    p95: seconds.length ? seconds[Math.min(seconds.length - 1, Math.ceil(seconds.length * 0.95) - 1)] : null,
    cost: list.reduce((sum, item) => sum + (item.cost || 0), 0),
    unknown: list.filter((item) => item.cost == null).length,
    failures: list.length - good.length,
    fallbacks: list.filter((item) => item.state === "fallback").length,
    seeds: [...seeds].sort((one, other) => one - other),
  };
}
const seedsShown = (seeds) => (!seeds.length ? "–" : seeds.length <= 4 && seeds.every((seed) => text(seed).length < 6) ? seeds.join(", ") : count(seeds.length));
const costShown = (sum) => dollars(sum.cost, 2, 4) + (sum.unknown ? ` + ${count(sum.unknown)} unknown` : "");
