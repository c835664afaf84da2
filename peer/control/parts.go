package control

import "runtime/debug"

// Parts are the modules that say most about how this program behaves.
func Parts() List[Part] {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return []Part{}
	}
	out := []Part{{Name: "go", Version: info.GoVersion}}
	for _, m := range info.Deps {
		switch m.Path {
		case "github.com/libp2p/go-libp2p", "github.com/libp2p/go-libp2p-kad-dht", "github.com/hashicorp/mdns", "github.com/bytemare/opaque", "lukechampine.com/blake3", "github.com/quic-go/quic-go":
			out = append(out, Part{Name: m.Path, Version: m.Version})
		}
	}
	return out
}
