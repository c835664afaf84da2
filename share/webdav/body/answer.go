package body

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"io"
	"net/http"
	"strconv"
)

const head = `<?xml version="1.0" encoding="utf-8"?>` + "\n"

// Multistatus writes the body of a 207 as it comes, whatever its length. The first error of the writer is kept for Close.
type Multistatus struct {
	w     *bufio.Writer
	found bytes.Buffer // of the response at hand
	other bytes.Buffer
	begun bool
}

// NewMultistatus begins a body.
func NewMultistatus(w io.Writer) *Multistatus {
	return &Multistatus{w: bufio.NewWriterSize(w, 64<<10)}
}

// Text adds a property of the response at hand whose value is text.
func (m *Multistatus) Text(name xml.Name, text string) {
	m.open(&m.found, name)
	escape(&m.found, text)
	m.found.WriteString("</" + m.tag(name) + ">")
}

// Value adds a property whose value is XML that uses the prefix D for DAV: and is else well-formed by itself.
func (m *Multistatus) Value(name xml.Name, value string) {
	if value == "" {
		m.empty(&m.found, name)
		return
	}
	m.open(&m.found, name)
	m.found.WriteString(value + "</" + m.tag(name) + ">")
}

// Whole adds a property as [ReadPatch] gave it.
func (m *Multistatus) Whole(element []byte) { m.found.Write(element) }

// Name adds a property without its value.
func (m *Multistatus) Name(name xml.Name) { m.empty(&m.found, name) }

// Missing adds one that the resource does not have.
func (m *Multistatus) Missing(name xml.Name) { m.empty(&m.other, name) }

func (m *Multistatus) tag(name xml.Name) string {
	if name.Space == NS {
		return "D:" + name.Local
	}
	return name.Local
}

func (m *Multistatus) start(b *bytes.Buffer, name xml.Name) {
	b.WriteByte('<')
	if name.Space == NS {
		b.WriteString("D:" + name.Local)
		return
	}
	writeStart(b, name)
}

func (m *Multistatus) open(b *bytes.Buffer, name xml.Name) {
	m.start(b, name)
	b.WriteByte('>')
}

func (m *Multistatus) empty(b *bytes.Buffer, name xml.Name) {
	m.start(b, name)
	b.WriteString("/>")
}

// Resource ends the response at hand, that of a resource with the properties that were added.
func (m *Multistatus) Resource(href string) {
	if m.found.Len() == 0 && m.other.Len() == 0 {
		m.Failed(href, http.StatusOK)
		return
	}
	m.response(href)
	m.propstat(&m.found, http.StatusOK, "")
	m.propstat(&m.other, http.StatusNotFound, "")
	m.string("</D:response>\n")
}

// Failed writes a response that is a status of a whole resource.
func (m *Multistatus) Failed(href string, status int) {
	m.response(href)
	m.status(status)
	m.string("</D:response>\n")
}

// Patched writes the response of a PROPPATCH: properties with what became of each, in runs of one status.
func (m *Multistatus) Patched(href string, names []xml.Name, status []int) {
	m.response(href)
	for i, n := range names {
		m.empty(&m.found, n)
		if i+1 == len(names) || status[i+1] != status[i] {
			condition := ""
			if status[i] == http.StatusForbidden {
				condition = "<D:error><D:cannot-modify-protected-property/></D:error>"
			}
			m.propstat(&m.found, status[i], condition)
		}
	}
	m.string("</D:response>\n")
}

// Close ends the body.
func (m *Multistatus) Close() error {
	m.begin()
	m.string("</D:multistatus>\n")
	return m.w.Flush()
}

func (m *Multistatus) begin() {
	if !m.begun {
		m.begun = true
		m.string(head + `<D:multistatus xmlns:D="DAV:">` + "\n")
	}
}

func (m *Multistatus) response(href string) {
	m.begin()
	m.string("<D:response><D:href>" + href + "</D:href>")
}

func (m *Multistatus) propstat(props *bytes.Buffer, status int, more string) {
	if props.Len() == 0 {
		return
	}
	m.string("<D:propstat><D:prop>")
	_, _ = m.w.Write(props.Bytes()) // the writer keeps its error
	m.string("</D:prop>")
	m.status(status)
	m.string(more + "</D:propstat>")
	props.Reset()
}

func (m *Multistatus) status(status int) {
	m.string("<D:status>HTTP/1.1 " + strconv.Itoa(status) + " " + http.StatusText(status) + "</D:status>")
}

func (m *Multistatus) string(s string) { _, _ = m.w.WriteString(s) } // the writer keeps its error

// ActiveLock is a lock as it is told of in lockdiscovery. Owner is XML that is well-formed by itself.
type ActiveLock struct {
	Root         string // [Href]
	Token        string
	Deep, Shared bool
	Owner        []byte
	Seconds      int64
}

// LockEntries is the value of supportedlock.
const LockEntries = "<D:lockentry><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>" +
	"<D:lockentry><D:lockscope><D:shared/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>"

// Discovery is the value of lockdiscovery.
func Discovery(locks []ActiveLock) string {
	var b bytes.Buffer
	for _, l := range locks {
		scope, depth := "exclusive", "0"
		if l.Shared {
			scope = "shared"
		}
		if l.Deep {
			depth = "infinity"
		}
		b.WriteString("<D:activelock><D:locktype><D:write/></D:locktype><D:lockscope><D:" + scope + "/></D:lockscope><D:depth>" + depth + "</D:depth>")
		if l.Owner != nil {
			b.WriteString("<D:owner>")
			b.Write(l.Owner)
			b.WriteString("</D:owner>")
		}
		b.WriteString("<D:timeout>Second-" + strconv.FormatInt(l.Seconds, 10) + "</D:timeout><D:locktoken><D:href>")
		escape(&b, l.Token)
		b.WriteString("</D:href></D:locktoken><D:lockroot><D:href>" + l.Root + "</D:href></D:lockroot></D:activelock>")
	}
	return b.String()
}

// WriteLock writes the body of the answer to a LOCK.
func WriteLock(w io.Writer, l ActiveLock) error {
	_, err := io.WriteString(w, head+`<D:prop xmlns:D="DAV:"><D:lockdiscovery>`+Discovery([]ActiveLock{l})+"</D:lockdiscovery></D:prop>\n")
	return err
}

// WriteError writes the body of an answer that names the condition that was not met (RFC 4918, section 16), with the resource that
// it is about, or "".
func WriteError(w io.Writer, condition, href string) error {
	inner := "<D:" + condition + "/>"
	if href != "" {
		inner = "<D:" + condition + "><D:href>" + href + "</D:href></D:" + condition + ">"
	}
	_, err := io.WriteString(w, head+`<D:error xmlns:D="DAV:">`+inner+"</D:error>\n")
	return err
}
