// Package config reads iksync's YAML configuration: strictly, so that a
// misspelt key is an error with its line and not a filter that does nothing,
// and completely, so that whatever is wrong is said before any work begins.
// What it gives is checked and ready to be handed to the parts.
package config
