// The blotter, UNKNOWN first, the story of one order, and the ticket.
import { cancel, commandId, place } from "./commands.js";
import { byId, clock, duration, list, make, rows, setClass, setText } from "./dom.js";
import { chosen, symbols } from "./panels.js";
import { isLost, store } from "./store.js";

const SHAPES = {
  UNKNOWN: "▲", NEW: "●", PARTIALLY_FILLED: "◐", FILLED: "✓", CANCELED: "–", REJECTED: "✕",
  DENIED: "⊘", EXPIRED: "–",
};
const CLOSED = ["FILLED", "CANCELED", "REJECTED", "DENIED", "EXPIRED"];
const SHOWN_MAX = 150;
export const selected = { id: null, story: null };

export const isOpen = (order) => !CLOSED.includes(order.status);

function wanted() {
  const filter = byId("filter").value.toLowerCase();
  const all = byId("which").value === "all";
  return [...store.orders.values()]
    .filter((o) => (all || isOpen(o)) && (!filter ||
      [o.order_id, o.command_id, o.venue, o.symbol, o.side, o.status, o.who].join(" ").toLowerCase().includes(filter)))
    .sort((a, b) => (b.status === "UNKNOWN") - (a.status === "UNKNOWN") || isOpen(b) - isOpen(a) || b.ts_created_ns - a.ts_created_ns)
    .slice(0, SHOWN_MAX);
}

export function orders() {
  const now = Date.now();
  const found = wanted();
  if (selected.id && !found.some((o) => o.order_id === selected.id)) selected.id = null;
  list(
    byId("orders-body"), found, (o) => o.order_id,
    (o) => {
      const row = make("tr");
      row.dataset.id = o.order_id;
      for (let n = 0; n < 11; n += 1) row.append(make("td"));
      const open = make("button", o.order_id.slice(-8));
      open.type = "button";
      open.setAttribute("aria-label", `Story of order ${o.order_id}`);
      open.addEventListener("click", () => story(o.order_id));
      row.cells[0].append(open);
      row.addEventListener("click", () => { selected.id = o.order_id; orders(); });
      return row;
    },
    (row, o) => {
      setClass(row, o.order_id === selected.id ? "selected" : "");
      const cells = [
        [`${SHAPES[o.status] ?? "○"} ${o.status}`, `state-${o.status}`], [o.venue, ""], [o.symbol, ""],
        [o.side, o.side.toLowerCase()], [o.quantity, "n"], [o.filled_quantity, "n"], [o.price ?? "market", "n"],
        [o.average_price ?? "-", "n"], [duration(Math.max(0, now - o.ts_created_ns / 1e6)), "n"], [o.who, ""],
      ];
      cells.forEach(([text, className], n) => {
        setText(row.cells[n + 1], text);
        setClass(row.cells[n + 1], className);
      });
    },
  );
  const known = store.orders.get(selected.story);
  if (byId("story").open && store.stories.delete(selected.story)) story(selected.story);
  byId("story-cancel").disabled = isLost() || !store.core.commands || !known || !isOpen(known);
}

export function move(step) {
  const found = wanted();
  const at = found.findIndex((o) => o.order_id === selected.id);
  const next = found[Math.min(found.length - 1, Math.max(0, at + step))];
  if (!next) return;
  selected.id = next.order_id;
  orders();
  byId("orders-body").querySelector(".selected")?.scrollIntoView({ block: "nearest" });
}

// --- the story -----------------------------------------------------------------------------------

const HIDDEN = ["schema", "seq", "kind", "seen_ms", "order", "order_id", "ts_event_ns"];

function words(event, id) {
  const spec = event.order;
  const whose = spec?.order_id ?? event.order_id;
  const child = whose === id ? "" : `child ${whose.slice(-8)}: `;
  const born = spec ? `${spec.side} ${spec.quantity} ${spec.symbol} at ${spec.venue}, ${spec.price ?? "market"}, by ${spec.who}; ` : "";
  return child + born + Object.entries(event).filter(([k, v]) => !HIDDEN.includes(k) && v !== "" && v !== null)
    .map(([k, v]) => `${k}=${typeof v === "object" ? JSON.stringify(v) : v}`).join(" ");
}

export async function story(id) {
  selected.story = id;
  const dialog = byId("story");
  if (!dialog.open) dialog.showModal();
  setText(byId("story-title"), `Order ${id}`);
  let found;
  try {
    found = await (await fetch(`/api/orders/${encodeURIComponent(id)}`)).json();
  } catch {
    found = { error: { text: "no answer" } };
  }
  if (selected.story !== id) return;
  if (found.error) {
    setText(byId("story-note"), found.error.text);
    return;
  }
  const facts = Object.entries(found.order).filter(([k, v]) => v !== null && v !== "" && !["schema", "children", "fees"].includes(k) && !k.startsWith("ts_"));
  list(byId("story-facts"), facts.flatMap(([k, v]) => [[`t ${k}`, "dt", k], [`d ${k}`, "dd", String(v)]]),
    (f) => f[0], (f) => make(f[1]), (node, f) => setText(node, f[2]));
  rows(byId("story-rows"), found.events, (e) => e.seq, (e) => [
    [String(e.seq), "n"], e.kind, e.seen_ms ? clock(e.seen_ms) : "-",
    e.ts_event_ns ? clock(e.ts_event_ns / 1e6) : "-", words(e, id),
  ]);
  setText(byId("story-note"), found.complete ? "The whole story, from the journal." : "Not the whole story: more of it is in the journal, see xcore journal tail.");
}

// --- the ticket ----------------------------------------------------------------------------------

function options(select, names) {
  list(select, names, (n) => n, (n) => make("option", n), () => {});
}

export function ticket() {
  const venues = (store.status?.venues ?? []).map((v) => v.name);
  options(byId("t-venue"), venues.length ? ["best", ...venues] : []);
  options(byId("t-symbol"), symbols());
}

let pending = null; // the command id of an order whose outcome is not known: the same order again is that order

async function send(dryRun) {
  const order = {
    venue: byId("t-venue").value, symbol: byId("t-symbol").value, side: byId("t-side").value,
    quantity: byId("t-quantity").value.trim(), price: byId("t-price").value.trim() || undefined,
    post_only: byId("t-post").checked || undefined,
  };
  if (order.price) order.time_in_force = byId("t-tif").value;
  const content = JSON.stringify(order);
  if (pending?.content !== content) pending = { content, id: commandId() };
  const said = byId("ticket-said");
  setText(said, "sending ...");
  byId("t-place").disabled = true;
  const found = await place(dryRun ? order : { ...order, command_id: pending.id }, dryRun);
  byId("t-place").disabled = false;
  if (!dryRun && !found.text.startsWith("OUTCOME UNKNOWN")) pending = null;
  setText(said, found.text);
  said.className = found.bad ? "note bad" : "note";
}

export function begin() {
  byId("ticket").addEventListener("submit", (event) => { event.preventDefault(); send(false); });
  byId("t-dry").addEventListener("click", () => send(true));
  byId("cancel-all").addEventListener("click", () => cancel(null));
  byId("story-close").addEventListener("click", () => byId("story").close());
  byId("story-cancel").addEventListener("click", () => cancel([selected.story]));
  byId("filter").addEventListener("input", orders);
  byId("which").addEventListener("change", orders);
}

export function chooseSymbol(number) {
  const name = symbols()[number - 1];
  if (name) chosen.symbol = name;
}
