// Everything about the market, the money and the machine. Orders have a file of their own.
import { byId, clock, duration, list, make, rows, setClass, setText } from "./dom.js";
import { isLost, store } from "./store.js";

export const chosen = { symbol: null };
const STALE_MS = 3000; // a book that was not told again for so long is struck through
const LADDER = 6;
const KNOWN = { READY: "●", RETIRED: "–" };

// What trades at most venues first: that is what there is a consolidated book of.
export function symbols() {
  const venues = new Map();
  for (const name of (store.status?.venues ?? []).flatMap((venue) => venue.symbols)) {
    venues.set(name, (venues.get(name) ?? 0) + 1);
  }
  return [...venues.keys()].sort((a, b) => venues.get(b) - venues.get(a) || (a < b ? -1 : 1));
}

// --- venues and books ----------------------------------------------------------------------------

export function venues() {
  list(
    byId("venues"), store.status?.venues ?? [], (v) => v.name, () => make("li"),
    (item, v) => {
      const limits = (v.rate?.limits ?? []).map((l) => Math.floor((100 * l.left) / Math.max(1, l.limit)));
      const left = limits.length ? `budget ${Math.min(...limits)} %` : "budget -";
      const skew = v.clock_offset_ms === null ? "" : ` skew ${Math.round(v.clock_offset_ms)} ms`;
      const why = [v.reason, v.waits_for].filter(Boolean).join("; ");
      const up = v.state === "READY" && v.book_state === "LIVE";
      const gate = v.gate_closed ? " gate closed" : "";
      setText(item, `${v.name} ${KNOWN[v.state] ?? "▲"} ${v.state}, book ${v.book_state} ` +
        `${duration(v.book_age_ms)}, ${left}${skew}${gate}${why ? ` (${why})` : ""}`);
      setClass(item, up ? "" : "bad");
    },
  );
}

function tabs() {
  const all = symbols();
  if (!all.includes(chosen.symbol)) chosen.symbol = all[0] ?? null;
  list(
    byId("symbols"), all, (s) => s,
    (s) => {
      const button = make("button", s);
      button.type = "button";
      button.addEventListener("click", () => { chosen.symbol = s; book(); });
      return button;
    },
    (button, s) => button.setAttribute("aria-pressed", String(s === chosen.symbol)),
  );
}

function bps(low, high) {
  return (10_000 * (Number(high) - Number(low))) / Number(low);
}

export function book() {
  tabs();
  const shown = store.books.get(chosen.symbol);
  const age = performance.now() - (store.at[`book ${chosen.symbol}`] ?? -Infinity);
  byId("ladder").classList.toggle("stale", !shown || age > STALE_MS);
  const level = (l) => [l.venue, [l.quantity, "n"], [l.price, "n"]];
  const key = (l, n) => `${l.venue} ${l.price}`;
  rows(byId("asks"), [...(shown?.asks ?? [])].slice(0, LADDER).reverse(), key, level);
  rows(byId("bids"), (shown?.bids ?? []).slice(0, LADDER), key, level);
  const bid = shown?.bids[0]?.price;
  const ask = shown?.asks[0]?.price;
  setText(byId("spread"), bid && ask ? `${bps(bid, ask).toFixed(2)} bps` : "-");
  setText(byId("mid"), bid && ask ? `mid ${((Number(bid) + Number(ask)) / 2).toPrecision(8)}` : "-");
  quotes(shown, age);
  matrix(shown);
}

function quotes(shown, age) {
  rows(
    byId("quotes"), shown?.venues ?? [], (q) => q.name,
    (q) => [
      q.name, [q.bid ?? "-", "n"], [q.ask ?? "-", "n"],
      `${q.state === "LIVE" ? "●" : "▲"} ${q.state}${q.quality === "verified" ? "" : ` ${q.quality}`}` +
        (q.reason ? ` ${q.reason}` : ""),
      [q.age_ms === null ? "-" : duration(q.age_ms + Math.max(0, age - 250)), "n"],
    ],
    (q) => (q.state === "LIVE" && age <= STALE_MS ? "" : "stale"),
  );
}

const edgeOf = (from, to) => (store.arb ?? []).find((row) =>
  row.symbol === chosen.symbol && row.buy_at === from.name && row.sell_at === to.name);

// Only venues whose book counts: a stale price is no edge. What is left after fees is the core's word.
function matrix(shown) {
  const live = (shown?.venues ?? []).filter((q) => q.state === "LIVE" && q.bid && q.ask);
  const head = [{ name: "" }, ...live];
  list(byId("matrix-head"), [0], () => 0, () => make("tr"), (row) => {
    list(row, head, (q) => q.name, (q) => {
      const cell = make(q.name ? "th" : "td");
      if (q.name) cell.scope = "col";
      return cell;
    }, (cell, q) => { setText(cell, q.name); cell.classList.add("n"); });
  });
  let best = null;
  list(byId("matrix-body"), live, (q) => q.name, () => make("tr"), (row, from) => {
    list(row, head, (q) => q.name || "-", (q) => {
      const cell = make(q.name ? "td" : "th");
      if (!q.name) cell.scope = "row";
      return cell;
    }, (cell, to) => {
      if (!to.name) return setText(cell, from.name);
      const edge = from.name === to.name ? null : bps(from.ask, to.bid);
      if (edge !== null && (best === null || edge > best.edge)) best = { edge, from, to };
      const net = edgeOf(from, to)?.net_bps;
      setText(cell, edge === null ? "·" : `${edge.toFixed(2)}${net === undefined ? "" : ` / ${net}`}`);
      return setClass(cell, Number(net ?? -1) > 0 ? "n bad" : "n");
    });
  });
  setText(byId("edge"), best === null ? "no two live venues" :
    `best edge: buy ${best.from.name} at ${best.from.ask}, sell ${best.to.name} at ${best.to.bid}: ` +
    `${best.edge.toFixed(2)} bps${best.edge > 0 ? ", crossed" : ""}; ${verdict(edgeOf(best.from, best.to))}`);
}

function verdict(row) {
  if (!row) return "fees not known";
  return `after fees ${row.net_bps} bps${row.why ? ` (${row.why})` : ""}` + (Number(row.gain) > 0 ? `, ${row.gain} for ${row.quantity}` : "");
}

// --- risk and money ------------------------------------------------------------------------------

export function risk() {
  const found = store.risk;
  const limits = (found?.limits ?? []).filter((l) => l.used !== null);
  list(
    byId("gauges"), limits, (l) => `${l.limit} ${l.scope}`,
    (l) => {
      const gauge = make("div", "", "gauge");
      const label = make("span");
      label.append(make("span"), make("span"));
      const bar = make("div");
      bar.setAttribute("role", "meter");
      bar.setAttribute("aria-label", `${l.limit} ${l.scope}`);
      bar.setAttribute("aria-valuemin", "0");
      bar.setAttribute("aria-valuemax", "100");
      bar.append(make("div"));
      gauge.append(label, bar);
      return gauge;
    },
    (gauge, l) => {
      const part = Math.min(100, Math.round((100 * Number(l.used)) / Number(l.limit_value)));
      const [label, bar] = gauge.children;
      setText(label.firstChild, `${l.limit} ${l.scope === "all" ? "" : l.scope}`);
      setText(label.lastChild, `${l.used} of ${l.limit_value} ${l.unit}, ${l.headroom} left`);
      bar.setAttribute("aria-valuenow", String(part));
      bar.setAttribute("aria-valuetext", `${part} %, ${l.headroom} ${l.unit} left`);
      bar.firstChild.style.width = `${part}%`;
      setClass(gauge, part > 95 ? "gauge bad" : part > 80 ? "gauge warn" : "gauge");
    },
  );
  const halts = found?.halts ?? [];
  list(byId("halts"), halts.length ? halts : [null], (h) => h?.scope ?? "none", () => make("li"),
    (item, h) => setText(item, h === null ? "none" :
      `■ ${h.scope}: ${h.reason} (${h.who}, ${clock(h.ts_ns / 1e6)})`));
  const differences = found?.differences ?? [];
  list(byId("differences"), differences.length ? differences : [null],
    (d) => (d === null ? "none" : `${d.account} ${d.asset}`), () => make("li"),
    (item, d) => setText(item, d === null ? "none" :
      `▲ ${d.account} ${d.asset}: expected ${d.expected}, venue says ${d.reported}`));
}

export function money() {
  const found = store.money;
  const total = found?.pnl.total;
  setText(byId("pnl"), total
    ? `${total.net_pnl ?? "-"} ${total.currency}` : "-");
  setText(byId("pnl-parts"), total
    ? `net; realized ${total.realized_pnl}, unrealized ${total.unrealized_pnl}, fees ${total.fees}` +
      `${total.complete ? "" : ", not everything is valued"}` : "-");
  rows(
    byId("positions"), found?.positions ?? [], (p) => `${p.account} ${p.symbol}`,
    (p) => [p.account, p.symbol, [p.traded_quantity, "n"], [p.quantity, "n"],
      [p.mark_price === null ? "-" : `${p.mark_price}, ${duration(p.mark_age_ms)} ago`, "n"],
      [p.realized_pnl ?? "-", "n"], [p.unrealized_pnl ?? "-", "n"]],
  );
  curve(found?.curve ?? []);
}

function curve(points) {
  const svg = byId("curve");
  let line = svg.firstElementChild;
  if (!line) {
    line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    svg.append(line);
  }
  const values = points.map((p) => Number(p[1]));
  const low = Math.min(...values);
  const high = Math.max(...values);
  const first = points[0]?.[0] ?? 0;
  const span = Math.max(1, (points.at(-1)?.[0] ?? 1) - first);
  line.setAttribute("points", points.map((p, n) =>
    `${((300 * (p[0] - first)) / span).toFixed(1)},${(66 - (62 * (values[n] - low)) / Math.max(1e-9, high - low)).toFixed(1)}`).join(" "));
  svg.setAttribute("aria-label", points.length
    ? `Net PnL from ${points[0][1]} to ${points.at(-1)[1]}, between ${low} and ${high}` : "Net PnL, nothing yet");
  if (byId("curve-rows").closest("details").open) {
    rows(byId("curve-rows"), points.slice(-20).reverse(), (p) => p[0], (p) => [clock(p[0]), [p[1], "n"]]);
  }
}

// --- the machine ---------------------------------------------------------------------------------

export function actors() {
  rows(
    byId("actors"), store.status?.actors ?? [], (a) => a.name,
    (a) => [a.name, `${a.state === "running" ? "●" : "▲"} ${a.state}`, [String(a.restarts), a.restarts ? "n warn" : "n"],
      [String(a.mailbox), "n"], [String(a.parked), a.parked ? "n bad" : "n"], [duration(a.last_message_ms), "n"]],
    (a) => (a.state === "running" ? "" : "bad"),
  );
}

const HISTOGRAMS = [["order_ack", "order to acknowledgement"], ["tick_to_book", "tick to book"], ["journal_commit", "journal transaction"]];

function quantile(found, part) {
  const total = found.counts.reduce((a, b) => a + b, 0);
  let running = 0;
  for (const [n, count] of found.counts.entries()) {
    running += count;
    if (total > 0 && running >= part * total) {
      return n < found.bounds_us.length ? `≤ ${found.bounds_us[n] / 1000} ms` : `> ${found.bounds_us.at(-1) / 1000} ms`;
    }
  }
  return "-";
}

export function latency() {
  const shown = store.metrics ? HISTOGRAMS.filter(([key]) => store.metrics[key]) : [];
  list(
    byId("latency"), shown, ([key]) => key,
    () => {
      const box = make("div");
      box.append(make("h3"), make("div", "", "bars"), make("p", "", "note"));
      box.children[1].setAttribute("role", "img");
      return box;
    },
    (box, [key, name]) => {
      const found = store.metrics[key];
      const [title, bars, text] = box.children;
      const most = Math.max(1, ...found.counts);
      setText(title, name);
      bars.setAttribute("aria-label", `Histogram of ${name}`);
      list(bars, found.counts.map((count, n) => ({ count, n })), (b) => b.n, () => make("div"), (bar, b) => {
        bar.style.height = `${(100 * b.count) / most}%`;
        bar.title = `${b.count} ${b.n < found.bounds_us.length ? `up to ${found.bounds_us[b.n] / 1000} ms` : "above"}`;
      });
      const total = found.counts.reduce((a, b) => a + b, 0);
      setText(text, `${total} since the start; p50 ${quantile(found, 0.5)}, p99 ${quantile(found, 0.99)}`);
    },
  );
}

const LEVELS = ["TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL"];

export function log() {
  const wanted = byId("log-filter").value.toLowerCase();
  const least = LEVELS.indexOf(byId("log-level").value);
  const text = (line) => Object.entries(line).filter(([k]) => !["ts", "level", "event"].includes(k))
    .map(([k, v]) => `${k}=${v}`).join(" ");
  const lines = store.log
    .map((line) => ({ line, text: `${(line.ts ?? "").slice(11, 23)} ${line.level} ${line.event} ${text(line)}` }))
    .filter((l) => LEVELS.indexOf(l.line.level) >= least && l.text.toLowerCase().includes(wanted))
    .slice(-60).reverse();
  list(byId("log"), lines, (l) => l.text, (l) => make("li", l.text, LEVELS.indexOf(l.line.level) >= 4 ? "warn" : ""), () => {});
}

// --- the head ------------------------------------------------------------------------------------

export function head() {
  const status = store.status;
  const lost = isLost();
  const mode = status?.mode ?? "none";
  const words = { demo: "DEMO, simulated venues", paper: "PAPER, no real orders", testnet: "TESTNET", live: "LIVE ●" };
  document.body.dataset.mode = mode;
  setText(byId("mode"), words[mode] ?? "connecting");
  document.title = `${lost ? "LOST " : ""}${mode === "live" ? "LIVE ●" : mode.toUpperCase()} ${status?.name ?? "xcore"}`;
  setText(byId("name"), status?.name);
  const state = status?.trading_state;
  setText(byId("state"), state === "HALTED" ? "■ HALTED" : state ? `● ${state}` : "-");
  byId("state").classList.toggle("bad", state !== "ACTIVE");
  setText(byId("age"), duration(performance.now() - (store.at.status ?? performance.now())));
  setText(byId("journal"), status ? `seq ${status.journal.seq}, lag ${status.journal.lag}` : "-");
  setText(byId("counts"), status ? `${status.orders.open} open, ${status.orders.unknown} UNKNOWN` : "-");
  byId("counts").classList.toggle("bad", Boolean(status?.orders.unknown));
  const now = new Date();
  setText(byId("clock"), `${now.toISOString().slice(11, 19)} UTC, ${now.toTimeString().slice(0, 8)} here`);
  byId("resume").hidden = state !== "HALTED" && !(store.risk?.halts ?? []).length;
}
