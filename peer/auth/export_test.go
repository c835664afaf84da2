package auth

// Size is how many buckets and members the throttle keeps.
func (t *Throttle) Size() (buckets, known int) { return len(t.full), len(t.known) }
