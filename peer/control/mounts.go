package control

// MountRequest asks for a part of the workgroup to be a folder of this computer.
type MountRequest struct {
	Ref Ref    `json:"ref"` // a peer, a share, or at the zero Ref the whole workgroup
	Dir string `json:"dir"` // absolute; an empty folder
	// ReadOnly refuses all changes, whatever the right.
	ReadOnly bool `json:"read_only,omitempty"`
	// AllowOther lets the other users of this computer in, who then have the rights of this one.
	AllowOther bool `json:"allow_other,omitempty"`
	// Persist mounts it again whenever the daemon starts, until it is unmounted.
	Persist bool `json:"persist,omitempty"`
}

// Mount is a part of the workgroup that is a folder of this computer, or shall be one.
type Mount struct {
	Dir        string `json:"dir"`
	Ref        Ref    `json:"ref"`
	Peer       string `json:"peer,omitempty"` // whose it is, by ID
	ReadOnly   bool   `json:"read_only,omitempty"`
	AllowOther bool   `json:"allow_other,omitempty"`
	Persist    bool   `json:"persist,omitempty"`
	State      string `json:"state"`          // mounted, waiting or webdav
	Since      Time   `json:"since,omitzero"` // it is in this state
	// Away says that the peer can't be reached just now. What was seen before may still be read.
	Away    bool    `json:"away,omitempty"`
	Error   *Error  `json:"error,omitempty"` // why it waits, or is served and not mounted
	Pending Pending `json:"pending"`         // of what lies below it
	Webdav  *Webdav `json:"webdav,omitempty"`
}

// The states of a [Mount].
const (
	Mounted   = "mounted"
	Waiting   = "waiting" // it is tried again and again
	ViaWebdav = "webdav"  // this system has no FUSE: see [Mount.Webdav]
)

// Pending is what was saved and is not yet at its owners. It is kept on this computer's disk until it is.
type Pending struct {
	Count  int   `json:"count"`
	Bytes  int64 `json:"bytes"`
	Oldest Time  `json:"oldest,omitzero"` // since when the oldest waits
}

// PendingChange is one change that its owner does not have yet.
type PendingChange struct {
	Path  string `json:"path"` // //PEER/SHARE/PATH
	Bytes int64  `json:"bytes"`
	Since Time   `json:"since"`
	Error *Error `json:"error,omitempty"` // why it could not be delivered when it was last tried
}

// MountList is what is mounted, and what it costs.
type MountList struct {
	Mounts  List[Mount]         `json:"mounts"`
	Pending List[PendingChange] `json:"pending"`
	// Conflicts counts what was saved since the daemon started and lies beside its file, since that had changed meanwhile.
	Conflicts int   `json:"conflicts"`
	Cache     Cache `json:"cache"`
}

// WebdavRequest asks for a part of the workgroup to be served by WebDAV.
type WebdavRequest struct {
	Ref Ref `json:"ref,omitzero"` // a peer, a share, or at the zero Ref the whole workgroup
	// Listen is an address as HOST:PORT; a free port of 127.0.0.1 when it is empty. One that other computers reach is served
	// over TLS alone.
	Listen   string `json:"listen,omitempty"`
	ReadOnly bool   `json:"read_only,omitempty"`
}

// Webdav is where and how something is served by WebDAV.
type Webdav struct {
	URL      string `json:"url"`
	User     string `json:"user,omitempty"`     // none where the URL itself is the secret
	Password string `json:"password,omitempty"` // made for this one time
	// Certificate is the SHA-256 of the certificate, in hex, of what is served over TLS.
	Certificate string `json:"certificate,omitempty"`
	// Commands use it from the shell of this system, each in another way.
	Commands List[string] `json:"commands"`
}
