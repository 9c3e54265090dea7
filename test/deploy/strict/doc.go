// Package strict checks what is in deploy with the libraries of those who read it: Helm, Kubernetes, its Prometheus operator,
// Compose. They are many, and none is part of Provender: this is a module of its own.
package strict
