// Small parts of the page: elements, words, the chart.

// el makes an element; what is text is never read as HTML.
export function el(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) e.setAttribute(name, value === true ? "" : value);
  }
  e.append(...children.filter((c) => c !== undefined && c !== null && c !== ""));
  return e;
}

// text sets an element's text when it is another, so that nothing is read out twice.
export function text(e, value) {
  if (e.textContent !== value) e.textContent = value;
}

// list makes the children of ul those of items, and keeps the elements that are there:
// focus and scroll position stay.
export function list(ul, items, key, make, update) {
  const had = new Map([...ul.children].map((li) => [li.dataset.key, li]));
  let at = ul.firstElementChild;
  for (const item of items) {
    const k = String(key(item));
    let li = had.get(k);
    if (li) had.delete(k);
    else {
      li = make(item);
      li.dataset.key = k;
    }
    if (update) update(li, item);
    if (li === at) at = at.nextElementSibling;
    else ul.insertBefore(li, at);
  }
  for (const li of had.values()) li.remove();
}

const whole = new Intl.NumberFormat("en");
export const number = (n) => whole.format(Math.round(n));
export const count = (n, one) => `${number(n)} ${n === 1 ? one : one + "s"}`;

export function size(bytes) {
  let n = bytes;
  for (const unit of ["B", "kB", "MB", "GB", "TB"]) {
    if (n < 999.5 || unit === "TB") return `${unit === "B" || n >= 99.5 ? Math.round(n) : n.toPrecision(2)} ${unit}`;
    n /= 1000;
  }
}

export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  if (s <= 90 * 60) return `${Math.round(s / 60)} min`;
  if (s < 48 * 3600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} days`;
}

// A time that is not known is left out of what the daemon says.
export const known = (t) => t && !t.startsWith("0001-");
export const ago = (t, now) => `${span((now - new Date(t)) / 1000)} ago`;
export const clock = (t) => new Date(t).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });

// figure is a pair of a name and a value in a <dl class=figures>.
export function figures(dl, pairs) {
  list(dl, pairs.filter(([, value]) => value !== "" && value !== undefined), ([name]) => name,
    ([name]) => el("div", {}, el("dt", {}, name), el("dd")),
    (div, [, value]) => text(div.lastElementChild, value));
}

const svg = (tag, attributes) => {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  return e;
};

// chart draws what was sent in each bin, and says it in words.
export function chart(picture, at, bins, seconds) {
  const top = Math.max(...bins.map((b) => b.bytes));
  const wide = 600 / bins.length;
  const bar = (i, height, name) => svg("rect", { class: name, x: (i * wide).toFixed(2), y: (100 - height).toFixed(2), width: (wide * 0.8).toFixed(2), height: height.toFixed(2) });
  const parts = [];
  bins.forEach((b, i) => {
    if (b.bytes) parts.push(bar(i, Math.max((100 * b.bytes) / top, 1), "sent"));
    if (b.failed) parts.push(bar(i, 6, "failed"));
  });
  picture.replaceChildren(...parts);
  const sum = (of) => bins.reduce((n, b) => n + b[of], 0);
  const failed = sum("failed");
  const most = `${size(top / seconds)}/s`;
  text(at.top, top ? most : "");
  text(at.begin, `${span(seconds * bins.length)} ago`);
  text(at.words, `The last ${span(seconds * bins.length)}: ${count(sum("files"), "file")}, ${size(sum("bytes"))}` + (top ? `, at most ${most}` : "") +
    (failed ? `; ${count(failed, "attempt")} did not succeed (red)` : ""));
}
