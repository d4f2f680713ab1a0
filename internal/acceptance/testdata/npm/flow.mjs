// A client, a worker and a reader, each at a node of its own, with the unmodified client
// library: text and image requests are posted at A, popped and submitted at B, read at C.
import assert from "node:assert/strict";
import horde from "@zeldafan0225/ai_horde";
import { webp } from "./image.mjs";

const { AIHorde } = horde;
const at = (url, token) =>
  new AIHorde({ api_route: `${url}/api/v2`, default_token: token, client_agent: "acceptance:1:none" });

const client = at(process.env.NODE_A, process.env.CLIENT_KEY);
const worker = at(process.env.NODE_B, process.env.OWNER_KEY);
const reader = at(process.env.NODE_C);

// until retries a read until it gives something: nodes learn of each other's jobs by gossip.
async function until(what, read) {
  for (const end = Date.now() + 60_000; Date.now() < end; await new Promise((r) => setTimeout(r, 100))) {
    const got = await read();
    if (got) return got;
  }
  assert.fail(`${what} did not happen`);
}

assert.equal(await client.getHeartbeat(), true);
const me = await client.findUser({ token: process.env.CLIENT_KEY });
assert.match(me.username, /^npmclient#\d+$/);

let finished = 0;

for (let i = 0; i < 5; i++) {
  const posted = await client.postAsyncTextGenerate({
    prompt: `Once upon a time, number ${i}`,
    models: ["acceptance/text-7B"],
    params: { n: 2, max_length: 80, max_context_length: 1024 },
  });
  assert.ok(posted.id);
  const jobs = [];
  while (jobs.length < 2) {
    const pop = await until("a text job at B", async () => {
      const p = await worker.postTextGenerationPop({
        name: "npm scribe", models: ["acceptance/text-7B"], bridge_agent: "KoboldCppEmbedWorker:2:acceptance",
        max_length: 512, max_context_length: 4096, amount: 2, threads: 1,
      });
      return p.id ? p : undefined;
    });
    assert.equal(pop.payload.prompt, `Once upon a time, number ${i}`);
    assert.equal(pop.payload.max_length, 80);
    jobs.push(...pop.ids);
  }
  for (const id of jobs) {
    const done = await worker.postTextGenerationSubmit({ id, generation: `there was a horde (${id})`, state: "ok", seed: 0 });
    assert.ok(done.reward > 0);
  }
  const status = await until("the text at C", async () => {
    const s = await reader.getTextGenerationStatus(posted.id, { force: true });
    return s.done ? s : undefined;
  });
  assert.equal(status.generations.length, 2);
  assert.equal(status.faulted, false);
  for (const g of status.generations) {
    assert.match(g.text, /^there was a horde/);
    assert.equal(g.worker_name, "npm scribe");
    finished++;
  }
}

for (const r2 of [false, true]) {
  const posted = await client.postAsyncImageGenerate({
    prompt: "a horde of robots", models: ["stable_diffusion"], nsfw: false, r2,
    params: { width: 512, height: 512, steps: 20, sampler_name: "k_euler", cfg_scale: 7.5, seed: "42", n: 1 },
  });
  assert.ok(posted.id);
  const check = await reader.getImageGenerationCheck(posted.id, { force: true });
  assert.equal(check.done, false);
  const pop = await until("an image job at B", async () => {
    const p = await worker.postImageGenerationPop({
      name: "npm dreamer", models: ["stable_diffusion"], nsfw: true, max_pixels: 1048576,
      bridge_agent: "AI Horde Worker reGen:13.0.0:acceptance", amount: 1,
    });
    return p.id ? p : undefined;
  });
  assert.equal(pop.payload.prompt, "a horde of robots");
  assert.equal(pop.payload.seed, "42");
  let generation = webp;
  if (r2) {
    const put = await fetch(pop.r2_upload, { method: "PUT", body: Buffer.from(webp, "base64") });
    assert.equal(put.status, 200);
    generation = "R2";
  }
  const done = await worker.postImageGenerationSubmit({ id: pop.id, generation, state: "ok", seed: 42 });
  assert.ok(done.reward > 0);
  const status = await until("the image at C", async () => {
    const s = await reader.getImageGenerationStatus(posted.id, { force: true });
    return s.done ? s : undefined;
  });
  assert.equal(status.generations.length, 1);
  const [g] = status.generations;
  assert.equal(g.seed, "42");
  assert.equal(g.worker_name, "npm dreamer");
  const bytes = r2 ? Buffer.from(await (await fetch(g.img)).arrayBuffer()) : Buffer.from(g.img, "base64");
  assert.ok(bytes.equals(Buffer.from(webp, "base64")), "the image arrived as it was sent");
  finished++;
}

// Cancelling at a node that is not the request's home.
const cancelled = await client.postAsyncTextGenerate({ prompt: "never mind", models: ["nobody/has-this"] });
const before = await reader.deleteTextGenerationRequest(cancelled.id);
assert.equal(before.waiting, 1);

// Refusals arrive as JSON with a return code, wherever they are decided.
await assert.rejects(reader.findUser({ token: "this-key-does-not-exis" }), (e) => e.rawError.rc === "UserNotFound" || e.rawError.rc === "InvalidAPIKey");
await assert.rejects(reader.getTextGenerationStatus("00000000-0000-4000-8000-000000000000", { force: true }), (e) => e.rawError.rc === "RequestNotFound");

assert.equal(finished, 12, "finished jobs");
console.log(`${finished} jobs finished`);
