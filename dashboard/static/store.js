// What the core told, the newest of each, and the line to the page's process that brings it.

export const store = {
  core: { connected: false, lost_at_ms: null, commands: false },
  status: null, risk: null, money: null, metrics: null, arb: null,
  orders: new Map(), books: new Map(), log: [], stories: new Set(),
  at: {}, // when each part came, in performance.now()
  linked: false, lostAt: Date.now(), refused: false, frozen: false,
};

const LOG_MAX = 300;
const AGAIN_MS = 500;
const SILENT_MS = 6000; // status comes twice a second; the browser may not notice a dead peer for long

let draw = () => {};

function take(news) {
  const now = performance.now();
  for (const part of ["core", "status", "risk", "money", "metrics", "arb"]) {
    if (news[part]) {
      store[part] = news[part];
      store.at[part] = now;
    }
  }
  if (news.orders) {
    if (news.orders.all) store.orders.clear();
    for (const row of news.orders.rows) store.orders.set(row.order_id, row);
    store.at.orders = now;
  }
  for (const book of news.books ?? []) {
    store.books.set(book.symbol, book);
    store.at[`book ${book.symbol}`] = now;
  }
  for (const id of news.stories ?? []) store.stories.add(id);
  if (news.log) store.log = [...store.log, ...news.log].slice(-LOG_MAX);
  store.at.any = now;
}

export function isLost() {
  return !store.linked || !store.core.connected || !store.status;
}

export function lostSince() {
  return store.linked ? (store.core.lost_at_ms ?? store.lostAt) : store.lostAt;
}

function unlinked() {
  if (store.linked) store.lostAt = Date.now();
  store.linked = false;
  draw();
}

async function link() {
  const socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/api/feed`);
  let heard = performance.now();
  const watch = setInterval(() => {
    if (store.linked && store.core.connected && performance.now() - heard > SILENT_MS) socket.close();
  }, 1000);
  socket.onmessage = (message) => {
    heard = performance.now();
    if (!store.linked) store.log = [];
    store.linked = true;
    store.refused = false;
    take(JSON.parse(message.data));
    draw();
  };
  socket.onclose = async () => {
    clearInterval(watch);
    unlinked();
    setTimeout(link, AGAIN_MS);
    try {
      store.refused = (await fetch("/api/state")).status === 401;
    } catch {
      store.refused = false;
    }
  };
}

export function begin(whenNew) {
  let asked = false;
  draw = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      whenNew();
    });
  };
  setInterval(draw, 250); // ages grow also when nothing comes
  link();
}
