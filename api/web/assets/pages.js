// What the pages of accounts, lists and documentation do beyond what they show: copy, stay
// fresh, search and try. Without it everything can still be read and sent.
"use strict";

const $ = (id) => document.getElementById(id);

// --- copy

document.addEventListener("click", async (e) => {
  const button = e.target.closest("button[data-copy]");
  if (!button) return;
  const code = $(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(code);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
});

// --- stay fresh: the same page again, of which one part is taken over

function refresh() {
  const shown = $("fresh");
  if (!shown) return;
  const every = 1000 * Number(shown.dataset.every);
  const again = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch(location.href, { cache: "no-store" });
        if (!answer.ok) throw new Error(answer.status);
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        $("fresh").replaceWith(document.adoptNode(page.getElementById("fresh")));
      } catch {
        for (const dot of $("fresh").querySelectorAll(".dot")) dot.className = "dot off";
      }
    }
    setTimeout(again, every);
  };
  setTimeout(again, every);
}

// --- documentation

function search(find) {
  find.hidden = false;
  const entries = [...document.querySelectorAll("[data-find]")];
  const groups = [...document.querySelectorAll("[data-group]")];
  const filter = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const e of entries) e.hidden = !words.every((w) => e.dataset.find.includes(w));
    for (const g of groups) g.hidden = !g.querySelector("[data-find]:not([hidden])");
    $("nothing").hidden = groups.some((g) => !g.hidden);
  };
  find.addEventListener("input", filter);
  document.addEventListener("keydown", (e) => {
    if (e.key === "/" && !e.target.closest("input")) {
      e.preventDefault();
      find.focus();
    }
  });
  const open = () => {
    const target = $(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    if (find.value) {
      find.value = "";
      filter();
    }
    if (target.matches("details")) target.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", open);
  for (const o of document.querySelectorAll(".origin")) o.textContent = location.origin;
  open();
}

async function attempt(form) {
  const out = form.querySelector("output");
  let path = form.dataset.path;
  const query = new URLSearchParams();
  for (const input of form.querySelectorAll("input")) {
    if (input.dataset.in === "path") path = path.replace(`{${input.name}}`, encodeURIComponent(input.value));
    else if (input.value) query.set(input.name, input.value);
  }
  const address = path + (query.size ? `?${query}` : "");
  out.textContent = `GET ${address} …`;
  const began = performance.now();
  try {
    const answer = await fetch(address, { headers: { apikey: $("try-key").value }, credentials: "omit", cache: "no-store" });
    let text = await answer.text();
    try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* shown as it is */ }
    if (text.length > 20000) text = `${text.slice(0, 20000)}\n…`;
    out.textContent = `GET ${address}\n${answer.status} ${answer.statusText}, ${Math.round(performance.now() - began)} ms\n\n${text}`;
  } catch (err) {
    out.textContent = `GET ${address}\n${err.message}`;
  }
}

refresh();
if ($("find")) {
  search($("find"));
  for (const e of document.querySelectorAll("#try-key, label[for=try-key], .try")) e.hidden = false;
  document.addEventListener("submit", (e) => {
    if (!e.target.matches(".try")) return;
    e.preventDefault();
    attempt(e.target);
  });
}
