package control

// AuditFilter says which records of the audit are wanted; the zero AuditFilter wants all.
type AuditFilter struct {
	Share  string       `json:"share,omitempty"` // its name
	Peer   string       `json:"peer,omitempty"`  // name, ID, or its beginning or end
	Since  Time         `json:"since,omitzero"`
	Events List[string] `json:"events,omitempty"`
	Follow bool         `json:"follow,omitempty"`
}

// AuditRecord is one thing that was done to this peer's shares, or refused.
type AuditRecord struct {
	Seq     uint64 `json:"seq"` // rises by one
	Time    Time   `json:"time"`
	Event   string `json:"event"`             // read, write, delete, refused, login …; the manual has them all
	Peer    string `json:"peer,omitempty"`    // who, by ID; empty for the owner
	Name    string `json:"name,omitempty"`    // its own word
	Addr    string `json:"addr,omitempty"`    // where from
	Share   string `json:"share,omitempty"`   // its name then
	Path    string `json:"path,omitempty"`    // in the share
	To      string `json:"to,omitempty"`      // where to, of what was moved or copied
	Right   Right  `json:"right,omitempty"`   // by which it was done
	Bytes   int64  `json:"bytes,omitempty"`   // that were sent or received
	Before  string `json:"before,omitempty"`  // version
	After   string `json:"after,omitempty"`   // version
	Result  string `json:"result"`            // ok, or the kind of error
	Why     string `json:"why,omitempty"`     // of the error
	Count   int    `json:"count,omitempty"`   // more than one: that many, gathered
	Dropped int    `json:"dropped,omitempty"` // records before this one that could not be written
}

// AuditReport is what a look at the whole audit found.
type AuditReport struct {
	Records uint64 `json:"records"`
	Files   int    `json:"files"`
	From    Time   `json:"from,omitzero"`
	To      Time   `json:"to,omitzero"`
	Signed  uint64 `json:"signed"` // the newest record that a signature covers
}
