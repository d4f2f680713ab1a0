// Clients and workers that use three nodes in turn, with the unmodified library, while somebody
// kills and restarts the nodes. A call that gets no answer, or 5xx, is made again at the next
// node, as the documentation of the API advises. Everything else must be right at once: an
// accepted request is known everywhere, and ends with the text that was made for it.
import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import horde from "@zeldafan0225/ai_horde";

const { AIHorde } = horde;
const nodes = process.env.NODES.split(",");
const at = (token) => nodes.map((url) => new AIHorde({ api_route: `${url}/api/v2`, default_token: token, client_agent: "acceptance:1:none" }));
const clients = at(process.env.CLIENT_KEY);
const workers = at(process.env.OWNER_KEY);

const counts = { accepted: 0, finished: 0, submitted: 0, retries: 0 };
const open = new Map(); // request id → prompt
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

// statusOf tells an answer, 400 and so on, from none, which is 0.
const statusOf = (e) => (typeof e?.status === "number" ? e.status : 0);

let turn = 0;
const next = (list) => list[turn++ % list.length];

// retry makes a call at one node after the other until it is answered. unsure is told the answer
// when an earlier call may have been carried out although its answer was lost.
async function retry(list, f, unsure) {
  let lost = false;
  for (const end = Date.now() + 60_000; ; ) {
    try {
      return await f(next(list));
    } catch (e) {
      const status = statusOf(e);
      if (status >= 400 && status < 500 && status !== 429) {
        if (lost && unsure) return unsure(e);
        throw new Error(`wrong answer: ${status} ${JSON.stringify(e.rawError ?? String(e))}`);
      }
      if (Date.now() > end) throw new Error(`no answer for a minute: ${status} ${e}`);
      lost = true;
      counts.retries++;
      await sleep(50);
    }
  }
}

let stopping = false; // no new requests
let ended = false; // no more work

async function client(n) {
  for (let i = 0; !stopping; i++) {
    const prompt = `chaos ${n}, number ${i}`;
    const posted = await retry(clients, (c) => c.postAsyncTextGenerate({
      prompt, models: ["acceptance/text-7B"], params: { n: 1, max_length: 80, max_context_length: 1024 },
    }));
    assert.ok(posted.id);
    counts.accepted++;
    open.set(posted.id, prompt);
    await sleep(60);
  }
}

async function worker(n) {
  while (!ended) {
    const pop = await retry(workers, (w) => w.postTextGenerationPop({
      name: `chaos scribe ${n}`, models: ["acceptance/text-7B"], bridge_agent: "KoboldCppEmbedWorker:2:acceptance",
      max_length: 512, max_context_length: 4096, amount: 1, threads: 1,
    }));
    if (!pop.id) {
      await sleep(50);
      continue;
    }
    const done = await retry(workers, (w) => w.postTextGenerationSubmit({ id: pop.id, generation: `made of: ${pop.payload.prompt}`, state: "ok", seed: 0 }), () => undefined);
    if (done) assert.ok(done.reward > 0, "a reward");
    counts.submitted++;
  }
}

async function reader() {
  while (!ended) {
    for (const [id, prompt] of [...open]) {
      const s = await retry(clients, (c) => c.getTextGenerationStatus(id, { force: true }));
      assert.equal(s.faulted, false);
      if (!s.done) {
        assert.equal(s.finished, 0);
        continue;
      }
      assert.deepEqual(s.generations.map((g) => g.text), [`made of: ${prompt}`]);
      counts.finished++;
      open.delete(id);
    }
    await sleep(50);
  }
}

// Whoever started this closes standard input when there have been kills enough.
const told = new Promise((r) => createInterface({ input: process.stdin }).on("close", r));
const posting = [client(0), client(1)];
const others = [worker(0), worker(1), worker(2), reader()];
const failed = Promise.race([...posting, ...others].map((p) => p.then(() => new Promise(() => {})))); // rejects with the first
await Promise.race([told, failed]);
stopping = true;
await Promise.race([Promise.all(posting), failed]);
// A job whose pop was answered by a node that died in that moment is done again when its lease
// of 150 s ends.
for (const end = Date.now() + 240_000; open.size > 0 && Date.now() < end; ) await Promise.race([sleep(100), failed]);
ended = true;
await Promise.all(others);
assert.deepEqual([...open], [], "requests without an end");
assert.equal(counts.finished, counts.accepted);
console.log(JSON.stringify(counts));
