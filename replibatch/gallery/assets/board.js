/* The board: of thousands of lines only those near the window are drawn. */

const board = (() => {
  const OVERSCAN = 700; // pixels above and below the window
  const PRINTED = 400; // lines on paper
  const HEADING = 56;
  const FAST = 260; // pixels a frame: what only flies past is not loaded
  const SETTLED = 90; // milliseconds after which it stays
  const element = $("board"), heads = $("heads"), canvas = $("canvas");
  const drawn = new Map(); // line number → element
  let lines = [], offsets = [0], sizes = {}, at = { line: 0, stop: 0 }, printing = false, last = 0, settling = 0;

  function measure() {
    const width = element.clientWidth || 1000, narrow = width < 720, columns = view.grid ? columnHeads().length : 0;
    const gap = narrow ? 8 : 14, aspect = Math.min(2, Math.max(0.6, data.aspect || 1));
    if (view.grid) {
      const head = narrow ? 0 : Math.min(280, Math.max(170, width * 0.19));
      const cell = Math.max(narrow ? 78 : 132, Math.min(430, (width - head - gap * (columns - (narrow ? 1 : 0))) / columns));
      sizes = { gap, narrow, head, cell, frame: Math.round(cell / aspect), height: Math.round(cell / aspect) + (narrow ? 96 : 52) };
    } else {
      const least = width < 560 ? (width - gap) / 2 : 256, across = Math.max(1, Math.floor((width + gap) / (least + gap)));
      const cell = (width - gap * (across - 1)) / across;
      const frame = Math.round(cell / Math.min(1.4, Math.max(0.8, aspect)));
      sizes = { gap, narrow, across, cell, frame, height: frame + (narrow ? 142 : 134) };
    }
    const style = canvas.parentElement.parentElement.style;
    style.setProperty("--cell", `${sizes.cell}px`);
    style.setProperty("--frame", `${sizes.frame}px`);
    style.setProperty("--head", `${sizes.head || 0}px`);
    style.setProperty("--gap", `${gap}px`);
    $("comparison").classList.toggle("narrow", narrow);
  }

  function arrange(keep) {
    const kept = keep && lines[at.line] && lines[at.line].stops && lines[at.line].stops[at.stop] && lines[at.line].stops[at.stop].item;
    measure();
    lines = arranged(sizes.across || 1);
    offsets = [0];
    for (const line of lines) offsets.push(offsets[offsets.length - 1] + (line.kind === "heading" ? HEADING : sizes.height));
    at = (kept && find(kept)) || first();
    clear();
    drawHeads();
    const columns = view.grid ? columnHeads().length : 0;
    canvas.style.height = `${offsets[offsets.length - 1]}px`;
    canvas.style.width = view.grid ? `${sizes.head + (sizes.cell + sizes.gap) * columns - (sizes.narrow ? sizes.gap : 0)}px` : "";
    $("comparison").setAttribute("aria-rowcount", String(lines.length + (view.grid ? 1 : 0)));
    draw();
  }

  function clear() {
    for (const row of drawn.values()) row.remove();
    drawn.clear();
  }

  /** The line at a height of the board. */
  function lineAt(height) {
    let low = 0, high = lines.length;
    while (low < high) { const middle = (low + high) >> 1; if (offsets[middle + 1] <= height) low = middle + 1; else high = middle; }
    return low;
  }

  function draw() {
    if (printing) return;
    const top = canvas.getBoundingClientRect().top, fast = Math.abs(top - last) > FAST;
    last = top;
    const from = lineAt(Math.max(0, -top - OVERSCAN)), until = Math.min(lines.length, lineAt(innerHeight - top + OVERSCAN) + 1);
    for (const [number, row] of drawn) if ((number < from || number >= until) && !row.contains(document.activeElement)) {
      for (const image of row.querySelectorAll("img")) image.removeAttribute("src"); // what is out of sight is loaded no further
      row.remove();
      drawn.delete(number);
    }
    for (let number = from; number < until; number += 1) if (!drawn.has(number)) drawLine(number);
    clearTimeout(settling);
    if (fast) settling = setTimeout(load, SETTLED);
    else load();
  }

  /** Load the pictures of what is drawn. */
  function load() {
    for (const image of canvas.querySelectorAll("[data-src]")) { image.src = image.dataset.src; image.removeAttribute("data-src"); }
  }

  function drawLine(number) {
    const line = lines[number];
    const row = line.kind === "heading" ? make("h2", { class: "line heading" }, line.heading) : line.kind === "row" ? gridRow(line, number) : cardsRow(line, number);
    row.style.top = `${offsets[number]}px`;
    drawn.set(number, row);
    const next = [...drawn.keys()].filter((each) => each > number).sort((one, other) => one - other)[0];
    canvas.insertBefore(row, next === undefined ? null : drawn.get(next)); // in reading order
  }

  /* -- rows of the grid -- */

  function gridRow(line, number) {
    const axis = AXES.get(view.rows), first = line.items[0], byPrompt = view.rows === "prompt" || view.rows === "id";
    const own = [...first.fields].filter(([name]) => AXES.has(`fields.${name}`) && line.items.every((item) => text(item.fields.get(name)) === text(first.fields.get(name))));
    const compare = make("button", { type: "button", class: "quiet", tabindex: "-1", title: "Side by side (S)" }, "side by side");
    compare.addEventListener("click", () => viewer.open({ line: number, stop: 0 }, { beside: true }));
    const head = make("div", { class: "row-head", role: "rowheader" },
      make("p", { class: "words", title: first.prompt }, byPrompt ? telling(first.prompt) : `${axis.label} ${axis.show(axis.of(first))}`),
      make("p", { class: "facts" }, own.slice(0, 3).map(([name, given]) => make("span", { title: name }, shortened(given, 40))),
        line.items.every((item) => item.id === first.id) && !own.some(([, given]) => given === first.id) ? make("span", {}, first.id) : null, line.stops.length > 1 ? compare : null));
    let stop = 0;
    const cells = line.cells.map((cell, column) => {
      const across = Math.ceil(Math.sqrt(Math.min(9, cell.length)));
      const shown = cell.slice(0, 9).map((item, nth) => frame(item, number, stop + nth, column, nth === 8 ? cell.length - 9 : 0));
      stop += cell.length;
      const filled = make("div", { class: "cell", role: "gridcell", "aria-colindex": column + 2 },
        cell.length ? make("div", { class: "mosaic" }, shown) : make("div", { class: "mosaic empty" }, make("span", { class: "unseen" }, "none")),
        cell.length === 1 ? caption(cell[0], false) : make("p", { class: "facts" }, cell.length ? `${count(cell.filter(made).length)} of ${count(cell.length)} made` : ""));
      filled.style.setProperty("--across", String(across || 1));
      return filled;
    });
    return make("div", { class: "line row", role: "row", "aria-rowindex": number + 2 }, head, ...cells);
  }

  function cardsRow(line, number) {
    return make("div", { class: "line cards", role: "row", "aria-rowindex": number + 1 }, ...line.stops.map(({ item }, stop) =>
      make("article", { class: "card", role: "gridcell" }, frame(item, number, stop, stop, 0), make("p", { class: "words", title: item.prompt }, telling(item.prompt)), caption(item, true))));
  }

  function frame(item, line, stop, column, more) {
    const here = at.line === line && at.stop === stop;
    const of = view.grid ? `, ${AXES.get(view.columns).label} ${AXES.get(view.columns).show(columnHeads()[column])}` : `, ${short(item.model)}`;
    const button = make("button", { type: "button", class: "frame", tabindex: here ? "0" : "-1", "data-line": line, "data-stop": stop, "data-dim": !passes(item),
      "aria-label": `Open ${count(item.number)}: ${shortened(item.prompt)}${of}`,
      "aria-description": [STATES[item.state] || item.state, favourites.has(item) ? "favourite" : ""].filter(Boolean).join(", ") },
    thumbnail(item), item.state === "placeholder" ? make("span", { class: "over" }, "placeholder") : null,
    more > 0 ? make("span", { class: "badge" }, `+${count(more)}`) : item.files.length > 1 ? make("span", { class: "badge" }, count(item.files.length)) : null,
    favourites.has(item) ? make("span", { class: "star", "aria-hidden": "true" }, "★") : null);
    return button;
  }

  function caption(item, whole) {
    const star = make("button", { type: "button", class: "quiet mark", tabindex: "-1", "aria-pressed": String(favourites.has(item)), title: "Favourite (F)", "aria-label": "Favourite", "data-mark": item.place }, favourites.has(item) ? "★" : "☆");
    const failures = failuresOf(item);
    return make("p", { class: "facts" }, star,
      whole ? make("span", {}, count(item.number)) : null,
      item.state === "succeeded" ? null : make("span", { class: "state", "data-state": item.state }, STATES[item.state] || item.state),
      whole ? make("span", { class: "made", title: item.model }, short(item.model)) : item.state === "fallback" ? make("span", { title: item.model }, `by ${short(item.model)}`) : null,
      item.cost === 0 ? null : make("span", { class: "cost" }, dollars(item.cost)),
      make("span", {}, time(item.seconds)),
      whole && failures ? make("span", {}, made(item) ? `after ${plural(failures, "failed attempt")}` : `${plural(failures, "attempt")} failed`) : null,
      whole && !made(item) && item.error ? make("span", { class: "why", title: item.error }, shortened(item.error, 90)) : null);
  }

  /* -- heads of the columns -- */

  function drawHeads() {
    heads.hidden = !view.grid;
    const inner = $("heads-inner");
    inner.replaceChildren();
    if (!view.grid) return;
    const axis = AXES.get(view.columns);
    inner.append(make("div", { class: "row-head", role: "columnheader" }, make("span", { class: "quiet-label" }, view.rows === "id" ? "Prompt" : AXES.get(view.rows).label)));
    columnHeads().forEach((each, column) => {
      const sum = summary(items.filter((item) => text(axis.of(item)) === text(each)));
      const remarks = commonRemarks.get(text(each)) || [];
      inner.append(make("div", { class: "column-head", role: "columnheader", "aria-colindex": column + 2, title: text(each) },
        make("b", {}, axis.show(each)),
        make("span", {}, sizes.narrow ? [sum.mean == null ? null : time(sum.mean), costShown(sum)].filter(Boolean).join(" · ") : sum.mean == null ? "none made" : `mean ${time(sum.mean)} · p95 ${time(sum.p95)}`),
        sizes.narrow ? null : make("span", {}, [costShown(sum), sum.failures ? `${count(sum.failures)} failed` : null, sum.fallbacks ? plural(sum.fallbacks, "fallback") : null].filter(Boolean).join(" · ")),
        ...remarks.map((remark) => make("span", { class: "remark", title: remark }, remark))));
    });
    inner.style.width = `${sizes.head + (sizes.cell + sizes.gap) * columnHeads().length - (sizes.narrow ? sizes.gap : 0)}px`;
    heads.scrollLeft = element.scrollLeft;
  }

  /* -- where somebody is -- */

  const stopsOf = (line) => (lines[line] && lines[line].stops) || [];
  const itemAt = (place) => { const stop = stopsOf(place.line)[place.stop]; return stop && stop.item; };
  const first = () => ({ line: Math.max(0, lines.findIndex((line) => line.stops && line.stops.length)), stop: 0 });
  function find(item) {
    for (let line = 0; line < lines.length; line += 1) {
      const stop = stopsOf(line).findIndex((each) => each.item === item);
      if (stop >= 0) return { line, stop };
    }
    return null;
  }
  function lineFrom(line, by) {
    for (let next = line + by; next >= 0 && next < lines.length; next += by) if (stopsOf(next).length) return next;
    return -1;
  }
  /** The stop of a line nearest to a column. */
  function stopIn(line, column) {
    const stops = stopsOf(line);
    const same = stops.findIndex((each) => each.column === column);
    if (same >= 0) return same;
    return Math.max(0, stops.reduce((best, each, nth) => (Math.abs(each.column - column) < Math.abs(stops[best].column - column) ? nth : best), 0));
  }
  function moved(place, key) {
    const stops = stopsOf(place.line), column = stops[place.stop] ? stops[place.stop].column : 0;
    const along = (by) => {
      if (stops[place.stop + by]) return { line: place.line, stop: place.stop + by };
      const next = lineFrom(place.line, by);
      return next < 0 ? place : { line: next, stop: by > 0 ? 0 : stopsOf(next).length - 1 };
    };
    const across = (by, times = 1) => {
      let line = place.line;
      for (let nth = 0; nth < times; nth += 1) { const next = lineFrom(line, by); if (next < 0) break; line = next; }
      return line === place.line ? place : { line, stop: stopIn(line, column) };
    };
    const page = Math.max(1, Math.floor((innerHeight - 160) / sizes.height));
    const moves = { ArrowLeft: () => along(-1), ArrowRight: () => along(1), ArrowUp: () => across(-1), ArrowDown: () => across(1), PageUp: () => across(-1, page), PageDown: () => across(1, page),
      Home: () => first(), End: () => { const line = lineFrom(lines.length, -1); return { line: Math.max(0, line), stop: Math.max(0, stopsOf(line).length - 1) }; } };
    return moves[key] ? moves[key]() : null;
  }

  function buttonAt(place) { return drawn.get(place.line)?.querySelector(`.frame[data-stop="${place.stop}"]`); }
  function mark(place) {
    buttonAt(at)?.setAttribute("tabindex", "-1");
    at = place;
    buttonAt(at)?.setAttribute("tabindex", "0");
  }
  function reveal(place) {
    const covered = $("filters").offsetHeight + (view.grid ? heads.offsetHeight : 0) + 12;
    const top = canvas.getBoundingClientRect().top + offsets[place.line], bottom = top + sizes.height;
    if (top < covered) scrollBy({ top: top - covered, behavior: "instant" });
    else if (bottom > innerHeight) scrollBy({ top: Math.min(bottom - innerHeight + 12, top - covered), behavior: "instant" });
    draw();
  }
  function focus(place, visible = true) {
    if (!itemAt(place)) return;
    reveal(place);
    mark(place);
    const button = buttonAt(place);
    button?.focus({ preventScroll: true, focusVisible: visible });
    if (view.grid && button) {
      const cell = button.getBoundingClientRect(), frame = element.getBoundingClientRect(), left = frame.left + (sizes.narrow ? 0 : sizes.head);
      if (cell.left < left) element.scrollLeft -= left - cell.left + 8;
      else if (cell.right > frame.right) element.scrollLeft += cell.right - frame.right + 8;
    }
  }

  /** An item is a favourite now, or no more: its line is drawn anew. */
  function refresh(item) {
    for (const [number, row] of [...drawn]) if (stopsOf(number).some((stop) => stop.item === item)) {
      const focused = row.contains(document.activeElement);
      row.remove();
      drawn.delete(number);
      drawLine(number);
      load();
      if (focused) buttonAt(at)?.focus({ preventScroll: true });
    }
  }

  let due = false;
  addEventListener("scroll", () => { if (!due) { due = true; requestAnimationFrame(() => { due = false; draw(); }); } }, { passive: true });
  element.addEventListener("scroll", () => { heads.scrollLeft = element.scrollLeft; }, { passive: true });
  let width = 0;
  new ResizeObserver(() => { if (element.clientWidth !== width) { width = element.clientWidth; if (lines.length) { arrange(true); } } }).observe(element);
  addEventListener("beforeprint", () => {
    clear();
    printing = true;
    lines.slice(0, PRINTED).forEach((_, number) => drawLine(number));
    load();
    $("cut").textContent = lines.length > PRINTED ? `The first ${count(PRINTED)} of ${count(lines.length)} rows.` : "";
  });
  addEventListener("afterprint", () => { printing = false; clear(); draw(); });

  return { arrange, draw, focus, moved, itemAt, refresh, stopsOf, lineFrom, stopIn, mark, at: () => at, count: () => lines.length };
})();

function thumbnail(item) {
  const file = item.files[0];
  if (!file) return make("span", { class: "without" }, item.state === "canceled" ? "Canceled" : item.replaced ? "Replaced by a later item" : "No file");
  if (file.thumbnail || (IMAGE.test(file.address) && item.state !== "canceled")) {
    const image = make("img", { decoding: "async", alt: "", "data-src": file.thumbnail || file.address });
    image.addEventListener("error", () => {
      if (!image.getAttribute("src")) return;
      if (file.thumbnail && image.getAttribute("src") === file.thumbnail && IMAGE.test(file.address)) image.src = file.address; // without its thumbnail, the picture itself
      else image.replaceWith(missing());
    });
    return image;
  }
  if (VIDEO.test(file.address)) {
    const video = make("video", { preload: "metadata", playsinline: true, loop: true, muted: true, tabindex: "-1", "aria-hidden": "true", "data-src": file.address + "#t=0.01" });
    video.muted = true;
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) video.addEventListener("mouseenter", () => video.play().catch(() => {}));
    video.addEventListener("mouseleave", () => video.pause());
    video.addEventListener("error", () => video.replaceWith(missing()));
    const both = document.createDocumentFragment();
    both.append(video, make("span", { class: "badge" }, "video"));
    return both;
  }
  return make("span", { class: "without" }, nameOf(file.address));
}
const missing = () => make("span", { class: "without" }, "The file is not here any more");

/* remarks that all items of a column have are said once, at its head; `commonRemarks` by the column's value */
let commonRemarks = new Map();
function findCommonRemarks() {
  commonRemarks = new Map();
  if (!view.grid) return;
  const axis = AXES.get(view.columns);
  for (const each of axis.values) {
    const own = items.filter((item) => text(axis.of(item)) === text(each));
    const shared = own.length > 1 ? own[0].warnings.filter((warning) => !equalRemarks.includes(warning) && own.every((item) => item.warnings.includes(warning))) : [];
    commonRemarks.set(text(each), shared);
  }
}
const equalRemarks = items.length > 1 ? items[0].warnings.filter((warning) => items.every((item) => item.warnings.includes(warning))) : [];
