// Package config is what the daemon is told: defaults, the file config.toml, and flags, which win in that order. It also
// knows where things lie.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/peerd/peerd/peer"
	"github.com/peerd/peerd/share"
	"github.com/peerd/peerd/transfer"
)

// DefaultPort is where peers listen, on TCP and UDP, unless told otherwise. A second daemon on one computer takes a free one.
const DefaultPort = 4455

// FileName is the name of the configuration file in [Paths.Config].
const FileName = "config.toml"

// Config is everything that the daemon is told.
type Config struct {
	Paths
	Version   string // of the program
	Name      peer.Name
	Workgroup string
	// Listen holds addresses as host:port or as multiaddrs; when it is empty, [DefaultPort] on all addresses.
	Listen []string
	// Join holds peers to call on start, as host or host:port: for networks that carry no multicast.
	Join      []string
	MDNS      bool
	DHT       bool // look for peers beyond the local network
	Relay     bool // carry bytes for peers that can't reach each other
	Advertise Advertise
	Give      bool // give on what was fetched
	CacheGB   int  // how many GB the piece cache takes at most, or CacheAuto
	// Upload and Download limit what is sent to and fetched from all other peers together.
	Upload, Download transfer.Rate
	// Shares are offered for this run, open for reading.
	Shares []Share
}

// CacheAuto has the piece cache take 10 GiB, or a tenth of what is free if that is less.
const CacheAuto = -1

// maxCacheGB is a petabyte: more is a slip.
const maxCacheGB = 1_000_000

// Advertise is how much the local network hears of this peer's shares before it asks.
type Advertise string

// The ways to advertise.
const (
	Names Advertise = "names" // their names
	Count Advertise = "count" // how many there are
	Quiet Advertise = "none"  // nothing
)

// Share is a folder for the option --share.
type Share struct {
	Dir  string // absolute
	Name share.Name
}

// Default is the configuration of somebody who says nothing. host is what the computer calls itself.
func Default(paths Paths, host string) Config {
	host, _, _ = strings.Cut(host, ".") // the domain says nothing in a workgroup
	return Config{
		Paths:     paths,
		Name:      peer.CleanName(host, "peer"),
		Workgroup: peer.DefaultWorkgroup,
		MDNS:      true,
		DHT:       true,
		Give:      true,
		CacheGB:   CacheAuto,
		Advertise: Names, // what a workgroup is for: to see what there is; hidden shares never are
	}
}

// file is what config.toml may hold. Pointers tell what is not there from what is empty.
type file struct {
	Name      *string  `toml:"name"`
	Workgroup *string  `toml:"workgroup"`
	Listen    []string `toml:"listen"`
	Join      []string `toml:"join"`
	Discovery struct {
		MDNS      *bool      `toml:"mdns"`
		DHT       *bool      `toml:"dht"`
		Relay     *bool      `toml:"relay"`
		Advertise *Advertise `toml:"advertise"`
	} `toml:"discovery"`
	Swarm struct {
		Give    *bool `toml:"give"`
		CacheGB *int  `toml:"cache_gb"`
	} `toml:"swarm"`
	Limits struct {
		Upload   *transfer.Rate `toml:"upload"`
		Download *transfer.Rate `toml:"download"`
	} `toml:"limits"`
}

// ReadFile changes c by the configuration file, if there is one. A key that nothing knows is an error: it is a slip, and
// it may be one about privacy.
func (c *Config) ReadFile() error {
	path := filepath.Join(c.Config, FileName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	bad := func(err error) error {
		return &peer.Error{Op: "read configuration", Path: path, Kind: peer.Usage, Err: err}
	}
	if err != nil {
		return bad(err)
	}
	var f file
	meta, err := toml.Decode(string(text), &f)
	if err != nil {
		return bad(err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return bad(fmt.Errorf("%q is not known", unknown[0].String()))
	}
	if f.Name != nil {
		c.Name = peer.Name(*f.Name)
	}
	if f.Workgroup != nil {
		c.Workgroup = *f.Workgroup
	}
	if f.Discovery.MDNS != nil {
		c.MDNS = *f.Discovery.MDNS
	}
	if f.Discovery.DHT != nil {
		c.DHT = *f.Discovery.DHT
	}
	if f.Discovery.Relay != nil {
		c.Relay = *f.Discovery.Relay
	}
	if f.Discovery.Advertise != nil {
		c.Advertise = *f.Discovery.Advertise
	}
	if f.Swarm.Give != nil {
		c.Give = *f.Swarm.Give
	}
	if f.Swarm.CacheGB != nil {
		if c.CacheGB = *f.Swarm.CacheGB; c.CacheGB < 0 || c.CacheGB > maxCacheGB {
			return bad(fmt.Errorf("swarm.cache_gb is %d, and goes from 0 to %d", c.CacheGB, maxCacheGB))
		}
	}
	if f.Limits.Upload != nil {
		c.Upload = *f.Limits.Upload
	}
	if f.Limits.Download != nil {
		c.Download = *f.Limits.Download
	}
	c.Listen, c.Join = append(c.Listen, f.Listen...), append(c.Join, f.Join...)
	return nil
}

// Validate checks everything and brings it into its one form.
func (c *Config) Validate() error {
	name, err := peer.ParseName(string(c.Name))
	if err != nil {
		return err
	}
	c.Name = name
	if err := peer.CheckText(c.Workgroup, peer.MaxWorkgroup); err != nil {
		return &peer.Error{Op: "parse workgroup", Path: c.Workgroup, Kind: peer.Usage, Err: err}
	}
	if c.Relay && !c.DHT {
		return &peer.Error{Op: "discovery.relay", Kind: peer.Usage, Err: errors.New("nobody finds a relay without the DHT"),
			Hint: "leave out --no-dht, or set discovery.dht = true"}
	}
	switch c.Advertise {
	case Names, Count, Quiet:
	default:
		return &peer.Error{Op: "discovery.advertise", Path: string(c.Advertise), Kind: peer.Usage, Hint: "it is one of names, count, none"}
	}
	for i, s := range c.Listen {
		if c.Listen[i], err = listenAddr(s); err != nil {
			return &peer.Error{Op: "parse listen address", Path: s, Kind: peer.Usage, Err: err,
				Hint: "write a port, an IP address, both as IP:PORT, or a multiaddr"}
		}
	}
	for i, s := range c.Join {
		if c.Join[i], err = joinAddr(s); err != nil {
			return &peer.Error{Op: "parse address to join", Path: s, Kind: peer.Usage, Err: err, Hint: "write HOST or HOST:PORT"}
		}
	}
	seen := make(map[string]string)
	for _, s := range c.Shares {
		key := share.FoldKey(string(s.Name))
		if dir, twice := seen[key]; twice {
			return &peer.Error{Path: s.Dir, Kind: peer.Usage, Err: fmt.Errorf("%s is to be shared as %q as well", dir, s.Name),
				Hint: "give one another name with --share DIR=NAME"}
		}
		seen[key] = s.Dir
	}
	return nil
}

// listenAddr gives host:port, or a multiaddr as it is.
func listenAddr(s string) (string, error) {
	if strings.HasPrefix(s, "/") {
		_, err := ma.NewMultiaddr(s)
		return s, err
	}
	if _, err := strconv.ParseUint(s, 10, 16); err == nil {
		return ":" + s, nil
	}
	if ip, ok := bareIP(s); ok {
		return net.JoinHostPort(ip, strconv.Itoa(DefaultPort)), nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", err
	}
	if err := checkPort(port); err != nil {
		return "", err
	}
	if host != "" {
		_, err = netip.ParseAddr(host)
	}
	return s, err
}

// joinAddr gives host:port.
func joinAddr(s string) (string, error) {
	if ip, ok := bareIP(s); ok {
		return net.JoinHostPort(ip, strconv.Itoa(DefaultPort)), nil
	}
	if s != "" && !strings.ContainsAny(s, ":/ ") {
		return net.JoinHostPort(s, strconv.Itoa(DefaultPort)), nil
	}
	host, port, err := net.SplitHostPort(s)
	switch {
	case err != nil:
		return "", err
	case host == "" || strings.ContainsAny(host, "/ "):
		return "", errors.New("it names no host")
	}
	return s, checkPort(port)
}

// bareIP reads an address without a port, in brackets or not.
func bareIP(s string) (string, bool) {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		if s, ok = strings.CutSuffix(inner, "]"); !ok {
			return "", false
		}
	}
	ip, err := netip.ParseAddr(s)
	return ip.String(), err == nil
}

func checkPort(s string) error {
	if _, err := strconv.ParseUint(s, 10, 16); err != nil {
		return fmt.Errorf("%q is no port", s)
	}
	return nil
}

// ParseShare reads DIR or DIR=NAME. A folder that is really called DIR=NAME is taken as one.
func ParseShare(s string) (Share, error) {
	dir, name := s, ""
	if i := strings.LastIndexByte(s, '='); i >= 0 && !isDir(s) {
		dir, name = s[:i], s[i+1:]
	}
	if dir == "" {
		return Share{}, &peer.Error{Op: "share", Path: s, Kind: peer.Usage, Hint: "write --share DIR or --share DIR=NAME"}
	}
	abs, err := Abs("share", dir)
	if err != nil {
		return Share{}, err
	}
	if !isDir(abs) {
		return Share{}, &peer.Error{Op: "share", Path: abs, Kind: peer.NotFound, Err: errors.New("there is no such folder")}
	}
	if name == "" {
		name = filepath.Base(abs)
	}
	n, err := share.ParseName(name)
	if err != nil {
		return Share{}, &peer.Error{Op: "share", Path: abs, Kind: peer.Usage, Err: err, Hint: "give it a name with --share DIR=NAME"}
	}
	return Share{Dir: abs, Name: n}, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
