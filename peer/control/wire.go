package control

// The API is HTTP/1.1 on a Unix socket. Every call is POST /v1/VERB with one JSON object in the body, and answers one of
//
//   - 200 with one JSON object;
//   - 200 with one [Line] of JSON per item and a last one that says Done or Error: without it the answer was cut off;
//   - 200 with raw bytes, and the trailer [ErrorTrailer] if they are not all;
//   - another status with an [Error] as one JSON object.
//
// A request with an Origin or Referer, or for another host than [Host], comes from a web page and is refused.

// Host is the only host name that the server answers for.
const Host = "peerd.sock"

// ErrorTrailer carries the path-escaped JSON of an [Error] behind raw bytes.
const ErrorTrailer = "Peerd-Error"

// MaxBody is the longest body of a request in bytes.
const MaxBody = 1 << 20

// Line is one line of an answer that is a stream.
type Line[T any] struct {
	Item  *T     `json:"item,omitempty"`
	Done  bool   `json:"done,omitempty"`
	Error *Error `json:"error,omitempty"`
}

// Verb is one call of the API.
type Verb string

// The verbs, one for each method of [Backend].
const (
	VerbStatus           Verb = "status"
	VerbPeers            Verb = "peers"
	VerbWatchPeers       Verb = "watch-peers"
	VerbDoctor           Verb = "doctor"
	VerbList             Verb = "list"
	VerbStat             Verb = "stat"
	VerbFind             Verb = "find"
	VerbCopy             Verb = "copy"
	VerbCat              Verb = "cat"
	VerbWatchFiles       Verb = "watch-files"
	VerbRemove           Verb = "remove"
	VerbMove             Verb = "move"
	VerbMkdir            Verb = "mkdir"
	VerbVersions         Verb = "versions"
	VerbRestore          Verb = "restore"
	VerbLock             Verb = "lock"
	VerbUndo             Verb = "undo"
	VerbAuditRecords     Verb = "audit-records"
	VerbAuditVerify      Verb = "audit-verify"
	VerbLogin            Verb = "login"
	VerbLogout           Verb = "logout"
	VerbWhoami           Verb = "whoami"
	VerbShareList        Verb = "share-list"
	VerbShareAdd         Verb = "share-add"
	VerbShareSet         Verb = "share-set"
	VerbShareRemove      Verb = "share-remove"
	VerbSharePasswd      Verb = "share-passwd"
	VerbGeneratePassword Verb = "generate-password"
	VerbShareAllow       Verb = "share-allow"
	VerbShareDeny        Verb = "share-deny"
	VerbShareResume      Verb = "share-resume"
	VerbBlock            Verb = "block"
	VerbBlocked          Verb = "blocked"
	VerbMount            Verb = "mount"
	VerbUnmount          Verb = "unmount"
	VerbMountList        Verb = "mount-list"
	VerbWebdav           Verb = "webdav"
)

// Path is the path of the verb's URL.
func (v Verb) Path() string { return "/v1/" + string(v) }

// The bodies of the verbs that take more than a [Ref] or a type of their own; those without a body take an empty object.
type (
	// RefRequest is the body of stat, watch-files, lock, logout and whoami.
	RefRequest struct {
		Ref Ref `json:"ref"`
	}
	// PeersRequest is the body of peers.
	PeersRequest struct {
		Ask bool `json:"ask,omitempty"`
	}
	// ListRequest is the body of list and versions.
	ListRequest struct {
		Ref       Ref  `json:"ref"`
		Recursive bool `json:"recursive,omitempty"`
	}
	// FindRequest is the body of find.
	FindRequest struct {
		Ref     Ref    `json:"ref"`
		Pattern string `json:"pattern"`
	}
	// RemoveRequest is the body of remove.
	RemoveRequest struct {
		Refs      List[Ref] `json:"refs"`
		Recursive bool      `json:"recursive,omitempty"`
	}
	// MkdirRequest is the body of mkdir.
	MkdirRequest struct {
		Ref     Ref  `json:"ref"`
		Parents bool `json:"parents,omitempty"`
	}
	// CatRequest is the body of cat.
	CatRequest struct {
		Ref    Ref   `json:"ref"`
		Offset int64 `json:"offset"`
		Length int64 `json:"length"` // negative: all the rest
	}
	// LoginRequest is the body of login.
	LoginRequest struct {
		Ref      Ref    `json:"ref"`
		Password string `json:"password"`
	}
	// NameRequest is the body of share-remove.
	NameRequest struct {
		Name string `json:"name"`
	}
	// SetRequest is the body of share-set.
	SetRequest struct {
		Name string   `json:"name"`
		Set  ShareSet `json:"set"`
	}
	// PasswdRequest is the body of share-passwd.
	PasswdRequest struct {
		Name     string `json:"name"`
		Right    Right  `json:"right"`
		Password string `json:"password"`
	}
	// DeviceRequest is the body of share-allow, with a right, and of share-deny, share-resume and block, with or without undo.
	DeviceRequest struct {
		Name  string `json:"name,omitempty"` // of the share
		Peer  string `json:"peer"`
		Right Right  `json:"right,omitempty"`
		Undo  bool   `json:"undo,omitempty"`
	}
	// UnmountRequest is the body of unmount.
	UnmountRequest struct {
		Dir string `json:"dir"`
	}
	// PasswordAnswer answers generate-password.
	PasswordAnswer struct {
		Password string `json:"password"`
	}
)
