package auth

import (
	"crypto/subtle"

	"github.com/bytemare/opaque"

	"github.com/peerd/peerd/peer"
)

// Client is the client's side of one run.
type Client struct {
	runs    [2]*opaque.Client // by slots(); nil once finished
	stretch *opaque.ClientOptions
}

// Start begins a run and gives KE1, [KE1Size] bytes. The password is tried in both slots.
func Start(b Binding, password Password) (*Client, []byte, error) {
	context, err := b.context()
	if err != nil {
		return nil, nil, err
	}
	if len(password.text) == 0 {
		return nil, nil, &peer.Error{Op: "login", Kind: peer.Usage, Err: failure("the password is empty")}
	}
	c := &Client{stretch: password.stretching()}
	message := make([]byte, 0, KE1Size)
	for i, slot := range slots() {
		run, err := suite(context).Client()
		if err != nil {
			return nil, nil, err
		}
		ke1, err := run.GenerateKE1(passwordInput(b.Share, slot, password.text))
		if err != nil {
			return nil, nil, err
		}
		c.runs[i] = run
		message = append(message, ke1.Serialize()...)
	}
	return c, message, nil
}

// Finish reads KE2 and gives the slot that the password opened and KE3, [KE3Size] bytes, to send. It takes about 0.1 s and
// 64 MiB for each slot that is tried, and works once. The error is [ErrWrong], kind [peer.Denied], if no slot opened:
// then nothing more may be sent, for whatever is sent could be guessed at. It is [ErrMessage] if KE2 is none.
func (c *Client) Finish(message []byte) (Slot, []byte, error) {
	defer c.Abandon()
	if len(message) != KE2Size || c.runs[0] == nil {
		return 0, nil, &peer.Error{Op: "login", Kind: peer.Other, Err: ErrMessage}
	}
	for i, slot := range slots() {
		ke2, err := c.runs[i].Deserialize.KE2(message[i*ke2Size : (i+1)*ke2Size])
		if err != nil {
			return 0, nil, &peer.Error{Op: "login", Kind: peer.Other, Err: ErrMessage}
		}
		if ke3, _, _, err := c.runs[i].GenerateKE3(ke2, nil, nil, c.stretch); err == nil {
			return slot, ke3.Serialize(), nil
		}
	}
	return 0, nil, &peer.Error{Op: "login", Kind: peer.Denied, Err: ErrWrong}
}

// Abandon forgets the secrets of a run that will not be finished, as far as Go lets it. Finish does the same.
func (c *Client) Abandon() {
	for i, run := range c.runs {
		if run != nil {
			run.ClearState()
			c.runs[i] = nil
		}
	}
}

// Pending is the server's side of one run between KE2 and KE3.
type Pending struct {
	expected [2][]byte // the KE3 of each slot; nil once checked
}

// Respond answers KE1 with KE2, [KE2Size] bytes, of both slots. It takes under a millisecond, whatever the credentials are.
// The answer tells the client whether its password is right, so the attempt is charged before ([Throttle]).
func Respond(b Binding, have Credentials, message []byte) ([]byte, *Pending, error) {
	context, err := b.context()
	if err != nil {
		return nil, nil, err
	}
	if len(message) != KE1Size {
		return nil, nil, &peer.Error{Op: "login", Kind: peer.Denied, Err: ErrMessage}
	}
	p := new(Pending)
	answer := make([]byte, 0, KE2Size)
	for i, slot := range slots() {
		ke2, ke3, err := have.of(slot).respond(context, credentialID(b.Share, slot), message[i*ke1Size:(i+1)*ke1Size])
		if err != nil {
			return nil, nil, err
		}
		p.expected[i] = ke3
		answer = append(answer, ke2...)
	}
	return answer, p, nil
}

// respond gives the KE2 of one slot and the KE3 that proves its password.
func (c Credential) respond(context, id, message []byte) (ke2, ke3 []byte, err error) {
	server, err := suite(context).Server()
	if err != nil {
		return nil, nil, err
	}
	if err := server.SetKeyMaterial(c.Keys.material); err != nil {
		return nil, nil, &peer.Error{Op: "login", Kind: peer.Other, Err: err}
	}
	ke1, err := server.Deserialize.KE1(message)
	if err != nil {
		return nil, nil, &peer.Error{Op: "login", Kind: peer.Denied, Err: ErrMessage}
	}
	answer, out, err := server.GenerateKE2(ke1, &opaque.ClientRecord{
		RegistrationRecord: c.Record.upload, CredentialIdentifier: id,
	})
	if err != nil {
		return nil, nil, &peer.Error{Op: "login", Kind: peer.Other, Err: err}
	}
	return answer.Serialize(), out.ClientMAC, nil
}

// Check reads KE3 and gives the slot that the client's password opened, or [ErrWrong] of kind [peer.Denied]. One run has
// one try: the next answer is always ErrWrong.
func (p *Pending) Check(message []byte) (Slot, error) {
	opened := Slot(0)
	for i, slot := range slots() {
		if e := p.expected[i]; len(e) == KE3Size && subtle.ConstantTimeCompare(message, e) == 1 {
			opened = slot
		}
	}
	p.expected = [2][]byte{}
	if opened == 0 {
		return 0, &peer.Error{Op: "login", Kind: peer.Denied, Err: ErrWrong}
	}
	return opened, nil
}

// Matches reports whether the password is the one of a slot, for the owner who may not set one password in both. It runs
// a login with itself and takes as long.
func Matches(have Credential, share ShareID, slot Slot, password Password) bool {
	run, err := suite(nil).Client()
	if err != nil || len(password.text) == 0 {
		return false
	}
	defer run.ClearState()
	ke1, err := run.GenerateKE1(passwordInput(share, slot, password.text))
	if err != nil {
		return false
	}
	message, _, err := have.respond(nil, credentialID(share, slot), ke1.Serialize())
	if err != nil {
		return false
	}
	ke2, err := run.Deserialize.KE2(message)
	if err != nil {
		return false
	}
	_, _, _, err = run.GenerateKE3(ke2, nil, nil, password.stretching())
	return err == nil
}
