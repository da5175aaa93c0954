// Small helpers: nothing here writes markup, texts are always texts.

export const byId = (id) => document.getElementById(id);

export function make(tag, text = "", className = "") {
  const node = document.createElement(tag);
  if (text !== "") node.textContent = text;
  if (className) node.className = className;
  return node;
}

export function setText(node, text) {
  const wanted = text ?? "-";
  if (node.textContent !== wanted) node.textContent = wanted;
}

export function setClass(node, className) {
  if (node.className !== className) node.className = className;
}

// Make the children of `parent` follow `items`: kept by key, made once, updated each time.
export function list(parent, items, keyOf, create, update) {
  const have = (parent.rowsByKey ??= new Map());
  const seen = new Set();
  let place = parent.firstChild;
  for (const item of items) {
    const key = keyOf(item);
    seen.add(key);
    let node = have.get(key);
    if (!node) {
      node = create(item);
      have.set(key, node);
    }
    update(node, item);
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
  for (const [key, node] of have) {
    if (!seen.has(key)) {
      node.remove();
      have.delete(key);
    }
  }
}

// A table's rows: `cells(item)` gives each cell as a text or as [text, className].
export function rows(body, items, keyOf, cells, rowClass = () => "") {
  list(
    body, items, keyOf,
    (item) => {
      const row = make("tr");
      for (let n = cells(item).length; n > 0; n -= 1) row.append(make("td"));
      return row;
    },
    (row, item) => {
      setClass(row, rowClass(item));
      cells(item).forEach((cell, n) => {
        const [text, className] = Array.isArray(cell) ? cell : [cell, ""];
        setText(row.cells[n], text);
        setClass(row.cells[n], className);
      });
    },
  );
}

export function duration(ms) {
  if (ms === null || ms === undefined) return "-";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min`;
  return `${Math.floor(ms / 3_600_000)} h`;
}

export function clock(ms) {
  return new Date(ms).toISOString().slice(11, 19);
}
