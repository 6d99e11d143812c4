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

// chart draws the throughput, and says it in words.
export function chart(picture, caption, bins, binSeconds) {
  const top = Math.max(...bins.map((b) => b.bytes), 1);
  const x = (i) => (600 * i) / (bins.length - 1);
  const y = (b) => 118 - (112 * b.bytes) / top;
  const line = bins.map((b, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(b).toFixed(1)}`).join("");
  const parts = [svg("path", { class: "area", d: `${line}L600 120L0 120Z` }), svg("path", { class: "line", d: line })];
  bins.forEach((b, i) => {
    if (b.failed) parts.push(svg("path", { class: "mark", d: `M${x(i).toFixed(1)} 120v-6` }));
  });
  picture.replaceChildren(...parts);
  const sum = (of) => bins.reduce((n, b) => n + b[of], 0);
  const failed = sum("failed");
  text(caption, `The last ${span(binSeconds * bins.length)}: ${count(sum("files"), "file")}, ${size(sum("bytes"))}, at most ${size(top / binSeconds)}/s` +
    (failed ? `; ${count(failed, "attempt")} did not succeed (marked)` : ""));
}
