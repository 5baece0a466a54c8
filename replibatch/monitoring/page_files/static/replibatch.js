/* Asks for the fleet's figures every second and shows them. Everything shown is set as text, never as HTML. */
(function () {
  "use strict";

  const EVERY_MS = 1000;
  const REMEMBERED = 120; // looks, for the little curves and the time left
  const CAUSES = {
    slots: "for a free slot", window: "for room in the window", cooldown: "for the pause to end",
    pacing: "for Replicate's pace", stopped: "the account is stopped", outage: "until what is out works again", rebuild: "the limits are being rebuilt",
    claim: "about to start",
  };
  const root = document.getElementById("rb");
  const at = (id) => document.getElementById(id);
  const history = { inFlight: [], window: [], waiting: [] };
  const finishedAt = new Map(); // batch -> [[seconds, finished]]

  const number = (value) => Number(value).toLocaleString("en-US");
  const dollars = (value) => value === null ? "unknown" : "$" + Number(value).toLocaleString("en-US", {
    minimumFractionDigits: 2, maximumFractionDigits: value < 1 && value * 100 % 1 > 1e-6 ? 3 : 2,
  });
  const short = (model) => model.slice(model.lastIndexOf("/") + 1);
  const sum = (counts) => Object.values(counts).reduce((total, each) => total + each, 0);

  function duration(seconds) {
    if (seconds < 10) return seconds.toFixed(1) + " s";
    if (seconds < 100) return Math.round(seconds) + " s";
    if (seconds < 6000) return Math.round(seconds / 60) + " min";
    if (seconds < 172800) return Math.round(seconds / 3600) + " h";
    return Math.round(seconds / 86400) + " d";
  }

  function make(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  // Limits ------------------------------------------------------------------------------------------------------

  function meter(id, value, beside, share, note) {
    const card = at(id);
    setText(card.querySelector("b"), value);
    setText(card.querySelector(".rb-value span"), beside);
    setText(card.querySelector(".rb-note"), note);
    const bar = card.querySelector(".rb-bar");
    if (bar) {
      bar.hidden = share === null;
      bar.firstChild.style.width = Math.min(100, 100 * (share || 0)) + "%";
      bar.firstChild.classList.toggle("rb-full", share >= 0.995);
    }
  }

  function curve(id, values, value, most) {
    values.push(value);
    if (values.length > REMEMBERED) values.shift();
    const spark = at(id).querySelector(".rb-spark");
    const top = Math.max(1, most || 0, ...values);
    const points = values.map((each, place) =>
      [(120 * (REMEMBERED - values.length + place) / (REMEMBERED - 1)).toFixed(1), (26 - 24 * each / top).toFixed(1)]);
    spark.querySelector("polyline").setAttribute("points", points.map((each) => each.join(",")).join(" "));
    spark.querySelector("path").setAttribute("d",
      `M${points[0][0]},28 ` + points.map((each) => "L" + each.join(",")).join(" ") + " L120,28 Z");
  }

  const from = (source) => source === "default" ? "the default" : source === "limits set" ? "by limits set" : "by " + source;

  function showLimits(now) {
    const flight = now.in_flight, window_ = now.window, spend = now.spend;
    meter("rb-in-flight", number(flight.used), "of " + number(flight.limit), flight.used / flight.limit,
      `${from(flight.source)} · peak ${number(flight.peak)}`);
    curve("rb-in-flight", history.inFlight, flight.used, flight.limit);
    meter("rb-window", number(window_.used), "of " + number(window_.limit), window_.used / window_.limit,
      `in any ${duration(window_.seconds)} · ${number(now.created)} in all`);
    curve("rb-window", history.window, window_.used, window_.limit);
    meter("rb-waiting", number(now.waiting), "", null,
      (now.waiting_for ? CAUSES[now.waiting_for] + " · " : "") + `${number(now.queued)} in the queue`);
    curve("rb-waiting", history.waiting, now.waiting, 0);
    const budget = spend.budget_usd;
    meter("rb-spend", dollars(spend.month_usd), budget === null ? "" : "of " + dollars(budget),
      budget === null ? null : budget > 0 ? (spend.month_usd + spend.reserved_usd) / budget : 1,
      (spend.reserved_usd > 0 ? dollars(spend.reserved_usd) + " reserved" : "nothing reserved")
      + (budget === null ? " · no budget" : ` · budget ${from(spend.source)}`));
    meter("rb-reads", number(now.reads.used), "of " + number(now.reads.limit), now.reads.used / now.reads.limit,
      now.throttled ? `throttled ${number(now.throttled)} times so far` : "never throttled");
  }

  // Notices -----------------------------------------------------------------------------------------------------

  function showNotices(now) {
    const notices = [];
    for (const outage of now.outages) {
      notices.push(["bad", "Out", `${outage.what}: ${outage.message} (${outage.to_go_on})`]);
    }
    if (now.stopped) {
      notices.push(["bad", "Stopped", `${now.stopped}. Mend it, then start a worker or run the batch again.`]);
    }
    if (now.cooldown_seconds > 0) {
      notices.push(["wait", "Paused", `Replicate answered 429 and asked to wait: ${duration(now.cooldown_seconds)} left.`]);
    }
    if (now.window.learned) {
      notices.push(["wait", "Slower", `Replicate lets ${number(now.window.learned)} through in ${duration(now.window.seconds)}, fewer than the limit allows.`]);
    }
    if (now.waiting_for === "rebuild") {
      notices.push(["wait", "Rebuilding", "Redis has lost its state: the limits are rebuilt from the account's own list."]);
    }
    if (!now.workers.length) {
      const open = now.queued + now.left_behind + now.batches.reduce((total, batch) => total + batch.waiting, 0);
      notices.push([open ? "bad" : "wait", "No worker", `${open ? number(open) + " generations wait for one. " : ""}Start one with: replibatch worker`]);
    } else if (now.left_behind) {
      notices.push(["wait", "Taking over", `${number(now.left_behind)} generations of a worker that died or left.`]);
    }
    at("rb-notices").replaceChildren(...notices.map(([kind, title, text]) => {
      const notice = make("p", "rb-notice rb-notice-" + kind);
      notice.append(make("b", "", title), make("span", "", text));
      return notice;
    }));
  }

  // Pictures ----------------------------------------------------------------------------------------------------

  function tile(picture) {
    const link = make("a", "rb-tile rb-tile-" + picture.state);
    link.href = root.dataset.tasks + encodeURIComponent(picture.id);
    link.title = `${picture.prompt}\n${short(picture.model)} · ${picture.state} · ${dollars(picture.cost_usd)}`
      + (picture.error ? "\n" + picture.error : "");
    const failed = picture.state === "failed" || picture.state === "canceled";
    link.append(make("span", "", failed ? picture.state : picture.number === null ? "▶ file" : ""));
    if (picture.number !== null) {
      const image = make("img");
      image.loading = "lazy";
      image.alt = picture.prompt;
      image.addEventListener("error", () => { image.remove(); setText(link.firstChild, "not here"); });
      image.src = `${root.dataset.pictures}/picture/${encodeURIComponent(picture.id)}/${picture.number}`;
      link.append(image);
    }
    return link;
  }

  // Tiles that are there already stay: no picture flickers.
  function showPictures(box, pictures) {
    const there = new Map([...box.children].map((each) => [each.dataset.key, each]));
    const wanted = pictures.map((picture) => {
      const key = `${picture.id} ${picture.state} ${picture.cost_usd}`;
      const element = there.get(key) || tile(picture);
      element.dataset.key = key;
      return element;
    });
    if (wanted.length !== box.children.length || wanted.some((each, place) => box.children[place] !== each)) {
      box.replaceChildren(...wanted);
    }
  }

  // Batches -----------------------------------------------------------------------------------------------------

  const PARTS = ["succeeded", "placeholder", "failed", "canceled", "running"];

  function newBatch(batch) {
    const card = make("article", "rb-card rb-batch");
    card.dataset.id = batch.id;
    const header = make("header");
    header.append(make("h3"), make("span", "rb-chip"), make("code", "", batch.id), make("time"));
    const progress = make("div", "rb-progress");
    progress.setAttribute("role", "progressbar");
    progress.append(...PARTS.map((part) => make("i", "rb-" + part)));
    card.append(header, progress, make("div", "rb-facts"), make("div", "rb-pictures"));
    return card;
  }

  function timeLeft(batch, finished, seconds) {
    const seen = finishedAt.get(batch.id) || [];
    seen.push([seconds, finished]);
    if (seen.length > REMEMBERED) seen.shift();
    finishedAt.set(batch.id, seen);
    const [since, before] = seen[0];
    if (batch.standing !== "running" || finished <= before || seconds - since < 3) return "";
    return "about " + duration((batch.total - finished) * (seconds - since) / (finished - before)) + " left";
  }

  function showBatch(card, batch, seconds) {
    const finished = batch.succeeded + batch.placeholder + batch.failed + batch.canceled;
    const held = !["running", "waiting", "done"].includes(batch.standing);
    setText(card.querySelector("h3"), batch.name || "Batch");
    const chip = card.querySelector(".rb-chip");
    chip.className = "rb-chip rb-chip-" + (held ? "held" : batch.standing);
    setText(chip, batch.standing);
    setText(card.querySelector("time"), duration(Math.max(0, seconds - batch.opened)) + " ago");
    const progress = card.querySelector(".rb-progress");
    progress.setAttribute("aria-valuemax", batch.total);
    progress.setAttribute("aria-valuenow", finished);
    progress.setAttribute("aria-label", `${finished} of ${batch.total} finished`);
    const amounts = { ...batch, running: batch.outstanding };
    PARTS.forEach((part, place) => {
      progress.children[place].style.width = (batch.total ? 100 * amounts[part] / batch.total : 0) + "%";
    });
    const facts = [["finished", `${number(finished)} of ${number(batch.total)}`]];
    if (batch.outstanding) facts.push(["under way", number(batch.outstanding)]);
    if (batch.waiting) facts.push(["waiting", number(batch.waiting)]);
    for (const part of ["placeholder", "failed", "canceled"]) {
      if (batch[part]) facts.push([part, number(batch[part])]);
    }
    const left = timeLeft(batch, finished, seconds);
    card.querySelector(".rb-facts").replaceChildren(
      ...facts.map(([label, value]) => {
        const fact = make("span");
        fact.append(make("b", "", value), " " + label);
        return fact;
      }),
      ...(left ? [make("span", "", left)] : []),
      make("b", "rb-cost", dollars(batch.cost_usd)),
    );
    showPictures(card.querySelector(".rb-pictures"), batch.pictures);
  }

  function showBatches(now) {
    const box = at("rb-batches");
    if (!now.batches.length) {
      box.replaceChildren(make("p", "rb-card rb-empty", "No batch yet. Start one with: replibatch run prompts.txt -m MODEL -o DIR"));
      return;
    }
    const there = new Map([...box.children].map((each) => [each.dataset.id, each]));
    const cards = now.batches.map((batch) => there.get(batch.id) || newBatch(batch));
    if (cards.length !== box.children.length || cards.some((each, place) => box.children[place] !== each)) {
      box.replaceChildren(...cards);
    }
    now.batches.forEach((batch, place) => showBatch(cards[place], batch, now.at));
  }

  // Tables ------------------------------------------------------------------------------------------------------

  function showRows(id, rows, columns, empty) {
    const body = at(id);
    const lines = rows.map((cells) => {
      const row = make("tr");
      row.append(...cells.map(([text, small, title]) => {
        const cell = make("td", "", text);
        if (small !== undefined) cell.append(" ", make("small", "", small));
        if (title) cell.title = title;
        return cell;
      }));
      return row;
    });
    if (!lines.length) {
      const row = make("tr");
      const cell = make("td", "rb-empty", empty);
      cell.colSpan = columns;
      row.append(cell);
      lines.push(row);
    }
    body.replaceChildren(...lines);
  }

  function showTables(now) {
    showRows("rb-workers", now.workers.map((worker) => [
      [worker.host, String(worker.pid), worker.name], [number(worker.generations)], [number(worker.in_flight)],
      [number(worker.waiting)], [worker.silent_seconds < 2 ? "now" : duration(worker.silent_seconds) + " ago"],
    ]), 5, "None answers.");
    const models = now.models.filter((each) => each.week.made || sum(each.week.failed));
    models.sort((one, other) => other.week.made - one.week.made);
    showRows("rb-models", models.map((each) => [
      [short(each.model), undefined, each.model], [number(each.today.made), "· " + number(each.week.made)],
      [number(sum(each.today.failed)), "· " + number(sum(each.week.failed))],
      [dollars(each.today.cost_usd), "· " + dollars(each.week.cost_usd)],
    ]), 4, "Nothing made yet.");
    const fallbacks = models.flatMap((each) => Object.entries(each.week.fallbacks).map(
      ([reason, times]) => ({ model: each.model, reason, week: times, today: each.today.fallbacks[reason] || 0 })));
    fallbacks.sort((one, other) => other.week - one.week);
    showRows("rb-fallbacks", fallbacks.map((each) => [
      [short(each.model), undefined, each.model], [each.reason.replaceAll("_", " ")],
      [number(each.today), "· " + number(each.week)],
    ]), 3, "No model had to stand in.");
  }

  // The clockwork -----------------------------------------------------------------------------------------------

  function show(now) {
    setText(at("rb-account"), now.account);
    showNotices(now);
    showLimits(now);
    showBatches(now);
    at("rb-latest-section").hidden = !now.latest.length;
    showPictures(at("rb-latest"), now.latest);
    showTables(now);
  }

  function live(text, state) {
    setText(at("rb-live"), text);
    at("rb-dot").className = "status-dot status-dot-" + state;
  }

  async function look() {
    try {
      const answer = await fetch(root.dataset.figures, { credentials: "same-origin", cache: "no-store" });
      if (answer.status === 401 || answer.redirected) return live("Logged out: load the page again", "error");
      const now = await answer.json();
      if (!answer.ok) throw new Error(now.error);
      show(now);
      live("Live · " + new Date(now.at * 1000).toLocaleTimeString(), "live");
    } catch (error) {
      live(error instanceof TypeError ? "Flower does not answer" : String(error.message), "error");
    }
  }

  async function keepLooking() {
    if (!document.hidden) await look();
    setTimeout(keepLooking, EVERY_MS);
  }

  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  keepLooking();
}());
