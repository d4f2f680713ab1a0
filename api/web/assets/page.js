// Shows the overview that this node sends, live. Events when they are to be had, else a
// question every five seconds; the page works with whatever of it is known.
"use strict";

const $ = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const number = (v) => (v >= 1000000 ? short : whole).format(v || 0);
const plural = (n, one, many) => `${number(n)} ${n === 1 ? one : many}`;

function put(id, text) {
  const el = $(id);
  if (el.textContent !== text) el.textContent = text;
}

function make(tag, cls, text) {
  const el = document.createElement(tag);
  if (cls) el.className = cls;
  if (text !== undefined) el.textContent = text;
  return el;
}

function draw(parent, tag, attrs, text) {
  const el = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [k, v] of Object.entries(attrs)) el.setAttribute(k, v);
  if (text !== undefined) el.textContent = text;
  parent.append(el);
  return el;
}

const millis = (v) => (v === null || v === undefined ? "" : v < 10 ? `${v.toFixed(1)} ms` : `${Math.round(v)} ms`);
const list = (...parts) => parts.filter(Boolean).join(", ");

// --- figures

const seen = []; // [time in ms, jobs finished]: the last five minutes of this visit

function figures(o) {
  const w = o.workers, q = o.queue, m = o.past_minute, t = o.totals;
  put("workers", number(w.image + w.text + w.alchemy));
  put("workers-note", list(w.image && `${number(w.image)} image`, w.text && `${number(w.text)} text`, w.alchemy && `${number(w.alchemy)} alchemy`) || "none at the moment");
  put("queue", number(q.image_requests + q.text_requests));
  put("queue-note", list(q.image_requests && plural(q.image_requests, "image", "images"), q.text_requests && plural(q.text_requests, "text", "texts")) || "nothing: ask away");
  put("jobs", number(t.jobs));
  put("kudos", number(t.kudos_moved));
  put("kudos-note", t.users ? `among ${plural(t.users, "account", "accounts")}` : "\u00a0");

  const now = Date.now();
  seen.push([now, t.jobs]);
  while (seen.length > 2 && now - seen[0][0] > 300000) seen.shift();
  const made = list(m.megapixelsteps && `${short.format(m.megapixelsteps)} MPS`, m.tokens && `${short.format(m.tokens)} tokens`);
  put("jobs-note", made ? `${made}/min` : "\u00a0");
  pulse(now);
}

// pulse draws jobs finished in each five seconds since the page was opened.
function pulse(now) {
  const step = 5000, bars = 60, counts = new Array(bars).fill(0);
  for (let i = 1; i < seen.length; i++) {
    const at = bars - 1 - Math.floor((now - seen[i][0]) / step);
    if (at >= 0) counts[at] += Math.max(0, seen[i][1] - seen[i - 1][1]);
  }
  const top = Math.max(...counts), svg = $("pulse");
  svg.replaceChildren();
  if (!top) return;
  const points = counts.map((c, i) => `${((i + 1) * 240 / bars).toFixed(1)},${(35 - 26 * c / top).toFixed(1)}`);
  draw(svg, "path", { d: `M-2,40 L-2,35 ${points.map((p) => "L" + p).join(" ")} L242,40 Z` });
}

// --- map: this node in the middle, the others around it

function map(o) {
  const svg = $("map"), self = o.nodes.find((n) => n.self), others = o.nodes.filter((n) => !n.self).slice(0, 14);
  svg.replaceChildren();
  const cx = 240, cy = 142, rx = 165, ry = 92;
  draw(svg, "ellipse", { class: "orbit", cx, cy, rx, ry });
  const turn = upright(others.length);
  const places = others.map((n, i) => {
    const angle = turn + (i * 2 * Math.PI) / others.length;
    return { n, angle, x: cx + rx * Math.cos(angle), y: cy + ry * Math.sin(angle) };
  });
  places.forEach((a, i) => {
    for (const b of places.slice(i + 1)) if (places.length <= 5) draw(svg, "path", { class: "edge far", d: `M${a.x},${a.y} L${b.x},${b.y}` });
  });
  for (const { n, x, y } of places) {
    draw(svg, "path", { class: n.connected ? "edge" : "edge cut", d: `M${cx},${cy} L${x},${y}` });
  }
  for (const { n, x, y } of places) {
    const ms = millis(n.rtt_ms);
    if (n.connected && ms) draw(svg, "text", { class: "ms", x: cx + (x - cx) * .54, y: cy + (y - cy) * .54 + 4 }, ms);
    spot(svg, x, y, 13, n, n.connected ? n.region : "not connected");
  }
  if (self) spot(svg, cx, cy, 19, self, "this node", gap(places.map((p) => p.angle)));
}

// upright is the turn of n evenly spaced places that keeps all of them farthest from the
// vertical, where this node's name stands.
function upright(n) {
  let best = 0, room = -1;
  for (let i = 0; i < 24; i++) {
    const turn = -Math.PI / 5 + (i * Math.PI) / 60;
    let least = 1;
    for (let j = 0; j < n; j++) least = Math.min(least, Math.abs(Math.cos(turn + (j * 2 * Math.PI) / n)));
    if (least > room + 0.001) [best, room] = [turn, least];
  }
  return best;
}

// gap is the middle of the widest gap between evenly spaced angles that is nearest to
// straight down: the name of this node stands there, clear of the lines to the others.
function gap(angles) {
  if (!angles.length) return Math.PI / 2;
  const half = Math.PI / angles.length;
  return angles.map((a) => a + half).reduce((best, g) => (Math.sin(g) > Math.sin(best) + 0.001 ? g : best));
}

// spot draws a node, its name on the outside or, given an angle, in that direction.
function spot(svg, x, y, r, n, under, toward) {
  draw(svg, "circle", { class: "halo", cx: x, cy: y, r: r + 9 });
  if (n.role === "leader") draw(svg, "circle", { class: "crown", cx: x, cy: y, r: r + 4.5 });
  draw(svg, "circle", { class: n.self ? "node self" : n.connected ? "node" : "node lost", cx: x, cy: y, r });
  const above = toward === undefined && y < 125; // clear of its line to the middle
  const tx = toward === undefined ? x : x + 78 * Math.cos(toward);
  const ty = toward !== undefined ? y + 47 * Math.sin(toward) : above ? y - r - (under ? 32 : 16) : y + r + 24;
  draw(svg, "text", { x: tx, y: ty }, n.name.length > 18 ? n.name.slice(0, 17) + "…" : n.name);
  if (under) draw(svg, "text", { class: "under", x: tx, y: ty + 16 }, under);
}

// --- table

function rows(o) {
  const body = document.createDocumentFragment();
  for (const n of o.nodes) {
    const tr = make("tr"), name = make("td", "name");
    if (n.url && !n.self && /^https?:\/\//.test(n.url)) {
      const a = make("a", "", n.name);
      a.href = n.url;
      name.append(a);
    } else name.append(n.name);
    if (n.self) name.append(make("span", "here", "you are here"));
    const cell = (label, text, cls) => {
      const td = make("td", cls || "", text || "");
      td.dataset.label = label;
      if (!text) td.classList.add("none");
      return td;
    };
    const load = cell("Load", n.load === null ? "" : " ");
    if (n.load !== null) {
      const bar = make("span", "bar"), fill = make("i", n.load > .85 ? "hot" : "");
      fill.style.setProperty("--v", Math.min(1, n.load).toFixed(3));
      bar.append(fill);
      bar.title = `${Math.round(n.load * 100)} % of a core`;
      load.replaceChildren(bar);
    }
    const latency = n.self ? cell("Latency", "–", "num muted") : n.connected ? cell("Latency", millis(n.rtt_ms), "num") : cell("Latency", "unreachable", "num lost");
    tr.append(name, cell("Role", n.role, n.role === "leader" ? "role leader" : "role"), cell("Region", n.region, "muted"), latency, load,
      cell("Workers", number(n.workers), "num"), cell("Requests", number(n.requests), "num"), cell("Version", n.version, "muted"));
    body.append(tr);
  }
  $("rows").replaceChildren(body);
}

// --- all of it

function show(o) {
  o.nodes = (o.nodes || []).slice().sort((a, b) => b.self - a.self || a.name.localeCompare(b.name));
  const n = o.nodes.length, up = o.nodes.filter((x) => x.connected || x.self).length;
  document.title = `${o.node || "hordenode"} · hordenode`;
  put("eyebrow", n > 1 ? `${o.node}, one of ${n} nodes of this horde` : `${o.node || "This node"}, a horde of its own so far`);
  put("intro", n > 1 ? "This server is one of several, run by different people, that share one queue, one set of accounts and one ledger. Any call works at any of them."
    : "This server runs by itself so far. Others, run by different people, can join it and share one queue, one set of accounts and one ledger.");
  put("map-caption", up < n ? `${up} of ${n} nodes can be reached from here` : n > 1 ? "Round trips as this node measures them" : "Other nodes can join with an invitation");
  figures(o);
  map(o);
  rows(o);
  put("index", whole.format(o.ledger.index));
  put("chain", o.ledger.chain ? o.ledger.chain.slice(0, 16) + "…" : "–");
  $("chain").title = o.ledger.chain || "";
  put("since", new Date(o.started).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }));
  put("version", o.version || "–");
}

function say(state, text) {
  $("live").className = `live ${state}`;
  put("live-text", text);
}

let polling = 0;

function poll() {
  if (polling) return;
  const ask = async () => {
    try {
      const r = await fetch("/api/fed/v1/overview", { cache: "no-store" });
      if (!r.ok) throw new Error(r.status);
      show(await r.json());
      say("on", "every few seconds");
    } catch {
      say("off", "this node does not answer");
    }
  };
  polling = setInterval(ask, 5000);
  ask();
}

function listen() {
  if (!window.EventSource) return poll();
  const events = new EventSource("/api/fed/v1/events");
  events.addEventListener("overview", (e) => {
    clearInterval(polling);
    polling = 0;
    show(JSON.parse(e.data));
    say("on", "live");
  });
  events.onerror = () => {
    say("off", "reconnecting");
    // Closed for good (too many watch, a proxy without streams): ask instead, and try again later.
    if (events.readyState === EventSource.CLOSED) {
      poll();
      setTimeout(listen, 60000);
    }
  };
}

for (const el of document.querySelectorAll(".origin")) el.textContent = location.origin;
for (const b of document.querySelectorAll("[data-copy]")) {
  b.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText($(b.dataset.copy).textContent);
      b.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren($(b.dataset.copy));
      b.textContent = "Selected";
    }
    setTimeout(() => { b.textContent = "Copy"; }, 1500);
  });
}
listen();
