package ledger

import (
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"hordenode/internal/horde"
)

// How an address is found among networks that are hashed: a network is hashed with its
// length, so an address is in a blocked network exactly if the hash of the address cut to
// some length is a row. The lengths in use are remembered, so one look-up costs as many
// hashes as there are lengths, however many networks there are.
//
//	1.2.3.4 ── cut to each length in use ──► 1.2.3.4/32  1.2.3.0/24 ── HMAC ──► row?

// A hashedNet is a network as the ledger keeps it.
type hashedNet struct {
	Hash digest `cbor:"1,keyasint"`
	Bits uint8  `cbor:"2,keyasint"`
	Six  bool   `cbor:"3,keyasint,omitempty"` // IPv6
	// Sealed is the network for moderators' lists, unless it is a single address: encrypted,
	// so that copies of the ledger without its salt tell nothing.
	Sealed []byte `cbor:"4,keyasint,omitempty"`
}

// isAddress tells networks that stand for one client.
func (n *hashedNet) isAddress() bool { return n.Bits == addressBits(n.Six) }

func addressBits(six bool) uint8 {
	if six {
		return 64
	}
	return 32
}

// whole tells whether a command's network is what it says: members are not believed blindly.
// Of an address, nothing but its hash is known.
func (n *hashedNet) whole(salt []byte) bool {
	switch {
	case n.Hash == digest{} || n.Bits > addressBits(n.Six) || int(n.Bits) < horde.WidestBlock(n.Six):
		return false
	case n.isAddress():
		return n.Sealed == nil
	}
	p, err := n.open(salt)
	return err == nil && p.Addr().Is6() == n.Six && p.Bits() == int(n.Bits) && p == p.Masked() && prefixHash(salt, p) == n.Hash
}

func keyed(salt []byte, use string, data ...[]byte) (d digest) {
	h := hmac.New(sha256.New, salt)
	h.Write([]byte(use))
	for _, b := range data {
		h.Write(b)
	}
	h.Sum(d[:0])
	return d
}

// prefixHash names a network in the ledger.
func prefixHash(salt []byte, p netip.Prefix) digest {
	a := p.Masked().Addr()
	return keyed(salt, "hordenode blocked network", []byte{byte(a.BitLen()), byte(p.Bits())}, a.AsSlice())
}

// sealer encrypts networks. The nonce is part of the network's own hash, so no two networks
// share one.
func sealer(salt []byte) cipher.AEAD {
	key := keyed(salt, "hordenode list of blocked networks")
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the key has 32 bytes
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES has blocks of 16 bytes
	}
	return gcm
}

const sealNonce = 12 // bytes

func newHashedNet(salt []byte, p netip.Prefix) hashedNet {
	n := hashedNet{Hash: prefixHash(salt, p), Bits: uint8(p.Bits()), Six: p.Addr().Is6()}
	if !n.isAddress() {
		n.Sealed = sealer(salt).Seal(nil, n.Hash[:sealNonce], []byte(p.String()), n.Hash[:])
	}
	return n
}

// open returns the network that was sealed.
func (n *hashedNet) open(salt []byte) (netip.Prefix, error) {
	text, err := sealer(salt).Open(nil, n.Hash[:sealNonce], n.Sealed, n.Hash[:])
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("open a blocked network: %w", err)
	}
	return netip.ParsePrefix(string(text))
}

// lengths are the lengths of networks that may be among the blocked, IPv4 and IPv6. One that
// is in use no more may stay until the next start: it costs a hash.
type lengths struct{ four, six [2]uint64 }

func (l *lengths) of(six bool) *[2]uint64 {
	if six {
		return &l.six
	}
	return &l.four
}

func (l *lengths) add(n hashedNet) { l.of(n.Six)[n.Bits/64] |= 1 << (n.Bits % 64) }

func (l *lengths) has(six bool, bits int) bool { return l.of(six)[bits/64]>>(bits%64)&1 != 0 }

// hashNetwork hashes a network with this federation's salt; before the genesis the result is
// what every command refuses.
func (c *Client) hashNetwork(p netip.Prefix) hashedNet {
	c.m.mu.RLock()
	m := c.m.s.meta.get(unit{})
	c.m.mu.RUnlock()
	if m == nil || !p.IsValid() {
		return hashedNet{}
	}
	return newHashedNet(m.Salt, p)
}

// A blockFound is a row that an address is in.
type blockFound struct {
	network netip.Prefix
	row     ipBlock
}

// blocksOf returns the rows that an address is in, its own first and then the narrower ones,
// with the ledger time.
func (r Reader) blocksOf(ip netip.Addr) (found []blockFound, now int64) {
	own := horde.BlockedNetwork(netip.PrefixFrom(ip, ip.BitLen()))
	if !own.IsValid() {
		return nil, 0
	}
	six := own.Addr().Is6()
	r.m.mu.RLock()
	m, in := r.m.s.meta.get(unit{}), r.m.s.lengths
	var salt []byte
	if m != nil {
		salt = m.Salt // never changed in place
	}
	r.m.mu.RUnlock()
	if *in.of(six) == ([2]uint64{}) || m == nil {
		return nil, 0 // the usual case costs nothing
	}
	var keys []digest
	for bits := own.Bits(); bits >= 0; bits-- {
		if in.has(six, bits) {
			p := netip.PrefixFrom(own.Addr(), bits).Masked()
			found = append(found, blockFound{network: p})
			keys = append(keys, prefixHash(salt, p))
		}
	}
	r.m.mu.RLock()
	defer r.m.mu.RUnlock()
	now = r.m.s.head.get(unit{}).Time
	at := 0
	for i, k := range keys {
		if b := r.m.s.blocks.get(k); b != nil && b.Until > now {
			found[at] = blockFound{found[i].network, *b}
			at++
		}
	}
	return found[:at], now
}

// IPBlocked tells until when, by ledger time, an address is kept out. What is said of the
// address itself comes before what is said of its networks, and narrower ones before wider.
func (r Reader) IPBlocked(ip netip.Addr) (until time.Time, blocked bool) {
	found, _ := r.blocksOf(ip)
	if len(found) == 0 {
		return time.Time{}, false
	}
	return moment(found[0].row.Until), true
}

// IPBlocksOf returns what keeps an address out: the networks that hold it, the wider first,
// and then what is said of itself.
func (r Reader) IPBlocksOf(ip netip.Addr) []horde.IPBlock {
	found, now := r.blocksOf(ip)
	list := make([]horde.IPBlock, 0, len(found))
	for _, f := range slices.Backward(found) {
		list = append(list, f.row.view(f.network, now))
	}
	return list
}

// IPBlocks returns the networks that are kept out, by address. Single addresses are not among
// them: nobody can tell them from their hashes.
func (r Reader) IPBlocks() ([]horde.IPBlock, error) {
	type sealedBlock struct {
		row ipBlock
		at  netip.Prefix
	}
	var rows []sealedBlock
	var salt []byte
	r.m.mu.RLock()
	if m := r.m.s.meta.get(unit{}); m != nil {
		salt = m.Salt
	}
	var now int64
	if h := r.m.s.head.get(unit{}); h != nil {
		now = h.Time
	}
	r.m.s.blocks.all(func(_ digest, b *ipBlock) bool {
		if b.Net.Sealed != nil && b.Until > now {
			rows = append(rows, sealedBlock{row: *b})
		}
		return true
	})
	r.m.mu.RUnlock()
	for i := range rows {
		var err error
		if rows[i].at, err = rows[i].row.Net.open(salt); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(rows, func(a, b sealedBlock) int {
		return cmp.Or(a.at.Addr().Compare(b.at.Addr()), cmp.Compare(a.at.Bits(), b.at.Bits()))
	})
	list := make([]horde.IPBlock, len(rows))
	for i, b := range rows {
		list[i] = b.row.view(b.at, now)
	}
	return list, nil
}

func (b *ipBlock) view(p netip.Prefix, now int64) horde.IPBlock {
	return horde.IPBlock{
		Network: p, Until: moment(b.Until), Left: time.Duration(b.Until-now) * time.Millisecond,
		By: b.By, Reason: b.Reason, Worker: b.Worker, Reports: int(b.Reports),
	}
}
