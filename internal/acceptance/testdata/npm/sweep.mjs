// Every method of the unmodified client library, called by a stranger, a user, a moderator and
// the horde's admin; the calls rotate over the nodes in NODES. Each call has one outcome per
// caller: "ok" and what the answer must hold, or the status and the rc of the refusal.
import assert from "node:assert/strict";
import horde from "@zeldafan0225/ai_horde";
import { webp } from "./image.mjs";

const { AIHorde, APIError } = horde;
const nodes = process.env.NODES.split(",");
const who = JSON.parse(process.env.ACCOUNTS); // anon, user, mod, admin, owner: {key, id, name}
const roles = ["anon", "user", "mod", "admin"];
const patience = Number(process.env.PATIENCE_MS ?? 60_000);

const clients = Object.fromEntries(Object.entries(who).map(([role, { key }]) => [role, nodes.map((url) =>
  new AIHorde({
    api_route: `${url}/api/v2`, default_token: key, client_agent: "acceptance-sweep:1:none",
    cache_interval: 0,
  }))]));

const uuid = (n) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
const seen = new Set();
let turn = 0;
let calls = 0;

// outcome tells in a word what a call came to.
async function outcome(role, method, args) {
  seen.add(method);
  const client = clients[role][turn++ % nodes.length];
  try {
    return { word: "ok", answer: await client[method](...args) };
  } catch (e) {
    if (!(e instanceof APIError)) throw e;
    return { word: `${e.status} ${e.rawError?.rc}`, answer: e.rawError };
  }
}

// expect calls until the outcome is the wanted one: what was written at one node takes a moment
// to be known at the others. A call that succeeds against expectation fails at once.
async function expect(role, method, args, want, check = () => {}) {
  const give = typeof args === "function" ? args : () => args;
  let got, problem;
  for (const end = Date.now() + patience; ;) {
    got = await outcome(role, method, give());
    problem = undefined;
    if (got.word === want) {
      try {
        if (want === "ok") check(got.answer);
        else assert.equal(typeof got.answer.message, "string");
        calls++;
        return got.answer;
      } catch (e) { problem = e; }
      if (!method.startsWith("get") && !method.startsWith("find")) break;
    } else if (got.word === "ok" || !got.word.startsWith("404")) break;
    if (Date.now() > end) break;
    await new Promise((r) => setTimeout(r, 100));
  }
  const told = `${role} ${method}: got ${got.word} ${JSON.stringify(got.answer).slice(0, 300)}, want ${want}`;
  if (process.env.OBSERVE) return void console.log(told, problem?.message ?? "");
  throw problem ?? new assert.AssertionError({ message: told });
}

// all runs one method as every role; wants lists the outcomes in the order of roles.
async function all(method, args, wants, check) {
  const answers = {};
  for (const [i, role] of roles.entries()) {
    const want = Array.isArray(wants) ? wants[i] : wants;
    const a = typeof args === "function" ? () => args(role) : args;
    answers[role] = await expect(role, method, a, want, check && ((x) => check(x, role)));
  }
  return answers;
}

const is = (type, ...keys) => (answer) => {
  for (const k of keys) assert.equal(typeof answer[k], type, `${k} is ${typeof answer[k]}, want ${type}`);
};
const list = (answer) => assert.ok(Array.isArray(answer));
const fresh = { force: true };

// What needs no account.
await all("getHeartbeat", [], "ok", (a) => assert.equal(a, true));
await all("getModels", [fresh], "ok", list);
await all("getModel", ["stable_diffusion"], "ok", list);
await all("getNews", [fresh], "ok", list);
await all("getPerformance", [fresh], "ok", is("number", "queued_requests", "worker_count", "thread_count", "text_worker_count"));
await all("getUsers", [fresh], "ok", list);
await all("getTeams", [], "ok", list);
await all("getImageModelStats", [], "ok", is("object", "day", "month", "total"));
await all("getImageTotalStats", [], "ok", is("object", "minute", "hour", "day", "month", "total"));
await all("getTextModelStats", [], "ok", is("object", "day", "month", "total"));
await all("getTextTotalStats", [], "ok", is("object", "minute", "hour", "day", "month", "total"));
// A key at an address that only asks moderators for one is a refusal, as everywhere in the AI Horde.
await all("getModes", [fresh], ["403 NotModerator", "403 NotModerator", "ok", "ok"], is("boolean", "maintenance_mode", "invite_only_mode", "raid_mode"));

// Accounts.
await all("findUser", (role) => [{ token: who[role].key }], "ok", (a, role) => {
  assert.equal(a.username, who[role].name);
  is("number", "id", "kudos", "concurrency")(a);
});
await all("getUserDetails", [Number(who.owner.id), fresh], "ok", (a, role) => {
  assert.equal(a.username, who.owner.name);
  assert.equal("suspicious" in a && a.suspicious !== null, role === "mod" || role === "admin", "suspicion is for moderators");
});
await all("getUserDetails", [99999999, fresh], "404 UserNotFound");
await all("updateUser", [{ trusted: true }, Number(who.owner.id)], ["403 NotModerator", "403 NotModerator", "ok", "ok"], (a) => assert.equal(a.trusted, true));
await all("postKudosTransfer", [{ username: who.owner.name, amount: 10 }], ["400 KudosTransferFromAnon", "ok", "ok", "ok"], (a) => assert.equal(a.transferred, 10));
await all("postKudosTransfer", [{ username: "nobody#99999999", amount: 10 }], ["400 KudosTransferFromAnon", "400 InvalidTargetUsername", "400 InvalidTargetUsername", "400 InvalidTargetUsername"]);
await all("postKoboldTransfer", [who.owner.id, { kai_id: "1", kudos_amount: 1, trusted: true }], "404 undefined"); // no longer part of the API

// Shared keys.
const shared = await all("putSharedKey", [{ kudos: 100, name: "sweep" }], ["403 AnonForbidden", "ok", "ok", "ok"], (a) => assert.equal(a.id.length, 36));
await all("getSharedKey", () => [shared.user.id], "ok", (a) => assert.equal(a.kudos, 100));
await all("getSharedKey", [uuid(1)], "401 InvalidAPIKey");
await all("updateSharedKey", (role) => [{ kudos: 50 }, (shared[role].id ?? shared.user.id)], ["403 Forbidden", "ok", "ok", "ok"], (a) => assert.equal(a.kudos, 50));
await all("deleteSharedKey", (role) => [(shared[role].id ?? shared.user.id)], ["403 Forbidden", "ok", "ok", "ok"], (a) => assert.equal(a.message, "OK"));

// Teams: for trusted users.
const teams = await all("createTeam", (role) => [{ name: `sweep ${role}`, info: "none" }], ["403 AnonForbidden", "403 UntrustedTeamCreation", "ok", "ok"], (a) => assert.equal(a.id.length, 36));
await all("getTeam", () => [teams.mod.id, fresh], ["403 NotModerator", "403 NotModerator", "ok", "ok"], (a) => assert.equal(a.name, "sweep mod"));
await all("getTeam", [uuid(2), fresh], "404 TeamNotFound");
await all("updateTeam", (role) => [{ info: "changed" }, (teams[role].id ?? teams.mod.id)], ["403 NotOwner", "403 NotOwner", "ok", "ok"], (a) => assert.equal(a.info, "changed"));

// Requests, their answers and their refusals; the owner's workers do the jobs.
const image = (over) => ({
  prompt: "a horde of robots", models: ["stable_diffusion"], r2: false, shared: true,
  params: { width: 512, height: 512, steps: 20, sampler_name: "k_euler", cfg_scale: 7.5, n: 1 }, ...over,
});
const text = (over) => ({ prompt: "Once", models: ["acceptance/sweep-7B"], params: { n: 1, max_length: 80, max_context_length: 1024 }, ...over });
const dreamer = (role, models = ["stable_diffusion_2.1"]) => ({
  name: `sweep dreamer of ${role}`, models, nsfw: true, max_pixels: 1048576, bridge_agent: "AI Horde Worker reGen:13.0.0:acceptance", amount: 1,
});
const scribe = (role, models = ["nobody has this"]) => ({
  name: `sweep scribe of ${role}`, models, max_length: 512, max_context_length: 4096, bridge_agent: "KoboldCppEmbedWorker:2:acceptance", amount: 1, threads: 1,
});
const alchemist = (role, forms = ["caption"]) => ({
  name: `sweep alchemist of ${role}`, forms, bridge_agent: "AI Horde Worker reGen:13.0.0:acceptance", amount: 1, threads: 1, max_tiles: 16, priority_usernames: [],
});

let finished = 0;
for (const role of roles) {
  const posted = await expect(role, "postAsyncImageGenerate", [image()], "ok", (a) => assert.equal(a.id.length, 36));
  await expect(role, "getImageGenerationCheck", [posted.id, fresh], "ok", (a) => assert.equal(a.done, false));
  const job = await popped("postImageGenerationPop", dreamer("owner", ["stable_diffusion"]));
  await expect("owner", "postImageGenerationSubmit", [{ id: job.id, generation: webp, state: "ok", seed: 42 }], "ok", (a) => assert.ok(a.reward > 0));
  await expect("owner", "postImageGenerationSubmit", [{ id: job.id, generation: webp, state: "ok", seed: 42 }], "400 DuplicateGen");
  const got = await expect(role, "getImageGenerationStatus", [posted.id, fresh], "ok", (a) => assert.equal(a.done, true));
  assert.equal(got.generations.length, 1);
  assert.equal(got.generations[0].seed, "42");
  assert.equal(got.generations[0].worker_name, "sweep dreamer of owner");
  finished++;
}
for (const role of roles) {
  const posted = await expect(role, "postAsyncTextGenerate", [text()], "ok", (a) => assert.equal(a.id.length, 36));
  const job = await popped("postTextGenerationPop", scribe("owner", ["acceptance/sweep-7B"]));
  await expect("owner", "postTextGenerationSubmit", [{ id: job.id, generation: "upon a time", state: "ok", seed: 0 }], "ok", (a) => assert.ok(a.reward > 0));
  await expect("owner", "postTextGenerationSubmit", [{ id: job.id, generation: "upon a time", state: "ok", seed: 0 }], "400 DuplicateGen");
  const got = await expect(role, "getTextGenerationStatus", [posted.id, fresh], "ok", (a) => assert.equal(a.done, true));
  assert.deepEqual(got.generations.map((g) => g.text), ["upon a time"]);
  finished++;
}
for (const role of roles) {
  const posted = await expect(role, "postAsyncInterrogate", [{ source_image: webp, forms: [{ name: "caption" }] }], "ok", (a) => assert.equal(a.id.length, 36));
  const job = await popped("postInterrogationPop", alchemist("owner"));
  await expect("owner", "postInterrogationSubmit", [{ id: job.id, result: { caption: "robots" }, state: "ok" }], "ok", (a) => assert.ok(a.reward > 0));
  const got = await expect(role, "getInterrogationStatus", [posted.id, fresh], "ok", (a) => assert.equal(a.state, "done"));
  assert.deepEqual(got.forms, [{ form: "caption", state: "done", result: { caption: "robots" } }]);
  finished++;
}
assert.equal(finished, 12, "finished jobs");

// popped asks until the owner's worker has a job.
async function popped(method, body) {
  for (const end = Date.now() + patience; Date.now() < end; await new Promise((r) => setTimeout(r, 100))) {
    const { word, answer } = await outcome("owner", method, [body]);
    assert.equal(word, "ok", `${method}: ${word} ${JSON.stringify(answer)}`);
    const job = answer.forms ? answer.forms[0] : answer;
    if (job?.id) return job;
  }
  assert.fail(`${method} brought no job`);
}

for (const [post, body, remove, was] of [
  ["postAsyncImageGenerate", image({ models: ["nobody has this"] }), "deleteImageGenerationRequest", (a) => assert.equal(a.waiting, 1)],
  ["postAsyncTextGenerate", text({ models: ["nobody/has-this"] }), "deleteTextGenerationRequest", (a) => assert.equal(a.waiting, 1)],
  ["postAsyncInterrogate", { source_image: webp, forms: [{ name: "nsfw" }] }, "deleteInterrogationRequest", (a) => assert.deepEqual([a.state, a.forms[0].state], ["partial", "cancelled"])],
]) {
  const posted = await all(post, [body], "ok");
  await all(remove, (role) => [posted[role].id], "ok", was);
}
await all("postAsyncImageGenerate", [image({ params: { width: 500, height: 512 } })], "400 undefined");
await all("postAsyncTextGenerate", [text({ prompt: "" })], "400 MissingPrompt");
await all("getImageGenerationCheck", [uuid(3), fresh], "404 RequestNotFound");
await all("getImageGenerationStatus", [uuid(3), fresh], "404 RequestNotFound");
await all("getTextGenerationStatus", [uuid(3), fresh], "404 RequestNotFound");
await all("getInterrogationStatus", [uuid(3), fresh], "404 RequestNotFound");
await all("deleteImageGenerationRequest", [uuid(3)], "404 RequestNotFound");
await all("deleteTextGenerationRequest", [uuid(3)], "404 RequestNotFound");
await all("deleteInterrogationRequest", [uuid(3)], "404 RequestNotFound");
await all("postRating", [uuid(3), { ratings: [{ id: uuid(4), rating: 5 }] }], "404 RequestNotFound");
const pops = ["403 AnonForbiddenWorker", "ok", "ok", "ok"];
await all("postImageGenerationPop", (role) => [dreamer(role)], pops, (a) => assert.equal(a.id, null));
await all("postTextGenerationPop", (role) => [scribe(role)], pops, (a) => assert.equal(a.id, null));
await all("postInterrogationPop", (role) => [alchemist(role, ["nsfw"])], pops, (a) => assert.equal(a.forms, null));
await all("postImageGenerationSubmit", [{ id: uuid(5), generation: webp, state: "ok", seed: 1 }], "404 InvalidJobID");
await all("postTextGenerationSubmit", [{ id: uuid(5), generation: "x", state: "ok", seed: 1 }], "404 InvalidJobID");
await all("postInterrogationSubmit", [{ id: uuid(5), result: { caption: "x" }, state: "ok" }], "404 InvalidJobID");

// Workers: everybody sees them, the owner and moderators change them.
const workers = await all("getWorkers", [], "ok", (a) => assert.ok(a.some((w) => w.name === "sweep dreamer of owner")));
const worker = workers.user.find((w) => w.name === "sweep dreamer of owner").id;
await all("getWorkerDetails", [worker, fresh], "ok", (a) => assert.equal(a.requests_fulfilled, roles.length));
await all("getWorkerDetails", [uuid(6), fresh], "404 WorkerNotFound");
await expect("owner", "updateWorker", [{ info: "the owner's" }, worker], "ok", (a) => assert.equal(a.info, "the owner's"));
await all("updateWorker", [{ paused: false }, worker], ["403 NotModerator", "403 NotModerator", "ok", "ok"], (a) => assert.equal(a.paused, false));
await all("deleteWorker", [worker], ["403 NotModerator", "403 NotModerator", "ok", "404 WorkerNotFound"], (a) => assert.equal(a.deleted_id, worker));

// Moderation.
const stopped = ["403 NotModerator", "403 NotModerator", "ok", "ok"];
await all("getFilters", [{ filter_type: "10" }], stopped, list);
const filters = await all("addFilter", (role) => [{ regex: `sweepword${role}`, filter_type: 10, description: "sweep" }], stopped, (a) => assert.equal(typeof a.id, "string"));
await all("getFilter", () => [filters.mod.id], stopped, (a) => assert.equal(a.regex, "sweepwordmod"));
await all("updateFilter", (role) => [{ description: "changed" }, (filters[role].id ?? filters.mod.id)], stopped, (a) => assert.equal(a.description, "changed"));
await all("postFilters", [{ prompt: "a sweepwordmod of robots" }], stopped, (a) => assert.ok(Number(a.suspicion) > 0));
await all("deleteFilter", (role) => [(filters[role].id ?? filters.mod.id)], stopped, (a) => assert.equal(a.message, "OK"));
await all("deleteIPTimeout", [{ ipaddr: "192.0.2.7" }], ["403 NotModerator", "403 NotModerator", "ok", "ok"], (a) => assert.equal(a.message, "OK"));
// The library's types call these maintenance and raid; the API never did.
await all("putStatusModes", [{ raid: false }], "400 NoHordeModSelected");
await all("putStatusModes", [{ raid_mode: false }], ["403 NotModerator", "403 NotModerator", "ok", "ok"], (a) => assert.equal(a.raid_mode, false));
await all("putStatusModes", [{ maintenance_mode: false }], ["403 NotAdmin", "403 NotAdmin", "403 NotAdmin", "ok"], (a) => assert.equal(a.maintenance_mode, false));
await all("deleteTeam", (role) => [(teams[role].id ?? teams.mod.id)], ["403 NotModerator", "403 NotModerator", "ok", "ok"], (a) => assert.equal(a.deleted_id.length, 36));

// Nothing of the library is left out.
const local = new Set(["constructor", "clearCache", "cache", "parseAgent", "generateFieldsString"]);
const missed = Object.getOwnPropertyNames(AIHorde.prototype).filter((m) => !local.has(m) && !seen.has(m));
assert.deepEqual(missed, [], "methods not called");
console.log(JSON.stringify({ methods: seen.size, calls, finished }));
