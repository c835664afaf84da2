//go:build !linux

package main

// unhurried is for Linux alone.
func unhurried() {}
