// What the page tells the core. A command is sent once; an answer that does not come is UNKNOWN.
import { byId, setText } from "./dom.js";
import { store } from "./store.js";

export function say(text, bad = false) {
  setText(byId("say"), text);
  byId("say").className = bad ? "say bad" : "say";
}

export const isLive = () => (store.status?.mode ?? "live") === "live";

async function post(path, body) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  } catch {
    return { error: { code: "NO_ANSWER", text: "no answer: it may have been carried out; look before you repeat it" } };
  }
  try {
    return await answer.json();
  } catch {
    const texts = { 403: "this page may not give commands", 428: "live: type yes" };
    return { error: { code: String(answer.status), text: texts[answer.status] ?? `refused (${answer.status})` } };
  }
}

// Ask a person. `what` asks for a text; in live everything that loosens needs the word yes.
export function ask(title, text, what = "") {
  const dialog = byId("ask");
  const wantsYes = !what;
  setText(byId("ask-title"), title);
  setText(byId("ask-text"), text);
  setText(byId("ask-what"), what || "Type yes:");
  byId("ask-input").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  byId("ask-input").focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const given = byId("ask-input").value.trim();
      resolve(dialog.returnValue === "yes" && (wantsYes ? given === "yes" : given !== "") ? given : null);
    }, { once: true });
  });
}

// --- halt and resume -----------------------------------------------------------------------------

let halting = false;
let armed = null;

// The button asks for a second press in live; Shift+H is deliberate enough and never asks.
export function pressHalt() {
  if (!isLive() || armed) return halt();
  byId("halt").classList.add("armed");
  setText(byId("halt"), "■ press again to HALT");
  armed = setTimeout(disarm, 4000);
  return undefined;
}

function disarm() {
  clearTimeout(armed);
  armed = null;
  byId("halt").classList.remove("armed");
  setText(byId("halt"), "■ HALT ALL");
}

// A halt that is not confirmed is tried again until it is: halting twice is halting.
export async function halt() {
  disarm();
  if (halting) return;
  halting = true;
  try {
    for (;;) {
      say("halting ...");
      const answer = await post("/api/halt", { scope: "all", reason: "halted on the page", cancel: true });
      if (answer.result) {
        const gates = Object.entries(answer.result.gates ?? {});
        const shut = gates.filter(([, confirmed]) => confirmed).length;
        const unproven = Object.values(answer.result.unproven ?? {}).reduce((a, b) => a + b, 0);
        say(`HALTED: ${shut} of ${gates.length} gates confirmed closed, ${unproven} orders unproven` +
          (answer.result.problem ? `; ${answer.result.problem}` : ""), shut < gates.length || unproven > 0);
        return;
      }
      say(`HALT NOT CONFIRMED: ${answer.error.text}`, true);
      if (["403", "401"].includes(answer.error.code)) return;
      await new Promise((resolve) => { setTimeout(resolve, 1000); });
    }
  } finally {
    halting = false;
  }
}

export async function resume() {
  const scopes = (store.risk?.halts ?? []).map((h) => h.scope);
  const reason = await ask("Resume trading", `Halts in force: ${scopes.join(", ") || "all"}. Orders may leave again.`, "Reason:");
  if (reason === null) return;
  const confirm = isLive() ? await ask("LIVE", "Real orders will leave again.") : undefined;
  if (confirm === null) return;
  for (const scope of scopes.length ? scopes : ["all"]) {
    const answer = await post("/api/resume", { scope, reason, confirm });
    say(answer.error ? `not resumed: ${answer.error.text}` : `resumed ${scope}: ${answer.result.trading_state}`, Boolean(answer.error));
  }
}

// --- orders --------------------------------------------------------------------------------------

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

// Made before sending, so that a repeated press of a slow button is the same order.
export function commandId() {
  const random = crypto.getRandomValues(new Uint8Array(16));
  let time = Date.now();
  let stamp = "";
  for (let n = 0; n < 10; n += 1) {
    stamp = ALPHABET[time % 32] + stamp;
    time = Math.floor(time / 32);
  }
  return stamp + [...random].map((byte) => ALPHABET[byte % 32]).join("");
}

export async function place(order, dryRun) {
  const words = `${order.side} ${order.quantity} ${order.symbol} at ${order.venue}, ${order.price || "market"}`;
  let confirm;
  if (!dryRun && isLive()) {
    confirm = await ask(`LIVE ${store.status?.name}`, `This sends a real order: ${words}.`);
    if (confirm === null) return { text: "not sent" };
  }
  const answer = await post("/api/orders", { ...order, dry_run: dryRun || undefined, confirm });
  if (answer.error) {
    const unknown = ["NO_ANSWER", "UNKNOWN", "TIMEOUT"].includes(answer.error.code);
    return { text: `${unknown ? "OUTCOME UNKNOWN" : "not placed"}: ${answer.error.text}`, bad: true };
  }
  const found = answer.result;
  if (dryRun) {
    const legs = (found.orders ?? []).map((o) => `${o.venue} ${o.quantity} @${o.price ?? "market"} ${o.approved ? "ok" : o.verdict}`);
    return { text: `dry run: ${found.approved ? "would be approved" : "would be DENIED"}; ${legs.join("; ")}`, bad: !found.approved };
  }
  return { text: `${found.status}: ${words}`, bad: ["DENIED", "REJECTED", "UNKNOWN"].includes(found.status) };
}

export async function cancel(ids) {
  if (isLive() && (await ask("LIVE", `Cancel ${ids ? ids.length : "all open"} orders?`)) === null) return;
  say("canceling ...");
  const answer = await post("/api/orders/cancel", ids ? { order_ids: ids } : { all: true });
  if (answer.error) return say(`cancel: ${answer.error.text}`, true);
  const states = answer.result.map((order) => order.status);
  return say(`${states.length} told: ${[...new Set(states)].map((s) => `${states.filter((x) => x === s).length} ${s}`).join(", ") || "none was open"}`);
}
