/* Favourites: kept by the browser, exported as a list that `replibatch run` takes. */

const favourites = (() => {
  const place = `replibatch:${data.gallery || location.pathname}`;
  let kept;
  try { kept = new Set(JSON.parse(localStorage.getItem(place) || "[]")); } catch { kept = new Set(); }
  const here = () => items.filter((item) => kept.has(item.key));

  function toggle(item) {
    if (!kept.delete(item.key)) kept.add(item.key);
    try { localStorage.setItem(place, JSON.stringify([...kept])); } catch { /* a browser that keeps nothing: as long as the page is open */ }
    return kept.has(item.key);
  }

  /** An item as a line of a list: the model that made it, with the inputs it was given, seed included. */
  function line(item) {
    const inputs = Object.fromEntries(item.inputs);
    const fields = [...item.fields].filter(([name]) => !(name in inputs));
    const id = /^r[0-9a-f]{32}$/.test(item.id) ? {} : { id: item.id }; // `run` gave it one
    return { ...id, ...(item.prompt ? { prompt: item.prompt } : {}), model: made(item) ? item.model : item.asked, ...inputs, ...Object.fromEntries(fields) };
  }

  /** Two items of one id (two models' pictures of a line) need an id each. */
  function list() {
    const lines = here().filter((item) => item.whole).map(line);
    const times = new Map();
    for (const each of lines) if (each.id) times.set(each.id, (times.get(each.id) || 0) + 1);
    const seen = new Map();
    for (const each of lines) if (times.get(each.id) > 1) {
      const nth = (seen.get(each.id) || 0) + 1;
      seen.set(each.id, nth);
      each.id = `${each.id}-${nth}`;
    }
    return `[\n${lines.map((each) => JSON.stringify(each)).join(",\n")}\n]\n`;
  }

  function save() {
    const address = URL.createObjectURL(new Blob([list()], { type: "application/json" }));
    const link = make("a", { href: address, download: "favourites.json" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
    const left = here().filter((item) => !item.whole).length;
    return left ? `${plural(left, "favourite")} left out: an input is too long for this page; results.jsonl has it.` : "";
  }

  return { has: (item) => kept.has(item.key), toggle, save, list, count: () => here().length };
})();
