// The page: draws what the store holds, and knows what to do when it holds nothing.
import { pressHalt, resume, say } from "./commands.js";
import { byId, clock, setText } from "./dom.js";
import { begin as beginKeys, chooseTheme, toggleFreeze } from "./keys.js";
import { begin as beginOrders, orders, ticket } from "./orders.js";
import * as panels from "./panels.js";
import { begin, isLost, lostSince, store } from "./store.js";

let wasLost = null;

// Everything grey, all buttons off but the halt, which goes on trying.
function loss() {
  const lost = isLost();
  document.body.classList.toggle("lost", lost);
  const banner = byId("lost");
  banner.hidden = !lost;
  if (lost) {
    setText(banner, store.refused
      ? "This start's token is another one: open the URL that the core printed, or ask `xcore dashboard --url`."
      : `DISCONNECTED since ${clock(lostSince())} UTC: the values below are old. ` +
        (store.linked ? "The core does not answer." : "The page's process does not answer."));
  }
  if (wasLost && !lost) say("connected again");
  wasLost = lost;
  const off = lost || !store.core.commands;
  for (const id of ["resume", "t-place", "t-dry", "cancel-all"]) byId(id).disabled = off;
  byId("halt").disabled = !store.core.commands && !lost;
}

function draw() {
  loss();
  if (store.frozen) return;
  panels.head();
  panels.venues();
  panels.book();
  panels.risk();
  panels.money();
  panels.actors();
  panels.latency();
  panels.log();
  orders();
  ticket();
}

byId("halt").addEventListener("click", pressHalt);
byId("resume").addEventListener("click", resume);
byId("freeze").addEventListener("click", toggleFreeze);
byId("theme").addEventListener("click", () => chooseTheme());
byId("ask-no").addEventListener("click", () => byId("ask").close(""));
for (const id of ["log-filter", "log-level"]) byId(id).addEventListener("input", panels.log);
beginOrders();
beginKeys();
begin(draw);
