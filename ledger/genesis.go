package ledger

import (
	"crypto/ed25519"
	"fmt"
	"io"

	"hordenode/internal/horde"
)

// Config is what a federation may set for itself.
type Config struct {
	TrustThreshold horde.Kudos `cbor:"1,keyasint,omitempty"` // escrow above it earns trust; 0 = never by itself

	// CommandRate is how many commands one member may send per second of ledger time, with
	// bursts of four seconds' worth; 0 = 50,000, negative = any number.
	CommandRate int `cbor:"2,keyasint,omitempty"`
	// DailyKudos is what one member may make, or settle for workers that it registered
	// itself, per day of ledger time; 0 = any amount.
	DailyKudos horde.Kudos `cbor:"3,keyasint,omitempty"`

	// SHA-256, in hex, of the content that every node uses: references of image and text
	// models, and the model of image prices. Empty: each node has its own. Members fetch the
	// content from one another. Since version 2.
	ImageModels string `cbor:"4,keyasint,omitempty"`
	TextModels  string `cbor:"5,keyasint,omitempty"`
	ImagePrices string `cbor:"6,keyasint,omitempty"`

	// Shards is into how many topics offers of images and of texts are divided, each; 0 = one.
	// Since version 2.
	Shards int `cbor:"7,keyasint,omitempty"`
}

// pinVersion is the version of the ledger that the pins came with.
const pinVersion Version = 2

// MaxShards is the most that Config.Shards may be.
const MaxShards = 64

// pins tells whether the Config says what came with pinVersion.
func (c *Config) pins() bool {
	return c.ImageModels != "" || c.TextModels != "" || c.ImagePrices != "" || c.Shards != 0
}

// genesis founds the federation. Its hash is the cluster id.
type genesis struct {
	Salt     []byte       `cbor:"1,keyasint"` // of all API key hashes
	ID       horde.NodeID `cbor:"2,keyasint"`
	Founder  member       `cbor:"3,keyasint"`
	AdminKey digest       `cbor:"4,keyasint"`
	Config   Config       `cbor:"5,keyasint"`
	Epoch    uint64       `cbor:"6,keyasint,omitempty"`
	Version  Version      `cbor:"7,keyasint,omitempty"` // see version.go
}

// saltSize is the length of a federation's salt in bytes.
const saltSize = 32

// newGenesis makes the founding command and the admin's API key.
func newGenesis(founder horde.Member, cfg Config, rnd io.Reader) ([]byte, horde.APIKey, error) {
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(rnd, salt); err != nil {
		return nil, "", fmt.Errorf("make salt: %w", err)
	}
	key, err := NewAPIKey(rnd)
	if err != nil {
		return nil, "", err
	}
	version := Version(founder.Ledger)
	if version == 0 {
		version = NewestVersion
	}
	return encodeCommand(kindGenesis, genesis{
		Version: laterVersion(version),
		Salt:    salt, ID: founder.ID, Config: cfg, Epoch: 1, AdminKey: hashSecret(salt, string(key)),
		Founder: member{
			Name: founder.Name, PublicKey: founder.PublicKey, Addrs: founder.Addrs, URL: founder.URL,
		},
	}), key, nil
}

// foundingOf returns the Genesis that b begins with, if it does and b is its founder's.
func foundingOf(b *Batch) (*genesis, bool) {
	if k, _, err := splitCommand(b.Commands[0].Data); err != nil || k != kindGenesis {
		return nil, false
	}
	c, _, err := decodeCommand(b.Commands[0].Data)
	if err != nil {
		return nil, false
	}
	g, ok := c.(*genesis)
	return g, ok && g.ID == b.Origin
}

func (g *genesis) apply(tx *tx) ([]byte, error) {
	switch {
	case tx.founded():
		return nil, horde.Refuse(horde.RCBadRequest, "The federation is already founded.")
	case len(g.Founder.PublicKey) != ed25519.PublicKeySize, g.ID == "", len(g.Salt) < 16, g.Config.check() != nil:
		return nil, horde.Refuse(horde.RCBadRequest, "The founding command is incomplete.")
	}
	if g.Version > tx.supports {
		return nil, fmt.Errorf("%w (it is at version %d, this program knows %d)", ErrVersion, g.Version, tx.supports)
	}
	tx.meta.put(unit{}, meta{Cluster: clusterOf(tx.raw), Epoch: max(g.Epoch, 1), Salt: g.Salt, NextUser: founderUser + 1, Config: g.Config, Version: g.Version})
	tx.modes.put(unit{}, modes{})
	tx.activity.put(unit{}, activity{})

	founder := g.Founder
	founder.Version = g.Version
	founder.Active, founder.Voter, founder.Joined, founder.InvitedBy = true, true, tx.now, g.ID
	tx.members.put(g.ID, founder)
	tx.tags.put(g.ID.Tag(), g.ID)

	anonymous := newUser("Anonymous", horde.ClassAnonymous, tx.now)
	anonymous.Concurrency, anonymous.PublicWorkers = anonymousConcurrency, true
	anonymous.Key = hashSecret(g.Salt, string(horde.AnonymousKey))
	tx.users.put(horde.Anonymous, anonymous)
	tx.keys.put(anonymous.Key, horde.Anonymous)

	admin := newUser("admin", horde.ClassRegistered, tx.now)
	admin.Roles = horde.RoleAdmin | horde.RoleModerator | horde.RoleTrusted
	admin.Key = g.AdminKey
	tx.users.put(founderUser, admin)
	tx.keys.put(admin.Key, founderUser)
	return nil, nil
}

// configure replaces the Config. Only an admin may.
type configure struct {
	Actor  horde.UserID `cbor:"1,keyasint"`
	Config Config       `cbor:"2,keyasint"`
}

func (c *configure) apply(tx *tx) ([]byte, error) {
	actor := tx.user(c.Actor)
	if actor == nil || !actor.is(horde.RoleAdmin) {
		return nil, horde.Refuse(horde.RCNotAdmin, "Only an admin may configure the federation.")
	}
	if tx.version() < pinVersion { // unknown to programs of then, which must come to the same
		c.Config.ImageModels, c.Config.TextModels, c.Config.ImagePrices = "", "", ""
		c.Config.Shards = 0
	}
	if err := c.Config.check(); err != nil {
		return nil, err
	}
	tx.meta.edit(unit{}).Config = c.Config
	return nil, nil
}
