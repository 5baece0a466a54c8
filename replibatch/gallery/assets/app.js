/* The head of the page, its controls, and the keys of the board. */

const app = (() => {
  function head() {
    const good = (totals.states.succeeded || 0) + (totals.states.fallback || 0), models = Object.keys(totals.models).length;
    const figures = [
      [good === totals.count ? "made" : `of ${count(totals.count)} made`, count(good)],
      [totals.unknown_costs ? `spent, and ${plural(totals.unknown_costs, "unknown cost")}` : "spent", dollars(totals.cost_usd, 2, 2)],
      [models === 1 ? "model" : "models", count(models)],
      ["of generating", time(totals.seconds)],
    ];
    $("figures").append(...figures.map(([label, figure]) => make("div", {}, make("dt", {}, label), make("dd", {}, figure))));
    const present = Object.keys(STATES).filter((state) => totals.states[state]);
    $("bar").setAttribute("aria-label", present.map((state) => `${STATES[state]}: ${count(totals.states[state])}`).join(", "));
    for (const state of present) { const part = make("span", { "data-state": state }); part.style.flexGrow = totals.states[state]; $("bar").append(part); }
    $("states").append(make("button", { type: "button", "aria-pressed": "true", value: "" }, "All"),
      ...present.map((state) => make("button", { type: "button", "aria-pressed": "false", value: state, "data-state": state }, STATES[state], make("b", {}, count(totals.states[state])))));
    $("states").hidden = present.length < 2;
    const uses = Object.entries(totals.models).sort((one, other) => other[1] - one[1]);
    $("model").append(make("option", { value: "" }, "All models"), ...uses.map(([model, times]) => make("option", { value: model }, `${short(model)} (${count(times)})`)));
    $("filters").hidden = $("arrange").hidden = totals.count < 2;
    if (EQUAL.length || equalRemarks.length) {
      $("equal").hidden = false;
      $("equal").append(make("span", { class: "quiet-label" }, "Equal for all: "), ...EQUAL.map(([name, given]) => make("span", {}, make("i", {}, name), ` ${shortened(given)}`)), ...equalRemarks.map((remark) => make("span", {}, remark)));
    }
    const earlier = totals.earlier;
    if (earlier && earlier.cost_usd) $("earlier").textContent = `${dollars(earlier.cost_usd, 2, 4)} of it for ${plural(earlier.count, "earlier result")} of the same items.`;
  }

  function controls() {
    const option = (chosen) => ([name, label]) => make("option", { value: name, selected: name === chosen }, label);
    const labelled = (names) => names.map((name) => [name, AXES.get(name).label]);
    const comparable = varied(FEW), groupable = varied(MANY).filter((name) => name !== "prompt");
    const likely = likelyAxes();
    const ids = new Set(items.map((item) => item.id)).size;
    view.rows = likely.rows === "prompt" && ids * 1.5 <= items.length && ids > new Set(items.map((item) => item.prompt)).size ? "id" : likely.rows;
    view.columns = likely.columns || comparable[0] || "";
    view.grid = Boolean(likely.columns);
    $("columns").append(...labelled(comparable.filter((name) => name !== "prompt")).map(option(view.columns)));
    $("rows").append(...labelled(["prompt", "id", ...groupable.filter((name) => !["made", "state"].includes(name))]).map(option(view.rows)));
    $("sort").append(...Object.entries(SORTS).map(([name, [label]]) => [name, label]).map(option("number")),
      ...labelled([...AXES.keys()].filter((name) => name.includes("."))).map(option("")));
    $("group").append(make("option", { value: "" }, "Nothing"), ...labelled(groupable).map(option("")));
    $("grid").disabled = !view.columns;
    for (const name of ["columns", "rows", "sort", "group"]) $(name).addEventListener("change", () => { view[name] = $(name).value; show(); });
    $("grid").addEventListener("click", () => { view.grid = true; show(); });
    $("flow").addEventListener("click", () => { view.grid = false; show(); });
    $("favourites").addEventListener("click", () => { view.favourites = !view.favourites; show(); });
    $("export").addEventListener("click", () => { $("told").textContent = favourites.save(); });
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    let typed = 0;
    $("search").addEventListener("input", () => { clearTimeout(typed); typed = setTimeout(show, items.length > 2000 ? 80 : 0); });
    $("model").addEventListener("change", show);
    $("states").addEventListener("click", (event) => { const button = event.target.closest("button"); if (button) { choose(button.value); show(); } });
    $("clear").addEventListener("click", () => { $("search").value = ""; $("model").value = ""; view.favourites = false; choose(""); show(); $("search").focus(); });
    $("keys").addEventListener("click", () => $("help").showModal());
    $("help-close").addEventListener("click", () => $("help").close());
  }

  function choose(state) {
    view.state = state;
    for (const button of $("states").children) button.setAttribute("aria-pressed", String(button.value === state));
  }

  /** Show what the controls say. */
  function show() {
    view.words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    view.model = $("model").value;
    if (view.grid && !view.columns) view.grid = false;
    for (const [id, on] of [["grid", view.grid], ["flow", !view.grid], ["favourites", view.favourites]]) $(id).setAttribute("aria-pressed", String(on));
    for (const each of document.querySelectorAll(".of-grid")) each.hidden = !view.grid;
    findCommonRemarks();
    table();
    counted();
    board.arrange(true);
  }

  function counted() {
    const shown = items.filter(passes).length, filtered = view.state || view.model || view.words.length || view.favourites;
    const rest = totals.count > items.length ? ` The first ${count(items.length)} of ${count(totals.count)} are here; results.jsonl has all.` : "";
    $("shown").textContent = (filtered ? `${count(shown)} of ${plural(items.length, "result")}.` : "") + rest;
    $("nothing").hidden = shown > 0 || !filtered;
    $("favourite-count").textContent = count(favourites.count());
    $("export").disabled = !favourites.count();
  }

  /** The summary: a line a column, or a model. */
  function table() {
    const axis = AXES.get(view.columns && view.grid ? view.columns : "model");
    const lines = axis.values.slice(0, FEW).map((each) => [each, summary(items.filter((item) => text(axis.of(item)) === text(each)))]);
    $("summary").hidden = items.length < 2;
    const cell = (given) => make("td", {}, given);
    $("table").replaceChildren(
      make("thead", {}, make("tr", {}, ...[axis.label, "Made", "Failed", "Fallbacks", "Mean time", "p95 time", "Cost", "Each", "Seeds"].map((name) => make("th", { scope: "col" }, name)))),
      make("tbody", {}, ...lines.map(([each, sum]) => make("tr", {}, make("th", { scope: "row", title: text(each) }, axis.show(each)),
        cell(`${count(sum.made)} of ${count(sum.count)}`), cell(count(sum.failures)), cell(count(sum.fallbacks)), cell(sum.mean == null ? "–" : time(sum.mean)), cell(sum.p95 == null ? "–" : time(sum.p95)),
        cell(costShown(sum)), cell(sum.made && !sum.unknown ? dollars(sum.cost / sum.made, 2, 4) : "–"), cell(seedsShown(sum.seeds))))));
  }

  /* -- keys of the board -- */

  $("comparison").addEventListener("click", (event) => {
    const star = event.target.closest("[data-mark]"), button = event.target.closest(".frame");
    if (star) { const item = items[Number(star.dataset.mark)]; favourites.toggle(item); counted(); board.refresh(item); }
    else if (button) viewer.open({ line: Number(button.dataset.line), stop: Number(button.dataset.stop) }, { beside: false });
  });
  addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || viewer.isOpen() || $("help").open) return;
    const target = event.target, onBoard = target.classList?.contains("frame") || target === document.body;
    if (["INPUT", "SELECT", "TEXTAREA"].includes(target.tagName)) {
      if (event.key === "Escape" && target.id === "search") { target.blur(); board.focus(board.at()); }
      return;
    }
    if (event.key === "/") { event.preventDefault(); $("search").focus(); return; }
    if (event.key === "?") { $("help").showModal(); return; }
    if (event.key === "g") { view.grid = !view.grid && Boolean(view.columns); show(); return; }
    if (!onBoard) return;
    const item = board.itemAt(board.at());
    if (!item) return;
    if (event.key === "f") { favourites.toggle(item); counted(); board.refresh(item); }
    else if (event.key === "s") viewer.open(board.at(), { beside: true });
    else if (event.key === "Enter" && target === document.body) viewer.open(board.at(), { beside: false });
    else if (target !== document.body || event.key.startsWith("Arrow")) {
      const place = target === document.body ? board.at() : board.moved(board.at(), event.key);
      if (!place) return;
      board.focus(place);
    } else return;
    event.preventDefault();
  });
  $("board").addEventListener("focusin", (event) => { const button = event.target.closest(".frame"); if (button) board.mark({ line: Number(button.dataset.line), stop: Number(button.dataset.stop) }); });

  function start() {
    if (!window.replibatchGallery) $("absent").hidden = false;
    findAxes();
    findBeginning();
    head();
    controls();
    new ResizeObserver(() => document.documentElement.style.setProperty("--bar", `${$("filters").offsetHeight}px`)).observe($("filters"));
    show();
  }
  return { start, counted };
})();
app.start();
