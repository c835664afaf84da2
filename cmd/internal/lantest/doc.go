// Package lantest makes local networks for tests: computers that are network namespaces of Linux, joined by bridges, each
// with its own host name, home folder and /run. Real programs run in them, cables are pulled, packets get lost.
//
// The namespaces belong to threads of the test process and have no names. When the process ends, however it ends, so do
// the programs it started and with them the networks; what a program forked off is found by a mark in its environment
// and ended by the next run.
package lantest
