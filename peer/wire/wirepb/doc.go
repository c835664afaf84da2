// Package wirepb holds the messages that every protocol of peerd shares.
package wirepb
