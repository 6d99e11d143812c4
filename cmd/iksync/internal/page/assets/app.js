import { el, text, list, number, count, size, span, known, ago, clock, figures, chart } from "/draw.js";

const $ = (id) => document.getElementById(id);
// The daemon tells how it stands each second: after so long without a word it is lost.
const silence = 6000;

// The link that iksync page prints brings the token. It is kept for this address alone.
const brought = new URLSearchParams(location.hash.slice(1)).get("token");
if (brought) {
  localStorage.setItem("token", brought);
  history.replaceState(null, "", location.pathname);
}
const token = () => localStorage.getItem("token");
const headers = () => (token() ? { Authorization: `Bearer ${token()}` } : {});

let may = false; // act
let status = null;
const page = { wanted: { root: 0, class: "" }, afters: [null], next: null, busy: false, due: 0 };

// ---- talking with the daemon

async function ask(what, arg) {
  const answer = await fetch(`/api/${what}`, { method: "POST", headers: { ...headers(), "Content-Type": "application/json" }, body: JSON.stringify(arg) });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error);
  return said;
}

let forgetting;
function say(words) {
  $("said").hidden = false;
  text($("said"), words);
  clearTimeout(forgetting);
  forgetting = setTimeout(() => ($("said").hidden = true), 8000);
}

// act does something for the user and says what came of it.
async function act(button, what, arg, done) {
  button.disabled = true;
  try {
    const result = await ask(what, arg);
    say(typeof done === "function" ? done(result) : done);
  } catch (e) {
    say(`That did not work: ${e.message}`);
  }
  button.disabled = !may;
  loadFailures();
}

// button makes one that acts, which only who has the token may.
function button(label, name, act) {
  const b = el("button", { type: "button", "data-acts": true, "aria-label": name, onclick: () => act(b) }, label);
  b.disabled = !may;
  return b;
}

const hears = { hello, status: show, throughput: (t) => chart($("chart"), { top: $("chart-top"), begin: $("chart-begin"), words: $("chart-text") }, t.bins, t.seconds), trouble: (why) => lost(`iksync can't say how it stands: ${why}`) };

// listen reads the stream of events until it ends.
async function listen() {
  const gone = new AbortController();
  let watch;
  const heard = () => {
    clearTimeout(watch);
    watch = setTimeout(() => gone.abort(new Error("no word from it")), silence);
  };
  heard();
  try {
    const answer = await fetch("/events", { headers: headers(), signal: gone.signal });
    if (answer.status === 401) return locked("Everything here needs the token: open the link that “iksync page” prints on the machine where iksync runs.");
    if (!answer.ok) throw new Error((await answer.json()).error);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heard();
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        const [, name, data] = event.match(/^event: (.*)\ndata: (.*)$/s);
        hears[name]?.(JSON.parse(data));
      }
    }
  } finally {
    clearTimeout(watch);
  }
}

async function stay() {
  let since = null;
  for (;;) {
    try {
      await listen();
    } catch {
      // what is to be said is the same
    }
    since = status ? new Date(status.at) : null;
    lost(since ? `No connection to iksync since ${since.toLocaleTimeString()}. What you see is how it stood then. Trying again…` : "No connection to iksync. Trying again…");
    await new Promise((resume) => setTimeout(resume, 1500));
  }
}

function lost(words) {
  $("lost").hidden = false;
  text($("lost"), words);
  $("main").classList.add("stale");
  if (!words.startsWith("iksync can't")) document.title = "⚠ no connection – iksync";
}

function locked(words) {
  $("locked").hidden = false;
  text($("locked"), words);
}

function hello(h) {
  may = h.may;
  if (may) $("locked").hidden = true;
  else locked("You can look. To act, and to see pictures, open the link that “iksync page” prints on the machine where iksync runs.");
  for (const b of document.querySelectorAll("button[data-acts]")) b.disabled = !may;
  page.due = 0;
}

// ---- how all stands

const headlines = { "needs decision": "A root needs a decision", "in step": "Everything is in step", syncing: "Syncing", paused: "Paused", waiting: "Uploads wait", failing: "In step, but for files that fail", "held back": "In step, but for removals that wait for you" };
const sum = (counts) => Object.values(counts ?? {}).reduce((a, b) => a + b, 0);

function show(s) {
  status = s;
  const now = new Date(s.at);
  $("lost").hidden = true;
  $("main").classList.remove("stale");
  const u = s.uploads;
  const total = (of) => s.roots.reduce((n, r) => n + of(r), 0);
  const failing = total((r) => sum(r.failing));
  const backlog = total((r) => r.backlog);
  const headline = (headlines[s.state] ?? s.state) + (s.state === "failing" ? "" : failing ? `; ${count(failing, "file")} failing` : "");
  text($("state"), headline);
  text($("why"), s.why ?? "");
  $("why").hidden = !s.why;
  $("whole").dataset.state = s.state;
  document.title = `${{ "needs decision": "⚠", "in step": "✓", syncing: "↑", failing: "⚠", "held back": "⚠" }[s.state] ?? "⏸"} ${s.state} – iksync`;
  const oldest = s.roots.map((r) => r.oldest_pending).filter(known).sort()[0];
  figures($("figures"), [
    ["Files, by the last scan", number(total((r) => r.files))],
    ["To go", backlog ? `${count(backlog, "file")}, ${size(total((r) => r.backlog_bytes))}` : "nothing"],
    ["Time left", backlog && u.eta_seconds !== undefined ? `about ${span(u.eta_seconds)}` : ""],
    ["Oldest waits for", oldest ? span((now - new Date(oldest)) / 1000) : ""],
    ["Failing", failing ? count(failing, "file") : ""],
    ["Settling", total((r) => r.settling) ? count(total((r) => r.settling), "file") : ""],
    ["Rate", `${size(u.bytes_per_second)}/s, ${u.files_per_second < 10 ? u.files_per_second.toFixed(1) : number(u.files_per_second)} files/s` + (u.limit ? ` (limit ${size(u.limit)}/s)` : "")],
    ["Uploads at once", `${u.in_flight} of ${u.window}` + (u.window < u.workers ? `, reduced from ${u.workers}` : "")],
    ["Uploaded since start", `${count(u.uploaded, "file")}, ${size(u.uploaded_bytes)}`],
    ["Last upload", known(u.last_success) ? ago(u.last_success, now) : "none yet"],
  ]);
  const paused = s.roots.filter((r) => r.id && r.state === "paused" && byHand(r)).length;
  const acts = $("all-actions");
  if (!acts.children.length) {
    acts.append(
      button("Pause all", "Pause all roots", (b) => act(b, "pause", { root: 0, minutes: 0 }, "All uploads are paused.")),
      button("Resume all", "Resume all roots", (b) => act(b, "resume", 0, "Uploads go on.")),
      button("Rescan all", "Rescan all roots", (b) => act(b, "rescan", { root: 0, key: "" }, "All roots are looked through.")));
  }
  acts.children[0].hidden = paused === s.roots.length;
  acts.children[1].hidden = !paused;
  list($("roots"), s.roots, (r) => r.id || r.path, makeRoot, (li, r) => updateRoot(li, r, now));
  warnings(s);
  transfers(s, now);
  recent(s, now);
  text($("about"), `iksync ${s.version}, running for ${span((now - new Date(s.started)) / 1000)}; state file ${s.state_file} (${size(s.state_file_bytes)})`);
  classes(s, failing);
}

const byHand = (r) => known(r.paused_until) || (r.why ?? "").startsWith("by iksync pause");

function makeRoot(r) {
  const li = el("li", {}, el("h3", {}, r.path), el("p", { class: "quiet" }), el("p"), el("dl", { class: "figures" }), el("div", { class: "bar" }));
  if (r.id) {
    li.lastElementChild.append(
      button("Pause", `Pause ${r.path}`, (b) => act(b, "pause", { root: r.id, minutes: 0 }, `${r.path} is paused.`)),
      button("Pause 1 h", `Pause 1 h: ${r.path}`, (b) => act(b, "pause", { root: r.id, minutes: 60 }, `${r.path} is paused for an hour.`)),
      button("Resume", `Resume ${r.path}`, (b) => act(b, "resume", r.id, `${r.path} goes on.`)),
      button("Rescan", `Rescan ${r.path}`, (b) => act(b, "rescan", { root: r.id, key: "" }, `${r.path} is looked through.`)));
  }
  return li;
}

function updateRoot(li, r, now) {
  const [, to, why, dl, bar] = li.children;
  li.dataset.state = r.state;
  const badge = el("span", { class: "badge", "data-state": r.state }, r.state);
  if (to.dataset.was !== r.state + r.folder) {
    to.replaceChildren(badge, r.folder ? ` → ${r.folder}` : "");
    to.dataset.was = r.state + r.folder;
  }
  text(why, r.why ?? "");
  why.hidden = !r.why;
  const w = r.watch;
  const covered = w.polling ? "polled" : w.directories ? `${number(w.watched)} of ${count(w.directories, "directory").replace("directorys", "directories")}` : "";
  figures(dl, [
    ["Files, by the last scan", `${number(r.files)}, ${size(r.bytes)}`],
    ["To go", r.backlog ? `${number(r.backlog)}, ${size(r.backlog_bytes)}` : "nothing"],
    ["Oldest waits for", known(r.oldest_pending) && r.backlog ? span((now - new Date(r.oldest_pending)) / 1000) : ""],
    ["Settling", r.settling ? number(r.settling) : ""],
    ["Failing", sum(r.failing) ? number(sum(r.failing)) : ""],
    ["Not taken", sum(r.skipped) ? number(sum(r.skipped)) : ""],
    ["Held", sum(r.held) ? number(sum(r.held)) : ""],
    ["Gone, or not wanted any more", r.gone ? number(r.gone) : ""],
    ["Adopted, contents not compared", r.unproven ? number(r.unproven) : ""],
    ["To be removed", r.removals ? number(r.removals) : ""],
    ["Held back of these", r.removals_held_back ? number(r.removals_held_back) : ""],
    ["Watched", covered],
    ["Overflows", w.overflows ? number(w.overflows) : ""],
    ["Last full scan", r.scan.running ? `going on, ${number(r.scan.seen)} seen` : known(r.scan.last) ? ago(r.scan.last, now) : ""],
  ]);
  if (!bar.children.length) return;
  const held = r.state === "paused" && byHand(r);
  [!held, !held, held, true].forEach((seen, i) => (bar.children[i].hidden = !seen));
}

// warnings are what is wrong besides single files.
function warnings(s) {
  const all = [];
  const b = s.uploads.breaker;
  if (b) all.push({ bad: true, words: `All uploads wait since ${clock(b.since)}: ${b.reason} (${b.class}${b.request_id ? `, request id ${b.request_id}` : ""}). Next try ${clock(b.next)}.` });
  for (const r of s.roots) {
    if (r.braked) all.push({ bad: true, words: `${r.path}: ${r.braked}: “iksync approve” shows them` });
    if (r.state === "paused" && !byHand(r)) all.push({ bad: true, words: `${r.path}: ${r.why}` });
    if (r.watch.why) all.push({ words: `${r.path}: ${r.watch.why}` });
    if (r.scan.unreadable) all.push({ words: `${r.path}: ${count(r.scan.unreadable, "place")} could not be read by the last scan` });
  }
  if (s.state === "waiting" && !b && s.why) all.push({ bad: true, words: s.why });
  list($("warnings"), all, (w) => w.words, (w) => el("li", { class: w.bad && "bad" }, w.words));
}

function transfers(s, now) {
  $("no-transfers").hidden = s.transfers.length > 0;
  $("transfers").hidden = s.transfers.length === 0;
  list($("transfers"), s.transfers, (t) => `${t.root_id} ${t.path}`,
    (t) => el("li", {}, el("span", { class: "what", title: t.path }, t.path), el("span", { class: "quiet" }), el("progress", { "aria-label": `Sent of ${t.path}` })),
    (li, t) => {
      text(li.children[1], `${size(t.sent)} of ${size(t.size)}, ${span((now - new Date(t.began)) / 1000)}`);
      li.children[2].max = Math.max(t.size, 1);
      li.children[2].value = t.size ? t.sent : 1;
    });
}

function recent(s, now) {
  $("no-recent").hidden = s.recent.length > 0;
  list($("recent"), s.recent.slice(0, 14), (u) => `${u.file_id} ${u.at}`, (u) => {
    const frame = el("div", { class: "frame", "aria-hidden": "true" });
    const sign = () => frame.replaceChildren(u.private ? "private" : /\.(\w{1,5})$/.exec(u.path)?.[1] ?? "file");
    if (u.thumbnail) frame.append(el("img", { src: u.thumbnail, alt: "", loading: "lazy", onerror: sign }));
    else sign();
    const name = u.path.split("/").pop();
    return el("li", {}, frame, el("div", { class: "text" },
      el("a", { href: /^https?:/.test(u.url) ? u.url : undefined, target: "_blank", rel: "noopener noreferrer", title: u.path }, name),
      el("span", { class: "quiet" }), el("span", { class: "quiet" }, size(u.size) + (u.new ? "" : ", new version"))));
  }, (li, u) => text(li.querySelector("span"), ago(u.at, now)));
}

// ---- what fails

// classes offers what can be shown, and brings the list up to date when the counts change.
function classes(s, failing) {
  $("failures").hidden = !failing;
  $("nothing-wrong").hidden = failing > 0 || $("warnings").children.length > 0;
  const chips = [{ root: 0, class: "", n: failing, label: "all" }];
  for (const r of s.roots) {
    for (const [c, n] of Object.entries(r.failing).sort()) chips.push({ root: r.id, class: c, n, label: s.roots.length > 1 ? `${c} in ${r.path}` : c });
  }
  if (!chips.some((c) => c.root === page.wanted.root && c.class === page.wanted.class)) choose({ root: 0, class: "" });
  list($("classes"), chips, (c) => `${c.root} ${c.class}`,
    (c) => el("button", { type: "button", onclick: () => choose({ root: c.root, class: c.class }) }),
    (b, c) => {
      text(b, `${c.label} (${number(c.n)})`);
      b.setAttribute("aria-pressed", c.root === page.wanted.root && c.class === page.wanted.class);
    });
  const print = JSON.stringify(s.roots.map((r) => [r.id, r.failing]));
  if (failing && (print !== page.print || Date.now() > page.due)) {
    page.print = print;
    loadFailures();
  }
}

function choose(wanted) {
  page.wanted = wanted;
  page.afters = [null];
  loadFailures();
}

async function loadFailures() {
  if (page.busy) {
    page.again = true;
    return;
  }
  page.busy = true;
  page.due = Date.now() + 10000;
  try {
    const shown = await ask("failures", { ...page.wanted, after: page.afters.at(-1) });
    if (!shown.items.length && page.afters.length > 1) {
      page.afters.pop();
      page.again = true;
    }
    page.next = shown.next;
    list($("failing"), shown.items, (f) => `${f.root} ${f.key}`, makeFailing, updateFailing);
    $("previous").disabled = page.afters.length < 2;
    $("next").disabled = !page.next;
    text($("page"), `Page ${page.afters.length}`);
    const all = $("retry-shown");
    text(all, page.wanted.class ? `Retry all “${page.wanted.class}”` : "Retry all");
    all.disabled = !may;
  } catch {
    // the stream says what is the matter
  }
  page.busy = false;
  if (page.again) {
    page.again = false;
    loadFailures();
  }
}

function makeFailing(f) {
  const at = { root: f.root, key: f.key };
  return el("li", {},
    el("div", { class: "what" }, el("button", { type: "button", class: "link", onclick: () => story(at, f.path) }, f.path), el("div"), el("div", { class: "quiet small" })),
    el("div", { class: "do" },
      button("Retry", `Retry ${f.path}`, (b) => act(b, "retry", { at }, (n) => (n ? `${f.path} is tried again.` : `${f.path} is not failing any more.`))),
      button("Ignore", `Ignore ${f.path}`, (b) => act(b, "ignore", at, `${f.path} is left out, until “iksync ignore --undo”.`))));
}

function updateFailing(li, f) {
  const next = f.now ? "is being tried now" : known(f.next) ? (new Date(f.next) > new Date() ? `next try ${clock(f.next)}` : "is tried next") : "given up, until it changes or you retry";
  const [, reason, more] = li.firstElementChild.children;
  text(reason, f.reason);
  text(more, [f.class, count(f.attempts, "attempt"), next, f.request_id && `request id ${f.request_id}`].filter(Boolean).join(" · "));
}

$("previous").addEventListener("click", () => {
  page.afters.pop();
  loadFailures();
});
$("next").addEventListener("click", () => {
  page.afters.push(page.next);
  loadFailures();
});
$("retry-shown").addEventListener("click", (e) => act(e.target, "retry", page.wanted, (n) => `${count(n, "file")} tried again.`));
$("retry-shown").dataset.acts = "";

// ---- search and history

const dialog = $("found");
dialog.querySelector(".close").addEventListener("click", () => dialog.close());

function open(title, ...body) {
  text($("h-found"), title);
  $("found-body").replaceChildren(...body);
  if (!dialog.open) dialog.showModal();
}

$("search").addEventListener("submit", async (e) => {
  e.preventDefault();
  const query = $("query").value.trim();
  if (!query) return;
  try {
    const found = await ask("search", query);
    const rows = el("ul", { class: "rows" }, ...found.items.map((h) =>
      el("li", {}, el("button", { type: "button", class: "link", onclick: () => story(h, h.path) }, h.path), el("code", { class: "quiet" }, h.file_id ?? "not uploaded"))));
    open(`“${query}”`, found.items.length ? rows : el("p", {}, "Nothing that iksync has uploaded, or has to do, has that in its path, or has that fileId."),
      found.more ? el("p", { class: "quiet" }, "There is more: search for a longer part of the path.") : "");
  } catch (e) {
    say(`The search did not work: ${e.message}`);
  }
});

const outcome = (a) => `${clock(a.began)}, ${span(a.seconds)}: ${a.class}, ${a.reason}` + (a.request_id ? ` (request id ${a.request_id})` : "") + (a.last ? "; given up" : "");

async function story(at, path) {
  let s;
  try {
    s = await ask("story", { root: at.root, key: at.key });
  } catch (e) {
    say(`The history of ${path} can't be told: ${e.message}`);
    return;
  }
  const rows = [["Next", s.next + (known(s.next_at) ? `, ${clock(s.next_at)}` : "")], ["Root", s.root],
    ["On the disk", s.disk ? `${size(s.disk.size)}, modified ${clock(s.disk.modified_at)}` + (s.record ? (s.disk.changed ? "; not as recorded" : "; as recorded") : "") : s.disk_why],
    ["Filters", `${s.filter.taken ? "taken" : "not taken"}: ${s.filter.why}`]];
  if (s.record) {
    rows.push(["fileId", s.record.file_id], ["Remote path", s.record.remote_path], ["URL", s.record.url],
      ["Uploaded", `${clock(s.record.uploaded_at)}, ${size(s.record.size)}`], ["Hash", s.record.hash],
      ["Gone", s.record.gone && `${s.record.gone} since ${clock(s.record.gone_at)}`]);
  } else rows.push(["Record", "none"]);
  if (s.removed) rows.push(["Removed from the library", `${clock(s.removed.at)}: ${s.removed.remote_path}, fileId ${s.removed.file_id}; ` + (s.removed.trash_path ? `it is in the trash as ${s.removed.trash_path}` : "it was deleted")]);
  if (s.same_as) rows.push(["Same content as", s.same_as]);
  if (s.job) rows.push(["Job", `${s.job.state}, ${count(s.job.attempts, "attempt")}` + (s.job.class ? `; ${s.job.class}: ${s.job.reason}` : "")]);
  if (known(s.ignored_since)) rows.push(["Left out since", clock(s.ignored_since)]);
  for (const a of s.attempts) rows.push(["Attempt", outcome(a)]);
  for (const e of s.events) rows.push(["Noticed", `${clock(e.at)}: ${e.what}`]);
  const dl = el("dl", { class: "story" });
  for (const [name, value] of rows) if (value) dl.append(el("dt", {}, name), el("dd", {}, value));
  open(path, dl);
}

stay();
