/* From the filters and the chosen axes to lines: a heading, a row of the grid, or a row of cards. */

const view = { grid: false, columns: "", rows: "prompt", sort: "number", group: "", state: "", model: "", words: [], favourites: false };
const columnHeads = () => (view.grid ? AXES.get(view.columns).values : []);

/* what is searched, made once, when first needed: texts wherever a word is in them; numbers (seeds!) and what was made up
   (ids, the end of file names), in which any digits are somewhere, only as a whole */
const MADE_UP_ID = /^r[0-9a-f]{32}$/;
const MADE_UP_END = /-[0-9a-f]{8}(\.[^.]*)?$/;
const searchable = [];
function searched(item) {
  if (searchable[item.place]) return searchable[item.place];
  const names = item.files.map((file) => nameOf(file.address).toLowerCase()), id = MADE_UP_ID.test(item.id);
  const told = [...item.inputs, ...item.fields], numbers = told.filter(([, given]) => typeof given === "number");
  searchable[item.place] = {
    text: [item.prompt, id ? "" : item.id, item.asked, item.model, ...names.map((name) => name.replace(MADE_UP_END, "$1")),
      ...told.filter(([, given]) => typeof given !== "number").map(([name, given]) => `${name}=${shortened(given, 400)}`)].join("\n").toLowerCase(),
    whole: new Set([item.id.toLowerCase(), ...names].concat(numbers.flatMap(([name, given]) => [String(given), `${name}=${given}`.toLowerCase()]))),
  };
  return searchable[item.place];
}
const hasWord = (item, word) => searched(item).text.includes(word) || searched(item).whole.has(word);

const passes = (item) => (!view.state || item.state === view.state) && (!view.model || item.model === view.model || item.asked === view.model)
  && (!view.favourites || favourites.has(item)) && view.words.every((word) => hasWord(item, word));

const SORTS = {
  number: ["List order", null],
  prompt: ["Prompt", (item) => item.prompt],
  id: ["Id", (item) => item.id],
  model: ["Model", (item) => item.asked],
  file: ["File name", (item) => (item.files[0] ? nameOf(item.files[0].address) : "\uffff")],
  seconds: ["Fastest", (item) => item.seconds],
  slow: ["Slowest", (item) => -item.seconds],
  cost: ["Cheapest", (item) => item.cost ?? Infinity],
  dear: ["Dearest", (item) => -(item.cost ?? -1)],
  failed: ["Failures first", (item) => (made(item) ? 1 : 0)],
  favourite: ["Favourites first", (item) => (favourites.has(item) ? 0 : 1)],
};
const byValue = (one, other) => (typeof one === "number" && typeof other === "number" ? one - other : text(one).localeCompare(text(other), undefined, { numeric: true }));

function sorted(list, keysOf) {
  if (view.sort === "number") return list;
  const key = SORTS[view.sort] ? SORTS[view.sort][1] : AXES.get(view.sort).of;
  const keyed = list.map((each) => [each, keysOf(each).map(key).sort(byValue)[0]]);
  return keyed.sort((one, other) => byValue(one[1], other[1])).map(([each]) => each);
}

/** Lists by what their items have on an axis, in the order of the axis' values. */
function grouped(list, itemOf) {
  if (!view.group) return [["", list]];
  const axis = AXES.get(view.group), groups = new Map(axis.values.map((each) => [text(each), []]));
  for (const each of list) {
    const key = text(axis.of(itemOf(each)));
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(each);
  }
  return [...groups].filter(([, members]) => members.length).map(([key, members]) => [`${axis.label}: ${axis.show === text ? key : axis.show(key)}`, members]);
}

/** The rows of the grid: of each, the items by column. A row stays whole where one of its items passes. */
function rowsOf() {
  const rowAxis = AXES.get(view.rows), columnAxis = AXES.get(view.columns);
  const columns = new Map(columnAxis.values.map((each, place) => [text(each), place]));
  const rows = new Map();
  for (const item of items) {
    const key = text(rowAxis.of(item));
    if (!rows.has(key)) rows.set(key, { cells: columnAxis.values.map(() => []), items: [], passing: 0, value: rowAxis.of(item) });
    const row = rows.get(key);
    row.cells[columns.get(text(columnAxis.of(item)))]?.push(item);
    row.items.push(item);
    if (passes(item)) row.passing += 1;
  }
  return sorted([...rows.values()].filter((row) => row.passing), (row) => row.items);
}

/** Everything that is shown, as lines; `across` cards fit beside each other. */
function arranged(across) {
  const lines = [];
  if (view.grid) {
    for (const [heading, rows] of grouped(rowsOf(), (row) => row.items[0])) {
      if (heading) lines.push({ kind: "heading", heading: `${heading} (${count(rows.length)})` });
      for (const row of rows) lines.push({ kind: "row", ...row, stops: row.cells.flatMap((cell, column) => cell.map((item) => ({ item, column }))) });
    }
    return lines;
  }
  const list = sorted(items.filter(passes), (item) => [item]);
  for (const [heading, members] of grouped(list, (item) => item)) {
    if (heading) lines.push({ kind: "heading", heading: `${heading} (${count(members.length)})` });
    for (let at = 0; at < members.length; at += across) {
      lines.push({ kind: "cards", stops: members.slice(at, at + across).map((item, column) => ({ item, column })) });
    }
  }
  return lines;
}
