package api

import (
	"strings"
	"testing"
	"time"

	"hordenode/internal/horde"
)

// addMessage puts a message there, an hour old, that expires in so many hours.
func (f *fakeCommunity) addMessage(from horde.UserID, to byte, text string, hours int) horde.WorkerMessage {
	now := f.h.clock.now()
	m := horde.WorkerMessage{
		ID: horde.MessageID{UUID: f.id()}, User: from, Message: text, Origin: "Team",
		Created: now.Add(-time.Hour), Expires: now.Add(time.Duration(hours) * time.Hour),
	}
	if to != 0 {
		m.Worker = horde.WorkerID{UUID: horde.UUID{to}}
	}
	f.messages[m.ID] = m
	return m
}

func TestMessageList(t *testing.T) {
	h, f := newCommunityHarness(t)
	f.addMessage(9, 1, "mod to 1", 2)
	f.addMessage(8, 1, "owner to 1", 2)
	f.addMessage(8, 2, "owner to 2", -1)
	f.addMessage(9, 0, "mod to all", 2)
	worker1 := horde.WorkerID{UUID: horde.UUID{1}}.String()
	for _, tt := range []struct {
		name, query string
		key         horde.APIKey
		status      int
		rc          horde.RC
		want        string
	}{
		{"moderators see all", "", modKey, 200, "", "mod to 1, owner to 1, mod to all"},
		{"others what they wrote and what is to all", "", ownerKey, 200, "", "owner to 1, mod to all"},
		{"expired", "?validity=expired", ownerKey, 200, "", "owner to 2"},
		{"either", "?validity=all", modKey, 200, "", "mod to 1, owner to 1, owner to 2, mod to all"},
		{"odd", "?validity=odd", modKey, 400, horde.RCBadRequest, ""},
		{"of a worker", "?worker_id=" + worker1, modKey, 200, "", "mod to 1, owner to 1"},
		{"of a user", "?user_id=8&validity=all", modKey, 200, "", "owner to 1, owner to 2"},
		{"of nobody", "?user_id=x", modKey, 200, "", ""},
		{"own by id", "?user_id=8", ownerKey, 200, "", "owner to 1"},
		{"another's", "?user_id=9", ownerKey, 403, horde.RCForbidden, ""},
		{"a page begins one message later", "?page=2", modKey, 200, "", "owner to 1, mod to all"},
		{"page zero is the first", "?page=0", ownerKey, 200, "", "owner to 1, mod to all"},
		{"no key", "", "", 400, "", ""},
		{"unknown key", "", "who", 401, horde.RCInvalidAPIKey, ""},
		{"no id", "?worker_id=x", modKey, 400, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := h.do("GET", "/api/v2/workers/messages"+tt.query, tt.key, nil).wants(tt.status, tt.rc)
			if tt.status != 200 {
				return
			}
			var texts []string
			for _, part := range strings.Split(got.body, `"message":"`)[1:] {
				text, _, _ := strings.Cut(part, `"`)
				texts = append(texts, text)
			}
			if have := strings.Join(texts, ", "); have != tt.want {
				t.Errorf("got %q, want %q", have, tt.want)
			}
		})
	}
}

func TestPostMessage(t *testing.T) {
	for _, tt := range []struct {
		name         string
		key          horde.APIKey
		body         string
		status       int
		rc           horde.RC
		errors, want string
	}{
		{"moderator", modKey, `{"message":"hi","worker_id":"W","origin":"Team","expiry":1}`, 200, "", "",
			`{"worker_id":"W","user_id":"9","created":"Fri, 15 Jan 2027 08:00:00 -0000","id":"ID","message":"hi","origin":"Team","expiry":"Fri, 15 Jan 2027 09:00:00 -0000"}`},
		{"to all, with defaults", modKey, `{"message":"hi"}`, 200, "", "",
			`{"user_id":"9","created":"Fri, 15 Jan 2027 08:00:00 -0000","id":"ID","message":"hi","origin":"AI Horde Moderators","expiry":"Fri, 15 Jan 2027 20:00:00 -0000"}`},
		{"owners write in their own name", ownerKey, `{"message":"hi","worker_id":"W","origin":"Team","expiry":720}`, 200, "", "",
			`{"worker_id":"W","user_id":"8","created":"Fri, 15 Jan 2027 08:00:00 -0000","id":"ID","message":"hi","origin":"8","expiry":"Sun, 14 Feb 2027 08:00:00 -0000"}`},
		{"foreign worker", aliceKey, `{"message":"hi","worker_id":"W"}`, 403, horde.RCMessagesOnlyOwnWorkers, "", ""},
		{"to all by a plain user", ownerKey, `{"message":"hi"}`, 403, horde.RCMessagesOnlyOwnWorkers, "", ""},
		{"anonymous", horde.AnonymousKey, `{"message":"hi","worker_id":"` + someID + `"}`, 403, horde.RCAnonForbidden, "", ""},
		{"unknown worker", modKey, `{"message":"hi","worker_id":"` + someID + `"}`, 404, horde.RCWorkerNotFound, "", ""},
		{"no key", "", `{"message":"hi"}`, 400, "", "apikey", ""},
		{"too much wrong", modKey, `{"message":"","expiry":721,"worker_id":"short","origin":""}`, 400, "", "expiry message origin worker_id", ""},
		{"nothing", modKey, `{}`, 400, "", "message", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, f := newCommunityHarness(t)
			w := horde.Worker{ID: horde.WorkerID{UUID: horde.UUID{1}}, Name: "w", Owner: 8}
			f.registry.addWorker(f.live, h.clock.now(), w, horde.Caps{})
			body := strings.ReplaceAll(tt.body, `"W"`, `"`+w.ID.String()+`"`)
			got := h.do("POST", "/api/v2/workers/messages", tt.key, body).wants(tt.status, tt.rc)
			if tt.want == "" {
				if at := got.errorsAt(); at != tt.errors {
					t.Errorf("errors at %q, want %q", at, tt.errors)
				}
				return
			}
			want := strings.ReplaceAll(tt.want, `"W"`, `"`+w.ID.String()+`"`)
			got.golden(strings.ReplaceAll(want, "ID", f.Messages()[0].ID.String()))
		})
	}
}

func TestMessageByID(t *testing.T) {
	h, f := newCommunityHarness(t)
	m := f.addMessage(9, 1, "hi", 2)
	path := "/api/v2/workers/messages/" + m.ID.String()
	h.do("GET", path, "", nil).wants(200, "").golden(`{"worker_id":"` + m.Worker.String() + `","user_id":"9","created":"Fri, 15 Jan 2027 07:00:00 -0000","id":"` +
		m.ID.String() + `","message":"hi","origin":"Team","expiry":"Fri, 15 Jan 2027 10:00:00 -0000"}`)
	h.do("GET", "/api/v2/workers/messages/x", "", nil).wants(404, horde.RCWorkermessageNotFound)
	h.do("DELETE", path, ownerKey, nil).wants(403, horde.RCForbidden)
	h.do("DELETE", path, modKey, nil).wants(200, "").golden(`{"message":"OK"}`)
	h.do("DELETE", path, modKey, nil).wants(404, horde.RCWorkermessageNotFound)
	h.do("DELETE", path, "who", nil).wants(401, horde.RCInvalidAPIKey)
}

func TestMessagesReachWorkers(t *testing.T) {
	h, f := newCommunityHarness(t)
	w := horde.Worker{ID: horde.WorkerID{UUID: horde.UUID{1}}, Name: "w", Owner: 8}
	f.registry.addWorker(f.live, h.clock.now(), w, horde.Caps{})
	own := f.addMessage(9, 1, "to you", 2)
	f.addMessage(9, 2, "to another", 2)
	f.addMessage(9, 1, "too old", -1)
	all := f.addMessage(9, 0, "to all", 2)

	want := []popMessage{
		{own.ID, "to you", "Team", "Fri, 15 Jan 2027 10:00:00 -0000"},
		{all.ID, "to all", "Team", "Fri, 15 Jan 2027 10:00:00 -0000"},
	}
	got := h.s.popMessages(w.ID)
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("pop tells %+v, want %+v", got, want)
	}
	details := h.do("GET", "/api/v2/workers/"+w.ID.String(), modKey, nil).wants(200, "")
	shown := `"messages":[{"worker_id":"` + w.ID.String() + `","user_id":"9","created":"Fri, 15 Jan 2027 07:00:00 -0000","message":"to you","origin":"Team","expiry":"Fri, 15 Jan 2027 10:00:00 -0000"}]`
	if !strings.Contains(details.body, shown) {
		t.Errorf("got %s, want %s in it", details.body, shown)
	}
}
