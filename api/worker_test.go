package api

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"hordenode/internal/horde"
)

const regen = "AI Horde Worker reGen:13.0.0:x"

// newWorkerHarness has three workers of owner's online: image, text and alchemy.
func newWorkerHarness(t *testing.T) (*harness, *fakeRegistry, *fakeLive) {
	t.Helper()
	h, registry, live := newAccountHarness(t)
	now := h.clock.now()
	registry.addWorker(live, now, horde.Worker{
		ID: workerID(3), Kind: horde.KindAlchemy, Name: "chemist", Owner: 8, Uptime: 61,
	}, horde.Caps{BridgeAgent: "AI-Horde-Worker:1:x", Models: []string{"caption", "nsfw"}, Threads: 1})
	registry.addWorker(live, now, horde.Worker{
		ID: workerID(2), Kind: horde.KindText, Name: "scribe", Owner: 8, Info: "fast", KudosGenerated: 250, KudosUptime: horde.Whole(100), Fulfilled: 4, Things: 900,
	}, horde.Caps{BridgeAgent: "KoboldCppEmbedWorker:2:x", Models: []string{"koboldcpp/x"}, NSFW: true, Threads: 2, MaxLength: 512, MaxContextLength: 4096})
	registry.addWorker(live, now, horde.Worker{
		ID: workerID(1), Kind: horde.KindImage, Name: "painter", Owner: 8, Things: 5_242_880, Uncompleted: 1, Suspicion: 2,
	}, horde.Caps{BridgeAgent: regen, Models: []string{"m"}, NSFW: true, MaxPixels: 4_194_304, Img2Img: true, Painting: true, PostProcessing: true, LoRA: true})
	h.s.deps.Addresses.Saw(workerID(1), netip.MustParseAddr("192.0.2.7"))
	return h, registry, live
}

func id(n byte) string { return workerID(n).String() }

func TestWorkerViews(t *testing.T) {
	h, _, _ := newWorkerHarness(t)
	h.accounts.change(ownerKey, func(u *horde.User) { u.Contact = "mail" })
	image := `"trusted":true,"flagged":false,`
	tail := `"bridge_agent":"` + regen + `","max_pixels":4194304,"megapixelsteps_generated":5,"img2img":true,"painting":true,"post-processing":true,"lora":true,"controlnet":false,"sdxl_controlnet":false,`
	head := `{"requests_fulfilled":0,"kudos_rewards":0,"kudos_details":{"generated":null,"uptime":null},"performance":"1.0 megapixelsteps per second","threads":1,"uptime":0,"maintenance_mode":false,`
	public := head + `"nsfw":true,` + image + `"uncompleted_jobs":1,"models":["m"],"team":{"name":null,"id":null},` + tail + `"type":"image","name":"painter","id":"` + id(1) + `","online":true}`
	for _, tt := range []struct {
		name, path string
		key        horde.APIKey
		want       string
	}{
		{"image", "/api/v2/workers/" + id(1), "", public},
		{"by name", "/api/v2/workers/name/painter", "", public},
		{"its owner sees no more", "/api/v2/workers/" + id(1), ownerKey, public},
		{"a key nobody has", "/api/v2/workers/" + id(1), "who", public},
		{"moderator", "/api/v2/workers/" + id(1), modKey, head + `"paused":false,"nsfw":true,"owner":"owner#8","ipaddr":"192.0.2.7",` + image + `"suspicious":2,"uncompleted_jobs":1,"models":["m"],"team":{"name":null,"id":null},"contact":"mail",` + tail + `"messages":[],"type":"image","name":"painter","id":"` + id(1) + `","online":true}`},
		{"text", "/api/v2/workers/" + id(2), "", `{"requests_fulfilled":4,"kudos_rewards":103,"kudos_details":{"generated":3,"uptime":100},"performance":"1.0 tokens per second","threads":2,"uptime":0,"maintenance_mode":false,"info":"fast","nsfw":true,"trusted":true,"flagged":false,"uncompleted_jobs":0,"models":["koboldcpp/x"],"team":{"name":null,"id":null},"bridge_agent":"KoboldCppEmbedWorker:2:x","max_length":512,"max_context_length":4096,"type":"text","name":"scribe","id":"` + id(2) + `","online":true}`},
		{"alchemy", "/api/v2/workers/" + id(3), "", `{"requests_fulfilled":0,"kudos_rewards":0,"kudos_details":{"generated":null,"uptime":null},"performance":"No forms were processed yet","threads":1,"uptime":61,"maintenance_mode":false,"nsfw":false,"trusted":true,"flagged":false,"uncompleted_jobs":0,"forms":["caption","nsfw"],"team":{"name":null,"id":null},"bridge_agent":"AI-Horde-Worker:1:x","type":"interrogation","name":"chemist","id":"` + id(3) + `","online":true}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.T = t
			h.do("GET", tt.path, tt.key, nil).wants(200, "").golden(tt.want)
		})
	}
}

// What a worker's software cannot do is not shown as allowed.
func TestBridgePaints(t *testing.T) {
	for _, tt := range []struct {
		agent             string
		img2img, painting bool
	}{
		{regen, true, true},
		{"AI Horde Worker:3:x", true, false},
		{"AI Horde Worker:4:x", true, true},
		{"AI Horde Worker:2:x", false, false},
		{"HordeAutoWebBridge:1:x", true, false},
		{"SD-WebUI Stable Horde Worker Bridge:1:x", false, true},
		{"unknown:0:unknown", false, false},
	} {
		if img2img, painting := bridgePaints(tt.agent); img2img != tt.img2img || painting != tt.painting {
			t.Errorf("bridgePaints(%q) = %v, %v, want %v, %v", tt.agent, img2img, painting, tt.img2img, tt.painting)
		}
	}
}

func TestPerformance(t *testing.T) {
	for _, tt := range []struct {
		kind  horde.Kind
		speed float64
		want  string
	}{
		{horde.KindImage, 2_340_000, "2.3 megapixelsteps per second"},
		{horde.KindText, 17.26, "17.3 tokens per second"},
		{horde.KindAlchemy, 3, "3.0 seconds per form"},
	} {
		if got := performance(tt.kind, tt.speed); got != tt.want {
			t.Errorf("performance(%v, %v) = %q, want %q", tt.kind, tt.speed, got, tt.want)
		}
	}
}

func TestListWorkers(t *testing.T) {
	h, _, live := newWorkerHarness(t)
	live.workers = append(live.workers, horde.LiveWorker{ID: workerID(77), CheckedIn: h.clock.now()}) // deleted meanwhile
	for _, tt := range []struct{ query, want string }{
		{"", "painter scribe chemist"},
		{"?type=image", "painter"},
		{"?type=text", "scribe"},
		{"?type=interrogation", "chemist"},
		{"?type=zzz", ""},
		{"?name=SCRIBE", "scribe"},
		{"?name=scribe&type=image", "scribe"},
		{"?name=scrib", ""},
	} {
		t.Run(tt.query, func(t *testing.T) {
			h.T = t
			if got := h.names("/api/v2/workers" + tt.query); got != tt.want {
				t.Errorf("workers %q, want %q", got, tt.want)
			}
		})
	}
	h.T = t
	h.clock.advance(301 * time.Second)
	if got := h.names("/api/v2/workers"); got != "" {
		t.Errorf("workers %q after 301 s, want none", got)
	}
	if got := h.do("GET", "/api/v2/workers/"+id(1), "", nil).wants(200, "").object()["online"]; got != false {
		t.Errorf("online = %v after 301 s, want false", got)
	}
}

// names returns the names in a list, in order.
func (h *harness) names(path string) string {
	h.Helper()
	var names []string
	for part := range strings.SplitSeq(h.do("GET", path, "", nil).wants(200, "").body, `"name":"`) {
		if name, _, ok := strings.Cut(part, `"`); ok && !strings.HasPrefix(part, "[") {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

func TestWorkerRefusals(t *testing.T) {
	h, _, _ := newWorkerHarness(t)
	own := "/api/v2/workers/" + id(1)
	for _, tt := range []struct {
		name, method, path string
		key                horde.APIKey
		body               any
		status             int
		rc                 horde.RC
	}{
		{"no UUID", "GET", "/api/v2/workers/x", "", nil, 404, horde.RCWorkerNotFound},
		{"unknown", "GET", "/api/v2/workers/" + id(9), "", nil, 404, horde.RCWorkerNotFound},
		{"unknown name", "GET", "/api/v2/workers/name/Painter", "", nil, 404, horde.RCWorkerNotFound},
		{"404 before 400", "PUT", "/api/v2/workers/x", "", map[string]any{"info": "x"}, 404, horde.RCWorkerNotFound},
		{"schema before 404", "PUT", "/api/v2/workers/x", "", map[string]any{"info": 5}, 400, ""},
		{"no key", "PUT", own, "", map[string]any{"info": "x"}, 400, ""},
		{"unknown key", "PUT", own, "who", map[string]any{"info": "x"}, 401, horde.RCInvalidAPIKey},
		{"not mine", "PUT", own, aliceKey, map[string]any{"maintenance": true}, 403, horde.RCNotOwner},
		{"not mine and profane", "PUT", own, aliceKey, map[string]any{"info": "fuck"}, 403, horde.RCNotOwner},
		{"pause is for moderators", "PUT", own, ownerKey, map[string]any{"paused": true}, 403, horde.RCNotModerator},
		{"profane info", "PUT", own, ownerKey, map[string]any{"info": "fuck"}, 400, horde.RCProfaneWorkerInfo},
		{"profane name", "PUT", own, ownerKey, map[string]any{"name": "fucker"}, 400, horde.RCProfaneWorkerName},
		{"short name", "PUT", own, ownerKey, map[string]any{"name": "abc"}, 400, ""},
		{"long info", "PUT", own, ownerKey, map[string]any{"info": strings.Repeat("x", 1001)}, 400, ""},
		{"no boolean", "PUT", own, ownerKey, map[string]any{"maintenance": "yes"}, 400, ""},
		{"team", "PUT", own, ownerKey, map[string]any{"team": "nope"}, 404, horde.RCTeamNotFound},
		{"team of another's worker", "PUT", own, aliceKey, map[string]any{"team": ""}, 403, horde.RCNotModerator},
		{"nothing", "PUT", own, ownerKey, map[string]any{}, 400, horde.RCNoWorkerModSelected},
		{"delete without key", "DELETE", own, "", nil, 400, ""},
		{"delete with unknown key", "DELETE", own, "who", nil, 401, horde.RCInvalidAPIKey},
		{"delete another's", "DELETE", own, aliceKey, nil, 403, horde.RCNotModerator},
		{"delete unknown", "DELETE", "/api/v2/workers/x", ownerKey, nil, 404, horde.RCWorkerNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.T = t
			h.do(tt.method, tt.path, tt.key, tt.body).wants(tt.status, tt.rc)
		})
	}
}

func TestChangeWorker(t *testing.T) {
	h, registry, _ := newWorkerHarness(t)
	own := "/api/v2/workers/" + id(1)
	for _, tt := range []struct {
		name string
		key  horde.APIKey
		body string
		want string
	}{
		{"maintenance", ownerKey, `{"maintenance": true, "maintenance_msg": "back <soon>"}`, `{"maintenance":true}`},
		{"info with markup", ownerKey, `{"info": "some <b>info</b> & more"}`, `{"info":"some <b>info</b> &amp; more"}`},
		{"several", modKey, `{"info": "by mod", "maintenance": false, "paused": true}`, `{"maintenance":false,"paused":true,"info":"by mod"}`},
		{"leave no team", ownerKey, `{"team": ""}`, `{"team":"None"}`},
		{"name", ownerKey, `{"name": "painter two"}`, `{"name":"painter two"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.T = t
			h.do("PUT", own, tt.key, tt.body).wants(200, "").golden(tt.want)
			if m := registry.lastWorker.MaintenanceMsg; m != nil && *m != "back &lt;soon&gt;" {
				t.Errorf("maintenance_msg %q was not made safe", *m)
			}
		})
	}
	h.T = t
	h.do("DELETE", own, ownerKey, nil).wants(200, "").golden(`{"deleted_id":"` + id(1) + `","deleted_name":"painter two"}`)
	h.do("GET", own, "", nil).wants(404, horde.RCWorkerNotFound)
}
