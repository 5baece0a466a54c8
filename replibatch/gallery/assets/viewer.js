/* The close-up: one picture, or all of a prompt side by side; everything by keyboard. */

const viewer = (() => {
  const element = $("viewer"), stage = $("stage"), notesBox = $("notes");
  let at = null, which = 0, beside = false;

  /** The places that are compared: the row, or in the flow what has the same prompt. */
  function siblings() {
    const item = board.itemAt(at);
    if (view.grid) return board.stopsOf(at.line).map((_, stop) => ({ line: at.line, stop }));
    const found = [];
    for (let line = 0; line < board.count(); line += 1) board.stopsOf(line).forEach((each, stop) => { if (each.item.prompt === item.prompt && found.length < 24) found.push({ line, stop }); });
    return found;
  }

  function open(place, options = {}) {
    const item = board.itemAt(place);
    if (!item) return;
    at = place;
    which = options.file || 0;
    if (options.beside !== undefined) beside = options.beside;
    board.mark(at);
    if (!element.open) { element.showModal(); $("close").focus({ focusVisible: false }); }
    const all = beside ? siblings() : null;
    stage.classList.toggle("beside", Boolean(all));
    stage.replaceChildren(...(all ? tiles(all) : [closeUp(item, item.files[which])]));
    notesBox.replaceChildren(...notes(item, item.files[which]));
    notesBox.scrollTop = 0;
    $("beside").setAttribute("aria-pressed", String(beside));
    $("favourite").setAttribute("aria-pressed", String(favourites.has(item)));
    $("favourite").textContent = favourites.has(item) ? "★" : "☆";
    $("said").textContent = `${shortened(item.prompt)}, ${short(item.model)}, ${STATES[item.state] || item.state}${favourites.has(item) ? ", favourite" : ""}`;
    if (!beside) preload();
  }

  /** What the next keys show is loaded before they are pressed. */
  function preload() {
    for (const key of ["ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp"]) {
      const item = board.itemAt(next(key) || at);
      if (item && item.files[0] && IMAGE.test(item.files[0].address)) new Image().src = item.files[0].address;
    }
  }

  function next(key) {
    const files = board.itemAt(at).files.length;
    const by = key === "ArrowRight" ? 1 : -1;
    if (key === "ArrowLeft" || key === "ArrowRight") {
      if (!beside && which + by >= 0 && which + by < files) return { ...at, file: which + by };
      if (view.grid) { const stops = board.stopsOf(at.line).length; return { line: at.line, stop: (at.stop + by + stops) % stops }; }
      if (beside) { const all = siblings(), here = all.findIndex((each) => each.line === at.line && each.stop === at.stop); return all[(here + by + all.length) % all.length]; }
      return board.moved(at, key);
    }
    if (key === "ArrowDown" || key === "ArrowUp") return otherPrompt(key === "ArrowDown" ? 1 : -1);
    return board.moved(at, key);
  }

  function otherPrompt(by) {
    if (view.grid) return board.moved(at, by > 0 ? "ArrowDown" : "ArrowUp");
    const prompt = board.itemAt(at).prompt, key = by > 0 ? "ArrowRight" : "ArrowLeft";
    let place = at;
    for (;;) {
      const further = board.moved(place, key);
      if (further.line === place.line && further.stop === place.stop) return at;
      place = further;
      if (board.itemAt(place).prompt !== prompt) return place;
    }
  }

  function step(key) {
    const place = next(key);
    if (place) open({ line: place.line, stop: place.stop }, { file: place.file || 0 });
  }
  function pick(number) {
    const place = siblings()[number - 1];
    if (place) open(place);
  }
  function mark() {
    const item = board.itemAt(at);
    favourites.toggle(item);
    board.refresh(item);
    app.counted();
    open(at, { file: which });
  }

  function closeUp(item, file) {
    if (!file) return make("p", { class: "without" }, item.error || "No file");
    if (VIDEO.test(file.address)) return make("video", { src: file.address, controls: true, autoplay: !matchMedia("(prefers-reduced-motion: reduce)").matches, loop: true, playsinline: true });
    if (AUDIO.test(file.address)) return make("audio", { src: file.address, controls: true });
    if (!IMAGE.test(file.address)) return make("p", { class: "without" }, make("a", { href: file.address }, "Open the file"));
    const image = make("img", { src: file.address, alt: shortened(item.prompt, 400) });
    image.addEventListener("error", () => image.replaceWith(missing()));
    return image;
  }

  function label(place) {
    const item = board.itemAt(place);
    if (!view.grid) return short(item.model);
    const axis = AXES.get(view.columns);
    return axis.show(axis.of(item));
  }

  /** All side by side, as large as they can be. */
  function tiles(all) {
    const box = stage.getBoundingClientRect(), width = Math.max(300, (box.width || innerWidth * 0.7) - 32), height = Math.max(240, (box.height || innerHeight) - 80);
    const aspect = data.aspect || 1;
    let across = 1, best = 0;
    for (let columns = 1; columns <= all.length; columns += 1) {
      const wide = width / columns, high = height / Math.ceil(all.length / columns) - 34;
      const size = Math.min(wide, high * aspect);
      if (size > best) { best = size; across = columns; }
    }
    stage.style.setProperty("--across", String(across));
    return all.map((place, nth) => {
      const item = board.itemAt(place), here = place.line === at.line && place.stop === at.stop;
      const tile = make("button", { type: "button", class: "tile", "aria-current": here ? "true" : null, "aria-label": `${nth + 1}: ${label(place)}, ${STATES[item.state] || item.state}${favourites.has(item) ? ", favourite" : ""}` },
        make("span", { class: "picture" }, tilePicture(item)),
        make("span", { class: "tile-label" }, make("b", {}, `${nth + 1}`), make("span", {}, label(place)), make("span", { class: "dim" }, [item.cost ? dollars(item.cost) : null, time(item.seconds)].filter(Boolean).join(" · ")), favourites.has(item) ? make("span", { class: "gold" }, "★") : null));
      tile.addEventListener("click", () => (here ? open(place, { beside: false }) : open(place)));
      return tile;
    });
  }
  function tilePicture(item) {
    const file = item.files[0];
    if (file && IMAGE.test(file.address)) return closeUp(item, file);
    const small = thumbnail(item), media = small.matches?.("[data-src]") ? small : small.querySelector?.("[data-src]");
    if (media) media.src = media.dataset.src;
    return small;
  }

  function story(item) {
    return make("ol", { class: "chain" }, ...attemptsOf(item).map((attempt) => {
      const figures = [attempt.cost ? dollars(attempt.cost) : attempt.cost == null ? "cost unknown" : null, time(attempt.seconds)].filter(Boolean).join(", ");
      return make("li", { "data-state": attempt.reason ? "failed" : "succeeded" },
        attempt.step ? make("b", {}, `${attempt.step}. `) : null, short(attempt.model), make("span", {}, ` ${attempt.reason ? attempt.reason.replaceAll("_", " ") : "made it"}, ${figures}`),
        attempt.message ? make("div", {}, make("span", {}, attempt.message)) : null);
    }));
  }

  function notes(item, file) {
    const several = item.files.length > 1 ? `, file ${which + 1} of ${item.files.length}` : "";
    const rows = [["Model", item.model], item.asked === item.model ? null : ["Asked for", item.asked], ["Cost", dollars(item.cost)], ["Time", time(item.seconds)],
      ...[...item.fields, ...item.inputs].map(([name, given]) => [name, shortened(given, 400)]), ["Request", item.id]].filter(Boolean);
    const predictions = attemptsOf(item).map((attempt) => attempt.prediction).filter(Boolean);
    if (predictions.length) rows.push(["Prediction", predictions[predictions.length - 1]]);
    return [
      make("p", { class: "facts" }, make("span", { class: "state", "data-state": item.state }, STATES[item.state] || item.state), make("span", {}, `${count(item.number)} of ${count(totals.count)}${several}`)),
      make("p", { class: "words" }, item.prompt),
      make("dl", { class: "pairs" }, ...rows.flatMap(([name, given]) => [make("dt", {}, name), make("dd", {}, given)]),
        ...(file ? [make("dt", {}, "File"), make("dd", {}, make("a", { href: file.address, target: "_blank", rel: "noopener" }, nameOf(file.address)))] : [])),
      failuresOf(item) || item.attempts.some((attempt) => attempt[6]) ? make("section", {}, make("h2", {}, item.attempts.some((attempt) => attempt[6]) ? "Steps" : "What was tried"), story(item)) : item.error ? make("section", {}, make("h2", {}, "Why"), make("p", {}, item.error)) : null,
      item.warnings.length ? make("section", {}, make("h2", {}, "What was changed"), ...item.warnings.map((warning) => make("p", {}, warning))) : null,
    ].filter(Boolean);
  }

  const KEYS = {
    f: mark,
    s: () => open(at, { beside: !beside, file: which }),
    i: () => element.classList.toggle("bare"),
    Enter: () => beside && open(at, { beside: false }),
  };
  element.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || ["VIDEO", "AUDIO"].includes(event.target.tagName)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === "Enter" && ["A", "BUTTON"].includes(event.target.tagName) && event.target.id !== "close") return;
    if (KEYS[key]) KEYS[key]();
    else if (/^[1-9]$/.test(key)) pick(Number(key));
    else if (key.startsWith("Arrow") || ["Home", "End", "PageUp", "PageDown"].includes(key)) {
      if (notesBox.contains(event.target) && !["ArrowLeft", "ArrowRight"].includes(key)) return;
      step(key);
    } else return;
    event.preventDefault();
  });
  element.addEventListener("close", () => {
    stage.replaceChildren(); /* a video stops */
    beside = false;
    board.focus(at, false);
  });
  let touched = null;
  stage.addEventListener("pointerdown", (event) => { touched = event.isPrimary && event.pointerType === "touch" ? [event.clientX, event.clientY] : null; });
  stage.addEventListener("pointerup", (event) => {
    if (touched) {
      const [x, y] = [event.clientX - touched[0], event.clientY - touched[1]];
      if (Math.abs(x) > 50 && Math.abs(x) > Math.abs(y)) step(x < 0 ? "ArrowRight" : "ArrowLeft");
    }
    touched = null;
  });
  stage.addEventListener("click", (event) => { if (event.target === stage) element.close(); });
  for (const [id, key] of [["previous", "ArrowLeft"], ["next", "ArrowRight"], ["above", "ArrowUp"], ["below", "ArrowDown"]]) $(id).addEventListener("click", () => step(key));
  $("favourite").addEventListener("click", mark);
  $("beside").addEventListener("click", KEYS.s);
  $("close").addEventListener("click", () => element.close());
  return { open, isOpen: () => element.open };
})();
