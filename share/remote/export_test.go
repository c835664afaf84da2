package remote

// Limit changes how many entries of one answer are believed.
func (f *FS) Limit(entries int) { f.most = entries }
