//go:build unix && race

package main

// raceDetector tells that everything takes several times as long.
const raceDetector = true
