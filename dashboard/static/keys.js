// Keyboard shortcuts, theme and freezing. No letter does anything while somebody types.
import { cancel, halt } from "./commands.js";
import { byId, list, make, setText } from "./dom.js";
import { chooseSymbol, isOpen, move, selected, story } from "./orders.js";
import { isLost, store } from "./store.js";

const PANELS = { b: "book", s: "spread", r: "risk", o: "orders", p: "money", a: "actors", h: "latency", l: "log" };
const HELP = [
  ["?", "this list"], ["Shift+H", "halt everything at once; never asks"], ["/", "filter the orders"],
  ["g then b s r o p a h l", "go to book, spreads, risk, orders, positions, actors, histograms, log"],
  ["n", "new order"], ["j, k", "next and previous order"], ["Enter", "the story of the order"],
  ["c", "cancel the order"], ["1 to 9", "choose the symbol"], ["space", "freeze the view and go on"],
  ["t", "light or dark"], ["T", "PnL as a table"], ["Escape", "close what is open"],
];
let going = false;

export function chooseTheme(given) {
  const root = document.documentElement;
  const next = given ?? (root.dataset.theme === "dark" ? "light" : "dark");
  root.dataset.theme = next;
  if (!given) localStorage.setItem("theme", next);
}

export function toggleFreeze() {
  store.frozen = !store.frozen;
  byId("frozen").hidden = !store.frozen;
  byId("freeze").setAttribute("aria-pressed", String(store.frozen));
}

function go(panel) {
  const section = byId(`panel-${panel}`);
  section.scrollIntoView({ block: "start" });
  section.focus();
}

const ACTIONS = {
  "?": () => byId("keys").showModal(),
  H: () => halt(),
  "/": () => byId("filter").focus(),
  n: () => byId("t-quantity").focus(),
  j: () => move(1),
  k: () => move(-1),
  Enter: () => selected.id && story(selected.id),
  c: () => {
    const order = store.orders.get(selected.id);
    if (order && isOpen(order) && !isLost() && store.core.commands) cancel([order.order_id]);
  },
  " ": toggleFreeze,
  t: () => chooseTheme(),
  T: () => { const table = byId("curve-rows").closest("details"); table.open = !table.open; },
};

function pressed(event) {
  const target = event.target;
  const typing = target.matches("input, select, textarea");
  const onButton = target.matches("button, summary") && ["Enter", " "].includes(event.key);
  if (event.ctrlKey || event.altKey || event.metaKey || typing || onButton || event.repeat) return;
  if (document.querySelector("dialog[open]") && event.key !== "H") return;
  if (going) {
    going = false;
    if (PANELS[event.key]) go(PANELS[event.key]);
    return;
  }
  if (event.key === "g") going = true;
  else if (/^[1-9]$/.test(event.key)) chooseSymbol(Number(event.key));
  else if (ACTIONS[event.key]) ACTIONS[event.key]();
  else return;
  event.preventDefault();
}

export function begin() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  chooseTheme(localStorage.getItem("theme") ?? (dark.matches ? "dark" : "light"));
  dark.addEventListener("change", () => {
    if (!localStorage.getItem("theme")) chooseTheme(dark.matches ? "dark" : "light");
  });
  list(byId("keys-list"), HELP.flatMap(([k, text]) => [[`k ${k}`, "dt", k], [`t ${k}`, "dd", text]]),
    (h) => h[0], (h) => make(h[1]), (node, h) => setText(node, h[2]));
  byId("help").addEventListener("click", () => byId("keys").showModal());
  byId("keys-close").addEventListener("click", () => byId("keys").close());
  document.addEventListener("keydown", pressed);
}
